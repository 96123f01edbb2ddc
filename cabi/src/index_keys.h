/** Where the keys of the index's tables lie, for the files that change them. */
#ifndef EPP_INDEX_KEYS_H
#define EPP_INDEX_KEYS_H

#include "index.h"

static inline epp_block *block_at(const epp_index *index, uint32_t id) { return epp_index_block(index, id); }

static inline epp_alias *alias_at(const epp_index *index, uint32_t id) {
    return (epp_alias *)index->aliases.items + id;
}

static inline epp_guess *guess_at(const epp_index *index, uint32_t id) {
    return (epp_guess *)index->guesses.items + id;
}

static inline epp_seed *seed_at(const epp_index *index, uint32_t id) {
    return (epp_seed *)index->seeds.items + id;
}

static inline uint64_t pair_key(uint32_t shelf, uint32_t block) { return (uint64_t)shelf << 32 | block; }

static inline uint64_t pair_hash(uint32_t shelf, uint32_t block) { return epp_mix(pair_key(shelf, block)); }

static inline uint64_t alias_hash(uint32_t shelf, uint64_t name) { return epp_mix(name + epp_mix(shelf)); }

static inline uint64_t hash_by_chain(const void *owner, uint32_t id) { return block_at(owner, id)->chain; }

static inline uint64_t hash_by_name(const void *owner, uint32_t id) {
    return epp_mix(block_at(owner, id)->name);
}

static inline uint64_t hash_by_alias(const void *owner, uint32_t id) {
    const epp_alias *alias = alias_at(owner, id);
    return alias_hash(alias->shelf, alias->name);
}

static inline uint64_t hash_by_pair(const void *owner, uint32_t id) {
    const epp_alias *alias = alias_at(owner, id);
    return pair_hash(alias->shelf, alias->block);
}

static inline uint64_t hash_by_guess(const void *owner, uint32_t id) {
    const epp_guess *guess = guess_at(owner, id);
    return pair_hash(guess->shelf, guess->block);
}

static inline bool is_block(const void *owner, uint32_t id) { return block_at(owner, id)->seed != EPP_NONE; }

static inline bool is_named_block(const void *owner, uint32_t id) {
    return is_block(owner, id) && block_at(owner, id)->holders & EPP_HOLDERS_SPARE;
}

static inline bool is_alias(const void *owner, uint32_t id) { return alias_at(owner, id)->shelf != EPP_NONE; }

static inline bool is_guess(const void *owner, uint32_t id) { return guess_at(owner, id)->shelf != EPP_NONE; }

/** Room for one more alias. False: no memory, nothing changed. */
bool epp_index_reserve_alias(epp_index *index);

#endif
