/* At the limits: a batch that makes room and takes it again, a block size learnt when nothing more fits, batches of
 * nobody, and a snapshot of as many ranks as there may be. Nothing is written beyond a table (meant for
 * AddressSanitizer), what does not fit is counted, and tables stay as small as the limits say. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "epp.h"

enum { MOST = 1000, SEED = 1337, ROOM = 8, LARGE = 200000 };

static uint64_t names[LARGE];
static uint32_t tokens[LARGE];

static epp_router *new_router(uint64_t max_blocks) {
    epp_options options;
    epp_router *router = NULL;
    epp_options_init(&options);
    options.max_blocks = max_blocks;
    options.default_block_tokens = 2;
    CHECK(epp_router_new(&options, &router) == EPP_OK);
    return router;
}

static void put_worker(epp_router *router, uint64_t id, uint32_t block_tokens, uint32_t has_events,
                       uint32_t dp_size) {
    size_t n = 0;
    epp_worker worker;
    epp_worker_init(&worker);
    worker.worker_id = id;
    worker.block_tokens = block_tokens;
    worker.has_events = has_events;
    worker.dp_size = dp_size;
    CHECK(epp_router_upsert_worker(router, &worker, NULL, 0, NULL, 0, &n) == EPP_OK);
}

/** Blocks of one token: names and tokens from `first` on. */
static epp_event stored(uint64_t first, uint64_t n) {
    return (epp_event){
        .block_tokens = 1, .namespace_seed = SEED, .first_hash = first, .n_blocks = n, .first_token = first};
}

static epp_report tell(epp_router *router, uint64_t worker, const epp_event *events, size_t n_events) {
    epp_report report;
    epp_prefill_done done[ROOM];
    epp_decode_progress decode[ROOM];
    size_t n_done = 0, n_decode = 0;
    CHECK(epp_router_apply(router, worker, 0, 0.0, events, n_events, names, LARGE, tokens, LARGE, NULL, 0,
                           NULL, 0, &report, done, ROOM, &n_done, decode, ROOM, &n_decode) == EPP_OK);
    return report;
}

static epp_stats stats_of(epp_router *router) {
    epp_stats stats;
    CHECK(epp_router_stats(router, &stats) == EPP_OK);
    return stats;
}

static void end(epp_router *router) {
    char reason[128];
    CHECK(epp_router_validate(router, reason, sizeof reason) == EPP_OK);
    if (reason[0]) (void)fprintf(stderr, "%s\n", reason);
    CHECK(reason[0] == 0);
    epp_router_free(router);
}

/** A full rank is cleared, and filled again by the same batch; the one before is still leaving. */
static void cleared_and_stored(void) {
    epp_router *router = new_router(MOST);
    put_worker(router, 1, 1, 1, 1);
    const epp_event first = stored(0, MOST);
    CHECK(tell(router, 1, &first, 1).stored_blocks == MOST);
    const epp_event again[] = {{.kind = EPP_EVENT_CLEARED}, stored(MOST, MOST)};
    CHECK(tell(router, 1, again, 2).stored_blocks == MOST);
    CHECK(stats_of(router).resident_pairs == MOST && stats_of(router).distinct_blocks == MOST);
    end(router);
}

/** The same from an empty index, more often than what leaves has room. */
static void stored_and_cleared(void) {
    epp_router *router = new_router(MOST);
    put_worker(router, 1, 1, 1, 1);
    epp_event events[8];
    for (uint64_t i = 0; i < 4; i++) {
        events[2 * i] = stored(i * MOST, MOST);
        events[2 * i + 1] = (epp_event){.kind = EPP_EVENT_CLEARED};
    }
    CHECK(tell(router, 1, events, 7).stored_blocks == 4 * MOST);
    CHECK(stats_of(router).resident_pairs == MOST && stats_of(router).distinct_blocks == MOST);
    end(router);
}

/** Names leave a rank while another keeps their blocks: pairs are free, blocks are not. */
static void removed_and_stored(void) {
    enum { HALF = MOST / 2 };
    epp_router *router = new_router(MOST);
    const epp_event shared = stored(0, HALF);
    for (uint64_t worker = 1; worker <= 2; worker++) {
        put_worker(router, worker, 1, 1, 1);
        for (uint64_t i = 0; i < HALF; i++) { /* one by one, so that tables have no more than they need */
            epp_event one = stored(i, 1);
            one.parent_hash = i ? names[i - 1] : 0;
            one.flags = i ? EPP_EVENT_HAS_PARENT : 0;
            CHECK(tell(router, worker, &one, 1).stored_blocks == 1);
        }
    }
    CHECK(stats_of(router).resident_pairs == MOST && stats_of(router).distinct_blocks == HALF);
    epp_event events[] = {shared, stored(HALF, MOST)};
    events[0].kind = EPP_EVENT_REMOVED;
    const epp_report report = tell(router, 1, events, 2);
    CHECK(report.removed_blocks == HALF && report.stored_blocks == HALF);
    CHECK(report.ignored[EPP_IGNORED_CAPACITY] == MOST - HALF);
    CHECK(stats_of(router).resident_pairs == MOST && stats_of(router).distinct_blocks == MOST);
    end(router);
}

