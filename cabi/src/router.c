/* A router's life, its bookings, and looking inside: epp.h sections 2, 4, 8 and 9. */
#include "router.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

uint32_t epp_abi_version(void) { return EPP_ABI_VERSION; }

const char *epp_status_name(int status) {
    switch (status) {
    case EPP_OK: return "ok";
    case EPP_E_ARGUMENT: return "argument";
    case EPP_E_MEMORY: return "memory";
    case EPP_E_CAPACITY: return "capacity";
    case EPP_E_BUFFER: return "buffer";
    case EPP_E_UNKNOWN: return "unknown booking";
    case EPP_E_DUPLICATE: return "duplicate booking";
    case EPP_E_FORMAT: return "format";
    case EPP_E_VERSION: return "version";
    case EPP_E_CHECKSUM: return "checksum";
    case EPP_NO_WORKERS: return "no workers";
    case EPP_NO_CANDIDATES: return "no candidates";
    case EPP_UNKNOWN_PIN: return "unknown pin";
    case EPP_RANK_OUT_OF_RANGE: return "rank out of range";
    case EPP_OVERLOADED: return "overloaded";
    default: return "unknown status";
    }
}

/* --- life ------------------------------------------------------------------------------------------ */

void epp_options_init(epp_options *options) {
    if (options == NULL) return;
    *options = (epp_options){
        .struct_size = sizeof *options,
        .max_workers = 4096,
        .max_ranks = EPP_MAX_RANKS,
        .max_bookings = 1000000,
        .max_blocks = 16000000,
        .predicted_ttl_s = 120.0,
        .default_prefill_tokens_per_s = 8000.0,
        .default_block_tokens = 16,
    };
}

static bool read_options(const epp_options *from, epp_options *to) {
    epp_options_init(to);
    if (from) {
        if (from->struct_size < offsetof(epp_options, max_blocks)) return false;
        memcpy(to, from, from->struct_size < sizeof *to ? from->struct_size : sizeof *to);
    }
    return to->max_ranks <= EPP_MAX_RANKS && to->max_blocks <= UINT32_MAX && isfinite(to->predicted_ttl_s) &&
           to->default_block_tokens >= 1 && to->default_block_tokens <= EPP_MAX_BLOCK_TOKENS &&
           isfinite(to->default_prefill_tokens_per_s) && to->default_prefill_tokens_per_s > 0.0;
}

static bool init_locks(epp_router *router) {
    return epp_lanes_init(&router->lanes) && epp_lock_init(&router->residency) &&
           epp_lock_init(&router->books);
}

epp_status epp_router_new_with(const epp_options *options, const epp_allocator *allocator, epp_router **out) {
    epp_options read;
    if (out == NULL || !read_options(options, &read)) return EPP_E_ARGUMENT;
    epp_memory memory;
    epp_memory_init(&memory, allocator);
    epp_router *router = epp_memory_resize(&memory, NULL, 0, sizeof *router);
    if (router == NULL) return EPP_E_MEMORY;
    memset(router, 0, sizeof *router);
    if (!init_locks(router)) {
        (void)epp_memory_resize(&memory, router, sizeof *router, 0);
        return EPP_E_MEMORY;
    }
    epp_memory_init(&router->memory, allocator);
    for (uint32_t lane = 0; lane < EPP_LANES; lane++) {
        router->workspaces[lane].question.memory = &router->memory;
        router->workspaces[lane].message.memory = &router->memory;
    }
    router->options = read;
    epp_index_init(&router->index, &router->memory, read.max_blocks);
    epp_ledger_init(&router->ledger, &router->memory, read.default_prefill_tokens_per_s);
    *out = router;
    return EPP_OK;
}

epp_status epp_router_new(const epp_options *options, epp_router **out) {
    return epp_router_new_with(options, NULL, out);
}

static void drop_scratch(epp_router *router, epp_scratch *scratch, size_t item_bytes) {
    epp_memory_drop(&router->memory, &scratch->items, &scratch->capacity, item_bytes);
}

