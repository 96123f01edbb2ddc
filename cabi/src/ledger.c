#include "ledger.h"

#include <assert.h>
#include <math.h>

#include "epp.h"
#include "exact.h"

enum { RATE_MIN_SAMPLES = 3 };

static const double RATE_MEMORY = 0.95; /* about the last twenty prompts count */
static const double RATE_STUCK = 8.0;   /* slower by more than this is cut to it */

static epp_booking *at_(const epp_ledger *ledger, uint32_t at) { return epp_booking_at(ledger, at); }

/* --- life ------------------------------------------------------------------------------------------ */

void epp_ledger_init(epp_ledger *ledger, epp_memory *memory, double default_tokens_per_s) {
    *ledger = (epp_ledger){.memory = memory, .default_tokens_per_s = default_tokens_per_s};
    epp_chains_init(&ledger->chains, memory);
}

void epp_ledger_drop(epp_ledger *ledger) {
    epp_memory *memory = ledger->memory;
    epp_memory_drop(memory, (void **)&ledger->books, &ledger->books_capacity, sizeof(epp_book));
    epp_pool_drop(&ledger->bookings, memory, sizeof(epp_booking));
    epp_map_drop(&ledger->by_id, memory);
    epp_map_drop(&ledger->awaiting, memory);
    epp_map_drop(&ledger->tips, memory);
    epp_heap_drop(&ledger->leases, memory);
    epp_heap_drop(&ledger->estimates, memory);
    epp_chains_drop(&ledger->chains);
}

bool epp_ledger_reserve_slots(epp_ledger *ledger, uint32_t n_slots) {
    const uint32_t before = ledger->books_capacity;
    if (!epp_memory_grow(ledger->memory, (void **)&ledger->books, &ledger->books_capacity, n_slots,
                         sizeof(epp_book)))
        return false;
    memset(ledger->books + before, 0, (ledger->books_capacity - before) * sizeof(epp_book));
    return true;
}

void epp_ledger_open(epp_ledger *ledger, uint32_t slot, bool has_events) {
    ledger->books[slot] = (epp_book){
        .queue_first = EPP_NONE,
        .queue_last = EPP_NONE,
        .last_done_s = -INFINITY,
        .tail_estimate_s = -INFINITY,
        .open = true,
        .has_events = has_events,
    };
}

/** Keep `best_rate` when the rate of an open book was `before` and is `now`. */
static void rate_changed(epp_ledger *ledger, double before, double now) {
    if (now >= ledger->best_rate) {
        ledger->best_rate = now;
        return;
    }
    if (before < ledger->best_rate) return;
    ledger->best_rate = 0.0;
    for (uint32_t slot = 0; slot < ledger->books_capacity; slot++) {
        const epp_book *book = &ledger->books[slot];
        if (book->open && book->learnt_tokens_per_s > ledger->best_rate)
            ledger->best_rate = book->learnt_tokens_per_s;
    }
}

void epp_ledger_close(epp_ledger *ledger, uint32_t slot) {
    assert(ledger->books[slot].active_requests == 0);
    ledger->books[slot].open = false;
    rate_changed(ledger, ledger->books[slot].learnt_tokens_per_s, 0.0);
}

static bool reserve_estimate(epp_ledger *ledger, uint32_t more) {
    return epp_heap_reserve(&ledger->estimates, ledger->memory, ledger->bookings.used, more);
}

bool epp_ledger_reserve_estimates(epp_ledger *ledger) { return reserve_estimate(ledger, ledger->n_bookings); }

void epp_ledger_set_events(epp_ledger *ledger, uint32_t slot, bool has_events) {
    epp_book *book = &ledger->books[slot];
    if (book->has_events == has_events) return;
    book->has_events = has_events;
    for (uint32_t at = 0; at < ledger->bookings.used; at++) {
        const epp_booking *booking = at_(ledger, at);
        if (booking->id == 0 || !booking->prefilling || booking->prefill_slot != slot) continue;
        if (has_events)
            epp_heap_remove(&ledger->estimates, at);
        else
            epp_heap_push(&ledger->estimates, at, booking->estimate_s);
    }
}

