/* Writing a snapshot: epp_router_dump. Blocks come in the order of their ids, holders by shelf. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "snapshot.h"
#include "xxh3.h"

/** Where the next bytes go. */
typedef struct writer {
    uint8_t *at;
} writer;

static void put(writer *to, uint64_t number, size_t width) {
    for (size_t i = 0; i < width; i++) *to->at++ = (uint8_t)(number >> (8 * i));
}

static void put_real(writer *to, double real) {
    uint64_t bits;
    memcpy(&bits, &real, sizeof bits);
    put(to, bits, sizeof bits);
}

static bool is_known(const epp_router *router, uint32_t place) {
    return epp_worker_at(router, epp_ordered_worker(router, place))->known_block_tokens != 0;
}

/** Ranks of workers whose block size is known, numbered ascending; others hold predicted blocks at most,
 *  hashed in a size that is a guess. */
static uint32_t number_ranks(const epp_router *router, uint32_t *rank_of_shelf) {
    uint32_t n = 0;
    for (uint32_t shelf = 0; shelf < router->index.shelves.used; shelf++) rank_of_shelf[shelf] = EPP_NONE;
    for (uint32_t place = 0; place < epp_n_workers(router); place++) {
        const epp_worker_entry *worker = epp_worker_at(router, epp_ordered_worker(router, place));
        for (uint32_t rank = 0; is_known(router, place) && rank < worker->spec.dp_size; rank++)
            rank_of_shelf[epp_shelf_of(router, worker->slots[rank])] = n++;
    }
    return n;
}

static void put_ranks(const epp_router *router, writer *to) {
    for (uint32_t place = 0; place < epp_n_workers(router); place++) {
        const epp_worker_entry *worker = epp_worker_at(router, epp_ordered_worker(router, place));
        for (uint32_t rank = 0; is_known(router, place) && rank < worker->spec.dp_size; rank++) {
            put(to, worker->spec.worker_id, 8);
            put(to, rank, 4);
            put(to, worker->known_block_tokens, 4);
        }
    }
}

/** Write the seeds in use and number them. */
static uint32_t put_seeds(const epp_router *router, writer *to, uint32_t *index_of_seed) {
    const epp_seed *seeds = router->index.seeds.items;
    uint32_t n = 0;
    for (uint32_t i = 0; i < router->index.seeds.used; i++) {
        if (seeds[i].blocks == EPP_NONE) continue;
        put(to, seeds[i].seed, 8);
        index_of_seed[i] = n++;
    }
    return n;
}

static uint32_t put_holders(const epp_router *router, uint32_t block, const uint32_t *rank_of_shelf,
                            double now_s, writer *to) {
    const epp_index *index = &router->index;
    epp_cell in_place[EPP_PLANES];
    uint32_t n_cells = 0, n = 0;
    const epp_cell *cells =
        epp_holders_cells(&index->holders, epp_index_block(index, block)->holders, in_place, &n_cells);
    for (uint32_t i = 0; i < n_cells;) {
        const uint32_t word = cells[i].key >> 3;
        uint64_t shelves = 0;
        for (; i < n_cells && cells[i].key >> 3 == word; i++) shelves |= cells[i].bits;
        for (; shelves; shelves &= shelves - 1) {
            const uint32_t shelf = word * 64 + (uint32_t)__builtin_ctzll(shelves);
            if (rank_of_shelf[shelf] == EPP_NONE) continue;
            const uint32_t tiers =
                epp_holders_planes(&index->holders, epp_index_block(index, block)->holders, shelf) &
                EPP_TIER_PLANES;
            if (tiers)
                put(to, epp_index_name_of(index, shelf, block), 8);
            else
                put_real(to, epp_index_due_s(index, shelf, block) - now_s);
            put(to, rank_of_shelf[shelf], 4);
            put(to, tiers, 4);
            n++;
        }
    }
    return n;
}

