package epp

// #include "epp.h"
import "C"

import "unsafe"

// Role is which part of a request a worker does.
type Role uint32

// The roles.
const (
	RoleAggregated Role = C.EPP_ROLE_AGGREGATED
	RolePrefill    Role = C.EPP_ROLE_PREFILL
	RoleDecode     Role = C.EPP_ROLE_DECODE
	RoleEncode     Role = C.EPP_ROLE_ENCODE
)

func (r Role) String() string { return name("Role", r, "aggregated", "prefill", "decode", "encode") }

// Worker is what the router must know of a model server.
type Worker struct {
	ID               uint64
	Role             Role
	DPSize           uint32   // data-parallel ranks, at most 4096; 0 means 1
	BlockTokens      uint32   // tokens per KV block; 0: learnt from the first stored event
	TotalBlocks      uint64   // KV capacity per rank; 0: unknown
	MaxBatchedTokens uint64   // prefill budget per engine step; 0: unknown
	NoEvents         bool     // no event stream: what is sent there is remembered for Options.PredictedTTL
	Taints           []string // labels that a request may require or prefer
}

func (w *Worker) c() C.epp_worker {
	var c C.epp_worker
	C.epp_worker_init(&c)
	c.worker_id = C.uint64_t(w.ID)
	c.role = C.uint32_t(w.Role)
	set(&c.dp_size, C.uint32_t(w.DPSize))
	c.block_tokens = C.uint32_t(w.BlockTokens)
	c.total_blocks = C.uint64_t(w.TotalBlocks)
	c.max_batched_tokens = C.uint64_t(w.MaxBatchedTokens)
	if w.NoEvents {
		c.has_events = 0
	}
	return c
}

// UpsertWorker adds a worker or changes it; an equal description changes nothing. Shrinking DPSize forgets the
// ranks beyond it, another BlockTokens forgets the worker's blocks. dropped are the bookings that ended with
// removed ranks, ascending. Errors: ErrArgument, ErrCapacity (workers or ranks), ErrMemory.
func (r *Router) UpsertWorker(worker Worker) (dropped []uint64, err error) {
	c := worker.c()
	taints := make([]uint64, len(worker.Taints))
	for i, taint := range worker.Taints {
		taints[i] = xxh3String(taint, 0)
	}
	err = r.call("UpsertWorker", func(handle *C.epp_router) C.epp_status {
		return collect(&dropped, func(room *uint64, capacity C.size_t, n *C.size_t) C.epp_status {
			return C.epp_router_upsert_worker(handle, &c, u64s(taints), C.size_t(len(taints)),
				(*C.uint64_t)(room), capacity, n)
		})
	})
	return dropped, err
}

// RemoveWorker forgets a worker, its blocks and bookings (dropped, ascending). An unknown one is fine.
func (r *Router) RemoveWorker(workerID uint64) (dropped []uint64, err error) {
	err = r.call("RemoveWorker", func(handle *C.epp_router) C.epp_status {
		return collect(&dropped, func(room *uint64, capacity C.size_t, n *C.size_t) C.epp_status {
			return C.epp_router_remove_worker(handle, C.uint64_t(workerID), (*C.uint64_t)(room), capacity, n)
		})
	})
	return dropped, err
}

// LoadSample is load scraped from a worker's metrics page.
type LoadSample struct {
	WaitingRequests int64
	RunningRequests int64
	KVUsage         float64 // fraction of KV blocks in use
}

// UpdateLoad records scraped load; it is reported back in Terms and Loads. An unknown worker or rank is fine.
// Errors: ErrArgument.
func (r *Router) UpdateLoad(workerID uint64, rank uint32, load LoadSample) error {
	return r.call("UpdateLoad", func(handle *C.epp_router) C.epp_status {
		return C.epp_router_set_load(handle, C.uint64_t(workerID), C.uint32_t(rank),
			(*C.epp_load_sample)(unsafe.Pointer(&load)))
	})
}

// DropBlocks forgets every block of one rank, because its view can no longer be trusted, and says how many.
func (r *Router) DropBlocks(workerID uint64, rank uint32) (dropped uint64, err error) {
	var n C.size_t
	err = r.call("DropBlocks", func(handle *C.epp_router) C.epp_status {
		return C.epp_router_drop_blocks(handle, C.uint64_t(workerID), C.uint32_t(rank), &n)
	})
	return uint64(n), err
}
