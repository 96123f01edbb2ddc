#include "apply.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "blocks.h"

enum {
    TOKEN_BYTES = 4,
    CHUNK_BLOCKS = 16, /* hashed, and their places prefetched, before any of them is stored */
};

/** A batch on its way into one slot. */
typedef struct application {
    epp_router *router;
    uint32_t slot, shelf;
    double now_s;
    const epp_batch *batch;
    epp_leftovers *left;
    epp_report report;
    epp_told told;
} application;

/* --- arguments ------------------------------------------------------------------------------------- */

static bool within(uint64_t first, uint64_t n, size_t size) { return first <= size && n <= size - first; }

static bool mm_fits(const epp_batch *batch, const epp_event *event) {
    if (batch->mm_counts == NULL) return true;
    if (!within(event->first_mm_count, event->n_blocks, batch->n_mm_counts)) return false;
    uint64_t total = 0;
    for (uint64_t i = 0; i < event->n_blocks; i++) {
        const uint32_t n = batch->mm_counts[event->first_mm_count + i];
        if (n > EPP_MAX_MM_HASHES) return false;
        total += n;
    }
    return within(event->first_mm_hash, total, batch->n_mm_hashes);
}

static bool is_wellformed(const epp_event *event) {
    return event->block_tokens >= 1 && event->block_tokens <= EPP_MAX_BLOCK_TOKENS;
}

static bool event_is_valid(const epp_batch *batch, const epp_event *event) {
    if (event->kind > EPP_EVENT_CLEARED || event->tier > EPP_TIER_EXTERNAL) return false;
    if (event->kind == EPP_EVENT_CLEARED) return true;
    if (!within(event->first_hash, event->n_blocks, batch->n_hashes)) return false;
    if (event->kind == EPP_EVENT_REMOVED || !is_wellformed(event)) return true;
    return event->n_blocks <= UINT32_MAX / event->block_tokens &&
           within(event->first_token, event->n_blocks * event->block_tokens, batch->n_tokens) &&
           mm_fits(batch, event);
}

/* --- stored ---------------------------------------------------------------------------------------- */

/** One stored event on its way. */
typedef struct chain_state {
    const epp_event *event;
    uint64_t seed;
    uint32_t seed_id;
    uint64_t previous;
    bool is_root; /* no block before the next one */
    uint64_t mm_at;
} chain_state;

/** Sequence hashes of the next `n` blocks from block `first`. */
static bool hash_chunk(application *to, chain_state *chain, uint64_t first, uint32_t n, uint64_t *out) {
    const epp_batch *batch = to->batch;
    const epp_event *event = chain->event;
    const size_t block_bytes = (size_t)event->block_tokens * TOKEN_BYTES;
    const uint8_t *tokens = batch->tokens + event->first_token * TOKEN_BYTES + first * block_bytes;
    uint64_t previous = chain->previous;
    const uint64_t *parent = chain->is_root ? NULL : &previous;
    if (batch->mm_counts == NULL) {
        epp_chain_blocks(tokens, n, event->block_tokens, chain->seed, parent, out);
        return true;
    }
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t n_mm = batch->mm_counts[event->first_mm_count + first + i];
        const uint64_t *mm = batch->mm_hashes + event->first_mm_hash + chain->mm_at;
        if (!epp_chain_mm_block(&to->router->memory, tokens + i * block_bytes, event->block_tokens, mm, n_mm,
                                chain->seed, parent, &out[i]))
            return false;
        chain->mm_at += n_mm;
        previous = out[i];
        parent = &previous;
    }
    return true;
}

static void store_block(application *to, chain_state *chain, uint64_t name, uint64_t hash) {
    epp_router *router = to->router;
    switch (epp_index_store(&router->index, to->shelf, name, hash, chain->seed_id, chain->event->tier)) {
    case EPP_STORED: to->report.stored_blocks++; break;
    case EPP_STORED_DUPLICATE: to->report.ignored[EPP_IGNORED_DUPLICATE]++; break;
    case EPP_STORED_CAPACITY: to->report.ignored[EPP_IGNORED_CAPACITY]++; break;
    }
    epp_ledger_seen(&router->ledger, to->slot, hash, chain->previous, chain->is_root, to->now_s, &to->told);
    chain->previous = hash;
    chain->is_root = false;
}

