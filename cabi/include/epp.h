/** epp.h -- the native core of an endpoint picker for LLM inference gateways.
 *
 *  What it does. An `epp_router` knows model servers ("workers"), which KV-cache blocks each of them holds,
 *  and which requests have been sent there and are not finished ("bookings"). Given the token ids of a
 *  prompt, it chooses the worker that will serve it best and books it, in one call.
 *
 *  Reading order: 1 conventions, 2 status codes, 3 pure functions, 4 the router's life, 5 workers,
 *  6 KV events, 7 choosing, 8 bookings, 9 looking inside, 10 snapshots, 11 unstable calls.
 *
 *  docs/algorithms.md gives every formula, tie rule and order of events; this page says how to call.
 *
 *  --- 1. Conventions -----------------------------------------------------------------------------------
 *
 *  Results   Functions that can fail return an `epp_status`; 0 is success. Results go through pointers, and a
 *            call that does not return EPP_OK leaves them as they were, except where EPP_E_BUFFER says else.
 *  Threads   Any thread may call anything on one router at any time, except that `epp_router_free` must be
 *            the last call. A router is internally synchronized; a call sees the state as it was between
 *            two other calls. Calls that only ask (`epp_select_worker`, measure, loads, stats, dump)
 *            run side by side; bookings run beside dumps, and beside the long part of other questions;
 *            batches of events run alone, and nobody waits for more than one of them. A rank loses or, from a
 *            snapshot, gains all its blocks in one moment; the work that this makes is done within the call, in
 *            parts of a fraction of a millisecond between which others run. Until then lost blocks are in
 *            memory, at most as many as max_blocks. Pure functions touch nothing but their arguments.
 *  Memory    Every pointer given to a call is borrowed for that call. Nothing returned must be freed but
 *            the router itself. `const T *p, size_t n_p`: n_p items, and p may be NULL when n_p is 0. NULL
 *            elsewhere is EPP_E_ARGUMENT, in every call, unless it says what NULL means; the pure functions
 *            take it as an empty text, and `_init` does nothing.
 *            A call that changes the router and returns an error has changed nothing.
 *  Buffers   A call that writes a variable number of items takes a capacity and a count. If the capacity is too
 *            small it returns EPP_E_BUFFER, has changed nothing, and has set the counts to what is needed.
 *  Structs   Those that begin with `struct_size` are filled by the matching `_init` and may grow at the end in
 *            later ABI versions; the router reads only as many bytes as the caller knows.
 *  Numbers   Times are seconds of the caller's monotonic clock, as double, finite. Token buffers hold
 *            little-endian u32 ids at any alignment. Everything else is in native byte order.
 *  Nothing   No callbacks, no global state, no threads, no clock, no printing, no exiting. */
#ifndef EPP_H
#define EPP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(EPP_BUILDING) && defined(__GNUC__)
#define EPP_API __attribute__((visibility("default")))
#else
#define EPP_API
#endif

/* The part between the two cdef markers is what the Python binding is generated from. */
/* cdef: begin */

/** Version of everything below; a binding compares it with `epp_abi_version()` when it loads. */
#define EPP_ABI_VERSION 1

/* --- 2. Status codes ---------------------------------------------------------------------------------- */

/** Numbers never change; gaps leave room. Below 100: errors. From 100: answers of `epp_select_worker`. */
typedef enum epp_status {
    EPP_OK = 0,
    EPP_E_ARGUMENT = 10,         /**< an argument is outside its stated range */
    EPP_E_MEMORY = 20,           /**< the allocator had no room */
    EPP_E_CAPACITY = 21,         /**< a bound of `epp_options` is reached */
    EPP_E_BUFFER = 22,           /**< an output buffer is too small; the counts say what is needed */
    EPP_E_UNKNOWN = 30,          /**< no booking has this id */
    EPP_E_DUPLICATE = 31,        /**< the booking id is taken */
    EPP_E_FORMAT = 40,           /**< not a snapshot, or a damaged one */
    EPP_E_VERSION = 41,          /**< a snapshot of a version this library does not read */
    EPP_E_CHECKSUM = 42,         /**< the snapshot's checksum is wrong */
    EPP_NO_WORKERS = 100,        /**< no worker may serve at all */
    EPP_NO_CANDIDATES = 101,     /**< candidates, pins or taints leave none */
    EPP_UNKNOWN_PIN = 102,       /**< a pin names an unknown worker */
    EPP_RANK_OUT_OF_RANGE = 103, /**< a pin's rank is not below the worker's dp_size */
    EPP_OVERLOADED = 104         /**< every eligible worker is busy by the given limits */
} epp_status;

