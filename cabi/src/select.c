/* Choosing and booking: epp.h section 7. */
#include <math.h>
#include <string.h>

#include "router.h"

static const double MAX_PARAM = 1e9; /* keeps every cost finite */

void epp_request_init(epp_request *request) {
    if (request == NULL) return;
    *request = (epp_request){
        .struct_size = sizeof *request,
        .policy = EPP_POLICY_KV,
        .flags = EPP_REQUEST_KV_REUSE | EPP_REQUEST_TRACK_PREFILL | EPP_REQUEST_DISAGG,
        .pin_rank = -1,
        .prefill_pin_rank = -1,
        .lease_s = 300.0,
        .namespace_seed = epp_namespace_seed(NULL, 0, NULL, 0),
        .overlap_credit = 1.0,
        .prefill_load_scale = 1.0,
        .host_weight = 0.75,
        .disk_weight = 0.25,
        .busy_decode_fraction = NAN,
        .busy_prefill_tokens = NAN,
        .busy_prefill_fraction = NAN,
    };
}

/* --- arguments ------------------------------------------------------------------------------------- */

static bool params_are_valid(const epp_request *request) {
    const double params[] = {
        request->overlap_credit, request->credit_decay, request->prefill_load_scale,   request->host_weight,
        request->disk_weight,    request->temperature,  request->active_request_weight};
    for (size_t i = 0; i < sizeof params / sizeof *params; i++)
        if (!(params[i] >= 0.0 && params[i] <= MAX_PARAM)) return false;
    return true;
}

static bool request_is_valid(const epp_request *request) {
    return request->policy <= EPP_POLICY_POWER_OF_TWO && isfinite(request->now_s) &&
           isfinite(request->lease_s) && request->lease_s > 0.0 &&
           request->hash_block_tokens <= EPP_MAX_BLOCK_TOKENS && request->pin_rank >= -1 &&
           request->prefill_pin_rank >= -1 && params_are_valid(request);
}

static bool taints_are_valid(const epp_taint *taints, size_t n_taints) {
    for (size_t i = 0; i < n_taints; i++)
        if (!isfinite(taints[i].weight)) return false;
    return true;
}

/** Copy what the caller knows of a request over the defaults. */
static bool read_request(const epp_request *from, epp_request *to) {
    epp_request_init(to);
    if (from == NULL || from->struct_size < offsetof(epp_request, namespace_seed)) return false;
    memcpy(to, from, from->struct_size < sizeof *to ? from->struct_size : sizeof *to);
    return true;
}

static bool read_asked(epp_asked *asked, const epp_request *request, const void *tokens, size_t n_tokens,
                       const uint64_t *candidates, size_t n_candidates, const epp_taint *taints,
                       size_t n_taints) {
    *asked = (epp_asked){.tokens = tokens,
                         .n_tokens = (uint32_t)n_tokens,
                         .candidates = candidates,
                         .n_candidates = n_candidates,
                         .taints = taints,
                         .n_taints = n_taints};
    if (n_tokens > EPP_MAX_PROMPT_TOKENS || epp_missing(candidates, n_candidates) ||
        epp_missing(taints, n_taints) || !read_request(request, &asked->request))
        return false;
    const uint32_t hashed = asked->request.hash_block_tokens;
    return request_is_valid(&asked->request) && taints_are_valid(taints, n_taints) &&
           !epp_missing(tokens, hashed ? n_tokens / hashed : n_tokens);
}

/* --- answers --------------------------------------------------------------------------------------- */

static uint64_t cached_tokens(const epp_asked *asked, const epp_candidate *candidate) {
    return epp_usable_tokens(asked->n_tokens, candidate->runs.disk, candidate->block_tokens);
}

