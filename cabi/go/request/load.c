#include "load.h"

#include <dlfcn.h>

/* One row per public call: its name is written once. */
#define CALLS(X)   \
    X(abi_version) \
    X(input_init)  \
    X(result_init) \
    X(open) X(wait_ready) X(select_worker) X(finish) X(renew) X(free_result) X(metrics) X(free_text) X(close)

static struct {
#define DECLARE(name) __typeof__(&epp_request_##name) name;
    CALLS(DECLARE)
} calls;

const char *epp_go_load(const char *path) {
    if (calls.abi_version != NULL) return NULL;
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == NULL) return dlerror();
#define FIND(name)                                                                      \
    calls.name = (__typeof__(&epp_request_##name))dlsym(library, "epp_request_" #name); \
    if (calls.name == NULL) {                                                           \
        calls.abi_version = NULL;                                                       \
        return "it has no epp_request_" #name;                                          \
    }
    CALLS(FIND)
    return NULL;
}

uint32_t epp_go_abi_version(void) { return calls.abi_version(); }

void epp_go_input_init(epp_request_input *input) { calls.input_init(input); }

void epp_go_result_init(epp_request_result *result) { calls.result_init(result); }

void epp_go_free_result(epp_request_result *result) { calls.free_result(result); }

epp_request_status epp_go_open(const char *config, size_t n_config, epp_request_picker *out, char *error,
                               size_t capacity) {
    return calls.open(config, n_config, out, error, capacity);
}

epp_request_status epp_go_wait_ready(epp_request_picker picker, double deadline_s, char *error,
                                     size_t capacity) {
    return calls.wait_ready(picker, deadline_s, error, capacity);
}

epp_request_status epp_go_select(epp_request_picker picker, const epp_request_input *input,
                                 epp_request_result *result, char *error, size_t capacity) {
    return calls.select_worker(picker, input, result, error, capacity);
}

epp_request_status epp_go_finish(epp_request_picker picker, uint64_t booking, int ending, char *error,
                                 size_t capacity) {
    return calls.finish(picker, booking, (epp_request_ending)ending, error, capacity);
}

epp_request_status epp_go_renew(epp_request_picker picker, uint64_t booking, char *error, size_t capacity) {
    return calls.renew(picker, booking, error, capacity);
}

epp_request_status epp_go_metrics(epp_request_picker picker, epp_request_text *page, char *error,
                                  size_t capacity) {
    return calls.metrics(picker, page, error, capacity);
}

void epp_go_free_text(epp_request_text *text) { calls.free_text(text); }

epp_request_status epp_go_close(epp_request_picker picker, char *error, size_t capacity) {
    return calls.close(picker, error, capacity);
}
