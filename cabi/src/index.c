#include "index.h"

#include <assert.h>

/* --- keys ------------------------------------------------------------------------------------------ */

static epp_block *block_at(const epp_index *index, uint32_t id) { return epp_index_block(index, id); }

static epp_alias *alias_at(const epp_index *index, uint32_t id) {
    return (epp_alias *)index->aliases.items + id;
}

static epp_guess *guess_at(const epp_index *index, uint32_t id) {
    return (epp_guess *)index->guesses.items + id;
}

static epp_seed *seed_at(const epp_index *index, uint32_t id) { return (epp_seed *)index->seeds.items + id; }

static uint64_t pair_key(uint32_t slot, uint32_t block) { return (uint64_t)slot << 32 | block; }

static uint64_t pair_hash(uint32_t slot, uint32_t block) { return epp_mix(pair_key(slot, block)); }

static uint64_t alias_hash(uint32_t slot, uint64_t name) { return epp_mix(name + epp_mix(slot)); }

static uint64_t hash_by_chain(const void *owner, uint32_t id) { return block_at(owner, id)->chain; }

static uint64_t hash_by_name(const void *owner, uint32_t id) { return epp_mix(block_at(owner, id)->name); }

static uint64_t hash_by_alias(const void *owner, uint32_t id) {
    const epp_alias *alias = alias_at(owner, id);
    return alias_hash(alias->slot, alias->name);
}

static uint64_t hash_by_pair(const void *owner, uint32_t id) {
    const epp_alias *alias = alias_at(owner, id);
    return pair_hash(alias->slot, alias->block);
}

static uint64_t hash_by_guess(const void *owner, uint32_t id) {
    const epp_guess *guess = guess_at(owner, id);
    return pair_hash(guess->slot, guess->block);
}

static bool is_block(const void *owner, uint32_t id) { return block_at(owner, id)->seed != EPP_NONE; }

static bool is_named_block(const void *owner, uint32_t id) {
    return is_block(owner, id) && block_at(owner, id)->holders & EPP_HOLDERS_SPARE;
}

static bool is_alias(const void *owner, uint32_t id) { return alias_at(owner, id)->slot != EPP_NONE; }

static bool is_guess(const void *owner, uint32_t id) { return guess_at(owner, id)->slot != EPP_NONE; }

/* --- life ------------------------------------------------------------------------------------------ */

void epp_index_init(epp_index *index, epp_memory *memory, uint64_t max_pairs) {
    *index = (epp_index){.memory = memory, .max_pairs = max_pairs};
    epp_holders_init(&index->holders);
}

void epp_index_drop(epp_index *index) {
    epp_memory *memory = index->memory;
    epp_memory_drop(memory, (void **)&index->slot_pairs, &index->pairs_capacity, sizeof(uint32_t));
    epp_memory_drop(memory, (void **)&index->slot_aliases, &index->aliases_capacity, sizeof(uint32_t));
    epp_pool_drop(&index->blocks, memory, sizeof(epp_block));
    epp_pool_drop(&index->aliases, memory, sizeof(epp_alias));
    epp_pool_drop(&index->guesses, memory, sizeof(epp_guess));
    epp_pool_drop(&index->seeds, memory, sizeof(epp_seed));
    epp_ids_drop(&index->by_chain, memory);
    epp_ids_drop(&index->by_name, memory);
    epp_ids_drop(&index->by_alias, memory);
    epp_ids_drop(&index->by_pair, memory);
    epp_ids_drop(&index->by_guess, memory);
    epp_map_drop(&index->seed_ids, memory);
    epp_map_drop(&index->copies, memory);
    epp_heap_drop(&index->deadlines, memory);
    epp_holders_drop(&index->holders, memory);
}

