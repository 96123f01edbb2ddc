/** The state behind the opaque `epp_router`, shared by the files that implement epp.h.
 *
 *  Two locks guard it, taken in this order: `residency`, who is there and holds which blocks; `books`, what is
 *  booked. A choice reads residency and the books; a booking changes the books alone, so it runs beside everything
 *  that only reads residency; events change both. What a call works with is its own, in the workspace of its
 *  lane, and kept there so that a warm call allocates nothing. */
#ifndef EPP_ROUTER_H
#define EPP_ROUTER_H

#include "index.h"
#include "ledger.h"
#include "lock.h"

enum {
    EPP_MAX_RANKS = 1 << 16,
    EPP_MAX_DP_SIZE = 4096,
    EPP_MAX_BLOCK_TOKENS = 1 << 20,
    EPP_MAX_PROMPT_TOKENS = INT32_MAX
};

/** One (worker, rank). */
typedef struct epp_slot {
    uint32_t worker;
    uint32_t rank;
    uint32_t shelf; /* what it holds */
    epp_load_sample load;
    uint64_t foreign_groups; /* bit per cache group that holds another kind of attention */
    uint64_t heard;          /* router.heard when it was last told what it holds */
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
    uint32_t first; /* in question.hashes; EPP_NONE: the hashes in this size are unknown */
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

/** What may have changed since runs were found. */
typedef struct epp_state_version {
    uint64_t index, fleet;
    uint32_t shelves; /* the arrays by shelf are made for so many */
} epp_state_version;

/** One request put to the router: all it takes to answer it. */
typedef struct epp_question {
    epp_memory *memory;
    epp_scratch allowed;    /* uint8_t by worker */
    epp_scratch serve;      /* uint32_t slots */
    epp_scratch prefill;    /* uint32_t slots */
    epp_scratch live;       /* uint64_t, 3 per word of shelves */
    epp_scratch live_words; /* uint32_t per word of shelves */
    epp_scratch pending;    /* uint32_t by shelf */
    epp_scratch runs;       /* epp_runs by shelf */
    epp_scratch reach;      /* epp_runs by shelf, pending blocks counted */
    epp_scratch hashes;     /* uint64_t */
    epp_scratch chains;     /* epp_prompt_chain */
    epp_scratch candidates; /* epp_candidate */
    epp_scratch weights;    /* double per candidate */
    uint32_t n_serve, n_prefill, n_hashes, n_chains, n_candidates;
    uint32_t n_hashed;           /* of the chains, the first so many are hashed */
    uint32_t usual_block_tokens; /* of the question before; 0: none */
    bool splits;                 /* prefill and decode go to different workers */
    epp_state_version seen;      /* when the runs were found */
    epp_leg legs[2];
    uint32_t n_legs;
} epp_question;

/** A decoded engine message: events and their parts. */
typedef struct epp_message {
    epp_memory *memory;
    epp_scratch events;    /* epp_event */
    epp_scratch hashes;    /* uint64_t */
    epp_scratch tokens;    /* uint32_t */
    epp_scratch mm_counts; /* uint32_t */
    epp_scratch mm_hashes; /* uint64_t */
} epp_message;

/** Working memory of one call. */
typedef struct epp_workspace {
    epp_question question;
    epp_message message;
    char apart[64]; /* neighbours do not share cache lines */
} epp_workspace;

/** What a select call was given. */
typedef struct epp_asked {
    epp_request request;
    const uint8_t *tokens;
    uint32_t n_tokens;
    const uint64_t *candidates;
    size_t n_candidates;
    const epp_taint *taints;
    size_t n_taints;
    epp_question *question; /* the call's own */
} epp_asked;

struct epp_router {
    epp_memory memory;
    epp_options options;
    epp_lanes lanes;
    epp_lock residency; /* guards what follows, but of slots the load */
    epp_pool workers;   /* epp_worker_entry */
    epp_map worker_ids; /* (id, 0) -> worker */
    epp_scratch order;  /* uint32_t workers, ascending by id; worker_ids.count of them */
    epp_pool slots;     /* epp_slot */
    uint32_t n_ranks;
    uint32_t n_silent; /* workers without events */
    uint64_t fleet_changes;
    uint64_t heard; /* times that ranks came, or were told what they hold */
    epp_index index;
    epp_lock books; /* guards what follows, and the load of slots */
    epp_ledger ledger;
    uint64_t turns[3]; /* round-robin's, by phase */
    epp_workspace workspaces[EPP_LANES];
};

/** Room for `needed` items; then `items` is not NULL even if none is needed. */
static inline bool epp_scratch_grow(epp_memory *memory, epp_scratch *scratch, uint64_t needed,
                                    size_t item_bytes) {
    return epp_memory_grow(memory, &scratch->items, &scratch->capacity, needed ? needed : 1, item_bytes);
}

static inline epp_worker_entry *epp_worker_at(const epp_router *router, uint32_t at) {
    return (epp_worker_entry *)router->workers.items + at;
}

static inline epp_slot *epp_slot_at(const epp_router *router, uint32_t slot) {
    return (epp_slot *)router->slots.items + slot;
}

static inline uint32_t epp_shelf_of(const epp_router *router, uint32_t slot) {
    return epp_slot_at(router, slot)->shelf;
}

/** A rank came, or was told what it holds, and be it nothing. */
static inline void epp_hear(epp_router *router, uint32_t slot) {
    epp_slot_at(router, slot)->heard = ++router->heard;
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

/** What a call took out of the router, to be disposed of when others may go on. */
typedef struct epp_leftovers {
    uint32_t leaving;    /* shelves to empty: a list through epp_shelf.next */
    epp_index_spare old; /* tables to drop */
} epp_leftovers;

static inline epp_leftovers epp_no_leftovers(void) { return (epp_leftovers){.leaving = EPP_NONE}; }

/** A rank loses all it holds, at once for everybody. */
void epp_clear_rank(epp_router *router, uint32_t slot, epp_leftovers *left);

/** Dispose of what a call took out, in parts between which other calls run. Needs no lock. */
void epp_dispose(epp_router *router, epp_leftovers *left);

/** Know a worker's block size; blocks hashed in another one are forgotten. */
void epp_set_block_tokens(epp_router *router, epp_worker_entry *worker, uint32_t block_tokens,
                          epp_leftovers *left);

/** Tokens of a resident run that an engine reuses: it always computes the last token of a prompt. */
uint64_t epp_usable_tokens(uint64_t prompt_tokens, uint32_t run_blocks, uint32_t block_tokens);

/** Begin a question: the prompt is hashed in the size that is usual. Needs no lock. EPP_OK or EPP_E_MEMORY. */
epp_status epp_ask_begin(const epp_router *router, const epp_asked *asked);

/** Who may serve, busy workers included, and the block sizes in which they need the prompt. Reads residency. EPP_OK,
 *  a NO_… answer or EPP_E_MEMORY. */
epp_status epp_ask_who(const epp_router *router, const epp_asked *asked);

/** Hash the prompt in the sizes named so far; false: that was done already. Needs no lock. */
bool epp_ask_hash(const epp_asked *asked);

/** What each of them holds of the prompt. Reads residency. EPP_OK or EPP_E_MEMORY. */
epp_status epp_ask_held(const epp_router *router, const epp_asked *asked);

/** Whether what was found of residency is still so. Reads residency. */
bool epp_ask_is_fresh(const epp_router *router, const epp_asked *asked);

/** Make the legs, costs included: everybody's numbers as they are now. Reads everything. EPP_OK, EPP_OVERLOADED or
 *  EPP_E_MEMORY. */
epp_status epp_ask_costs(const epp_router *router, const epp_asked *asked);

/** The hashes of a prompt's `n` full blocks in a size that occurred in the question; NULL: they are unknown. */
const uint64_t *epp_prompt_hashes(const epp_question *question, uint32_t block_tokens, uint32_t *n);

/** Give the candidates of a leg their costs. */
void epp_set_costs(const epp_router *router, const epp_asked *asked, const epp_leg *leg);

/** Which candidate of a leg is chosen; `random` is the state of the call's one random stream. */
uint32_t epp_choose(const epp_router *router, const epp_asked *asked, const epp_leg *leg, uint64_t *random);

static inline epp_candidate *epp_candidate_at(const epp_question *question, uint32_t at) {
    return (epp_candidate *)question->candidates.items + at;
}

/** Whether times to first token are wanted. */
static inline bool epp_predicts(const epp_request *request) {
    return request->policy == EPP_POLICY_TTFT || request->flags & EPP_REQUEST_EXPLAIN;
}

/** Read everything, beside other readers; returns the lane to end with. */
uint32_t epp_look_begin(epp_router *router);
void epp_look_end(epp_router *router, uint32_t lane);

/** Change anything, alone. */
void epp_change_begin(epp_router *router);

/** The same with room for so many blocks more, and predicted ones, which is made beside readers. False: no memory, not
 *  begun. */
bool epp_change_begin_with_room(epp_router *router, uint64_t blocks, uint64_t guesses, epp_leftovers *left);

/** The same with room for blocks of one rank: none if there is no such rank. `*slot` is the rank's, or EPP_NONE. */
bool epp_change_begin_for_rank(epp_router *router, uint64_t worker_id, uint32_t rank, uint64_t blocks,
                               uint32_t *slot, epp_leftovers *left);
void epp_change_end(epp_router *router);

#endif
