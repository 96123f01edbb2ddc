/* One request put to the router's state: every candidate's numbers (docs/algorithms.md section 4.1).
 *
 * Reads only, step by step as router.h names them: hashing needs no hold on the router; who may serve and what they
 * hold is found beside other readers; a booking counts costs alone, for they change with every booking. */
#include <assert.h>
#include <string.h>

#include "blocks.h"
#include "exact.h"
#include "pools.h"

/* --- the prompt in each block size ----------------------------------------------------------------- */

static epp_prompt_chain *find_chain(const epp_question *question, uint32_t block_tokens) {
    epp_prompt_chain *chains = question->chains.items;
    for (uint32_t i = 0; i < question->n_chains; i++)
        if (chains[i].block_tokens == block_tokens) return &chains[i];
    return NULL;
}

const uint64_t *epp_prompt_hashes(const epp_question *question, uint32_t block_tokens, uint32_t *n) {
    const epp_prompt_chain *chain = find_chain(question, block_tokens);
    assert(chain != NULL);
    *n = chain->n;
    return chain->first == EPP_NONE ? NULL : (const uint64_t *)question->hashes.items + chain->first;
}

/** Name a size in which the prompt is needed, unless that is done; `epp_ask_hash` hashes it. */
static bool add_chain(const epp_asked *asked, uint32_t block_tokens) {
    epp_question *question = asked->question;
    if (find_chain(question, block_tokens)) return true;
    const uint32_t given = asked->request.hash_block_tokens, n = asked->n_tokens / block_tokens;
    const bool is_known = given == 0 || given == block_tokens;
    if (!epp_scratch_grow(question->memory, &question->hashes, (uint64_t)question->n_hashes + n,
                          sizeof(uint64_t)) ||
        !epp_scratch_grow(question->memory, &question->chains, (uint64_t)question->n_chains + 1,
                          sizeof(epp_prompt_chain)))
        return false;
    ((epp_prompt_chain *)question->chains.items)[question->n_chains++] = (epp_prompt_chain){
        .block_tokens = block_tokens, .n = n, .first = is_known ? question->n_hashes : EPP_NONE};
    if (is_known) question->n_hashes += n;
    return true;
}

bool epp_ask_hash(const epp_asked *asked) {
    epp_question *question = asked->question;
    const epp_prompt_chain *chains = question->chains.items;
    const bool any = question->n_hashed < question->n_chains;
    for (; question->n_hashed < question->n_chains; question->n_hashed++) {
        const epp_prompt_chain *chain = &chains[question->n_hashed];
        if (chain->n == 0 || chain->first == EPP_NONE) continue;
        uint64_t *hashes = (uint64_t *)question->hashes.items + chain->first;
        if (asked->request.hash_block_tokens)
            memcpy(hashes, asked->tokens, chain->n * sizeof *hashes);
        else
            epp_chain_blocks(asked->tokens, chain->n, chain->block_tokens, asked->request.namespace_seed,
                             NULL, hashes);
    }
    return any;
}

static uint32_t block_tokens_of(const epp_router *router, uint32_t slot) {
    return epp_effective_block_tokens(router, epp_worker_at(router, epp_slot_at(router, slot)->worker));
}

static bool add_chains(const epp_router *router, const epp_asked *asked, const uint32_t *slots, uint32_t n) {
    for (uint32_t i = 0; i < n; i++)
        if (!add_chain(asked, block_tokens_of(router, slots[i]))) return false;
    return true;
}

/* --- runs ------------------------------------------------------------------------------------------ */

static uint32_t n_words(const epp_router *router) { return router->index.shelves.used / 64 + 1; }

