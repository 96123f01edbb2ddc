package request

// #include "load.h"
import "C"

import (
	"time"
	"unsafe"
)

// Exactness is how the token ids relate to what the engine will compute.
type Exactness uint32

// The degrees of exactness.
const (
	TokensNone      Exactness = C.EPP_REQUEST_TOKENS_NONE      // no tokens; the pick goes by load
	TokensEstimated Exactness = C.EPP_REQUEST_TOKENS_ESTIMATED // pseudo-tokens of a few bytes
	TokensPartial   Exactness = C.EPP_REQUEST_TOKENS_PARTIAL   // exact up to the first part that cannot be matched
	TokensExact     Exactness = C.EPP_REQUEST_TOKENS_EXACT
)

// Worker is one data-parallel rank of one model server.
type Worker struct {
	ID   uint64
	Rank uint32
	// Destination is its ip:port, IPv6 in brackets.
	Destination string
}

// Result is who serves a request. It belongs to the caller.
type Result struct {
	Worker
	Prefill       *Worker // who computes the prompt, where that is another one
	Booking       uint64  // for Finish; 0: nothing is booked
	SetHeaders    []Header
	RemoveHeaders []string // a client may not decide these
	Body          []byte   // forward this instead of the body; nil: as it came
	Tokens        []uint32 // token ids of the prompt
	Exactness     Exactness
	PromptTokens  uint64
	CachedTokens  uint64        // of these, resident on the worker that prefills
	PredictedTTFT time.Duration // 0: not estimated
	RequestID     string
	Reason        string // why this worker, in one line
	Degraded      string // why the tokens are not exact, one hyphenated word; empty: they are
}

func resultOf(c *C.epp_request_result) *Result {
	result := &Result{
		Worker:        Worker{uint64(c.worker_id), uint32(c.rank), textOf(c.destination)},
		Booking:       uint64(c.booking),
		SetHeaders:    headersOf(c),
		RemoveHeaders: removedOf(c),
		Body:          bytesOf(c.body),
		Tokens:        append([]uint32(nil), unsafe.Slice((*uint32)(c.tokens), c.n_tokens)...),
		Exactness:     Exactness(c.exactness),
		PromptTokens:  uint64(c.prompt_tokens),
		CachedTokens:  uint64(c.cached_tokens),
		PredictedTTFT: time.Duration(float64(c.predicted_ttft_s) * float64(time.Second)),
		RequestID:     textOf(c.request_id),
		Reason:        textOf(c.reason),
		Degraded:      textOf(c.degraded),
	}
	if c.split != 0 {
		result.Prefill = &Worker{uint64(c.prefill_worker_id), uint32(c.prefill_rank), textOf(c.prefill_destination)}
	}
	return result
}

func refusalOf(status Status, c *C.epp_request_result) *Refusal {
	return &Refusal{
		Status:     status,
		HTTPStatus: int(c.http_status),
		Headers:    headersOf(c),
		Body:       bytesOf(c.body),
		Reason:     textOf(c.reason),
	}
}

func headersOf(c *C.epp_request_result) []Header {
	headers := make([]Header, 0, c.n_set_headers)
	for _, header := range unsafe.Slice(c.set_headers, c.n_set_headers) {
		headers = append(headers, Header{textOf(header.name), textOf(header.value)})
	}
	return headers
}

func removedOf(c *C.epp_request_result) []string {
	var names []string
	for _, name := range unsafe.Slice(c.remove_headers, c.n_remove_headers) {
		names = append(names, textOf(name))
	}
	return names
}

func textOf(text C.epp_request_text) string { return string(bytesOf(text)) }

func bytesOf(text C.epp_request_text) []byte {
	return append([]byte(nil), unsafe.Slice((*byte)(unsafe.Pointer(text.bytes)), text.n_bytes)...)
}
