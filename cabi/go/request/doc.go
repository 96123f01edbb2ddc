// Package request chooses a model server for a whole OpenAI request: body in; worker, headers and token ids out.
//
// A [Picker] is the endpoint picker's engine inside this process, with the configuration file of the picker: it finds
// model servers, follows their KV-cache events, reads their load and holds their tokenizers.
//
//	picker, err := request.Open(config)
//	...
//	defer picker.Close()
//	err = picker.WaitReady(ctx)
//	chosen, err := picker.SelectWorker(ctx, &request.Request{Path: "/v1/chat/completions", Body: body})
//	var refusal *request.Refusal
//	switch {
//	case errors.As(err, &refusal): // answer the client with refusal.HTTPStatus, .Headers and .Body
//	case err != nil: // the picker cannot be asked
//	}
//	// set chosen.SetHeaders, send the request to chosen.Destination, and when its answer has ended:
//	err = picker.Finish(chosen.Booking, request.Completed)
//
// # Building and running
//
// Building needs cgo and a C compiler, nothing else. At run time libepp_request.so is loaded: from the path in
// EPP_REQUEST_LIBRARY, else by its name as the system's loader finds libraries; [Load] says so in the program. It
// starts a Python interpreter in this process; docs/embedding.md says what has to be installed.
//
// The package epp beside this one is the native core alone: token ids in, a worker out, no interpreter.
package request
