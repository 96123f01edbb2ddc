#include "holders.h"

#include <string.h>

#include "map.h"

enum {
    PLANE_BITS = 3,
    IN_PLACE_SHELF_SHIFT = 6,
    IN_PLACE_PLANES = 0x3F,
    IN_PLACE_SHELF = 0xFFFFFF,
    CLASS_SHIFT = 26,
    CLASS_BITS = 0xF,
    INDEX_BITS = 0x3FFFFFF,
    SHELVES_PER_WORD = 64,
};

_Static_assert(EPP_PLANES *(EPP_MAX_SHELVES / SHELVES_PER_WORD) <= 1 << (EPP_HOLDERS_CLASSES - 1) &&
                   EPP_HOLDERS_CLASSES - 1 <= CLASS_BITS,
               "a full set fits into the last class");

void epp_holders_init(epp_holders_pools *pools) {
    for (int i = 0; i < EPP_HOLDERS_CLASSES; i++) pools->classes[i] = (epp_cell_pool){.free = EPP_NONE};
}

void epp_holders_drop(epp_holders_pools *pools, epp_memory *memory) {
    for (int i = 0; i < EPP_HOLDERS_CLASSES; i++) {
        epp_cell_pool *pool = &pools->classes[i];
        epp_memory_drop(memory, (void **)&pool->cells, &pool->capacity, sizeof(epp_cell) << i);
    }
    epp_holders_init(pools);
}

/* --- the packed word ------------------------------------------------------------------------------- */

static uint32_t key_of(uint32_t shelf, uint32_t plane) {
    return (shelf / SHELVES_PER_WORD) << PLANE_BITS | plane;
}

static uint64_t bit_of(uint32_t shelf) { return UINT64_C(1) << (shelf % SHELVES_PER_WORD); }

static uint32_t in_place(uint32_t spare, uint32_t shelf, uint32_t planes) {
    return planes ? spare | shelf << IN_PLACE_SHELF_SHIFT | planes : spare;
}

static uint32_t class_of(uint32_t holders) { return holders >> CLASS_SHIFT & CLASS_BITS; }

static epp_cell *cells_of(const epp_holders_pools *pools, uint32_t holders) {
    const uint32_t class = class_of(holders);
    return pools->classes[class].cells + ((size_t)(holders & INDEX_BITS) << class);
}

/* --- pools ----------------------------------------------------------------------------------------- */

/** A set of 2^class cells, as a holders value without the spare bit; 0: no memory. */
static uint32_t take_set(epp_holders_pools *pools, epp_memory *memory, uint32_t class) {
    epp_cell_pool *pool = &pools->classes[class];
    uint32_t index = pool->free;
    if (index != EPP_NONE) {
        pool->free = pool->cells[(size_t)index << class].count;
    } else {
        if (pool->used > INDEX_BITS || !epp_memory_grow(memory, (void **)&pool->cells, &pool->capacity,
                                                        (uint64_t)pool->used + 1, sizeof(epp_cell) << class))
            return 0;
        index = pool->used++;
    }
    return EPP_HOLDERS_SET | class << CLASS_SHIFT | index;
}

static void give_set(epp_holders_pools *pools, uint32_t holders) {
    epp_cell_pool *pool = &pools->classes[class_of(holders)];
    cells_of(pools, holders)->count = pool->free;
    pool->free = holders & INDEX_BITS;
}

/** Move a set's cells to a set of another class. False: no memory. */
static bool change_class(epp_holders_pools *pools, epp_memory *memory, uint32_t *holders, uint32_t class) {
    const uint32_t fresh = take_set(pools, memory, class);
    if (fresh == 0) return false;
    const epp_cell *from = cells_of(pools, *holders); /* after taking: the pool may have moved */
    memcpy(cells_of(pools, fresh), from, from->count * sizeof *from);
    give_set(pools, *holders);
    *holders = fresh | (*holders & EPP_HOLDERS_SPARE);
    return true;
}