bool epp_ledger_reserve(epp_ledger *ledger) {
    epp_memory *memory = ledger->memory;
    const uint32_t tips = ledger->n_bookings + 1 - ledger->tips.count; /* tips shared now may part later */
    return epp_pool_reserve(&ledger->bookings, memory, 1, sizeof(epp_booking)) &&
           epp_map_reserve(&ledger->by_id, memory, 1) && epp_map_reserve(&ledger->awaiting, memory, 1) &&
           epp_map_reserve(&ledger->tips, memory, tips) &&
           epp_heap_reserve(&ledger->leases, memory, ledger->bookings.used, 1) &&
           reserve_estimate(ledger, 1) && epp_chains_reserve(&ledger->chains);
}

/* --- lists of bookings that share a key ------------------------------------------------------------ */

static epp_links *links_of(epp_booking *booking, size_t field) {
    return (epp_links *)(void *)((char *)booking + field);
}

static void list_add(epp_ledger *ledger, epp_map *map, size_t field, uint32_t slot, uint64_t hash,
                     uint32_t at) {
    const uint32_t first = epp_map_get(map, slot, hash);
    *links_of(at_(ledger, at), field) = (epp_links){.before = EPP_NONE, .after = first};
    if (first == EPP_NONE) {
        epp_map_add(map, slot, hash, at);
        return;
    }
    links_of(at_(ledger, first), field)->before = at;
    epp_map_set(map, slot, hash, at);
}

static void list_remove(epp_ledger *ledger, epp_map *map, size_t field, uint32_t slot, uint64_t hash,
                        uint32_t at) {
    const epp_links links = *links_of(at_(ledger, at), field);
    if (links.after != EPP_NONE) links_of(at_(ledger, links.after), field)->before = links.before;
    if (links.before != EPP_NONE)
        links_of(at_(ledger, links.before), field)->after = links.after;
    else if (links.after != EPP_NONE)
        epp_map_set(map, slot, hash, links.after);
    else
        (void)epp_map_remove(map, slot, hash);
}

/** Of a list, the booking with the least id. */
static uint32_t list_least(const epp_ledger *ledger, uint32_t first, size_t field) {
    uint32_t least = first;
    for (uint32_t at = first; at != EPP_NONE; at = links_of(at_(ledger, at), field)->after)
        if (at_(ledger, at)->id < at_(ledger, least)->id) least = at;
    return least;
}

static void set_tip(epp_ledger *ledger, uint32_t at, uint64_t hash) {
    epp_booking *booking = at_(ledger, at);
    booking->tip = hash;
    booking->has_tip = true;
    ledger->books[booking->decode_slot].n_tips++;
    list_add(ledger, &ledger->tips, offsetof(epp_booking, tips), booking->decode_slot, hash, at);
}

static void drop_tip(epp_ledger *ledger, uint32_t at) {
    epp_booking *booking = at_(ledger, at);
    if (!booking->has_tip) return;
    booking->has_tip = false;
    ledger->books[booking->decode_slot].n_tips--;
    list_remove(ledger, &ledger->tips, offsetof(epp_booking, tips), booking->decode_slot, booking->tip, at);
}

/* --- the prefill leg ------------------------------------------------------------------------------- */

static void enqueue(epp_ledger *ledger, uint32_t at) {
    epp_booking *booking = at_(ledger, at);
    epp_book *book = &ledger->books[booking->prefill_slot];
    booking->queue = (epp_links){.before = book->queue_last, .after = EPP_NONE};
    if (book->queue_last == EPP_NONE)
        book->queue_first = at;
    else
        at_(ledger, book->queue_last)->queue.after = at;
    book->queue_last = at;
    book->active_prefill_tokens += booking->load_tokens;
}

static void dequeue(epp_ledger *ledger, uint32_t at) {
    const epp_booking *booking = at_(ledger, at);
    epp_book *book = &ledger->books[booking->prefill_slot];
    if (booking->queue.before == EPP_NONE)
        book->queue_first = booking->queue.after;
    else
        at_(ledger, booking->queue.before)->queue.after = booking->queue.after;
    if (booking->queue.after == EPP_NONE)
        book->queue_last = booking->queue.before;
    else
        at_(ledger, booking->queue.after)->queue.before = booking->queue.before;
    book->active_prefill_tokens -= booking->load_tokens;
}