static void write_row(const epp_router *router, const epp_asked *asked, uint32_t phase,
                      const epp_candidate *c, epp_terms *out) {
    const bool predict = epp_predicts(&asked->request) && phase != EPP_PHASE_DECODE;
    *out = (epp_terms){
        .worker_id = epp_worker_at(router, c->worker)->spec.worker_id,
        .rank = epp_slot_at(router, c->slot)->rank,
        .phase = phase,
        .device_blocks = c->runs.device,
        .host_blocks = c->runs.host - c->runs.device,
        .disk_blocks = c->runs.disk - c->runs.host,
        .request_blocks = c->request_blocks,
        .cached_tokens = cached_tokens(asked, c),
        .uncached_tokens = c->uncached_tokens,
        .active_prefill_tokens = c->active_prefill_tokens,
        .potential_decode_blocks = c->potential_decode_blocks,
        .active_requests = c->active_requests,
        .load = epp_slot_at(router, c->slot)->load,
        .prefill_tokens_per_s = c->learnt_tokens_per_s,
        .predicted_ttft_s = predict ? c->queue_s + c->own_s : 0.0,
        .cost = c->cost,
    };
}

static void write_rows(const epp_router *router, const epp_asked *asked, epp_terms *terms) {
    const epp_question *question = asked->question;
    for (uint32_t i = 0; i < question->n_legs; i++)
        for (uint32_t j = 0; j < question->legs[i].n; j++)
            write_row(router, asked, question->legs[i].phase,
                      epp_candidate_at(question, question->legs[i].first + j), terms++);
}

static void write_selection(const epp_router *router, const epp_asked *asked, const epp_candidate *prefill,
                            const epp_candidate *decode, epp_selection *out) {
    const epp_question *question = asked->question;
    const epp_leg *leg = &question->legs[0];
    uint64_t best = 0;
    for (uint32_t i = 0; i < leg->n; i++) {
        const uint64_t cached = cached_tokens(asked, epp_candidate_at(question, leg->first + i));
        if (cached > best) best = cached;
    }
    const bool split = question->n_legs > 1;
    *out = (epp_selection){
        .worker_id = epp_worker_at(router, decode->worker)->spec.worker_id,
        .prefill_worker_id = split ? epp_worker_at(router, prefill->worker)->spec.worker_id : 0,
        .rank = epp_slot_at(router, decode->slot)->rank,
        .prefill_rank = split ? epp_slot_at(router, prefill->slot)->rank : 0,
        .split = split,
        .block_tokens = epp_worker_at(router, prefill->worker)->known_block_tokens,
        .prompt_tokens = asked->n_tokens,
        .cached_tokens = cached_tokens(asked, prefill),
        .best_cached_tokens = best,
        .uncached_tokens = prefill->uncached_tokens,
        .cost = prefill->cost,
        .predicted_ttft_s = epp_predicts(&asked->request) ? prefill->queue_s + prefill->own_s : 0.0,
    };
}

/* --- booking --------------------------------------------------------------------------------------- */

static bool reports(const epp_router *router, const epp_candidate *candidate) {
    return epp_worker_at(router, candidate->worker)->spec.has_events;
}

static epp_order order_of(const epp_router *router, const epp_asked *asked, const epp_candidate *prefill,
                          const epp_candidate *decode) {
    const epp_request *request = &asked->request;
    epp_order order = {
        .id = request->booking,
        .now_s = request->now_s,
        .lease_s = request->lease_s,
        .expected_output_tokens = request->expected_output_tokens,
        .prefill_slot = prefill->slot,
        .decode_slot = decode->slot,
        .decode_block_tokens = decode->block_tokens,
        .share_blocks = request->flags & EPP_REQUEST_KV_REUSE && asked->question->n_legs == 1,
        .work_tokens = (uint64_t)floor(prefill->work_tokens + 0.5),
    };
    order.prefill_chain = epp_prompt_hashes(asked->question, prefill->block_tokens, &order.prefill_blocks);
    order.decode_chain = epp_prompt_hashes(asked->question, decode->block_tokens, &order.decode_blocks);
    order.load_tokens = request->flags & EPP_REQUEST_TRACK_PREFILL ? order.work_tokens : 0;
    order.prefill_at_once =
        reports(router, prefill) ? prefill->runs.device == order.prefill_blocks : order.work_tokens == 0;
    return order;
}

