/* The contract of epp_request.h, seen from a C program: every status that a program can provoke by itself,
 * outputs that stay as they were, and answers to a request. Prints nothing when all holds. */
#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "epp_request.h"

enum { THREADS = 8, ROUNDS = 50, FORKS = 4, CHILD_S = 90 };

static int failures;
static char error[512];

#define EXPECT(condition)                                                                      \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            failures++;                                                                        \
            fprintf(stderr, "line %d: %s (last sentence: %s)\n", __LINE__, #condition, error); \
        }                                                                                      \
    } while (0)

static const char POOL[] =
    "{\"endpoints\": [{\"name\": \"a\", \"address\": \"10.0.0.1\", \"port\": 8000, \"worker_id\": 1},"
    "{\"name\": \"b\", \"address\": \"10.0.0.2\", \"port\": 8000, \"worker_id\": 2}],"
    "\"scrape\": {\"enabled\": false}, \"events\": {\"enabled\": false}}";
static const char BODY[] =
    "{\"model\": \"m\", \"messages\": [{\"role\": \"user\", \"content\": \"How do you do?\"}]}";

static epp_request_input chat(void) {
    epp_request_input input;
    epp_request_input_init(&input);
    input.path = EPP_REQUEST_TEXT("/v1/chat/completions");
    input.body = EPP_REQUEST_TEXT(BODY);
    return input;
}

static int is(epp_request_text text, const char *wanted) {
    return text.n_bytes == strlen(wanted) && strcmp(text.bytes, wanted) == 0;
}

static void before_anything_is_open(void) {
    epp_request_input input = chat();
    epp_request_result result;
    epp_request_result_init(&result);
    EXPECT(epp_request_abi_version() == EPP_REQUEST_ABI_VERSION);
    EXPECT(strcmp(epp_request_status_name(EPP_REQUEST_E_DEADLINE), "deadline") == 0);
    EXPECT(strcmp(epp_request_status_name(12345), "unknown status") == 0);
    EXPECT(epp_request_select_worker(1, &input, &result, error, sizeof error) == EPP_REQUEST_E_CLOSED);
    EXPECT(epp_request_finish(1, 1, EPP_REQUEST_COMPLETED, NULL, 0) == EPP_REQUEST_E_CLOSED);
    EXPECT(epp_request_renew(1, 1, NULL, 0) == EPP_REQUEST_E_CLOSED);
    EXPECT(epp_request_wait_ready(1, 1.0, NULL, 0) == EPP_REQUEST_E_CLOSED);
    EXPECT(epp_request_close(1, NULL, 0) == EPP_REQUEST_E_CLOSED);
    epp_request_free_result(&result);
    epp_request_free_result(NULL);
    epp_request_input_init(NULL);
    epp_request_result_init(NULL);
}

static void configurations_are_refused(void) {
    static const char *const wrong[] = {"",
                                        "nonsense: 1",
                                        "endpoints: 7",
                                        "{",
                                        "endpoints: [{name: a, address: host, port: 1}]",
                                        "\xff\xfe",
                                        "endpoints: []\ndiscovery: {endpoints_file: x}"};
    epp_request_picker picker = 77;
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        EXPECT(epp_request_open(wrong[i], strlen(wrong[i]), &picker, error, sizeof error) ==
               EPP_REQUEST_E_CONFIG);
        EXPECT(strlen(error) > 10);
    }
    EXPECT(epp_request_open(NULL, 5, &picker, error, sizeof error) == EPP_REQUEST_E_ARGUMENT);
    EXPECT(epp_request_open(POOL, sizeof POOL - 1, NULL, error, sizeof error) == EPP_REQUEST_E_ARGUMENT);
    EXPECT(epp_request_open(POOL, (1u << 20) + 1, &picker, error, sizeof error) == EPP_REQUEST_E_ARGUMENT);
    char little[8] = "unread!";
    EXPECT(epp_request_open("nonsense: 1", 11, &picker, little, sizeof little) == EPP_REQUEST_E_CONFIG);
    EXPECT(strlen(little) == sizeof little - 1);
    EXPECT(picker == 77);
}

