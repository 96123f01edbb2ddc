//go:build linux && !asan

// The address sanitizer keeps freed memory for a while; it looks for leaks by itself.

package epp_test

import (
	"fmt"
	"os"
	"runtime"
	"testing"

	epp "github.com/llm-endpoint-picker/epp/cabi/go"
)

// residentBytes is what the process holds of the machine's memory, C's part included.
func residentBytes(t *testing.T) uint64 {
	t.Helper()
	data := must(os.ReadFile("/proc/self/statm"))(t)
	var size, resident uint64
	if _, err := fmt.Sscan(string(data), &size, &resident); err != nil {
		t.Fatal(err)
	}
	return resident * uint64(os.Getpagesize())
}

// forget makes a router that holds a few MiB in C, and drops it without Close.
func forget(t *testing.T, tokens []uint32) (bytes uint64) {
	router := must(epp.NewRouter(epp.Options{}))(t)
	must(router.UpsertWorker(epp.Worker{ID: 1, BlockTokens: blockTokens}))(t)
	store(t, router, 1, tokens)
	return must(router.Stats())(t).MemoryBytes
}

func TestAForgottenRouterIsFreed(t *testing.T) {
	const routers = 200
	tokens := prompt(20_000*blockTokens, 1)
	before, allocated := residentBytes(t), uint64(0)
	for range routers {
		allocated += forget(t, tokens)
		runtime.GC()
	}
	var grown uint64
	if now := residentBytes(t); now > before {
		grown = now - before
	}
	if limit := allocated / 4; grown > limit {
		t.Fatalf("%d bytes were allocated and forgotten, %d are still held", allocated, grown)
	}
}
