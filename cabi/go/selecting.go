package epp

/*
#cgo noescape epp_select_worker
#cgo noescape epp_select_and_reserve
#cgo nocallback epp_select_worker
#cgo nocallback epp_select_and_reserve
#cgo noescape epp_router_measure
#cgo nocallback epp_router_measure
#include "epp.h"
*/
import "C"

import "unsafe"

// Phase is which choice a row belongs to.
type Phase uint32

// The phases: a request is served by one worker, or prefilled by one and decoded by another.
const (
	PhaseAggregated Phase = C.EPP_PHASE_AGGREGATED
	PhasePrefill    Phase = C.EPP_PHASE_PREFILL
	PhaseDecode     Phase = C.EPP_PHASE_DECODE
)

func (p Phase) String() string { return name("Phase", p, "aggregated", "prefill", "decode") }

// Terms is everything a choice knew of one (worker, rank).
type Terms struct {
	WorkerID               uint64
	Rank                   uint32
	Phase                  Phase
	DeviceBlocks           uint32 // longest resident run from the root on the device tier
	HostBlocks             uint32 // further blocks of the run only the host tier holds
	DiskBlocks             uint32 // further blocks of the run only farther tiers hold
	RequestBlocks          uint32 // blocks of the prompt, the partial tail included
	CachedTokens           uint64
	UncachedTokens         float64
	ActivePrefillTokens    uint64
	PotentialDecodeBlocks  uint64
	ActiveRequests         uint64
	Load                   LoadSample
	PrefillTokensPerSecond float64 // learnt; 0: not learnt
	PredictedTTFTSeconds   float64
	Cost                   float64
}

// WorkerRank is one data-parallel rank of a worker.
type WorkerRank struct {
	WorkerID uint64
	Rank     uint32
}

// Selection is a choice. Its numbers speak of the worker that prefills.
type Selection struct {
	Worker  WorkerRank // where the request goes (to decode, if split)
	Split   bool       // prefill and decode on different workers
	Prefill WorkerRank // meaningful if Split

	BlockTokens          uint32 // known block size of the worker that prefills; 0: unknown
	PromptTokens         uint64
	CachedTokens         uint64
	BestCachedTokens     uint64 // the most on any candidate
	UncachedTokens       float64
	Cost                 float64
	PredictedTTFTSeconds float64

	Terms []Terms // one row per candidate and phase, if Request.Explain
}

// SelectWorker chooses and changes nothing but whose turn it is (PolicyRoundRobin). Errors: ErrNoWorkers,
// ErrNoCandidates, ErrUnknownPin, ErrRankOutOfRange, ErrOverloaded, ErrArgument, ErrMemory.
func (r *Router) SelectWorker(request *Request) (Selection, error) {
	return r.choose("SelectWorker", 0, request)
}

// SelectAndReserve chooses and books the choice in one step. booking is the caller's name for it, not 0.
// Errors: those of SelectWorker, ErrDuplicateBooking, ErrCapacity (bookings).
func (r *Router) SelectAndReserve(booking uint64, request *Request) (Selection, error) {
	const op = "SelectAndReserve"
	if booking == 0 {
		return Selection{}, wrong(op, "booking 0")
	}
	return r.choose(op, booking, request)
}

// Measure tells what a choice would look at: the Terms of every candidate, nothing chosen, nothing booked; none if
// SelectWorker would refuse. Errors: ErrArgument, ErrMemory.
func (r *Router) Measure(request *Request) (rows []Terms, err error) {
	const op = "Measure"
	if err = request.check(op); err != nil {
		return nil, err
	}
	c, taints := request.c(0), request.cTaints()
	tokens, length := request.prompt()
	err = r.call(op, func(handle *C.epp_router) C.epp_status {
		return r.collectRows(&rows, func(room *Terms, capacity C.size_t, n *C.size_t) C.epp_status {
			return C.epp_router_measure(handle, &c, tokens, length,
				u64s(request.Candidates), C.size_t(len(request.Candidates)), unsafe.SliceData(taints),
				C.size_t(len(taints)), (*C.epp_terms)(unsafe.Pointer(room)), capacity, n)
		})
	})
	return rows, err
}

