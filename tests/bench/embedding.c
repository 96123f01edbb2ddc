/* A host of libepp_request that measures: `embedding CONFIG BODY...`, all of them files. Prints lines of
 * "name value unit". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "epp_request.h"

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static epp_request_text text_of(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) exit(2);
    const size_t n = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(n + 1);
    if (bytes == NULL || fread(bytes, 1, n, file) != n) exit(2);
    fclose(file);
    return (epp_request_text){bytes, n};
}

static void must(epp_request_status status, const char *error) {
    if (status == EPP_REQUEST_OK) return;
    fprintf(stderr, "%s: %s\n", epp_request_status_name(status), error);
    exit(1);
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median time of a pair of calls, and of the first of them. */
static void measure(epp_request_picker picker, epp_request_text body, unsigned rounds) {
    char error[512];
    epp_request_input input;
    epp_request_result result;
    epp_request_input_init(&input);
    epp_request_result_init(&result);
    input.path = EPP_REQUEST_TEXT("/v1/chat/completions");
    input.body = body;
    double *select_s = calloc(rounds, sizeof *select_s), *pair_s = calloc(rounds, sizeof *pair_s);
    if (select_s == NULL || pair_s == NULL) exit(2);
    size_t n_tokens = 0;
    for (unsigned i = 0; i < rounds; i++) {
        const double began_s = now_s();
        must(epp_request_select_worker(picker, &input, &result, error, sizeof error), error);
        select_s[i] = now_s() - began_s;
        n_tokens = result.n_tokens;
        must(epp_request_finish(picker, result.booking, EPP_REQUEST_COMPLETED, error, sizeof error), error);
        epp_request_free_result(&result);
        pair_s[i] = now_s() - began_s;
    }
    qsort(select_s, rounds, sizeof *select_s, by_size);
    qsort(pair_s, rounds, sizeof *pair_s, by_size);
    const unsigned kib = (unsigned)((body.n_bytes + 512) / 1024);
    printf("embedding_select_%ukib_%zu_tokens_p50_us %.1f us\n", kib, n_tokens, select_s[rounds / 2] * 1e6);
    printf("embedding_select_finish_%ukib_%zu_tokens_p50_us %.1f us\n", kib, n_tokens,
           pair_s[rounds / 2] * 1e6);
    free(select_s);
    free(pair_s);
}

int main(int argc, char **argv) {
    char error[512] = "";
    if (argc < 3) return 2;
    const epp_request_text config = text_of(argv[1]);
    epp_request_picker picker;
    double began_s = now_s();
    must(epp_request_open(config.bytes, config.n_bytes, &picker, error, sizeof error), error);
    printf("embedding_first_open_ms %.0f ms\n", (now_s() - began_s) * 1e3);
    began_s = now_s();
    must(epp_request_wait_ready(picker, 60.0, error, sizeof error), error);
    printf("embedding_wait_ready_ms %.0f ms\n", (now_s() - began_s) * 1e3);
    epp_request_picker second;
    began_s = now_s();
    must(epp_request_open(config.bytes, config.n_bytes, &second, error, sizeof error), error);
    printf("embedding_second_open_ms %.0f ms\n", (now_s() - began_s) * 1e3);
    must(epp_request_close(second, error, sizeof error), error);
    for (int i = 2; i < argc; i++) measure(picker, text_of(argv[i]), 1000);
    must(epp_request_close(picker, error, sizeof error), error);
    return 0;
}
