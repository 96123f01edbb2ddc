/* One request put to the router's state: every candidate's numbers (docs/algorithms.md section 4.1).
 * Reads only. Working memory is kept in router->question. */
#include <assert.h>
#include <string.h>

#include "blocks.h"
#include "pools.h"

/* --- the prompt in each block size ----------------------------------------------------------------- */

static const epp_prompt_chain *find_chain(const epp_router *router, uint32_t block_tokens) {
    const epp_prompt_chain *chains = router->question.chains.items;
    for (uint32_t i = 0; i < router->question.n_chains; i++)
        if (chains[i].block_tokens == block_tokens) return &chains[i];
    return NULL;
}

const uint64_t *epp_prompt_hashes(const epp_router *router, uint32_t block_tokens, uint32_t *n) {
    const epp_prompt_chain *chain = find_chain(router, block_tokens);
    assert(chain != NULL);
    *n = chain->n;
    return (const uint64_t *)router->question.hashes.items + chain->first;
}

/** Hash the prompt in a size, unless that is done. */
static bool add_chain(epp_router *router, const epp_asked *asked, uint32_t block_tokens) {
    epp_question *question = &router->question;
    if (find_chain(router, block_tokens)) return true;
    const uint32_t n = asked->n_tokens / block_tokens;
    if (!epp_scratch_grow(router, &question->hashes, (uint64_t)question->n_hashes + n, sizeof(uint64_t)) ||
        !epp_scratch_grow(router, &question->chains, (uint64_t)question->n_chains + 1,
                          sizeof(epp_prompt_chain)))
        return false;
    ((epp_prompt_chain *)question->chains.items)[question->n_chains++] =
        (epp_prompt_chain){.block_tokens = block_tokens, .n = n, .first = question->n_hashes};
    if (n)
        epp_chain_blocks(asked->tokens, n, block_tokens, asked->request.namespace_seed, NULL,
                         (uint64_t *)question->hashes.items + question->n_hashes);
    question->n_hashes += n;
    return true;
}

static uint32_t block_tokens_of(const epp_router *router, uint32_t slot) {
    return epp_effective_block_tokens(router, epp_worker_at(router, epp_slot_at(router, slot)->worker));
}

/* --- runs ------------------------------------------------------------------------------------------ */

static uint32_t n_words(const epp_router *router) { return router->slots.used / 64 + 1; }

static bool reserve_runs(epp_router *router) {
    epp_question *question = &router->question;
    const uint32_t slots = router->slots.used, words = n_words(router);
    return epp_scratch_grow(router, &question->live, 3 * (uint64_t)words, sizeof(uint64_t)) &&
           epp_scratch_grow(router, &question->live_words, words, sizeof(uint32_t)) &&
           epp_scratch_grow(router, &question->pending, slots, sizeof(uint32_t)) &&
           epp_scratch_grow(router, &question->runs, slots, sizeof(epp_runs)) &&
           epp_scratch_grow(router, &question->reach, slots, sizeof(epp_runs));
}

static void walk(epp_router *router, uint32_t block_tokens, const uint32_t *pending, epp_runs *runs) {
    epp_question *question = &router->question;
    uint32_t n = 0;
    const uint64_t *chain = epp_prompt_hashes(router, block_tokens, &n);
    epp_index_walk(&router->index, chain, n, question->live.items, n_words(router),
                   question->live_words.items, pending, runs);
}

static void set_live(epp_router *router, uint32_t slot) {
    ((uint64_t *)router->question.live.items)[slot / 64] |= UINT64_C(1) << (slot % 64);
}

static void clear_live(epp_router *router) {
    memset(router->question.live.items, 0, n_words(router) * sizeof(uint64_t));
}

/** Runs of a pool, one walk for each block size in it. */
static bool find_runs(epp_router *router, const epp_asked *asked, const uint32_t *slots, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (!add_chain(router, asked, block_tokens_of(router, slots[i]))) return false;
    const epp_prompt_chain *chains = router->question.chains.items;
    for (uint32_t c = 0; c < router->question.n_chains; c++) {
        bool any = false;
        clear_live(router);
        for (uint32_t i = 0; i < n; i++) {
            if (block_tokens_of(router, slots[i]) != chains[c].block_tokens) continue;
            set_live(router, slots[i]);
            any = true;
        }
        if (any) walk(router, chains[c].block_tokens, NULL, router->question.runs.items);
    }
    return true;
}

