/* Runs of many shelves along one chain, 64 shelves at a time.
 *
 * Three sets are carried from block to block: shelves whose run is unbroken on the device, on device or host,
 * on any tier. Each block's cells say who holds it where; whoever is not among them leaves the set, and the
 * position is the length of that run. A shelf leaves each set once, so the work is
 * O(blocks of the longest run * words) plus O(shelves). The walk stops with the last live shelf. */
#include <assert.h>

#include "index.h"

enum { SHELVES_PER_WORD = 64, PLANE_BITS = 3, AHEAD = 8 };

/** Shelves still running, by what they may be held in. */
typedef struct run_sets {
    uint64_t *device, *host, *disk;
} run_sets;

/** Who holds one block, within one word of shelves. */
typedef struct held_word {
    uint64_t device, host, disk;
} held_word;

static void close_runs(uint64_t leaving, uint32_t word, uint32_t length, size_t field, epp_runs *runs) {
    while (leaving) {
        epp_runs *run = &runs[word * SHELVES_PER_WORD + (uint32_t)__builtin_ctzll(leaving)];
        memcpy((char *)run + field, &length, sizeof length);
        leaving &= leaving - 1;
    }
}

/** Keep in the sets who holds block number `at`; true if somebody is left in this word. */
static bool narrow(run_sets sets, uint32_t word, held_word held, uint32_t at, epp_runs *runs) {
    held.host |= held.device;
    held.disk |= held.host;
    const uint64_t device = sets.device[word] & ~held.device;
    const uint64_t host = sets.host[word] & ~held.host;
    const uint64_t disk = sets.disk[word] & ~held.disk;
    if (device | host | disk) {
        close_runs(device, word, at, offsetof(epp_runs, device), runs);
        close_runs(host, word, at, offsetof(epp_runs, host), runs);
        close_runs(disk, word, at, offsetof(epp_runs, disk), runs);
        sets.device[word] ^= device;
        sets.host[word] ^= host;
        sets.disk[word] ^= disk;
    }
    return sets.disk[word] != 0;
}

static void hold(held_word *held, uint32_t plane, uint64_t bits) {
    switch (plane) {
    case EPP_PLANE_DEVICE:
    case EPP_PLANE_PREDICTED: held->device |= bits; break;
    case EPP_PLANE_HOST: held->host |= bits; break;
    case EPP_PLANE_DISK:
    case EPP_PLANE_EXTERNAL: held->disk |= bits; break;
    default: break; /* EPP_PLANE_ALIAS says nothing of residency */
    }
}

/** Shelves of one word whose first blocks up to and including `at` count as on the device. */
static uint64_t pending_bits(const uint32_t *pending, uint64_t shelves, uint32_t word, uint32_t at) {
    uint64_t bits = 0;
    for (; shelves; shelves &= shelves - 1) {
        const uint32_t bit = (uint32_t)__builtin_ctzll(shelves);
        if (pending[word * SHELVES_PER_WORD + bit] > at) bits |= UINT64_C(1) << bit;
    }
    return bits;
}

/** One block of the walk; returns how many of the `n_live` words in `live_words` stay live. */
static uint32_t step(const epp_index *index, uint32_t block, run_sets sets, uint32_t *live_words,
                     uint32_t n_live, uint32_t at, const uint32_t *pending, epp_runs *runs) {
    epp_cell in_place[EPP_PLANES];
    uint32_t n_cells = 0, cell = 0, kept = 0;
    const epp_cell *cells = in_place;
    if (block != EPP_NONE)
        cells =
            epp_holders_cells(&index->holders, epp_index_block(index, block)->holders, in_place, &n_cells);
    for (uint32_t i = 0; i < n_live; i++) {
        const uint32_t word = live_words[i];
        held_word held = {0};
        while (cell < n_cells && cells[cell].key >> PLANE_BITS < word) cell++;
        for (; cell < n_cells && cells[cell].key >> PLANE_BITS == word; cell++)
            hold(&held, cells[cell].key & 7, cells[cell].bits);
        if (pending) held.device |= pending_bits(pending, sets.disk[word], word, at);
        if (narrow(sets, word, held, at, runs)) live_words[kept++] = word;
    }
    return kept;
}

void epp_index_walk(const epp_index *index, const uint64_t *chain, uint32_t n, uint64_t *live,
                    uint32_t n_words, uint32_t *live_words, const uint32_t *pending, epp_runs *runs) {
    const run_sets sets = {.device = live, .host = live + n_words, .disk = live + 2 * (size_t)n_words};
    uint32_t n_live = 0, at = 0;
    memcpy(sets.host, live, n_words * sizeof *live);
    memcpy(sets.disk, live, n_words * sizeof *live);
    for (uint32_t word = 0; word < n_words; word++)
        if (live[word]) live_words[n_live++] = word;
    for (uint32_t i = 0; i < n && i < AHEAD; i++) epp_ids_prefetch(&index->by_chain, chain[i]);
    for (; at < n && n_live > 0; at++) {
        if (at + AHEAD < n) epp_ids_prefetch(&index->by_chain, chain[at + AHEAD]);
        const uint32_t block = epp_index_find(index, chain[at]);
        n_live = step(index, block, sets, live_words, n_live, at, pending, runs);
    }
    for (uint32_t i = 0; i < n_live; i++) (void)narrow(sets, live_words[i], (held_word){0}, n, runs);
}
