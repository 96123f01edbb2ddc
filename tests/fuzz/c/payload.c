/* Invariant: any bytes are a message that applies or is counted; the router stays valid, and applying the same
 * message again stores nothing new unless it cleared or removed something. */
#include "fuzz.h"

static epp_report apply(epp_router *router, const uint8_t *bytes, size_t n) {
    epp_report report;
    size_t n_done = 0, n_decode = 0;
    FUZZ_CHECK(epp_router_apply_payload(router, 1, 0, 1.0, bytes, n, &report, NULL, 0, &n_done, NULL, 0,
                                        &n_decode) == EPP_OK);
    return report;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
    epp_router *router = fuzz_router(1, 4096);
    const epp_report first = apply(router, bytes, n), second = apply(router, bytes, n);
    if (first.cleared == 0 && first.removed_blocks == 0 && first.ignored[EPP_IGNORED_ORPHAN] == 0 &&
        first.ignored[EPP_IGNORED_DUPLICATE] == 0 && first.ignored[EPP_IGNORED_UNKNOWN_HASH] == 0)
        FUZZ_CHECK(second.stored_blocks == 0);
    fuzz_end(router);
    return 0;
}
