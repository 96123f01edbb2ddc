package epp

// #include "epp.h"
import "C"

import "unsafe"

// RankLoad is the load of one rank as booked here.
type RankLoad struct {
	WorkerID               uint64
	Rank                   uint32
	_                      uint32
	ActiveRequests         uint64
	ActivePrefillTokens    uint64
	ActiveDecodeBlocks     uint64
	ResidentBlocks         uint64
	PrefillTokensPerSecond float64 // learnt; 0: not learnt
	Scraped                LoadSample
}

// Loads are the loads of every rank, ordered by worker and rank.
func (r *Router) Loads() (loads []RankLoad, err error) {
	err = r.call("Loads", func(handle *C.epp_router) C.epp_status {
		return collect(&loads, func(room *RankLoad, capacity C.size_t, n *C.size_t) C.epp_status {
			return C.epp_router_loads(handle, (*C.epp_rank_load)(unsafe.Pointer(room)), capacity, n)
		})
	})
	return loads, err
}

// Stats are the sizes of everything bounded, for gauges.
type Stats struct {
	Workers         uint64
	Ranks           uint64
	ResidentPairs   uint64 // (worker, rank, block) triples, predicted ones included
	DistinctBlocks  uint64
	Bookings        uint64
	PredictedBlocks uint64
	MemoryBytes     uint64 // everything the router has allocated in C
	IndexBytes      uint64 // the part that holds blocks, names and residency
}

// Stats tells the router's sizes.
func (r *Router) Stats() (stats Stats, err error) {
	err = r.call("Stats", func(handle *C.epp_router) C.epp_status {
		return C.epp_router_stats(handle, (*C.epp_stats)(unsafe.Pointer(&stats)))
	})
	return stats, err
}

// reasonBytes is room for the sentence of Validate; a longer one is cut.
const reasonBytes = 256

// Validate walks everything and fails with ErrInvariant, saying what is broken. It takes time in proportion to
// everything the router knows, and is for tests.
func (r *Router) Validate() error {
	const op = "Validate"
	var reason [reasonBytes]C.char
	err := r.call(op, func(handle *C.epp_router) C.epp_status {
		return C.epp_router_validate(handle, &reason[0], reasonBytes)
	})
	if err == nil && reason[0] != 0 {
		err = &Error{Op: op, Status: ErrInvariant, Detail: C.GoString(&reason[0])}
	}
	return err
}
