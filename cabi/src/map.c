#include "map.h"

#include <assert.h>
#include <string.h>

enum { FIRST_PLACES = 16 };

static uint32_t home_of(const epp_map *map, uint64_t a, uint64_t b) {
    return (uint32_t)epp_mix(a * UINT64_C(0x9E3779B97F4A7C15) + b) & (map->places - 1);
}

/** The place of (a, b), or the empty place where it would go. */
static uint32_t place_of(const epp_map *map, uint64_t a, uint64_t b) {
    uint32_t at = home_of(map, a, b);
    while (map->entries[at].value != EPP_NONE && (map->entries[at].a != a || map->entries[at].b != b))
        at = (at + 1) & (map->places - 1);
    return at;
}

uint32_t epp_map_get(const epp_map *map, uint64_t a, uint64_t b) {
    if (map->count == 0) return EPP_NONE;
    return map->entries[place_of(map, a, b)].value;
}

static void refill(epp_map *map, const epp_map_entry *old, uint32_t old_places) {
    memset(map->entries, 0xFF, map->places * sizeof *map->entries); /* every value EPP_NONE */
    for (uint32_t i = 0; i < old_places; i++)
        if (old[i].value != EPP_NONE) map->entries[place_of(map, old[i].a, old[i].b)] = old[i];
}

bool epp_map_reserve(epp_map *map, epp_memory *memory, uint32_t more) {
    const uint64_t needed = (uint64_t)map->count + more;
    uint64_t places = map->places ? map->places : FIRST_PLACES;
    while (needed * 4 > places * 3) places *= 2; /* three quarters full at most: misses stay short */
    if (places == map->places) return true;
    if (places > UINT32_MAX / 2) return false;
    epp_map_entry *fresh = epp_memory_resize(memory, NULL, 0, (size_t)places * sizeof *fresh);
    if (fresh == NULL) return false;
    epp_map_entry *old = map->entries;
    const uint32_t old_places = map->places;
    map->entries = fresh;
    map->places = (uint32_t)places;
    refill(map, old, old_places);
    (void)epp_memory_resize(memory, old, old_places * sizeof *old, 0);
    return true;
}

void epp_map_add(epp_map *map, uint64_t a, uint64_t b, uint32_t value) {
    assert(value != EPP_NONE && (uint64_t)(map->count + 1) * 4 <= (uint64_t)map->places * 3);
    const uint32_t at = place_of(map, a, b);
    assert(map->entries[at].value == EPP_NONE);
    map->entries[at] = (epp_map_entry){.a = a, .b = b, .value = value};
    map->count++;
}

void epp_map_set(epp_map *map, uint64_t a, uint64_t b, uint32_t value) {
    const uint32_t at = place_of(map, a, b);
    assert(map->entries[at].value != EPP_NONE);
    map->entries[at].value = value;
}

/** Close the hole at `hole` by moving back what probing had pushed past it. */
static void close_hole(epp_map *map, uint32_t hole) {
    const uint32_t mask = map->places - 1;
    for (uint32_t at = (hole + 1) & mask; map->entries[at].value != EPP_NONE; at = (at + 1) & mask) {
        const uint32_t home = home_of(map, map->entries[at].a, map->entries[at].b);
        if (((at - home) & mask) < ((at - hole) & mask)) continue; /* its home lies behind the hole */
        map->entries[hole] = map->entries[at];
        hole = at;
    }
    map->entries[hole].value = EPP_NONE;
}

uint32_t epp_map_remove(epp_map *map, uint64_t a, uint64_t b) {
    if (map->count == 0) return EPP_NONE;
    const uint32_t at = place_of(map, a, b);
    const uint32_t value = map->entries[at].value;
    if (value == EPP_NONE) return EPP_NONE;
    close_hole(map, at);
    map->count--;
    return value;
}

void epp_map_drop(epp_map *map, epp_memory *memory) {
    (void)epp_memory_resize(memory, map->entries, map->places * sizeof *map->entries, 0);
    *map = (epp_map){0};
}