static bool reserve_runs(const epp_router *router, epp_question *question) {
    epp_memory *memory = question->memory;
    const uint32_t shelves = router->index.shelves.used, words = n_words(router);
    return epp_scratch_grow(memory, &question->live, 3 * (uint64_t)words, sizeof(uint64_t)) &&
           epp_scratch_grow(memory, &question->live_words, words, sizeof(uint32_t)) &&
           epp_scratch_grow(memory, &question->pending, shelves, sizeof(uint32_t)) &&
           epp_scratch_grow(memory, &question->runs, shelves, sizeof(epp_runs)) &&
           epp_scratch_grow(memory, &question->reach, shelves, sizeof(epp_runs));
}

static void walk(const epp_router *router, const epp_question *question, uint32_t block_tokens,
                 const uint32_t *pending, epp_runs *runs) {
    uint32_t n = 0;
    const uint64_t *chain = epp_prompt_hashes(question, block_tokens, &n);
    epp_index_walk(&router->index, chain, chain ? n : 0, question->live.items, n_words(router),
                   question->live_words.items, pending, runs);
}

static void set_live(const epp_question *question, uint32_t shelf) {
    ((uint64_t *)question->live.items)[shelf / 64] |= UINT64_C(1) << (shelf % 64);
}

static void clear_live(const epp_router *router, const epp_question *question) {
    memset(question->live.items, 0, n_words(router) * sizeof(uint64_t));
}

/** Runs of a pool, one walk for each block size in it. */
static void find_runs(const epp_router *router, const epp_question *question, const uint32_t *slots,
                      uint32_t n) {
    const epp_prompt_chain *chains = question->chains.items;
    for (uint32_t c = 0; c < question->n_chains; c++) {
        bool any = false;
        clear_live(router, question);
        for (uint32_t i = 0; i < n; i++) {
            if (block_tokens_of(router, slots[i]) != chains[c].block_tokens) continue;
            set_live(question, epp_shelf_of(router, slots[i]));
            any = true;
        }
        if (any) walk(router, question, chains[c].block_tokens, NULL, question->runs.items);
    }
}

/** How many first blocks of the prompt will be resident when the prefills booked on a slot are done. */
static uint32_t pending_run(const epp_router *router, const epp_question *question, uint32_t slot) {
    if (router->ledger.books[slot].unfinished == 0) return 0;
    uint32_t n = 0;
    const uint64_t *chain = epp_prompt_hashes(question, block_tokens_of(router, slot), &n);
    if (chain == NULL) return 0;
    return epp_chains_follow(&router->ledger.chains, epp_pending_tree(slot), chain, n).matched;
}

/** Runs that count pending blocks as resident; most slots have none beyond what is resident. */
static void find_reach(const epp_router *router, const epp_question *question, const uint32_t *slots,
                       uint32_t n) {
    const epp_runs *runs = question->runs.items;
    epp_runs *reach = question->reach.items;
    uint32_t *pending = question->pending.items;
    bool any = false;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t shelf = epp_shelf_of(router, slots[i]);
        reach[shelf] = runs[shelf];
        pending[shelf] = pending_run(router, question, slots[i]);
        any |= pending[shelf] > runs[shelf].device;
    }
    const epp_prompt_chain *chains = question->chains.items;
    for (uint32_t c = 0; any && c < question->n_chains; c++) {
        clear_live(router, question);
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t shelf = epp_shelf_of(router, slots[i]);
            if (pending[shelf] > runs[shelf].device &&
                block_tokens_of(router, slots[i]) == chains[c].block_tokens)
                set_live(question, shelf);
        }
        walk(router, question, chains[c].block_tokens, pending, reach);
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
static void set_rate(const epp_router *router, epp_candidate *candidate, double now_s) {
    const epp_book *book = &router->ledger.books[candidate->slot];
    const double rate = candidate->learnt_tokens_per_s > 0.0 ? candidate->learnt_tokens_per_s
                                                             : epp_ledger_fallback_rate(&router->ledger);
    const double progress = progress_tokens(router, book, now_s, rate);
    candidate->tokens_per_s = rate;
    candidate->queue_s = ((double)book->active_prefill_tokens - progress) / rate;
    candidate->own_s = candidate->work_tokens / rate;
}