/** How many first blocks of the prompt will be resident when the prefills booked on a slot are done. */
static uint32_t pending_run(const epp_router *router, uint32_t slot) {
    if (router->ledger.books[slot].unfinished == 0) return 0;
    uint32_t n = 0;
    const uint64_t *chain = epp_prompt_hashes(router, block_tokens_of(router, slot), &n);
    return epp_chains_follow(&router->ledger.chains, epp_pending_tree(slot), chain, n).matched;
}

/** Runs that count pending blocks as resident; most slots have none beyond what is resident. */
static void find_reach(epp_router *router, const uint32_t *slots, uint32_t n) {
    const epp_runs *runs = router->question.runs.items;
    epp_runs *reach = router->question.reach.items;
    uint32_t *pending = router->question.pending.items;
    bool any = false;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t slot = slots[i];
        reach[slot] = runs[slot];
        pending[slot] = pending_run(router, slot);
        any |= pending[slot] > runs[slot].device;
    }
    const epp_prompt_chain *chains = router->question.chains.items;
    for (uint32_t c = 0; any && c < router->question.n_chains; c++) {
        clear_live(router);
        for (uint32_t i = 0; i < n; i++)
            if (pending[slots[i]] > runs[slots[i]].device &&
                block_tokens_of(router, slots[i]) == chains[c].block_tokens)
                set_live(router, slots[i]);
        walk(router, chains[c].block_tokens, pending, reach);
    }
}

/* --- candidates ------------------------------------------------------------------------------------ */

/** Prompt tokens left to compute when a cached block saves its weight. */
static double uncached(const epp_asked *asked, epp_runs runs, uint32_t block_tokens, double device,
                       double host, double disk) {
    if (runs.disk == 0) return asked->n_tokens;
    const double saved =
        device * runs.device + host * (runs.host - runs.device) + disk * (runs.disk - runs.host);
    const double left = (double)asked->n_tokens - (double)block_tokens * saved;
    return left > 0.0 ? left : 0.0;
}

/** How much of the prompt at the head of the queue is computed by now, reckoned by time. */
static double progress_tokens(const epp_router *router, const epp_book *book, double now_s, double rate) {
    if (book->queue_first == EPP_NONE) return 0.0;
    const epp_booking *head = epp_booking_at(&router->ledger, book->queue_first);
    const double turn_s = head->reserved_at_s < book->last_done_s ? book->last_done_s : head->reserved_at_s;
    const double elapsed_s = now_s - turn_s > 0.0 ? now_s - turn_s : 0.0;
    const double done = rate * elapsed_s, load = (double)head->load_tokens;
    return done < load ? done : load;
}

/** How long the queue and the prompt itself will take. */
static void set_rate(epp_router *router, epp_candidate *candidate, double now_s) {
    const epp_book *book = &router->ledger.books[candidate->slot];
    const double rate = candidate->learnt_tokens_per_s > 0.0 ? candidate->learnt_tokens_per_s
                                                             : epp_ledger_fallback_rate(&router->ledger);
    const double progress = progress_tokens(router, book, now_s, rate);
    candidate->tokens_per_s = rate;
    candidate->queue_s = ((double)book->active_prefill_tokens - progress) / rate;
    candidate->own_s = candidate->work_tokens / rate;
}

static void describe(epp_router *router, const epp_asked *asked, uint32_t phase, uint32_t slot,
                     epp_candidate *out) {
    const epp_request *request = &asked->request;
    const epp_book *book = &router->ledger.books[slot];
    const bool decode = phase == EPP_PHASE_DECODE;
    const bool pending_counts = request->policy == EPP_POLICY_TTFT && !decode;
    const bool credited = !decode && request->overlap_credit > 0.0;
    const epp_worker_entry *worker = epp_worker_at(router, epp_slot_at(router, slot)->worker);
    const uint32_t block_tokens = epp_effective_block_tokens(router, worker);
    uint32_t full = 0;
    const uint64_t *chain = epp_prompt_hashes(router, block_tokens, &full);
    const epp_runs runs = ((const epp_runs *)router->question.runs.items)[slot];
    const epp_runs reach = pending_counts ? ((const epp_runs *)router->question.reach.items)[slot] : runs;
    *out = (epp_candidate){
        .slot = slot,
        .worker = epp_slot_at(router, slot)->worker,
        .block_tokens = block_tokens,
        .prompt_tokens = asked->n_tokens,
        .request_blocks = full + ((uint64_t)full * block_tokens < asked->n_tokens),
        .learnt_tokens_per_s = book->learnt_tokens_per_s,
        .runs = runs,
        .uncached_tokens =
            uncached(asked, runs, block_tokens, credited ? request->overlap_credit : 0.0,
                     credited ? request->host_weight : 0.0, credited ? request->disk_weight : 0.0),
        .work_tokens = uncached(asked, reach, block_tokens, 1.0, request->host_weight, request->disk_weight),
        .resident_blocks = router->index.slot_pairs[slot],
        .total_blocks = worker->spec.total_blocks,
        .active_prefill_tokens = book->active_prefill_tokens,
        .active_decode_blocks = epp_whole_blocks(book->units),
        .active_requests = book->active_requests,
    };
    uint64_t blocks = out->request_blocks;
    if (!decode && request->flags & EPP_REQUEST_KV_REUSE && book->active_requests)
        blocks -= epp_chains_follow(&router->ledger.chains, epp_tracked_tree(slot), chain, full).matched;
    out->potential_decode_blocks = epp_whole_blocks(book->units + (blocks << 16));
    if (epp_predicts(request)) set_rate(router, out, request->now_s);
}

