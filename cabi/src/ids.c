#include "ids.h"

#include <assert.h>
#include <string.h>

enum { FIRST_PLACES = 64, AHEAD = 32 };

static uint32_t place_for(uint64_t hash, uint32_t id) {
    return (uint32_t)(hash >> (32 + EPP_ID_BITS)) << EPP_ID_BITS | (id + 1);
}

static void insert(uint32_t *places, uint32_t n_places, uint64_t hash, uint32_t id) {
    uint32_t at = (uint32_t)hash & (n_places - 1);
    while (places[at] != 0) at = (at + 1) & (n_places - 1);
    places[at] = place_for(hash, id);
}

/** Fill a new table in the order of ids, which is that of their keys in memory; the places, which are not,
 *  are fetched ahead. */
static void refill(uint32_t *places, uint32_t n_places, epp_ids_keys keys) {
    uint64_t hashes[AHEAD];
    uint32_t members[AHEAD];
    for (uint32_t id = 0; id < keys.n_ids;) {
        uint32_t n = 0;
        for (; n < AHEAD && id < keys.n_ids; id++) {
            if (!keys.is_member(keys.owner, id)) continue;
            hashes[n] = keys.hash_of(keys.owner, id);
            members[n] = id;
            __builtin_prefetch(&places[(uint32_t)hashes[n++] & (n_places - 1)], 1);
        }
        for (uint32_t i = 0; i < n; i++) insert(places, n_places, hashes[i], members[i]);
    }
}

bool epp_ids_grown(const epp_ids *ids, epp_memory *memory, uint64_t more, epp_ids_keys keys, epp_ids *out) {
    const uint64_t needed = ids->count + more;
    uint64_t n_places = ids->n_places ? ids->n_places : FIRST_PLACES;
    *out = (epp_ids){0};
    while (needed * 4 > n_places * 3) n_places *= 2;
    if (n_places == ids->n_places) return true;
    if (n_places > UINT32_MAX / 2) return false;
    uint32_t *places = epp_memory_resize(memory, NULL, 0, (size_t)n_places * sizeof *places);
    if (places == NULL) return false;
    memset(places, 0, (size_t)n_places * sizeof *places);
    refill(places, (uint32_t)n_places, keys);
    *out = (epp_ids){.places = places, .n_places = (uint32_t)n_places, .count = ids->count};
    return true;
}

bool epp_ids_reserve(epp_ids *ids, epp_memory *memory, uint64_t more, epp_ids_keys keys) {
    epp_ids grown;
    if (!epp_ids_grown(ids, memory, more, keys, &grown)) return false;
    if (grown.n_places == 0) return true;
    epp_ids_drop(ids, memory);
    *ids = grown;
    return true;
}

void epp_ids_add(epp_ids *ids, uint64_t hash, uint32_t id) {
    assert((uint64_t)(ids->count + 1) * 4 <= (uint64_t)ids->n_places * 3);
    insert(ids->places, ids->n_places, hash, id);
    ids->count++;
}

void epp_ids_remove(epp_ids *ids, uint64_t hash, uint32_t id, epp_ids_hash hash_of, const void *owner) {
    const uint32_t mask = ids->n_places - 1;
    uint32_t hole = (uint32_t)hash & mask;
    while (ids->places[hole] != place_for(hash, id)) {
        assert(ids->places[hole] != 0);
        hole = (hole + 1) & mask;
    }
    for (uint32_t at = (hole + 1) & mask; ids->places[at] != 0; at = (at + 1) & mask) {
        const uint32_t home = (uint32_t)hash_of(owner, (ids->places[at] & EPP_ID_MASK) - 1) & mask;
        if (((at - home) & mask) < ((at - hole) & mask)) continue; /* its home lies behind the hole */
        ids->places[hole] = ids->places[at];
        hole = at;
    }
    ids->places[hole] = 0;
    ids->count--;
}

void epp_ids_drop(epp_ids *ids, epp_memory *memory) {
    (void)epp_memory_resize(memory, ids->places, ids->n_places * sizeof *ids->places, 0);
    *ids = (epp_ids){0};
}