static void drop_workspace(epp_router *router, epp_workspace *workspace) {
    epp_question *question = &workspace->question;
    epp_message *message = &workspace->message;
    drop_scratch(router, &question->allowed, sizeof(uint8_t));
    drop_scratch(router, &question->serve, sizeof(uint32_t));
    drop_scratch(router, &question->prefill, sizeof(uint32_t));
    drop_scratch(router, &question->live, sizeof(uint64_t));
    drop_scratch(router, &question->live_words, sizeof(uint32_t));
    drop_scratch(router, &question->pending, sizeof(uint32_t));
    drop_scratch(router, &question->runs, sizeof(epp_runs));
    drop_scratch(router, &question->reach, sizeof(epp_runs));
    drop_scratch(router, &question->hashes, sizeof(uint64_t));
    drop_scratch(router, &question->chains, sizeof(epp_prompt_chain));
    drop_scratch(router, &question->candidates, sizeof(epp_candidate));
    drop_scratch(router, &question->weights, sizeof(double));
    drop_scratch(router, &message->events, sizeof(epp_event));
    drop_scratch(router, &message->hashes, sizeof(uint64_t));
    drop_scratch(router, &message->tokens, sizeof(uint32_t));
    drop_scratch(router, &message->mm_counts, sizeof(uint32_t));
    drop_scratch(router, &message->mm_hashes, sizeof(uint64_t));
}

static void drop_workers(epp_router *router) {
    for (uint32_t at = 0; at < router->workers.used; at++) {
        epp_worker_entry *worker = epp_worker_at(router, at);
        if (!worker->used) continue;
        (void)epp_memory_resize(&router->memory, worker->slots, worker->spec.dp_size * sizeof *worker->slots,
                                0);
        (void)epp_memory_resize(&router->memory, worker->taints, worker->n_taints * sizeof *worker->taints,
                                0);
    }
    epp_pool_drop(&router->workers, &router->memory, sizeof(epp_worker_entry));
    epp_pool_drop(&router->slots, &router->memory, sizeof(epp_slot));
    epp_map_drop(&router->worker_ids, &router->memory);
    drop_scratch(router, &router->order, sizeof(uint32_t));
}

void epp_router_free(epp_router *router) {
    if (router == NULL) return;
    for (uint32_t lane = 0; lane < EPP_LANES; lane++) drop_workspace(router, &router->workspaces[lane]);
    drop_workers(router);
    epp_ledger_drop(&router->ledger);
    epp_index_drop(&router->index);
    epp_lock_drop(&router->books);
    epp_lock_drop(&router->residency);
    epp_lanes_drop(&router->lanes);
    epp_memory memory;
    epp_memory_init(&memory, &router->memory.allocator);
    (void)epp_memory_resize(&memory, router, sizeof *router, 0);
}

/* --- locks ----------------------------------------------------------------------------------------- */

uint32_t epp_look_begin(epp_router *router) {
    const uint32_t lane = epp_lane_take(&router->lanes);
    epp_read_begin(&router->residency, lane);
    epp_read_begin(&router->books, lane);
    return lane;
}

void epp_look_end(epp_router *router, uint32_t lane) {
    epp_read_end(&router->books, lane);
    epp_read_end(&router->residency, lane);
    epp_lane_give(&router->lanes, lane);
}

void epp_change_begin(epp_router *router) {
    epp_write_begin(&router->residency);
    epp_write_begin(&router->books);
}

/** What was claimed is entered once there is room. False: no memory, and the claim ended. */
static bool enter_with_room(epp_router *router, uint64_t blocks, uint64_t guesses, epp_leftovers *left) {
    if (!epp_index_prepare(&router->index, blocks, guesses, &left->old)) {
        epp_write_end(&router->residency);
        return false;
    }
    epp_write_enter(&router->residency);
    epp_index_exchange(&router->index, &left->old);
    epp_write_begin(&router->books);
    return true;
}

bool epp_change_begin_with_room(epp_router *router, uint64_t blocks, uint64_t guesses, epp_leftovers *left) {
    epp_write_claim(&router->residency);
    return enter_with_room(router, blocks, guesses, left);
}