/* --- reading --------------------------------------------------------------------------------------- */

/** The first cell whose key is not below `key`. */
static uint32_t lower_bound(const epp_cell *cells, uint32_t key) {
    uint32_t low = 0, high = cells->count;
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (cells[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint32_t epp_holders_planes(const epp_holders_pools *pools, uint32_t holders, uint32_t shelf) {
    if (!(holders & EPP_HOLDERS_SET)) {
        const bool same = (holders >> IN_PLACE_SHELF_SHIFT & IN_PLACE_SHELF) == shelf;
        return same ? holders & IN_PLACE_PLANES : 0;
    }
    const epp_cell *cells = cells_of(pools, holders);
    uint32_t planes = 0;
    for (uint32_t at = lower_bound(cells, key_of(shelf, 0)); at < cells->count; at++) {
        if (cells[at].key >> PLANE_BITS != shelf / SHELVES_PER_WORD) break;
        if (cells[at].bits & bit_of(shelf)) planes |= 1u << (cells[at].key & 7);
    }
    return planes;
}

const epp_cell *epp_holders_cells(const epp_holders_pools *pools, uint32_t holders, epp_cell *in_place,
                                  uint32_t *count) {
    if (holders & EPP_HOLDERS_SET) {
        const epp_cell *cells = cells_of(pools, holders);
        *count = cells->count;
        return cells;
    }
    const uint32_t shelf = holders >> IN_PLACE_SHELF_SHIFT & IN_PLACE_SHELF;
    *count = 0;
    for (uint32_t plane = 0; plane < EPP_PLANES; plane++)
        if (holders >> plane & 1)
            in_place[(*count)++] = (epp_cell){.bits = bit_of(shelf), .key = key_of(shelf, plane)};
    return in_place;
}

/* --- changing -------------------------------------------------------------------------------------- */

static uint32_t class_for(uint32_t cells) {
    uint32_t class = 0;
    while ((1u << class) < cells) class ++;
    return class;
}

/** Put one bit into a set that has room for one more cell. */
static void put_bit(epp_cell *cells, uint32_t shelf, uint32_t plane) {
    const uint32_t key = key_of(shelf, plane);
    const uint32_t at = lower_bound(cells, key);
    if (at < cells->count && cells[at].key == key) {
        cells[at].bits |= bit_of(shelf);
        return;
    }
    const uint32_t count = cells->count + 1;
    memmove(cells + at + 1, cells + at, (count - 1 - at) * sizeof *cells);
    cells[at] = (epp_cell){.bits = bit_of(shelf), .key = key};
    cells->count = count;
}

/** Turn one shelf in place into a set with room for one more shelf's plane. */
static bool spill(epp_holders_pools *pools, epp_memory *memory, uint32_t *holders) {
    epp_cell one[EPP_PLANES];
    uint32_t count = 0;
    (void)epp_holders_cells(pools, *holders, one, &count);
    const uint32_t fresh = take_set(pools, memory, class_for(count));
    if (fresh == 0) return false;
    one[0].count = count;
    memcpy(cells_of(pools, fresh), one, count * sizeof *one);
    *holders = fresh | (*holders & EPP_HOLDERS_SPARE);
    return true;
}

static bool has_cell(const epp_cell *cells, uint32_t key) {
    const uint32_t at = lower_bound(cells, key);
    return at < cells->count && cells[at].key == key;
}

bool epp_holders_add(epp_holders_pools *pools, epp_memory *memory, uint32_t *holders, uint32_t shelf,
                     uint32_t plane) {
    const uint32_t before = *holders;
    const uint32_t spare = before & EPP_HOLDERS_SPARE;
    if (!(before & EPP_HOLDERS_SET)) {
        const bool same = (before >> IN_PLACE_SHELF_SHIFT & IN_PLACE_SHELF) == shelf;
        if (epp_holders_empty(before) || same) {
            *holders = in_place(spare, shelf, (before & IN_PLACE_PLANES) | 1u << plane);
            return true;
        }
        if (!spill(pools, memory, holders)) return false;
    }
    const epp_cell *cells = cells_of(pools, *holders);
    const uint32_t class = class_of(*holders);
    if (cells->count == 1u << class && !has_cell(cells, key_of(shelf, plane)) &&
        !change_class(pools, memory, holders, class + 1)) {
        if (!(before & EPP_HOLDERS_SET)) {
            give_set(pools, *holders);
            *holders = before;
        }
        return false;
    }
    put_bit(cells_of(pools, *holders), shelf, plane);
    return true;
}

/** Bring a set that has become small back into place, or into a smaller class when there is room. */
static void compact(epp_holders_pools *pools, epp_memory *memory, uint32_t *holders) {
    const epp_cell *cells = cells_of(pools, *holders);
    const uint32_t spare = *holders & EPP_HOLDERS_SPARE;
    if (cells->count == 0) {
        give_set(pools, *holders);
        *holders = spare;
        return;
    }
    const uint32_t class = class_of(*holders);
    if (cells->count * 4 <= 1u << class) (void)change_class(pools, memory, holders, class - 1);
    cells = cells_of(pools, *holders);
    if (cells->count > EPP_PLANES) return;
    uint32_t planes = 0;
    for (uint32_t i = 0; i < cells->count; i++) {
        if (cells[i].bits != cells->bits || cells[i].key >> PLANE_BITS != cells->key >> PLANE_BITS) return;
        planes |= 1u << (cells[i].key & 7);
    }
    if (cells->bits & (cells->bits - 1)) return; /* more than one shelf */
    const uint32_t shelf =
        (cells->key >> PLANE_BITS) * SHELVES_PER_WORD + (uint32_t)__builtin_ctzll(cells->bits);
    give_set(pools, *holders);
    *holders = in_place(spare, shelf, planes);
}

void epp_holders_remove(epp_holders_pools *pools, epp_memory *memory, uint32_t *holders, uint32_t shelf,
                        uint32_t plane) {
    if (!(*holders & EPP_HOLDERS_SET)) {
        if ((*holders >> IN_PLACE_SHELF_SHIFT & IN_PLACE_SHELF) == shelf)
            *holders =
                in_place(*holders & EPP_HOLDERS_SPARE, shelf, *holders & IN_PLACE_PLANES & ~(1u << plane));
        return;
    }
    epp_cell *cells = cells_of(pools, *holders);
    const uint32_t at = lower_bound(cells, key_of(shelf, plane));
    if (at == cells->count || cells[at].key != key_of(shelf, plane)) return;
    cells[at].bits &= ~bit_of(shelf);
    if (cells[at].bits == 0) {
        const uint32_t count = cells->count - 1;
        memmove(cells + at, cells + at + 1, (count - at) * sizeof *cells);
        cells->count = count;
    }
    compact(pools, memory, holders);
}

const char *epp_holders_validate(const epp_holders_pools *pools, uint32_t holders) {
    if (!(holders & EPP_HOLDERS_SET))
        return (holders & IN_PLACE_PLANES) || epp_holders_empty(holders) ? NULL : "a shelf without planes";
    const uint32_t class = class_of(holders);
    if (class >= EPP_HOLDERS_CLASSES) return "a set of no class";
    if ((holders & INDEX_BITS) >= pools->classes[class].used) return "a set beyond its pool";
    const epp_cell *cells = cells_of(pools, holders);
    if (cells->count == 0 || cells->count > 1u << class) return "a set with an impossible count";
    for (uint32_t i = 0; i < cells->count; i++) {
        if (cells[i].bits == 0) return "an empty cell";
        if (i > 0 && cells[i].key <= cells[i - 1].key) return "cells out of order";
    }
    return NULL;
}