static bool add_leg(epp_router *router, const epp_asked *asked, uint32_t phase, const uint32_t *slots,
                    uint32_t n) {
    epp_question *question = &router->question;
    const uint32_t first = question->n_candidates;
    if (!epp_scratch_grow(router, &question->candidates, (uint64_t)first + n, sizeof(epp_candidate)) ||
        !epp_scratch_grow(router, &question->weights, n, sizeof(double)))
        return false;
    if (asked->request.policy == EPP_POLICY_TTFT && phase != EPP_PHASE_DECODE) find_reach(router, slots, n);
    for (uint32_t i = 0; i < n; i++)
        describe(router, asked, phase, slots[i], epp_candidate_at(router, first + i));
    question->n_candidates += n;
    const epp_leg leg = {.phase = phase, .first = first, .n = n};
    epp_set_costs(router, asked, &leg);
    question->legs[question->n_legs++] = leg;
    return true;
}

/* --- legs ------------------------------------------------------------------------------------------ */

uint64_t epp_usable_tokens(uint64_t prompt_tokens, uint32_t run_blocks, uint32_t block_tokens) {
    if (prompt_tokens == 0) return 0;
    const uint64_t most = (prompt_tokens - 1) / block_tokens * block_tokens;
    const uint64_t run = (uint64_t)run_blocks * block_tokens;
    return run < most ? run : most;
}

static uint64_t most_cached_tokens(const epp_router *router, uint64_t prompt_tokens) {
    const epp_question *question = &router->question;
    const uint32_t *slots = question->serve.items;
    const epp_runs *runs = question->runs.items;
    uint64_t most = 0;
    for (uint32_t i = 0; i < question->n_serve; i++) {
        const uint64_t tokens =
            epp_usable_tokens(prompt_tokens, runs[slots[i]].disk, block_tokens_of(router, slots[i]));
        if (tokens > most) most = tokens;
    }
    return most;
}

/** Whether prefill and decode go to different workers. */
static bool splits(const epp_router *router, const epp_asked *asked) {
    const epp_request *request = &asked->request;
    if (router->question.n_prefill == 0) return false;
    if (request->flags & EPP_REQUEST_PREFILL_PIN) return true;
    return request->flags & EPP_REQUEST_DISAGG && asked->n_tokens >= request->disagg_min_prompt_tokens &&
           asked->n_tokens - most_cached_tokens(router, asked->n_tokens) >=
               request->disagg_min_uncached_tokens;
}

epp_status epp_ask(epp_router *router, const epp_asked *asked) {
    epp_question *question = &router->question;
    question->n_hashes = question->n_chains = question->n_candidates = question->n_legs = 0;
    const epp_status status = epp_find_pools(router, asked);
    if (status != EPP_OK) return status;
    uint32_t *serve = question->serve.items, *prefill = question->prefill.items;
    if (!reserve_runs(router) || !find_runs(router, asked, serve, question->n_serve)) return EPP_E_MEMORY;
    const bool split = splits(router, asked);
    question->n_serve = epp_leave_out_busy(router, &asked->request, serve, question->n_serve);
    if (split)
        question->n_prefill = epp_leave_out_busy(router, &asked->request, prefill, question->n_prefill);
    if (question->n_serve == 0 || (split && question->n_prefill == 0)) return EPP_OVERLOADED;
    if (!split)
        return add_leg(router, asked, EPP_PHASE_AGGREGATED, serve, question->n_serve) ? EPP_OK : EPP_E_MEMORY;
    const bool made = find_runs(router, asked, prefill, question->n_prefill) &&
                      add_leg(router, asked, EPP_PHASE_PREFILL, prefill, question->n_prefill) &&
                      add_leg(router, asked, EPP_PHASE_DECODE, serve, question->n_serve);
    return made ? EPP_OK : EPP_E_MEMORY;
}