static void arguments_are_refused(epp_request_picker picker) {
    epp_request_result result, untouched;
    epp_request_result_init(&result);
    untouched = result;
    epp_request_input wrong[8];
    for (size_t i = 0; i < 8; i++) wrong[i] = chat();
    wrong[0].struct_size = 4;
    wrong[1].flags = 4u;
    wrong[2].deadline_s = (double)NAN;
    wrong[3].deadline_s = 0;
    wrong[4].body = (epp_request_text){NULL, 3};
    wrong[5].n_headers = 1;
    wrong[6].path = EPP_REQUEST_TEXT("\xff");
    wrong[7].flags = EPP_REQUEST_SUBSET;
    wrong[7].n_subset = 1;
    for (size_t i = 0; i < 8; i++)
        EXPECT(epp_request_select_worker(picker, &wrong[i], &result, error, sizeof error) ==
               EPP_REQUEST_E_ARGUMENT);
    epp_request_input input = chat();
    EXPECT(epp_request_select_worker(picker, NULL, &result, NULL, 0) == EPP_REQUEST_E_ARGUMENT);
    EXPECT(epp_request_select_worker(picker, &input, NULL, NULL, 0) == EPP_REQUEST_E_ARGUMENT);
    EXPECT(epp_request_select_worker(picker + 1, &input, &result, NULL, 0) == EPP_REQUEST_E_CLOSED);
    EXPECT(epp_request_finish(picker, 1, (epp_request_ending)9, NULL, 0) == EPP_REQUEST_E_ARGUMENT);
    EXPECT(epp_request_finish(picker, 1, EPP_REQUEST_COMPLETED, error, sizeof error) ==
           EPP_REQUEST_E_UNKNOWN);
    EXPECT(epp_request_renew(picker, 1, error, sizeof error) == EPP_REQUEST_E_UNKNOWN);
    EXPECT(epp_request_wait_ready(picker, -1.0, error, sizeof error) == EPP_REQUEST_E_ARGUMENT);
    EXPECT(memcmp(&result, &untouched, sizeof result) == 0);
}

static void a_request_is_answered(epp_request_picker picker) {
    epp_request_input input = chat();
    const epp_request_header pin[] = {{EPP_REQUEST_TEXT("X-Worker-Instance-Id"), EPP_REQUEST_TEXT("1")}};
    input.headers = pin;
    input.n_headers = 1;
    input.request_id = EPP_REQUEST_TEXT("r-1");
    epp_request_result result;
    epp_request_result_init(&result);
    EXPECT(epp_request_select_worker(picker, &input, &result, error, sizeof error) == EPP_REQUEST_OK);
    EXPECT(result.http_status == 200 && (result.worker_id == 1 || result.worker_id == 2) &&
           result.split == 0);
    EXPECT(is(result.destination, result.worker_id == 1 ? "10.0.0.1:8000" : "10.0.0.2:8000"));
    EXPECT(is(result.set_headers[0].name, "x-gateway-destination-endpoint"));
    EXPECT(is(result.set_headers[0].value, result.destination.bytes));
    EXPECT(result.n_remove_headers == 1 && is(result.remove_headers[0], "x-worker-instance-id"));
    EXPECT(result.exactness == EPP_REQUEST_TOKENS_ESTIMATED && is(result.degraded, "no-tokenizer"));
    EXPECT(result.n_tokens == result.prompt_tokens && result.n_tokens > 0 && result.tokens[0] != 0);
    EXPECT(is(result.request_id, "r-1") && is(result.prefill_destination, "") && result.body.n_bytes == 0);
    EXPECT(epp_request_select_worker(picker, &input, &result, error, sizeof error) == EPP_REQUEST_E_ARGUMENT);
    EXPECT(epp_request_renew(picker, result.booking, error, sizeof error) == EPP_REQUEST_OK);
    EXPECT(epp_request_finish(picker, result.booking, EPP_REQUEST_COMPLETED, error, sizeof error) ==
           EPP_REQUEST_OK);
    EXPECT(epp_request_finish(picker, result.booking, EPP_REQUEST_COMPLETED, error, sizeof error) ==
           EPP_REQUEST_E_UNKNOWN);
    epp_request_free_result(&result);
    EXPECT(result.memory == NULL && result.tokens == NULL && result.struct_size == sizeof result);
    epp_request_free_result(&result);
}

static void refusals_are_responses(epp_request_picker picker) {
    epp_request_input input = chat();
    epp_request_result result;
    epp_request_result_init(&result);
    input.body = EPP_REQUEST_TEXT("{\"model\": ");
    EXPECT(epp_request_select_worker(picker, &input, &result, error, sizeof error) == EPP_REQUEST_REFUSED);
    EXPECT(result.http_status == 400 && result.booking == 0 && strcmp(error, result.reason.bytes) == 0);
    EXPECT(strstr(result.body.bytes, "\"error\"") != NULL && is(result.set_headers[0].name, "content-type"));
    epp_request_free_result(&result);
    input = chat();
    input.flags = EPP_REQUEST_SUBSET;
    EXPECT(epp_request_select_worker(picker, &input, &result, error, sizeof error) ==
           EPP_REQUEST_NO_ENDPOINTS);
    EXPECT(result.http_status == 503 && is(result.destination, ""));
    epp_request_free_result(&result);
    const epp_request_text only[] = {EPP_REQUEST_TEXT("10.0.0.2")};
    input.flags = EPP_REQUEST_SUBSET | EPP_REQUEST_ASK_ONLY;
    input.subset = only;
    input.n_subset = 1;
    EXPECT(epp_request_select_worker(picker, &input, &result, error, sizeof error) == EPP_REQUEST_OK);
    EXPECT(result.worker_id == 2 && result.booking == 0);
    epp_request_free_result(&result);
}

