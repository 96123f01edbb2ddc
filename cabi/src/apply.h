/** Applying a batch of KV events to one slot (docs/algorithms.md section 2.2). */
#ifndef EPP_APPLY_H
#define EPP_APPLY_H

#include "router.h"

/** A batch: events and the buffers their offsets count in. */
typedef struct epp_batch {
    const epp_event *events;
    size_t n_events;
    const uint64_t *hashes;
    size_t n_hashes;
    const uint8_t *tokens;
    size_t n_tokens;
    const uint32_t *mm_counts; /* NULL: no block holds anything but tokens */
    size_t n_mm_counts;
    const uint64_t *mm_hashes;
    size_t n_mm_hashes;
} epp_batch;

/** Where results go. */
typedef struct epp_apply_results {
    epp_report *report;
    epp_prefill_done *done;
    size_t done_capacity;
    size_t *n_done;
    epp_decode_progress *decode;
    size_t decode_capacity;
    size_t *n_decode;
} epp_apply_results;

/** Whether there is a place for every result. */
static inline bool epp_has_room_for(const epp_apply_results *results) {
    return results->report && results->n_done && results->n_decode &&
           !epp_missing(results->done, results->done_capacity) &&
           !epp_missing(results->decode, results->decode_capacity);
}

/** How many blocks a batch may add. */
uint64_t epp_stored_blocks_in(const epp_batch *batch);

/** Apply under the lock. `slot` EPP_NONE: an unknown worker. `ignored` holds what a decoder left out already. What the
 *  rank lost by it is added to `leaving`. */
epp_status epp_apply_batch(epp_router *router, uint32_t slot, double now_s, const epp_batch *batch,
                           const uint64_t ignored[EPP_IGNORED_COUNT], epp_apply_results results,
                           epp_leftovers *left);

#endif