static bool reserve_counts(epp_index *index, uint32_t **counts, uint32_t *capacity, uint32_t n_slots) {
    const uint32_t before = *capacity;
    if (!epp_memory_grow(index->memory, (void **)counts, capacity, n_slots, sizeof(uint32_t))) return false;
    memset(*counts + before, 0, (*capacity - before) * sizeof(uint32_t));
    return true;
}

bool epp_index_reserve_slots(epp_index *index, uint32_t n_slots) {
    return reserve_counts(index, &index->slot_pairs, &index->pairs_capacity, n_slots) &&
           reserve_counts(index, &index->slot_aliases, &index->aliases_capacity, n_slots);
}

static bool reserve_guesses(epp_index *index, uint64_t guesses) {
    epp_memory *memory = index->memory;
    if (guesses == 0) return true;
    const uint64_t last = (uint64_t)index->guesses.used + guesses;
    return last < EPP_MAX_IDS && epp_pool_reserve(&index->guesses, memory, guesses, sizeof(epp_guess)) &&
           epp_ids_reserve(&index->by_guess, memory, guesses,
                           (epp_ids_keys){hash_by_guess, is_guess, index, index->guesses.used}) &&
           epp_heap_reserve(&index->deadlines, memory, (uint32_t)last, (uint32_t)guesses);
}

bool epp_index_reserve(epp_index *index, uint64_t blocks, uint64_t guesses) {
    epp_memory *memory = index->memory;
    const uint64_t room = index->max_pairs - index->n_pairs;
    uint64_t added = blocks < room ? blocks : room; /* but any block may yet get its name */
    if (added > EPP_MAX_IDS - index->n_blocks) added = EPP_MAX_IDS - index->n_blocks;
    return reserve_guesses(index, guesses < room ? guesses : room) &&
           epp_pool_reserve(&index->blocks, memory, added, sizeof(epp_block)) &&
           epp_ids_reserve(&index->by_chain, memory, added,
                           (epp_ids_keys){hash_by_chain, is_block, index, index->blocks.used}) &&
           epp_ids_reserve(&index->by_name, memory, blocks,
                           (epp_ids_keys){hash_by_name, is_named_block, index, index->blocks.used});
}

/* --- seeds ----------------------------------------------------------------------------------------- */

uint32_t epp_index_seed(epp_index *index, uint64_t seed) {
    uint32_t id = epp_map_get(&index->seed_ids, seed, 0);
    if (id != EPP_NONE) return id;
    if (!epp_map_reserve(&index->seed_ids, index->memory, 1) ||
        !epp_pool_reserve(&index->seeds, index->memory, 1, sizeof(epp_seed)))
        return EPP_NONE;
    id = epp_pool_take(&index->seeds, sizeof(epp_seed));
    *seed_at(index, id) = (epp_seed){.seed = seed, .blocks = 0};
    epp_map_add(&index->seed_ids, seed, 0, id);
    return id;
}

void epp_index_release_seed(epp_index *index, uint32_t seed_id) {
    epp_seed *seed = seed_at(index, seed_id);
    if (seed->blocks != 0) return;
    (void)epp_map_remove(&index->seed_ids, seed->seed, 0);
    seed->blocks = EPP_NONE;
    epp_pool_give(&index->seeds, seed_id, sizeof(epp_seed));
}

/* --- finding --------------------------------------------------------------------------------------- */

/** The block with this hash, or EPP_NONE with the probe where it would go. The table has places. */
static uint32_t probe_chain(const epp_index *index, uint64_t chain, epp_ids_probe *probe) {
    *probe = epp_ids_begin(&index->by_chain, chain);
    for (;;) {
        const uint32_t id = epp_ids_next(&index->by_chain, probe);
        if (id == EPP_NONE || block_at(index, id)->chain == chain) return id;
    }
}

uint32_t epp_index_find(const epp_index *index, uint64_t chain) {
    epp_ids_probe probe;
    return index->by_chain.n_places ? probe_chain(index, chain, &probe) : EPP_NONE;
}

