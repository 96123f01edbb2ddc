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

/* --- filling shelves that nobody sees ----------------------------------------------------------------- */

/** What fills for a rank of the snapshot. */
typedef struct filling {
    uint32_t shelf; /* EPP_NONE: the rank is passed */
    uint64_t heard; /* of its slot when it began */
} filling;

/** A snapshot on its way into the index. */
typedef struct loading {
    epp_router *router;
    const snapshot *from;
    filling *fillings; /* by rank of the snapshot */
    double now_s;
    const uint8_t *at; /* the block that comes next */
    uint32_t block;    /* its number */
    bool is_full;      /* no memory any more */
} loading;

static uint32_t block_tokens_of(const snapshot *from, uint32_t rank) {
    return get32(from->ranks + (size_t)rank * EPP_SNAPSHOT_RANK_BYTES + 12);
}

static uint32_t slot_of(const epp_router *router, const snapshot *from, uint32_t rank) {
    const uint8_t *at = from->ranks + (size_t)rank * EPP_SNAPSHOT_RANK_BYTES;
    return epp_find_slot(router, get64(at), get32(at + 8));
}

static epp_worker_entry *worker_of(const epp_router *router, uint32_t slot) {
    return epp_worker_at(router, epp_slot_at(router, slot)->worker);
}

/** Whether a rank of the snapshot may be taken over: known here, empty, and of the same block size or none yet. */
static bool rank_fits(const epp_router *router, const snapshot *from, uint32_t rank) {
    const uint32_t slot = slot_of(router, from, rank), block_tokens = block_tokens_of(from, rank);
    if (slot == EPP_NONE || block_tokens == 0 || block_tokens > EPP_MAX_BLOCK_TOKENS) return false;
    const uint32_t known = worker_of(router, slot)->known_block_tokens;
    return (known == 0 || known == block_tokens) &&
           epp_index_shelf(&router->index, epp_shelf_of(router, slot))->pairs == 0;
}

static uint64_t heard_of(const loading *to, uint32_t rank) {
    return epp_slot_at(to->router, slot_of(to->router, to->from, rank))->heard;
}

/** A shelf for each rank that fits. False: no memory, nothing changed. */
static bool open_shelves(const loading *to) {
    const snapshot *from = to->from;
    uint32_t n = 0;
    for (uint32_t i = 0; i < from->n_ranks; i++) n += rank_fits(to->router, from, i);
    if (!epp_index_reserve_shelves(&to->router->index, n)) return false;
    for (uint32_t i = 0; i < from->n_ranks; i++) {
        to->fillings[i] = (filling){.shelf = EPP_NONE};
        if (!rank_fits(to->router, from, i)) continue;
        to->fillings[i] =
            (filling){.shelf = epp_index_open_shelf(&to->router->index), .heard = heard_of(to, i)};
    }
    return true;
}

static void store_holder(const loading *to, uint32_t shelf, const uint8_t *holder, uint64_t chain,
                         uint32_t seed_id) {
    epp_index *index = &to->router->index;
    const uint32_t tiers = get32(holder + 12);
    if (tiers == 0) epp_index_predict(index, shelf, &chain, 1, seed_id, to->now_s + get_real(holder));
    for (uint32_t tier = 0; tier <= EPP_TIER_EXTERNAL; tier++)
        if (tiers >> tier & 1) (void)epp_index_store(index, shelf, get64(holder), chain, seed_id, tier);
}

/** The block behind one. */
static const uint8_t *after(const uint8_t *block) {
    return block + EPP_SNAPSHOT_BLOCK_BYTES + (size_t)get32(block + 12) * EPP_SNAPSHOT_HOLDER_BYTES;
}

/** Store the next block on the shelves of its holders. Room must have been reserved. */
static void store_block(loading *to) {
    epp_index *index = &to->router->index;
    const uint8_t *at = to->at;
    const uint32_t n_holders = get32(at + 12);
    const uint32_t seed_id =
        epp_index_seed(index, get64(to->from->seeds + (size_t)get32(at + 8) * EPP_SNAPSHOT_SEED_BYTES));
    to->at = after(at);
    to->block++;
    if (seed_id == EPP_NONE) return;
    for (uint32_t j = 0; j < n_holders; j++) {
        const uint8_t *holder = at + EPP_SNAPSHOT_BLOCK_BYTES + (size_t)j * EPP_SNAPSHOT_HOLDER_BYTES;
        const uint32_t shelf = to->fillings[get32(holder + 8)].shelf;
        if (shelf != EPP_NONE) store_holder(to, shelf, holder, get64(at), seed_id);
    }
    epp_index_release_seed(index, seed_id);
}

