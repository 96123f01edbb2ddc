/* Any thread may call anything: readers, writers and selectors at once, for as many rounds as the first argument says.
 * Meant for ThreadSanitizer; without it, readers check that what they see is whole, and the router must be valid and
 * its books empty at the end. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "epp.h"

enum {
    WORKERS = 8,
    BS = 16,
    BLOCKS = 16,
    TOKENS = BS * BLOCKS,
    ROWS = 4 * WORKERS,
    MANY = 1024, /* blocks that do not go in one part */
    SNAPSHOT_BYTES = 1 << 18
};

static epp_router *router;
static long rounds = 200;
static uint32_t tokens[TOKENS];
static uint32_t many_tokens[BS * MANY];

/** One thread: what it does each round. */
typedef struct member {
    void (*act)(uint64_t thread, uint64_t round);
    uint64_t thread;
} member;

static void must(epp_status status) {
    if (status == EPP_OK) return;
    (void)fprintf(stderr, "%s\n", epp_status_name((int)status));
    abort();
}

static void check(int condition, const char *what) {
    if (condition) return;
    (void)fprintf(stderr, "%s\n", what);
    abort();
}

/* --- writers --------------------------------------------------------------------------------------- */

static void put_worker(uint64_t id, uint32_t has_events, uint32_t dp_size, uint32_t block_tokens) {
    uint64_t dropped[64];
    const uint64_t taint = id % 2;
    size_t n = 0;
    epp_worker worker;
    epp_worker_init(&worker);
    worker.worker_id = id;
    worker.has_events = has_events;
    worker.dp_size = dp_size;
    worker.block_tokens = block_tokens;
    must(epp_router_upsert_worker(router, &worker, &taint, 1, dropped, 64, &n));
}

/** The last worker comes and goes, grows and shrinks, falls silent, changes its block size. */
static void change(uint64_t thread, uint64_t round) {
    uint64_t dropped[64];
    size_t n = 0;
    const epp_load_sample load = {.waiting_requests = (int64_t)round, .kv_usage = 0.5};
    put_worker(WORKERS, round % 8 != 0, 1 + (uint32_t)(round % 3), round % 16 < 8 ? BS : BS / 2);
    must(epp_router_set_load(router, 1 + round % WORKERS, 0, &load));
    if (round % 4 == 3) must(epp_router_remove_worker(router, WORKERS, dropped, 64, &n));
    if (round % 8 == 5) must(epp_router_drop_blocks(router, 1 + thread % WORKERS, 0, &n));
}

static void report(uint64_t thread, uint64_t round) {
    epp_report told;
    epp_prefill_done done[64];
    epp_decode_progress decode[64];
    size_t n_done = 0, n_decode = 0;
    uint64_t names[BLOCKS];
    const uint64_t worker = 1 + (thread + round) % WORKERS;
    for (uint64_t i = 0; i < BLOCKS; i++) names[i] = 1000 * worker + i;
    const epp_event event = {.kind = round % 3 ? EPP_EVENT_STORED : EPP_EVENT_REMOVED,
                             .block_tokens = BS,
                             .namespace_seed = epp_namespace_seed(NULL, 0, NULL, 0),
                             .n_blocks = BLOCKS};
    must(epp_router_apply(router, worker, 0, (double)round, &event, 1, names, BLOCKS, tokens, TOKENS, NULL, 0,
                          NULL, 0, &told, done, 64, &n_done, decode, 64, &n_decode));
    static const uint8_t cleared[] = "\x93\x00\x91\x91\xb0"
                                     "AllBlocksCleared\x00";
    if (round % 8 == 7)
        must(epp_router_apply_payload(router, worker, 0, (double)round, cleared, sizeof cleared - 1, &told,
                                      done, 64, &n_done, decode, 64, &n_decode));
}

/* --- a worker that gains and loses many blocks ----------------------------------------------------- */

static void store_many(uint64_t worker) {
    epp_report told;
    epp_prefill_done done[64];
    epp_decode_progress decode[64];
    size_t n_done = 0, n_decode = 0;
    uint64_t names[MANY];
    for (uint64_t i = 0; i < MANY; i++) names[i] = 100000 * worker + i;
    const epp_event event = {
        .block_tokens = BS, .namespace_seed = epp_namespace_seed(NULL, 0, NULL, 0), .n_blocks = MANY};
    must(epp_router_apply(router, worker, 0, 0.0, &event, 1, names, MANY, many_tokens, BS * MANY, NULL, 0,
                          NULL, 0, &told, done, 64, &n_done, decode, 64, &n_decode));
}

