package epp

// #include "epp.h"
import "C"

import (
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
	"unsafe"
)

// Options are the bounds and priors of a router, fixed for its life. A zero field means the default.
type Options struct {
	MaxWorkers  uint32 // default 4096
	MaxRanks    uint32 // of all workers together; default and limit 65536
	MaxBookings uint32 // default 1,000,000
	MaxBlocks   uint64 // (worker, rank, block) triples, at most 2^32-1; default 16,000,000

	// PredictedTTL is how long a block is believed to be on a worker without events; default 120 s.
	PredictedTTL time.Duration
	// PrefillTokensPerSecond is reckoned with until a rank's own rate is learnt; default 8000.
	PrefillTokensPerSecond float64
	// BlockTokens is the block size assumed while a worker's is unknown; default 16.
	BlockTokens uint32
}

func (o Options) c() C.epp_options {
	var c C.epp_options
	C.epp_options_init(&c)
	set(&c.max_workers, C.uint32_t(o.MaxWorkers))
	set(&c.max_ranks, C.uint32_t(o.MaxRanks))
	set(&c.max_bookings, C.uint32_t(o.MaxBookings))
	set(&c.max_blocks, C.uint64_t(o.MaxBlocks))
	set(&c.predicted_ttl_s, C.double(o.PredictedTTL.Seconds()))
	set(&c.default_prefill_tokens_per_s, C.double(o.PrefillTokensPerSecond))
	set(&c.default_block_tokens, C.uint32_t(o.BlockTokens))
	return c
}

// set overrides a default by a value that is given.
func set[T comparable](field *T, given T) {
	var zero T
	if given != zero {
		*field = given
	}
}

// Router knows workers, resident blocks and bookings, and chooses. Make one with NewRouter; do not copy it.
type Router struct {
	mu       sync.RWMutex  // held for reading by calls, for Close to wait: the library has locks of its own
	handle   *C.epp_router // nil: closed
	cleanup  runtime.Cleanup
	facts    sync.Pool    // of *facts: room for what an apply tells
	lastRows atomic.Int64 // how many Terms were told last
}

// NewRouter makes a router that knows nothing. Errors: ErrArgument, ErrMemory, ErrABI.
func NewRouter(options Options) (*Router, error) {
	if err := checkABI(uint32(C.epp_abi_version())); err != nil {
		return nil, err
	}
	c := options.c()
	var handle *C.epp_router
	if err := failure("NewRouter", C.epp_router_new(&c, &handle)); err != nil {
		return nil, err
	}
	r := &Router{handle: handle, facts: sync.Pool{New: func() any { return new(facts) }}}
	r.cleanup = runtime.AddCleanup(r, freeHandle, handle)
	return r, nil
}

func freeHandle(handle *C.epp_router) { C.epp_router_free(handle) }

// Close gives the router's memory back, after the calls under way; later calls fail with ErrClosed. Closing
// twice is fine. The error is always nil; it makes a Router an io.Closer.
func (r *Router) Close() error {
	if r == nil {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.handle != nil {
		r.cleanup.Stop()
		freeHandle(r.handle)
		r.handle = nil
	}
	return nil
}

// call runs one library call on the open router, beside other calls.
func (r *Router) call(op string, do func(handle *C.epp_router) C.epp_status) error {
	if r == nil {
		return &Error{Op: op, Status: ErrClosed}
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.handle == nil {
		return &Error{Op: op, Status: ErrClosed}
	}
	return failure(op, do(r.handle))
}

// collect runs a library call that writes a variable number of items, again with more room while it asks for
// some: a call that lacks room has changed nothing.
func collect[T any](into *[]T, write func(room *T, capacity C.size_t, n *C.size_t) C.epp_status) C.epp_status {
	for items := *into; ; {
		var n C.size_t
		switch status := write(unsafe.SliceData(items), C.size_t(len(items)), &n); status {
		case C.EPP_OK:
			*into = items[:n:n]
			return status
		case C.EPP_E_BUFFER:
			items = make([]T, n)
		default:
			return status
		}
	}
}

// --- time ---------------------------------------------------------------------------------------------

// epoch is where the seconds that the library sees begin.
var epoch = time.Now()

// seconds since the epoch; the zero time means now.
func seconds(t time.Time) C.double {
	if t.IsZero() {
		return C.double(time.Since(epoch).Seconds())
	}
	return C.double(t.Sub(epoch).Seconds())
}

// instant is the inverse of seconds; what lies beyond a Duration is cut to it.
func instant(s C.double) time.Time {
	ns := float64(s) * float64(time.Second)
	switch {
	case ns >= math.MaxInt64:
		return epoch.Add(math.MaxInt64)
	case ns <= math.MinInt64:
		return epoch.Add(math.MinInt64)
	}
	return epoch.Add(time.Duration(math.Round(ns)))
}
