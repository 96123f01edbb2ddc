/* What one call does in the middle of another. The router's allocator is the foot in the door: at an allocation that
 * tells where a call stands, another call is made, or let through. */
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "check.h"
#include "epp.h"

enum { BS = 16, BLOCKS = 64, RANKS = 640, SHELVES = RANKS + 2, ROOM = 8, ANY_BYTES = 1 << 16 };

/* cabi/src/index.h: what runs take a shelf, and what a block takes. Were it no longer so, nobody would come to the wire,
 * and the test fail. */
enum { RUNS_BYTES = 12, BLOCK_BYTES = 24 };

/** When this thread makes a table of so many bytes (0: gives one back), `act` is called once. */
typedef struct tripwire {
    size_t bytes;
    void (*act)(void);
} tripwire;

static _Thread_local tripwire wire = {.act = NULL};

static void *resize(void *state, void *block, size_t old_bytes, size_t new_bytes) {
    (void)state;
    (void)old_bytes;
    if (wire.act && new_bytes == wire.bytes) {
        void (*act)(void) = wire.act;
        wire.act = NULL;
        act();
    }
    if (new_bytes == 0) {
        free(block);
        return NULL;
    }
    return realloc(block, new_bytes);
}

static epp_router *router;
static uint32_t tokens[BS * BLOCKS];
static uint64_t names[BLOCKS];
static uint8_t snapshot[ANY_BYTES];
static size_t n_snapshot;
static epp_load_report loaded;

static void new_router(void) {
    static const epp_allocator allocator = {.resize = resize};
    CHECK(epp_router_new_with(NULL, &allocator, &router) == EPP_OK);
}

static void put_worker(uint64_t id, uint32_t has_events, uint32_t dp_size) {
    size_t n = 0;
    epp_worker worker;
    epp_worker_init(&worker);
    worker.worker_id = id;
    worker.block_tokens = BS;
    worker.has_events = has_events;
    worker.dp_size = dp_size;
    CHECK(epp_router_upsert_worker(router, &worker, NULL, 0, NULL, 0, &n) == EPP_OK);
}

static void tell(uint64_t worker, uint32_t kind, uint64_t first, uint64_t n_blocks) {
    epp_report report;
    epp_prefill_done done[ROOM];
    epp_decode_progress decode[ROOM];
    size_t n_done = 0, n_decode = 0;
    const epp_event event = {.kind = kind,
                             .block_tokens = BS,
                             .namespace_seed = 1,
                             .first_hash = first,
                             .n_blocks = n_blocks,
                             .first_token = first * BS};
    CHECK(epp_router_apply(router, worker, 0, 0.0, &event, 1, names, BLOCKS, tokens, BS * BLOCKS, NULL, 0,
                           NULL, 0, &report, done, ROOM, &n_done, decode, ROOM, &n_decode) == EPP_OK);
}

static void keep_snapshot(void) {
    CHECK(epp_router_dump(router, 0.0, snapshot, sizeof snapshot, &n_snapshot) == EPP_OK);
}

static void load(void) { CHECK(epp_router_load(router, 0.0, snapshot, n_snapshot, &loaded) == EPP_OK); }

static void end(void) {
    char reason[128];
    CHECK(epp_router_validate(router, reason, sizeof reason) == EPP_OK);
    if (reason[0]) (void)fprintf(stderr, "%s\n", reason);
    CHECK(reason[0] == 0);
    epp_router_free(router);
}

/** A snapshot in which worker 1 holds all blocks. */
static void make_snapshot(uint32_t dp_size) {
    new_router();
    put_worker(1, 1, dp_size);
    tell(1, EPP_EVENT_STORED, 0, BLOCKS);
    keep_snapshot();
    end();
}

/* --- a load begins between looking and booking ------------------------------------------------------- */

static pthread_t loader;
static sem_t has_begun, is_booked;

/** Wait for what always comes; a minute, not to hang if it should not. */
static void wait_for(sem_t *event) {
    struct timespec until;
    CHECK(clock_gettime(CLOCK_REALTIME, &until) == 0);
    until.tv_sec += 60;
    CHECK(sem_timedwait(event, &until) == 0);
}

static void wait_until_booked(void) { wait_for(&is_booked); }