/** Believe that a worker which does not report now holds the prompt. Room must have been reserved. */
static void predict(epp_router *router, const epp_asked *asked, const epp_candidate *candidate,
                    uint32_t seed_id) {
    if (reports(router, candidate)) return;
    uint32_t n = 0;
    const uint64_t *chain = epp_prompt_hashes(asked->question, candidate->block_tokens, &n);
    if (chain == NULL) return;
    epp_index_predict(&router->index, epp_shelf_of(router, candidate->slot), chain, n, seed_id,
                      asked->request.now_s + router->options.predicted_ttl_s);
}

static uint64_t guesses_for(const epp_router *router, const epp_asked *asked,
                            const epp_candidate *candidate) {
    uint32_t n = 0;
    (void)epp_prompt_hashes(asked->question, candidate->block_tokens, &n);
    return reports(router, candidate) ? 0 : n;
}

static epp_status book(epp_router *router, const epp_asked *asked, const epp_candidate *prefill,
                       const epp_candidate *decode) {
    const uint64_t guesses =
        guesses_for(router, asked, prefill) + (prefill == decode ? 0 : guesses_for(router, asked, decode));
    uint32_t seed_id = EPP_NONE;
    if (!epp_ledger_reserve(&router->ledger)) return EPP_E_MEMORY;
    if (guesses) {
        if (!epp_index_reserve(&router->index, guesses, guesses)) return EPP_E_MEMORY;
        seed_id = epp_index_seed(&router->index, asked->request.namespace_seed);
        if (seed_id == EPP_NONE) return EPP_E_MEMORY;
    }
    const epp_order order = order_of(router, asked, prefill, decode);
    const bool booked = epp_ledger_book(&router->ledger, &order);
    if (booked) {
        predict(router, asked, prefill, seed_id);
        if (decode != prefill) predict(router, asked, decode, seed_id);
    }
    if (seed_id != EPP_NONE) epp_index_release_seed(&router->index, seed_id);
    return booked ? EPP_OK : EPP_E_MEMORY;
}

/* --- asking ---------------------------------------------------------------------------------------- */

static epp_status check_bookable(const epp_router *router, const epp_request *request) {
    if (request->booking == 0) return EPP_OK;
    if (epp_ledger_find(&router->ledger, request->booking) != EPP_NONE) return EPP_E_DUPLICATE;
    return router->ledger.n_bookings >= router->options.max_bookings ? EPP_E_CAPACITY : EPP_OK;
}

/** Begin to read residency, and find who may serve and what they hold; ends reading unless that is EPP_OK. Block
 *  sizes that come as a surprise are hashed while not reading. */
static epp_status survey(epp_router *router, uint32_t lane, const epp_asked *asked) {
    epp_status status = epp_ask_begin(router, asked);
    if (status != EPP_OK) return status;
    do {
        epp_read_begin(&router->residency, lane);
        status = epp_ask_who(router, asked);
        if (status == EPP_OK && asked->question->n_hashed == asked->question->n_chains) {
            status = epp_ask_held(router, asked);
            if (status == EPP_OK) return EPP_OK;
        }
        epp_read_end(&router->residency, lane);
    } while (status == EPP_OK && epp_ask_hash(asked));
    return status;
}

/** What `survey` found, anew if it is no longer so. */
static epp_status survey_again(const epp_router *router, const epp_asked *asked) {
    if (epp_ask_is_fresh(router, asked)) return EPP_OK;
    const epp_status status = epp_ask_who(router, asked);
    if (status != EPP_OK) return status;
    (void)epp_ask_hash(asked);
    return epp_ask_held(router, asked);
}

/* --- choosing -------------------------------------------------------------------------------------- */

/** Where the answers to a select go. */
typedef struct answers {
    epp_selection *selection;
    epp_terms *terms;
    size_t terms_capacity;
    size_t *n_terms; /* NULL: nobody asks for terms */
} answers;

/** Who was chosen; the same twice unless the legs are two. */
typedef struct choice {
    const epp_candidate *prefill, *decode;
} choice;