/** A short lower-case name such as "argument"; "unknown status" for numbers not above. Never NULL, static
 *  storage. Since ABI 1. */
const char *epp_status_name(int status);

/** EPP_ABI_VERSION of the library that runs. Since ABI 1. */
uint32_t epp_abi_version(void);

/* --- 3. Pure functions -------------------------------------------------------------------------------- */

/** XXH3-64 of `n_bytes` bytes with a seed. Taint names are hashed with it, seed 0. Since ABI 1. */
uint64_t epp_xxh3_64(const void *bytes, size_t n_bytes, uint64_t seed);

/** The worker id of a name that was given none: xxh3_64(name, 1337) below 2^53, exact in JSON. Since ABI 1. */
uint64_t epp_worker_id(const char *name, size_t n_name);

/** The seed that block hashes of a LoRA adapter and a cache salt (both UTF-8, empty: none) start from:
 *  1337 + (lora ? xxh3_64(lora, 0) : 0) + (salt ? xxh3_64(salt, 1) : 0). Since ABI 1. */
uint64_t epp_namespace_seed(const char *lora, size_t n_lora, const char *salt, size_t n_salt);

/** Windows of block_tokens + 1 tokens at a stride of block_tokens (speculative decoding with EAGLE). */
#define EPP_HASH_EAGLE 1u

/** How many blocks `epp_hash_blocks` writes for so many tokens; 0 if block_tokens is 0. Since ABI 1. */
size_t epp_hash_blocks_bound(size_t n_tokens, uint32_t block_tokens, uint32_t flags);

/** Hash the full blocks of a prompt; the rest beyond the last full block is left out.
 *  tokens       little-endian u32 ids.
 *  seed         from `epp_namespace_seed`.
 *  mm_counts    per block, how many of the consecutive `mm_hashes` lie in it; NULL: none anywhere.
 *  out_local    caller-owned, `epp_hash_blocks_bound` hashes of the blocks by themselves, or NULL.
 *  out_chain    caller-owned, as many sequence hashes: each names a block with all before it, or NULL.
 *  Returns EPP_OK, or EPP_E_ARGUMENT (block_tokens outside 1 .. 2^20, counts beyond n_mm_hashes, more than
 *  65536 hashes in one block), or EPP_E_MEMORY (only blocks with mm hashes need some). Since ABI 1. */
epp_status epp_hash_blocks(const void *tokens, size_t n_tokens, uint32_t block_tokens, uint64_t seed,
                           uint32_t flags, const uint32_t *mm_counts, const uint64_t *mm_hashes,
                           size_t n_mm_hashes, uint64_t *out_local, uint64_t *out_chain);

/* --- 4. The router's life ----------------------------------------------------------------------------- */

/** Workers, resident blocks, bookings, and the rule that turns them into a choice. */
typedef struct epp_router epp_router;

/** Bounds and priors, fixed for a router's life. */
typedef struct epp_options {
    uint32_t struct_size;
    uint32_t max_workers;
    uint32_t max_ranks; /**< of all workers together; at most 65536 */
    uint32_t max_bookings;
    uint64_t max_blocks;    /**< (worker, rank, block) triples; at most 2^32 - 1, of 2^26 - 2 blocks */
    double predicted_ttl_s; /**< life of a block believed to be on a worker without events */
    double default_prefill_tokens_per_s; /**< prior of a rank's prefill rate */
    uint32_t default_block_tokens;       /**< block size assumed while a worker's is unknown */
} epp_options;

/** Defaults: 4096 workers, 65536 ranks, 1 000 000 bookings, 16 000 000 blocks, 120 s, 8000 tokens/s, 16 tokens.
 *  Since ABI 1. */
void epp_options_init(epp_options *options);

/** Make a router. `options` may be NULL for the defaults.
 *  Returns EPP_OK, EPP_E_ARGUMENT or EPP_E_MEMORY. Since ABI 1. */
epp_status epp_router_new(const epp_options *options, epp_router **out);

/** End a router; NULL is fine. Since ABI 1. */
void epp_router_free(epp_router *router);

