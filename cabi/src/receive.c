/* An engine's message as it came: epp_router_apply_payload.
 *
 * Decoding takes longer than applying, and of the router it needs to know only the rank's foreign groups. So it
 * is done before the router is locked, and again in the rare case that another call has changed them meanwhile. */
#include <math.h>

#include "engine.h"

/** A message, decoded when `groups_before` was known of its rank. */
typedef struct decoded {
    epp_batch batch;
    uint64_t ignored[EPP_IGNORED_COUNT];
    uint64_t groups_before, groups;
} decoded;

static uint64_t groups_of(const epp_router *router, uint32_t slot) {
    return slot == EPP_NONE ? 0 : epp_slot_at(router, slot)->foreign_groups;
}

static bool decode(epp_message *message, const void *payload, size_t n_payload, uint64_t groups,
                   decoded *out) {
    *out = (decoded){.groups_before = groups, .groups = groups};
    return epp_decode_payload(message, payload, n_payload, &out->groups, &out->batch, out->ignored);
}

static epp_status apply(epp_router *router, uint32_t slot, double now_s, const decoded *from,
                        epp_apply_results results, epp_leftovers *left) {
    const epp_status status =
        epp_apply_batch(router, slot, now_s, &from->batch, from->ignored, results, left);
    if (status == EPP_OK && slot != EPP_NONE) epp_slot_at(router, slot)->foreign_groups = from->groups;
    return status;
}

epp_status epp_router_apply_payload(epp_router *router, uint64_t worker_id, uint32_t rank, double now_s,
                                    const void *payload, size_t n_payload, epp_report *report,
                                    epp_prefill_done *done, size_t done_capacity, size_t *n_done,
                                    epp_decode_progress *decode_progress, size_t decode_capacity,
                                    size_t *n_decode) {
    const epp_apply_results results = {report,          done,    done_capacity, n_done, decode_progress,
                                       decode_capacity, n_decode};
    if (router == NULL || epp_missing(payload, n_payload) || !epp_has_room_for(&results) || !isfinite(now_s))
        return EPP_E_ARGUMENT;
    const uint32_t lane = epp_lane_take(&router->lanes);
    epp_message *message = &router->workspaces[lane].message;
    epp_read_begin(&router->residency, lane);
    const uint64_t groups = groups_of(router, epp_find_slot(router, worker_id, rank));
    epp_read_end(&router->residency, lane);
    decoded from;
    epp_leftovers left = epp_no_leftovers();
    uint32_t slot = EPP_NONE;
    epp_status status = decode(message, payload, n_payload, groups, &from) ? EPP_OK : EPP_E_MEMORY;
    if (status == EPP_OK &&
        !epp_change_begin_for_rank(router, worker_id, rank, epp_stored_blocks_in(&from.batch), &slot, &left))
        status = EPP_E_MEMORY;
    if (status == EPP_OK) {
        const bool again = groups_of(router, slot) != from.groups_before;
        if (again && !decode(message, payload, n_payload, groups_of(router, slot), &from))
            status = EPP_E_MEMORY;
        if (status == EPP_OK) status = apply(router, slot, now_s, &from, results, &left);
        epp_change_end(router);
    }
    epp_dispose(router, &left);
    epp_lane_give(&router->lanes, lane);
    return status;
}
