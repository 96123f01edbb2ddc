package epp

/*
#cgo noescape epp_router_apply
#cgo nocallback epp_router_apply
#cgo noescape epp_router_apply_payload
#cgo nocallback epp_router_apply_payload
#include "epp.h"
*/
import "C"

import (
	"time"
	"unsafe"
)

// Tier is where a block lives on a worker, nearest first.
type Tier uint32

// The tiers.
const (
	TierDevice   Tier = C.EPP_TIER_DEVICE
	TierHost     Tier = C.EPP_TIER_HOST
	TierDisk     Tier = C.EPP_TIER_DISK
	TierExternal Tier = C.EPP_TIER_EXTERNAL
)

func (t Tier) String() string { return name("Tier", t, "device", "host", "disk", "external") }

// EventKind is what happened to blocks.
type EventKind uint32

// The kinds of events.
const (
	EventStored  EventKind = C.EPP_EVENT_STORED  // a chain of full blocks became resident in a tier
	EventRemoved EventKind = C.EPP_EVENT_REMOVED // blocks left a tier
	EventCleared EventKind = C.EPP_EVENT_CLEARED // the rank's whole cache is empty
)

func (k EventKind) String() string { return name("EventKind", k, "stored", "removed", "cleared") }

// EventHasParent in Event.Flags: the chain continues from ParentHash.
const EventHasParent uint32 = C.EPP_EVENT_HAS_PARENT

// Event is one event of a Batch. Offsets count items of the batch's slices.
type Event struct {
	Kind          EventKind
	Tier          Tier
	Flags         uint32
	BlockTokens   uint32 // stored: tokens per block
	ParentHash    uint64 // the engine's name of the block before the first
	NamespaceSeed uint64 // stored at the root: Namespace.Seed
	FirstHash     uint64 // offset of the engine's names in Hashes
	NumBlocks     uint64
	FirstToken    uint64 // stored: offset of NumBlocks*BlockTokens ids in Tokens
	FirstMMCount  uint64 // stored: offset of NumBlocks counts in MMCounts, if those are given
	FirstMMHash   uint64 // stored: offset of the first counted hash in MMHashes
}

// Batch is many events over shared slices: one call, nothing copied.
type Batch struct {
	Events   []Event
	Hashes   []uint64
	Tokens   []uint32
	MMCounts []uint32 // nil: no multimodal items anywhere
	MMHashes []uint64
}

// Apply applies a batch to one rank, in order. What cannot be used is counted in the report, the rest applies.
// Errors: ErrArgument (an offset or kind outside its slice), ErrMemory.
func (r *Router) Apply(workerID uint64, rank uint32, batch Batch, now time.Time) (Report, error) {
	return r.applyBatch("Apply", workerID, rank, &batch, now)
}

// Stored describes a chain of full blocks that became resident.
type Stored struct {
	Hashes      []uint64  // the engine's own names, in chain order; only names, never recomputed
	Tokens      []uint32  // len(Hashes)*BlockTokens ids
	BlockTokens uint32    // tokens per block
	Parent      *uint64   // the engine's name of the block before the first; nil: the chain starts at the root
	Namespace   Namespace // of a chain that starts at the root; others have their parent's
	Tier        Tier
	MMCounts    []uint32 // per block, how many of MMHashes lie in it; nil: none
	MMHashes    []uint64
}

// ApplyStored applies one stored event. Errors: ErrArgument, ErrMemory.
func (r *Router) ApplyStored(workerID uint64, rank uint32, stored Stored, now time.Time) (Report, error) {
	const op = "ApplyStored"
	n := uint64(len(stored.Hashes))
	switch {
	case stored.BlockTokens == 0 || stored.BlockTokens > maxBlockTokens:
		return Report{}, wrong(op, "block size outside 1..2^20")
	case uint64(len(stored.Tokens)) != n*uint64(stored.BlockTokens):
		return Report{}, wrong(op, "Tokens are not len(Hashes)*BlockTokens")
	case len(stored.MMCounts) != 0 && uint64(len(stored.MMCounts)) != n:
		return Report{}, wrong(op, "MMCounts has not one count per block")
	}
	event := Event{
		Kind: EventStored, Tier: stored.Tier, BlockTokens: stored.BlockTokens,
		NamespaceSeed: stored.Namespace.Seed(), NumBlocks: n,
	}
	if stored.Parent != nil {
		event.Flags, event.ParentHash = EventHasParent, *stored.Parent
	}
	return r.applyBatch(op, workerID, rank, &Batch{
		Events: []Event{event}, Hashes: stored.Hashes, Tokens: stored.Tokens,
		MMCounts: stored.MMCounts, MMHashes: stored.MMHashes,
	}, now)
}

// ApplyRemoved applies one removed event: blocks, by the engine's names, left a tier. Errors: ErrArgument.
func (r *Router) ApplyRemoved(workerID uint64, rank uint32, hashes []uint64, tier Tier, now time.Time) (Report, error) {
	event := Event{Kind: EventRemoved, Tier: tier, NumBlocks: uint64(len(hashes))}
	return r.applyBatch("ApplyRemoved", workerID, rank, &Batch{Events: []Event{event}, Hashes: hashes}, now)
}

// ApplyCleared applies one cleared event: the rank's whole cache is empty.
func (r *Router) ApplyCleared(workerID uint64, rank uint32, now time.Time) (Report, error) {
	return r.applyBatch("ApplyCleared", workerID, rank, &Batch{Events: []Event{{Kind: EventCleared}}}, now)
}

// ApplyPayload applies one engine message as it came: msgpack [ts, [event, ...], rank], as vLLM, SGLang and
// Dynamo's mocker publish it. What cannot be used is counted in the report, the rest applies. Errors: ErrMemory.
func (r *Router) ApplyPayload(workerID uint64, rank uint32, payload []byte, now time.Time) (Report, error) {
	return r.apply("ApplyPayload", func(handle *C.epp_router, f *facts) C.epp_status {
		return C.epp_router_apply_payload(handle, C.uint64_t(workerID), C.uint32_t(rank), seconds(now),
			pointer(payload), C.size_t(len(payload)),
			&f.report, unsafe.SliceData(f.done), C.size_t(len(f.done)), &f.nDone,
			unsafe.SliceData(f.decode), C.size_t(len(f.decode)), &f.nDecode)
	})
}

func (r *Router) applyBatch(op string, workerID uint64, rank uint32, b *Batch, now time.Time) (Report, error) {
	return r.apply(op, func(handle *C.epp_router, f *facts) C.epp_status {
		return C.epp_router_apply(handle, C.uint64_t(workerID), C.uint32_t(rank), seconds(now),
			(*C.epp_event)(unsafe.Pointer(unsafe.SliceData(b.Events))), C.size_t(len(b.Events)),
			u64s(b.Hashes), C.size_t(len(b.Hashes)), pointer(b.Tokens), C.size_t(len(b.Tokens)),
			u32s(b.MMCounts), C.size_t(len(b.MMCounts)), u64s(b.MMHashes), C.size_t(len(b.MMHashes)),
			&f.report, unsafe.SliceData(f.done), C.size_t(len(f.done)), &f.nDone,
			unsafe.SliceData(f.decode), C.size_t(len(f.decode)), &f.nDecode)
	})
}