/** The block whose own name this is, or EPP_NONE with the probe where it would go. The table has places. */
static uint32_t probe_name(const epp_index *index, uint64_t name, epp_ids_probe *probe) {
    *probe = epp_ids_begin(&index->by_name, epp_mix(name));
    for (;;) {
        const uint32_t id = epp_ids_next(&index->by_name, probe);
        if (id == EPP_NONE || block_at(index, id)->name == name) return id;
    }
}

static uint32_t find_by_name(const epp_index *index, uint64_t name) {
    epp_ids_probe probe;
    return index->by_name.n_places ? probe_name(index, name, &probe) : EPP_NONE;
}

static uint32_t find_alias(const epp_index *index, uint32_t slot, uint64_t name) {
    if (index->slot_aliases[slot] == 0) return EPP_NONE;
    epp_ids_probe probe = epp_ids_begin(&index->by_alias, alias_hash(slot, name));
    for (;;) {
        const uint32_t id = epp_ids_next(&index->by_alias, &probe);
        if (id == EPP_NONE) return EPP_NONE;
        if (alias_at(index, id)->name == name && alias_at(index, id)->slot == slot) return id;
    }
}

static uint32_t find_alias_of_pair(const epp_index *index, uint32_t slot, uint32_t block) {
    epp_ids_probe probe = epp_ids_begin(&index->by_pair, pair_hash(slot, block));
    for (;;) {
        const uint32_t id = epp_ids_next(&index->by_pair, &probe);
        if (id == EPP_NONE) return EPP_NONE;
        if (alias_at(index, id)->block == block && alias_at(index, id)->slot == slot) return id;
    }
}

static uint32_t find_guess(const epp_index *index, uint32_t slot, uint32_t block) {
    epp_ids_probe probe = epp_ids_begin(&index->by_guess, pair_hash(slot, block));
    for (;;) {
        const uint32_t id = epp_ids_next(&index->by_guess, &probe);
        assert(id != EPP_NONE);
        if (guess_at(index, id)->block == block && guess_at(index, id)->slot == slot) return id;
    }
}

static uint32_t planes_of(const epp_index *index, uint32_t block, uint32_t slot) {
    return epp_holders_planes(&index->holders, block_at(index, block)->holders, slot);
}

/** What `slot` calls `name`, given the block `owner` whose own name that is (EPP_NONE: nobody's). */
static uint32_t named_given(const epp_index *index, uint32_t slot, uint64_t name, uint32_t owner) {
    const uint32_t alias = find_alias(index, slot, name);
    if (alias != EPP_NONE) return alias_at(index, alias)->block;
    if (owner == EPP_NONE) return EPP_NONE;
    const uint32_t planes = planes_of(index, owner, slot);
    return (planes & EPP_TIER_PLANES) && !(planes & 1u << EPP_PLANE_ALIAS) ? owner : EPP_NONE;
}

uint32_t epp_index_named(const epp_index *index, uint32_t slot, uint64_t name) {
    return named_given(index, slot, name, find_by_name(index, name));
}

uint64_t epp_index_name_of(const epp_index *index, uint32_t slot, uint32_t block) {
    if (planes_of(index, block, slot) & 1u << EPP_PLANE_ALIAS)
        return alias_at(index, find_alias_of_pair(index, slot, block))->name;
    return block_at(index, block)->name;
}

uint32_t epp_index_more_copies(const epp_index *index, uint32_t slot, uint32_t block, uint32_t tier) {
    const uint32_t copies = epp_map_get(&index->copies, pair_key(slot, block), tier);
    return copies == EPP_NONE ? 0 : copies;
}

double epp_index_due_s(const epp_index *index, uint32_t slot, uint32_t block) {
    return epp_heap_due_s(&index->deadlines, find_guess(index, slot, block));
}

/* --- pieces of a change ---------------------------------------------------------------------------- */

static bool add_plane(epp_index *index, uint32_t block, uint32_t slot, uint32_t plane) {
    index->changes++;
    return epp_holders_add(&index->holders, index->memory, &block_at(index, block)->holders, slot, plane);
}

