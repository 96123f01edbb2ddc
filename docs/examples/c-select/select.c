// Which of two workers should take this prompt? The native core alone: no interpreter, no threads, no sockets.
//
//     cc -std=c11 -I ../../../cabi/include select.c ../../../cabi/src/*.c -lm -lpthread -o select && ./select
#include <stdio.h>
#include <stdlib.h>

#include "epp.h"

enum { BLOCK_TOKENS = 16, PROMPT_TOKENS = 70, PROMPT_BLOCKS = PROMPT_TOKENS / BLOCK_TOKENS };

static void must(epp_status status, const char *what) {
    if (status == EPP_OK) return;
    fprintf(stderr, "%s: %s\n", what, epp_status_name(status));
    exit(1);
}

static uint64_t add_worker(epp_router *router, const char *name, size_t n_name) {
    epp_worker worker;
    epp_worker_init(&worker);
    worker.worker_id = epp_worker_id(name, n_name);
    worker.block_tokens = BLOCK_TOKENS;
    size_t n_dropped;
    must(epp_router_upsert_worker(router, &worker, NULL, 0, NULL, 0, &n_dropped), "add a worker");
    return worker.worker_id;
}

/* What a worker's event stream says: the prompt's full blocks are in its cache, under names of its own. */
static void stored(epp_router *router, uint64_t worker_id, const uint32_t *tokens) {
    const uint64_t names[PROMPT_BLOCKS] = {101, 102, 103, 104};
    epp_event event = {.kind = EPP_EVENT_STORED,
                       .tier = EPP_TIER_DEVICE,
                       .block_tokens = BLOCK_TOKENS,
                       .namespace_seed = epp_namespace_seed(NULL, 0, NULL, 0),
                       .n_blocks = PROMPT_BLOCKS};
    epp_report report;
    size_t n_done, n_decode;
    must(epp_router_apply(router, worker_id, 0, 1.0, &event, 1, names, PROMPT_BLOCKS, tokens, PROMPT_TOKENS,
                          NULL, 0, NULL, 0, &report, NULL, 0, &n_done, NULL, 0, &n_decode),
         "apply an event");
    printf("the second worker holds %llu blocks\n", (unsigned long long)report.stored_blocks);
}

int main(void) {
    uint32_t tokens[PROMPT_TOKENS];
    for (uint32_t i = 0; i < PROMPT_TOKENS; i++) tokens[i] = 1000 + i;
    epp_router *router;
    must(epp_router_new(NULL, &router), "make a router");
    add_worker(router, "default/first", 13);
    const uint64_t second = add_worker(router, "default/second", 14);
    stored(router, second, tokens);

    epp_request request;
    epp_request_init(&request);
    request.now_s = 2.0;
    request.booking = 7;
    epp_selection chosen;
    must(epp_select_and_reserve(router, &request, tokens, PROMPT_TOKENS, NULL, 0, NULL, 0, &chosen, NULL, 0,
                                NULL),
         "select");
    printf("%s worker, %llu of %llu prompt tokens cached\n", chosen.worker_id == second ? "second" : "first",
           (unsigned long long)chosen.cached_tokens, (unsigned long long)chosen.prompt_tokens);
    must(epp_router_end_booking(router, 7), "end the booking");
    epp_router_free(router);
    return 0;
}
