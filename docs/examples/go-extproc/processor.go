package main

import (
	"context"
	"errors"
	"io"
	"log"

	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/llm-endpoint-picker/epp/cabi/go/request"
)

// processor serves Envoy's ext_proc filter in the mode BUFFERED for request bodies and NONE for response bodies.
type processor struct {
	extproc.UnimplementedExternalProcessorServer
	picker *request.Picker
}

// exchange is one HTTP request on its stream.
type exchange struct {
	picker    *request.Picker
	request   request.Request
	booking   uint64
	responded bool
}

// Process follows one HTTP request; its stream ends when the response has ended, or the client has left.
func (p *processor) Process(stream extproc.ExternalProcessor_ProcessServer) error {
	e := &exchange{picker: p.picker}
	defer e.end()
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) || status.Code(err) == codes.Canceled {
			return nil
		}
		if err != nil {
			return err
		}
		answer, err := e.answer(stream.Context(), message)
		if err != nil {
			return err
		}
		if err := stream.Send(answer); err != nil {
			return err
		}
	}
}

func (e *exchange) answer(ctx context.Context, message *extproc.ProcessingRequest) (*extproc.ProcessingResponse, error) {
	switch m := message.Request.(type) {
	case *extproc.ProcessingRequest_RequestHeaders:
		e.read(m.RequestHeaders)
		if m.RequestHeaders.EndOfStream {
			return e.pick(ctx, onHeaders)
		}
		return onHeaders(nil), nil
	case *extproc.ProcessingRequest_RequestBody:
		e.request.Body = m.RequestBody.Body
		return e.pick(ctx, onBody)
	case *extproc.ProcessingRequest_ResponseHeaders:
		e.responded = true
		unchanged := &extproc.ProcessingResponse_ResponseHeaders{ResponseHeaders: &extproc.HeadersResponse{}}
		return &extproc.ProcessingResponse{Response: unchanged}, nil
	case *extproc.ProcessingRequest_RequestTrailers:
		unchanged := &extproc.ProcessingResponse_RequestTrailers{RequestTrailers: &extproc.TrailersResponse{}}
		return &extproc.ProcessingResponse{Response: unchanged}, nil
	case *extproc.ProcessingRequest_ResponseTrailers:
		unchanged := &extproc.ProcessingResponse_ResponseTrailers{ResponseTrailers: &extproc.TrailersResponse{}}
		return &extproc.ProcessingResponse{Response: unchanged}, nil
	}
	return nil, status.Errorf(codes.InvalidArgument, "%T is not handled", message.Request)
}

func (e *exchange) read(headers *extproc.HttpHeaders) {
	for _, header := range headers.GetHeaders().GetHeaders() {
		value := string(header.RawValue)
		switch header.Key {
		case ":method":
			e.request.Method = value
		case ":path":
			e.request.Path = value
		default:
			e.request.Headers = append(e.request.Headers, request.Header{Name: header.Key, Value: value})
		}
	}
}

// pick chooses the worker, or refuses as the library says.
func (e *exchange) pick(ctx context.Context, on phase) (*extproc.ProcessingResponse, error) {
	chosen, err := e.picker.SelectWorker(ctx, &e.request)
	var refusal *request.Refusal
	if errors.As(err, &refusal) {
		return refuse(refusal), nil
	}
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	e.booking, e.request.Body = chosen.Booking, nil
	return steer(on, chosen), nil
}

// end ends the booking, however the request ended.
func (e *exchange) end() {
	if e.booking == 0 {
		return
	}
	ending := request.ClientGone
	if e.responded {
		ending = request.Completed
	}
	if err := e.picker.Finish(e.booking, ending); err != nil && !errors.Is(err, request.ErrUnknownBooking) {
		log.Print(err)
	}
}
