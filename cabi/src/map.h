/** A map from a pair of u64 to a u32: open addressing, linear probing, no tombstones. */
#ifndef EPP_MAP_H
#define EPP_MAP_H

#include "memory.h"

enum { EPP_NONE = UINT32_MAX };

typedef struct epp_map_entry {
    uint64_t a, b;
    uint32_t value; /* EPP_NONE: the place is empty */
} epp_map_entry;

typedef struct epp_map {
    epp_map_entry *entries;
    uint32_t places; /* power of two, or 0 before the first insertion */
    uint32_t count;
} epp_map;

/** Scatter a key over 64 bits; engines may use small integers as names. */
static inline uint64_t epp_mix(uint64_t x) {
    x = (x ^ (x >> 32)) * UINT64_C(0xD6E8FEB86659FD93);
    x = (x ^ (x >> 32)) * UINT64_C(0xD6E8FEB86659FD93);
    return x ^ (x >> 32);
}

/** The value of (a, b), or EPP_NONE. */
uint32_t epp_map_get(const epp_map *map, uint64_t a, uint64_t b);

/** Room for `more` further keys, so that as many insertions cannot fail. */
bool epp_map_reserve(epp_map *map, epp_memory *memory, uint32_t more);

/** Add (a, b), which must be absent; room must have been reserved. `value` is not EPP_NONE. */
void epp_map_add(epp_map *map, uint64_t a, uint64_t b, uint32_t value);

/** Change the value of (a, b), which must be present. */
void epp_map_set(epp_map *map, uint64_t a, uint64_t b, uint32_t value);

/** Remove (a, b); returns its value, or EPP_NONE when it was absent. */
uint32_t epp_map_remove(epp_map *map, uint64_t a, uint64_t b);

/** Give the memory back. */
void epp_map_drop(epp_map *map, epp_memory *memory);

#endif
