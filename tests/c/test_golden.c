/* The golden vectors, from the files that the Python and Go tests read too, and a digest of choices that is the same on
 * every machine and for every compiler. Arguments: the folder of golden files. */
#include <math.h>

#include "epp.h"
#include "json.h"

enum { MAX_TOKENS = 4096, MAX_BLOCKS = 256, MAX_TEXT = 1024 };

static int failures;

static void check(bool holds, const char *what, uint64_t id) {
    if (holds) return;
    (void)fprintf(stderr, "vector %llu: %s\n", (unsigned long long)id, what);
    failures++;
}

/* --- block hashes ---------------------------------------------------------------------------------- */

typedef struct vector {
    uint64_t id, block_tokens, seed;
    uint32_t tokens[MAX_TOKENS], mm_counts[MAX_BLOCKS];
    uint64_t mm_hashes[MAX_BLOCKS], local[MAX_BLOCKS], sequence[MAX_BLOCKS];
    size_t n_tokens, n_mm_counts, n_mm_hashes, n_local, n_sequence;
    char lora[MAX_TEXT], salt[MAX_TEXT];
    bool eagle, has_seed;
} vector;

/** Runs [first, count, step]. */
static void read_tokens(json *from, vector *to) {
    json_expect(from, '[');
    while (json_more(from, ']')) {
        uint64_t run[3];
        if (json_numbers(from, run, 3) != 3 || to->n_tokens + run[1] > MAX_TOKENS) json_fail(from);
        for (uint64_t i = 0; i < run[1]; i++) to->tokens[to->n_tokens++] = (uint32_t)(run[0] + i * run[2]);
    }
}

static void read_mm_hashes(json *from, vector *to) {
    json_expect(from, '[');
    while (json_more(from, ']')) {
        const size_t n = json_numbers(from, to->mm_hashes + to->n_mm_hashes, MAX_BLOCKS - to->n_mm_hashes);
        to->mm_counts[to->n_mm_counts++] = (uint32_t)n;
        to->n_mm_hashes += n;
    }
}

static void read_field(json *from, const char *key, vector *to) {
    if (strcmp(key, "id") == 0) {
        to->id = json_number(from);
    } else if (strcmp(key, "tokens") == 0) {
        read_tokens(from, to);
    } else if (strcmp(key, "block_tokens") == 0) {
        to->block_tokens = json_number(from);
    } else if (strcmp(key, "lora") == 0) {
        (void)json_text(from, to->lora, MAX_TEXT);
    } else if (strcmp(key, "salt") == 0) {
        (void)json_text(from, to->salt, MAX_TEXT);
    } else if (strcmp(key, "seed") == 0) {
        to->seed = json_number(from);
        to->has_seed = true;
    } else if (strcmp(key, "mm_hashes") == 0) {
        read_mm_hashes(from, to);
    } else if (strcmp(key, "local") == 0) {
        to->n_local = json_numbers(from, to->local, MAX_BLOCKS);
    } else if (strcmp(key, "sequence") == 0) {
        to->n_sequence = json_numbers(from, to->sequence, MAX_BLOCKS);
    } else {
        if (strcmp(key, "eagle") == 0) to->eagle = true;
        json_skip(from);
    }
}

static void check_vector(const vector *v) {
    uint64_t local[MAX_BLOCKS], sequence[MAX_BLOCKS];
    const uint64_t seed = epp_namespace_seed(v->lora, strlen(v->lora), v->salt, strlen(v->salt));
    const uint32_t block_tokens = (uint32_t)v->block_tokens, flags = v->eagle ? EPP_HASH_EAGLE : 0;
    if (v->has_seed) check(seed == v->seed, "the namespace seed differs", v->id);
    check(epp_hash_blocks_bound(v->n_tokens, block_tokens, flags) == v->n_local, "the number of blocks",
          v->id);
    const epp_status status =
        epp_hash_blocks(v->tokens, v->n_tokens, block_tokens, seed, flags,
                        v->n_mm_counts ? v->mm_counts : NULL, v->mm_hashes, v->n_mm_hashes, local, sequence);
    check(status == EPP_OK, "refused", v->id);
    check(memcmp(local, v->local, v->n_local * sizeof *local) == 0, "local hashes differ", v->id);
    check(memcmp(sequence, v->sequence, v->n_sequence * sizeof *sequence) == 0, "sequence hashes differ",
          v->id);
}