static void describe(const epp_router *router, const epp_asked *asked, uint32_t phase, uint32_t slot,
                     epp_candidate *out) {
    const epp_request *request = &asked->request;
    const epp_book *book = &router->ledger.books[slot];
    const bool decode = phase == EPP_PHASE_DECODE;
    const bool pending_counts = request->policy == EPP_POLICY_TTFT && !decode;
    const bool credited = !decode && request->overlap_credit > 0.0;
    const epp_worker_entry *worker = epp_worker_at(router, epp_slot_at(router, slot)->worker);
    const uint32_t block_tokens = epp_effective_block_tokens(router, worker);
    uint32_t full = 0;
    const uint64_t *chain = epp_prompt_hashes(asked->question, block_tokens, &full);
    const uint32_t shelf = epp_shelf_of(router, slot);
    const epp_runs runs = ((const epp_runs *)asked->question->runs.items)[shelf];
    const epp_runs reach = pending_counts ? ((const epp_runs *)asked->question->reach.items)[shelf] : runs;
    const uint32_t request_blocks = full + ((uint64_t)full * block_tokens < asked->n_tokens);
    uint64_t blocks = request_blocks;
    if (!decode && chain && request->flags & EPP_REQUEST_KV_REUSE && book->active_requests)
        blocks -= epp_chains_follow(&router->ledger.chains, epp_tracked_tree(slot), chain, full).matched;
    *out = (epp_candidate){
        /* Every field is named: clearing the struct first would be half of the work here. */
        .slot = slot,
        .worker = epp_slot_at(router, slot)->worker,
        .block_tokens = block_tokens,
        .prompt_tokens = asked->n_tokens,
        .request_blocks = request_blocks,
        .runs = runs,
        .uncached_tokens =
            uncached(asked, runs, block_tokens, credited ? request->overlap_credit : 0.0,
                     credited ? request->host_weight : 0.0, credited ? request->disk_weight : 0.0),
        .work_tokens = uncached(asked, reach, block_tokens, 1.0, request->host_weight, request->disk_weight),
        .resident_blocks = epp_index_shelf(&router->index, shelf)->pairs,
        .total_blocks = worker->spec.total_blocks,
        .active_prefill_tokens = book->active_prefill_tokens,
        .active_decode_blocks = epp_whole_blocks(book->units),
        .potential_decode_blocks = epp_whole_blocks(book->units + (blocks << 16)),
        .active_requests = book->active_requests,
        .learnt_tokens_per_s = book->learnt_tokens_per_s,
        .tokens_per_s = 0.0,
        .queue_s = 0.0,
        .own_s = 0.0,
        .cost = 0.0,
    };
    if (epp_predicts(request)) set_rate(router, out, request->now_s);
}

