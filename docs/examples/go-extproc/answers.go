package main

import (
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	extproc "github.com/envoyproxy/go-control-plane/envoy/service/ext_proc/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/llm-endpoint-picker/epp/cabi/go/request"
)

// The names of the Endpoint Picker Protocol: a gateway steers by the header or by the metadata.
const (
	destinationKey       = "x-gateway-destination-endpoint"
	destinationNamespace = "envoy.lb"
)

// phase makes the answer to one kind of message; nil: nothing changes.
type phase func(change *extproc.CommonResponse) *extproc.ProcessingResponse

func onHeaders(change *extproc.CommonResponse) *extproc.ProcessingResponse {
	answer := &extproc.HeadersResponse{Response: change}
	return &extproc.ProcessingResponse{Response: &extproc.ProcessingResponse_RequestHeaders{RequestHeaders: answer}}
}

func onBody(change *extproc.CommonResponse) *extproc.ProcessingResponse {
	answer := &extproc.BodyResponse{Response: change}
	return &extproc.ProcessingResponse{Response: &extproc.ProcessingResponse_RequestBody{RequestBody: answer}}
}

// steer sends the request to the chosen worker.
func steer(on phase, chosen *request.Result) *extproc.ProcessingResponse {
	change := &extproc.CommonResponse{HeaderMutation: set(chosen.SetHeaders)}
	change.HeaderMutation.RemoveHeaders = chosen.RemoveHeaders
	if chosen.Body != nil {
		change.BodyMutation = &extproc.BodyMutation{Mutation: &extproc.BodyMutation_Body{Body: chosen.Body}}
	}
	answer := on(change)
	answer.DynamicMetadata = fields(destinationNamespace, structpb.NewStructValue(
		fields(destinationKey, structpb.NewStringValue(chosen.Destination)),
	))
	return answer
}

// refuse answers the client in the worker's place.
func refuse(refusal *request.Refusal) *extproc.ProcessingResponse {
	answer := &extproc.ImmediateResponse{
		Status:  &typev3.HttpStatus{Code: typev3.StatusCode(refusal.HTTPStatus)},
		Headers: set(refusal.Headers),
		Body:    refusal.Body,
	}
	return &extproc.ProcessingResponse{Response: &extproc.ProcessingResponse_ImmediateResponse{ImmediateResponse: answer}}
}

func set(headers []request.Header) *extproc.HeaderMutation {
	mutation := &extproc.HeaderMutation{}
	for _, header := range headers {
		mutation.SetHeaders = append(mutation.SetHeaders, &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: header.Name, RawValue: []byte(header.Value)},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	return mutation
}

func fields(name string, value *structpb.Value) *structpb.Struct {
	return &structpb.Struct{Fields: map[string]*structpb.Value{name: value}}
}
