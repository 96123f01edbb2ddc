package request

// #include "load.h"
import "C"

import (
	"runtime"
	"unsafe"
)

// Header is one header. Names are compared in lower case.
type Header struct{ Name, Value string }

// Request is one request as it came from the client.
type Request struct {
	Method  string   // empty: POST
	Path    string   // decides the API, for example /v1/chat/completions
	Headers []Header // of repeated ones the last counts
	Body    []byte   // JSON as it came; empty: the request has none and nothing is booked
	ID      string   // empty: x-request-id, else one is made
	// Subset names the only endpoints allowed, as ip:port or bare ip; nil: all, empty but not nil: none.
	Subset []string
	// AskOnly makes it a question: nothing is booked, logged or counted, and Finish is not to be called.
	AskOnly bool
}

// lent is a request as C reads it: everything stays where Go has it, pinned until release.
type lent struct {
	input   C.epp_request_input
	headers []C.epp_request_header
	subset  []C.epp_request_text
	pins    runtime.Pinner
}

func lend(r *Request, deadlineSeconds float64) *lent {
	l := &lent{}
	C.epp_go_input_init(&l.input)
	l.input.deadline_s = C.double(deadlineSeconds)
	l.input.method, l.input.path, l.input.request_id = l.text(r.Method), l.text(r.Path), l.text(r.ID)
	l.input.body = l.bytes(unsafe.SliceData(r.Body), len(r.Body))
	if r.AskOnly {
		l.input.flags |= C.EPP_REQUEST_ASK_ONLY
	}
	l.lendHeaders(r.Headers)
	l.lendSubset(r.Subset)
	return l
}

func (l *lent) release() { l.pins.Unpin() }

func (l *lent) lendHeaders(headers []Header) {
	if len(headers) == 0 {
		return
	}
	l.headers = make([]C.epp_request_header, len(headers))
	for i, header := range headers {
		l.headers[i] = C.epp_request_header{name: l.text(header.Name), value: l.text(header.Value)}
	}
	l.pins.Pin(&l.headers[0])
	l.input.headers, l.input.n_headers = &l.headers[0], C.size_t(len(headers))
}

func (l *lent) lendSubset(subset []string) {
	if subset == nil {
		return
	}
	l.input.flags |= C.EPP_REQUEST_SUBSET
	if len(subset) == 0 {
		return
	}
	l.subset = make([]C.epp_request_text, len(subset))
	for i, entry := range subset {
		l.subset[i] = l.text(entry)
	}
	l.pins.Pin(&l.subset[0])
	l.input.subset, l.input.n_subset = &l.subset[0], C.size_t(len(subset))
}

func (l *lent) text(s string) C.epp_request_text { return l.bytes(unsafe.StringData(s), len(s)) }

func (l *lent) bytes(data *byte, n int) C.epp_request_text {
	if n == 0 {
		return C.epp_request_text{}
	}
	l.pins.Pin(data)
	return C.epp_request_text{bytes: (*C.char)(unsafe.Pointer(data)), n_bytes: C.size_t(n)}
}
