/* Room in the index. Growing a large table takes tens of milliseconds: who may be the only one to change the index makes
 * larger ones beside readers (`epp_index_prepare`), and then, alone, only exchanges them. What is not prepared grows
 * in place. */
#include "index_keys.h"

static epp_ids_keys keys_of_chains(const epp_index *index) {
    return (epp_ids_keys){hash_by_chain, is_block, index, index->blocks.used};
}

static epp_ids_keys keys_of_names(const epp_index *index) {
    return (epp_ids_keys){hash_by_name, is_named_block, index, index->blocks.used};
}

static epp_ids_keys keys_of_aliases(const epp_index *index) {
    return (epp_ids_keys){hash_by_alias, is_alias, index, index->aliases.used};
}

static epp_ids_keys keys_of_pairs(const epp_index *index) {
    return (epp_ids_keys){hash_by_pair, is_alias, index, index->aliases.used};
}

static epp_ids_keys keys_of_guesses(const epp_index *index) {
    return (epp_ids_keys){hash_by_guess, is_guess, index, index->guesses.used};
}

/** How many of `blocks` can join `count` of them in one call, whatever else it takes away: there is no block without a
 *  pair, and as many pairs as may stay may be leaving. */
static uint64_t addable(const epp_index *index, uint32_t count, uint64_t blocks) {
    const uint64_t most = index->max_pairs < EPP_MAX_IDS / 2 ? 2 * index->max_pairs : EPP_MAX_IDS;
    return blocks < most - count ? blocks : most - count;
}

/* --- beside readers ---------------------------------------------------------------------------------- */

static bool grown_pool(epp_memory *memory, const epp_pool *pool, uint64_t more, size_t item_bytes,
                       epp_array *out) {
    const uint64_t needed = more > pool->n_free ? pool->used + (more - pool->n_free) : 0;
    return epp_memory_grown(memory, (epp_array){pool->items, pool->capacity}, needed, item_bytes, out);
}

/** What may be needed but need not: so much of it that a table grows by one step. */
static uint64_t one_step(uint64_t blocks, uint32_t capacity) {
    return blocks < capacity / 4 ? blocks : capacity / 4;
}

/** Where engines' names differ from the blocks' own, so will the next. */
static bool prepare_aliases(const epp_index *index, uint64_t added, epp_index_spare *spare) {
    epp_memory *memory = index->memory;
    const uint64_t blocks = one_step(added, index->aliases.capacity);
    return index->by_alias.count == 0 ||
           (grown_pool(memory, &index->aliases, blocks, sizeof(epp_alias), &spare->aliases) &&
            epp_ids_grown(&index->by_alias, memory, blocks, keys_of_aliases(index), &spare->by_alias) &&
            epp_ids_grown(&index->by_pair, memory, blocks, keys_of_pairs(index), &spare->by_pair));
}

/** Sets of holders grow one by one as blocks become shared; where there are many, the next batch may bring more. */
static bool prepare_holders(const epp_index *index, uint64_t blocks, epp_index_spare *spare) {
    enum { MANY_BYTES = 1 << 11 };
    for (int class = 0; class < EPP_HOLDERS_CLASSES; class ++) {
        const epp_cell_pool *pool = &index->holders.classes[class];
        const size_t set_bytes = sizeof(epp_cell) << class;
        const uint64_t more = one_step(blocks, pool->capacity);
        const uint64_t needed = pool->capacity > MANY_BYTES / set_bytes ? pool->used + more : 0;
        if (!epp_memory_grown(index->memory, (epp_array){pool->cells, pool->capacity}, needed, set_bytes,
                              &spare->cells[class]))
            return false;
    }
    return true;
}

static bool prepare_guesses(const epp_index *index, uint64_t wanted, epp_index_spare *spare) {
    epp_memory *memory = index->memory;
    const epp_heap *heap = &index->deadlines;
    const uint64_t room = index->max_pairs - index->n_pairs, guesses = wanted < room ? wanted : room;
    if (guesses == 0) return true;
    return grown_pool(memory, &index->guesses, guesses, sizeof(epp_guess), &spare->guesses) &&
           epp_ids_grown(&index->by_guess, memory, guesses, keys_of_guesses(index), &spare->by_guess) &&
           epp_memory_grown(memory, (epp_array){heap->items, heap->item_capacity}, heap->count + guesses,
                            sizeof *heap->items, &spare->deadlines) &&
           epp_memory_grown(memory, (epp_array){heap->place_of, heap->id_capacity},
                            index->guesses.used + guesses + 1, sizeof *heap->place_of,
                            &spare->places_of_deadlines);
}

bool epp_index_prepare(const epp_index *index, uint64_t blocks, uint64_t guesses, epp_index_spare *spare) {
    epp_memory *memory = index->memory;
    const uint64_t added = addable(index, index->n_blocks, blocks);
    const uint64_t named = addable(index, index->by_name.count, blocks); /* any may get its name */
    if (grown_pool(memory, &index->blocks, added, sizeof(epp_block), &spare->blocks) &&
        epp_ids_grown(&index->by_chain, memory, added, keys_of_chains(index), &spare->by_chain) &&
        epp_ids_grown(&index->by_name, memory, named, keys_of_names(index), &spare->by_name) &&
        prepare_aliases(index, blocks, spare) && prepare_holders(index, blocks, spare) &&
        prepare_guesses(index, guesses, spare))
        return true;
    epp_index_drop_spare(index, spare);
    return false;
}

