/** An array of items with holes that are filled first: ids are stable, memory is one block. */
#ifndef EPP_POOL_H
#define EPP_POOL_H

#include <string.h>

#include "map.h"

typedef struct epp_pool {
    void *items;
    uint32_t capacity;
    uint32_t used; /* high water */
    uint32_t free; /* first hole, linked through the holes' first four bytes; meaningful if n_free */
    uint32_t n_free;
} epp_pool;

/** Room for `more` further items. False: no memory, nothing changed. */
static inline bool epp_pool_reserve(epp_pool *pool, epp_memory *memory, uint64_t more, size_t item_bytes) {
    if (more <= pool->n_free) return true;
    return epp_memory_grow(memory, &pool->items, &pool->capacity, pool->used + (more - pool->n_free),
                           item_bytes);
}

/** An id whose item holds anything; room must have been reserved. */
static inline uint32_t epp_pool_take(epp_pool *pool, size_t item_bytes) {
    if (pool->n_free == 0) return pool->used++;
    const uint32_t id = pool->free;
    memcpy(&pool->free, (const char *)pool->items + id * item_bytes, sizeof pool->free);
    pool->n_free--;
    return id;
}

static inline void epp_pool_give(epp_pool *pool, uint32_t id, size_t item_bytes) {
    memcpy((char *)pool->items + id * item_bytes, &pool->free, sizeof pool->free);
    pool->free = id;
    pool->n_free++;
}

static inline void epp_pool_drop(epp_pool *pool, epp_memory *memory, size_t item_bytes) {
    epp_memory_drop(memory, &pool->items, &pool->capacity, item_bytes);
    *pool = (epp_pool){0};
}

#endif