/** Write the blocks somebody numbered holds; returns how many, and adds up their holders. */
static uint32_t put_blocks(const epp_router *router, const uint32_t *rank_of_shelf,
                           const uint32_t *index_of_seed, double now_s, writer *to, uint64_t *n_pairs) {
    const epp_index *index = &router->index;
    uint32_t n = 0;
    for (uint32_t id = 0; id < index->blocks.used; id++) {
        const epp_block *block = epp_index_block(index, id);
        if (block->seed == EPP_NONE) continue;
        writer head = *to;
        to->at += EPP_SNAPSHOT_BLOCK_BYTES;
        const uint32_t n_holders = put_holders(router, id, rank_of_shelf, now_s, to);
        if (n_holders == 0) {
            *to = head;
            continue;
        }
        put(&head, block->chain, 8);
        put(&head, index_of_seed[block->seed], 4);
        put(&head, n_holders, 4);
        *n_pairs += n_holders;
        n++;
    }
    return n;
}

static size_t bound(const epp_router *router) {
    return EPP_SNAPSHOT_HEADER_BYTES + (size_t)router->n_ranks * EPP_SNAPSHOT_RANK_BYTES +
           (size_t)router->index.seed_ids.count * EPP_SNAPSHOT_SEED_BYTES +
           (size_t)router->index.n_blocks * EPP_SNAPSHOT_BLOCK_BYTES +
           (size_t)router->index.n_pairs * EPP_SNAPSHOT_HOLDER_BYTES + EPP_SNAPSHOT_CHECKSUM_BYTES;
}

static size_t write_snapshot(const epp_router *router, double now_s, uint8_t *bytes, uint32_t *rank_of_shelf,
                             uint32_t *index_of_seed) {
    writer to = {.at = bytes + EPP_SNAPSHOT_HEADER_BYTES}, head = {.at = bytes};
    uint64_t n_pairs = 0;
    const uint32_t n_ranks = number_ranks(router, rank_of_shelf);
    put_ranks(router, &to);
    const uint32_t n_seeds = put_seeds(router, &to, index_of_seed);
    const uint32_t n_blocks = put_blocks(router, rank_of_shelf, index_of_seed, now_s, &to, &n_pairs);
    memcpy(head.at, EPP_SNAPSHOT_MAGIC, EPP_SNAPSHOT_MAGIC_BYTES);
    head.at += EPP_SNAPSHOT_MAGIC_BYTES;
    put(&head, EPP_SNAPSHOT_VERSION, 4);
    put(&head, n_ranks, 4);
    put(&head, n_seeds, 4);
    put(&head, n_blocks, 4);
    put(&head, n_pairs, 8);
    assert(head.at == bytes + EPP_SNAPSHOT_HEADER_BYTES);
    const size_t length = (size_t)(to.at - bytes);
    put(&to, epp_xxh3_hash(bytes, length, 0), EPP_SNAPSHOT_CHECKSUM_BYTES);
    return length + EPP_SNAPSHOT_CHECKSUM_BYTES;
}

static epp_status dump_reading(epp_router *router, double now_s, uint8_t *bytes, size_t capacity,
                               size_t *n_bytes) {
    const size_t needed = bound(router);
    if (needed > capacity) {
        *n_bytes = needed;
        return EPP_E_BUFFER;
    }
    const size_t n_shelves = router->index.shelves.used, n_seeds = router->index.seeds.used;
    const size_t bytes_of_numbers = (n_shelves + n_seeds + 1) * sizeof(uint32_t);
    uint32_t *numbers = epp_memory_resize(&router->memory, NULL, 0, bytes_of_numbers);
    if (numbers == NULL) return EPP_E_MEMORY;
    *n_bytes = write_snapshot(router, now_s, bytes, numbers, numbers + n_shelves);
    (void)epp_memory_resize(&router->memory, numbers, bytes_of_numbers, 0);
    return EPP_OK;
}

epp_status epp_router_dump(epp_router *router, double now_s, void *bytes, size_t capacity, size_t *n_bytes) {
    if (router == NULL || n_bytes == NULL || epp_missing(bytes, capacity) || !isfinite(now_s))
        return EPP_E_ARGUMENT;
    const uint32_t lane = epp_lane_take(&router->lanes);
    epp_read_begin(&router->residency, lane);
    const epp_status status = dump_reading(router, now_s, bytes, capacity, n_bytes);
    epp_read_end(&router->residency, lane);
    epp_lane_give(&router->lanes, lane);
    return status;
}
