/* Workers: epp.h section 5. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "router.h"

void epp_worker_init(epp_worker *worker) {
    if (worker == NULL) return;
    *worker = (epp_worker){.struct_size = sizeof *worker, .dp_size = 1, .has_events = 1};
}

/* --- what ranks hold ------------------------------------------------------------------------------- */

void epp_clear_rank(epp_router *router, uint32_t slot, epp_leftovers *left) {
    epp_index *index = &router->index;
    const uint32_t shelf = epp_shelf_of(router, slot);
    if (epp_index_shelf(index, shelf)->pairs == 0) return;
    if (!epp_index_reserve_shelves(index, 1) || !epp_index_leave(index, shelf, &left->leaving))
        epp_index_empty_shelf(index, shelf); /* no other shelf: at once then */
    else
        epp_slot_at(router, slot)->shelf = epp_index_open_shelf(index);
}

/** A rank ends: its shelf leaves without another in its place. */
static void take_shelf(epp_router *router, uint32_t slot, epp_leftovers *left) {
    epp_index *index = &router->index;
    const uint32_t shelf = epp_shelf_of(router, slot);
    if (epp_index_shelf(index, shelf)->pairs > 0 && epp_index_leave(index, shelf, &left->leaving)) return;
    epp_index_empty_shelf(index, shelf);
    epp_index_close_shelf(index, shelf);
}

/** Empty and close a leaving shelf; returns the next of its list. */
static uint32_t forget_shelf(epp_router *router, uint32_t shelf) {
    uint32_t next = EPP_NONE;
    for (uint32_t at = 0; at != EPP_NONE;) { /* others come between */
        epp_write_begin(&router->residency);
        next = epp_index_shelf(&router->index, shelf)->next;
        epp_index_forget_some(&router->index, shelf, &at);
        epp_write_end(&router->residency);
    }
    return next;
}

void epp_dispose(epp_router *router, epp_leftovers *left) {
    epp_index_drop_spare(&router->index, &left->old);
    while (left->leaving != EPP_NONE) left->leaving = forget_shelf(router, left->leaving);
}

void epp_set_block_tokens(epp_router *router, epp_worker_entry *worker, uint32_t block_tokens,
                          epp_leftovers *left) {
    const uint32_t before = epp_effective_block_tokens(router, worker);
    worker->known_block_tokens = block_tokens;
    router->fleet_changes++;
    if (block_tokens == before) return;
    for (uint32_t rank = 0; rank < worker->spec.dp_size; rank++)
        epp_clear_rank(router, worker->slots[rank], left);
}

/* --- bookings that end with ranks ------------------------------------------------------------------ */

/** Whether a booking has a live leg on one of a worker's ranks from `first` on. */
static bool touches(const epp_booking *booking, const epp_worker_entry *worker, uint32_t first) {
    for (uint32_t rank = first; rank < worker->spec.dp_size; rank++)
        if (epp_booking_touches(booking, worker->slots[rank])) return true;
    return false;
}

static int ascending(const void *x, const void *y) {
    const uint64_t a = *(const uint64_t *)x, b = *(const uint64_t *)y;
    return (a > b) - (a < b);
}

static size_t count_touching(const epp_router *router, const epp_worker_entry *worker, uint32_t first) {
    size_t n = 0;
    for (uint32_t at = 0; at < router->ledger.bookings.used; at++) {
        const epp_booking *booking = epp_booking_at(&router->ledger, at);
        n += booking->id && touches(booking, worker, first);
    }
    return n;
}