/** All room is taken by guesses in the usual block size, which leave when an event tells the true one. */
static void learnt_and_stored(void) {
    epp_router *router = new_router(MOST);
    epp_request request;
    epp_selection chosen;
    put_worker(router, 1, 0, 0, 1);
    epp_request_init(&request);
    request.booking = 1;
    CHECK(epp_select_and_reserve(router, &request, tokens, 2 * MOST, NULL, 0, NULL, 0, &chosen, NULL, 0,
                                 NULL) == EPP_OK);
    CHECK(stats_of(router).predicted_blocks == MOST);
    const epp_event event = stored(0, MOST);
    CHECK(tell(router, 1, &event, 1).stored_blocks == MOST);
    CHECK(stats_of(router).predicted_blocks == 0 && stats_of(router).resident_pairs == MOST);
    end(router);
}

/** What does not fit is counted, and takes no memory: at most two blocks a pair, of less than 100 bytes. */
static void too_many(void) {
    epp_router *router = new_router(MOST);
    put_worker(router, 1, 1, 1, 1);
    const epp_event event = stored(0, LARGE);
    for (int i = 0; i < 2; i++)
        CHECK(tell(router, 1, &event, 1).ignored[EPP_IGNORED_CAPACITY] == LARGE - MOST);
    CHECK(stats_of(router).resident_pairs == MOST && stats_of(router).index_bytes < 2 * MOST * 100);
    end(router);
}

/** Batches of workers and ranks that nobody knows make no room for themselves. */
static void of_nobody(void) {
    epp_router *router = new_router(16000000);
    put_worker(router, 1, 1, 1, 1);
    const epp_event event = stored(0, LARGE);
    CHECK(tell(router, 99, &event, 1).ignored[EPP_IGNORED_UNKNOWN_WORKER] == 1);
    CHECK(stats_of(router).index_bytes < 1 << 14);
    end(router);
}

/** A message [0, [["BlockStored", [names], null, [tokens], 1]]] of so many blocks. */
static size_t write_message(uint8_t *to, uint32_t n) {
    static const uint8_t head[] = "\x92\x00\x91\x95\xab"
                                  "BlockStored";
    uint8_t *at = to;
    memcpy(at, head, sizeof head - 1);
    at += sizeof head - 1;
    for (int list = 0; list < 2; list++) {
        *at++ = 0xdd;
        for (int byte = 3; byte >= 0; byte--) *at++ = (uint8_t)(n >> (8 * byte));
        memset(at, 7, n);
        at += n;
        if (list == 0) *at++ = 0xc0;
    }
    *at++ = 1;
    return (size_t)(at - to);
}

static void message_of_nobody(void) {
    static uint8_t message[2 * LARGE + 64];
    const size_t n_message = write_message(message, LARGE);
    epp_router *router = new_router(16000000);
    epp_report report;
    epp_prefill_done done[ROOM];
    epp_decode_progress decode[ROOM];
    size_t n_done = 0, n_decode = 0;
    CHECK(epp_router_apply_payload(router, 99, 0, 0.0, message, n_message, &report, done, ROOM, &n_done,
                                   decode, ROOM, &n_decode) == EPP_OK);
    CHECK(report.ignored[EPP_IGNORED_UNKNOWN_WORKER] == 1);
    CHECK(stats_of(router).index_bytes < 1 << 14);
    end(router);
}

/** All ranks that there may be are taken over from a snapshot. */
static void all_ranks(void) {
    enum { WORKERS = 16, RANKS = 4096, BYTES = 4 << 20 };
    epp_router *router = new_router(MOST);
    epp_load_report report;
    uint8_t *snapshot = malloc(BYTES);
    size_t n = 0;
    CHECK(snapshot != NULL);
    for (uint64_t id = 1; id <= WORKERS; id++) put_worker(router, id, 1, 1, RANKS);
    CHECK(epp_router_dump(router, 0.0, snapshot, BYTES, &n) == EPP_OK);
    CHECK(epp_router_load(router, 0.0, snapshot, n, &report) == EPP_OK && report.skipped_ranks == 0);
    free(snapshot);
    end(router);
}

int main(void) {
    for (uint32_t i = 0; i < LARGE; i++) {
        names[i] = i + 1;
        tokens[i] = i;
    }
    cleared_and_stored();
    stored_and_cleared();
    removed_and_stored();
    learnt_and_stored();
    too_many();
    of_nobody();
    message_of_nobody();
    all_ranks();
    return 0;
}
