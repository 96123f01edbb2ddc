/* Out of memory: for every call of a small history and every n, the n-th allocation of that call fails. Then the
 * call has either done its work or returned EPP_E_MEMORY and changed nothing, and the router is valid. Everything
 * is given back in the end: the allocator counts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "epp.h"

enum { BS = 4, BLOCKS = 24, MANY = 200, ANY_BYTES = 1 << 16 };

typedef struct failing {
    long countdown; /* allocations until one fails; negative: none does */
    long tripped;
    size_t held;
} failing;

static void *resize(void *state, void *block, size_t old_bytes, size_t new_bytes) {
    failing *to = state;
    if (new_bytes > old_bytes && to->countdown-- == 0) {
        to->tripped++;
        return NULL;
    }
    to->held += new_bytes - old_bytes;
    if (new_bytes == 0) {
        free(block);
        return NULL;
    }
    return realloc(block, new_bytes);
}

/* --- the history ----------------------------------------------------------------------------------- */

static uint32_t tokens[BS * BLOCKS], many_tokens[BS * MANY];
static uint64_t names[3][BLOCKS];

static epp_status add_worker(epp_router *router, uint64_t id, uint32_t dp_size, uint32_t has_events) {
    epp_worker worker;
    size_t n = 0;
    uint64_t dropped[8];
    const uint64_t taints[] = {1, 2};
    epp_worker_init(&worker);
    worker.worker_id = id;
    worker.dp_size = dp_size;
    worker.has_events = has_events;
    worker.block_tokens = BS;
    return epp_router_upsert_worker(router, &worker, taints, 2, dropped, 8, &n);
}

static epp_status upsert_1(epp_router *router) { return add_worker(router, 1, 1, 1); }
static epp_status upsert_2(epp_router *router) { return add_worker(router, 2, 2, 1); }
static epp_status upsert_3(epp_router *router) { return add_worker(router, 3, 1, 0); }
static epp_status grow_2(epp_router *router) { return add_worker(router, 2, 70, 1); }
static epp_status silence_1(epp_router *router) { return add_worker(router, 1, 1, 0); }
static epp_status shrink_2(epp_router *router) { return add_worker(router, 2, 1, 1); }

static epp_status store(epp_router *router, uint64_t worker, int named, uint64_t seed, uint32_t tier) {
    epp_report report;
    epp_prefill_done done[8];
    epp_decode_progress decode[8];
    size_t n_done = 0, n_decode = 0;
    const epp_event event = {.kind = EPP_EVENT_STORED,
                             .tier = tier,
                             .block_tokens = BS,
                             .namespace_seed = seed,
                             .n_blocks = BLOCKS};
    const uint32_t counts[BLOCKS] = {0, 1};
    const uint64_t images[] = {77};
    return epp_router_apply(router, worker, 0, 2.0, &event, 1, names[named], BLOCKS, tokens, BS * BLOCKS,
                            seed == 9 ? counts : NULL, BLOCKS, images, 1, &report, done, 8, &n_done, decode,
                            8, &n_decode);
}

static epp_status store_1(epp_router *router) { return store(router, 1, 0, 1337, EPP_TIER_DEVICE); }
static epp_status store_2(epp_router *router) { return store(router, 2, 0, 1337, EPP_TIER_HOST); }
static epp_status store_alias(epp_router *router) { return store(router, 2, 1, 1337, EPP_TIER_DISK); }
static epp_status store_images(epp_router *router) { return store(router, 1, 2, 9, EPP_TIER_DEVICE); }

/** So many that tables which others read must grow. */
static epp_status store_many(epp_router *router, uint64_t worker, uint64_t seed) {
    epp_report report;
    epp_prefill_done done[8];
    epp_decode_progress decode[8];
    size_t n_done = 0, n_decode = 0;
    uint64_t many[MANY];
    const epp_event event = {.block_tokens = BS, .namespace_seed = seed, .n_blocks = MANY};
    for (uint64_t i = 0; i < MANY; i++) many[i] = 100000 * seed + i;
    return epp_router_apply(router, worker, 0, 2.0, &event, 1, many, MANY, many_tokens, BS * MANY, NULL, 0,
                            NULL, 0, &report, done, 8, &n_done, decode, 8, &n_decode);
}

static epp_status many_2(epp_router *router) { return store_many(router, 2, 5); }
static epp_status many_1(epp_router *router) { return store_many(router, 1, 5); }
static epp_status more_2(epp_router *router) { return store_many(router, 2, 6); }
static epp_status more_1(epp_router *router) { return store_many(router, 1, 6); }