/** Hash a chunk and bring the places of its blocks into the cache. */
static bool prepare_chunk(application *to, chain_state *ahead, uint64_t first, uint32_t n, uint64_t *hashes) {
    const uint64_t *names = to->batch->hashes + ahead->event->first_hash + first;
    if (!hash_chunk(to, ahead, first, n, hashes)) return false;
    for (uint32_t i = 0; i < n; i++) epp_index_prefetch(&to->router->index, hashes[i], names[i]);
    ahead->previous = hashes[n - 1];
    ahead->is_root = false;
    return true;
}

static uint32_t chunk_size(const epp_event *event, uint64_t first) {
    const uint64_t left = event->n_blocks - first;
    return left < CHUNK_BLOCKS ? (uint32_t)left : CHUNK_BLOCKS;
}

/** Store a chain chunk by chunk; while one is stored, the memory the next one needs is on its way. */
static void store_chain(application *to, chain_state *chain) {
    const epp_event *event = chain->event;
    const uint64_t *names = to->batch->hashes + event->first_hash;
    uint64_t hashes[2][CHUNK_BLOCKS];
    chain_state ahead = *chain;
    uint32_t n = chunk_size(event, 0);
    bool prepared = prepare_chunk(to, &ahead, 0, n, hashes[0]);
    for (uint64_t first = 0, turn = 0; first < event->n_blocks; turn ^= 1) {
        if (!prepared) {
            to->report.ignored[EPP_IGNORED_CAPACITY] += event->n_blocks - first; /* no memory to hash them */
            return;
        }
        const uint64_t next = first + n;
        const uint32_t n_next = chunk_size(event, next);
        if (n_next) prepared = prepare_chunk(to, &ahead, next, n_next, hashes[turn ^ 1]);
        for (uint32_t i = 0; i < n; i++) store_block(to, chain, names[first + i], hashes[turn][i]);
        first = next;
        n = n_next;
    }
}

/** The worker's block size is learnt from its first stored event; false: the event has another. */
static bool has_block_size(application *to, const epp_event *event) {
    epp_worker_entry *worker = epp_worker_at(to->router, epp_slot_at(to->router, to->slot)->worker);
    if (worker->known_block_tokens == 0) {
        epp_set_block_tokens(to->router, worker, event->block_tokens, to->left);
        to->shelf = epp_shelf_of(to->router, to->slot);
    }
    return worker->known_block_tokens == event->block_tokens;
}

static void store(application *to, const epp_event *event) {
    epp_index *index = &to->router->index;
    if (!is_wellformed(event)) {
        to->report.ignored[EPP_IGNORED_MALFORMED]++;
        return;
    }
    if (event->n_blocks == 0) return;
    if (!has_block_size(to, event)) {
        to->report.ignored[EPP_IGNORED_BLOCK_SIZE]++;
        return;
    }
    chain_state chain = {.event = event, .seed = event->namespace_seed, .is_root = true};
    if (event->flags & EPP_EVENT_HAS_PARENT) {
        const uint32_t parent = epp_index_named(index, to->shelf, event->parent_hash);
        if (parent == EPP_NONE) {
            to->report.ignored[EPP_IGNORED_ORPHAN]++;
            return;
        }
        /* Engines put a salt on the first block only; descendants live where their parent lives. */
        chain.seed = epp_index_seed_of(index, parent);
        chain.previous = epp_index_block(index, parent)->chain;
        chain.is_root = false;
    }
    chain.seed_id = epp_index_seed(index, chain.seed);
    if (chain.seed_id == EPP_NONE) {
        to->report.ignored[EPP_IGNORED_CAPACITY] += event->n_blocks;
        return;
    }
    store_chain(to, &chain);
    epp_index_release_seed(index, chain.seed_id);
}

/* --- the batch ------------------------------------------------------------------------------------- */

static void remove_names(application *to, const epp_event *event) {
    for (uint64_t i = 0; i < event->n_blocks; i++) {
        const uint64_t name = to->batch->hashes[event->first_hash + i];
        switch (epp_index_remove(&to->router->index, to->shelf, name, event->tier)) {
        case EPP_REMOVED: to->report.removed_blocks++; break;
        case EPP_REMOVED_COPY: break;
        case EPP_REMOVED_UNKNOWN: to->report.ignored[EPP_IGNORED_UNKNOWN_HASH]++; break;
        }
    }
}

static void apply_event(application *to, const epp_event *event) {
    switch (event->kind) {
    case EPP_EVENT_STORED: store(to, event); break;
    case EPP_EVENT_REMOVED: remove_names(to, event); break;
    default:
        epp_clear_rank(to->router, to->slot, to->left);
        to->shelf = epp_shelf_of(to->router, to->slot);
        to->report.cleared++;
        break;
    }
}

