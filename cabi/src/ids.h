/** A hash table of small ids whose keys live elsewhere: 4 bytes a place, linear probing, no tombstones.
 *
 *      place: tag(6) | id + 1 (26), 0: empty
 *
 *  The tag is six bits of the hash that the place does not show, so most strangers in a probe are passed
 *  without reading their key, which is a cache miss each. At most three quarters of the places are taken. */
#ifndef EPP_IDS_H
#define EPP_IDS_H

#include "map.h"

enum { EPP_MAX_IDS = (1 << 26) - 2, EPP_ID_BITS = 26, EPP_ID_MASK = (1 << 26) - 1 };

typedef struct epp_ids {
    uint32_t *places;
    uint32_t n_places; /* power of two, or 0 before the first reservation */
    uint32_t count;
} epp_ids;

/** Hash of an id's key, for moving entries. */
typedef uint64_t (*epp_ids_hash)(const void *owner, uint32_t id);

/** Where the keys are: `is_member` says which ids below `n_ids` are in the table. */
typedef struct epp_ids_keys {
    epp_ids_hash hash_of;
    bool (*is_member)(const void *owner, uint32_t id);
    const void *owner;
    uint32_t n_ids;
} epp_ids_keys;

/** A walk along the ids that may have a key with this hash. */
typedef struct epp_ids_probe {
    uint32_t at, tag;
} epp_ids_probe;

static inline epp_ids_probe epp_ids_begin(const epp_ids *ids, uint64_t hash) {
    return (epp_ids_probe){.at = (uint32_t)hash & (ids->n_places - 1),
                           .tag = (uint32_t)(hash >> (32 + EPP_ID_BITS))};
}

/** The next id to compare, or EPP_NONE when the key is absent; the probe then stands at the place where it
 *  would go. The table must have places. */
static inline uint32_t epp_ids_next(const epp_ids *ids, epp_ids_probe *probe) {
    for (;;) {
        const uint32_t place = ids->places[probe->at];
        if (place == 0) return EPP_NONE;
        probe->at = (probe->at + 1) & (ids->n_places - 1);
        if (place >> EPP_ID_BITS == probe->tag) return (place & EPP_ID_MASK) - 1;
    }
}

/** Bring the first place of a hash into the cache. Inlined always: GCC drops a call whose only effect is a
 *  prefetch. */
__attribute__((always_inline)) static inline void epp_ids_prefetch(const epp_ids *ids, uint64_t hash) {
    if (ids->n_places) __builtin_prefetch(&ids->places[(uint32_t)hash & (ids->n_places - 1)]);
}

/** A larger table of the same ids with room for `more`, or no places if the table has that room. Reads only. False: no
 *  memory. */
bool epp_ids_grown(const epp_ids *ids, epp_memory *memory, uint64_t more, epp_ids_keys keys, epp_ids *out);

/** Room for `more` further ids. False: no memory, nothing changed. */
bool epp_ids_reserve(epp_ids *ids, epp_memory *memory, uint64_t more, epp_ids_keys keys);

/** Add an id; room must have been reserved. */
void epp_ids_add(epp_ids *ids, uint64_t hash, uint32_t id);

/** Add an id where a probe for its key ended, nothing having been added or removed since. */
static inline void epp_ids_add_at(epp_ids *ids, epp_ids_probe probe, uint32_t id) {
    ids->places[probe.at] = probe.tag << EPP_ID_BITS | (id + 1);
    ids->count++;
}

/** Remove an id that is there. */
void epp_ids_remove(epp_ids *ids, uint64_t hash, uint32_t id, epp_ids_hash hash_of, const void *owner);

void epp_ids_drop(epp_ids *ids, epp_memory *memory);

#endif