static unsigned check_blocks(const char *folder) {
    char key[MAX_TEXT];
    char *text = json_read(folder, "hashes/blocks.json");
    json from = {text};
    unsigned n = 0;
    json_expect(&from, '{');
    while (json_key(&from, key, sizeof key)) {
        if (strcmp(key, "vectors") != 0) {
            json_skip(&from);
            continue;
        }
        json_expect(&from, '[');
        for (; json_more(&from, ']'); n++) {
            static vector v;
            v = (vector){0};
            json_expect(&from, '{');
            while (json_key(&from, key, sizeof key)) read_field(&from, key, &v);
            check_vector(&v);
        }
    }
    free(text);
    return n;
}

/* --- names ----------------------------------------------------------------------------------------- */

static uint64_t id_of(const char *namespace, const char *name) {
    char path[2 * MAX_TEXT + 1];
    const int n = snprintf(path, sizeof path, "%s/%s", namespace, name);
    return epp_worker_id(path, (size_t)n);
}

static unsigned check_worker_ids(const char *folder) {
    char key[MAX_TEXT], namespace[MAX_TEXT], name[MAX_TEXT];
    char *text = json_read(folder, "hashes/names.json");
    json from = {strstr(text, "\"worker_id\": [")};
    unsigned n = 0;
    if (from.at == NULL) exit(2);
    from.at += strlen("\"worker_id\": [");
    for (; json_more(&from, ']'); n++) {
        uint64_t expected = 0;
        json_expect(&from, '{');
        while (json_key(&from, key, sizeof key)) {
            if (strcmp(key, "namespace") == 0)
                (void)json_text(&from, namespace, sizeof namespace);
            else if (strcmp(key, "name") == 0)
                (void)json_text(&from, name, sizeof name);
            else
                expected = json_number(&from);
        }
        check(id_of(namespace, name) == expected, "a worker id differs", n);
    }
    free(text);
    return n;
}

/* --- choices --------------------------------------------------------------------------------------- */

enum { WORKERS = 9, BS = 16, PROMPT_BLOCKS = 24, STEPS = 4000, RUNNING = 64 };

static uint64_t random_state = 1;

static uint64_t next_random(uint64_t below) {
    uint64_t z = random_state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (z ^ (z >> 31)) % below;
}

static void must(epp_status status) {
    if (status == EPP_OK) return;
    (void)fprintf(stderr, "%s\n", epp_status_name((int)status));
    exit(2);
}

static epp_router *make_fleet(void) {
    epp_router *router = NULL;
    size_t dropped = 0;
    must(epp_router_new(NULL, &router));
    for (uint64_t id = 1; id <= WORKERS; id++) {
        epp_worker worker;
        epp_worker_init(&worker);
        worker.worker_id = id;
        worker.block_tokens = BS;
        worker.total_blocks = 300 + 50 * id;
        worker.has_events = id % 3 != 0;
        must(epp_router_upsert_worker(router, &worker, NULL, 0, NULL, 0, &dropped));
    }
    return router;
}

/** Prompts that share prefixes of many lengths. */
static size_t make_prompt(uint32_t *tokens) {
    const size_t n = 1 + next_random(BS * PROMPT_BLOCKS), shared = next_random(n + 1);
    for (size_t i = 0; i < n; i++) tokens[i] = (uint32_t)(i < shared ? i : next_random(1000));
    return n;
}