static void remove_plane(epp_index *index, uint32_t block, uint32_t slot, uint32_t plane) {
    index->changes++;
    epp_holders_remove(&index->holders, index->memory, &block_at(index, block)->holders, slot, plane);
}

static uint32_t new_block(epp_index *index, uint64_t chain, uint32_t seed_id, epp_ids_probe place) {
    const uint32_t id = epp_pool_take(&index->blocks, sizeof(epp_block));
    *block_at(index, id) = (epp_block){.chain = chain, .seed = seed_id};
    seed_at(index, seed_id)->blocks++;
    epp_ids_add_at(&index->by_chain, place, id);
    index->n_blocks++;
    return id;
}

/** Forget a block that nobody holds. */
static void free_block(epp_index *index, uint32_t id) {
    epp_block *block = block_at(index, id);
    epp_ids_remove(&index->by_chain, block->chain, id, hash_by_chain, index);
    if (block->holders & EPP_HOLDERS_SPARE)
        epp_ids_remove(&index->by_name, epp_mix(block->name), id, hash_by_name, index);
    const uint32_t seed_id = block->seed;
    block->holders = 0;
    block->seed = EPP_NONE;
    epp_pool_give(&index->blocks, id, sizeof(epp_block));
    index->n_blocks--;
    if (--seed_at(index, seed_id)->blocks == 0) epp_index_release_seed(index, seed_id);
}

static void forget_alias(epp_index *index, uint32_t slot, uint32_t block) {
    const uint32_t id = find_alias_of_pair(index, slot, block);
    assert(id != EPP_NONE);
    epp_alias *alias = alias_at(index, id);
    epp_ids_remove(&index->by_alias, alias_hash(slot, alias->name), id, hash_by_alias, index);
    epp_ids_remove(&index->by_pair, pair_hash(slot, block), id, hash_by_pair, index);
    alias->slot = EPP_NONE;
    epp_pool_give(&index->aliases, id, sizeof(epp_alias));
    index->slot_aliases[slot]--;
}

static bool reserve_alias(epp_index *index) {
    epp_memory *memory = index->memory;
    return index->aliases.used < EPP_MAX_IDS &&
           epp_pool_reserve(&index->aliases, memory, 1, sizeof(epp_alias)) &&
           epp_ids_reserve(&index->by_alias, memory, 1,
                           (epp_ids_keys){hash_by_alias, is_alias, index, index->aliases.used}) &&
           epp_ids_reserve(&index->by_pair, memory, 1,
                           (epp_ids_keys){hash_by_pair, is_alias, index, index->aliases.used});
}

static bool add_alias(epp_index *index, uint32_t slot, uint32_t block, uint64_t name) {
    if (!reserve_alias(index) || !add_plane(index, block, slot, EPP_PLANE_ALIAS)) return false;
    const uint32_t id = epp_pool_take(&index->aliases, sizeof(epp_alias));
    *alias_at(index, id) = (epp_alias){.name = name, .block = block, .slot = slot};
    epp_ids_add(&index->by_alias, alias_hash(slot, name), id);
    epp_ids_add(&index->by_pair, pair_hash(slot, block), id);
    index->slot_aliases[slot]++;
    return true;
}

/** From now on `slot` calls the block `name`, which leads nowhere on that slot yet; `free_place`: it is no
 *  block's own name either, and would stand there. False: no memory, nothing changed. */