static void clear(uint64_t worker) {
    epp_report told;
    epp_prefill_done done[64];
    epp_decode_progress decode[64];
    size_t n_done = 0, n_decode = 0;
    const epp_event event = {.kind = EPP_EVENT_CLEARED};
    must(epp_router_apply(router, worker, 0, 0.0, &event, 1, NULL, 0, NULL, 0, NULL, 0, NULL, 0, &told, done,
                          64, &n_done, decode, 64, &n_decode));
}

static uint64_t held_by(uint64_t worker) {
    epp_rank_load loads[ROWS];
    size_t n = 0;
    must(epp_router_loads(router, loads, ROWS, &n));
    for (size_t i = 0; i < n; i++)
        if (loads[i].worker_id == worker && loads[i].rank == 0) return loads[i].resident_blocks;
    return 0;
}

/** Lose everything in one of the ways there are. */
static void lose(uint64_t worker, uint64_t way) {
    uint64_t dropped[64];
    size_t n = 0;
    if (way == 0) clear(worker);
    if (way == 1) must(epp_router_remove_worker(router, worker, dropped, 64, &n));
    if (way == 2) must(epp_router_drop_blocks(router, worker, 0, &n));
    if (way == 3) put_worker(worker, 1, 1, BS / 2);
    put_worker(worker, 1, 1, BS);
}

/** Snapshots of routers that know one worker and its many blocks. */
enum { KNOWN = 3, FIRST_KNOWN = 100 };
static uint8_t known[KNOWN][SNAPSHOT_BYTES];
static size_t known_bytes[KNOWN];

static void make_snapshot(uint64_t which) {
    const uint64_t worker = FIRST_KNOWN + which;
    must(epp_router_new(NULL, &router));
    put_worker(worker, 1, 1, BS);
    store_many(worker);
    must(epp_router_dump(router, 0.0, known[which], SNAPSHOT_BYTES, &known_bytes[which]));
    epp_router_free(router);
}

/** Blocks that come by events or a snapshot are there at once, and gone at once; nobody else touches this worker. */
static void churn(uint64_t thread, uint64_t round) {
    const uint64_t which = thread % 2, worker = FIRST_KNOWN + which;
    epp_load_report loaded;
    if (round % 16) return;
    put_worker(worker, 1, 1, BS);
    store_many(worker);
    check(held_by(worker) == MANY, "stored blocks are missing");
    lose(worker, round / 16 % 4);
    check(held_by(worker) == 0, "lost blocks are there");
    must(epp_router_load(router, 0.0, known[which], known_bytes[which], &loaded));
    check(loaded.stored_pairs == MANY && held_by(worker) == MANY, "loaded blocks are missing");
    lose(worker, (round / 16 + 1) % 4);
    check(held_by(worker) == 0, "lost blocks are there");
}

/** Two threads take the same worker from each other. */
static void quarrel(uint64_t thread, uint64_t round) {
    const uint64_t which = KNOWN - 1, worker = FIRST_KNOWN + which;
    epp_load_report loaded;
    if (round % 16) return;
    put_worker(worker, 1, 1, BS);
    must(epp_router_load(router, 0.0, known[which], known_bytes[which], &loaded));
    check(loaded.stored_pairs + loaded.skipped_pairs == MANY, "a load lost count");
    store_many(worker);
    lose(worker, (round / 16 + thread) % 4);
}

/* --- selectors ------------------------------------------------------------------------------------- */

static epp_request request_of(uint64_t thread, uint64_t round) {
    epp_request request;
    epp_request_init(&request);
    request.seed = thread << 32 | round;
    request.policy = (uint32_t)(round % (EPP_POLICY_POWER_OF_TWO + 1));
    request.now_s = (double)round;
    request.lease_s = 1e6;
    return request;
}