/* --- 5. Workers --------------------------------------------------------------------------------------- */

/** Which part of a request a worker does. */
typedef enum epp_role {
    EPP_ROLE_AGGREGATED = 0,
    EPP_ROLE_PREFILL = 1,
    EPP_ROLE_DECODE = 2,
    EPP_ROLE_ENCODE = 3
} epp_role;

/** What the router must know of a worker. */
typedef struct epp_worker {
    uint32_t struct_size;
    uint32_t role; /**< epp_role */
    uint64_t worker_id;
    uint64_t total_blocks;       /**< KV capacity per rank; 0: unknown */
    uint64_t max_batched_tokens; /**< prefill budget per engine step; 0: unknown */
    uint32_t dp_size;            /**< data-parallel ranks, 1 .. 4096 */
    uint32_t block_tokens;       /**< tokens per KV block; 0: learnt from the first stored event */
    uint32_t has_events;         /**< 0: no event stream; what is sent there is remembered with a TTL */
} epp_worker;

/** Defaults: one aggregated rank with events, everything else unknown. Since ABI 1. */
void epp_worker_init(epp_worker *worker);

/** Add a worker or change it. `taints` are xxh3_64 names of labels that a request may require or prefer.
 *  Shrinking dp_size forgets the ranks beyond it; a block_tokens that is neither 0 nor the known size forgets
 *  the worker's blocks. An equal description changes nothing.
 *  dropped     ids of the bookings that ended with removed ranks, ascending.
 *  Returns EPP_OK, EPP_E_ARGUMENT, EPP_E_CAPACITY (workers or ranks), EPP_E_BUFFER, EPP_E_MEMORY. Since ABI 1. */
epp_status epp_router_upsert_worker(epp_router *router, const epp_worker *worker, const uint64_t *taints,
                                    size_t n_taints, uint64_t *dropped, size_t dropped_capacity,
                                    size_t *n_dropped);

/** Forget a worker, its blocks and bookings; an unknown id is fine and drops nothing.
 *  Returns EPP_OK or EPP_E_BUFFER. Since ABI 1. */
epp_status epp_router_remove_worker(epp_router *router, uint64_t worker_id, uint64_t *dropped,
                                    size_t dropped_capacity, size_t *n_dropped);

/** Load scraped from a worker's metrics page; reported back in terms and loads. */
typedef struct epp_load_sample {
    int64_t waiting_requests;
    int64_t running_requests;
    double kv_usage; /**< fraction of KV blocks in use */
} epp_load_sample;

/** Record scraped load; an unknown worker or rank is ignored. Returns EPP_OK or EPP_E_ARGUMENT. Since ABI 1. */
epp_status epp_router_set_load(epp_router *router, uint64_t worker_id, uint32_t rank,
                               const epp_load_sample *load);

/** Forget every block of one rank, because its view can no longer be trusted. `n_dropped` counts them.
 *  Unknown worker or rank: 0. Returns EPP_OK or EPP_E_ARGUMENT. Since ABI 1. */
epp_status epp_router_drop_blocks(epp_router *router, uint64_t worker_id, uint32_t rank, size_t *n_dropped);

/* --- 6. KV events ------------------------------------------------------------------------------------- */

/** Where a block lives on a worker, nearest first. */
typedef enum epp_tier {
    EPP_TIER_DEVICE = 0,
    EPP_TIER_HOST = 1,
    EPP_TIER_DISK = 2,
    EPP_TIER_EXTERNAL = 3
} epp_tier;

/** What happened. */
typedef enum epp_event_kind {
    EPP_EVENT_STORED = 0,  /**< a chain of full blocks became resident in a tier */
    EPP_EVENT_REMOVED = 1, /**< blocks left a tier */
    EPP_EVENT_CLEARED = 2  /**< the rank's whole cache is empty */
} epp_event_kind;

#define EPP_EVENT_HAS_PARENT 1u

