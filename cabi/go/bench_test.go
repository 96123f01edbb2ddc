package epp_test

import (
	"testing"

	epp "github.com/llm-endpoint-picker/epp/cabi/go"
)

const (
	benchWorkers = 64
	benchTokens  = 8192
)

// warmFleet is 64 workers that hold different lengths of one prompt.
func warmFleet(b *testing.B, tokens []uint32) *epp.Router {
	b.Helper()
	ids := names(benchWorkers, 1)
	router := fleet(b, ids...)
	for i, id := range ids {
		store(b, router, id, tokens[:len(tokens)*(i+1)/benchWorkers])
	}
	return router
}

func BenchmarkBlockHashes8192Tokens(b *testing.B) {
	tokens := prompt(benchTokens, 1)
	b.SetBytes(4 * benchTokens)
	for b.Loop() {
		if _, _, err := epp.BlockHashes(tokens, blockTokens, epp.HashOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkSelectWorker8192Tokens64Workers(b *testing.B) {
	tokens := prompt(benchTokens, 1)
	router, request := warmFleet(b, tokens), &epp.Request{Tokens: tokens, Now: at(0)}
	b.ReportAllocs()
	for b.Loop() {
		must(router.SelectWorker(request))(b)
	}
}

func BenchmarkSelectWorkerExplained8192Tokens64Workers(b *testing.B) {
	tokens := prompt(benchTokens, 1)
	router, request := warmFleet(b, tokens), &epp.Request{Tokens: tokens, Now: at(0), Explain: true}
	b.ReportAllocs()
	for b.Loop() {
		must(router.SelectWorker(request))(b)
	}
}

func BenchmarkSelectWorkerParallel(b *testing.B) {
	tokens := prompt(benchTokens, 1)
	router := warmFleet(b, tokens)
	b.RunParallel(func(pb *testing.PB) {
		request := &epp.Request{Tokens: tokens, Now: at(0)}
		for pb.Next() {
			must(router.SelectWorker(request))(b)
		}
	})
}

func BenchmarkReserveAndFree2048Tokens64Workers(b *testing.B) {
	tokens := prompt(2048, 1)
	router, request := warmFleet(b, tokens), &epp.Request{Tokens: tokens, Now: at(0)}
	b.ReportAllocs()
	for b.Loop() {
		must(router.SelectAndReserve(1, request))(b)
		must(0, router.Free(1))(b)
	}
}

func BenchmarkApplyStoredAndCleared512Blocks(b *testing.B) {
	tokens, hashes := prompt(benchTokens, 1), names(benchTokens/blockTokens, 1)
	router := fleet(b, 1)
	stored := epp.Stored{Hashes: hashes, Tokens: tokens, BlockTokens: blockTokens}
	b.ReportAllocs()
	for b.Loop() {
		must(router.ApplyStored(1, 0, stored, at(0)))(b)
		must(router.ApplyCleared(1, 0, at(0)))(b)
	}
	b.ReportMetric(float64(b.N*len(hashes))/b.Elapsed().Seconds(), "blocks/s")
}

func BenchmarkStats(b *testing.B) { // what crossing into C costs
	router := fleet(b, 1)
	for b.Loop() {
		must(router.Stats())(b)
	}
}
