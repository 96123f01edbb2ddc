package epp_test

import (
	"errors"
	"testing"
	"time"

	epp "github.com/llm-endpoint-picker/epp/cabi/go"
)

const blockTokens = 16

// start is when every test begins; time is an argument.
var start = time.Now()

func at(after time.Duration) time.Time { return start.Add(after) }

// newRouter makes a router that is checked for broken invariants, and closed, when the test ends.
func newRouter(t testing.TB, options epp.Options) *epp.Router {
	t.Helper()
	router := must(epp.NewRouter(options))(t)
	t.Cleanup(func() {
		if err := router.Validate(); err != nil && !errors.Is(err, epp.ErrClosed) {
			t.Error(err)
		}
		if err := router.Close(); err != nil {
			t.Error(err)
		}
	})
	return router
}

// fleet is a router that knows some workers with blocks of 16 tokens.
func fleet(t testing.TB, ids ...uint64) *epp.Router {
	t.Helper()
	router := newRouter(t, epp.Options{})
	for _, id := range ids {
		must(router.UpsertWorker(epp.Worker{ID: id, BlockTokens: blockTokens}))(t)
	}
	return router
}

// must unwraps a result whose call may not fail.
func must[T any](value T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

// refused expects an error of a status.
func refused(t testing.TB, want epp.Status, err error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func equal[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// prompt is n tokens that count up.
func prompt(n int, first uint32) []uint32 {
	tokens := make([]uint32, n)
	for i := range tokens {
		tokens[i] = first + uint32(i)
	}
	return tokens
}

// names are engine names of n blocks.
func names(n int, first uint64) []uint64 {
	hashes := make([]uint64, n)
	for i := range hashes {
		hashes[i] = first + uint64(i)
	}
	return hashes
}

// store makes a prompt's full blocks resident on rank 0 of a worker.
func store(t testing.TB, router *epp.Router, worker uint64, tokens []uint32) epp.Report {
	t.Helper()
	n := len(tokens) / blockTokens
	return must(router.ApplyStored(worker, 0, epp.Stored{
		Hashes: names(n, 1000*worker), Tokens: tokens[:n*blockTokens], BlockTokens: blockTokens,
	}, at(0)))(t)
}

func pointer[T any](value T) *T { return &value }

// total is how much of a batch changed nothing.
func total(report epp.Report) (n uint64) {
	for _, count := range report.Ignored {
		n += count
	}
	return n
}