static epp_status resize_1(epp_router *router) {
    uint64_t dropped[8];
    size_t n = 0;
    epp_worker worker;
    epp_worker_init(&worker);
    worker.worker_id = 1;
    worker.block_tokens = 2 * BS;
    return epp_router_upsert_worker(router, &worker, NULL, 0, dropped, 8, &n);
}

static epp_status drop_2(epp_router *router) {
    size_t n = 0;
    return epp_router_drop_blocks(router, 2, 0, &n);
}

static epp_status load_sample(epp_router *router) {
    const epp_load_sample sample = {.waiting_requests = 1, .kv_usage = 0.5};
    return epp_router_set_load(router, 1, 0, &sample);
}

static epp_status select_on(epp_router *router, uint64_t pin, uint64_t booking, uint32_t policy) {
    epp_request request;
    epp_selection chosen;
    epp_terms terms[256];
    size_t n = 0;
    epp_request_init(&request);
    request.flags |= EPP_REQUEST_PIN;
    request.pin_worker = pin;
    request.booking = booking;
    request.policy = policy;
    request.now_s = 1.0;
    request.lease_s = 5.0;
    request.expected_output_tokens = 64;
    return (request.booking ? epp_select_and_reserve : epp_select_worker)(
        router, &request, tokens, BS * BLOCKS, NULL, 0, NULL, 0, &chosen, terms, 256, &n);
}

static epp_status book_1(epp_router *router) { return select_on(router, 1, 11, EPP_POLICY_KV); }
static epp_status book_2(epp_router *router) { return select_on(router, 2, 12, EPP_POLICY_TTFT); }
static epp_status book_3(epp_router *router) { return select_on(router, 3, 13, EPP_POLICY_TTFT); }
static epp_status ask(epp_router *router) { return select_on(router, 2, 0, EPP_POLICY_KV); }

static epp_status ask_far(epp_router *router) {
    epp_request request;
    epp_selection chosen;
    const uint64_t candidates[] = {1, 2, 3};
    const epp_taint taint = {.name = 1, .weight = 0.5};
    epp_request_init(&request);
    request.flags |= EPP_REQUEST_CANDIDATES;
    request.temperature = 0.5;
    return epp_select_worker(router, &request, many_tokens, BS * MANY, candidates, 3, &taint, 1, &chosen,
                             NULL, 0, NULL);
}

static epp_status measure(epp_router *router) {
    epp_request request;
    epp_terms terms[256];
    size_t n = 0;
    epp_request_init(&request);
    return epp_router_measure(router, &request, many_tokens, BS * MANY, NULL, 0, NULL, 0, terms, 256, &n);
}

static epp_status prefilled(epp_router *router) {
    uint32_t was_running = 0;
    epp_prefill_done done;
    return epp_router_prefill_complete(router, 13, 2.0, &was_running, &done);
}

static epp_status renew(epp_router *router) { return epp_router_renew(router, 13, 2.0); }

static epp_status book_4(epp_router *router) { return select_on(router, 3, 14, EPP_POLICY_KV); }

static epp_status end_4(epp_router *router) { return epp_router_end_booking(router, 14); }

static epp_status output(epp_router *router) { return epp_router_output_block(router, 13, 0.5); }

static epp_status payload(epp_router *router) {
    /* [0, [{"type": "BlockStored", "block_hashes": [5], "parent_block_hash": null, "token_ids": [1, 2, 3, 4],
     *       "block_size": 4, "lora_name": "a", "extra_keys": [["a", "salt"]]}, ["AllBlocksCleared"]], 0] */
    static const uint8_t text[] =
        "\x93\x00\x92\x87\xa4type\xab"
        "BlockStored\xac"
        "block_hashes\x91\x05\xb1parent_block_hash\xc0\xa9token_ids\x94\x01\x02\x03\x04"
        "\xaa"
        "block_size\x04\xa9lora_name\xa1"
        "a\xaa"
        "extra_keys\x91\x92\xa1"
        "a\xa4salt"
        "\x91\xb0"
        "AllBlocksCleared\x00";
    epp_report report;
    epp_prefill_done done[8];
    epp_decode_progress decode[8];
    size_t n_done = 0, n_decode = 0;
    const epp_status status = epp_router_apply_payload(router, 1, 0, 2.0, text, sizeof text - 1, &report,
                                                       done, 8, &n_done, decode, 8, &n_decode);
    if (status == EPP_OK) CHECK(report.stored_blocks + report.ignored[EPP_IGNORED_CAPACITY] == 1);
    if (status == EPP_OK) CHECK(report.cleared == 1);
    return status;
}

