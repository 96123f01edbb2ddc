package epp

// #include "epp.h"
import "C"

import "fmt"

// Status is why a call was refused. Every Status is an error; match with [errors.Is].
type Status int32

// Errors: the call cannot be carried out.
const (
	// ErrArgument: an argument is outside its stated range.
	ErrArgument Status = C.EPP_E_ARGUMENT
	// ErrMemory: the C allocator had no room.
	ErrMemory Status = C.EPP_E_MEMORY
	// ErrCapacity: a bound of Options is reached.
	ErrCapacity Status = C.EPP_E_CAPACITY
	// ErrUnknownBooking: no booking has this id.
	ErrUnknownBooking Status = C.EPP_E_UNKNOWN
	// ErrDuplicateBooking: the booking id is taken.
	ErrDuplicateBooking Status = C.EPP_E_DUPLICATE
	// ErrSnapshotFormat: not a snapshot, or a damaged one.
	ErrSnapshotFormat Status = C.EPP_E_FORMAT
	// ErrSnapshotVersion: a snapshot of a version this library does not read.
	ErrSnapshotVersion Status = C.EPP_E_VERSION
	// ErrSnapshotChecksum: the snapshot's checksum is wrong.
	ErrSnapshotChecksum Status = C.EPP_E_CHECKSUM
)

// Answers of a selection that chooses nobody.
const (
	// ErrNoWorkers: no worker may serve at all.
	ErrNoWorkers Status = C.EPP_NO_WORKERS
	// ErrNoCandidates: candidates, pins or taints leave none.
	ErrNoCandidates Status = C.EPP_NO_CANDIDATES
	// ErrUnknownPin: a pin names an unknown worker.
	ErrUnknownPin Status = C.EPP_UNKNOWN_PIN
	// ErrRankOutOfRange: a pin's rank is not below the worker's DPSize.
	ErrRankOutOfRange Status = C.EPP_RANK_OUT_OF_RANGE
	// ErrOverloaded: every eligible worker is busy by the given limits.
	ErrOverloaded Status = C.EPP_OVERLOADED
)

// Errors of this package rather than of the library. Negative: the library's numbers are not.
const (
	// ErrClosed: the router is closed, or was never made by NewRouter.
	ErrClosed Status = -1
	// ErrABI: the library that runs has another ABI than this package.
	ErrABI Status = -2
	// ErrInvariant: Validate found the router's state broken.
	ErrInvariant Status = -3
)

// Error names the status; numbers that mean nothing have a text too.
func (s Status) Error() string {
	switch s {
	case ErrClosed:
		return "router is closed"
	case ErrABI:
		return "library of another ABI version"
	case ErrInvariant:
		return "broken invariant"
	}
	return C.GoString(C.epp_status_name(C.int(s)))
}

// Error is a refused call: which, why, and what there is to say about it.
type Error struct {
	Op     string // the method or function, such as "SelectWorker"
	Status Status
	Detail string // may be empty
}

func (e *Error) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("epp: %s: %s", e.Op, e.Status.Error())
	}
	return fmt.Sprintf("epp: %s: %s: %s", e.Op, e.Status.Error(), e.Detail)
}

// Unwrap lets errors.Is and errors.As find the Status.
func (e *Error) Unwrap() error { return e.Status }

// failure is the only place where a status becomes an error.
func failure(op string, status C.epp_status) error {
	if status == C.EPP_OK {
		return nil
	}
	return &Error{Op: op, Status: Status(status)}
}

func wrong(op, detail string) error { return &Error{Op: op, Status: ErrArgument, Detail: detail} }
