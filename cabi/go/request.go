package epp

// #include "epp.h"
import "C"

import (
	"math/rand/v2"
	"time"
	"unsafe"
)

// Policy is the rule that turns what is known into a choice.
type Policy uint32

// The policies. The zero value is the default.
const (
	PolicyKV          Policy = iota // weighted uncached prefill blocks plus decode blocks
	PolicyTTFT                      // least predicted time to first token
	PolicyRoundRobin                // each in turn
	PolicyRandom                    // any
	PolicyLeastLoaded               // fewest active blocks, whatever is cached
	PolicyPowerOfTwo                // the less loaded of two random ones
)

var cPolicies = [...]C.uint32_t{
	PolicyKV: C.EPP_POLICY_KV, PolicyTTFT: C.EPP_POLICY_TTFT, PolicyRoundRobin: C.EPP_POLICY_ROUND_ROBIN,
	PolicyRandom: C.EPP_POLICY_RANDOM, PolicyLeastLoaded: C.EPP_POLICY_LEAST_LOADED,
	PolicyPowerOfTwo: C.EPP_POLICY_POWER_OF_TWO,
}

func (p Policy) String() string {
	return name("Policy", p, "kv", "ttft", "round-robin", "random", "least-loaded", "power-of-two")
}

// AnyRank as Pin.Rank lets the policy choose among the worker's ranks.
const AnyRank int32 = -1

// Pin names the worker that must be chosen.
type Pin struct {
	WorkerID uint64
	Rank     int32 // or AnyRank
}

// Taint is a label of workers that a request requires or prefers.
type Taint struct {
	Name     string
	Required bool    // only workers that have it
	Weight   float64 // otherwise: how much those that have it are preferred; negative: avoided
}

// CostParams are the weights of the kv cost; start from DefaultCostParams.
type CostParams struct {
	OverlapCredit       float64 // blocks credited per device-resident block; 0 ignores the cache
	CreditDecay         float64 // how fast credit fades on workers with more queued prefill than the least loaded
	PrefillLoadScale    float64 // weight of uncached prefill against decode
	HostWeight          float64 // what a host-resident block is worth of a device-resident one
	DiskWeight          float64 // the same for farther tiers
	ActiveRequestWeight float64 // cost of each active request
	Temperature         float64 // 0: the least cost; higher: more evenly spread
}

// DefaultCostParams are the weights a request without CostParams is judged by.
func DefaultCostParams() CostParams {
	c := &defaultRequest
	return CostParams{
		OverlapCredit: float64(c.overlap_credit), CreditDecay: float64(c.credit_decay),
		PrefillLoadScale: float64(c.prefill_load_scale),
		HostWeight:       float64(c.host_weight), DiskWeight: float64(c.disk_weight),
		ActiveRequestWeight: float64(c.active_request_weight), Temperature: float64(c.temperature),
	}
}

// BusyLimits say when a rank is busy: when it exceeds any limit that is set. Workers whose ranks are all busy are
// not chosen.
type BusyLimits struct {
	DecodeFraction  *float64 // of active decode blocks in all blocks
	PrefillTokens   *float64 // active prefill tokens
	PrefillFraction *float64 // of active prefill tokens in MaxBatchedTokens
}

// HashedPrompt is a prompt by the hashes of its blocks, for a caller that has them at hand. A worker of another block
// size is taken to hold nothing of it.
type HashedPrompt struct {
	Hashes      []uint64 // chain hashes of its full blocks, as BlockHashes returns them
	BlockTokens uint32
	Tokens      uint64 // length of the prompt; its full blocks are as many as Hashes
}

// Request is one question. Only Tokens is usual; every other zero value means the default.
type Request struct {
	Tokens    []uint32      // the prompt
	Hashed    *HashedPrompt // the prompt instead of Tokens
	Namespace Namespace
	Policy    Policy
	Now       time.Time
	Seed      uint64        // the only source of randomness; 0: a fresh one
	Lease     time.Duration // life of the booking unless renewed; default 300 s

	ExpectedOutputTokens uint64   // 0: unknown
	Candidates           []uint64 // worker ids allowed, unknown ones are ignored; nil: all, empty: none
	Taints               []Taint
	Pin                  *Pin // the worker that serves (decodes)
	PrefillPin           *Pin // the worker that prefills

	CostParams        *CostParams // nil: DefaultCostParams
	NoKVReuse         bool        // this booking's blocks are not shared with equal prompts in the decode load
	NoPrefillTracking bool        // this booking adds no prefill load

	NoSplit                bool   // never use two workers; else when workers of both roles are at hand and:
	SplitMinUncachedTokens uint64 // the serving worker lacks at least so many tokens
	SplitMinPromptTokens   uint64 // the prompt is at least so long

	Busy    BusyLimits
	Explain bool // fill Selection.Terms, and predict times to first token whatever the policy
}