static uint8_t snapshot[ANY_BYTES];
static size_t snapshot_bytes;

static epp_status dump(epp_router *router) {
    return epp_router_dump(router, 3.0, snapshot, sizeof snapshot, &snapshot_bytes);
}

static epp_status remove_2(epp_router *router) {
    uint64_t dropped[8];
    size_t n = 0;
    return epp_router_remove_worker(router, 2, dropped, 8, &n);
}

static epp_status load(epp_router *router) {
    epp_load_report report;
    return epp_router_load(router, 3.0, snapshot, snapshot_bytes, &report);
}

static epp_status expire(epp_router *router) {
    uint64_t expired[8];
    size_t n = 0;
    return epp_router_expire(router, 100.0, expired, 8, &n);
}

typedef epp_status (*call)(epp_router *);

static const call HISTORY[] = {
    upsert_1, upsert_2, upsert_3, book_1,    store_1,  store_1, store_2, store_alias, store_images, book_2,
    book_3,   ask,      output,   prefilled, renew,    book_4,  end_4,   load_sample, grow_2,       many_2,
    many_1,   more_2,   more_1,   ask_far,   measure,  drop_2,  dump,    store_2,     dump,         silence_1,
    shrink_2, payload,  resize_1, remove_2,  upsert_2, load,    expire,
};

enum { CALLS = sizeof HISTORY / sizeof *HISTORY };

/* --- the check ------------------------------------------------------------------------------------- */

/** All that can be seen of a router, as one number. */
static uint64_t fingerprint(epp_router *router) {
    static uint8_t text[ANY_BYTES];
    epp_rank_load loads[128];
    epp_stats stats;
    size_t n = 0, n_loads = 0;
    CHECK(epp_router_dump(router, 0.0, text, sizeof text, &n) == EPP_OK);
    CHECK(epp_router_loads(router, loads, 128, &n_loads) == EPP_OK);
    CHECK(epp_router_stats(router, &stats) == EPP_OK);
    stats.memory_bytes = stats.index_bytes = 0;
    return epp_xxh3_64(text, n, 0) ^ epp_xxh3_64(loads, n_loads * sizeof *loads, 1) ^
           epp_xxh3_64(&stats, sizeof stats, 2);
}

static void check_valid(epp_router *router) {
    char reason[128];
    CHECK(epp_router_validate(router, reason, sizeof reason) == EPP_OK);
    if (reason[0]) (void)fprintf(stderr, "%s\n", reason);
    CHECK(reason[0] == 0);
}

/** Replay the history up to call `which`, whose n-th allocation fails; true if it had one to fail. */
static int try_failure(int which, long n) {
    failing state = {.countdown = -1};
    const epp_allocator allocator = {.resize = resize, .state = &state};
    epp_router *router = NULL;
    CHECK(epp_router_new_with(NULL, &allocator, &router) == EPP_OK);
    for (int i = 0; i < which; i++) CHECK(HISTORY[i](router) == EPP_OK);
    const uint64_t before = fingerprint(router);
    state.countdown = n;
    const epp_status status = HISTORY[which](router);
    state.countdown = -1;
    CHECK(status == EPP_OK || (status == EPP_E_MEMORY && state.tripped && fingerprint(router) == before));
    check_valid(router);
    CHECK(status == EPP_OK || HISTORY[which](router) == EPP_OK); /* and it can be done again */
    epp_router_free(router);
    CHECK(state.held == 0);
    return state.tripped > 0;
}

int main(void) {
    for (uint32_t i = 0; i < BS * BLOCKS; i++) tokens[i] = i;
    for (uint32_t i = 0; i < BS * MANY; i++) many_tokens[i] = 7 * i;
    for (uint64_t i = 0; i < BLOCKS; i++)
        for (uint64_t j = 0; j < 3; j++) names[j][i] = 100 * (j + 1) + i;
    failing none = {.countdown = 0};
    const epp_allocator allocator = {.resize = resize, .state = &none};
    epp_router *router = NULL;
    CHECK(epp_router_new_with(NULL, &allocator, &router) == EPP_E_MEMORY && router == NULL);
    long failures = 0;
    for (int which = 0; which < CALLS; which++)
        for (long n = 0; try_failure(which, n); n++) failures++;
    (void)printf("%ld failures survived\n", failures);
    return failures > CALLS ? 0 : 1;
}
