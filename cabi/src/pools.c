/* Who may serve a request at all, before anyone is compared (docs/algorithms.md section 4.2). */
#include <math.h>
#include <string.h>

#include "exact.h"
#include "pools.h"

static bool has_taint(const epp_worker_entry *worker, uint64_t name) {
    for (uint32_t i = 0; i < worker->n_taints; i++)
        if (worker->taints[i] == name) return true;
    return false;
}

double epp_taint_factor(const epp_worker_entry *worker, const epp_asked *asked) {
    double total = 0.0;
    for (size_t i = 0; i < asked->n_taints; i++)
        if (!asked->taints[i].required && has_taint(worker, asked->taints[i].name))
            total += asked->taints[i].weight;
    return total < 0.0 || total > 0.0 ? exp(-tanh(total)) : 1.0;
}

static bool has_required_taints(const epp_worker_entry *worker, const epp_asked *asked) {
    for (size_t i = 0; i < asked->n_taints; i++)
        if (asked->taints[i].required && !has_taint(worker, asked->taints[i].name)) return false;
    return true;
}

static epp_status check_pin(const epp_router *router, bool pinned, uint64_t worker_id, int32_t rank,
                            bool look_at_rank) {
    if (!pinned) return EPP_OK;
    const uint32_t at = epp_map_get(&router->worker_ids, worker_id, 0);
    if (at == EPP_NONE) return EPP_UNKNOWN_PIN;
    const bool beyond = rank >= 0 && (uint32_t)rank >= epp_worker_at(router, at)->spec.dp_size;
    return look_at_rank && beyond ? EPP_RANK_OUT_OF_RANGE : EPP_OK;
}

/** Unknown pins of either kind are told before ranks out of range. */
static epp_status check_pins(const epp_router *router, const epp_request *request) {
    const bool pin = request->flags & EPP_REQUEST_PIN, prefill = request->flags & EPP_REQUEST_PREFILL_PIN;
    for (int look_at_rank = 0; look_at_rank < 2; look_at_rank++) {
        epp_status status = check_pin(router, pin, request->pin_worker, request->pin_rank, look_at_rank);
        if (status == EPP_OK)
            status = check_pin(router, prefill, request->prefill_pin_worker, request->prefill_pin_rank,
                               look_at_rank);
        if (status != EPP_OK) return status;
    }
    return EPP_OK;
}

static bool somebody_serves(const epp_router *router) {
    for (uint32_t place = 0; place < epp_n_workers(router); place++)
        if (epp_worker_at(router, epp_ordered_worker(router, place))->spec.role != EPP_ROLE_ENCODE)
            return true;
    return false;
}

static bool reserve(const epp_router *router, epp_question *question) {
    epp_memory *memory = question->memory;
    const uint32_t ranks = router->n_ranks;
    return epp_scratch_grow(memory, &question->allowed, router->workers.used, sizeof(uint8_t)) &&
           epp_scratch_grow(memory, &question->serve, ranks, sizeof(uint32_t)) &&
           epp_scratch_grow(memory, &question->prefill, ranks, sizeof(uint32_t));
}

static void mark_allowed(const epp_router *router, const epp_asked *asked) {
    uint8_t *allowed = asked->question->allowed.items;
    const bool some = asked->request.flags & EPP_REQUEST_CANDIDATES;
    if (router->workers.used) memset(allowed, !some, router->workers.used);
    for (size_t i = 0; some && i < asked->n_candidates; i++) {
        const uint32_t at = epp_map_get(&router->worker_ids, asked->candidates[i], 0);
        if (at != EPP_NONE) allowed[at] = 1;
    }
}

static uint32_t add_ranks(const epp_worker_entry *worker, int32_t rank, uint32_t *slots, uint32_t n) {
    if (rank >= 0) {
        slots[n++] = worker->slots[rank];
        return n;
    }
    memcpy(slots + n, worker->slots, worker->spec.dp_size * sizeof *slots);
    return n + worker->spec.dp_size;
}

static void fill(const epp_router *router, const epp_asked *asked) {
    epp_question *question = asked->question;
    const epp_request *request = &asked->request;
    const bool pin = request->flags & EPP_REQUEST_PIN, prefill_pin = request->flags & EPP_REQUEST_PREFILL_PIN;
    question->n_serve = question->n_prefill = 0;
    for (uint32_t place = 0; place < epp_n_workers(router); place++) {
        const uint32_t at = epp_ordered_worker(router, place);
        const epp_worker_entry *worker = epp_worker_at(router, at);
        const uint32_t role = worker->spec.role;
        if (!((const uint8_t *)question->allowed.items)[at] || !has_required_taints(worker, asked)) continue;
        const bool serves = role == EPP_ROLE_AGGREGATED || role == EPP_ROLE_DECODE;
        if (serves && (!pin || worker->spec.worker_id == request->pin_worker))
            question->n_serve =
                add_ranks(worker, pin ? request->pin_rank : -1, question->serve.items, question->n_serve);
        const bool prefills = role == EPP_ROLE_PREFILL || (prefill_pin && role == EPP_ROLE_AGGREGATED);
        if (prefills && (!prefill_pin || worker->spec.worker_id == request->prefill_pin_worker))
            question->n_prefill = add_ranks(worker, prefill_pin ? request->prefill_pin_rank : -1,
                                            question->prefill.items, question->n_prefill);
    }
}

epp_status epp_find_pools(const epp_router *router, const epp_asked *asked) {
    if (!somebody_serves(router)) return EPP_NO_WORKERS;
    const epp_status status = check_pins(router, &asked->request);
    if (status != EPP_OK) return status;
    if (!reserve(router, asked->question)) return EPP_E_MEMORY;
    mark_allowed(router, asked);
    fill(router, asked);
    const epp_question *question = asked->question;
    const bool prefill_pin = asked->request.flags & EPP_REQUEST_PREFILL_PIN;
    return question->n_serve == 0 || (prefill_pin && question->n_prefill == 0) ? EPP_NO_CANDIDATES : EPP_OK;
}

/* --- busy workers ---------------------------------------------------------------------------------- */

static bool over(double amount, double capacity, double limit) {
    return capacity > 0.0 && amount / capacity > limit; /* false for a limit that is NaN */
}

static bool exceeds(const epp_worker_entry *worker, const epp_book *book, const epp_request *limits) {
    const double decode = (double)epp_whole_blocks(book->units);
    const double prefill = (double)book->active_prefill_tokens;
    return over(decode, (double)worker->spec.total_blocks, limits->busy_decode_fraction) ||
           over(prefill, 1.0, limits->busy_prefill_tokens) ||
           over(prefill, (double)worker->spec.max_batched_tokens, limits->busy_prefill_fraction);
}

static bool is_busy(const epp_router *router, const epp_worker_entry *worker, const epp_request *limits) {
    for (uint32_t rank = 0; rank < worker->spec.dp_size; rank++)
        if (!exceeds(worker, &router->ledger.books[worker->slots[rank]], limits)) return false;
    return true;
}

uint32_t epp_leave_out_busy(const epp_router *router, const epp_request *request, uint32_t *slots,
                            uint32_t n) {
    if (isnan(request->busy_decode_fraction) && isnan(request->busy_prefill_tokens) &&
        isnan(request->busy_prefill_fraction))
        return n;
    uint32_t kept = 0, judged = EPP_NONE;
    bool busy = false;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t worker = epp_slot_at(router, slots[i])->worker;
        if (worker != judged) busy = is_busy(router, epp_worker_at(router, worker), request);
        judged = worker;
        if (!busy) slots[kept++] = slots[i];
    }
    return kept;
}
