/* Every invariant, in words: epp_router_validate. Reads only; O(everything). */
#include <stdio.h>
#include <string.h>

#include "router.h"

/* --- index ----------------------------------------------------------------------------------------- */

/** Copies beyond the first, as found at the pairs that have them. */
typedef struct copy_sum {
    uint64_t copies;
    uint32_t entries;
} copy_sum;

static void sum_copies(const epp_index *index, uint32_t shelf, uint32_t block, uint32_t planes,
                       copy_sum *sum) {
    for (uint32_t tier = 0; tier <= EPP_TIER_EXTERNAL; tier++) {
        const uint32_t more = planes >> tier & 1 ? epp_index_more_copies(index, shelf, block, tier) : 0;
        sum->copies += more;
        sum->entries += more > 0;
    }
}

static const char *check_block(const epp_index *index, uint32_t id, uint64_t *held, uint32_t *by_shelf,
                               uint32_t n_shelves, copy_sum *copies) {
    const epp_block *block = epp_index_block(index, id);
    const char *fault = epp_holders_validate(&index->holders, block->holders);
    if (fault) return fault;
    if (epp_holders_empty(block->holders)) return "a block that nobody holds";
    if (epp_index_find(index, block->chain) != id) return "a block is not found by its hash";
    for (uint32_t shelf = 0; shelf < n_shelves; shelf++) {
        const uint32_t planes = epp_holders_planes(&index->holders, block->holders, shelf);
        const bool real = planes & EPP_TIER_PLANES, guessed = planes & 1u << EPP_PLANE_PREDICTED;
        if (planes == 0) continue;
        if (real == guessed) return "a pair is neither real nor predicted, or both";
        if (planes & 1u << EPP_PLANE_ALIAS && !real) return "a predicted pair has a name";
        if (real && !(planes & 1u << EPP_PLANE_ALIAS)) {
            if (!(block->holders & EPP_HOLDERS_SPARE)) return "a real pair has no name";
            if (epp_index_named(index, shelf, block->name) != id) return "a name leads elsewhere";
        }
        sum_copies(index, shelf, id, planes, copies);
        by_shelf[shelf]++;
        ++*held;
    }
    return NULL;
}

static const char *check_seeds(const epp_index *index) {
    uint64_t blocks = 0;
    const epp_seed *seeds = index->seeds.items;
    for (uint32_t i = 0; i < index->seeds.used; i++)
        if (seeds[i].blocks != EPP_NONE) blocks += seeds[i].blocks;
    return blocks == index->n_blocks ? NULL : "seeds do not add up to the blocks";
}

static const char *check_aliases(const epp_index *index) {
    const epp_alias *aliases = index->aliases.items;
    uint32_t n = 0;
    for (uint32_t i = 0; i < index->aliases.used; i++) {
        if (aliases[i].shelf == EPP_NONE) continue;
        n++;
        if (epp_index_named(index, aliases[i].shelf, aliases[i].name) != aliases[i].block)
            return "an alias does not lead to its block";
    }
    return n == index->by_alias.count && n == index->by_pair.count ? NULL : "aliases are miscounted";
}

static const char *check_shelves(const epp_index *index, const uint32_t *by_shelf) {
    uint64_t leaving = 0;
    for (uint32_t at = 0; at < index->shelves.used; at++) {
        const epp_shelf *shelf = epp_index_shelf(index, at);
        if (shelf->pairs != by_shelf[at]) return "the pairs of a rank are miscounted";
        if (shelf->state == EPP_SHELF_CLOSED && shelf->pairs) return "a closed shelf holds blocks";
        if (shelf->state == EPP_SHELF_LEAVING) leaving += shelf->pairs;
    }
    return leaving == index->n_leaving ? NULL : "leaving pairs are miscounted";
}

static const char *check_index(epp_router *router, uint32_t *by_shelf) {
    const epp_index *index = &router->index;
    const uint32_t n_shelves = index->shelves.used;
    uint64_t held = 0;
    copy_sum copies = {0};
    uint32_t n_blocks = 0;
    for (uint32_t id = 0; id < index->blocks.used; id++) {
        if (epp_index_block(index, id)->seed == EPP_NONE) continue;
        const char *fault = check_block(index, id, &held, by_shelf, n_shelves, &copies);
        if (fault) return fault;
        n_blocks++;
    }
    if (n_blocks != index->n_blocks || n_blocks != index->by_chain.count) return "blocks are miscounted";
    if (held != index->n_pairs + index->n_leaving) return "pairs are miscounted";
    if (index->n_pairs > index->max_pairs || index->n_leaving > index->max_pairs)
        return "more pairs than allowed";
    if (copies.copies != index->n_copies || copies.entries != index->copies.count)
        return "copies are miscounted";
    if (index->n_copies > index->max_pairs) return "more copies than allowed";
    if (index->n_guesses != index->deadlines.count || index->n_guesses != index->by_guess.count)
        return "predicted pairs are miscounted";
    const char *fault = check_shelves(index, by_shelf);
    if (!fault) fault = check_seeds(index);
    if (!fault) fault = check_aliases(index);
    return fault ? fault : epp_heap_validate(&index->deadlines);
}

/* --- ledger ---------------------------------------------------------------------------------------- */

