/* Any thread may call anything: several do, for as many rounds as the first argument says, and the router is valid
 * at the end. Meant for ThreadSanitizer. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "epp.h"

enum { THREADS = 4, WORKERS = 8, BS = 16, BLOCKS = 16 };

static epp_router *router;
static long rounds = 200;

static void must(epp_status status) {
    if (status == EPP_OK) return;
    (void)fprintf(stderr, "%s\n", epp_status_name((int)status));
    abort();
}

static void store_and_remove(uint64_t worker, uint64_t round, const uint32_t *tokens) {
    epp_report report;
    epp_prefill_done done[256];
    epp_decode_progress decode[256];
    size_t n_done = 0, n_decode = 0;
    uint64_t names[BLOCKS];
    for (uint64_t i = 0; i < BLOCKS; i++) names[i] = 1000 * worker + i;
    const epp_event event = {.kind = round % 3 ? EPP_EVENT_STORED : EPP_EVENT_REMOVED,
                             .block_tokens = BS,
                             .namespace_seed = epp_namespace_seed(NULL, 0, NULL, 0),
                             .n_blocks = BLOCKS};
    must(epp_router_apply(router, worker, 0, (double)round, &event, 1, names, BLOCKS, tokens, BS * BLOCKS,
                          NULL, 0, NULL, 0, &report, done, 256, &n_done, decode, 256, &n_decode));
}

static void pick_and_free(uint64_t booking, double now_s, const uint32_t *tokens) {
    epp_request request;
    epp_selection chosen;
    uint32_t running = 0;
    epp_prefill_done done;
    epp_request_init(&request);
    request.seed = booking;
    request.booking = booking;
    request.now_s = now_s;
    request.lease_s = 1e6;
    must(epp_router_select(router, &request, tokens, BS * BLOCKS, NULL, 0, NULL, 0, &chosen, NULL, 0, NULL));
    must(epp_router_prefill_complete(router, booking, now_s, &running, &done));
    must(epp_router_output_block(router, booking, 0.5));
    must(epp_router_end_booking(router, booking));
}

static void look(double now_s) {
    epp_stats stats;
    epp_rank_load loads[2 * WORKERS];
    uint64_t expired[8];
    size_t n = 0;
    must(epp_router_stats(router, &stats));
    must(epp_router_loads(router, loads, 2 * WORKERS, &n));
    must(epp_router_expire(router, now_s, expired, 8, &n));
}

static void *work(void *argument) {
    const uint64_t thread = (uint64_t)(uintptr_t)argument;
    uint32_t tokens[BS * BLOCKS];
    for (uint32_t i = 0; i < BS * BLOCKS; i++) tokens[i] = i;
    for (long round = 0; round < rounds; round++) {
        store_and_remove(1 + (thread + (uint64_t)round) % WORKERS, (uint64_t)round, tokens);
        pick_and_free((thread + 1) << 32 | (uint64_t)round, (double)round, tokens);
        if (round % 16 == 0) look((double)round);
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[THREADS];
    char reason[128];
    if (argc > 1) rounds = strtol(argv[1], NULL, 10);
    must(epp_router_new(NULL, &router));
    for (uint64_t id = 1; id <= WORKERS; id++) {
        epp_worker worker;
        size_t n = 0;
        epp_worker_init(&worker);
        worker.worker_id = id;
        worker.has_events = id % 2 == 0;
        must(epp_router_upsert_worker(router, &worker, NULL, 0, NULL, 0, &n));
    }
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)i) != 0) return 1;
    for (int i = 0; i < THREADS; i++) (void)pthread_join(threads[i], NULL);
    must(epp_router_validate(router, reason, sizeof reason));
    epp_router_free(router);
    if (reason[0]) (void)fprintf(stderr, "%s\n", reason);
    return reason[0] != 0;
}
