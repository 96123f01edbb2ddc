#include "index_keys.h"

#include <assert.h>

/* --- life ------------------------------------------------------------------------------------------ */

void epp_index_init(epp_index *index, epp_memory *memory, uint64_t max_pairs) {
    *index = (epp_index){.memory = memory, .max_pairs = max_pairs};
    epp_holders_init(&index->holders);
}

void epp_index_drop(epp_index *index) {
    epp_memory *memory = index->memory;
    epp_pool_drop(&index->shelves, memory, sizeof(epp_shelf));
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

bool epp_index_reserve_shelves(epp_index *index, uint32_t more) {
    const epp_pool *shelves = &index->shelves;
    return (uint64_t)shelves->used - shelves->n_free + more <= EPP_MAX_SHELVES &&
           epp_pool_reserve(&index->shelves, index->memory, more, sizeof(epp_shelf));
}

uint32_t epp_index_open_shelf(epp_index *index) {
    const uint32_t shelf = epp_pool_take(&index->shelves, sizeof(epp_shelf));
    *epp_index_shelf(index, shelf) = (epp_shelf){.state = EPP_SHELF_OPEN};
    index->changes++;
    return shelf;
}

void epp_index_close_shelf(epp_index *index, uint32_t shelf) {
    assert(epp_index_shelf(index, shelf)->pairs == 0);
    epp_index_shelf(index, shelf)->state = EPP_SHELF_CLOSED;
    epp_pool_give(&index->shelves, shelf, sizeof(epp_shelf));
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

static uint32_t find_alias(const epp_index *index, uint32_t shelf, uint64_t name) {
    if (epp_index_shelf(index, shelf)->aliases == 0) return EPP_NONE;
    epp_ids_probe probe = epp_ids_begin(&index->by_alias, alias_hash(shelf, name));
    for (;;) {
        const uint32_t id = epp_ids_next(&index->by_alias, &probe);
        if (id == EPP_NONE) return EPP_NONE;
        if (alias_at(index, id)->name == name && alias_at(index, id)->shelf == shelf) return id;
    }
}

static uint32_t find_alias_of_pair(const epp_index *index, uint32_t shelf, uint32_t block) {
    epp_ids_probe probe = epp_ids_begin(&index->by_pair, pair_hash(shelf, block));
    for (;;) {
        const uint32_t id = epp_ids_next(&index->by_pair, &probe);
        if (id == EPP_NONE) return EPP_NONE;
        if (alias_at(index, id)->block == block && alias_at(index, id)->shelf == shelf) return id;
    }
}

static uint32_t find_guess(const epp_index *index, uint32_t shelf, uint32_t block) {
    epp_ids_probe probe = epp_ids_begin(&index->by_guess, pair_hash(shelf, block));
    for (;;) {
        const uint32_t id = epp_ids_next(&index->by_guess, &probe);
        assert(id != EPP_NONE);
        if (guess_at(index, id)->block == block && guess_at(index, id)->shelf == shelf) return id;
    }
}

static uint32_t planes_of(const epp_index *index, uint32_t block, uint32_t shelf) {
    return epp_holders_planes(&index->holders, block_at(index, block)->holders, shelf);
}

/** What `shelf` calls `name`, given the block `owner` whose own name that is (EPP_NONE: nobody's). */
static uint32_t named_given(const epp_index *index, uint32_t shelf, uint64_t name, uint32_t owner) {
    const uint32_t alias = find_alias(index, shelf, name);
    if (alias != EPP_NONE) return alias_at(index, alias)->block;
    if (owner == EPP_NONE) return EPP_NONE;
    const uint32_t planes = planes_of(index, owner, shelf);
    return (planes & EPP_TIER_PLANES) && !(planes & 1u << EPP_PLANE_ALIAS) ? owner : EPP_NONE;
}

uint32_t epp_index_named(const epp_index *index, uint32_t shelf, uint64_t name) {
    return named_given(index, shelf, name, find_by_name(index, name));
}

uint64_t epp_index_name_of(const epp_index *index, uint32_t shelf, uint32_t block) {
    if (planes_of(index, block, shelf) & 1u << EPP_PLANE_ALIAS)
        return alias_at(index, find_alias_of_pair(index, shelf, block))->name;
    return block_at(index, block)->name;
}

uint32_t epp_index_more_copies(const epp_index *index, uint32_t shelf, uint32_t block, uint32_t tier) {
    const uint32_t copies = epp_map_get(&index->copies, pair_key(shelf, block), tier);
    return copies == EPP_NONE ? 0 : copies;
}

double epp_index_due_s(const epp_index *index, uint32_t shelf, uint32_t block) {
    return epp_heap_due_s(&index->deadlines, find_guess(index, shelf, block));
}

/* --- pieces of a change ---------------------------------------------------------------------------- */

static bool add_plane(epp_index *index, uint32_t block, uint32_t shelf, uint32_t plane) {
    index->changes++;
    return epp_holders_add(&index->holders, index->memory, &block_at(index, block)->holders, shelf, plane);
}

static void remove_plane(epp_index *index, uint32_t block, uint32_t shelf, uint32_t plane) {
    index->changes++;
    epp_holders_remove(&index->holders, index->memory, &block_at(index, block)->holders, shelf, plane);
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

static void forget_alias(epp_index *index, uint32_t shelf, uint32_t block) {
    const uint32_t id = find_alias_of_pair(index, shelf, block);
    assert(id != EPP_NONE);
    epp_alias *alias = alias_at(index, id);
    epp_ids_remove(&index->by_alias, alias_hash(shelf, alias->name), id, hash_by_alias, index);
    epp_ids_remove(&index->by_pair, pair_hash(shelf, block), id, hash_by_pair, index);
    alias->shelf = EPP_NONE;
    epp_pool_give(&index->aliases, id, sizeof(epp_alias));
    epp_index_shelf(index, shelf)->aliases--;
}

static bool add_alias(epp_index *index, uint32_t shelf, uint32_t block, uint64_t name) {
    if (!epp_index_reserve_alias(index) || !add_plane(index, block, shelf, EPP_PLANE_ALIAS)) return false;
    const uint32_t id = epp_pool_take(&index->aliases, sizeof(epp_alias));
    *alias_at(index, id) = (epp_alias){.name = name, .block = block, .shelf = shelf};
    epp_ids_add(&index->by_alias, alias_hash(shelf, name), id);
    epp_ids_add(&index->by_pair, pair_hash(shelf, block), id);
    epp_index_shelf(index, shelf)->aliases++;
    return true;
}

/** From now on `shelf` calls the block `name`, which leads nowhere on that shelf yet; `free_place`: it is no
 *  block's own name either, and would stand there. False: no memory, nothing changed. */
static bool set_name(epp_index *index, uint32_t shelf, uint32_t id, uint64_t name,
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
            forget_alias(index, shelf, id);
            remove_plane(index, id, shelf, EPP_PLANE_ALIAS);
        }
        return true;
    }
    if (had_alias) forget_alias(index, shelf, id); /* the new alias takes the room of the old */
    return add_alias(index, shelf, id, name);
}

static void forget_guess(epp_index *index, uint32_t shelf, uint32_t block) {
    const uint32_t id = find_guess(index, shelf, block);
    epp_ids_remove(&index->by_guess, pair_hash(shelf, block), id, hash_by_guess, index);
    epp_heap_remove(&index->deadlines, id);
    guess_at(index, id)->shelf = EPP_NONE;
    epp_pool_give(&index->guesses, id, sizeof(epp_guess));
    index->n_guesses--;
}

/** Count one more copy, up to as many as there may be pairs. False: no memory, nothing changed. */
static bool add_copy(epp_index *index, uint32_t shelf, uint32_t block, uint32_t tier) {
    const uint32_t before = epp_index_more_copies(index, shelf, block, tier);
    if (index->n_copies >= index->max_pairs || before == EPP_NONE - 1) return true;
    if (before)
        epp_map_set(&index->copies, pair_key(shelf, block), tier, before + 1);
    else if (epp_map_reserve(&index->copies, index->memory, 1))
        epp_map_add(&index->copies, pair_key(shelf, block), tier, 1);
    else
        return false;
    index->n_copies++;
    return true;
}

/** One copy less; false: there is none beyond the first. */
static bool take_copy(epp_index *index, uint32_t shelf, uint32_t block, uint32_t tier) {
    const uint32_t before = epp_index_more_copies(index, shelf, block, tier);
    if (before == 0) return false;
    if (before > 1)
        epp_map_set(&index->copies, pair_key(shelf, block), tier, before - 1);
    else
        (void)epp_map_remove(&index->copies, pair_key(shelf, block), tier);
    index->n_copies--;
    return true;
}

static void forget_copies(epp_index *index, uint32_t shelf, uint32_t block) {
    for (uint32_t tier = 0; tier <= EPP_TIER_EXTERNAL && index->n_copies > 0; tier++) {
        const uint32_t copies = epp_map_remove(&index->copies, pair_key(shelf, block), tier);
        if (copies != EPP_NONE) index->n_copies -= copies;
    }
}

/** Forget a pair, whatever it is; the block too if this was its last. */
static void forget_pair(epp_index *index, uint32_t shelf, uint32_t block, uint32_t planes) {
    if (planes & 1u << EPP_PLANE_PREDICTED) forget_guess(index, shelf, block);
    if (planes & 1u << EPP_PLANE_ALIAS) forget_alias(index, shelf, block);
    forget_copies(index, shelf, block);
    for (uint32_t plane = 0; plane < EPP_PLANES; plane++)
        if (planes >> plane & 1) remove_plane(index, block, shelf, plane);
    epp_shelf *of = epp_index_shelf(index, shelf);
    of->pairs--;
    if (of->state == EPP_SHELF_LEAVING)
        index->n_leaving--;
    else
        index->n_pairs--;
    if (epp_holders_empty(block_at(index, block)->holders)) free_block(index, block);
}

/* --- what engines report --------------------------------------------------------------------------- */

/** A stored block on its way. */
typedef struct arrival {
    uint32_t shelf, tier, block, planes;
    uint64_t name;
    bool rename, name_is_free;
    epp_ids_probe name_place; /* where the name would stand, if it is free */
} arrival;

/** Give the block the name it came with. What had another name was of that name, copies too. */
static bool name_arrival(epp_index *index, const arrival *a) {
    const epp_ids_probe *place = a->name_is_free ? &a->name_place : NULL;
    if (!a->rename) return true;
    if (!set_name(index, a->shelf, a->block, a->name, place, a->planes)) return false;
    forget_copies(index, a->shelf, a->block);
    return true;
}

/** The tier has the block already: under the same name this is one more copy, under another it is the only
 *  one. False: no memory, nothing changed. */
static bool store_again(epp_index *index, const arrival *a) {
    return a->rename ? name_arrival(index, a) : add_copy(index, a->shelf, a->block, a->tier);
}

/** Make a pair real, or give it one more tier; false: no memory, nothing changed. */
static bool store_tier(epp_index *index, const arrival *a) {
    if (!add_plane(index, a->block, a->shelf, a->tier)) return false;
    if (!name_arrival(index, a)) {
        remove_plane(index, a->block, a->shelf, a->tier);
        return false;
    }
    if (a->planes & 1u << EPP_PLANE_PREDICTED) {
        forget_guess(index, a->shelf, a->block);
        remove_plane(index, a->block, a->shelf, EPP_PLANE_PREDICTED);
    }
    if ((a->planes & EPP_RESIDENT_PLANES) == 0) {
        index->n_pairs++;
        epp_index_shelf(index, a->shelf)->pairs++;
    }
    return true;
}

epp_stored epp_index_store(epp_index *index, uint32_t shelf, uint64_t name, uint64_t chain, uint32_t seed_id,
                           uint32_t tier) {
    epp_ids_probe chain_place;
    arrival a = {
        .shelf = shelf, .tier = tier, .block = probe_chain(index, chain, &chain_place), .name = name};
    const uint32_t owner = probe_name(index, name, &a.name_place);
    const uint32_t named = named_given(index, shelf, name, owner);
    a.rename = named == EPP_NONE;
    a.name_is_free = owner == EPP_NONE;
    if (named != EPP_NONE && named != a.block) return EPP_STORED_DUPLICATE;
    const bool fresh = a.block == EPP_NONE;
    a.planes = fresh ? 0 : planes_of(index, a.block, shelf);
    if ((a.planes & EPP_RESIDENT_PLANES) == 0 && index->n_pairs >= index->max_pairs)
        return EPP_STORED_CAPACITY;
    if (fresh && index->n_blocks >= EPP_MAX_IDS) return EPP_STORED_CAPACITY;
    if (a.planes >> tier & 1) return store_again(index, &a) ? EPP_STORED_DUPLICATE : EPP_STORED_CAPACITY;
    if (fresh) a.block = new_block(index, chain, seed_id, chain_place);
    if (store_tier(index, &a)) return EPP_STORED;
    if (fresh) free_block(index, a.block);
    return EPP_STORED_CAPACITY;
}

epp_removed epp_index_remove(epp_index *index, uint32_t shelf, uint64_t name, uint32_t tier) {
    const uint32_t block = epp_index_named(index, shelf, name);
    if (block == EPP_NONE) return EPP_REMOVED_UNKNOWN;
    const uint32_t planes = planes_of(index, block, shelf);
    if (!(planes >> tier & 1)) return EPP_REMOVED_UNKNOWN;
    if (take_copy(index, shelf, block, tier)) return EPP_REMOVED_COPY;
    if ((planes & EPP_TIER_PLANES) == 1u << tier)
        forget_pair(index, shelf, block, planes);
    else
        remove_plane(index, block, shelf, tier);
    return EPP_REMOVED;
}

/* --- forgetting all -------------------------------------------------------------------------------- */

/** Forget up to `most` pairs of a shelf among the `n` blocks from `*at`, which becomes where to go on. */
static void forget_range(epp_index *index, uint32_t shelf, uint32_t *at, uint32_t n, uint32_t most) {
    const uint32_t used = index->blocks.used, end = n < used - *at ? *at + n : used;
    uint32_t left = most;
    for (; *at < end && left > 0 && epp_index_shelf(index, shelf)->pairs > 0; ++*at) {
        if (block_at(index, *at)->seed == EPP_NONE) continue;
        const uint32_t planes = planes_of(index, *at, shelf);
        if (planes == 0) continue;
        forget_pair(index, shelf, *at, planes);
        left--;
    }
}

void epp_index_empty_shelf(epp_index *index, uint32_t shelf) {
    uint32_t at = 0;
    forget_range(index, shelf, &at, UINT32_MAX, UINT32_MAX);
    assert(epp_index_shelf(index, shelf)->pairs == 0);
}

bool epp_index_leave(epp_index *index, uint32_t shelf, uint32_t *list) {
    epp_shelf *leaving = epp_index_shelf(index, shelf);
    if (leaving->pairs > index->max_pairs - index->n_leaving) return false;
    index->n_pairs -= leaving->pairs;
    index->n_leaving += leaving->pairs;
    index->changes++;
    leaving->state = EPP_SHELF_LEAVING;
    leaving->next = *list;
    *list = shelf;
    return true;
}

void epp_index_forget_some(epp_index *index, uint32_t shelf, uint32_t *at) {
    enum { LOOKED_AT = 1 << 15, FORGOTTEN = 1 << 8 };
    forget_range(index, shelf, at, LOOKED_AT, FORGOTTEN);
    if (epp_index_shelf(index, shelf)->pairs > 0) return;
    epp_index_close_shelf(index, shelf);
    *at = EPP_NONE;
}

/* --- what we predict ------------------------------------------------------------------------------- */

static void add_guess(epp_index *index, uint32_t shelf, uint64_t chain, uint32_t seed_id, double due_s) {
    epp_ids_probe place;
    uint32_t block = probe_chain(index, chain, &place);
    const bool fresh = block == EPP_NONE;
    if (fresh) block = new_block(index, chain, seed_id, place);
    if (!add_plane(index, block, shelf, EPP_PLANE_PREDICTED)) {
        if (fresh) free_block(index, block);
        return;
    }
    const uint32_t id = epp_pool_take(&index->guesses, sizeof(epp_guess));
    *guess_at(index, id) = (epp_guess){.block = block, .shelf = shelf};
    epp_ids_add(&index->by_guess, pair_hash(shelf, block), id);
    epp_heap_push(&index->deadlines, id, due_s);
    index->n_guesses++;
    index->n_pairs++;
    epp_index_shelf(index, shelf)->pairs++;
}

void epp_index_predict(epp_index *index, uint32_t shelf, const uint64_t *chain, uint32_t n, uint32_t seed_id,
                       double due_s) {
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t block = epp_index_find(index, chain[i]);
        const uint32_t planes = block == EPP_NONE ? 0 : planes_of(index, block, shelf);
        if (planes & EPP_TIER_PLANES) continue;
        if (planes & 1u << EPP_PLANE_PREDICTED)
            epp_heap_move(&index->deadlines, find_guess(index, shelf, block), due_s);
        else if (index->n_pairs < index->max_pairs && (block != EPP_NONE || index->n_blocks < EPP_MAX_IDS))
            add_guess(index, shelf, chain[i], seed_id, due_s);
    }
}

void epp_index_expire(epp_index *index, double now_s) {
    while (index->deadlines.count > 0 && index->deadlines.items[0].due_s <= now_s) {
        const epp_guess guess = *guess_at(index, index->deadlines.items[0].id);
        forget_pair(index, guess.shelf, guess.block, 1u << EPP_PLANE_PREDICTED);
    }
}

uint64_t epp_index_bytes(const epp_index *index) {
    uint64_t bytes = (uint64_t)index->shelves.capacity * sizeof(epp_shelf);
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