static bool set_name(epp_index *index, uint32_t slot, uint32_t id, uint64_t name,
                     const epp_ids_probe *free_place, uint32_t planes) {
    epp_block *block = block_at(index, id);
    if (!(block->holders & EPP_HOLDERS_SPARE) && free_place) {
        block->name = name;
        block->holders |= EPP_HOLDERS_SPARE;
        epp_ids_add_at(&index->by_name, *free_place, id);
    }
    const bool own = (block->holders & EPP_HOLDERS_SPARE) && block->name == name;
    const bool had_alias = planes & 1u << EPP_PLANE_ALIAS;
    if (own) {
        if (had_alias) {
            forget_alias(index, slot, id);
            remove_plane(index, id, slot, EPP_PLANE_ALIAS);
        }
        return true;
    }
    if (had_alias) forget_alias(index, slot, id); /* the new alias takes the room of the old */
    return add_alias(index, slot, id, name);
}

static void forget_guess(epp_index *index, uint32_t slot, uint32_t block) {
    const uint32_t id = find_guess(index, slot, block);
    epp_ids_remove(&index->by_guess, pair_hash(slot, block), id, hash_by_guess, index);
    epp_heap_remove(&index->deadlines, id);
    guess_at(index, id)->slot = EPP_NONE;
    epp_pool_give(&index->guesses, id, sizeof(epp_guess));
    index->n_guesses--;
}

/** Count one more copy, up to as many as there may be pairs. False: no memory, nothing changed. */
static bool add_copy(epp_index *index, uint32_t slot, uint32_t block, uint32_t tier) {
    const uint32_t before = epp_index_more_copies(index, slot, block, tier);
    if (index->n_copies >= index->max_pairs || before == EPP_NONE - 1) return true;
    if (before)
        epp_map_set(&index->copies, pair_key(slot, block), tier, before + 1);
    else if (epp_map_reserve(&index->copies, index->memory, 1))
        epp_map_add(&index->copies, pair_key(slot, block), tier, 1);
    else
        return false;
    index->n_copies++;
    return true;
}

/** One copy less; false: there is none beyond the first. */
static bool take_copy(epp_index *index, uint32_t slot, uint32_t block, uint32_t tier) {
    const uint32_t before = epp_index_more_copies(index, slot, block, tier);
    if (before == 0) return false;
    if (before > 1)
        epp_map_set(&index->copies, pair_key(slot, block), tier, before - 1);
    else
        (void)epp_map_remove(&index->copies, pair_key(slot, block), tier);
    index->n_copies--;
    return true;
}

static void forget_copies(epp_index *index, uint32_t slot, uint32_t block) {
    for (uint32_t tier = 0; tier <= EPP_TIER_EXTERNAL && index->n_copies > 0; tier++) {
        const uint32_t copies = epp_map_remove(&index->copies, pair_key(slot, block), tier);
        if (copies != EPP_NONE) index->n_copies -= copies;
    }
}

/** Forget a pair, whatever it is; the block too if this was its last. */
static void forget_pair(epp_index *index, uint32_t slot, uint32_t block, uint32_t planes) {
    if (planes & 1u << EPP_PLANE_PREDICTED) forget_guess(index, slot, block);
    if (planes & 1u << EPP_PLANE_ALIAS) forget_alias(index, slot, block);
    forget_copies(index, slot, block);
    for (uint32_t plane = 0; plane < EPP_PLANES; plane++)
        if (planes >> plane & 1) remove_plane(index, block, slot, plane);
    index->n_pairs--;
    index->slot_pairs[slot]--;
    if (epp_holders_empty(block_at(index, block)->holders)) free_block(index, block);
}

/* --- what engines report --------------------------------------------------------------------------- */

/** A stored block on its way. */
typedef struct arrival {
    uint32_t slot, tier, block, planes;
    uint64_t name;
    bool rename, name_is_free;
    epp_ids_probe name_place; /* where the name would stand, if it is free */
} arrival;

/** Give the block the name it came with. What had another name was of that name, copies too. */
static bool name_arrival(epp_index *index, const arrival *a) {
    const epp_ids_probe *place = a->name_is_free ? &a->name_place : NULL;
    if (!a->rename) return true;
    if (!set_name(index, a->slot, a->block, a->name, place, a->planes)) return false;
    forget_copies(index, a->slot, a->block);
    return true;
}

