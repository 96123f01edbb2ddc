/* What threads do to each other, on the wall clock, one JSON object per line: name, value, unit. It needs two cores
 * to itself to say much. Every figure is the median of several runs. */
#include <pthread.h>
#include <stdatomic.h>

#include "bench.h"

enum { WORKERS = 64, LONG = 8192, SHORT = 2048, PROMPTS = 64, MAX_THREADS = 2, MAX_SAMPLES = 1 << 20 };

static const double RUN_S = 0.3;

/** What the threads of one run share. */
typedef struct stage {
    epp_router *router;
    const uint32_t *tokens; /* PROMPTS prompts of SHORT tokens, or one of LONG */
    traffic made;
    atomic_bool stop;
    pthread_barrier_t start;
} stage;

typedef struct actor {
    stage *on;
    uint64_t number;
    uint64_t calls;
    double *samples_us; /* NULL: not wanted */
    size_t n_samples;
} actor;

static void sample(actor *me, double since_s) {
    if (me->samples_us && me->n_samples < MAX_SAMPLES)
        me->samples_us[me->n_samples++] = (wall_s() - since_s) * 1e6;
}

/* --- parts ----------------------------------------------------------------------------------------- */

static void *ask(void *argument) {
    actor *me = argument;
    epp_request request;
    epp_request_init(&request);
    (void)pthread_barrier_wait(&me->on->start);
    while (!atomic_load_explicit(&me->on->stop, memory_order_relaxed)) {
        const double since_s = me->samples_us ? wall_s() : 0.0;
        select_once(me->on->router, &request, me->on->tokens, LONG);
        sample(me, since_s);
        me->calls++;
    }
    return NULL;
}

static void *reserve(void *argument) {
    actor *me = argument;
    epp_request request;
    epp_request_init(&request);
    (void)pthread_barrier_wait(&me->on->start);
    while (!atomic_load_explicit(&me->on->stop, memory_order_relaxed)) {
        request.booking = (me->number + 1) << 32 | me->calls;
        select_once(me->on->router, &request, me->on->tokens + me->calls % PROMPTS * SHORT, SHORT);
        must(epp_router_end_booking(me->on->router, request.booking));
        me->calls++;
    }
    return NULL;
}

/** Batches of one event without a pause; all is forgotten when they have gone round. */
static void *report(void *argument) {
    actor *me = argument;
    (void)pthread_barrier_wait(&me->on->start);
    while (!atomic_load_explicit(&me->on->stop, memory_order_relaxed)) {
        const size_t event = me->calls % me->on->made.n_events;
        size_t dropped = 0;
        if (event == 0) must(epp_router_drop_blocks(me->on->router, WORKERS + 1, 0, &dropped));
        const double since_s = wall_s();
        apply(me->on->router, WORKERS + 1, &me->on->made, event, 1);
        sample(me, since_s);
        me->calls++;
    }
    return NULL;
}

static void *dump(void *argument) {
    actor *me = argument;
    size_t capacity = 0;
    (void)epp_router_dump(me->on->router, 0.0, NULL, 0, &capacity);
    capacity *= 2;
    uint8_t *bytes = room(capacity);
    (void)pthread_barrier_wait(&me->on->start);
    while (!atomic_load_explicit(&me->on->stop, memory_order_relaxed)) {
        size_t n = 0;
        must(epp_router_dump(me->on->router, 0.0, bytes, capacity, &n));
        me->calls++;
    }
    free(bytes);
    return NULL;
}

/** A worker fills up and is removed, again and again. */
static void *come_and_go(void *argument) {
    actor *me = argument;
    (void)pthread_barrier_wait(&me->on->start);
    while (!atomic_load_explicit(&me->on->stop, memory_order_relaxed)) {
        size_t dropped = 0;
        epp_worker worker;
        epp_worker_init(&worker);
        worker.worker_id = WORKERS + 2;
        worker.block_tokens = BLOCK_TOKENS;
        must(epp_router_upsert_worker(me->on->router, &worker, NULL, 0, NULL, 0, &dropped));
        for (size_t i = 0; i < me->on->made.n_events; i += 4)
            apply(me->on->router, WORKERS + 2, &me->on->made, i, 4);
        const double since_s = wall_s();
        must(epp_router_remove_worker(me->on->router, WORKERS + 2, NULL, 0, &dropped));
        sample(me, since_s);
    }
    return NULL;
}

typedef void *(*part)(void *);

