package request

// #include "load.h"
import "C"

import (
	"context"
	"time"
	"unsafe"
)

const (
	// maxThreads bounds the calls under way: each holds an operating-system thread, and one event loop answers them all.
	maxThreads = 64
	// errorBytes is room for the sentences of a refused configuration.
	errorBytes      = 2048
	defaultDeadline = 10 * time.Second
	maxDeadline     = time.Hour
)

// Ending is how a booked request ended.
type Ending int

// The endings.
const (
	Completed  Ending = C.EPP_REQUEST_COMPLETED
	ClientGone Ending = C.EPP_REQUEST_CLIENT_GONE
	Failed     Ending = C.EPP_REQUEST_FAILED
)

// Picker is an engine in this process. Any goroutine may call anything at any time, Close included.
type Picker struct {
	number  C.epp_request_picker
	threads chan struct{}
}

// Open starts a picker, which at once begins to find workers and load tokenizers. config is YAML or JSON, see
// docs/configuration.md and docs/embedding.md. The first Open of a process takes about half a second.
// Errors: ErrConfig, ErrPython, ErrLibrary, ErrDeadline.
func Open(config string) (*Picker, error) {
	if err := Load(""); err != nil {
		return nil, err
	}
	var number C.epp_request_picker
	err := call("Open", func(room *C.char) C.epp_request_status {
		data := (*C.char)(unsafe.Pointer(unsafe.StringData(config)))
		return C.epp_go_open(data, C.size_t(len(config)), &number, room, errorBytes)
	})
	if err != nil {
		return nil, err
	}
	return &Picker{number, make(chan struct{}, maxThreads)}, nil
}

// WaitReady waits until somebody can be picked and every tokenizer has loaded or failed for the first time. The deadline
// of ctx counts, else ten seconds. Errors: ErrDeadline with the parts that are late, ErrClosed.
func (p *Picker) WaitReady(ctx context.Context) error {
	return p.call(ctx, "WaitReady", func(room *C.char) C.epp_request_status {
		return C.epp_go_wait_ready(p.number, C.double(remaining(ctx)), room, errorBytes)
	})
}

// SelectWorker chooses a worker for one request and books it there, unless the request asks only. The deadline of ctx
// counts, else ten seconds; a call under way is not interrupted by cancelling. Errors: a *Refusal, or an *Error with
// ErrArgument, ErrDeadline, ErrClosed.
func (p *Picker) SelectWorker(ctx context.Context, r *Request) (*Result, error) {
	var result C.epp_request_result
	C.epp_go_result_init(&result)
	var refused Status
	err := p.call(ctx, "SelectWorker", func(room *C.char) C.epp_request_status {
		lent := lend(r, remaining(ctx))
		defer lent.release()
		status := C.epp_go_select(p.number, &lent.input, &result, room, errorBytes)
		if status < C.EPP_REQUEST_NO_ENDPOINTS {
			return status
		}
		refused = Status(status)
		return C.EPP_REQUEST_OK
	})
	if err != nil {
		return nil, err
	}
	defer C.epp_go_free_result(&result)
	if refused != 0 {
		return nil, refusalOf(refused, &result)
	}
	return resultOf(&result), nil
}

// Finish ends a booked request; call it once per booking. Errors: ErrUnknownBooking, ErrClosed.
func (p *Picker) Finish(booking uint64, ending Ending) error {
	return p.call(context.Background(), "Finish", func(room *C.char) C.epp_request_status {
		return C.epp_go_finish(p.number, C.uint64_t(booking), C.int(ending), room, errorBytes)
	})
}

// Renew starts the lease of a booked request anew, for answers that take longer than routing.lease_s on workers without
// KV events. Errors: ErrUnknownBooking, ErrClosed.
func (p *Picker) Renew(booking uint64) error {
	return p.call(context.Background(), "Renew", func(room *C.char) C.epp_request_status {
		return C.epp_go_renew(p.number, C.uint64_t(booking), room, errorBytes)
	})
}

// Metrics is the picker's metrics page in Prometheus's text format, to serve on a path of the program's own. Errors:
// ErrClosed, ErrDeadline.
func (p *Picker) Metrics() ([]byte, error) {
	var page C.epp_request_text
	err := p.call(context.Background(), "Metrics", func(room *C.char) C.epp_request_status {
		return C.epp_go_metrics(p.number, &page, room, errorBytes)
	})
	if err != nil {
		return nil, err
	}
	defer C.epp_go_free_text(&page)
	return C.GoBytes(unsafe.Pointer(page.bytes), C.int(page.n_bytes)), nil
}

// Close stops the picker; calls under way end with ErrClosed. Errors: ErrClosed when it was closed before.
func (p *Picker) Close() error {
	return call("Close", func(room *C.char) C.epp_request_status {
		return C.epp_go_close(p.number, room, errorBytes)
	})
}

// call runs one library call when a thread may be spent on it.
func (p *Picker) call(ctx context.Context, op string, do func(room *C.char) C.epp_request_status) error {
	if p == nil || p.threads == nil {
		return &Error{Op: op, Status: ErrClosed, Detail: "the picker was not made by Open"}
	}
	select {
	case p.threads <- struct{}{}:
		defer func() { <-p.threads }()
	case <-ctx.Done():
		return &Error{Op: op, Status: ErrDeadline, Detail: ctx.Err().Error()}
	}
	return call(op, do)
}

// call is the only place where a status becomes an error.
func call(op string, do func(room *C.char) C.epp_request_status) error {
	var room [errorBytes]C.char
	if status := do(&room[0]); status != C.EPP_REQUEST_OK {
		return &Error{Op: op, Status: Status(status), Detail: C.GoString(&room[0])}
	}
	return nil
}

// remaining is the time a call may take, in seconds, in the range the library accepts.
func remaining(ctx context.Context) float64 {
	left := defaultDeadline
	if at, ok := ctx.Deadline(); ok {
		left = time.Until(at)
	}
	return min(max(left, time.Millisecond), maxDeadline).Seconds()
}
