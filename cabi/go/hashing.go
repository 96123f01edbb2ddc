package epp

/*
#cgo noescape epp_xxh3_64
#cgo nocallback epp_xxh3_64
#cgo noescape epp_worker_id
#cgo nocallback epp_worker_id
#cgo noescape epp_namespace_seed
#cgo nocallback epp_namespace_seed
#cgo noescape epp_hash_blocks
#cgo nocallback epp_hash_blocks
#include "epp.h"
*/
import "C"

import "unsafe"

// XXH3 is the XXH3-64 hash of some bytes, with a seed: the hash behind every identity here.
func XXH3(data []byte, seed uint64) uint64 {
	return uint64(C.epp_xxh3_64(unsafe.Pointer(unsafe.SliceData(data)), C.size_t(len(data)), C.uint64_t(seed)))
}

func xxh3String(text string, seed uint64) uint64 {
	return uint64(C.epp_xxh3_64(unsafe.Pointer(unsafe.StringData(text)), C.size_t(len(text)), C.uint64_t(seed)))
}

// WorkerID is the id of a worker that has only a name, such as "namespace/pod": below 2^53, so exact in JSON.
func WorkerID(name string) uint64 {
	data, n := text(name)
	return uint64(C.epp_worker_id(data, n))
}

// text lends a string to C; it is read by its length, never to a NUL.
func text(s string) (*C.char, C.size_t) {
	return (*C.char)(unsafe.Pointer(unsafe.StringData(s))), C.size_t(len(s))
}

// Namespace separates blocks that must never be shared although their tokens are equal.
type Namespace struct {
	LoRA string // adapter name; empty: none
	Salt string // cache salt; empty: none
}

// Seed is what block hashes of the namespace start from.
func (n Namespace) Seed() uint64 {
	lora, nLora := text(n.LoRA)
	salt, nSalt := text(n.Salt)
	return uint64(C.epp_namespace_seed(lora, nLora, salt, nSalt))
}

// HashOptions say what else is in a prompt's blocks. The zero value: nothing.
type HashOptions struct {
	Namespace Namespace
	// Eagle hashes windows of block + 1 tokens (speculative decoding with EAGLE).
	Eagle bool
	// MMCounts says, per block, how many of the consecutive MMHashes (multimodal items) lie in it; nil: none.
	MMCounts []uint32
	MMHashes []uint64
}

// maxBlockTokens is the largest block size the library takes.
const maxBlockTokens = 1 << 20

// BlockHashes hashes the full blocks of a prompt; tokens beyond the last full block are left out. local names
// each block by its content, chain names it with all before it. Errors: ErrArgument (block size outside
// 1..2^20, MMCounts not one per block or beyond MMHashes), ErrMemory.
func BlockHashes(tokens []uint32, blockTokens uint32, options HashOptions) (local, chain []uint64, err error) {
	const op = "BlockHashes"
	var flags C.uint32_t
	if options.Eagle {
		flags = C.EPP_HASH_EAGLE
	}
	if blockTokens == 0 || blockTokens > maxBlockTokens {
		return nil, nil, wrong(op, "block size outside 1..2^20")
	}
	n := int(C.epp_hash_blocks_bound(C.size_t(len(tokens)), C.uint32_t(blockTokens), flags))
	if len(options.MMCounts) != 0 && len(options.MMCounts) != n {
		return nil, nil, wrong(op, "MMCounts has not one count per full block")
	}
	local, chain = make([]uint64, n), make([]uint64, n)
	status := C.epp_hash_blocks(
		pointer(tokens), C.size_t(len(tokens)), C.uint32_t(blockTokens), C.uint64_t(options.Namespace.Seed()), flags,
		u32s(options.MMCounts), u64s(options.MMHashes), C.size_t(len(options.MMHashes)), u64s(local), u64s(chain))
	if err = failure(op, status); err != nil {
		return nil, nil, err
	}
	return local, chain, nil
}

// --- slices, lent to C where they lie -----------------------------------------------------------------

func pointer[T byte | uint32](items []T) unsafe.Pointer {
	return unsafe.Pointer(unsafe.SliceData(items))
}

func u32s(items []uint32) *C.uint32_t {
	if len(items) == 0 {
		return nil
	}
	return (*C.uint32_t)(unsafe.SliceData(items))
}

func u64s(items []uint64) *C.uint64_t { return (*C.uint64_t)(unsafe.SliceData(items)) }
