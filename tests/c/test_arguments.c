/* NULL where something must be: every call says EPP_E_ARGUMENT, writes nothing and crashes nobody. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "epp.h"

static int failures;

#define REFUSED(call)                                                                       \
    do {                                                                                    \
        if ((call) != EPP_E_ARGUMENT) {                                                     \
            (void)fprintf(stderr, "%s:%d: %s is not refused\n", __FILE__, __LINE__, #call); \
            failures++;                                                                     \
        }                                                                                   \
    } while (0)

enum { ROOM = 8, TOKENS = 64, BLOCKS = 4 };

static epp_router *router;
static size_t n;
static uint64_t ids[ROOM];
static uint32_t tokens[TOKENS];
static char text[256];

static void workers(void) {
    epp_worker worker;
    const epp_load_sample sample = {0};
    epp_worker_init(&worker);
    worker.worker_id = 1;
    REFUSED(epp_router_upsert_worker(NULL, &worker, NULL, 0, NULL, 0, &n));
    REFUSED(epp_router_upsert_worker(router, NULL, NULL, 0, NULL, 0, &n));
    REFUSED(epp_router_upsert_worker(router, &worker, NULL, 3, NULL, 0, &n));
    REFUSED(epp_router_upsert_worker(router, &worker, NULL, 0, NULL, 3, &n));
    REFUSED(epp_router_upsert_worker(router, &worker, NULL, 0, NULL, 0, NULL));
    if (epp_router_upsert_worker(router, &worker, NULL, 0, NULL, 0, &n) != EPP_OK) failures++;
    REFUSED(epp_router_remove_worker(NULL, 1, NULL, 0, &n));
    REFUSED(epp_router_remove_worker(router, 1, NULL, 1, &n));
    REFUSED(epp_router_remove_worker(router, 1, NULL, 0, NULL));
    REFUSED(epp_router_set_load(NULL, 1, 0, &sample));
    REFUSED(epp_router_set_load(router, 1, 0, NULL));
    REFUSED(epp_router_drop_blocks(NULL, 1, 0, &n));
    REFUSED(epp_router_drop_blocks(router, 1, 0, NULL));
}

/** A batch of one event, with what is NULL by number. */
static epp_status apply(int without) {
    epp_report report;
    epp_prefill_done done[ROOM];
    epp_decode_progress decode[ROOM];
    size_t n_decode = 0;
    const uint32_t counts[BLOCKS] = {1};
    const epp_event event = {.block_tokens = TOKENS / BLOCKS, .n_blocks = BLOCKS};
    return epp_router_apply(without == 0 ? NULL : router, 1, 0, 0.0, without == 1 ? NULL : &event, 1,
                            without == 2 ? NULL : ids, BLOCKS, without == 3 ? NULL : tokens, TOKENS, counts,
                            BLOCKS, without == 4 ? NULL : ids, 1, without == 5 ? NULL : &report,
                            without == 6 ? NULL : done, ROOM, without == 7 ? NULL : &n,
                            without == 8 ? NULL : decode, ROOM, without == 9 ? NULL : &n_decode);
}

static epp_status receive(int without) {
    epp_report report;
    epp_prefill_done done[ROOM];
    epp_decode_progress decode[ROOM];
    size_t n_decode = 0;
    static const uint8_t payload[] = {0x93, 0, 0x90, 0};
    return epp_router_apply_payload(without == 0 ? NULL : router, 1, 0, 0.0, without == 1 ? NULL : payload,
                                    sizeof payload, without == 2 ? NULL : &report, without == 3 ? NULL : done,
                                    ROOM, without == 4 ? NULL : &n, without == 5 ? NULL : decode, ROOM,
                                    without == 6 ? NULL : &n_decode);
}

static void events(void) {
    for (int without = 0; without < 10; without++) REFUSED(apply(without));
    for (int without = 0; without < 7; without++) REFUSED(receive(without));
}

static void choices(void) {
    epp_request request;
    epp_selection chosen;
    epp_terms terms[ROOM];
    epp_request_init(&request);
    REFUSED(epp_select_worker(NULL, &request, tokens, TOKENS, NULL, 0, NULL, 0, &chosen, terms, ROOM, &n));
    REFUSED(epp_select_worker(router, NULL, tokens, TOKENS, NULL, 0, NULL, 0, &chosen, terms, ROOM, &n));
    REFUSED(epp_select_worker(router, &request, NULL, TOKENS, NULL, 0, NULL, 0, &chosen, terms, ROOM, &n));
    REFUSED(epp_select_worker(router, &request, tokens, TOKENS, NULL, 2, NULL, 0, &chosen, terms, ROOM, &n));
    REFUSED(epp_select_worker(router, &request, tokens, TOKENS, NULL, 0, NULL, 2, &chosen, terms, ROOM, &n));
    REFUSED(epp_select_worker(router, &request, tokens, TOKENS, NULL, 0, NULL, 0, NULL, terms, ROOM, &n));
    REFUSED(epp_select_worker(router, &request, tokens, TOKENS, NULL, 0, NULL, 0, &chosen, NULL, ROOM, &n));
    REFUSED(
        epp_select_worker(router, &request, tokens, TOKENS, NULL, 0, NULL, 0, &chosen, terms, ROOM, NULL));
    REFUSED(
        epp_select_and_reserve(router, &request, tokens, TOKENS, NULL, 0, NULL, 0, &chosen, terms, ROOM, &n));
    request.booking = 9;
    REFUSED(epp_select_worker(router, &request, tokens, TOKENS, NULL, 0, NULL, 0, &chosen, terms, ROOM, &n));
    REFUSED(
        epp_select_and_reserve(router, &request, tokens, TOKENS, NULL, 0, NULL, 0, NULL, terms, ROOM, &n));
    REFUSED(epp_router_measure(NULL, &request, tokens, TOKENS, NULL, 0, NULL, 0, terms, ROOM, &n));
    REFUSED(epp_router_measure(router, NULL, tokens, TOKENS, NULL, 0, NULL, 0, terms, ROOM, &n));
    REFUSED(epp_router_measure(router, &request, tokens, TOKENS, NULL, 0, NULL, 0, NULL, ROOM, &n));
    REFUSED(epp_router_measure(router, &request, tokens, TOKENS, NULL, 0, NULL, 0, terms, ROOM, NULL));
}