static const epp_candidate *chosen_of(const epp_router *router, const epp_asked *asked, uint32_t leg,
                                      uint64_t *random) {
    const epp_leg *made = &asked->question->legs[leg];
    return epp_candidate_at(asked->question, made->first + epp_choose(router, asked, made, random));
}

static epp_status choose(const epp_router *router, const epp_asked *asked, const answers *to, choice *made) {
    const epp_status status = epp_ask_costs(router, asked);
    if (status != EPP_OK) return status;
    const epp_question *question = asked->question;
    if (to->n_terms && to->terms_capacity < question->n_candidates) {
        *to->n_terms = question->n_candidates;
        return EPP_E_BUFFER;
    }
    uint64_t random = asked->request.seed;
    made->prefill = chosen_of(router, asked, 0, &random);
    made->decode = question->n_legs > 1 ? chosen_of(router, asked, 1, &random) : made->prefill;
    return EPP_OK;
}

static void answer(const epp_router *router, const epp_asked *asked, const answers *to, choice made) {
    write_selection(router, asked, made.prefill, made.decode, to->selection);
    if (to->n_terms == NULL) return;
    write_rows(router, asked, to->terms);
    *to->n_terms = asked->question->n_candidates;
}

/** Choose, beside other readers. */
static epp_status select_only(epp_router *router, uint32_t lane, const epp_asked *asked, const answers *to) {
    choice made;
    epp_status status = survey(router, lane, asked);
    if (status != EPP_OK) return status;
    epp_read_begin(&router->books, lane);
    status = choose(router, asked, to, &made);
    if (status == EPP_OK) answer(router, asked, to, made);
    epp_read_end(&router->books, lane);
    epp_read_end(&router->residency, lane);
    return status;
}

/* --- choosing and booking -------------------------------------------------------------------------- */

/** Choose and enter the choice in the books. */
static epp_status enter(epp_router *router, const epp_asked *asked, const answers *to) {
    choice made;
    const epp_request *request = &asked->request;
    epp_status status = check_bookable(router, request);
    if (status == EPP_OK) status = choose(router, asked, to, &made);
    if (status == EPP_OK && request->booking) status = book(router, asked, made.prefill, made.decode);
    if (status != EPP_OK) return status;
    const epp_question *question = asked->question;
    if (request->policy == EPP_POLICY_ROUND_ROBIN)
        for (uint32_t i = 0; i < question->n_legs; i++) router->turns[question->legs[i].phase]++;
    answer(router, asked, to, made);
    return EPP_OK;
}

/** That a booking is impossible is told before that a choice is. */
static epp_status refuse(epp_router *router, uint32_t lane, const epp_asked *asked, epp_status status) {
    epp_read_begin(&router->books, lane);
    const epp_status bookable = check_bookable(router, &asked->request);
    epp_read_end(&router->books, lane);
    return bookable == EPP_OK ? status : bookable;
}

/** As `select_and_enter`, where bookings are remembered as residency too. */
static epp_status select_and_predict(epp_router *router, uint32_t lane, const epp_asked *asked,
                                     const answers *to) {
    const uint64_t guesses = 2 * (uint64_t)asked->question->n_hashes; /* on both legs */
    epp_leftovers left = epp_no_leftovers();
    if (!epp_change_begin_with_room(router, guesses, guesses, &left))
        return refuse(router, lane, asked, EPP_E_MEMORY);
    epp_status status = check_bookable(router, &asked->request);
    if (status == EPP_OK) status = survey_again(router, asked);
    if (status == EPP_OK) status = enter(router, asked, to);
    epp_change_end(router);
    epp_dispose(router, &left);
    return status;
}

/** Choose and change the books: a booking, or whose turn it is. */
static epp_status select_and_enter(epp_router *router, uint32_t lane, const epp_asked *asked,
                                   const answers *to) {
    epp_status status = survey(router, lane, asked);
    if (status != EPP_OK) return refuse(router, lane, asked, status);
    const bool predicts = router->n_silent > 0 && asked->request.booking;
    if (!predicts) {
        epp_write_begin(&router->books);
        status = enter(router, asked, to);
        epp_write_end(&router->books);
    }
    epp_read_end(&router->residency, lane);
    return predicts ? select_and_predict(router, lane, asked, to) : status;
}