/** Forget ranks from `first` on with all that is on them. `dropped` has room for every id. */
static void close_ranks(epp_router *router, epp_worker_entry *worker, uint32_t first, uint64_t *dropped,
                        epp_leftovers *left) {
    size_t n = 0;
    for (uint32_t at = 0; at < router->ledger.bookings.used; at++) {
        const epp_booking *booking = epp_booking_at(&router->ledger, at);
        if (booking->id == 0 || !touches(booking, worker, first)) continue;
        dropped[n++] = booking->id;
        epp_ledger_free(&router->ledger, at);
    }
    if (n) qsort(dropped, n, sizeof *dropped, ascending);
    for (uint32_t rank = first; rank < worker->spec.dp_size; rank++) {
        take_shelf(router, worker->slots[rank], left);
        epp_ledger_close(&router->ledger, worker->slots[rank]);
        epp_slot_at(router, worker->slots[rank])->worker = EPP_NONE;
        epp_pool_give(&router->slots, worker->slots[rank], sizeof(epp_slot));
        router->n_ranks--;
    }
}

/* --- adding and changing --------------------------------------------------------------------------- */

static bool spec_is_valid(const epp_worker *spec) {
    return spec->role <= EPP_ROLE_ENCODE && spec->dp_size >= 1 && spec->dp_size <= EPP_MAX_DP_SIZE &&
           spec->block_tokens <= EPP_MAX_BLOCK_TOKENS;
}

static bool reserve_slots(epp_router *router, uint32_t more) {
    if (!epp_pool_reserve(&router->slots, &router->memory, more, sizeof(epp_slot))) return false;
    return epp_index_reserve_shelves(&router->index, more) &&
           epp_ledger_reserve_slots(&router->ledger, router->slots.used + more);
}

static bool reserve_worker(epp_router *router) {
    return epp_pool_reserve(&router->workers, &router->memory, 1, sizeof(epp_worker_entry)) &&
           epp_map_reserve(&router->worker_ids, &router->memory, 1) &&
           epp_scratch_grow(&router->memory, &router->order, (uint64_t)epp_n_workers(router) + 1,
                            sizeof(uint32_t));
}

/** Fresh arrays of a changed worker; both or neither. */
static bool make_arrays(epp_router *router, const epp_worker *spec, const uint64_t *taints, size_t n_taints,
                        epp_worker_entry *out) {
    out->slots = epp_memory_resize(&router->memory, NULL, 0, spec->dp_size * sizeof *out->slots);
    if (out->slots == NULL) return false;
    out->n_taints = (uint32_t)n_taints;
    out->taints = epp_memory_resize(&router->memory, NULL, 0, n_taints * sizeof *taints);
    if (n_taints == 0) return true;
    if (out->taints == NULL) {
        (void)epp_memory_resize(&router->memory, out->slots, spec->dp_size * sizeof *out->slots, 0);
        return false;
    }
    memcpy(out->taints, taints, n_taints * sizeof *taints);
    return true;
}

static void drop_arrays(epp_router *router, epp_worker_entry *worker) {
    (void)epp_memory_resize(&router->memory, worker->slots, worker->spec.dp_size * sizeof *worker->slots, 0);
    (void)epp_memory_resize(&router->memory, worker->taints, worker->n_taints * sizeof *worker->taints, 0);
}

static void open_ranks(epp_router *router, epp_worker_entry *worker, uint32_t at, uint32_t first) {
    for (uint32_t rank = first; rank < worker->spec.dp_size; rank++) {
        const uint32_t slot = epp_pool_take(&router->slots, sizeof(epp_slot));
        *epp_slot_at(router, slot) =
            (epp_slot){.worker = at, .rank = rank, .shelf = epp_index_open_shelf(&router->index)};
        epp_hear(router, slot);
        epp_ledger_open(&router->ledger, slot, worker->spec.has_events);
        worker->slots[rank] = slot;
        router->n_ranks++;
    }
}

