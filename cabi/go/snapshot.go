package epp

// #include "epp.h"
import "C"

import (
	"time"
	"unsafe"
)

// Dump writes residency (not bookings, loads or rates) as bytes that another router can load.
func (r *Router) Dump(now time.Time) (snapshot []byte, err error) {
	err = r.call("Dump", func(handle *C.epp_router) C.epp_status {
		return collect(&snapshot, func(room *byte, capacity C.size_t, n *C.size_t) C.epp_status {
			return C.epp_router_dump(handle, seconds(now), unsafe.Pointer(room), capacity, n)
		})
	})
	return snapshot, err
}

// SnapshotReport is what a snapshot brought.
type SnapshotReport struct {
	StoredPairs  uint64
	SkippedPairs uint64 // of ranks unknown here, of another block size, or beyond capacity
	SkippedRanks uint64 // ranks unknown here, not empty here, or of another block size
}

// Load takes over a snapshot's residency for ranks that are known here and hold nothing yet; a rank whose events
// arrive during the call is passed, so load before events flow. Errors: ErrSnapshotFormat, ErrSnapshotVersion,
// ErrSnapshotChecksum, ErrMemory.
func (r *Router) Load(snapshot []byte, now time.Time) (report SnapshotReport, err error) {
	err = r.call("Load", func(handle *C.epp_router) C.epp_status {
		return C.epp_router_load(handle, seconds(now), pointer(snapshot), C.size_t(len(snapshot)),
			(*C.epp_load_report)(unsafe.Pointer(&report)))
	})
	return report, err
}