/** One event of a flat batch. Offsets count items of the buffers given beside the events. */
typedef struct epp_event {
    uint32_t kind;           /**< epp_event_kind */
    uint32_t tier;           /**< epp_tier */
    uint32_t flags;          /**< EPP_EVENT_HAS_PARENT: the chain continues from parent_hash */
    uint32_t block_tokens;   /**< stored: tokens per block */
    uint64_t parent_hash;    /**< the engine's name of the block before the first */
    uint64_t namespace_seed; /**< stored at the root: `epp_namespace_seed` of its LoRA and salt */
    uint64_t first_hash;     /**< offset of the engine's names in `hashes` */
    uint64_t n_blocks;       /**< how many */
    uint64_t first_token;    /**< stored: offset of n_blocks * block_tokens ids in `tokens` */
    uint64_t first_mm_count; /**< stored: offset of n_blocks counts in `mm_counts`, if those are given */
    uint64_t first_mm_hash;  /**< stored: offset of the first counted hash in `mm_hashes` */
} epp_event;

/** Why parts of a batch changed nothing; indices of `epp_report.ignored`. Numbers never change. */
typedef enum epp_ignored {
    EPP_IGNORED_ORPHAN = 0,         /**< events: the parent is not resident */
    EPP_IGNORED_DUPLICATE = 1,      /**< blocks: already there (one more copy), or the name is taken */
    EPP_IGNORED_BLOCK_SIZE = 2,     /**< events: not the worker's block size */
    EPP_IGNORED_KIND = 3,           /**< events: not the main attention's cache */
    EPP_IGNORED_LOCALITY = 4,       /**< events: the blocks are held elsewhere */
    EPP_IGNORED_HASH_FORM = 5,      /**< events: names are not integers */
    EPP_IGNORED_UNKNOWN_TYPE = 6,   /**< events: a type this version does not know */
    EPP_IGNORED_MALFORMED = 7,      /**< events, or 1 for a whole message */
    EPP_IGNORED_UNKNOWN_HASH = 8,   /**< names: not resident in that tier */
    EPP_IGNORED_CAPACITY = 9,       /**< blocks: beyond max_blocks, or the allocator had no room */
    EPP_IGNORED_UNKNOWN_WORKER = 10 /**< events: no such worker or rank */
} epp_ignored;

#define EPP_IGNORED_COUNT 11

/** A booking's prompt is computed. */
typedef struct epp_prefill_done {
    uint64_t booking;
    double at_s;
    double reserved_at_s;
    uint32_t exact; /**< 1: seen in the worker's own events; 0: reported or estimated */
    uint32_t reserved;
} epp_prefill_done;

/** Output a booking was seen to have. */
typedef struct epp_decode_progress {
    uint64_t booking;
    uint64_t output_blocks; /**< that this batch showed */
} epp_decode_progress;

/** What one batch did. */
typedef struct epp_report {
    uint64_t stored_blocks;
    uint64_t removed_blocks; /**< not those of which another copy is left */
    uint64_t cleared;
    uint64_t ignored[EPP_IGNORED_COUNT];
    uint32_t block_tokens; /**< the worker's block size as now known; 0: unknown */
    uint32_t reserved;
} epp_report;

/** Apply a batch of flat events to one rank, in order. Blocks for which memory cannot be found are counted as
 *  EPP_IGNORED_CAPACITY: what is indexed stays true, only incomplete.
 *  done, decode   facts about bookings; room for as many as the rank has bookings is always enough.
 *  Returns EPP_OK, EPP_E_ARGUMENT (an offset or kind outside its buffer), EPP_E_BUFFER, EPP_E_MEMORY.
 *  Time: O(blocks). Since ABI 1. */
epp_status epp_router_apply(epp_router *router, uint64_t worker_id, uint32_t rank, double now_s,
                            const epp_event *events, size_t n_events, const uint64_t *hashes, size_t n_hashes,
                            const void *tokens, size_t n_tokens, const uint32_t *mm_counts,
                            size_t n_mm_counts, const uint64_t *mm_hashes, size_t n_mm_hashes,
                            epp_report *report, epp_prefill_done *done, size_t done_capacity, size_t *n_done,
                            epp_decode_progress *decode, size_t decode_capacity, size_t *n_decode);

/** Apply one engine message as it came: msgpack `[ts, [event, ...], rank]`, events as maps with a `type` or as
 *  tagged arrays (vLLM, SGLang and Dynamo's mocker; field by field in cabi/src/engine.h). Total: what cannot be
 *  used is counted, the rest applies. Otherwise as `epp_router_apply`. Since ABI 1. */