static void exchange_ids(epp_ids *table, epp_ids *spare) {
    const epp_ids old = *table;
    if (spare->n_places == 0) return;
    *table = *spare;
    *spare = old;
}

static void exchange_array(void **items, uint32_t *capacity, epp_array *spare) {
    const epp_array old = {*items, *capacity};
    if (spare->items == NULL) return;
    *items = spare->items;
    *capacity = spare->capacity;
    *spare = old;
}

void epp_index_exchange(epp_index *index, epp_index_spare *spare) {
    exchange_ids(&index->by_chain, &spare->by_chain);
    exchange_ids(&index->by_name, &spare->by_name);
    exchange_ids(&index->by_alias, &spare->by_alias);
    exchange_ids(&index->by_pair, &spare->by_pair);
    exchange_ids(&index->by_guess, &spare->by_guess);
    exchange_array(&index->blocks.items, &index->blocks.capacity, &spare->blocks);
    exchange_array(&index->aliases.items, &index->aliases.capacity, &spare->aliases);
    exchange_array(&index->guesses.items, &index->guesses.capacity, &spare->guesses);
    for (int class = 0; class < EPP_HOLDERS_CLASSES; class ++) {
        epp_cell_pool *pool = &index->holders.classes[class];
        void *cells = pool->cells;
        exchange_array(&cells, &pool->capacity, &spare->cells[class]);
        pool->cells = cells;
    }
    epp_heap *heap = &index->deadlines;
    void *items = heap->items, *places = heap->place_of;
    exchange_array(&items, &heap->item_capacity, &spare->deadlines);
    exchange_array(&places, &heap->id_capacity, &spare->places_of_deadlines);
    heap->items = items;
    heap->place_of = places;
}

static void drop_array(epp_memory *memory, epp_array *array, size_t item_bytes) {
    epp_memory_drop(memory, &array->items, &array->capacity, item_bytes);
}

void epp_index_drop_spare(const epp_index *index, epp_index_spare *spare) {
    epp_memory *memory = index->memory;
    epp_ids_drop(&spare->by_chain, memory);
    epp_ids_drop(&spare->by_name, memory);
    epp_ids_drop(&spare->by_alias, memory);
    epp_ids_drop(&spare->by_pair, memory);
    epp_ids_drop(&spare->by_guess, memory);
    drop_array(memory, &spare->blocks, sizeof(epp_block));
    drop_array(memory, &spare->aliases, sizeof(epp_alias));
    drop_array(memory, &spare->guesses, sizeof(epp_guess));
    drop_array(memory, &spare->deadlines, sizeof(epp_heap_item));
    drop_array(memory, &spare->places_of_deadlines, sizeof(uint32_t));
    for (int class = 0; class < EPP_HOLDERS_CLASSES; class ++)
        drop_array(memory, &spare->cells[class], sizeof(epp_cell) << class);
}

/* --- in place ---------------------------------------------------------------------------------------- */

static bool reserve_guesses(epp_index *index, uint64_t guesses) {
    epp_memory *memory = index->memory;
    if (guesses == 0) return true;
    const uint64_t last = (uint64_t)index->guesses.used + guesses;
    return last < EPP_MAX_IDS && epp_pool_reserve(&index->guesses, memory, guesses, sizeof(epp_guess)) &&
           epp_ids_reserve(&index->by_guess, memory, guesses, keys_of_guesses(index)) &&
           epp_heap_reserve(&index->deadlines, memory, (uint32_t)last, (uint32_t)guesses);
}

bool epp_index_reserve(epp_index *index, uint64_t blocks, uint64_t guesses) {
    epp_memory *memory = index->memory;
    const uint64_t room = index->max_pairs - index->n_pairs;
    const uint64_t added = addable(index, index->n_blocks, blocks);
    return reserve_guesses(index, guesses < room ? guesses : room) &&
           epp_pool_reserve(&index->blocks, memory, added, sizeof(epp_block)) &&
           epp_ids_reserve(&index->by_chain, memory, added, keys_of_chains(index)) &&
           epp_ids_reserve(&index->by_name, memory, addable(index, index->by_name.count, blocks),
                           keys_of_names(index));
}

bool epp_index_reserve_alias(epp_index *index) {
    epp_memory *memory = index->memory;
    return index->aliases.used < EPP_MAX_IDS &&
           epp_pool_reserve(&index->aliases, memory, 1, sizeof(epp_alias)) &&
           epp_ids_reserve(&index->by_alias, memory, 1, keys_of_aliases(index)) &&
           epp_ids_reserve(&index->by_pair, memory, 1, keys_of_pairs(index));
}