// Overlap is how much of a prompt one rank holds, as a run from its first block.
type Overlap struct {
	WorkerRank
	DeviceBlocks uint32 // on the device tier
	HostBlocks   uint32 // further ones only the host tier holds
	DiskBlocks   uint32 // further ones only farther tiers hold
	CachedTokens uint64 // all of them, in tokens
}

// Overlaps tells how much of a prompt every rank that may serve or prefill holds. Errors: ErrArgument, ErrMemory.
func (r *Router) Overlaps(tokens []uint32, namespace Namespace) ([]Overlap, error) {
	rows, err := r.Measure(&Request{Tokens: tokens, Namespace: namespace})
	if err != nil {
		return nil, err
	}
	overlaps := make([]Overlap, len(rows))
	for i, row := range rows {
		overlaps[i] = Overlap{
			WorkerRank{row.WorkerID, row.Rank}, row.DeviceBlocks, row.HostBlocks, row.DiskBlocks, row.CachedTokens,
		}
	}
	return overlaps, nil
}

func (q *Request) check(op string) error {
	switch {
	case q == nil:
		return wrong(op, "nil request")
	case int64(q.Policy) >= int64(len(cPolicies)):
		return wrong(op, q.Policy.String())
	case q.Hashed != nil && !q.Hashed.fits():
		return wrong(op, "hashes that are not one per full block of the prompt")
	}
	return nil
}

// fits says whether there is a hash for every full block: the library reads as many.
func (p *HashedPrompt) fits() bool {
	return p.BlockTokens > 0 && uint64(len(p.Hashes)) == p.Tokens/uint64(p.BlockTokens)
}

func (r *Router) choose(op string, booking uint64, request *Request) (Selection, error) {
	if err := request.check(op); err != nil {
		return Selection{}, err
	}
	c, taints := request.c(booking), request.cTaints()
	tokens, length := request.prompt()
	var out C.epp_selection
	var rows []Terms
	err := r.call(op, func(handle *C.epp_router) C.epp_status {
		put := func(room *Terms, capacity C.size_t, n *C.size_t) C.epp_status {
			candidates, nCandidates := u64s(request.Candidates), C.size_t(len(request.Candidates))
			tainted, nTainted := unsafe.SliceData(taints), C.size_t(len(taints))
			terms := (*C.epp_terms)(unsafe.Pointer(room))
			if booking == 0 {
				return C.epp_select_worker(
					handle, &c, tokens, length, candidates, nCandidates, tainted, nTainted, &out, terms, capacity, n)
			}
			return C.epp_select_and_reserve(
				handle, &c, tokens, length, candidates, nCandidates, tainted, nTainted, &out, terms, capacity, n)
		}
		if !request.Explain {
			return put(nil, 0, nil)
		}
		return r.collectRows(&rows, put)
	})
	if err != nil {
		return Selection{}, err
	}
	return selection(&out, rows), nil
}

// collectRows is collect with room at once for as many rows as the last call had: asking twice costs twice.
func (r *Router) collectRows(
	rows *[]Terms, write func(room *Terms, capacity C.size_t, n *C.size_t) C.epp_status,
) C.epp_status {
	*rows = make([]Terms, r.lastRows.Load())
	status := collect(rows, write)
	if status != C.EPP_OK {
		*rows = nil
	} else {
		r.lastRows.Store(int64(len(*rows)))
	}
	return status
}

func selection(c *C.epp_selection, rows []Terms) Selection {
	s := Selection{
		Worker:               WorkerRank{uint64(c.worker_id), uint32(c.rank)},
		Split:                c.split != 0,
		BlockTokens:          uint32(c.block_tokens),
		PromptTokens:         uint64(c.prompt_tokens),
		CachedTokens:         uint64(c.cached_tokens),
		BestCachedTokens:     uint64(c.best_cached_tokens),
		UncachedTokens:       float64(c.uncached_tokens),
		Cost:                 float64(c.cost),
		PredictedTTFTSeconds: float64(c.predicted_ttft_s),
		Terms:                rows,
	}
	if s.Split {
		s.Prefill = WorkerRank{uint64(c.prefill_worker_id), uint32(c.prefill_rank)}
	}
	return s
}
