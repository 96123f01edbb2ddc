package epp

// #include "epp.h"
import "C"

import "time"

// Ignored is why parts of a batch changed nothing; it indexes Report.Ignored.
type Ignored uint32

// The reasons, with the unit that is counted.
const (
	IgnoredOrphan        Ignored = C.EPP_IGNORED_ORPHAN         // events: the parent is not resident
	IgnoredDuplicate     Ignored = C.EPP_IGNORED_DUPLICATE      // blocks: already there, or the name is taken
	IgnoredBlockSize     Ignored = C.EPP_IGNORED_BLOCK_SIZE     // events: not the worker's block size
	IgnoredKind          Ignored = C.EPP_IGNORED_KIND           // events: not the main attention's cache
	IgnoredLocality      Ignored = C.EPP_IGNORED_LOCALITY       // events: the blocks are held elsewhere
	IgnoredHashForm      Ignored = C.EPP_IGNORED_HASH_FORM      // events: names are not integers
	IgnoredUnknownType   Ignored = C.EPP_IGNORED_UNKNOWN_TYPE   // events: a type this version does not know
	IgnoredMalformed     Ignored = C.EPP_IGNORED_MALFORMED      // events, or 1 for a whole message
	IgnoredUnknownHash   Ignored = C.EPP_IGNORED_UNKNOWN_HASH   // names: not resident in that tier
	IgnoredCapacity      Ignored = C.EPP_IGNORED_CAPACITY       // blocks: beyond MaxBlocks, or no memory
	IgnoredUnknownWorker Ignored = C.EPP_IGNORED_UNKNOWN_WORKER // events: no such worker or rank
)

// IgnoredCount is how many reasons there are.
const IgnoredCount = C.EPP_IGNORED_COUNT

func (i Ignored) String() string {
	return name("Ignored", i, "orphan", "duplicate", "block-size", "kind", "locality", "hash-form",
		"unknown-type", "malformed", "unknown-hash", "capacity", "unknown-worker")
}

// Report is what one batch did.
type Report struct {
	StoredBlocks  uint64
	RemovedBlocks uint64
	Cleared       uint64
	Ignored       [IgnoredCount]uint64 // by reason
	BlockTokens   uint32               // the worker's block size as now known; 0: unknown

	PrefillDone []PrefillDone    // bookings whose prompt this batch showed to be computed
	Decode      []DecodeProgress // bookings that were seen to have output
}

// PrefillDone says that a booking's prompt is computed.
type PrefillDone struct {
	Booking    uint64
	At         time.Time
	ReservedAt time.Time
	Exact      bool // seen in the worker's own events; else reported or estimated
}

func prefillDone(c *C.epp_prefill_done) PrefillDone {
	return PrefillDone{
		Booking: uint64(c.booking), At: instant(c.at_s), ReservedAt: instant(c.reserved_at_s), Exact: c.exact != 0,
	}
}

// DecodeProgress is output that a booking was seen to have.
type DecodeProgress struct {
	Booking      uint64
	OutputBlocks uint64 // that this batch showed
}

// facts is where the library writes what an apply did; a router keeps some between calls.
type facts struct {
	report         C.epp_report
	done           []C.epp_prefill_done
	decode         []C.epp_decode_progress
	nDone, nDecode C.size_t
}

// apply runs an applying call, again with more room for facts if it asks for some.
func (r *Router) apply(op string, do func(handle *C.epp_router, f *facts) C.epp_status) (report Report, err error) {
	err = r.call(op, func(handle *C.epp_router) C.epp_status {
		f := r.facts.Get().(*facts)
		defer r.facts.Put(f)
		status := do(handle, f)
		for status == C.EPP_E_BUFFER { // the rank has more bookings than room was made for
			f.done = make([]C.epp_prefill_done, max(int(f.nDone), len(f.done)))
			f.decode = make([]C.epp_decode_progress, max(int(f.nDecode), len(f.decode)))
			status = do(handle, f)
		}
		if status == C.EPP_OK {
			report = f.read()
		}
		return status
	})
	return report, err
}

// read copies the facts out of the shared room.
func (f *facts) read() Report {
	c := &f.report
	report := Report{
		StoredBlocks:  uint64(c.stored_blocks),
		RemovedBlocks: uint64(c.removed_blocks),
		Cleared:       uint64(c.cleared),
		BlockTokens:   uint32(c.block_tokens),
	}
	for i, n := range c.ignored {
		report.Ignored[i] = uint64(n)
	}
	for i := range f.done[:f.nDone] {
		report.PrefillDone = append(report.PrefillDone, prefillDone(&f.done[i]))
	}
	for _, progress := range f.decode[:f.nDecode] {
		report.Decode = append(report.Decode, DecodeProgress{uint64(progress.booking), uint64(progress.output_blocks)})
	}
	return report
}
