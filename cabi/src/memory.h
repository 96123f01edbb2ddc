/** The one door to the heap: counted, bounded against overflow, replaceable for tests. */
#ifndef EPP_MEMORY_H
#define EPP_MEMORY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "epp.h"

typedef struct epp_memory {
    epp_allocator allocator;
    atomic_size_t used_bytes;
} epp_memory;

/** Whether an array argument has items but no place. */
static inline bool epp_missing(const void *items, size_t n) { return items == NULL && n > 0; }

/** `allocator` NULL: the C library's. */
void epp_memory_init(epp_memory *memory, const epp_allocator *allocator);

/** Grow, shrink, make (`block` NULL) or drop (`new_bytes` 0) one allocation. NULL when there is no room,
 *  the old block then being as it was; NULL also after dropping. */
void *epp_memory_resize(epp_memory *memory, void *block, size_t old_bytes, size_t new_bytes);

/** Make `*array` of `item_bytes`-sized items hold at least `needed`, growing by a quarter so that large
 *  arrays waste little. False: no room, nothing changed. */
bool epp_memory_grow(epp_memory *memory, void **array, uint32_t *capacity, uint64_t needed,
                     size_t item_bytes);

/** A growing array. */
typedef struct epp_array {
    void *items; /* NULL: none */
    uint32_t capacity;
} epp_array;

/** A larger copy of an array, for `epp_memory_grow` to find room in once it has taken its place; none if there is room.
 *  Only reads the old one. False: no room. */
bool epp_memory_grown(epp_memory *memory, epp_array old, uint64_t needed, size_t item_bytes, epp_array *out);

/** Drop an array made by `epp_memory_grow`. */
void epp_memory_drop(epp_memory *memory, void **array, uint32_t *capacity, size_t item_bytes);

#endif