uint32_t epp_find_slot(const epp_router *router, uint64_t worker_id, uint32_t rank) {
    const uint32_t at = epp_map_get(&router->worker_ids, worker_id, 0);
    if (at == EPP_NONE || rank >= epp_worker_at(router, at)->spec.dp_size) return EPP_NONE;
    return epp_worker_at(router, at)->slots[rank];
}

bool epp_change_begin_for_rank(epp_router *router, uint64_t worker_id, uint32_t rank, uint64_t blocks,
                               uint32_t *slot, epp_leftovers *left) {
    epp_write_claim(&router->residency);
    *slot = epp_find_slot(router, worker_id, rank);
    return enter_with_room(router, *slot == EPP_NONE ? 0 : blocks, 0, left);
}

void epp_change_end(epp_router *router) {
    epp_write_end(&router->books);
    epp_write_end(&router->residency);
}

/* --- bookings -------------------------------------------------------------------------------------- */

/** Lock, and find a booking; EPP_NONE: unknown, and not locked. */
static uint32_t lock_booking(epp_router *router, uint64_t booking) {
    epp_write_begin(&router->books);
    const uint32_t at = epp_ledger_find(&router->ledger, booking);
    if (at == EPP_NONE) epp_write_end(&router->books);
    return at;
}

epp_status epp_router_prefill_complete(epp_router *router, uint64_t booking, double now_s,
                                       uint32_t *was_running, epp_prefill_done *done) {
    if (router == NULL || was_running == NULL || done == NULL || !isfinite(now_s)) return EPP_E_ARGUMENT;
    const uint32_t at = lock_booking(router, booking);
    if (at == EPP_NONE) return EPP_E_UNKNOWN;
    const double reserved_at_s = epp_booking_at(&router->ledger, at)->reserved_at_s;
    *was_running = epp_ledger_prefill_complete(&router->ledger, at, now_s);
    if (*was_running)
        *done = (epp_prefill_done){.booking = booking, .at_s = now_s, .reserved_at_s = reserved_at_s};
    epp_write_end(&router->books);
    return EPP_OK;
}

epp_status epp_router_output_block(epp_router *router, uint64_t booking, double decay) {
    if (router == NULL || isnan(decay) || decay > 1.0) return EPP_E_ARGUMENT;
    const uint32_t at = lock_booking(router, booking);
    if (at == EPP_NONE) return EPP_E_UNKNOWN;
    epp_ledger_output(&router->ledger, at, decay);
    epp_write_end(&router->books);
    return EPP_OK;
}

epp_status epp_router_renew(epp_router *router, uint64_t booking, double now_s) {
    if (router == NULL || !isfinite(now_s)) return EPP_E_ARGUMENT;
    const uint32_t at = lock_booking(router, booking);
    if (at == EPP_NONE) return EPP_E_UNKNOWN;
    epp_ledger_renew(&router->ledger, at, now_s);
    epp_write_end(&router->books);
    return EPP_OK;
}

epp_status epp_router_end_booking(epp_router *router, uint64_t booking) {
    if (router == NULL) return EPP_E_ARGUMENT;
    const uint32_t at = lock_booking(router, booking);
    if (at == EPP_NONE) return EPP_E_UNKNOWN;
    epp_ledger_free(&router->ledger, at);
    epp_write_end(&router->books);
    return EPP_OK;
}

static int ascending(const void *x, const void *y) {
    const uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return (a > b) - (a < b);
}

static void expire_bookings(epp_ledger *ledger, double now_s, uint64_t *expired) {
    size_t n = 0;
    while (ledger->leases.count > 0 && ledger->leases.items[0].due_s <= now_s) {
        const uint32_t at = ledger->leases.items[0].id;
        expired[n++] = epp_booking_at(ledger, at)->id;
        epp_ledger_free(ledger, at);
    }
    if (n) qsort(expired, n, sizeof *expired, ascending);
    epp_ledger_finish_estimated(ledger, now_s);
}

