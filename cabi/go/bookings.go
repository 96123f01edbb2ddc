package epp

/*
#cgo noescape epp_router_prefill_complete
#cgo nocallback epp_router_prefill_complete
#cgo noescape epp_router_output_block
#cgo nocallback epp_router_output_block
#cgo noescape epp_router_renew
#cgo nocallback epp_router_renew
#cgo noescape epp_router_end_booking
#cgo nocallback epp_router_end_booking
#include "epp.h"
*/
import "C"

import "time"

// PrefillComplete tells that a booking's prompt is computed: its tokens leave the prefill load. first is false, and
// done empty, if that was known already. Errors: ErrUnknownBooking.
func (r *Router) PrefillComplete(booking uint64, now time.Time) (done PrefillDone, first bool, err error) {
	var c C.epp_prefill_done
	var wasRunning C.uint32_t
	err = r.call("PrefillComplete", func(handle *C.epp_router) C.epp_status {
		return C.epp_router_prefill_complete(handle, C.uint64_t(booking), seconds(now), &wasRunning, &c)
	})
	if err != nil || wasRunning == 0 {
		return PrefillDone{}, false, err
	}
	return prefillDone(&c), true, nil
}

// NoDecay for OutputBlock: nothing is scaled.
const NoDecay = -1

// OutputBlock tells that one more block of output exists. decay in 0..1 becomes the weight of the blocks that only
// this booking holds; NoDecay leaves them. Errors: ErrUnknownBooking, ErrArgument.
func (r *Router) OutputBlock(booking uint64, decay float64) error {
	return r.call("OutputBlock", func(handle *C.epp_router) C.epp_status {
		return C.epp_router_output_block(handle, C.uint64_t(booking), C.double(decay))
	})
}

// Renew starts a booking's lease anew. Errors: ErrUnknownBooking.
func (r *Router) Renew(booking uint64, now time.Time) error {
	return r.call("Renew", func(handle *C.epp_router) C.epp_status {
		return C.epp_router_renew(handle, C.uint64_t(booking), seconds(now))
	})
}

// Free ends a booking. Errors: ErrUnknownBooking.
func (r *Router) Free(booking uint64) error {
	return r.call("Free", func(handle *C.epp_router) C.epp_status {
		return C.epp_router_end_booking(handle, C.uint64_t(booking))
	})
}

// Expire drops bookings whose lease ended (returned, ascending) and believed blocks whose time ended. Call it about
// once a second. Errors: ErrMemory.
func (r *Router) Expire(now time.Time) (expired []uint64, err error) {
	err = r.call("Expire", func(handle *C.epp_router) C.epp_status {
		return collect(&expired, func(room *uint64, capacity C.size_t, n *C.size_t) C.epp_status {
			return C.epp_router_expire(handle, seconds(now), (*C.uint64_t)(room), capacity, n)
		})
	})
	return expired, err
}