static double requests_total(epp_request_picker picker) {
    epp_request_text page = {NULL, 0};
    double total = 0;
    EXPECT(epp_request_metrics(picker, &page, error, sizeof error) == EPP_REQUEST_OK);
    EXPECT(page.bytes != NULL && strlen(page.bytes) == page.n_bytes);
    for (const char *line = page.bytes; line != NULL; line = strchr(line + 1, '\n')) {
        if (strncmp(line, "\nllm_d_epp_scheduler_attempts_total{", 36) != 0) continue;
        total += strtod(strchr(line, '}') + 1, NULL);
    }
    epp_request_free_text(&page);
    EXPECT(page.bytes == NULL && page.n_bytes == 0);
    epp_request_free_text(&page);
    epp_request_free_text(NULL);
    return total;
}

static void the_page_counts_requests(epp_request_picker picker) {
    epp_request_input input = chat();
    epp_request_result result;
    epp_request_result_init(&result);
    const double before = requests_total(picker);
    EXPECT(epp_request_select_worker(picker, &input, &result, error, sizeof error) == EPP_REQUEST_OK);
    EXPECT(epp_request_finish(picker, result.booking, EPP_REQUEST_COMPLETED, NULL, 0) == EPP_REQUEST_OK);
    epp_request_free_result(&result);
    EXPECT(requests_total(picker) == before + 1);
    input.flags = EPP_REQUEST_ASK_ONLY; /* a question is no request */
    EXPECT(epp_request_select_worker(picker, &input, &result, error, sizeof error) == EPP_REQUEST_OK);
    epp_request_free_result(&result);
    EXPECT(requests_total(picker) == before + 1);
    EXPECT(epp_request_metrics(picker, NULL, error, sizeof error) == EPP_REQUEST_E_ARGUMENT);
    EXPECT(epp_request_metrics(picker + 1000, &(epp_request_text){NULL, 0}, error, sizeof error) ==
           EPP_REQUEST_E_CLOSED);
}

static void prompts_may_be_split(void) {
    static const char split[] =
        "endpoints:\n"
        "  - {name: p, address: 10.0.0.1, port: 8000, worker_id: 1, role: prefill}\n"
        "  - {name: d, address: '2001:db8::2', port: 8000, worker_id: 2, role: decode, dp_size: 2}\n"
        "scrape: {enabled: false}\nevents: {enabled: false}\n";
    epp_request_picker picker = 0;
    EXPECT(epp_request_open(split, sizeof split - 1, &picker, error, sizeof error) == EPP_REQUEST_OK);
    EXPECT(epp_request_wait_ready(picker, 30.0, error, sizeof error) == EPP_REQUEST_OK);
    epp_request_input input = chat();
    epp_request_result result;
    epp_request_result_init(&result);
    EXPECT(epp_request_select_worker(picker, &input, &result, error, sizeof error) == EPP_REQUEST_OK);
    EXPECT(result.split == 1 && result.worker_id == 2 && result.rank < 2 && result.prefill_worker_id == 1);
    EXPECT(is(result.destination, "[2001:db8::2]:8000") && is(result.prefill_destination, "10.0.0.1:8000"));
    epp_request_free_result(&result);
    EXPECT(epp_request_close(picker, error, sizeof error) == EPP_REQUEST_OK);
}

static void *ask_often(void *argument) {
    const epp_request_picker picker = *(const epp_request_picker *)argument;
    epp_request_input input = chat();
    epp_request_result result;
    epp_request_result_init(&result);
    size_t done = 0;
    for (int i = 0; i < ROUNDS; i++) {
        if (epp_request_select_worker(picker, &input, &result, NULL, 0) != EPP_REQUEST_OK) continue;
        if (epp_request_finish(picker, result.booking, EPP_REQUEST_FAILED, NULL, 0) == EPP_REQUEST_OK) done++;
        epp_request_free_result(&result);
    }
    return done == ROUNDS ? NULL : argument;
}

static void many_threads_ask(epp_request_picker picker) {
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, ask_often, &picker);
    for (int i = 0; i < THREADS; i++) {
        void *failed = &failures;
        pthread_join(threads[i], &failed);
        EXPECT(failed == NULL);
    }
}

static atomic_bool enough;

