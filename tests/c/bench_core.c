/* Times the core alone, on one thread, and prints one JSON object per line: name, value, unit.
 * tests/bench/core.py builds and runs it. Every figure is the median of several runs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "epp.h"

enum { RUNS = 5, BLOCK_TOKENS = 16, EVENT_BLOCKS = 64, MAX_RUNS = 64 };

static double cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* others may share the machine */
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t random_state = 1;

static uint64_t next_random(void) {
    uint64_t z = random_state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static void must(epp_status status) {
    if (status == EPP_OK) return;
    (void)fprintf(stderr, "bench: %s\n", epp_status_name((int)status));
    exit(1);
}

static void *room(size_t bytes) {
    void *block = calloc(1, bytes);
    if (block == NULL) exit(1);
    return block;
}

static int ascending(const void *x, const void *y) {
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static double median(double *values, int n) {
    qsort(values, (size_t)n, sizeof *values, ascending);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static void print(const char *name, double value, const char *unit) {
    (void)printf("{\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"}\n", name, value, unit);
    (void)fflush(stdout);
}

static epp_router *new_router(uint32_t workers) {
    epp_router *router = NULL;
    epp_options options;
    epp_options_init(&options);
    must(epp_router_new(&options, &router));
    for (uint32_t i = 0; i < workers; i++) {
        epp_worker worker;
        size_t dropped = 0;
        epp_worker_init(&worker);
        worker.worker_id = i + 1;
        worker.block_tokens = BLOCK_TOKENS;
        must(epp_router_upsert_worker(router, &worker, NULL, 0, NULL, 0, &dropped));
    }
    return router;
}

static uint32_t *random_tokens(size_t n) {
    uint32_t *tokens = room(n * sizeof *tokens);
    for (size_t i = 0; i < n; i++) tokens[i] = (uint32_t)(next_random() % 128000);
    return tokens;
}

/** Chains of EVENT_BLOCKS blocks as flat events over one buffer of tokens. */
typedef struct traffic {
    epp_event *events;
    uint64_t *hashes;
    uint32_t *tokens;
    size_t n_events, n_blocks;
} traffic;

static traffic make_traffic(size_t n_events) {
    traffic made = {.n_events = n_events, .n_blocks = n_events * EVENT_BLOCKS};
    made.events = room(n_events * sizeof *made.events);
    made.hashes = room(made.n_blocks * sizeof *made.hashes);
    made.tokens = random_tokens(made.n_blocks * BLOCK_TOKENS);
    for (size_t i = 0; i < made.n_blocks; i++) made.hashes[i] = next_random();
    for (size_t i = 0; i < n_events; i++)
        made.events[i] = (epp_event){.kind = EPP_EVENT_STORED,
                                     .block_tokens = BLOCK_TOKENS,
                                     .namespace_seed = epp_namespace_seed(NULL, 0, NULL, 0),
                                     .first_hash = i * EVENT_BLOCKS,
                                     .n_blocks = EVENT_BLOCKS,
                                     .first_token = i * EVENT_BLOCKS * BLOCK_TOKENS};
    return made;
}

static void drop_traffic(traffic *made) {
    free(made->events);
    free(made->hashes);
    free(made->tokens);
}

static void apply(epp_router *router, uint64_t worker, const traffic *made, size_t first, size_t n) {
    epp_report report;
    epp_prefill_done done[64];
    epp_decode_progress decode[64];
    size_t n_done = 0, n_decode = 0;
    must(epp_router_apply(router, worker, 0, 0.0, made->events + first, n, made->hashes, made->n_blocks,
                          made->tokens, made->n_blocks * BLOCK_TOKENS, NULL, 0, NULL, 0, &report, done, 64,
                          &n_done, decode, 64, &n_decode));
    if (report.stored_blocks != n * EVENT_BLOCKS) exit(2);
}

/* --- select ---------------------------------------------------------------------------------------- */

static void select_once(epp_router *router, epp_request *request, const uint32_t *tokens, size_t n) {
    epp_selection chosen;
    request->seed++;
    must(epp_router_select(router, request, tokens, n, NULL, 0, NULL, 0, &chosen, NULL, 0, NULL));
}

/** Microseconds to choose for a prompt that every worker holds a different share of, among other blocks. */
static double time_select(uint32_t workers, size_t n_tokens, uint32_t policy) {
    epp_router *router = new_router(workers);
    const size_t n_blocks = n_tokens / BLOCK_TOKENS;
    traffic noise = make_traffic(4 * workers);
    uint32_t *tokens = random_tokens(n_tokens);
    uint64_t *names = room(n_blocks * sizeof *names);
    for (size_t i = 0; i < n_blocks; i++) names[i] = next_random();
    for (uint32_t w = 0; w < workers; w++) {
        epp_report report;
        size_t n_done = 0, n_decode = 0;
        const epp_event held = {.kind = EPP_EVENT_STORED,
                                .block_tokens = BLOCK_TOKENS,
                                .namespace_seed = epp_namespace_seed(NULL, 0, NULL, 0),
                                .n_blocks = n_blocks * (w + 1) / workers};
        apply(router, w + 1, &noise, 4 * w, 4);
        must(epp_router_apply(router, w + 1, 0, 0.0, &held, 1, names, n_blocks, tokens, n_tokens, NULL, 0,
                              NULL, 0, &report, NULL, 0, &n_done, NULL, 0, &n_decode));
    }
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
    drop_traffic(&noise);
    free(tokens);
    free(names);
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

/* --- memory ---------------------------------------------------------------------------------------- */

/** Bytes per pair: the worst seen while private blocks come in, so growth steps are not hidden. */
static void bench_memory(void) {
    enum { WORKERS = 64, EVENTS = 16384, FROM_BLOCKS = 100000 };
    epp_router *router = new_router(WORKERS);
    traffic made = make_traffic(EVENTS);
    double worst = 0.0, last = 0.0;
    for (size_t i = 0; i < EVENTS; i++) {
        epp_stats stats;
        apply(router, 1 + i % WORKERS, &made, i, 1);
        must(epp_router_stats(router, &stats));
        last = (double)stats.memory_bytes / (double)stats.resident_pairs;
        if (stats.resident_pairs >= FROM_BLOCKS && last > worst) worst = last;
    }
    print("bytes_per_worker_block", last, "bytes");
    print("bytes_per_worker_block_worst", worst, "bytes");
    for (uint32_t w = 2; w <= WORKERS; w++) apply(router, w, &made, 0, 1);
    epp_router_free(router);
    router = new_router(WORKERS);
    for (uint32_t w = 1; w <= WORKERS; w++)
        for (size_t i = 0; i < EVENTS / 16; i++) apply(router, w, &made, i, 1);
    epp_stats stats;
    must(epp_router_stats(router, &stats));
    print("bytes_per_shared_worker_block", (double)stats.memory_bytes / (double)stats.resident_pairs,
          "bytes");
    drop_traffic(&made);
    epp_router_free(router);
}

int main(void) {
    bench_select();
    bench_reserve();
    bench_apply_flat();
    bench_apply_msgpack();
    bench_memory();
    return 0;
}
