package epp_test

import (
	"errors"
	"fmt"
	"log"
	"time"

	epp "github.com/llm-endpoint-picker/epp/cabi/go"
)

// The life of one request: choose and book, tell of the first token, end.
func Example() {
	router, err := epp.NewRouter(epp.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer router.Close()

	for _, name := range []string{"pool/pod-a", "pool/pod-b"} {
		if _, err := router.UpsertWorker(epp.Worker{ID: epp.WorkerID(name), BlockTokens: 4}); err != nil {
			log.Fatal(err)
		}
	}
	// pod-b says that it computed and keeps two blocks of four tokens.
	_, err = router.ApplyStored(epp.WorkerID("pool/pod-b"), 0, epp.Stored{
		Hashes: []uint64{101, 102}, Tokens: []uint32{1, 2, 3, 4, 5, 6, 7, 8}, BlockTokens: 4,
	}, time.Now())
	if err != nil {
		log.Fatal(err)
	}

	const booking = 1
	choice, err := router.SelectAndReserve(booking, &epp.Request{Tokens: []uint32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("pod-b:", choice.Worker.WorkerID == epp.WorkerID("pool/pod-b"))
	fmt.Println("cached tokens:", choice.CachedTokens, "of", choice.PromptTokens)

	done, first, err := router.PrefillComplete(booking, time.Now())
	fmt.Println("prefilled:", done.Booking, first, err)
	fmt.Println("freed:", router.Free(booking))
	// Output:
	// pod-b: true
	// cached tokens: 8 of 12
	// prefilled: 1 true <nil>
	// freed: <nil>
}

// Answers that choose nobody are errors to be told apart.
func ExampleRouter_SelectWorker_nobody() {
	router, err := epp.NewRouter(epp.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer router.Close()

	_, err = router.SelectWorker(&epp.Request{Tokens: []uint32{1, 2, 3}})
	switch {
	case errors.Is(err, epp.ErrNoWorkers):
		fmt.Println("503:", err)
	case errors.Is(err, epp.ErrOverloaded):
		fmt.Println("429:", err)
	}
	// Output: 503: epp: SelectWorker: no workers
}

// How much of a prompt each worker holds.
func ExampleRouter_Overlaps() {
	router, err := epp.NewRouter(epp.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer router.Close()

	for id := uint64(1); id <= 2; id++ {
		if _, err := router.UpsertWorker(epp.Worker{ID: id, BlockTokens: 2}); err != nil {
			log.Fatal(err)
		}
	}
	stored := epp.Stored{Hashes: []uint64{7}, Tokens: []uint32{1, 2}, BlockTokens: 2}
	if _, err := router.ApplyStored(2, 0, stored, time.Now()); err != nil {
		log.Fatal(err)
	}
	overlaps, err := router.Overlaps([]uint32{1, 2, 3, 4}, epp.Namespace{})
	if err != nil {
		log.Fatal(err)
	}
	for _, overlap := range overlaps {
		fmt.Println("worker", overlap.WorkerID, "holds", overlap.CachedTokens, "tokens")
	}
	// Output:
	// worker 1 holds 0 tokens
	// worker 2 holds 2 tokens
}

// Names of blocks, as every other part of the picker computes them.
func ExampleBlockHashes() {
	local, chain, err := epp.BlockHashes([]uint32{1, 2, 3, 4, 5, 6, 7, 8, 9}, 4, epp.HashOptions{})
	fmt.Println(len(local), len(chain), local[0] == chain[0], err)
	// Output: 2 2 true <nil>
}