static const char *check_chains(const epp_chains *chains) {
    const epp_node *nodes = chains->nodes.items;
    uint32_t n = 0;
    for (uint32_t i = 0; i < chains->nodes.used; i++) {
        if (nodes[i].bookings == 0) continue;
        n++;
        if (nodes[i].start >= nodes[i].end) return "an empty stretch of blocks";
        if (epp_text_at(chains, nodes[i].text)->references == 0) return "a stretch of a dropped chain";
        if (nodes[i].parent == EPP_NONE) continue;
        const epp_node *parent = &nodes[nodes[i].parent];
        if (parent->bookings < nodes[i].bookings)
            return "a stretch with more bookings than the one before it";
        if (parent->end != nodes[i].start) return "a gap between stretches of a chain";
    }
    return n == chains->edges.count ? NULL : "stretches are miscounted";
}

/** What a slot's books should say, added up from its bookings. */
typedef struct expected {
    uint64_t unshared_units, load_tokens;
    uint32_t requests, unfinished, tips;
} expected;

static expected expect(const epp_ledger *ledger, uint32_t slot) {
    expected sum = {0};
    for (uint32_t at = 0; at < ledger->bookings.used; at++) {
        const epp_booking *booking = epp_booking_at(ledger, at);
        if (booking->id == 0) continue;
        sum.requests += epp_booking_touches(booking, slot);
        if (booking->decode_slot == slot) {
            sum.unshared_units +=
                (uint64_t)booking->unshared_blocks * booking->unshared_weight + booking->output_units;
            sum.tips += booking->has_tip;
        }
        if (booking->prefilling && booking->prefill_slot == slot) {
            sum.unfinished++;
            sum.load_tokens += booking->load_tokens;
        }
    }
    return sum;
}

static uint64_t tracked_units(const epp_chains *chains, uint32_t tree) {
    const epp_node *nodes = chains->nodes.items;
    uint64_t units = 0;
    for (uint32_t i = 0; i < chains->nodes.used; i++)
        if (nodes[i].bookings && nodes[i].tree == tree)
            units += (uint64_t)nodes[i].weight * (nodes[i].end - nodes[i].start);
    return units;
}

static const char *check_ledger(const epp_router *router) {
    const epp_ledger *ledger = &router->ledger;
    for (uint32_t slot = 0; slot < router->slots.used; slot++) {
        const epp_book *book = &ledger->books[slot];
        if (!book->open) continue;
        const expected sum = expect(ledger, slot);
        if (book->active_requests != sum.requests) return "active requests are miscounted";
        if (book->unfinished != sum.unfinished) return "unfinished prefills are miscounted";
        if (book->n_tips != sum.tips) return "running outputs are miscounted";
        if (book->active_prefill_tokens != sum.load_tokens) return "prefill load differs from its bookings";
        if (book->units != sum.unshared_units + tracked_units(&ledger->chains, epp_tracked_tree(slot)))
            return "decode load differs from its bookings";
    }
    if (ledger->n_bookings != ledger->by_id.count || ledger->n_bookings != ledger->leases.count)
        return "bookings are miscounted";
    const char *fault = check_chains(&ledger->chains);
    if (!fault) fault = epp_heap_validate(&ledger->leases);
    return fault ? fault : epp_heap_validate(&ledger->estimates);
}

/* --- the call -------------------------------------------------------------------------------------- */

static const char *check_workers(const epp_router *router) {
    uint32_t ranks = 0, silent = 0;
    for (uint32_t place = 0; place < epp_n_workers(router); place++) {
        const uint32_t at = epp_ordered_worker(router, place);
        const epp_worker_entry *worker = epp_worker_at(router, at);
        if (!worker->used || epp_map_get(&router->worker_ids, worker->spec.worker_id, 0) != at)
            return "a worker is not found by its id";
        for (uint32_t rank = 0; rank < worker->spec.dp_size; rank++) {
            const epp_slot *slot = epp_slot_at(router, worker->slots[rank]);
            if (slot->worker != at || slot->rank != rank) return "a rank does not know its worker";
            if (epp_index_shelf(&router->index, slot->shelf)->state != EPP_SHELF_OPEN)
                return "a rank's shelf is not open";
        }
        ranks += worker->spec.dp_size;
        silent += !worker->spec.has_events;
    }
    if (silent != router->n_silent) return "workers without events are miscounted";
    return ranks == router->n_ranks ? NULL : "ranks are miscounted";
}

epp_status epp_router_validate(epp_router *router, char *reason, size_t capacity) {
    if (router == NULL || reason == NULL || capacity == 0) return EPP_E_ARGUMENT;
    const uint32_t lane = epp_look_begin(router);
    const size_t bytes = ((size_t)router->index.shelves.used + 1) * sizeof(uint32_t);
    uint32_t *by_shelf = epp_memory_resize(&router->memory, NULL, 0, bytes);
    if (by_shelf) {
        memset(by_shelf, 0, bytes);
        const char *fault = check_workers(router);
        if (!fault) fault = check_index(router, by_shelf);
        if (!fault) fault = check_ledger(router);
        (void)snprintf(reason, capacity, "%s", fault ? fault : "");
        (void)epp_memory_resize(&router->memory, by_shelf, bytes, 0);
    }
    epp_look_end(router, lane);
    return by_shelf ? EPP_OK : EPP_E_MEMORY;
}
