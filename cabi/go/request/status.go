package request

// #include "load.h"
import "C"

import "fmt"

// Status is why a call failed. Every Status is an error; match with [errors.Is].
type Status int32

// The statuses.
const (
	// ErrArgument: something is outside its stated range, or text is not UTF-8.
	ErrArgument Status = C.EPP_REQUEST_E_ARGUMENT
	// ErrMemory: no room for a result.
	ErrMemory Status = C.EPP_REQUEST_E_MEMORY
	// ErrConfig: the configuration is refused.
	ErrConfig Status = C.EPP_REQUEST_E_CONFIG
	// ErrPython: the interpreter or its packages could not be started.
	ErrPython Status = C.EPP_REQUEST_E_PYTHON
	// ErrClosed: the picker is closed.
	ErrClosed Status = C.EPP_REQUEST_E_CLOSED
	// ErrDeadline: not done in time; nothing is booked.
	ErrDeadline Status = C.EPP_REQUEST_E_DEADLINE
	// ErrUnknownBooking: no booking has this id: it ended, its lease ended, or its worker left.
	ErrUnknownBooking Status = C.EPP_REQUEST_E_UNKNOWN
	// ErrInternal: a mistake of the library's own.
	ErrInternal Status = C.EPP_REQUEST_E_INTERNAL
	// ErrNoEndpoints: nobody may serve this request.
	ErrNoEndpoints Status = C.EPP_REQUEST_NO_ENDPOINTS
	// ErrSaturated: everybody is busy.
	ErrSaturated Status = C.EPP_REQUEST_SATURATED
	// ErrRefused: the client's mistake.
	ErrRefused Status = C.EPP_REQUEST_REFUSED
	// ErrLibrary: libepp_request cannot be loaded. Negative: the library's numbers are not.
	ErrLibrary Status = -1
)

// Error names the status.
func (s Status) Error() string {
	switch s {
	case ErrArgument:
		return "argument"
	case ErrMemory:
		return "memory"
	case ErrConfig:
		return "config"
	case ErrPython:
		return "python"
	case ErrClosed:
		return "closed"
	case ErrDeadline:
		return "deadline"
	case ErrUnknownBooking:
		return "unknown"
	case ErrInternal:
		return "internal"
	case ErrNoEndpoints:
		return "no-endpoints"
	case ErrSaturated:
		return "saturated"
	case ErrRefused:
		return "refused"
	case ErrLibrary:
		return "library"
	}
	return "unknown status"
}

// Error is a failed call: which, why, and what there is to say about it.
type Error struct {
	Op     string // the function or method, such as "SelectWorker"
	Status Status
	Detail string // may be empty
}

func (e *Error) Error() string {
	return fmt.Sprintf("epp/request: %s: %s: %s", e.Op, e.Status.Error(), e.Detail)
}

// Unwrap lets errors.Is and errors.As find the Status.
func (e *Error) Unwrap() error { return e.Status }

// Refusal is the answer that nobody serves a request, ready to be sent to the client.
type Refusal struct {
	Status     Status // ErrNoEndpoints, ErrSaturated or ErrRefused
	HTTPStatus int
	Headers    []Header // of the response
	Body       []byte   // of the response: an OpenAI error object
	Reason     string   // one sentence
}

func (r *Refusal) Error() string { return fmt.Sprintf("%d: %s", r.HTTPStatus, r.Reason) }

// Unwrap lets errors.Is find the Status.
func (r *Refusal) Unwrap() error { return r.Status }
