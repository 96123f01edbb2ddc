/* Memory of the core per (worker, block) pair, one JSON object per line: name, value, unit. All that a router has
 * allocated is counted, and everything is deterministic. */
#include "bench.h"

enum { EVENTS = 16384 };

static double bytes_per_pair(epp_router *router) {
    epp_stats stats;
    must(epp_router_stats(router, &stats));
    return (double)stats.memory_bytes / (double)stats.resident_pairs;
}

/** The worst seen while private blocks come in, so growth steps are not hidden. */
static void bench_private(const traffic *made) {
    enum { WORKERS = 64, FROM_EVENTS = 100000 / EVENT_BLOCKS };
    epp_router *router = new_router(WORKERS);
    double worst = 0.0, last = 0.0;
    for (size_t i = 0; i < EVENTS; i++) {
        apply(router, 1 + i % WORKERS, made, i, 1);
        last = bytes_per_pair(router);
        if (i >= FROM_EVENTS && last > worst) worst = last;
    }
    print("bytes_per_worker_block", last, "bytes");
    print("bytes_per_worker_block_worst", worst, "bytes");
    epp_router_free(router);
}

/** `events` of them on each worker: the same, or other ones on each. */
static double bytes_of_fleet(const traffic *made, uint32_t workers, size_t events, bool shared) {
    epp_router *router = new_router(workers);
    for (uint32_t w = 0; w < workers; w++)
        for (size_t i = 0; i < events; i++) apply(router, w + 1, made, shared ? i : w * events + i, 1);
    const double bytes = bytes_per_pair(router);
    epp_router_free(router);
    return bytes;
}

static void bench_fleets(const traffic *made) {
    static const uint32_t fleets[] = {1, 16, 64};
    char name[64];
    for (size_t i = 0; i < sizeof fleets / sizeof *fleets; i++)
        for (int shared = 0; shared < 2; shared++) {
            (void)snprintf(name, sizeof name, "bytes_per_worker_block_%u_workers_%s", fleets[i],
                           shared ? "shared" : "disjoint");
            print(name, bytes_of_fleet(made, fleets[i], EVENTS / 64, shared), "bytes");
        }
    print("bytes_per_shared_worker_block", bytes_of_fleet(made, 64, EVENTS / 16, true), "bytes");
}

int main(void) {
    traffic made = make_traffic(EVENTS);
    bench_private(&made);
    bench_fleets(&made);
    drop_traffic(&made);
    return 0;
}