epp_status epp_router_apply_payload(epp_router *router, uint64_t worker_id, uint32_t rank, double now_s,
                                    const void *payload, size_t n_payload, epp_report *report,
                                    epp_prefill_done *done, size_t done_capacity, size_t *n_done,
                                    epp_decode_progress *decode, size_t decode_capacity, size_t *n_decode);

/* --- 7. Choosing -------------------------------------------------------------------------------------- */

/** The policies. */
typedef enum epp_policy {
    EPP_POLICY_TTFT = 0, /**< least predicted time to first token */
    EPP_POLICY_KV = 1,   /**< weighted uncached prefill blocks plus decode blocks */
    EPP_POLICY_ROUND_ROBIN = 2,
    EPP_POLICY_RANDOM = 3,
    EPP_POLICY_LEAST_LOADED = 4,
    EPP_POLICY_POWER_OF_TWO = 5
} epp_policy;

#define EPP_REQUEST_CANDIDATES 1u     /**< only the given candidates; not set: all workers */
#define EPP_REQUEST_PIN 2u            /**< pin_worker, pin_rank */
#define EPP_REQUEST_PREFILL_PIN 4u    /**< prefill_pin_worker, prefill_pin_rank */
#define EPP_REQUEST_KV_REUSE 8u       /**< equal prompts share decode blocks */
#define EPP_REQUEST_TRACK_PREFILL 16u /**< the booking adds prefill load */
#define EPP_REQUEST_DISAGG 32u        /**< may be split over a prefill and a decode worker */
#define EPP_REQUEST_EXPLAIN 64u       /**< predict times to first token whatever the policy */

/** One question. */
typedef struct epp_request {
    uint32_t struct_size;
    uint32_t policy;            /**< epp_policy */
    uint32_t flags;             /**< EPP_REQUEST_* */
    int32_t pin_rank;           /**< -1: any rank */
    int32_t prefill_pin_rank;   /**< -1: any rank */
    uint32_t hash_block_tokens; /**< 0: `tokens` are token ids; else see `epp_select_worker` */
    double now_s;
    uint64_t seed;    /**< the only source of randomness */
    uint64_t booking; /**< of `epp_select_and_reserve`; else 0 */
    double lease_s;   /**< the booking expires so long after it was made or renewed */
    uint64_t namespace_seed;
    uint64_t expected_output_tokens; /**< 0: unknown */
    uint64_t pin_worker;
    uint64_t prefill_pin_worker;
    double overlap_credit;
    double credit_decay;
    double prefill_load_scale;
    double host_weight;
    double disk_weight;
    double active_request_weight;
    double temperature;
    uint64_t disagg_min_uncached_tokens;
    uint64_t disagg_min_prompt_tokens;
    double busy_decode_fraction; /**< NaN: no limit; likewise below */
    double busy_prefill_tokens;
    double busy_prefill_fraction;
} epp_request;

/** Defaults: policy kv with the documented weights, reuse, prefill tracking and splitting on, a lease of
 *  300 s, no namespace, no limits. Since ABI 1. */
void epp_request_init(epp_request *request);

/** A label the request requires (weight unused) or prefers by weight. */
typedef struct epp_taint {
    uint64_t name; /**< xxh3_64 of its text, seed 0 */
    double weight;
    uint32_t required;
    uint32_t reserved;
} epp_taint;

/** Which choice a row belongs to. */
typedef enum epp_phase { EPP_PHASE_AGGREGATED = 0, EPP_PHASE_PREFILL = 1, EPP_PHASE_DECODE = 2 } epp_phase;

/** Everything the choice knew of one (worker, rank). */
typedef struct epp_terms {
    uint64_t worker_id;
    uint32_t rank;
    uint32_t phase;          /**< epp_phase */
    uint32_t device_blocks;  /**< longest resident run from the root on the device tier */
    uint32_t host_blocks;    /**< further blocks of the run only the host tier holds */
    uint32_t disk_blocks;    /**< further blocks of the run only farther tiers hold */
    uint32_t request_blocks; /**< blocks of the prompt, the partial tail included */
    uint64_t cached_tokens;  /**< of the run, what the engine reuses: never the prompt's last token */
    double uncached_tokens;
    uint64_t active_prefill_tokens;
    uint64_t potential_decode_blocks;
    uint64_t active_requests;
    epp_load_sample load;
    double prefill_tokens_per_s; /**< learnt; 0: not learnt */
    double predicted_ttft_s;
    double cost;
} epp_terms;