/** A caller with hashes knows nothing for a worker whose blocks have another size; what is booked there counts. */
static void hashes(void) {
    epp_request request;
    epp_selection chosen;
    epp_terms terms[ROOM];
    epp_rank_load load;
    char reason[128];
    epp_request_init(&request);
    request.lease_s = 5.0;
    request.hash_block_tokens = (1 << 20) + 1;
    REFUSED(epp_select_worker(router, &request, ids, TOKENS, NULL, 0, NULL, 0, &chosen, terms, ROOM, &n));
    request.hash_block_tokens = TOKENS;
    REFUSED(epp_select_worker(router, &request, NULL, TOKENS, NULL, 0, NULL, 0, &chosen, terms, ROOM, &n));
    if (epp_router_measure(router, &request, NULL, TOKENS - 1, NULL, 0, NULL, 0, terms, ROOM, &n) != EPP_OK)
        failures++;
    request.booking = 5;
    if (epp_select_and_reserve(router, &request, ids, TOKENS, NULL, 0, NULL, 0, &chosen, terms, ROOM, &n) !=
            EPP_OK ||
        n != 1 || terms[0].request_blocks != TOKENS / 16 || terms[0].cached_tokens != 0)
        failures++;
    if (epp_router_loads(router, &load, 1, &n) != EPP_OK || load.active_decode_blocks != TOKENS / 16 ||
        load.active_prefill_tokens != TOKENS)
        failures++;
    if (epp_router_validate(router, reason, sizeof reason) != EPP_OK || reason[0]) failures++;
    if (epp_router_end_booking(router, 5) != EPP_OK) failures++;
    if (epp_router_loads(router, &load, 1, &n) != EPP_OK || load.active_decode_blocks != 0) failures++;
}

static void bookings(void) {
    uint32_t running = 0;
    epp_prefill_done done;
    REFUSED(epp_router_prefill_complete(NULL, 1, 0.0, &running, &done));
    REFUSED(epp_router_prefill_complete(router, 1, 0.0, NULL, &done));
    REFUSED(epp_router_prefill_complete(router, 1, 0.0, &running, NULL));
    REFUSED(epp_router_output_block(NULL, 1, 0.0));
    REFUSED(epp_router_renew(NULL, 1, 0.0));
    REFUSED(epp_router_end_booking(NULL, 1));
    REFUSED(epp_router_expire(NULL, 0.0, ids, ROOM, &n));
    REFUSED(epp_router_expire(router, 0.0, NULL, ROOM, &n));
    REFUSED(epp_router_expire(router, 0.0, ids, ROOM, NULL));
}

static void looking(void) {
    epp_rank_load loads[ROOM];
    epp_stats stats;
    epp_load_report report;
    REFUSED(epp_router_loads(NULL, loads, ROOM, &n));
    REFUSED(epp_router_loads(router, NULL, ROOM, &n));
    REFUSED(epp_router_loads(router, loads, ROOM, NULL));
    REFUSED(epp_router_stats(NULL, &stats));
    REFUSED(epp_router_stats(router, NULL));
    REFUSED(epp_router_validate(NULL, text, sizeof text));
    REFUSED(epp_router_validate(router, NULL, sizeof text));
    REFUSED(epp_router_dump(NULL, 0.0, text, sizeof text, &n));
    REFUSED(epp_router_dump(router, 0.0, NULL, sizeof text, &n));
    REFUSED(epp_router_dump(router, 0.0, text, sizeof text, NULL));
    REFUSED(epp_router_load(NULL, 0.0, text, sizeof text, &report));
    REFUSED(epp_router_load(router, 0.0, NULL, sizeof text, &report));
    REFUSED(epp_router_load(router, 0.0, text, sizeof text, NULL));
}

static void pure(void) {
    const uint32_t counts[BLOCKS] = {1};
    REFUSED(epp_hash_blocks(NULL, TOKENS, TOKENS / BLOCKS, 0, 0, NULL, NULL, 0, ids, ids));
    REFUSED(epp_hash_blocks(tokens, TOKENS, TOKENS / BLOCKS, 0, 0, counts, NULL, 1, ids, ids));
    REFUSED(epp_router_new(NULL, NULL));
    if (epp_worker_id(NULL, 3) != epp_worker_id("", 0)) failures++;
    if (epp_xxh3_64(NULL, 3, 1) != epp_xxh3_64("", 0, 1)) failures++;
    if (epp_namespace_seed(NULL, 3, NULL, 3) != epp_namespace_seed("", 0, "", 0)) failures++;
    epp_options_init(NULL);
    epp_worker_init(NULL);
    epp_request_init(NULL);
    epp_router_free(NULL);
}

int main(void) {
    uint64_t untouched[ROOM];
    memset(ids, 0xAB, sizeof ids);
    memcpy(untouched, ids, sizeof ids);
    n = 77;
    if (epp_router_new(NULL, &router) != EPP_OK) return 1;
    pure();
    workers();
    events();
    choices();
    hashes();
    bookings();
    looking();
    if (memcmp(untouched, ids, sizeof ids) != 0) failures++;
    epp_router_free(router);
    return failures ? 1 : 0;
}
