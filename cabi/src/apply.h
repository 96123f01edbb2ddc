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

/** Apply under the lock. `slot` EPP_NONE: an unknown worker. `ignored` holds what a decoder left out already. */
epp_status epp_apply_batch(epp_router *router, uint32_t slot, double now_s, const epp_batch *batch,
                           const uint64_t ignored[EPP_IGNORED_COUNT], epp_apply_results results);

#endif