/** A choice. */
typedef struct epp_selection {
    uint64_t worker_id;
    uint64_t prefill_worker_id; /**< meaningful if `split` */
    uint32_t rank;
    uint32_t prefill_rank;
    uint32_t split;        /**< 1: prefill and decode on different workers */
    uint32_t block_tokens; /**< known block size of the worker that prefills; 0: unknown */
    uint64_t prompt_tokens;
    uint64_t cached_tokens;
    uint64_t best_cached_tokens;
    double uncached_tokens;
    double cost;
    double predicted_ttft_s;
} epp_selection;

/** Choose; changes nothing but whose turn it is (EPP_POLICY_ROUND_ROBIN).
 *  request     its `booking` is 0.
 *  tokens      the prompt: n_tokens ids; or, for a caller that has hashes at hand, the sequence hashes of its
 *              n_tokens / hash_block_tokens full blocks of so many tokens, as `epp_hash_blocks` writes them (u64,
 *              any alignment). A worker of another block size is then taken to hold nothing of it.
 *  candidates  worker ids allowed, read if EPP_REQUEST_CANDIDATES is set; unknown ones are ignored.
 *  terms       one row per candidate and phase; `terms` may be NULL with capacity 0 when nobody asks, and
 *              `n_terms` may then be NULL. At most 2 * ranks rows.
 *  Returns EPP_OK, a NO_… answer, EPP_E_ARGUMENT, EPP_E_BUFFER, EPP_E_MEMORY.
 *  Time: O(tokens + blocks of the best run + candidates). Since ABI 1. */
epp_status epp_select_worker(epp_router *router, const epp_request *request, const void *tokens,
                             size_t n_tokens, const uint64_t *candidates, size_t n_candidates,
                             const epp_taint *taints, size_t n_taints, epp_selection *out, epp_terms *terms,
                             size_t terms_capacity, size_t *n_terms);

/** Choose and book the choice, in one step that no other call comes between.
 *  request     its `booking` is the caller's name for it, not 0.
 *  Otherwise as `epp_select_worker`; returns also EPP_E_DUPLICATE and EPP_E_CAPACITY (bookings). Since ABI 1. */
epp_status epp_select_and_reserve(epp_router *router, const epp_request *request, const void *tokens,
                                  size_t n_tokens, const uint64_t *candidates, size_t n_candidates,
                                  const epp_taint *taints, size_t n_taints, epp_selection *out,
                                  epp_terms *terms, size_t terms_capacity, size_t *n_terms);

/** The rows `epp_select_worker` would look at, nothing chosen, nothing booked; none if it would refuse.
 *  Returns EPP_OK, EPP_E_ARGUMENT, EPP_E_BUFFER, EPP_E_MEMORY. Since ABI 1. */
epp_status epp_router_measure(epp_router *router, const epp_request *request, const void *tokens,
                              size_t n_tokens, const uint64_t *candidates, size_t n_candidates,
                              const epp_taint *taints, size_t n_taints, epp_terms *terms,
                              size_t terms_capacity, size_t *n_terms);

/* --- 8. Bookings -------------------------------------------------------------------------------------- */

/** The prompt is computed: its tokens leave the prefill load. `was_running` 0: that was known already and
 *  `done` is untouched. Returns EPP_OK, EPP_E_UNKNOWN or EPP_E_ARGUMENT. Since ABI 1. */
epp_status epp_router_prefill_complete(epp_router *router, uint64_t booking, double now_s,
                                       uint32_t *was_running, epp_prefill_done *done);

/** One more block of output exists. `decay` in 0..1 scales the blocks only this booking holds; negative:
 *  nothing is scaled. Returns EPP_OK, EPP_E_UNKNOWN or EPP_E_ARGUMENT. Since ABI 1. */
epp_status epp_router_output_block(epp_router *router, uint64_t booking, double decay);

/** Start the lease anew. Returns EPP_OK, EPP_E_UNKNOWN or EPP_E_ARGUMENT. Since ABI 1. */
epp_status epp_router_renew(epp_router *router, uint64_t booking, double now_s);

/** End a booking. Returns EPP_OK or EPP_E_UNKNOWN. Since ABI 1. */
epp_status epp_router_end_booking(epp_router *router, uint64_t booking);