static void start_prefill(epp_ledger *ledger, uint32_t at, const epp_order *order) {
    epp_booking *booking = at_(ledger, at);
    epp_book *book = &ledger->books[booking->prefill_slot];
    booking->prefilling = true;
    book->unfinished++;
    if (booking->prefill_slot != booking->decode_slot) book->active_requests++;
    if (booking->load_tokens) enqueue(ledger, at);
    if (order->prefill_chain && order->prefill_blocks) {
        uint64_t ignored_units = 0;
        booking->pending_leaf = epp_chains_hold(&ledger->chains, epp_pending_tree(booking->prefill_slot),
                                                booking->prefill_text, order->prefill_blocks, &ignored_units);
        booking->awaiting = true;
        booking->awaited = order->prefill_chain[order->prefill_blocks - 1];
        list_add(ledger, &ledger->awaiting, offsetof(epp_booking, waiters), booking->prefill_slot,
                 booking->awaited, at);
    }
    double rate = book->learnt_tokens_per_s;
    if (!(rate > 0.0)) rate = epp_ledger_fallback_rate(ledger);
    const double turn_s = order->now_s > book->tail_estimate_s ? order->now_s : book->tail_estimate_s;
    booking->estimate_s = turn_s + (double)order->work_tokens / rate;
    book->tail_estimate_s = booking->estimate_s;
    if (!book->has_events) epp_heap_push(&ledger->estimates, at, booking->estimate_s);
}

static void leave_prefill(epp_ledger *ledger, uint32_t at) {
    epp_booking *booking = at_(ledger, at);
    epp_book *book = &ledger->books[booking->prefill_slot];
    booking->prefilling = false;
    if (--book->unfinished == 0) book->tail_estimate_s = -INFINITY;
    if (booking->prefill_slot != booking->decode_slot) book->active_requests--;
    if (booking->load_tokens) dequeue(ledger, at);
    if (booking->awaiting) {
        uint64_t ignored_units = 0;
        epp_chains_release(&ledger->chains, booking->pending_leaf, &ignored_units);
        booking->pending_leaf = EPP_NONE;
        booking->awaiting = false;
        list_remove(ledger, &ledger->awaiting, offsetof(epp_booking, waiters), booking->prefill_slot,
                    booking->awaited, at);
    }
    if (!book->has_events) epp_heap_remove(&ledger->estimates, at);
}

static void learn_rate(epp_ledger *ledger, epp_book *book, uint64_t load_tokens, double seconds) {
    const double known = book->learnt_tokens_per_s;
    const double tokens = (double)load_tokens;
    if (known > 0.0 && RATE_STUCK * tokens / known < seconds) seconds = RATE_STUCK * tokens / known;
    book->rate_tokens = RATE_MEMORY * book->rate_tokens + tokens;
    book->rate_seconds = RATE_MEMORY * book->rate_seconds + seconds;
    book->rate_samples++;
    if (book->rate_samples >= RATE_MIN_SAMPLES && book->rate_seconds > 0.0)
        book->learnt_tokens_per_s = book->rate_tokens / book->rate_seconds;
    rate_changed(ledger, known, book->learnt_tokens_per_s);
}

static void finish_prefill(epp_ledger *ledger, uint32_t at, double at_s, bool learn) {
    const epp_booking *booking = at_(ledger, at);
    epp_book *book = &ledger->books[booking->prefill_slot];
    if (learn && booking->load_tokens) {
        const double turn_s =
            booking->reserved_at_s < book->last_done_s ? book->last_done_s : booking->reserved_at_s;
        const double seconds = at_s - turn_s;
        learn_rate(ledger, book, booking->load_tokens, seconds > 0.0 ? seconds : 0.0);
    }
    leave_prefill(ledger, at);
    if (book->last_done_s < at_s) book->last_done_s = at_s;
}

double epp_ledger_fallback_rate(const epp_ledger *ledger) {
    return ledger->best_rate > 0.0 ? ledger->best_rate : ledger->default_tokens_per_s;
}

/* --- one booking ----------------------------------------------------------------------------------- */

/** Copy the chains of both legs; equal ones (same block size) share a text. */
static bool copy_texts(epp_ledger *ledger, const epp_order *order, epp_booking *booking) {
    epp_chains *chains = &ledger->chains;
    booking->decode_text = booking->prefill_text = EPP_NONE;
    if (order->decode_chain && order->decode_blocks) {
        booking->decode_text = epp_text_new(chains, order->decode_chain, order->decode_blocks);
        if (booking->decode_text == EPP_NONE) return false;
    }
    if (order->prefill_chain == NULL || order->prefill_blocks == 0) return true;
    if (order->prefill_chain == order->decode_chain && order->prefill_blocks == order->decode_blocks) {
        booking->prefill_text = booking->decode_text;
        epp_text_at(chains, booking->prefill_text)->references++;
        return true;
    }
    booking->prefill_text = epp_text_new(chains, order->prefill_chain, order->prefill_blocks);
    if (booking->prefill_text != EPP_NONE) return true;
    if (booking->decode_text != EPP_NONE) epp_text_release(chains, booking->decode_text);
    return false;
}

