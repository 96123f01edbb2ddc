/* Reading a snapshot: epp_router_load. Everything is checked before anything changes. */
#include <math.h>
#include <string.h>

#include "snapshot.h"
#include "xxh3.h"

/** A snapshot whose header and checksum are right. */
typedef struct snapshot {
    const uint8_t *ranks, *seeds, *blocks, *end;
    uint32_t n_ranks, n_seeds, n_blocks;
    uint64_t n_pairs, n_guesses;
} snapshot;

static uint32_t get32(const uint8_t *at) { return epp_read32(at); }

static uint64_t get64(const uint8_t *at) { return epp_read64(at); }

static double get_real(const uint8_t *at) {
    const uint64_t bits = get64(at);
    double real;
    memcpy(&real, &bits, sizeof real);
    return real;
}

static epp_status open_snapshot(const uint8_t *bytes, size_t n_bytes, snapshot *out) {
    if (n_bytes < EPP_SNAPSHOT_HEADER_BYTES + EPP_SNAPSHOT_CHECKSUM_BYTES ||
        memcmp(bytes, EPP_SNAPSHOT_MAGIC, EPP_SNAPSHOT_MAGIC_BYTES) != 0)
        return EPP_E_FORMAT;
    if (get32(bytes + 8) != EPP_SNAPSHOT_VERSION) return EPP_E_VERSION;
    const size_t length = n_bytes - EPP_SNAPSHOT_CHECKSUM_BYTES;
    if (get64(bytes + length) != epp_xxh3_hash(bytes, length, 0)) return EPP_E_CHECKSUM;
    *out = (snapshot){.ranks = bytes + EPP_SNAPSHOT_HEADER_BYTES,
                      .end = bytes + length,
                      .n_ranks = get32(bytes + 12),
                      .n_seeds = get32(bytes + 16),
                      .n_blocks = get32(bytes + 20),
                      .n_pairs = get64(bytes + 24)};
    const uint64_t tables =
        (uint64_t)out->n_ranks * EPP_SNAPSHOT_RANK_BYTES + (uint64_t)out->n_seeds * EPP_SNAPSHOT_SEED_BYTES;
    if (tables > (uint64_t)(out->end - out->ranks)) return EPP_E_FORMAT;
    out->seeds = out->ranks + (size_t)out->n_ranks * EPP_SNAPSHOT_RANK_BYTES;
    out->blocks = out->ranks + tables;
    return EPP_OK;
}

static bool holder_is_valid(const snapshot *from, const uint8_t *holder) {
    const uint32_t tiers = get32(holder + 12);
    return get32(holder + 8) < from->n_ranks && tiers <= EPP_TIER_PLANES &&
           (tiers || isfinite(get_real(holder)));
}

/** Every block within bounds, and as many of everything as the header says. */
static bool blocks_are_valid(snapshot *from) {
    const uint8_t *at = from->blocks;
    uint64_t n_pairs = 0;
    for (uint32_t i = 0; i < from->n_blocks; i++) {
        if (from->end - at < EPP_SNAPSHOT_BLOCK_BYTES) return false;
        const uint32_t n_holders = get32(at + 12);
        if (get32(at + 8) >= from->n_seeds) return false;
        at += EPP_SNAPSHOT_BLOCK_BYTES;
        if (n_holders > (uint64_t)(from->end - at) / EPP_SNAPSHOT_HOLDER_BYTES) return false;
        for (uint32_t j = 0; j < n_holders; j++, at += EPP_SNAPSHOT_HOLDER_BYTES) {
            if (!holder_is_valid(from, at)) return false;
            from->n_guesses += get32(at + 12) == 0;
        }
        n_pairs += n_holders;
    }
    return at == from->end && n_pairs == from->n_pairs;
}

/** Slots to fill by rank index: those known here, empty, and of the same block size or none yet. */
static void match_ranks(epp_router *router, const snapshot *from, uint32_t *slots, epp_load_report *report) {
    for (uint32_t i = 0; i < from->n_ranks; i++) {
        const uint8_t *rank = from->ranks + (size_t)i * EPP_SNAPSHOT_RANK_BYTES;
        const uint32_t block_tokens = get32(rank + 12);
        slots[i] = epp_find_slot(router, get64(rank), get32(rank + 8));
        if (slots[i] != EPP_NONE) {
            const epp_worker_entry *worker = epp_worker_at(router, epp_slot_at(router, slots[i])->worker);
            const bool fits = block_tokens && block_tokens <= EPP_MAX_BLOCK_TOKENS &&
                              (worker->known_block_tokens == 0 || worker->known_block_tokens == block_tokens);
            if (!fits || router->index.slot_pairs[slots[i]] > 0) slots[i] = EPP_NONE;
        }
        if (slots[i] == EPP_NONE) report->skipped_ranks++;
    }
}