static bool add_leg(const epp_router *router, const epp_asked *asked, uint32_t phase, const uint32_t *slots,
                    uint32_t n) {
    epp_question *question = asked->question;
    epp_memory *memory = question->memory;
    const uint32_t first = question->n_candidates;
    if (!epp_scratch_grow(memory, &question->candidates, (uint64_t)first + n, sizeof(epp_candidate)) ||
        !epp_scratch_grow(memory, &question->weights, n, sizeof(double)))
        return false;
    if (asked->request.policy == EPP_POLICY_TTFT && phase != EPP_PHASE_DECODE)
        find_reach(router, question, slots, n);
    for (uint32_t i = 0; i < n; i++)
        describe(router, asked, phase, slots[i], epp_candidate_at(question, first + i));
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

static uint64_t most_cached_tokens(const epp_router *router, const epp_asked *asked) {
    const epp_question *question = asked->question;
    const uint32_t *slots = question->serve.items;
    const epp_runs *runs = question->runs.items;
    uint64_t most = 0;
    for (uint32_t i = 0; i < question->n_serve; i++) {
        const uint64_t tokens = epp_usable_tokens(asked->n_tokens, runs[epp_shelf_of(router, slots[i])].disk,
                                                  block_tokens_of(router, slots[i]));
        if (tokens > most) most = tokens;
    }
    return most;
}

/** Whether prefill and decode go to different workers if the prompt is cached little enough. */
static bool may_split(const epp_asked *asked) {
    const epp_request *request = &asked->request;
    return asked->question->n_prefill > 0 &&
           (request->flags & EPP_REQUEST_PREFILL_PIN ||
            (request->flags & EPP_REQUEST_DISAGG && asked->n_tokens >= request->disagg_min_prompt_tokens));
}

static bool splits(const epp_router *router, const epp_asked *asked) {
    const epp_request *request = &asked->request;
    if (!may_split(asked)) return false;
    return request->flags & EPP_REQUEST_PREFILL_PIN ||
           asked->n_tokens - most_cached_tokens(router, asked) >= request->disagg_min_uncached_tokens;
}

/* --- the steps ------------------------------------------------------------------------------------- */

static epp_state_version version_of(const epp_router *router) {
    return (epp_state_version){.index = router->index.changes,
                               .fleet = router->fleet_changes,
                               .shelves = router->index.shelves.used};
}

epp_status epp_ask_begin(const epp_router *router, const epp_asked *asked) {
    epp_question *question = asked->question;
    question->n_hashes = question->n_chains = question->n_hashed = 0;
    uint32_t usual = question->usual_block_tokens;
    if (usual == 0) usual = router->options.default_block_tokens;
    if (asked->request.hash_block_tokens) usual = asked->request.hash_block_tokens;
    if (!add_chain(asked, usual)) return EPP_E_MEMORY;
    (void)epp_ask_hash(asked);
    return EPP_OK;
}

epp_status epp_ask_who(const epp_router *router, const epp_asked *asked) {
    epp_question *question = asked->question;
    const epp_status status = epp_find_pools(router, asked);
    if (status != EPP_OK) return status;
    const uint32_t *serve = question->serve.items;
    if (!add_chains(router, asked, serve, question->n_serve)) return EPP_E_MEMORY;
    if (may_split(asked) && !add_chains(router, asked, question->prefill.items, question->n_prefill))
        return EPP_E_MEMORY;
    question->usual_block_tokens = block_tokens_of(router, serve[0]);
    return EPP_OK;
}

epp_status epp_ask_held(const epp_router *router, const epp_asked *asked) {
    epp_question *question = asked->question;
    if (!reserve_runs(router, question)) return EPP_E_MEMORY;
    find_runs(router, question, question->serve.items, question->n_serve);
    question->splits = splits(router, asked);
    if (question->splits) find_runs(router, question, question->prefill.items, question->n_prefill);
    question->seen = version_of(router);
    return EPP_OK;
}

bool epp_ask_is_fresh(const epp_router *router, const epp_asked *asked) {
    const epp_state_version now = version_of(router), seen = asked->question->seen;
    return now.index == seen.index && now.fleet == seen.fleet && now.shelves == seen.shelves;
}

epp_status epp_ask_costs(const epp_router *router, const epp_asked *asked) {
    epp_question *question = asked->question;
    const epp_request *request = &asked->request;
    uint32_t *serve = question->serve.items, *prefill = question->prefill.items;
    question->n_candidates = question->n_legs = 0;
    question->n_serve = epp_leave_out_busy(router, request, serve, question->n_serve);
    if (question->splits)
        question->n_prefill = epp_leave_out_busy(router, request, prefill, question->n_prefill);
    if (question->n_serve == 0 || (question->splits && question->n_prefill == 0)) return EPP_OVERLOADED;
    if (!question->splits)
        return add_leg(router, asked, EPP_PHASE_AGGREGATED, serve, question->n_serve) ? EPP_OK : EPP_E_MEMORY;
    const bool made = add_leg(router, asked, EPP_PHASE_PREFILL, prefill, question->n_prefill) &&
                      add_leg(router, asked, EPP_PHASE_DECODE, serve, question->n_serve);
    return made ? EPP_OK : EPP_E_MEMORY;
}