static void start_decode(epp_ledger *ledger, uint32_t at, const epp_order *order) {
    epp_booking *booking = at_(ledger, at);
    epp_book *book = &ledger->books[booking->decode_slot];
    book->active_requests++;
    if (order->decode_blocks == 0) return;
    if (order->share_blocks && order->decode_chain) {
        booking->tracked_leaf = epp_chains_hold(&ledger->chains, epp_tracked_tree(booking->decode_slot),
                                                booking->decode_text, order->decode_blocks, &book->units);
    } else {
        booking->unshared_blocks = order->decode_blocks;
        book->units += (uint64_t)booking->unshared_blocks * EPP_BLOCK_UNITS;
    }
    if (order->decode_chain) set_tip(ledger, at, order->decode_chain[order->decode_blocks - 1]);
}

bool epp_ledger_book(epp_ledger *ledger, const epp_order *order) {
    epp_booking booking = {
        .id = order->id,
        .reserved_at_s = order->now_s,
        .lease_s = order->lease_s,
        .load_tokens = order->load_tokens,
        .expected_output_tokens = order->expected_output_tokens,
        .prefill_slot = order->prefill_slot,
        .decode_slot = order->decode_slot,
        .pending_leaf = EPP_NONE,
        .tracked_leaf = EPP_NONE,
        .decode_blocks = order->decode_blocks,
        .decode_block_tokens = order->decode_block_tokens,
        .unshared_weight = EPP_BLOCK_UNITS,
    };
    if (!copy_texts(ledger, order, &booking)) return false;
    const uint32_t at = epp_pool_take(&ledger->bookings, sizeof booking);
    *at_(ledger, at) = booking;
    ledger->n_bookings++;
    epp_map_add(&ledger->by_id, order->id, 0, at);
    epp_heap_push(&ledger->leases, at, order->now_s + order->lease_s);
    start_decode(ledger, at, order);
    if (!order->prefill_at_once) start_prefill(ledger, at, order);
    return true;
}

bool epp_ledger_prefill_complete(epp_ledger *ledger, uint32_t at, double now_s) {
    if (!at_(ledger, at)->prefilling) return false;
    finish_prefill(ledger, at, now_s, true);
    return true;
}

/** Units of what nobody can share: output, and the prompt if it was booked so. */
static uint64_t unshared_units(const epp_booking *booking) {
    return (uint64_t)booking->unshared_blocks * booking->unshared_weight + booking->output_units;
}

void epp_ledger_output(epp_ledger *ledger, uint32_t at, double decay) {
    epp_booking *booking = at_(ledger, at);
    epp_book *book = &ledger->books[booking->decode_slot];
    book->units -= unshared_units(booking);
    booking->outputs++;
    booking->output_units += EPP_BLOCK_UNITS;
    if (decay >= 0.0) {
        const uint32_t weight = (uint32_t)floor(decay * EPP_BLOCK_UNITS + 0.5);
        booking->output_units = booking->outputs * weight;
        booking->unshared_weight = weight;
        epp_chains_weigh(&ledger->chains, booking->tracked_leaf, weight, &book->units);
    }
    book->units += unshared_units(booking);
}

void epp_ledger_renew(epp_ledger *ledger, uint32_t at, double now_s) {
    epp_heap_move(&ledger->leases, at, now_s + at_(ledger, at)->lease_s);
}

void epp_ledger_free(epp_ledger *ledger, uint32_t at) {
    epp_booking *booking = at_(ledger, at);
    epp_book *book = &ledger->books[booking->decode_slot];
    if (booking->prefilling) leave_prefill(ledger, at);
    drop_tip(ledger, at);
    book->active_requests--;
    epp_chains_release(&ledger->chains, booking->tracked_leaf, &book->units);
    book->units -= unshared_units(booking);
    if (booking->decode_text != EPP_NONE) epp_text_release(&ledger->chains, booking->decode_text);
    if (booking->prefill_text != EPP_NONE) epp_text_release(&ledger->chains, booking->prefill_text);
    epp_heap_remove(&ledger->leases, at);
    (void)epp_map_remove(&ledger->by_id, booking->id, 0);
    booking->id = 0;
    epp_pool_give(&ledger->bookings, at, sizeof *booking);
    ledger->n_bookings--;
}