/** The tier has the block already: under the same name this is one more copy, under another it is the only
 *  one. False: no memory, nothing changed. */
static bool store_again(epp_index *index, const arrival *a) {
    return a->rename ? name_arrival(index, a) : add_copy(index, a->slot, a->block, a->tier);
}

/** Make a pair real, or give it one more tier; false: no memory, nothing changed. */
static bool store_tier(epp_index *index, const arrival *a) {
    if (!add_plane(index, a->block, a->slot, a->tier)) return false;
    if (!name_arrival(index, a)) {
        remove_plane(index, a->block, a->slot, a->tier);
        return false;
    }
    if (a->planes & 1u << EPP_PLANE_PREDICTED) {
        forget_guess(index, a->slot, a->block);
        remove_plane(index, a->block, a->slot, EPP_PLANE_PREDICTED);
    }
    if ((a->planes & EPP_RESIDENT_PLANES) == 0) {
        index->n_pairs++;
        index->slot_pairs[a->slot]++;
    }
    return true;
}

epp_stored epp_index_store(epp_index *index, uint32_t slot, uint64_t name, uint64_t chain, uint32_t seed_id,
                           uint32_t tier) {
    epp_ids_probe chain_place;
    arrival a = {.slot = slot, .tier = tier, .block = probe_chain(index, chain, &chain_place), .name = name};
    const uint32_t owner = probe_name(index, name, &a.name_place);
    const uint32_t named = named_given(index, slot, name, owner);
    a.rename = named == EPP_NONE;
    a.name_is_free = owner == EPP_NONE;
    if (named != EPP_NONE && named != a.block) return EPP_STORED_DUPLICATE;
    const bool fresh = a.block == EPP_NONE;
    a.planes = fresh ? 0 : planes_of(index, a.block, slot);
    if ((a.planes & EPP_RESIDENT_PLANES) == 0 && index->n_pairs >= index->max_pairs)
        return EPP_STORED_CAPACITY;
    if (fresh && index->n_blocks >= EPP_MAX_IDS) return EPP_STORED_CAPACITY;
    if (a.planes >> tier & 1) return store_again(index, &a) ? EPP_STORED_DUPLICATE : EPP_STORED_CAPACITY;
    if (fresh) a.block = new_block(index, chain, seed_id, chain_place);
    if (store_tier(index, &a)) return EPP_STORED;
    if (fresh) free_block(index, a.block);
    return EPP_STORED_CAPACITY;
}

epp_removed epp_index_remove(epp_index *index, uint32_t slot, uint64_t name, uint32_t tier) {
    const uint32_t block = epp_index_named(index, slot, name);
    if (block == EPP_NONE) return EPP_REMOVED_UNKNOWN;
    const uint32_t planes = planes_of(index, block, slot);
    if (!(planes >> tier & 1)) return EPP_REMOVED_UNKNOWN;
    if (take_copy(index, slot, block, tier)) return EPP_REMOVED_COPY;
    if ((planes & EPP_TIER_PLANES) == 1u << tier)
        forget_pair(index, slot, block, planes);
    else
        remove_plane(index, block, slot, tier);
    return EPP_REMOVED;
}

/** Forget up to `most` pairs of a slot among the `n` blocks from `*at`, which becomes where to go on. */
static uint32_t drop_range(epp_index *index, uint32_t slot, uint32_t *at, uint32_t n, uint32_t most) {
    const uint32_t before = index->slot_pairs[slot], used = index->blocks.used;
    const uint32_t end = n < used - *at ? *at + n : used;
    uint32_t id = *at;
    for (; id < end && index->slot_pairs[slot] > 0 && before - index->slot_pairs[slot] < most; id++) {
        if (block_at(index, id)->seed == EPP_NONE) continue;
        const uint32_t planes = planes_of(index, id, slot);
        if (planes) forget_pair(index, slot, id, planes);
    }
    *at = id < used && index->slot_pairs[slot] > 0 ? id : EPP_NONE;
    return before - index->slot_pairs[slot];
}

