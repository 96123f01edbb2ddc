/** Bookings: what was sent where and is not finished yet (docs/algorithms.md section 3).
 *
 *  A booking has a prefill leg, which ends when the prompt is computed, and a decode leg, which ends with the
 *  booking; on an aggregated worker both are on one slot. Nothing here allocates but `epp_ledger_reserve` and the
 *  text of a booking's output, which does without when there is no memory. */
#ifndef EPP_LEDGER_H
#define EPP_LEDGER_H

#include "chains.h"
#include "heap.h"

/** Neighbours in a list of bookings. */
typedef struct epp_links {
    uint32_t before, after;
} epp_links;

typedef struct epp_booking {
    uint64_t load_tokens;
    uint64_t id; /* 0: unused */
    double reserved_at_s, lease_s, estimate_s;
    uint64_t expected_output_tokens;
    uint64_t tip;     /* last block known of its output, if has_tip */
    uint64_t awaited; /* the block whose store ends its prefill, if awaiting */
    uint64_t outputs, output_units;
    uint32_t prefill_slot, decode_slot;
    uint32_t prefill_text, decode_text;  /* EPP_NONE: no full block */
    uint32_t pending_leaf, tracked_leaf; /* EPP_NONE: holds nothing there */
    uint32_t decode_blocks, decode_block_tokens;
    uint32_t unshared_blocks, unshared_weight;
    epp_links queue, waiters, tips;
    bool prefilling, awaiting, has_tip;
} epp_booking;

/** What is booked on one slot. */
typedef struct epp_book {
    uint64_t units; /* decode load in 1/65536 block */
    uint64_t active_prefill_tokens;
    uint32_t active_requests, unfinished, n_tips;
    uint32_t queue_first, queue_last;
    double last_done_s, tail_estimate_s;
    double rate_tokens, rate_seconds; /* fading sums of samples */
    double learnt_tokens_per_s;       /* 0: not learnt */
    uint32_t rate_samples;
    bool open;
    bool has_events;
} epp_book;

typedef struct epp_ledger {
    epp_memory *memory;
    double default_tokens_per_s;
    double best_rate; /* learnt, of all open books; 0: none */
    epp_book *books;  /* by slot */
    uint32_t books_capacity;
    epp_pool bookings;
    uint32_t n_bookings;
    epp_map by_id;    /* (id, 0) -> booking */
    epp_map awaiting; /* (slot, hash) -> first booking */
    epp_map tips;     /* (slot, hash) -> first booking */
    epp_heap leases;
    epp_heap estimates; /* of prefills on slots without events */
    epp_chains chains;
} epp_ledger;

/** Everything a new booking is made of. */
typedef struct epp_order {
    uint64_t id;
    double now_s, lease_s;
    uint64_t expected_output_tokens;
    uint32_t prefill_slot, decode_slot;
    const uint64_t *prefill_chain, *decode_chain; /* full blocks, each in its worker's size; NULL: unknown */
    uint32_t prefill_blocks, decode_blocks;
    uint32_t decode_block_tokens;
    bool prefill_at_once, share_blocks;
    uint64_t work_tokens, load_tokens;
} epp_order;

/** Receives what events tell; arrays have room for a slot's unfinished prefills and tips. */
typedef struct epp_told {
    epp_prefill_done *done;
    size_t n_done;
    epp_decode_progress *decode;
    size_t n_decode;
} epp_told;

void epp_ledger_init(epp_ledger *ledger, epp_memory *memory, double default_tokens_per_s);
void epp_ledger_drop(epp_ledger *ledger);

/** Slots 0 .. n_slots-1 may be opened from now on. */
bool epp_ledger_reserve_slots(epp_ledger *ledger, uint32_t n_slots);
void epp_ledger_open(epp_ledger *ledger, uint32_t slot, bool has_events);

/** The slot's engine reports, or not; room must have been reserved by `epp_ledger_reserve_estimates`. */
void epp_ledger_set_events(epp_ledger *ledger, uint32_t slot, bool has_events);
bool epp_ledger_reserve_estimates(epp_ledger *ledger);

/** True while a leg that has not ended is on `slot`. */
static inline bool epp_booking_touches(const epp_booking *booking, uint32_t slot) {
    return booking->decode_slot == slot || (booking->prefilling && booking->prefill_slot == slot);
}

/** Forget the books of a slot on which no booking has a leg. */
void epp_ledger_close(epp_ledger *ledger, uint32_t slot);

static inline epp_booking *epp_booking_at(const epp_ledger *ledger, uint32_t at) {
    return (epp_booking *)ledger->bookings.items + at;
}

/** The booking with this id, or EPP_NONE. */
static inline uint32_t epp_ledger_find(const epp_ledger *ledger, uint64_t id) {
    return epp_map_get(&ledger->by_id, id, 0);
}

/** Room for one more booking. */
bool epp_ledger_reserve(epp_ledger *ledger);

/** Enter a booking whose id is free; room must have been reserved. False: no memory, nothing changed. */
bool epp_ledger_book(epp_ledger *ledger, const epp_order *order);

/** The caller knows that the prompt is computed; false: so did we. */
bool epp_ledger_prefill_complete(epp_ledger *ledger, uint32_t at, double now_s);

/** One more block of output; `decay` >= 0 becomes the weight of what only this booking holds. */
void epp_ledger_output(epp_ledger *ledger, uint32_t at, double decay);

void epp_ledger_renew(epp_ledger *ledger, uint32_t at, double now_s);

/** End a booking. */
void epp_ledger_free(epp_ledger *ledger, uint32_t at);

/** Take as done the prefills, on slots that do not report, whose estimate has come. */
void epp_ledger_finish_estimated(epp_ledger *ledger, double now_s);

/** The engine of `slot` stored block `hash`, after `previous` unless `is_root`. */
void epp_ledger_seen(epp_ledger *ledger, uint32_t slot, uint64_t hash, uint64_t previous, bool is_root,
                     double now_s, epp_told *told);

/** What stands in for a rate that is not learnt. */
double epp_ledger_fallback_rate(const epp_ledger *ledger);

static inline uint64_t epp_whole_blocks(uint64_t units) { return (units + EPP_BLOCK_UNITS / 2) >> 16; }

static inline uint32_t epp_tracked_tree(uint32_t slot) { return 2 * slot; }
static inline uint32_t epp_pending_tree(uint32_t slot) { return 2 * slot + 1; }

#endif
