/** What the benches of the core share: clocks, JSON lines, routers and event traffic. */
#ifndef EPP_BENCH_H
#define EPP_BENCH_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "epp.h"

enum { RUNS = 5, BLOCK_TOKENS = 16, EVENT_BLOCKS = 64 };

static inline double wall_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline double cpu_s(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t); /* others may share the machine */
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint64_t random_state = 1;

static inline uint64_t next_random(void) {
    uint64_t z = random_state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

static inline void must(epp_status status) {
    if (status == EPP_OK) return;
    (void)fprintf(stderr, "bench: %s\n", epp_status_name((int)status));
    exit(1);
}

static inline void *room(size_t bytes) {
    void *block = calloc(1, bytes);
    if (block == NULL) exit(1);
    return block;
}

static inline int ascending(const void *x, const void *y) {
    const double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static inline double median(double *values, int n) {
    qsort(values, (size_t)n, sizeof *values, ascending);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static inline void print(const char *name, double value, const char *unit) {
    (void)printf("{\"name\": \"%s\", \"value\": %.6g, \"unit\": \"%s\"}\n", name, value, unit);
    (void)fflush(stdout);
}

static inline epp_router *new_router(uint32_t workers) {
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

static inline uint32_t *random_tokens(size_t n) {
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

static inline traffic make_traffic(size_t n_events) {
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

static inline void drop_traffic(traffic *made) {
    free(made->events);
    free(made->hashes);
    free(made->tokens);
}

static inline void apply(epp_router *router, uint64_t worker, const traffic *made, size_t first, size_t n) {
    epp_report report;
    epp_prefill_done done[64];
    epp_decode_progress decode[64];
    size_t n_done = 0, n_decode = 0;
    must(epp_router_apply(router, worker, 0, 0.0, made->events + first, n, made->hashes, made->n_blocks,
                          made->tokens, made->n_blocks * BLOCK_TOKENS, NULL, 0, NULL, 0, &report, done, 64,
                          &n_done, decode, 64, &n_decode));
    if (report.stored_blocks != n * EVENT_BLOCKS) exit(2);
}

/** Let a worker hold the first `n_blocks` blocks of a prompt. */
static inline void hold(epp_router *router, uint64_t worker, const uint32_t *tokens, size_t n_blocks) {
    epp_report report;
    size_t n_done = 0, n_decode = 0;
    uint64_t *names = room((n_blocks + 1) * sizeof *names);
    const epp_event held = {.kind = EPP_EVENT_STORED,
                            .block_tokens = BLOCK_TOKENS,
                            .namespace_seed = epp_namespace_seed(NULL, 0, NULL, 0),
                            .n_blocks = n_blocks};
    for (size_t i = 0; i < n_blocks; i++) names[i] = 1 + i;
    must(epp_router_apply(router, worker, 0, 0.0, &held, 1, names, n_blocks, tokens, n_blocks * BLOCK_TOKENS,
                          NULL, 0, NULL, 0, &report, NULL, 0, &n_done, NULL, 0, &n_decode));
    free(names);
}

/** Workers that hold growing parts of a prompt, among other blocks. */
static inline epp_router *new_fleet(uint32_t workers, const uint32_t *tokens, size_t n_tokens) {
    epp_router *router = new_router(workers);
    traffic noise = make_traffic(4 * (size_t)workers);
    for (uint32_t w = 0; w < workers; w++) {
        apply(router, w + 1, &noise, 4 * (size_t)w, 4);
        hold(router, w + 1, tokens, n_tokens / BLOCK_TOKENS * (w + 1) / workers);
    }
    drop_traffic(&noise);
    return router;
}

static inline void select_once(epp_router *router, epp_request *request, const uint32_t *tokens, size_t n) {
    epp_selection chosen;
    request->seed++;
    must((request->booking ? epp_select_and_reserve : epp_select_worker)(router, request, tokens, n, NULL, 0,
                                                                         NULL, 0, &chosen, NULL, 0, NULL));
}

#endif