/** Workers whose size was unknown take it from the snapshot; one of another size is passed from there on. */
static void learn_sizes(epp_router *router, const snapshot *from, uint32_t *slots, epp_load_report *report) {
    for (uint32_t i = 0; i < from->n_ranks; i++) {
        if (slots[i] == EPP_NONE) continue;
        const uint32_t block_tokens = get32(from->ranks + (size_t)i * EPP_SNAPSHOT_RANK_BYTES + 12);
        epp_worker_entry *worker = epp_worker_at(router, epp_slot_at(router, slots[i])->worker);
        if (worker->known_block_tokens == 0) epp_set_block_tokens(router, worker, block_tokens);
        if (worker->known_block_tokens == block_tokens) continue;
        slots[i] = EPP_NONE;
        report->skipped_ranks++;
    }
}

static bool store_holder(epp_router *router, uint32_t slot, const uint8_t *holder, uint64_t chain,
                         uint32_t seed_id, double now_s) {
    const uint32_t tiers = get32(holder + 12);
    bool stored = false;
    if (tiers == 0) {
        const uint32_t before = router->index.n_guesses;
        epp_index_predict(&router->index, slot, &chain, 1, seed_id, now_s + get_real(holder));
        return router->index.n_guesses > before;
    }
    for (uint32_t tier = 0; tier <= EPP_TIER_EXTERNAL; tier++)
        if (tiers >> tier & 1)
            stored |=
                epp_index_store(&router->index, slot, get64(holder), chain, seed_id, tier) == EPP_STORED;
    return stored;
}

static void store_blocks(epp_router *router, const snapshot *from, const uint32_t *slots, double now_s,
                         epp_load_report *report) {
    const uint8_t *at = from->blocks;
    for (uint32_t i = 0; i < from->n_blocks; i++) {
        const uint64_t chain = get64(at);
        const uint32_t n_holders = get32(at + 12);
        const uint32_t seed_id = epp_index_seed(
            &router->index, get64(from->seeds + (size_t)get32(at + 8) * EPP_SNAPSHOT_SEED_BYTES));
        at += EPP_SNAPSHOT_BLOCK_BYTES;
        for (uint32_t j = 0; j < n_holders; j++, at += EPP_SNAPSHOT_HOLDER_BYTES) {
            const uint32_t slot = slots[get32(at + 8)];
            const bool stored = slot != EPP_NONE && seed_id != EPP_NONE &&
                                store_holder(router, slot, at, chain, seed_id, now_s);
            if (stored)
                report->stored_pairs++;
            else
                report->skipped_pairs++;
        }
        if (seed_id != EPP_NONE) epp_index_release_seed(&router->index, seed_id);
    }
}

static epp_status load_locked(epp_router *router, double now_s, const snapshot *from,
                              epp_load_report *report) {
    const size_t bytes = ((size_t)from->n_ranks + 1) * sizeof(uint32_t);
    uint32_t *slots = epp_memory_resize(&router->memory, NULL, 0, bytes);
    if (slots == NULL) return EPP_E_MEMORY;
    const bool room = epp_index_reserve(&router->index, from->n_blocks, from->n_guesses);
    if (room) {
        match_ranks(router, from, slots, report);
        learn_sizes(router, from, slots, report);
        store_blocks(router, from, slots, now_s, report);
    }
    (void)epp_memory_resize(&router->memory, slots, bytes, 0);
    return room ? EPP_OK : EPP_E_MEMORY;
}

epp_status epp_router_load(epp_router *router, double now_s, const void *bytes, size_t n_bytes,
                           epp_load_report *report) {
    if (!isfinite(now_s)) return EPP_E_ARGUMENT;
    snapshot from;
    const epp_status status = open_snapshot(bytes, n_bytes, &from);
    if (status != EPP_OK) return status;
    if (!blocks_are_valid(&from)) return EPP_E_FORMAT;
    epp_load_report loaded = {0};
    epp_write_begin(&router->residency);
    const epp_status result = load_locked(router, now_s, &from, &loaded);
    epp_write_end(&router->residency);
    if (result == EPP_OK) *report = loaded;
    return result;
}