/** Store one part, about a tenth of a millisecond of holders. Room that others took since the beginning is made anew. */
static void store_some(loading *to) {
    enum { HOLDERS = 256 };
    uint32_t n = 0;
    uint64_t holders = 0;
    for (const uint8_t *at = to->at; n < to->from->n_blocks - to->block && holders < HOLDERS;
         at = after(at)) {
        holders += get32(at + 12);
        n++;
    }
    to->is_full = !epp_index_reserve(&to->router->index, n, to->from->n_guesses ? holders : 0);
    for (; n > 0 && !to->is_full; n--) store_block(to);
}

/* --- handing them over ------------------------------------------------------------------------------- */

/** A rank takes its shelf, if it still fits and was told nothing meanwhile; else the shelf leaves. */
static void hand_over(const loading *to, uint32_t rank, epp_load_report *report, epp_leftovers *left) {
    epp_router *router = to->router;
    epp_index *index = &router->index;
    const uint32_t shelf = to->fillings[rank].shelf;
    const uint32_t pairs = shelf == EPP_NONE ? 0 : epp_index_shelf(index, shelf)->pairs;
    const bool fits = shelf != EPP_NONE && rank_fits(router, to->from, rank) &&
                      heard_of(to, rank) == to->fillings[rank].heard;
    if (fits) {
        const uint32_t slot = slot_of(router, to->from, rank);
        epp_set_block_tokens(router, worker_of(router, slot), block_tokens_of(to->from, rank), left);
        epp_index_close_shelf(index, epp_shelf_of(router, slot));
        epp_slot_at(router, slot)->shelf = shelf;
        index->changes++;
        report->stored_pairs += pairs;
        return;
    }
    report->skipped_ranks++;
    if (shelf == EPP_NONE || (pairs > 0 && epp_index_leave(index, shelf, &left->leaving))) return;
    epp_index_empty_shelf(index, shelf);
    epp_index_close_shelf(index, shelf);
}

/** Room for all of it, and shelves. False: no memory, nothing changed. */
static bool begin(const loading *to) {
    epp_router *router = to->router;
    epp_leftovers left = epp_no_leftovers();
    if (!epp_change_begin_with_room(router, to->from->n_blocks, to->from->n_guesses, &left)) return false;
    const bool room =
        epp_index_reserve(&router->index, to->from->n_blocks, to->from->n_guesses) && open_shelves(to);
    epp_change_end(router);
    epp_dispose(router, &left);
    return room;
}

static void end(const loading *to, epp_load_report *report) {
    epp_leftovers left = epp_no_leftovers();
    epp_change_begin(to->router);
    for (uint32_t i = 0; i < to->from->n_ranks; i++) hand_over(to, i, report, &left);
    epp_change_end(to->router);
    report->skipped_pairs = to->from->n_pairs - report->stored_pairs;
    epp_dispose(to->router, &left);
}

epp_status epp_router_load(epp_router *router, double now_s, const void *bytes, size_t n_bytes,
                           epp_load_report *report) {
    if (router == NULL || report == NULL || epp_missing(bytes, n_bytes) || !isfinite(now_s))
        return EPP_E_ARGUMENT;
    snapshot from;
    const epp_status status = open_snapshot(bytes, n_bytes, &from);
    if (status != EPP_OK) return status;
    if (!blocks_are_valid(&from)) return EPP_E_FORMAT;
    const size_t bytes_of_fillings = ((size_t)from.n_ranks + 1) * sizeof(filling);
    loading to = {.router = router, .from = &from, .now_s = now_s, .at = from.blocks};
    to.fillings = epp_memory_resize(&router->memory, NULL, 0, bytes_of_fillings);
    const bool room = to.fillings && begin(&to);
    if (room) {
        epp_load_report loaded = {0};
        while (to.block < from.n_blocks && !to.is_full) {
            epp_write_begin(&router->residency);
            store_some(&to);
            epp_write_end(&router->residency);
        }
        end(&to, &loaded);
        *report = loaded;
    }
    (void)epp_memory_resize(&router->memory, to.fillings, bytes_of_fillings, 0);
    return room ? EPP_OK : EPP_E_MEMORY;
}
