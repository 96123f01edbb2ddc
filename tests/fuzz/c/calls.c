/* Invariant: any sequence of calls keeps the router valid, and no call crashes, hangs or forgets a booking. Each
 * step is five bytes: what, who, which, how much, how. */
#include <string.h>

#include "fuzz.h"

enum { BS = 4, MAX_BLOCKS = 12, STEP_BYTES = 5, VALIDATE_EVERY = 8 };

/** One step's bytes, and the clock so far. */
typedef struct step {
    uint8_t what, who, which, much, how;
    double now_s;
} step;

static uint32_t tokens[BS * MAX_BLOCKS];

static void fill_tokens(uint8_t from) {
    for (uint32_t i = 0; i < BS * MAX_BLOCKS; i++) tokens[i] = from >> (i / BS % 8) & 1;
}

static void apply(epp_router *router, step s) {
    epp_report report;
    epp_prefill_done done[64];
    epp_decode_progress decode[64];
    size_t n_done = 0, n_decode = 0;
    uint64_t names[MAX_BLOCKS];
    for (uint64_t i = 0; i < MAX_BLOCKS; i++) names[i] = s.which % 16 + i;
    const epp_event event = {.kind = s.how % 8 == 7   ? EPP_EVENT_CLEARED
                                     : s.how % 4 == 3 ? EPP_EVENT_REMOVED
                                                      : 0,
                             .tier = s.how >> 3 & 3,
                             .flags = s.how >> 5 & 1,
                             .block_tokens = s.how >> 6 == 3 ? 8 : BS,
                             .parent_hash = s.which >> 4,
                             .namespace_seed = 1337u + (s.how >> 6),
                             .n_blocks = s.much % (MAX_BLOCKS / 2)};
    fill_tokens(s.much);
    FUZZ_CHECK(epp_router_apply(router, 1 + s.who % 8, s.who >> 7, s.now_s, &event, 1, names, MAX_BLOCKS,
                                tokens, BS * MAX_BLOCKS, NULL, 0, NULL, 0, &report, done, 64, &n_done, decode,
                                64, &n_decode) == EPP_OK);
}

static void ask(epp_router *router, step s) {
    epp_request request;
    epp_selection chosen;
    epp_terms terms[64];
    size_t n = 0;
    uint64_t hashes[MAX_BLOCKS];
    const uint64_t candidates[] = {s.which % 8, s.which >> 4};
    epp_request_init(&request);
    request.policy = s.how % 6;
    request.flags = s.which;
    request.now_s = s.now_s;
    request.seed = s.much;
    request.booking = s.who % 40;
    request.lease_s = 1 + s.how;
    request.temperature = s.how & 64 ? 0.5 : 0.0;
    request.pin_worker = s.who % 8;
    request.prefill_pin_worker = s.how % 8;
    request.expected_output_tokens = s.much;
    fill_tokens(s.much);
    const size_t n_tokens = s.how % (BS * MAX_BLOCKS);
    FUZZ_CHECK(epp_hash_blocks(tokens, n_tokens, BS, request.namespace_seed, 0, NULL, NULL, 0, NULL,
                               hashes) == EPP_OK);
    request.hash_block_tokens = s.how & 32 ? BS : 0;
    const void *prompt = s.how & 32 ? (const void *)hashes : tokens;
    const epp_status status = (request.booking ? epp_select_and_reserve : epp_select_worker)(
        router, &request, prompt, n_tokens, candidates, 2, NULL, 0, &chosen, terms, 64, &n);
    FUZZ_CHECK(status == EPP_OK || status == EPP_E_DUPLICATE || status == EPP_E_CAPACITY ||
               status >= EPP_NO_WORKERS);
}

static void change_worker(epp_router *router, step s) {
    epp_worker worker;
    uint64_t dropped[64];
    size_t n = 0;
    epp_worker_init(&worker);
    worker.worker_id = s.who % 8;
    worker.dp_size = 1 + s.much % 3;
    worker.role = s.how % 4;
    worker.has_events = s.how >> 2 & 1;
    worker.block_tokens = s.which & 1 ? BS : s.which & 2 ? 2 * BS : 0;
    if (s.how & 128)
        FUZZ_CHECK(epp_router_remove_worker(router, worker.worker_id, dropped, 64, &n) == EPP_OK);
    else
        (void)epp_router_upsert_worker(router, &worker, NULL, 0, dropped, 64, &n);
}

static void change_booking(epp_router *router, step s) {
    const uint64_t booking = s.who % 40;
    uint32_t running = 0;
    epp_prefill_done done;
    switch (s.how % 4) {
    case 0: (void)epp_router_prefill_complete(router, booking, s.now_s, &running, &done); break;
    case 1: (void)epp_router_output_block(router, booking, s.much < 128 ? s.much / 127.0 : -1.0); break;
    case 2: (void)epp_router_renew(router, booking, s.now_s); break;
    default: (void)epp_router_end_booking(router, booking); break;
    }
}

/** Forget what a rank holds, or take it over from what the router itself wrote before it forgot. */
static void lose(epp_router *router, step s) {
    static uint8_t snapshot[1 << 14];
    size_t n = 0, n_bytes = 0;
    epp_load_report report;
    FUZZ_CHECK(epp_router_dump(router, s.now_s, snapshot, sizeof snapshot, &n_bytes) == EPP_OK);
    FUZZ_CHECK(epp_router_drop_blocks(router, s.who % 8, s.who >> 7, &n) == EPP_OK);
    if (s.how & 1) FUZZ_CHECK(epp_router_load(router, s.now_s, snapshot, n_bytes, &report) == EPP_OK);
}

static void take(epp_router *router, step s) {
    uint64_t expired[64];
    size_t n = 0;
    switch (s.what % 8) {
    case 0:
    case 1:
    case 2: apply(router, s); break;
    case 3:
    case 4: ask(router, s); break;
    case 5: change_booking(router, s); break;
    case 6: change_worker(router, s); break;
    default:
        if (s.much & 1)
            lose(router, s);
        else
            FUZZ_CHECK(epp_router_expire(router, s.now_s, expired, 64, &n) == EPP_OK);
        break;
    }
}

static void check(epp_router *router) {
    char reason[128];
    FUZZ_CHECK(epp_router_validate(router, reason, sizeof reason) == EPP_OK);
    if (reason[0]) (void)fprintf(stderr, "%s\n", reason);
    FUZZ_CHECK(reason[0] == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    epp_router *router = fuzz_router(5, 48);
    double now_s = 0.0;
    for (size_t i = 0; i + STEP_BYTES <= n; i += STEP_BYTES) {
        const uint8_t *b = bytes + i;
        now_s += b[0] >> 3;
        take(router, (step){b[0], b[1], b[2], b[3], b[4], now_s});
        if (i / STEP_BYTES % VALIDATE_EVERY == 0) check(router);
    }
    fuzz_end(router);
    return 0;
}