static void report(epp_router *router, const uint32_t *tokens, size_t n_tokens, double now_s) {
    epp_report told;
    epp_prefill_done done[RUNNING + 1];
    epp_decode_progress decode[RUNNING + 1];
    uint64_t names[PROMPT_BLOCKS];
    size_t n_done = 0, n_decode = 0;
    const uint64_t seed = epp_namespace_seed(NULL, 0, NULL, 0);
    must(epp_hash_blocks(tokens, n_tokens, BS, seed, 0, NULL, NULL, 0, NULL, names));
    const epp_event event = {.kind = next_random(4) ? EPP_EVENT_STORED : EPP_EVENT_REMOVED,
                             .tier = (uint32_t)next_random(3),
                             .block_tokens = BS,
                             .namespace_seed = seed,
                             .n_blocks = n_tokens / BS};
    must(epp_router_apply(router, 1 + next_random(WORKERS), 0, now_s, &event, 1, names, n_tokens / BS, tokens,
                          n_tokens, NULL, 0, NULL, 0, &told, done, RUNNING + 1, &n_done, decode, RUNNING + 1,
                          &n_decode));
}

/** What a choice is asked with: token ids, or the hashes of their blocks. */
typedef struct prompt {
    uint32_t tokens[BS * PROMPT_BLOCKS];
    uint64_t hashes[PROMPT_BLOCKS];
    size_t n_tokens;
    bool is_hashed;
} prompt;

/** Everything a choice says, hashed onto what was said before. */
static uint64_t choose(epp_router *router, const prompt *asked, uint64_t step, double now_s,
                       uint64_t digest) {
    epp_request request;
    epp_selection chosen;
    epp_terms terms[2 * WORKERS];
    size_t n = 0;
    epp_request_init(&request);
    request.policy = step % 3 ? EPP_POLICY_TTFT : EPP_POLICY_KV;
    request.flags |= EPP_REQUEST_EXPLAIN;
    request.now_s = now_s;
    request.seed = step;
    request.booking = step;
    request.expected_output_tokens = next_random(500);
    request.hash_block_tokens = asked->is_hashed ? BS : 0;
    const void *tokens = asked->is_hashed ? (const void *)asked->hashes : asked->tokens;
    must((request.booking ? epp_select_and_reserve : epp_select_worker)(
        router, &request, tokens, asked->n_tokens, NULL, 0, NULL, 0, &chosen, terms, 2 * WORKERS, &n));
    return epp_xxh3_64(&chosen, sizeof chosen, epp_xxh3_64(terms, n * sizeof *terms, digest));
}

/** Costs are sums, products and quotients in a stated order, so that they come out alike to the last bit. Time moves by
 *  odd fractions of a second, so that rates are learnt which no binary fraction is. */
static uint64_t digest_choices(bool by_hashes) {
    epp_router *router = make_fleet();
    uint64_t digest = 0;
    double now_s = 0.0;
    random_state = 1;
    for (uint64_t step = 1; step <= STEPS; step++) {
        prompt asked = {.is_hashed = by_hashes};
        asked.n_tokens = make_prompt(asked.tokens);
        must(epp_hash_blocks(asked.tokens, asked.n_tokens, BS, epp_namespace_seed(NULL, 0, NULL, 0), 0, NULL,
                             NULL, 0, NULL, asked.hashes));
        now_s += (double)next_random(1000) / 3000.0;
        digest = choose(router, &asked, step, now_s, digest);
        report(router, asked.tokens, asked.n_tokens, now_s);
        if (next_random(2)) (void)epp_router_output_block(router, step, (double)next_random(100) / 100.0);
        if (step > RUNNING) must(epp_router_end_booking(router, step - RUNNING));
    }
    epp_router_free(router);
    return digest;
}

static void check_choices(uint64_t expected, bool by_hashes) {
    const uint64_t digest = digest_choices(by_hashes);
    if (digest == expected) return;
    (void)fprintf(stderr, "the digest of choices by %s is %llu\n", by_hashes ? "hashes" : "tokens",
                  (unsigned long long)digest);
    failures++;
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    const unsigned n = check_blocks(argv[1]) + check_worker_ids(argv[1]);
    char *text = json_read(argv[1], "choices/digest.json");
    json from = {strstr(text, "\"digest\": ")};
    if (from.at == NULL) exit(2);
    from.at += strlen("\"digest\": ");
    const uint64_t expected = json_number(&from);
    free(text);
    check_choices(expected, false);
    check_choices(expected, true);
    (void)printf("%u vectors and %d choices, %d differ\n", n, STEPS, failures);
    return failures ? 1 : 0;
}