uint32_t epp_index_drop_slot(epp_index *index, uint32_t slot) {
    uint32_t at = 0;
    return drop_range(index, slot, &at, UINT32_MAX, UINT32_MAX);
}

uint32_t epp_index_drop_some(epp_index *index, uint32_t slot, uint32_t *at) {
    enum { LOOKED_AT = 1 << 18, FORGOTTEN = 1 << 11 };
    return drop_range(index, slot, at, LOOKED_AT, FORGOTTEN);
}

/* --- what we predict ------------------------------------------------------------------------------- */

static void add_guess(epp_index *index, uint32_t slot, uint64_t chain, uint32_t seed_id, double due_s) {
    epp_ids_probe place;
    uint32_t block = probe_chain(index, chain, &place);
    const bool fresh = block == EPP_NONE;
    if (fresh) block = new_block(index, chain, seed_id, place);
    if (!add_plane(index, block, slot, EPP_PLANE_PREDICTED)) {
        if (fresh) free_block(index, block);
        return;
    }
    const uint32_t id = epp_pool_take(&index->guesses, sizeof(epp_guess));
    *guess_at(index, id) = (epp_guess){.block = block, .slot = slot};
    epp_ids_add(&index->by_guess, pair_hash(slot, block), id);
    epp_heap_push(&index->deadlines, id, due_s);
    index->n_guesses++;
    index->n_pairs++;
    index->slot_pairs[slot]++;
}

void epp_index_predict(epp_index *index, uint32_t slot, const uint64_t *chain, uint32_t n, uint32_t seed_id,
                       double due_s) {
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t block = epp_index_find(index, chain[i]);
        const uint32_t planes = block == EPP_NONE ? 0 : planes_of(index, block, slot);
        if (planes & EPP_TIER_PLANES) continue;
        if (planes & 1u << EPP_PLANE_PREDICTED)
            epp_heap_move(&index->deadlines, find_guess(index, slot, block), due_s);
        else if (index->n_pairs < index->max_pairs && (block != EPP_NONE || index->n_blocks < EPP_MAX_IDS))
            add_guess(index, slot, chain[i], seed_id, due_s);
    }
}

void epp_index_expire(epp_index *index, double now_s) {
    while (index->deadlines.count > 0 && index->deadlines.items[0].due_s <= now_s) {
        const epp_guess guess = *guess_at(index, index->deadlines.items[0].id);
        forget_pair(index, guess.slot, guess.block, 1u << EPP_PLANE_PREDICTED);
    }
}

uint64_t epp_index_bytes(const epp_index *index) {
    uint64_t bytes = (uint64_t)index->pairs_capacity * 4 + (uint64_t)index->aliases_capacity * 4;
    bytes += (uint64_t)index->blocks.capacity * sizeof(epp_block);
    bytes += (uint64_t)index->aliases.capacity * sizeof(epp_alias);
    bytes += (uint64_t)index->guesses.capacity * sizeof(epp_guess);
    bytes += (uint64_t)index->seeds.capacity * sizeof(epp_seed);
    bytes += ((uint64_t)index->by_chain.n_places + index->by_name.n_places + index->by_alias.n_places +
              index->by_pair.n_places + index->by_guess.n_places) *
             sizeof(uint32_t);
    bytes += ((uint64_t)index->seed_ids.places + index->copies.places) * sizeof(epp_map_entry);
    bytes += (uint64_t)index->deadlines.item_capacity * sizeof(epp_heap_item);
    bytes += (uint64_t)index->deadlines.id_capacity * sizeof(uint32_t);
    for (int class = 0; class < EPP_HOLDERS_CLASSES; class ++)
        bytes += ((uint64_t)index->holders.classes[class].capacity * sizeof(epp_cell)) << class;
    return bytes;
}
