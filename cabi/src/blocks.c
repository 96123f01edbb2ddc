/* Block hashing (docs/algorithms.md section 1): the pure functions of epp.h. */
#include "blocks.h"

#include <stdlib.h>

#include "router.h"
#include "xxh3.h"

enum { TOKEN_BYTES = 4 };

uint64_t epp_xxh3_64(const void *bytes, size_t n_bytes, uint64_t seed) {
    return epp_xxh3_hash(bytes, bytes ? n_bytes : 0, seed);
}

uint64_t epp_worker_id(const char *name, size_t n_name) {
    return epp_xxh3_hash(name, name ? n_name : 0, EPP_BASE_SEED) & ((UINT64_C(1) << 53) - 1);
}

uint64_t epp_namespace_seed(const char *lora, size_t n_lora, const char *salt, size_t n_salt) {
    uint64_t seed = EPP_BASE_SEED;
    if (lora && n_lora) seed += epp_xxh3_hash(lora, n_lora, 0);
    if (salt && n_salt) seed += epp_xxh3_hash(salt, n_salt, 1);
    return seed;
}

size_t epp_hash_blocks_bound(size_t n_tokens, uint32_t block_tokens, uint32_t flags) {
    const size_t look_ahead = flags & EPP_HASH_EAGLE ? 1 : 0;
    return block_tokens == 0 || n_tokens < look_ahead ? 0 : (n_tokens - look_ahead) / block_tokens;
}

void epp_chain_blocks(const uint8_t *tokens, uint32_t n, uint32_t block_tokens, uint64_t seed,
                      const uint64_t *parent, uint64_t *out_chain) {
    const size_t stride = (size_t)block_tokens * TOKEN_BYTES;
    uint64_t chain = parent ? *parent : 0;
    for (uint32_t i = 0; i < n; i++) {
        const uint64_t local = stride == 64 ? epp_xxh3_64bytes(tokens + i * stride, seed)
                                            : epp_xxh3_hash(tokens + i * stride, stride, seed);
        chain = i == 0 && !parent ? local : epp_xxh3_pair(chain, local, EPP_BASE_SEED);
        out_chain[i] = chain;
    }
}

static int ascending(const void *x, const void *y) {
    const uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return (a > b) - (a < b);
}

/** Bytes of working memory to hash a block of `n_bytes` with so many hashes in it. */
static size_t mm_text_bytes(size_t n_bytes, uint32_t n_mm) { return n_bytes + 2 * n_mm * sizeof(uint64_t); }

/** Hash a block with the hashes in it; `text` has `mm_text_bytes` and is aligned. */
static uint64_t hash_mm_block(uint8_t *text, const uint8_t *tokens, size_t n_bytes, const uint64_t *mm_hashes,
                              uint32_t n_mm, uint64_t seed) {
    uint64_t *sorted = (uint64_t *)(void *)(text); /* sorted first, at the aligned front */
    memcpy(sorted, mm_hashes, n_mm * sizeof *sorted);
    qsort(sorted, n_mm, sizeof *sorted, ascending);
    uint8_t *joined = text + n_mm * sizeof(uint64_t);
    memcpy(joined, tokens, n_bytes);
    for (uint32_t i = 0; i < n_mm; i++)
        for (size_t byte = 0; byte < sizeof(uint64_t); byte++)
            joined[n_bytes + i * sizeof(uint64_t) + byte] = (uint8_t)(sorted[i] >> (8 * byte));
    return epp_xxh3_hash(joined, n_bytes + n_mm * sizeof(uint64_t), seed);
}

bool epp_chain_mm_block(epp_memory *memory, const uint8_t *tokens, uint32_t block_tokens,
                        const uint64_t *mm_hashes, uint32_t n_mm, uint64_t seed, const uint64_t *parent,
                        uint64_t *out_chain) {
    const size_t n_bytes = (size_t)block_tokens * TOKEN_BYTES, text_bytes = mm_text_bytes(n_bytes, n_mm);
    uint8_t *text = n_mm ? epp_memory_resize(memory, NULL, 0, text_bytes) : NULL;
    if (n_mm && text == NULL) return false;
    const uint64_t local = n_mm ? hash_mm_block(text, tokens, n_bytes, mm_hashes, n_mm, seed)
                                : epp_xxh3_hash(tokens, n_bytes, seed);
    (void)epp_memory_resize(memory, text, text_bytes, 0);
    *out_chain = parent ? epp_xxh3_pair(*parent, local, EPP_BASE_SEED) : local;
    return true;
}

/** The counts stay within the hashes given and within bounds. */
static bool mm_fits(const uint32_t *mm_counts, size_t n_blocks, size_t n_mm_hashes) {
    size_t total = 0;
    for (size_t i = 0; i < n_blocks; i++) {
        if (mm_counts[i] > EPP_MAX_MM_HASHES || mm_counts[i] > n_mm_hashes - total) return false;
        total += mm_counts[i];
    }
    return true;
}

static uint32_t most(const uint32_t *counts, size_t n) {
    uint32_t found = 0;
    for (size_t i = 0; i < n; i++)
        if (counts[i] > found) found = counts[i];
    return found;
}

epp_status epp_hash_blocks(const void *tokens, size_t n_tokens, uint32_t block_tokens, uint64_t seed,
                           uint32_t flags, const uint32_t *mm_counts, const uint64_t *mm_hashes,
                           size_t n_mm_hashes, uint64_t *out_local, uint64_t *out_chain) {
    if (block_tokens == 0 || block_tokens > EPP_MAX_BLOCK_TOKENS || epp_missing(tokens, n_tokens) ||
        epp_missing(mm_hashes, n_mm_hashes))
        return EPP_E_ARGUMENT;
    const size_t n = epp_hash_blocks_bound(n_tokens, block_tokens, flags);
    if (mm_counts && !mm_fits(mm_counts, n, n_mm_hashes)) return EPP_E_ARGUMENT;
    const size_t width = (block_tokens + (flags & EPP_HASH_EAGLE ? 1u : 0u)) * (size_t)TOKEN_BYTES;
    const uint32_t most_mm = mm_counts ? most(mm_counts, n) : 0;
    const size_t text_bytes = mm_text_bytes(width, most_mm);
    epp_memory memory;
    epp_memory_init(&memory, NULL);
    uint8_t *text = most_mm ? epp_memory_resize(&memory, NULL, 0, text_bytes) : NULL;
    if (most_mm && text == NULL) return EPP_E_MEMORY;
    uint64_t chain = 0;
    for (size_t i = 0; i < n; i++) {
        const uint8_t *block = (const uint8_t *)tokens + i * block_tokens * TOKEN_BYTES;
        const uint32_t n_mm = mm_counts ? mm_counts[i] : 0;
        const uint64_t local = n_mm ? hash_mm_block(text, block, width, mm_hashes, n_mm, seed)
                                    : epp_xxh3_hash(block, width, seed);
        if (n_mm) mm_hashes += n_mm;
        chain = i == 0 ? local : epp_xxh3_pair(chain, local, EPP_BASE_SEED);
        if (out_local) out_local[i] = local;
        if (out_chain) out_chain[i] = chain;
    }
    (void)epp_memory_resize(&memory, text, text_bytes, 0);
    return EPP_OK;
}
