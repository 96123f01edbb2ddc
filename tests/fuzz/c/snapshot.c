/* Invariant: any bytes are loaded or refused; what was loaded leaves a valid router, whose own dump loads into an
 * equal one. The checksum is made right first, or no input would get past it. */
#include <string.h>

#include "fuzz.h"

static uint8_t dumped[2][EPP_FUZZ_MAX_BYTES];

static size_t dump(epp_router *router, int which) {
    size_t n = 0;
    FUZZ_CHECK(epp_router_dump(router, 2.0, dumped[which], EPP_FUZZ_MAX_BYTES, &n) == EPP_OK);
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    enum { CHECKSUM_BYTES = 8 };
    uint8_t *copy = malloc(n + 1);
    epp_load_report report;
    epp_router *router = fuzz_router(4, 2048), *again = fuzz_router(4, 2048);
    FUZZ_CHECK(copy != NULL);
    if (n) memcpy(copy, bytes, n);
    if (n >= CHECKSUM_BYTES) {
        const uint64_t sum = epp_xxh3_64(copy, n - CHECKSUM_BYTES, 0);
        for (size_t i = 0; i < CHECKSUM_BYTES; i++) copy[n - CHECKSUM_BYTES + i] = (uint8_t)(sum >> (8 * i));
    }
    if (epp_router_load(router, 2.0, copy, n, &report) == EPP_OK) {
        const size_t length = dump(router, 0);
        FUZZ_CHECK(epp_router_load(again, 2.0, dumped[0], length, &report) == EPP_OK);
        FUZZ_CHECK(report.skipped_ranks == 0 && report.skipped_pairs == 0);
        FUZZ_CHECK(dump(again, 1) == length);
    }
    free(copy);
    fuzz_end(router);
    fuzz_end(again);
    return 0;
}