var defaultRequest = func() (c C.epp_request) {
	C.epp_request_init(&c)
	return c
}()

// c is the request as the library reads it, but for the slices.
func (q *Request) c(booking uint64) C.epp_request {
	c := defaultRequest
	c.booking = C.uint64_t(booking)
	c.policy = cPolicies[q.Policy]
	c.now_s = seconds(q.Now)
	c.seed = C.uint64_t(q.Seed)
	if q.Seed == 0 {
		c.seed = C.uint64_t(rand.Uint64())
	}
	if q.Hashed != nil {
		c.hash_block_tokens = C.uint32_t(q.Hashed.BlockTokens)
	}
	set(&c.lease_s, C.double(q.Lease.Seconds()))
	if q.Namespace != (Namespace{}) {
		c.namespace_seed = C.uint64_t(q.Namespace.Seed())
	}
	c.expected_output_tokens = C.uint64_t(q.ExpectedOutputTokens)
	c.disagg_min_uncached_tokens = C.uint64_t(q.SplitMinUncachedTokens)
	c.disagg_min_prompt_tokens = C.uint64_t(q.SplitMinPromptTokens)
	q.setFlags(&c)
	q.setPins(&c)
	q.setWeights(&c)
	return c
}

// prompt is what the library reads the prompt from, and its length in tokens.
func (q *Request) prompt() (unsafe.Pointer, C.size_t) {
	if q.Hashed != nil {
		return unsafe.Pointer(u64s(q.Hashed.Hashes)), C.size_t(q.Hashed.Tokens)
	}
	return pointer(q.Tokens), C.size_t(len(q.Tokens))
}

func (q *Request) setFlags(c *C.epp_request) {
	flag := func(bit C.uint32_t, on bool) {
		if c.flags &^= bit; on {
			c.flags |= bit
		}
	}
	flag(C.EPP_REQUEST_CANDIDATES, q.Candidates != nil)
	flag(C.EPP_REQUEST_KV_REUSE, !q.NoKVReuse)
	flag(C.EPP_REQUEST_TRACK_PREFILL, !q.NoPrefillTracking)
	flag(C.EPP_REQUEST_DISAGG, !q.NoSplit)
	flag(C.EPP_REQUEST_EXPLAIN, q.Explain)
}

func (q *Request) setPins(c *C.epp_request) {
	if pin := q.Pin; pin != nil {
		c.flags |= C.EPP_REQUEST_PIN
		c.pin_worker, c.pin_rank = C.uint64_t(pin.WorkerID), C.int32_t(pin.Rank)
	}
	if pin := q.PrefillPin; pin != nil {
		c.flags |= C.EPP_REQUEST_PREFILL_PIN
		c.prefill_pin_worker, c.prefill_pin_rank = C.uint64_t(pin.WorkerID), C.int32_t(pin.Rank)
	}
}

func (q *Request) setWeights(c *C.epp_request) {
	if p := q.CostParams; p != nil {
		c.overlap_credit, c.credit_decay = C.double(p.OverlapCredit), C.double(p.CreditDecay)
		c.prefill_load_scale = C.double(p.PrefillLoadScale)
		c.host_weight, c.disk_weight = C.double(p.HostWeight), C.double(p.DiskWeight)
		c.active_request_weight, c.temperature = C.double(p.ActiveRequestWeight), C.double(p.Temperature)
	}
	limit := func(field *C.double, given *float64) {
		if given != nil {
			*field = C.double(*given)
		}
	}
	limit(&c.busy_decode_fraction, q.Busy.DecodeFraction)
	limit(&c.busy_prefill_tokens, q.Busy.PrefillTokens)
	limit(&c.busy_prefill_fraction, q.Busy.PrefillFraction)
}

// cTaints are the request's labels, by hash.
func (q *Request) cTaints() []C.epp_taint {
	if len(q.Taints) == 0 {
		return nil
	}
	taints := make([]C.epp_taint, len(q.Taints))
	for i, taint := range q.Taints {
		taints[i].name = C.uint64_t(xxh3String(taint.Name, 0))
		taints[i].weight = C.double(taint.Weight)
		if taint.Required {
			taints[i].required = 1
		}
	}
	return taints
}
