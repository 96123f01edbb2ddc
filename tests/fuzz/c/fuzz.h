/** What fuzz targets share. */
#ifndef EPP_FUZZ_H
#define EPP_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "epp.h"

enum { EPP_FUZZ_MAX_BYTES = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n);

#define FUZZ_CHECK(condition)                                                     \
    do {                                                                          \
        if (!(condition)) {                                                       \
            (void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
            abort();                                                              \
        }                                                                         \
    } while (0)

/** A router with `workers` workers, ids from 1; every third one has no events, every second one two ranks. */
static inline epp_router *fuzz_router(uint32_t workers, uint64_t max_blocks) {
    epp_router *router = NULL;
    epp_options options;
    epp_options_init(&options);
    options.max_blocks = max_blocks;
    options.max_workers = 8;
    options.max_bookings = 32;
    FUZZ_CHECK(epp_router_new(&options, &router) == EPP_OK);
    for (uint32_t i = 1; i <= workers; i++) {
        epp_worker worker;
        size_t n = 0;
        epp_worker_init(&worker);
        worker.worker_id = i;
        worker.dp_size = 1 + i % 2;
        worker.has_events = i % 3 != 0;
        FUZZ_CHECK(epp_router_upsert_worker(router, &worker, NULL, 0, NULL, 0, &n) == EPP_OK);
    }
    return router;
}

static inline void fuzz_end(epp_router *router) {
    char reason[128];
    FUZZ_CHECK(epp_router_validate(router, reason, sizeof reason) == EPP_OK);
    if (reason[0]) (void)fprintf(stderr, "%s\n", reason);
    FUZZ_CHECK(reason[0] == 0);
    epp_router_free(router);
}

#endif