static void *ask_until_enough(void *argument) {
    const epp_request_picker picker = *(const epp_request_picker *)argument;
    epp_request_input input = chat();
    epp_request_result result;
    input.flags = EPP_REQUEST_ASK_ONLY;
    epp_request_result_init(&result);
    while (!atomic_load(&enough)) {
        (void)epp_request_select_worker(picker, &input, &result, NULL, 0);
        epp_request_free_result(&result);
    }
    return NULL;
}

/* The parent's picker is closed here, and one of our own answers. */
static int live_as_child(epp_request_picker parents) {
    epp_request_picker picker = 0;
    epp_request_input input = chat();
    epp_request_result result;
    alarm(CHILD_S);
    failures = 0;
    epp_request_result_init(&result);
    EXPECT(epp_request_select_worker(parents, &input, &result, NULL, 0) == EPP_REQUEST_E_CLOSED);
    EXPECT(epp_request_open(POOL, sizeof POOL - 1, &picker, error, sizeof error) == EPP_REQUEST_OK);
    EXPECT(picker != parents);
    EXPECT(epp_request_select_worker(picker, &input, &result, error, sizeof error) == EPP_REQUEST_OK);
    epp_request_free_result(&result);
    EXPECT(epp_request_close(picker, error, sizeof error) == EPP_REQUEST_OK);
    return failures ? 1 : 0;
}

/* Forked while other threads are inside the library. */
static void children_open_their_own(epp_request_picker picker) {
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) pthread_create(&threads[i], NULL, ask_until_enough, &picker);
    for (int i = 0; i < FORKS; i++) {
        int status = -1;
        const pid_t child = fork();
        if (child == 0) _exit(live_as_child(picker));
        EXPECT(waitpid(child, &status, 0) == child && status == 0);
    }
    atomic_store(&enough, 1);
    for (int i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    a_request_is_answered(picker);
}

/* No handler of ours, and nobody but the host's own threads (this one) takes its signals. */
static void signals_are_the_hosts(void) {
    static const int watched[] = {SIGINT, SIGTERM, SIGPIPE, SIGCHLD, SIGHUP};
    for (size_t i = 0; i < sizeof watched / sizeof watched[0]; i++) {
        struct sigaction action;
        EXPECT(sigaction(watched[i], NULL, &action) == 0 && action.sa_handler == SIG_DFL);
    }
    int others = 0;
    DIR *tasks = opendir("/proc/self/task");
    for (struct dirent *task = readdir(tasks); task != NULL; task = readdir(tasks)) {
        const int id = atoi(task->d_name);
        if (id == 0 || id == getpid()) continue;
        others++;
        char path[64], line[256];
        unsigned long long blocked = 0;
        snprintf(path, sizeof path, "/proc/self/task/%d/status", id);
        FILE *status = fopen(path, "r");
        while (status != NULL && fgets(line, sizeof line, status) != NULL)
            if (sscanf(line, "SigBlk: %llx", &blocked) == 1) break;
        if (status != NULL) fclose(status);
        EXPECT((blocked & (1ull << (SIGTERM - 1))) != 0 && (blocked & (1ull << (SIGPIPE - 1))) != 0);
    }
    closedir(tasks);
    EXPECT(others > 0);
}

static void pickers_are_apart(epp_request_picker picker) {
    static const char empty[] = "endpoints: []";
    epp_request_picker other = 0;
    EXPECT(epp_request_open(empty, sizeof empty - 1, &other, error, sizeof error) == EPP_REQUEST_OK);
    EXPECT(other != 0 && other != picker);
    EXPECT(epp_request_wait_ready(other, 0.05, error, sizeof error) == EPP_REQUEST_E_DEADLINE);
    EXPECT(strstr(error, "no endpoints") != NULL);
    EXPECT(epp_request_close(other, error, sizeof error) == EPP_REQUEST_OK);
    EXPECT(epp_request_close(other, error, sizeof error) == EPP_REQUEST_E_CLOSED);
    a_request_is_answered(picker);
}

int main(void) {
    epp_request_picker picker = 0;
    before_anything_is_open();
    configurations_are_refused();
    EXPECT(epp_request_open(POOL, sizeof POOL - 1, &picker, error, sizeof error) == EPP_REQUEST_OK);
    EXPECT(epp_request_wait_ready(picker, 30.0, error, sizeof error) == EPP_REQUEST_OK);
    arguments_are_refused(picker);
    a_request_is_answered(picker);
    refusals_are_responses(picker);
    the_page_counts_requests(picker);
    prompts_may_be_split();
    many_threads_ask(picker);
    signals_are_the_hosts();
    pickers_are_apart(picker);
    children_open_their_own(picker);
    EXPECT(epp_request_close(picker, error, sizeof error) == EPP_REQUEST_OK);
    return failures == 0 ? 0 : 1;
}
