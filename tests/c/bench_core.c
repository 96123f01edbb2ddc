/* Times the core alone, on one thread, by its CPU time, and prints one JSON object per line: name, value, unit.
 * tests/bench/core.py builds and runs it. Every figure is the median of several runs. */
#include "bench.h"

/* --- select ---------------------------------------------------------------------------------------- */

/** Microseconds to choose for a prompt that every worker holds a different share of, among other blocks. */
static double time_select(uint32_t workers, size_t n_tokens, uint32_t policy) {
    uint32_t *tokens = random_tokens(n_tokens);
    epp_router *router = new_fleet(workers, tokens, n_tokens);
    epp_request request;
    epp_request_init(&request);
    request.policy = policy;
    double runs[RUNS];
    for (int run = 0; run < RUNS; run++) {
        int calls = 0;
        const double start = cpu_s();
        double end = start;
        while (end - start < 0.05) {
            for (int i = 0; i < 10; i++) select_once(router, &request, tokens, n_tokens);
            calls += 10;
            end = cpu_s();
        }
        runs[run] = (end - start) / calls * 1e6;
    }
    free(tokens);
    epp_router_free(router);
    return median(runs, RUNS);
}

static void bench_select(void) {
    static const size_t lengths[] = {512, 2048, 8192, 32768};
    static const uint32_t fleets[] = {4, 64, 512};
    char name[64];
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (size_t j = 0; j < sizeof fleets / sizeof *fleets; j++) {
            (void)snprintf(name, sizeof name, "select_%zu_tokens_%u_workers_us", lengths[i], fleets[j]);
            print(name, time_select(fleets[j], lengths[i], EPP_POLICY_KV), "us");
        }
    print("select_8192_tokens_64_workers_ttft_us", time_select(64, 8192, EPP_POLICY_TTFT), "us");
}

/* --- reserve and free ------------------------------------------------------------------------------ */

static void bench_reserve(void) {
    enum { WORKERS = 64, TOKENS = 2048, PROMPTS = 64, RUNNING = 256, PAIRS = 100000 };
    epp_router *router = new_router(WORKERS);
    uint32_t *tokens = random_tokens((size_t)PROMPTS * TOKENS);
    epp_request request;
    epp_request_init(&request);
    for (uint64_t i = 1; i <= RUNNING; i++) { /* others are being served meanwhile */
        request.booking = i;
        select_once(router, &request, tokens + (i % PROMPTS) * TOKENS, TOKENS);
    }
    double runs[RUNS];
    for (int run = 0; run < RUNS; run++) {
        const double start = cpu_s();
        for (int i = 0; i < PAIRS; i++) {
            request.booking = 1000000 + (uint64_t)i;
            select_once(router, &request, tokens + (i % PROMPTS) * TOKENS, TOKENS);
            must(epp_router_end_booking(router, request.booking));
        }
        runs[run] = PAIRS / (cpu_s() - start);
    }
    print("reserve_free_2048_tokens_pairs_per_s", median(runs, RUNS), "1/s");
    free(tokens);
    epp_router_free(router);
}

/* --- apply ----------------------------------------------------------------------------------------- */

/** Forget all blocks; tables keep their size, so what follows runs warm. */
static void forget(epp_router *router, uint32_t workers) {
    for (uint32_t w = 1; w <= workers; w++) {
        size_t dropped = 0;
        must(epp_router_drop_blocks(router, w, 0, &dropped));
    }
}

static void bench_apply_flat(void) {
    enum { WORKERS = 64, BATCH = 4, EVENTS = 16384 };
    double runs[RUNS + 1];
    traffic made = make_traffic(EVENTS);
    epp_router *router = new_router(WORKERS);
    for (int run = 0; run <= RUNS; run++) {
        forget(router, WORKERS);
        const double start = cpu_s();
        for (size_t i = 0; i < EVENTS; i += BATCH) apply(router, 1 + (i / BATCH) % WORKERS, &made, i, BATCH);
        runs[run] = (double)made.n_blocks / (cpu_s() - start);
    }
    print("apply_flat_cold_blocks_per_s", runs[0], "1/s");
    print("apply_flat_blocks_per_s", median(runs + 1, RUNS), "1/s");
    epp_router_free(router);
    drop_traffic(&made);
}