/** Drop bookings whose lease ended (their ids, ascending) and predicted blocks whose TTL ended; prefills on
 *  workers without events whose estimate ended become complete. Returns EPP_OK, EPP_E_BUFFER,
 *  EPP_E_ARGUMENT. Since ABI 1. */
epp_status epp_router_expire(epp_router *router, double now_s, uint64_t *expired, size_t expired_capacity,
                             size_t *n_expired);

/* --- 9. Looking inside -------------------------------------------------------------------------------- */

/** Load of one rank as booked here. */
typedef struct epp_rank_load {
    uint64_t worker_id;
    uint32_t rank;
    uint32_t reserved;
    uint64_t active_requests;
    uint64_t active_prefill_tokens;
    uint64_t active_decode_blocks;
    uint64_t resident_blocks;
    double prefill_tokens_per_s; /**< learnt; 0: not learnt */
    epp_load_sample scraped;
} epp_rank_load;

/** Loads of every rank, ordered by (worker_id, rank). Returns EPP_OK or EPP_E_BUFFER. Since ABI 1. */
epp_status epp_router_loads(epp_router *router, epp_rank_load *loads, size_t capacity, size_t *n_loads);

/** Sizes of everything bounded. */
typedef struct epp_stats {
    uint64_t workers;
    uint64_t ranks;
    uint64_t resident_pairs;  /**< (worker, rank, block) triples, predicted ones included */
    uint64_t distinct_blocks; /**< those that calls are forgetting included */
    uint64_t bookings;
    uint64_t predicted_blocks;
    uint64_t memory_bytes; /**< everything the router has allocated */
    uint64_t index_bytes;  /**< the part that holds blocks, names and residency */
} epp_stats;

/** Sizes, for gauges. Since ABI 1. */
epp_status epp_router_stats(epp_router *router, epp_stats *stats);

/** Walk everything and say what is broken. `reason` receives a sentence cut to `capacity` bytes with its NUL, or
 *  an empty string when every invariant holds. O(everything), for tests. Returns EPP_OK, EPP_E_ARGUMENT
 *  (capacity 0), EPP_E_MEMORY. Since ABI 1. */
epp_status epp_router_validate(epp_router *router, char *reason, size_t capacity);

/* --- 10. Snapshots ------------------------------------------------------------------------------------ */

/** Write residency (not bookings, loads or rates) as bytes another process can read: format in
 *  cabi/src/snapshot.h. Predicted blocks carry their remaining life at now_s. Of several copies of a block only
 *  that it is there is written: after loading, the first removal takes it away.
 *  Returns EPP_OK, EPP_E_BUFFER (n_bytes says what is needed now), EPP_E_ARGUMENT. Since ABI 1. */
epp_status epp_router_dump(epp_router *router, double now_s, void *bytes, size_t capacity, size_t *n_bytes);

/** What a snapshot brought. */
typedef struct epp_load_report {
    uint64_t stored_pairs;
    uint64_t skipped_pairs; /**< of ranks unknown here, of another block size, or beyond capacity */
    uint64_t skipped_ranks; /**< ranks unknown here, not empty here, or of another block size */
} epp_load_report;

/** Take over a snapshot's residency for ranks that are known here and hold nothing yet; a rank whose events arrive
 *  during the call is passed, so load before events flow.
 *  Returns EPP_OK, EPP_E_FORMAT, EPP_E_VERSION, EPP_E_CHECKSUM, EPP_E_ARGUMENT, EPP_E_MEMORY. Since ABI 1. */
epp_status epp_router_load(epp_router *router, double now_s, const void *bytes, size_t n_bytes,
                           epp_load_report *report);

/* cdef: end */

/* --- 11. Unstable calls: for this project's own tests; no binding sees them ------------------------------- */

/** The door to the heap. `resize` makes (block NULL), grows, shrinks or drops (new_bytes 0) one allocation and
 *  returns NULL when there is no room, the old block then being as it was. Called by several threads at once. */
typedef struct epp_allocator {
    void *(*resize)(void *state, void *block, size_t old_bytes, size_t new_bytes);
    void *state;
} epp_allocator;

/** As `epp_router_new`, with all memory from `allocator`. */
epp_status epp_router_new_with(const epp_options *options, const epp_allocator *allocator, epp_router **out);

#ifdef __cplusplus
}
#endif

#endif