/** The place in the ascending order at which an id stands or would stand. */
static uint32_t place_of(const epp_router *router, uint64_t worker_id) {
    uint32_t low = 0, high = epp_n_workers(router);
    while (low < high) {
        const uint32_t middle = (low + high) / 2;
        if (epp_worker_at(router, epp_ordered_worker(router, middle))->spec.worker_id < worker_id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static epp_status add_worker(epp_router *router, const epp_worker *spec, const uint64_t *taints,
                             size_t n_taints) {
    if (epp_n_workers(router) >= router->options.max_workers ||
        spec->dp_size > router->options.max_ranks - router->n_ranks)
        return EPP_E_CAPACITY;
    epp_worker_entry entry = {.used = true, .spec = *spec, .known_block_tokens = spec->block_tokens};
    if (!reserve_worker(router) || !reserve_slots(router, spec->dp_size) ||
        !make_arrays(router, spec, taints, n_taints, &entry))
        return EPP_E_MEMORY;
    const uint32_t at = epp_pool_take(&router->workers, sizeof entry);
    uint32_t *order = router->order.items;
    const uint32_t place = place_of(router, spec->worker_id);
    memmove(order + place + 1, order + place, (epp_n_workers(router) - place) * sizeof *order);
    order[place] = at;
    epp_map_add(&router->worker_ids, spec->worker_id, 0, at);
    router->n_silent += !spec->has_events;
    open_ranks(router, &entry, at, 0);
    *epp_worker_at(router, at) = entry;
    return EPP_OK;
}

static epp_status change_worker(epp_router *router, uint32_t at, const epp_worker *spec,
                                const uint64_t *taints, size_t n_taints, uint64_t *dropped,
                                epp_leftovers *left) {
    epp_worker_entry *worker = epp_worker_at(router, at);
    const uint32_t before = worker->spec.dp_size, kept = before < spec->dp_size ? before : spec->dp_size;
    const uint32_t known = worker->known_block_tokens;
    if (spec->dp_size > before && spec->dp_size - before > router->options.max_ranks - router->n_ranks)
        return EPP_E_CAPACITY;
    epp_worker_entry entry = {.used = true, .spec = *spec, .known_block_tokens = known};
    if (!reserve_slots(router, spec->dp_size - kept) || !epp_ledger_reserve_estimates(&router->ledger) ||
        !make_arrays(router, spec, taints, n_taints, &entry))
        return EPP_E_MEMORY;
    router->n_silent = router->n_silent - !worker->spec.has_events + !spec->has_events;
    close_ranks(router, worker, kept, dropped, left);
    memcpy(entry.slots, worker->slots, kept * sizeof *entry.slots);
    for (uint32_t rank = 0; rank < kept; rank++) {
        epp_ledger_set_events(&router->ledger, entry.slots[rank], spec->has_events);
        if (known && spec->block_tokens && spec->block_tokens != known) epp_hear(router, entry.slots[rank]);
    }
    open_ranks(router, &entry, at, kept);
    drop_arrays(router, worker);
    *worker = entry;
    if (spec->block_tokens) epp_set_block_tokens(router, worker, spec->block_tokens, left);
    return EPP_OK;
}

static epp_status upsert_locked(epp_router *router, const epp_worker *spec, const uint64_t *taints,
                                size_t n_taints, uint64_t *dropped, size_t capacity, size_t *n_dropped,
                                epp_leftovers *left) {
    const uint32_t at = epp_map_get(&router->worker_ids, spec->worker_id, 0);
    size_t n = 0;
    if (at != EPP_NONE && spec->dp_size < epp_worker_at(router, at)->spec.dp_size)
        n = count_touching(router, epp_worker_at(router, at), spec->dp_size);
    if (n > capacity) {
        *n_dropped = n;
        return EPP_E_BUFFER;
    }
    router->fleet_changes++;
    const epp_status status = at == EPP_NONE
                                  ? add_worker(router, spec, taints, n_taints)
                                  : change_worker(router, at, spec, taints, n_taints, dropped, left);
    if (status == EPP_OK) *n_dropped = n;
    return status;
}

epp_status epp_router_upsert_worker(epp_router *router, const epp_worker *worker, const uint64_t *taints,
                                    size_t n_taints, uint64_t *dropped, size_t dropped_capacity,
                                    size_t *n_dropped) {
    enum { MAX_TAINTS = 65536 };
    epp_worker spec;
    epp_worker_init(&spec);
    if (router == NULL || worker == NULL || worker->struct_size < offsetof(epp_worker, total_blocks) ||
        epp_missing(taints, n_taints) || epp_missing(dropped, dropped_capacity) || n_dropped == NULL)
        return EPP_E_ARGUMENT;
    memcpy(&spec, worker, worker->struct_size < sizeof spec ? worker->struct_size : sizeof spec);
    if (!spec_is_valid(&spec) || n_taints > MAX_TAINTS) return EPP_E_ARGUMENT;
    epp_leftovers left = epp_no_leftovers();
    epp_change_begin(router);
    const epp_status status =
        upsert_locked(router, &spec, taints, n_taints, dropped, dropped_capacity, n_dropped, &left);
    epp_change_end(router);
    epp_dispose(router, &left);
    return status;
}

static epp_status remove_locked(epp_router *router, uint64_t worker_id, uint64_t *dropped, size_t capacity,
                                size_t *n_dropped, epp_leftovers *left) {
    const uint32_t at = epp_map_get(&router->worker_ids, worker_id, 0);
    *n_dropped = 0;
    if (at == EPP_NONE) return EPP_OK;
    epp_worker_entry *worker = epp_worker_at(router, at);
    *n_dropped = count_touching(router, worker, 0);
    if (*n_dropped > capacity) return EPP_E_BUFFER;
    router->fleet_changes++;
    router->n_silent -= !worker->spec.has_events;
    close_ranks(router, worker, 0, dropped, left);
    drop_arrays(router, worker);
    uint32_t *order = router->order.items;
    const uint32_t place = place_of(router, worker_id), n = epp_n_workers(router);
    memmove(order + place, order + place + 1, (n - 1 - place) * sizeof *order);
    (void)epp_map_remove(&router->worker_ids, worker_id, 0);
    worker->used = false;
    epp_pool_give(&router->workers, at, sizeof *worker);
    return EPP_OK;
}

epp_status epp_router_remove_worker(epp_router *router, uint64_t worker_id, uint64_t *dropped,
                                    size_t dropped_capacity, size_t *n_dropped) {
    if (router == NULL || n_dropped == NULL || epp_missing(dropped, dropped_capacity)) return EPP_E_ARGUMENT;
    epp_leftovers left = epp_no_leftovers();
    epp_change_begin(router);
    const epp_status status = remove_locked(router, worker_id, dropped, dropped_capacity, n_dropped, &left);
    epp_change_end(router);
    epp_dispose(router, &left);
    return status;
}

epp_status epp_router_set_load(epp_router *router, uint64_t worker_id, uint32_t rank,
                               const epp_load_sample *load) {
    if (router == NULL || load == NULL) return EPP_E_ARGUMENT;
    const uint32_t lane = epp_lane_take(&router->lanes);
    epp_read_begin(&router->residency, lane);
    const uint32_t slot = epp_find_slot(router, worker_id, rank);
    epp_write_begin(&router->books);
    if (slot != EPP_NONE) epp_slot_at(router, slot)->load = *load;
    epp_write_end(&router->books);
    epp_read_end(&router->residency, lane);
    epp_lane_give(&router->lanes, lane);
    return EPP_OK;
}

epp_status epp_router_drop_blocks(epp_router *router, uint64_t worker_id, uint32_t rank, size_t *n_dropped) {
    if (router == NULL || n_dropped == NULL) return EPP_E_ARGUMENT;
    epp_leftovers left = epp_no_leftovers();
    epp_write_begin(&router->residency);
    const uint32_t slot = epp_find_slot(router, worker_id, rank);
    *n_dropped = slot == EPP_NONE ? 0 : epp_index_shelf(&router->index, epp_shelf_of(router, slot))->pairs;
    if (slot != EPP_NONE) {
        epp_hear(router, slot);
        epp_clear_rank(router, slot, &left);
    }
    epp_write_end(&router->residency);
    epp_dispose(router, &left);
    return EPP_OK;
}