static uint8_t *put_integer(uint8_t *at, uint64_t value) {
    if (value < 0x80) {
        *at++ = (uint8_t)value;
        return at;
    }
    const int width = value <= 0xFF ? 1 : value <= 0xFFFF ? 2 : value <= 0xFFFFFFFF ? 4 : 8;
    *at++ = (uint8_t)(width == 1 ? 0xcc : width == 2 ? 0xcd : width == 4 ? 0xce : 0xcf);
    for (int i = width - 1; i >= 0; i--) *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

static uint8_t *put_text(uint8_t *at, const char *text) {
    const size_t n = strlen(text);
    *at++ = (uint8_t)(0xa0 | n);
    memcpy(at, text, n);
    return at + n;
}

static uint8_t *put_array(uint8_t *at, size_t n) {
    *at++ = 0xdc;
    *at++ = (uint8_t)(n >> 8);
    *at++ = (uint8_t)n;
    return at;
}

/** One message in the form vLLM 0.32 sends: one stored event, a map of eight keys. */
static uint8_t *put_message(uint8_t *at, const traffic *made, size_t event) {
    const uint64_t *hashes = made->hashes + event * EVENT_BLOCKS;
    const uint32_t *tokens = made->tokens + event * EVENT_BLOCKS * BLOCK_TOKENS;
    at = put_array(put_integer(put_array(at, 3), 0), 1);
    *at++ = 0x80 | 8;
    at = put_text(put_text(at, "type"), "BlockStored");
    at = put_array(put_text(at, "block_hashes"), EVENT_BLOCKS);
    for (size_t i = 0; i < EVENT_BLOCKS; i++) at = put_integer(at, hashes[i]);
    at = put_text(at, "parent_block_hash");
    *at++ = 0xc0;
    at = put_array(put_text(at, "token_ids"), (size_t)EVENT_BLOCKS * BLOCK_TOKENS);
    for (size_t i = 0; i < (size_t)EVENT_BLOCKS * BLOCK_TOKENS; i++) at = put_integer(at, tokens[i]);
    at = put_integer(put_text(at, "block_size"), BLOCK_TOKENS);
    at = put_text(put_text(at, "medium"), "GPU");
    at = put_array(put_text(at, "extra_keys"), EVENT_BLOCKS);
    for (size_t i = 0; i < EVENT_BLOCKS; i++) *at++ = 0xc0;
    at = put_text(put_text(at, "kv_cache_spec_kind"), "full_attention");
    return put_integer(at, 0);
}

static void bench_apply_msgpack(void) {
    enum { WORKERS = 64, EVENTS = 8192, MESSAGE_BYTES = 16384 };
    traffic made = make_traffic(EVENTS);
    uint8_t *text = room((size_t)EVENTS * MESSAGE_BYTES);
    uint8_t **starts = room((EVENTS + 1) * sizeof *starts);
    uint8_t *at = text;
    for (size_t i = 0; i < EVENTS; i++) {
        starts[i] = at;
        at = put_message(at, &made, i);
    }
    starts[EVENTS] = at;
    double runs[RUNS + 1];
    epp_router *router = new_router(WORKERS);
    for (int run = 0; run <= RUNS; run++) {
        forget(router, WORKERS);
        const double start = cpu_s();
        for (size_t i = 0; i < EVENTS; i++) {
            epp_report report;
            size_t n_done = 0, n_decode = 0;
            must(epp_router_apply_payload(router, 1 + i % WORKERS, 0, 0.0, starts[i],
                                          (size_t)(starts[i + 1] - starts[i]), &report, NULL, 0, &n_done,
                                          NULL, 0, &n_decode));
            if (report.stored_blocks != EVENT_BLOCKS) exit(3);
        }
        runs[run] = (double)made.n_blocks / (cpu_s() - start);
    }
    print("apply_msgpack_blocks_per_s", median(runs + 1, RUNS), "1/s");
    epp_router_free(router);
    free(text);
    free(starts);
    drop_traffic(&made);
}

int main(void) {
    bench_select();
    bench_reserve();
    bench_apply_flat();
    bench_apply_msgpack();
    return 0;
}