/** Let actors play their parts for a while; returns the seconds that took. */
static double play(stage *on, actor *actors, const part *parts, unsigned n) {
    pthread_t threads[MAX_THREADS];
    atomic_store(&on->stop, false);
    (void)pthread_barrier_init(&on->start, NULL, n + 1);
    for (unsigned i = 0; i < n; i++) {
        actors[i].on = on;
        actors[i].number = i;
        actors[i].calls = actors[i].n_samples = 0;
        if (pthread_create(&threads[i], NULL, parts[i], &actors[i]) != 0) exit(1);
    }
    (void)pthread_barrier_wait(&on->start);
    const double start_s = wall_s();
    const struct timespec run = {.tv_nsec = (long)(RUN_S * 1e9)};
    (void)nanosleep(&run, NULL);
    atomic_store(&on->stop, true);
    for (unsigned i = 0; i < n; i++) (void)pthread_join(threads[i], NULL);
    const double seconds = wall_s() - start_s;
    (void)pthread_barrier_destroy(&on->start);
    return seconds;
}

/* --- figures --------------------------------------------------------------------------------------- */

static double rate_of(stage *on, part what, unsigned threads) {
    double runs[RUNS];
    for (int run = 0; run < RUNS; run++) {
        actor actors[MAX_THREADS] = {0};
        const part parts[MAX_THREADS] = {what, what};
        uint64_t calls = 0;
        const double seconds = play(on, actors, parts, threads);
        for (unsigned i = 0; i < threads; i++) calls += actors[i].calls;
        runs[run] = (double)calls / seconds;
    }
    return median(runs, RUNS);
}

static void bench_scaling(stage *on, const char *name, part what) {
    char line[96];
    double rates[MAX_THREADS];
    for (unsigned threads = 1; threads <= MAX_THREADS; threads++) {
        rates[threads - 1] = rate_of(on, what, threads);
        (void)snprintf(line, sizeof line, "%s_%u_threads_per_s", name, threads);
        print(line, rates[threads - 1], "1/s");
    }
    (void)snprintf(line, sizeof line, "%s_scaling_2_threads", name);
    print(line, rates[1] / rates[0], "1");
}

static double quantile(const actor *of, double q) {
    return of->n_samples ? of->samples_us[(size_t)((double)(of->n_samples - 1) * q)] : 0.0;
}

static void print_latency(const char *name, actor *of) {
    static const struct {
        const char *name;
        double q;
    } quantiles[] = {{"p50", 0.5}, {"p99", 0.99}, {"p999", 0.999}};
    char line[96];
    qsort(of->samples_us, of->n_samples, sizeof *of->samples_us, ascending);
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
        (void)snprintf(line, sizeof line, "%s_%s_us", name, quantiles[i].name);
        print(line, quantile(of, quantiles[i].q), "us");
    }
}

static void bench_beside(stage *on, const char *name, part other, const char *name_of_other) {
    actor actors[MAX_THREADS] = {{.samples_us = room(MAX_SAMPLES * sizeof(double))},
                                 {.samples_us = room(MAX_SAMPLES * sizeof(double))}};
    const part parts[MAX_THREADS] = {ask, other};
    char line[96];
    const double seconds = play(on, actors, parts, other ? 2 : 1);
    print_latency(name, &actors[0]);
    if (name_of_other) {
        print_latency(name_of_other, &actors[1]);
        (void)snprintf(line, sizeof line, "%s_blocks_per_s", name_of_other);
        print(line, (double)actors[1].calls * EVENT_BLOCKS / seconds, "1/s");
    }
    free(actors[0].samples_us);
    free(actors[1].samples_us);
}

int main(void) {
    uint32_t *tokens = random_tokens((size_t)PROMPTS * SHORT);
    stage on = {.router = new_fleet(WORKERS, tokens, LONG), .tokens = tokens, .made = make_traffic(4096)};
    epp_worker reporter;
    size_t dropped = 0;
    epp_worker_init(&reporter);
    reporter.worker_id = WORKERS + 1;
    reporter.block_tokens = BLOCK_TOKENS;
    must(epp_router_upsert_worker(on.router, &reporter, NULL, 0, NULL, 0, &dropped));
    bench_scaling(&on, "select_8192_tokens_64_workers", ask);
    bench_scaling(&on, "reserve_free_2048_tokens_pairs", reserve);
    bench_beside(&on, "select_alone", NULL, NULL);
    bench_beside(&on, "select_beside_events", report, "apply_beside_select");
    bench_beside(&on, "select_beside_dump", dump, NULL);
    bench_beside(&on, "select_beside_removals", come_and_go, NULL);
    epp_router_free(on.router);
    drop_traffic(&on.made);
    free(tokens);
    return 0;
}
