/** Block hashing: how tokens become the 64-bit names that prompts and resident blocks share. */
#ifndef EPP_BLOCKS_H
#define EPP_BLOCKS_H

#include "memory.h"

enum { EPP_BASE_SEED = 1337, EPP_MAX_MM_HASHES = 65536 };

/** Sequence hashes of `n` full blocks; `parent` NULL: the first one is the root. */
void epp_chain_blocks(const uint8_t *tokens, uint32_t n, uint32_t block_tokens, uint64_t seed,
                      const uint64_t *parent, uint64_t *out_chain);

/** Sequence hash of one block with content besides its tokens: the hashes follow them, ascending. False: no
 *  memory. */
bool epp_chain_mm_block(epp_memory *memory, const uint8_t *tokens, uint32_t block_tokens,
                        const uint64_t *mm_hashes, uint32_t n_mm, uint64_t seed, const uint64_t *parent,
                        uint64_t *out_chain);

#endif
