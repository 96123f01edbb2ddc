// Package epp chooses which LLM model server ("worker") takes a request.
//
// A [Router] knows the workers, the KV-cache blocks each of them holds, and the requests that were sent there and
// are not finished ("bookings"). Given the token ids of a prompt it chooses the worker that will serve it best,
// and books it in the same step:
//
//	router, err := epp.NewRouter(epp.Options{})
//	...
//	defer router.Close()
//	router.UpsertWorker(epp.Worker{ID: epp.WorkerID("pool/pod-a"), BlockTokens: 16})
//	router.ApplyPayload(worker, rank, message, time.Now())       // the engine's KV events, as they come
//	choice, err := router.SelectAndReserve(booking, &epp.Request{Tokens: tokens})
//	...
//	router.PrefillComplete(booking, time.Now())                  // first token seen
//	router.Free(booking)                                         // answer finished
//	router.Expire(time.Now())                                    // once a second: leases and TTLs
//
// # Rules
//
// Any goroutine may call anything at any time, [Router.Close] included. Calls that only ask run side by side; batches
// of events run alone, and nobody waits for more than one of them. A router that is forgotten is freed when the garbage
// collector finds it.
//
// Slices are borrowed for the call and never copied on the way in. What a method returns belongs to the caller.
// A call that fails has changed nothing.
//
// Times are [time.Time]; the zero value means now. Intervals are measured on the monotonic clock where
// the values carry one. Nothing happens because time passes: only calls change state.
//
// Errors are of type [*Error]; compare them with [errors.Is] against ErrUnknownBooking, ErrOverloaded and the
// other constants of type [Status].
//
// # Building
//
// The C sources travel with the module and cgo compiles them: a C compiler (GCC or clang) and CGO_ENABLED=1 are
// all it takes. Hosts must be little-endian, because token slices are read where they lie.
package epp