/** The load may change the router from now on, as soon as nobody reads. Then it stops, no longer in nobody's way. */
static void begun(void) {
    CHECK(sem_post(&has_begun) == 0);
    wire = (tripwire){.bytes = 0, .act = wait_until_booked};
}

static void *load_aside(void *nothing) {
    wire = (tripwire){.bytes = (BLOCKS + 1) * BLOCK_BYTES, .act = begun};
    load();
    return nothing;
}

static void begin_load(void) {
    CHECK(pthread_create(&loader, NULL, load_aside, NULL) == 0);
    wait_for(&has_begun);
}

static void book(uint64_t booking) {
    epp_request request;
    epp_selection chosen;
    epp_request_init(&request);
    request.policy = EPP_POLICY_TTFT;
    request.booking = booking;
    CHECK(epp_select_and_reserve(router, &request, tokens, BS * BLOCKS, NULL, 0, NULL, 0, &chosen, NULL, 0,
                                 NULL) == EPP_OK);
}

/** The load has a second shelf for every rank, for which what the question brought along has no room. */
static void shelves_come_between(void) {
    make_snapshot(RANKS);
    CHECK(sem_init(&has_begun, 0, 0) == 0 && sem_init(&is_booked, 0, 0) == 0);
    new_router();
    put_worker(1, 1, 1);
    book(1); /* a prefill that is not done: the next question counts its blocks as coming */
    put_worker(1, 1, RANKS);
    put_worker(2, 0, 1); /* does not report: the next booking lets go of what it read, and begins a change */
    put_worker(3, 1, 1);
    tell(3, EPP_EVENT_STORED, 0, 1);
    wire = (tripwire){.bytes = SHELVES * RUNS_BYTES, .act = begin_load};
    book(2);
    CHECK(wire.act == NULL && sem_post(&is_booked) == 0 && pthread_join(loader, NULL) == 0);
    CHECK(loaded.stored_pairs == BLOCKS && loaded.skipped_ranks == 0);
    end();
    (void)sem_destroy(&has_begun);
    (void)sem_destroy(&is_booked);
}

/* --- a rank is told something while a snapshot of it loads ------------------------------------------- */

static void nothing(void) {}

static void same_again(void) { put_worker(1, 1, 1); }

static void another(void) { tell(3, EPP_EVENT_CLEARED, 0, 0); }

static void clear(void) { tell(1, EPP_EVENT_CLEARED, 0, 0); }

static void remove_blocks(void) { tell(1, EPP_EVENT_REMOVED, 0, BLOCKS); }

static void store_and_clear(void) {
    tell(1, EPP_EVENT_STORED, 0, 2);
    clear();
}

static void drop_blocks(void) {
    size_t n = 0;
    CHECK(epp_router_drop_blocks(router, 1, 0, &n) == EPP_OK);
}

static void come_again(void) {
    uint64_t dropped[ROOM];
    size_t n = 0;
    CHECK(epp_router_remove_worker(router, 1, dropped, ROOM, &n) == EPP_OK);
    same_again();
}

static void load_again(void) { load(); }

/** Whether the rank is taken over all the same. */
typedef struct told_between {
    void (*act)(void);
    int stays;
} told_between;

static void told(told_between between) {
    new_router();
    put_worker(1, 1, 1);
    put_worker(3, 1, 1);
    tell(3, EPP_EVENT_STORED, 0,
         1); /* so that the load has an old table to give back, which it does unlocked */
    wire = (tripwire){.bytes = 0, .act = between.act};
    load();
    CHECK(wire.act == NULL);
    CHECK(loaded.stored_pairs == (between.stays ? BLOCKS : 0) && loaded.skipped_ranks == !between.stays);
    end();
}

int main(void) {
    static const told_between ALL[] = {{nothing, 1},    {same_again, 1},    {another, 1},
                                       {clear, 0},      {remove_blocks, 0}, {drop_blocks, 0},
                                       {come_again, 0}, {load_again, 0},    {store_and_clear, 0}};
    for (uint32_t i = 0; i < BS * BLOCKS; i++) tokens[i] = i;
    for (uint64_t i = 0; i < BLOCKS; i++) names[i] = i + 1;
    shelves_come_between();
    make_snapshot(1);
    for (size_t i = 0; i < sizeof ALL / sizeof *ALL; i++) told(ALL[i]);
    return 0;
}
