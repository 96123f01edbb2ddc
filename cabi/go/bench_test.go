package epp_test

import (
	"encoding/binary"
	"fmt"
	"testing"

	epp "github.com/llm-endpoint-picker/epp/cabi/go"
)

// tests/bench/core.py reads the names below: what is measured, then its sizes.
const (
	benchWorkers = 64
	benchTokens  = 8192
	benchBlocks  = 64
)

// warmFleet is workers that hold different lengths of one prompt.
func warmFleet(b *testing.B, workers int, tokens []uint32) *epp.Router {
	b.Helper()
	ids := names(workers, 1)
	router := fleet(b, ids...)
	for i, id := range ids {
		n := len(tokens) / blockTokens * (i + 1) / workers
		stored := epp.Stored{Hashes: names(n, 1), Tokens: tokens[:n*blockTokens], BlockTokens: blockTokens}
		must(router.ApplyStored(id, 0, stored, at(0)))(b)
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

func BenchmarkSelect(b *testing.B) {
	for _, length := range []int{512, 2048, 8192, 32768} {
		for _, workers := range []int{4, 64, 512} {
			b.Run(fmt.Sprintf("%d_tokens_%d_workers", length, workers), func(b *testing.B) {
				tokens := prompt(length, 1)
				router, request := warmFleet(b, workers, tokens), &epp.Request{Tokens: tokens, Now: at(0)}
				b.ReportAllocs()
				for b.Loop() {
					must(router.SelectWorker(request))(b)
				}
			})
		}
	}
}

func BenchmarkSelectExplained8192Tokens64Workers(b *testing.B) {
	tokens := prompt(benchTokens, 1)
	router := warmFleet(b, benchWorkers, tokens)
	request := &epp.Request{Tokens: tokens, Now: at(0), Explain: true}
	b.ReportAllocs()
	for b.Loop() {
		must(router.SelectWorker(request))(b)
	}
}

func BenchmarkSelectParallel(b *testing.B) {
	tokens := prompt(benchTokens, 1)
	router := warmFleet(b, benchWorkers, tokens)
	b.RunParallel(func(pb *testing.PB) {
		request := &epp.Request{Tokens: tokens, Now: at(0)}
		for pb.Next() {
			must(router.SelectWorker(request))(b)
		}
	})
}

func BenchmarkReserveAndFree(b *testing.B) {
	tokens := prompt(2048, 1)
	router, request := warmFleet(b, benchWorkers, tokens), &epp.Request{Tokens: tokens, Now: at(0)}
	b.ReportAllocs()
	for b.Loop() {
		must(router.SelectAndReserve(1, request))(b)
		must(0, router.Free(1))(b)
	}
}

func reportBlocks(b *testing.B) {
	b.ReportMetric(float64(b.N*benchBlocks)/b.Elapsed().Seconds(), "blocks/s")
}

func BenchmarkApplyFlat(b *testing.B) {
	tokens, hashes := prompt(benchBlocks*blockTokens, 1), names(benchBlocks, 1)
	router := fleet(b, 1)
	stored := epp.Stored{Hashes: hashes, Tokens: tokens, BlockTokens: blockTokens}
	b.ReportAllocs()
	for b.Loop() {
		must(router.ApplyStored(1, 0, stored, at(0)))(b)
		must(router.ApplyRemoved(1, 0, hashes, epp.TierDevice, at(0)))(b)
	}
	reportBlocks(b)
}

// list begins a msgpack array.
func list(message []byte, n int) []byte {
	return binary.BigEndian.AppendUint16(append(message, 0xdc), uint16(n))
}

// storedMessage is an engine's message that stores one chain of blocks.
func storedMessage(hashes []uint64, tokens []uint32) []byte {
	text := func(message []byte, s string) []byte { return append(append(message, 0xa0|byte(len(s))), s...) }
	message := append(list(append(list(nil, 2), 0), 1), 0x84)
	message = list(text(text(text(message, "type"), "BlockStored"), "block_hashes"), len(hashes))
	for _, hash := range hashes {
		message = binary.BigEndian.AppendUint64(append(message, 0xcf), hash)
	}
	message = list(text(message, "token_ids"), len(tokens))
	for _, token := range tokens {
		message = binary.BigEndian.AppendUint32(append(message, 0xce), token)
	}
	return append(text(message, "block_size"), blockTokens)
}

func BenchmarkApplyMsgpack(b *testing.B) {
	hashes := names(benchBlocks, 1)
	message := storedMessage(hashes, prompt(benchBlocks*blockTokens, 1))
	router := fleet(b, 1)
	report := must(router.ApplyPayload(1, 0, message, at(0)))(b)
	equal(b, "stored blocks", report.StoredBlocks, benchBlocks)
	b.ReportAllocs()
	for b.Loop() {
		must(router.ApplyRemoved(1, 0, hashes, epp.TierDevice, at(0)))(b)
		must(router.ApplyPayload(1, 0, message, at(0)))(b)
	}
	reportBlocks(b)
}

func BenchmarkStats(b *testing.B) { // what crossing into C costs
	router := fleet(b, 1)
	for b.Loop() {
		must(router.Stats())(b)
	}
}