uint64_t epp_stored_blocks_in(const epp_batch *batch) {
    uint64_t blocks = 0;
    for (size_t i = 0; i < batch->n_events; i++)
        if (batch->events[i].kind == EPP_EVENT_STORED) blocks += batch->events[i].n_blocks;
    return blocks;
}

static int by_booking(const void *x, const void *y) {
    const uint64_t a = ((const epp_decode_progress *)x)->booking,
                   b = ((const epp_decode_progress *)y)->booking;
    return (a > b) - (a < b);
}

/** Room for every fact the batch can tell; false: the counts say what is needed. */
static bool facts_fit(const epp_router *router, uint32_t slot, const epp_apply_results *results) {
    const epp_book *book = &router->ledger.books[slot];
    if (book->unfinished <= results->done_capacity && book->n_tips <= results->decode_capacity) return true;
    *results->n_done = book->unfinished;
    *results->n_decode = book->n_tips;
    return false;
}

epp_status epp_apply_batch(epp_router *router, uint32_t slot, double now_s, const epp_batch *batch,
                           const uint64_t ignored[EPP_IGNORED_COUNT], epp_apply_results results,
                           epp_leftovers *left) {
    application to = {.router = router,
                      .slot = slot,
                      .now_s = now_s,
                      .batch = batch,
                      .left = left,
                      .told = {.done = results.done, .decode = results.decode}};
    memcpy(to.report.ignored, ignored, sizeof to.report.ignored);
    if (slot == EPP_NONE) {
        to.report.ignored[EPP_IGNORED_UNKNOWN_WORKER] += batch->n_events;
    } else {
        to.shelf = epp_shelf_of(router, slot);
        if (!facts_fit(router, slot, &results)) return EPP_E_BUFFER;
        if (!epp_index_reserve(&router->index, epp_stored_blocks_in(batch), 0)) return EPP_E_MEMORY;
        if (batch->n_events) epp_hear(router, slot);
        for (size_t i = 0; i < batch->n_events; i++) apply_event(&to, &batch->events[i]);
        to.report.block_tokens = epp_worker_at(router, epp_slot_at(router, slot)->worker)->known_block_tokens;
    }
    if (to.told.n_decode) qsort(to.told.decode, to.told.n_decode, sizeof *to.told.decode, by_booking);
    *results.report = to.report;
    *results.n_done = to.told.n_done;
    *results.n_decode = to.told.n_decode;
    return EPP_OK;
}

epp_status epp_router_apply(epp_router *router, uint64_t worker_id, uint32_t rank, double now_s,
                            const epp_event *events, size_t n_events, const uint64_t *hashes, size_t n_hashes,
                            const void *tokens, size_t n_tokens, const uint32_t *mm_counts,
                            size_t n_mm_counts, const uint64_t *mm_hashes, size_t n_mm_hashes,
                            epp_report *report, epp_prefill_done *done, size_t done_capacity, size_t *n_done,
                            epp_decode_progress *decode, size_t decode_capacity, size_t *n_decode) {
    const epp_batch batch = {events,   n_events,  hashes,      n_hashes,  tokens,
                             n_tokens, mm_counts, n_mm_counts, mm_hashes, n_mm_hashes};
    const epp_apply_results results = {report,          done,    done_capacity, n_done, decode,
                                       decode_capacity, n_decode};
    static const uint64_t nothing[EPP_IGNORED_COUNT] = {0};
    if (router == NULL || epp_missing(events, n_events) || epp_missing(hashes, n_hashes) ||
        epp_missing(tokens, n_tokens) || epp_missing(mm_hashes, n_mm_hashes) || !epp_has_room_for(&results) ||
        !isfinite(now_s))
        return EPP_E_ARGUMENT;
    for (size_t i = 0; i < n_events; i++)
        if (!event_is_valid(&batch, &events[i])) return EPP_E_ARGUMENT;
    epp_leftovers left = epp_no_leftovers();
    uint32_t slot = EPP_NONE;
    if (!epp_change_begin_for_rank(router, worker_id, rank, epp_stored_blocks_in(&batch), &slot, &left))
        return EPP_E_MEMORY;
    const epp_status status = epp_apply_batch(router, slot, now_s, &batch, nothing, results, &left);
    epp_change_end(router);
    epp_dispose(router, &left);
    return status;
}