/** Expire what is in the books; false: `expired` has no room for it. */
static bool expire_books(epp_router *router, double now_s, uint64_t *expired, size_t capacity,
                         size_t *n_expired) {
    *n_expired = epp_heap_count_due(&router->ledger.leases, now_s);
    if (*n_expired > capacity) return false;
    expire_bookings(&router->ledger, now_s, expired);
    return true;
}

/** Beside readers of residency, if that has nothing to expire; else `*apart` is false and nothing was done. */
static bool expire_beside(epp_router *router, double now_s, uint64_t *expired, size_t capacity,
                          size_t *n_expired, bool *apart) {
    bool fits = true;
    const uint32_t lane = epp_lane_take(&router->lanes);
    epp_read_begin(&router->residency, lane);
    *apart = epp_heap_count_due(&router->index.deadlines, now_s) == 0;
    if (*apart) {
        epp_write_begin(&router->books);
        fits = expire_books(router, now_s, expired, capacity, n_expired);
        epp_write_end(&router->books);
    }
    epp_read_end(&router->residency, lane);
    epp_lane_give(&router->lanes, lane);
    return fits;
}

epp_status epp_router_expire(epp_router *router, double now_s, uint64_t *expired, size_t expired_capacity,
                             size_t *n_expired) {
    if (router == NULL || n_expired == NULL || epp_missing(expired, expired_capacity) || !isfinite(now_s))
        return EPP_E_ARGUMENT;
    bool apart = false;
    bool fits = expire_beside(router, now_s, expired, expired_capacity, n_expired, &apart);
    if (!apart) {
        epp_change_begin(router);
        fits = expire_books(router, now_s, expired, expired_capacity, n_expired);
        if (fits) epp_index_expire(&router->index, now_s);
        epp_change_end(router);
    }
    return fits ? EPP_OK : EPP_E_BUFFER;
}

/* --- looking inside -------------------------------------------------------------------------------- */

static epp_rank_load load_of(const epp_router *router, const epp_worker_entry *worker, uint32_t rank) {
    const uint32_t slot = worker->slots[rank];
    const epp_book *book = &router->ledger.books[slot];
    return (epp_rank_load){
        .worker_id = worker->spec.worker_id,
        .rank = rank,
        .active_requests = book->active_requests,
        .active_prefill_tokens = book->active_prefill_tokens,
        .active_decode_blocks = epp_whole_blocks(book->units),
        .resident_blocks = epp_index_shelf(&router->index, epp_shelf_of(router, slot))->pairs,
        .prefill_tokens_per_s = book->learnt_tokens_per_s,
        .scraped = epp_slot_at(router, slot)->load,
    };
}

epp_status epp_router_loads(epp_router *router, epp_rank_load *loads, size_t capacity, size_t *n_loads) {
    if (router == NULL || n_loads == NULL || epp_missing(loads, capacity)) return EPP_E_ARGUMENT;
    const uint32_t lane = epp_look_begin(router);
    *n_loads = router->n_ranks;
    const bool fits = router->n_ranks <= capacity;
    for (uint32_t place = 0; fits && place < epp_n_workers(router); place++) {
        const epp_worker_entry *worker = epp_worker_at(router, epp_ordered_worker(router, place));
        for (uint32_t rank = 0; rank < worker->spec.dp_size; rank++) *loads++ = load_of(router, worker, rank);
    }
    epp_look_end(router, lane);
    return fits ? EPP_OK : EPP_E_BUFFER;
}

epp_status epp_router_stats(epp_router *router, epp_stats *stats) {
    if (router == NULL || stats == NULL) return EPP_E_ARGUMENT;
    const uint32_t lane = epp_look_begin(router);
    *stats = (epp_stats){
        .workers = epp_n_workers(router),
        .ranks = router->n_ranks,
        .resident_pairs = router->index.n_pairs,
        .distinct_blocks = router->index.n_blocks,
        .bookings = router->ledger.n_bookings,
        .predicted_blocks = router->index.n_guesses,
        .memory_bytes = sizeof *router + atomic_load(&router->memory.used_bytes),
        .index_bytes = epp_index_bytes(&router->index),
    };
    epp_look_end(router, lane);
    return EPP_OK;
}
