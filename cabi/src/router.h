/** The state behind the opaque `epp_router`, shared by the files that implement epp.h.
 *
 *  One mutex guards all of it; every public call takes it once. `question` is the working memory of selection,
 *  kept between calls so that a warm one allocates nothing. */
#ifndef EPP_ROUTER_H
#define EPP_ROUTER_H

#include <pthread.h>

#include "index.h"
#include "ledger.h"

enum { EPP_MAX_DP_SIZE = 4096, EPP_MAX_BLOCK_TOKENS = 1 << 20, EPP_MAX_PROMPT_TOKENS = INT32_MAX };

/** One (worker, rank). */
typedef struct epp_slot {
    uint32_t worker;
    uint32_t rank;
    epp_load_sample load;
    uint64_t foreign_groups; /* bit per cache group below 64 that holds another kind of attention */
} epp_slot;

typedef struct epp_worker_entry {
    uint32_t known_block_tokens; /* 0: unknown */
    bool used;
    epp_worker spec;
    uint32_t *slots; /* by rank */
    uint64_t *taints;
    uint32_t n_taints;
} epp_worker_entry;

/** The prompt's full blocks in one block size. */
typedef struct epp_prompt_chain {
    uint32_t block_tokens;
    uint32_t n;
    uint32_t first; /* in question.hashes */
} epp_prompt_chain;

/** One slot as a choice sees it (docs/algorithms.md 4.1). */
typedef struct epp_candidate {
    uint32_t slot, worker;
    uint32_t block_tokens, request_blocks, prompt_tokens;
    epp_runs runs;
    double uncached_tokens, work_tokens;
    uint64_t resident_blocks, total_blocks;
    uint64_t active_prefill_tokens, active_decode_blocks, potential_decode_blocks, active_requests;
    double learnt_tokens_per_s, tokens_per_s;
    double queue_s, own_s; /* with tokens_per_s: only if `epp_predicts` */
    double cost;
} epp_candidate;

/** One choice to be made: `n` candidates from `first` in question.candidates, ascending. */
typedef struct epp_leg {
    uint32_t phase;
    uint32_t first, n;
} epp_leg;

/** A growing array of the working memory. */
typedef struct epp_scratch {
    void *items;
    uint32_t capacity;
} epp_scratch;

typedef struct epp_question {
    epp_scratch allowed;    /* uint8_t by worker */
    epp_scratch serve;      /* uint32_t slots */
    epp_scratch prefill;    /* uint32_t slots */
    epp_scratch live;       /* uint64_t, 3 per word of slots */
    epp_scratch live_words; /* uint32_t per word of slots */
    epp_scratch pending;    /* uint32_t by slot */
    epp_scratch runs;       /* epp_runs by slot */
    epp_scratch reach;      /* epp_runs by slot, pending blocks counted */
    epp_scratch hashes;     /* uint64_t */
    epp_scratch chains;     /* epp_prompt_chain */
    epp_scratch candidates; /* epp_candidate */
    epp_scratch weights;    /* double per candidate */
    uint32_t n_serve, n_prefill, n_hashes, n_chains, n_candidates;
    epp_leg legs[2];
    uint32_t n_legs;
} epp_question;

/** What a select call was given. */
typedef struct epp_asked {
    epp_request request;
    const uint8_t *tokens;
    uint32_t n_tokens;
    const uint64_t *candidates;
    size_t n_candidates;
    const epp_taint *taints;
    size_t n_taints;
} epp_asked;

struct epp_router {
    pthread_mutex_t lock;
    epp_memory memory;
    epp_options options;
    epp_pool workers;   /* epp_worker_entry */
    epp_map worker_ids; /* (id, 0) -> worker */
    epp_scratch order;  /* uint32_t workers, ascending by id; worker_ids.count of them */
    epp_pool slots;     /* epp_slot */
    uint32_t n_ranks;
    epp_index index;
    epp_ledger ledger;
    uint64_t turns[3]; /* round-robin's, by phase */
    epp_question question;
    epp_scratch events; /* epp_event of a decoded payload, and its parts */
    epp_scratch event_hashes, event_tokens, event_mm_counts, event_mm_hashes;
};

/** Room for `needed` items; then `items` is not NULL even if none is needed. */
static inline bool epp_scratch_grow(epp_router *router, epp_scratch *scratch, uint64_t needed,
                                    size_t item_bytes) {
    return epp_memory_grow(&router->memory, &scratch->items, &scratch->capacity, needed ? needed : 1,
                           item_bytes);
}

static inline epp_worker_entry *epp_worker_at(const epp_router *router, uint32_t at) {
    return (epp_worker_entry *)router->workers.items + at;
}

static inline epp_slot *epp_slot_at(const epp_router *router, uint32_t slot) {
    return (epp_slot *)router->slots.items + slot;
}

/** The worker at a place of the ascending order. */
static inline uint32_t epp_ordered_worker(const epp_router *router, uint32_t place) {
    return ((const uint32_t *)router->order.items)[place];
}

static inline uint32_t epp_n_workers(const epp_router *router) { return router->worker_ids.count; }

/** Block size to reckon with: known, or the default. */
static inline uint32_t epp_effective_block_tokens(const epp_router *router, const epp_worker_entry *worker) {
    return worker->known_block_tokens ? worker->known_block_tokens : router->options.default_block_tokens;
}

/** The slot of a worker's rank, or EPP_NONE. */
uint32_t epp_find_slot(const epp_router *router, uint64_t worker_id, uint32_t rank);

/** Know a worker's block size; blocks hashed in another one are forgotten. */
void epp_set_block_tokens(epp_router *router, epp_worker_entry *worker, uint32_t block_tokens);

/** Tokens of a resident run that an engine reuses: it always computes the last token of a prompt. */
uint64_t epp_usable_tokens(uint64_t prompt_tokens, uint32_t run_blocks, uint32_t block_tokens);

/** Make the legs of a question, costs included. EPP_OK, a NO_… answer or EPP_E_MEMORY. */
epp_status epp_ask(epp_router *router, const epp_asked *asked);

/** The hashes of a prompt's full blocks in a size that occurred in the question. */
const uint64_t *epp_prompt_hashes(const epp_router *router, uint32_t block_tokens, uint32_t *n);

/** Give the candidates of a leg their costs. */
void epp_set_costs(epp_router *router, const epp_asked *asked, const epp_leg *leg);

/** Which candidate of a leg is chosen; `random` is the state of the call's one random stream. */
uint32_t epp_choose(const epp_router *router, const epp_asked *asked, const epp_leg *leg, uint64_t *random,
                    double *weights);

static inline epp_candidate *epp_candidate_at(const epp_router *router, uint32_t at) {
    return (epp_candidate *)router->question.candidates.items + at;
}

/** Whether times to first token are wanted. */
static inline bool epp_predicts(const epp_request *request) {
    return request->policy == EPP_POLICY_TTFT || request->flags & EPP_REQUEST_EXPLAIN;
}

void epp_lock(epp_router *router);
void epp_unlock(epp_router *router);

#endif