/* --- the calls ------------------------------------------------------------------------------------- */

/** Both calls; `router` and `asked` have been read. */
static epp_status ask(epp_router *router, epp_asked *asked, const answers *to) {
    const bool enters = asked->request.booking || asked->request.policy == EPP_POLICY_ROUND_ROBIN;
    const uint32_t lane = epp_lane_take(&router->lanes);
    asked->question = &router->workspaces[lane].question;
    const epp_status status =
        enters ? select_and_enter(router, lane, asked, to) : select_only(router, lane, asked, to);
    epp_lane_give(&router->lanes, lane);
    return status;
}

static bool missing_answers(const answers *to) {
    return to->selection == NULL || epp_missing(to->terms, to->terms_capacity) ||
           (to->terms && to->n_terms == NULL);
}

epp_status epp_select_worker(epp_router *router, const epp_request *request, const void *tokens,
                             size_t n_tokens, const uint64_t *candidates, size_t n_candidates,
                             const epp_taint *taints, size_t n_taints, epp_selection *out, epp_terms *terms,
                             size_t terms_capacity, size_t *n_terms) {
    epp_asked asked;
    const answers to = {out, terms, terms_capacity, n_terms};
    if (router == NULL || missing_answers(&to) ||
        !read_asked(&asked, request, tokens, n_tokens, candidates, n_candidates, taints, n_taints) ||
        asked.request.booking)
        return EPP_E_ARGUMENT;
    return ask(router, &asked, &to);
}

epp_status epp_select_and_reserve(epp_router *router, const epp_request *request, const void *tokens,
                                  size_t n_tokens, const uint64_t *candidates, size_t n_candidates,
                                  const epp_taint *taints, size_t n_taints, epp_selection *out,
                                  epp_terms *terms, size_t terms_capacity, size_t *n_terms) {
    epp_asked asked;
    const answers to = {out, terms, terms_capacity, n_terms};
    if (router == NULL || missing_answers(&to) ||
        !read_asked(&asked, request, tokens, n_tokens, candidates, n_candidates, taints, n_taints) ||
        !asked.request.booking)
        return EPP_E_ARGUMENT;
    return ask(router, &asked, &to);
}

/** Rows of a question that was answered with `status`; none if it was refused. */
static epp_status write_terms(const epp_router *router, const epp_asked *asked, epp_status status,
                              const answers *to) {
    if (status == EPP_E_MEMORY) return status;
    *to->n_terms = status == EPP_OK ? asked->question->n_candidates : 0;
    if (to->terms_capacity < *to->n_terms) return EPP_E_BUFFER;
    if (*to->n_terms) write_rows(router, asked, to->terms);
    return EPP_OK;
}

static epp_status measure(epp_router *router, uint32_t lane, const epp_asked *asked, const answers *to) {
    epp_status status = survey(router, lane, asked);
    if (status != EPP_OK) return write_terms(router, asked, status, to);
    epp_read_begin(&router->books, lane);
    status = write_terms(router, asked, epp_ask_costs(router, asked), to);
    epp_read_end(&router->books, lane);
    epp_read_end(&router->residency, lane);
    return status;
}

epp_status epp_router_measure(epp_router *router, const epp_request *request, const void *tokens,
                              size_t n_tokens, const uint64_t *candidates, size_t n_candidates,
                              const epp_taint *taints, size_t n_taints, epp_terms *terms,
                              size_t terms_capacity, size_t *n_terms) {
    epp_asked asked;
    if (router == NULL || n_terms == NULL || epp_missing(terms, terms_capacity) ||
        !read_asked(&asked, request, tokens, n_tokens, candidates, n_candidates, taints, n_taints))
        return EPP_E_ARGUMENT;
    const answers to = {NULL, terms, terms_capacity, n_terms};
    const uint32_t lane = epp_lane_take(&router->lanes);
    asked.question = &router->workspaces[lane].question;
    const epp_status status = measure(router, lane, &asked, &to);
    epp_lane_give(&router->lanes, lane);
    return status;
}