static void book(uint64_t thread, uint64_t round) {
    const uint64_t booking = (thread + 1) << 32 | round;
    epp_request request = request_of(thread, round);
    epp_selection chosen;
    epp_terms terms[ROWS];
    epp_prefill_done done;
    uint32_t running = 0;
    size_t n = 0;
    request.booking = booking;
    must(
        epp_select_and_reserve(router, &request, tokens, TOKENS, NULL, 0, NULL, 0, &chosen, terms, ROWS, &n));
    check(n >= WORKERS - 1 && chosen.prompt_tokens == TOKENS, "a choice is not whole");
    const epp_status left = epp_router_prefill_complete(router, booking, request.now_s, &running, &done);
    if (left == EPP_E_UNKNOWN) return; /* its worker was removed */
    (void)epp_router_output_block(router, booking, 0.5);
    (void)epp_router_renew(router, booking, request.now_s);
    (void)epp_router_end_booking(router, booking);
}

static void ask(uint64_t thread, uint64_t round) {
    epp_request request = request_of(thread, round);
    epp_selection chosen;
    epp_terms terms[ROWS];
    size_t n = 0;
    const epp_taint taint = {.name = 1, .weight = 1.0};
    must(epp_select_worker(router, &request, tokens, TOKENS, NULL, 0, &taint, 1, &chosen, NULL, 0, NULL));
    must(epp_router_measure(router, &request, tokens, TOKENS, NULL, 0, NULL, 0, terms, ROWS, &n));
    check(n >= WORKERS - 1, "rows are missing");
    for (size_t i = 0; i < n; i++)
        check(terms[i].device_blocks <= terms[i].request_blocks, "a run is longer than the prompt");
}

/* --- readers --------------------------------------------------------------------------------------- */

static void check_valid(const char *when) {
    char reason[128];
    must(epp_router_validate(router, reason, sizeof reason));
    if (reason[0]) (void)fprintf(stderr, "%s: ", when);
    check(reason[0] == 0, reason);
}

static void look(uint64_t thread, uint64_t round) {
    static uint8_t snapshots[2][SNAPSHOT_BYTES];
    epp_stats stats;
    epp_rank_load loads[ROWS];
    epp_load_report loaded;
    epp_router *copy = NULL;
    uint64_t expired[64];
    size_t n = 0, n_bytes = 0;
    uint8_t *bytes = snapshots[thread % 2];
    must(epp_router_stats(router, &stats));
    must(epp_router_loads(router, loads, ROWS, &n));
    must(epp_router_expire(router, (double)round, expired, 64, &n));
    if (round % 8 == 0) {
        must(epp_router_dump(router, (double)round, bytes, SNAPSHOT_BYTES, &n_bytes));
        must(epp_router_new(NULL, &copy));
        must(epp_router_load(copy, (double)round, bytes, n_bytes, &loaded));
        epp_router_free(copy);
    }
    if (round % 8 == 4) check_valid("meanwhile");
}

/* --- all of them ----------------------------------------------------------------------------------- */

static void *play(void *argument) {
    const member *me = argument;
    for (long round = 0; round < rounds; round++) me->act(me->thread, (uint64_t)round);
    return NULL;
}

int main(int argc, char **argv) {
    member members[] = {{book, 0},   {book, 1},     {ask, 2},     {ask, 3},  {report, 4},
                        {report, 5}, {change, 6},   {look, 7},    {look, 8}, {churn, 9},
                        {churn, 10}, {quarrel, 11}, {quarrel, 12}};
    enum { MEMBERS = sizeof members / sizeof *members };
    pthread_t threads[MEMBERS];
    epp_stats stats;
    if (argc > 1) rounds = strtol(argv[1], NULL, 10);
    for (uint32_t i = 0; i < TOKENS; i++) tokens[i] = i;
    for (uint32_t i = 0; i < BS * MANY; i++) many_tokens[i] = i / 2;
    for (uint64_t which = 0; which < KNOWN; which++) make_snapshot(which);
    must(epp_router_new(NULL, &router));
    for (uint64_t id = 1; id <= WORKERS; id++) put_worker(id, 1, 1, BS);
    for (size_t i = 0; i < MEMBERS; i++)
        if (pthread_create(&threads[i], NULL, play, &members[i]) != 0) return 1;
    for (size_t i = 0; i < MEMBERS; i++) (void)pthread_join(threads[i], NULL);
    check_valid("at the end");
    must(epp_router_stats(router, &stats));
    check(stats.bookings == 0, "bookings are left");
    epp_router_free(router);
    return 0;
}