void epp_ledger_finish_estimated(epp_ledger *ledger, double now_s) {
    while (ledger->estimates.count > 0 && ledger->estimates.items[0].due_s <= now_s) {
        const epp_heap_item item = ledger->estimates.items[0];
        finish_prefill(ledger, item.id, item.due_s, false);
    }
}

/* --- what events tell ------------------------------------------------------------------------------ */

static void finish_by_event(epp_ledger *ledger, uint32_t at, double now_s, epp_told *told) {
    const epp_booking *booking = at_(ledger, at);
    finish_prefill(ledger, at, now_s, true);
    epp_ledger_renew(ledger, at, now_s);
    told->done[told->n_done++] = (epp_prefill_done){
        .booking = booking->id, .at_s = now_s, .reserved_at_s = booking->reserved_at_s, .exact = 1};
}

static void finish_waiters(epp_ledger *ledger, uint32_t slot, uint64_t hash, double now_s, epp_told *told) {
    for (;;) {
        const uint32_t first = epp_map_get(&ledger->awaiting, slot, hash);
        if (first == EPP_NONE) return;
        finish_by_event(ledger, list_least(ledger, first, offsetof(epp_booking, waiters)), now_s, told);
    }
}

/** The booking whose output this block continues, or EPP_NONE. */
static uint32_t continued(const epp_ledger *ledger, uint32_t slot, uint64_t hash, uint64_t previous) {
    const uint32_t first = epp_map_get(&ledger->tips, slot, previous);
    if (first == EPP_NONE) return EPP_NONE;
    const epp_chains *chains = &ledger->chains;
    const epp_text *text = epp_text_at(chains, at_(ledger, first)->decode_text);
    const uint32_t trees[] = {epp_tracked_tree(slot), epp_pending_tree(slot)};
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
        const epp_place place = epp_chains_follow(chains, trees[i], text->hashes, text->n);
        if (place.matched == text->n && epp_chains_continues(chains, trees[i], place, hash))
            return EPP_NONE; /* a part of somebody's prompt */
    }
    return list_least(ledger, first, offsetof(epp_booking, tips));
}

static double expected_decay(const epp_booking *booking) {
    if (booking->expected_output_tokens == 0) return -1.0;
    const double produced = (double)((booking->outputs + 1) * booking->decode_block_tokens);
    const double left = 1.0 - produced / (double)booking->expected_output_tokens;
    return left > 0.0 ? left : 0.0;
}

static void count_progress(epp_told *told, uint64_t booking) {
    for (size_t i = 0; i < told->n_decode; i++)
        if (told->decode[i].booking == booking) {
            told->decode[i].output_blocks++;
            return;
        }
    told->decode[told->n_decode++] = (epp_decode_progress){.booking = booking, .output_blocks = 1};
}

static void advance(epp_ledger *ledger, uint32_t at, uint64_t hash, double now_s, epp_told *told) {
    epp_booking *booking = at_(ledger, at);
    drop_tip(ledger, at);
    /* Without memory for the chain so far, further output of this booking goes unseen. */
    if (epp_text_append(&ledger->chains, booking->decode_text, hash)) set_tip(ledger, at, hash);
    epp_ledger_output(ledger, at, expected_decay(booking));
    epp_ledger_renew(ledger, at, now_s);
    count_progress(told, booking->id);
}

void epp_ledger_seen(epp_ledger *ledger, uint32_t slot, uint64_t hash, uint64_t previous, bool is_root,
                     double now_s, epp_told *told) {
    const epp_book *book = &ledger->books[slot];
    if (book->unfinished == 0 && book->n_tips == 0) return;
    const uint32_t next = is_root || book->n_tips == 0 ? EPP_NONE : continued(ledger, slot, hash, previous);
    if (book->unfinished) finish_waiters(ledger, slot, hash, now_s, told);
    if (next == EPP_NONE) return;
    advance(ledger, next, hash, now_s, told);
    const epp_booking *booking = at_(ledger, next);
    if (booking->prefilling && booking->prefill_slot == slot) finish_by_event(ledger, next, now_s, told);
}
