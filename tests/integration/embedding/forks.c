/* A host without Python of its own, whose interpreter runs the program given as first argument: it finds the functions
 * below in the global scope, and its picker in the variable `picker`. A second argument: the first registration of the
 * library's fork handlers fails. Prints nothing when all holds. */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "epp_request.h"

enum { DEADLINE_S = 90, PROGRAM_BYTES = 16384 };

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
    "{\"endpoints\": [{\"name\": \"a\", \"address\": \"10.0.0.1\", \"port\": 8000, \"worker_id\": 1}],"
    "\"scrape\": {\"enabled\": false}, \"events\": {\"enabled\": false}}";
static const char BODY[] =
    "{\"model\": \"m\", \"messages\": [{\"role\": \"user\", \"content\": \"How do you do?\"}]}";

/* --- the library's fork handlers ----------------------------------------------------------------------- */

typedef int register_atfork(void (*)(void), void (*)(void), void (*)(void), void *);

static int refuse, registered; /* registrations by the library: to fail, and done */

/* What pthread_atfork is in every object that calls it, where the C library is GNU's. */
int __register_atfork(void (*before)(void), void (*in_parent)(void), void (*in_child)(void), void *object) {
    register_atfork *const next = (register_atfork *)dlsym(RTLD_NEXT, "__register_atfork");
    Dl_info caller;
    if (dladdr((void *)before, &caller) == 0 || strstr(caller.dli_fname, "libepp_request") == NULL)
        return next(before, in_parent, in_child, object);
    if (refuse-- > 0) return ENOMEM;
    registered++;
    return next(before, in_parent, in_child, object);
}

/* --- for the program ----------------------------------------------------------------------------------- */

static epp_request_status ask(epp_request_picker picker) {
    epp_request_input input;
    epp_request_result result;
    epp_request_input_init(&input);
    epp_request_result_init(&result);
    input.path = EPP_REQUEST_TEXT("/v1/chat/completions");
    input.body = EPP_REQUEST_TEXT(BODY);
    input.flags = EPP_REQUEST_ASK_ONLY;
    const epp_request_status status = epp_request_select_worker(picker, &input, &result, error, sizeof error);
    epp_request_free_result(&result);
    return status;
}

/* In a child: how many things are not as they must be. The parent's picker is closed here, and one of our own answers. */
int live_as_child(epp_request_picker parents) {
    epp_request_picker picker = 0;
    failures = 0;
    EXPECT(ask(parents) == EPP_REQUEST_E_CLOSED);
    EXPECT(epp_request_open(POOL, sizeof POOL - 1, &picker, error, sizeof error) == EPP_REQUEST_OK);
    EXPECT(epp_request_wait_ready(picker, 30.0, error, sizeof error) == EPP_REQUEST_OK);
    EXPECT(ask(picker) == EPP_REQUEST_OK);
    EXPECT(epp_request_close(picker, error, sizeof error) == EPP_REQUEST_OK);
    return failures;
}

/* A fork that Python knows nothing of. The child's answer. */
int fork_by_host(epp_request_picker picker) {
    int status = -1;
    const pid_t child = fork();
    if (child == 0) _exit(live_as_child(picker));
    EXPECT(waitpid(child, &status, 0) == child);
    return status;
}

/* --- the host ------------------------------------------------------------------------------------------ */

/* Registered before the library's handlers, so it runs before them: a child that hangs in one of those ends too. */
static void end_in_time(void) { alarm(DEADLINE_S); }

static void run(const char *program, epp_request_picker picker) {
    int (*const ensure)(void) = (int (*)(void))dlsym(RTLD_DEFAULT, "PyGILState_Ensure");
    void (*const release)(int) = (void (*)(int))dlsym(RTLD_DEFAULT, "PyGILState_Release");
    int (*const execute)(const char *) = (int (*)(const char *))dlsym(RTLD_DEFAULT, "PyRun_SimpleString");
    char text[PROGRAM_BYTES];
    const int length = snprintf(text, sizeof text, "picker = %llu\n%s", (unsigned long long)picker, program);
    EXPECT(length > 0 && (size_t)length < sizeof text);
    const int before = ensure();
    EXPECT(execute(text) == 0);
    release(before);
}

int main(int n_arguments, char **arguments) {
    epp_request_picker picker = 0, other = 0;
    struct sigaction action;
    if (n_arguments < 2 || pthread_atfork(NULL, NULL, end_in_time) != 0) return 2;
    end_in_time();
    if (n_arguments > 2) {
        refuse = 1;
        EXPECT(epp_request_open(POOL, sizeof POOL - 1, &picker, error, sizeof error) == EPP_REQUEST_E_PYTHON);
        EXPECT(picker == 0 && registered == 0 && strstr(error, "fork") != NULL);
    }
    EXPECT(epp_request_open(POOL, sizeof POOL - 1, &picker, error, sizeof error) == EPP_REQUEST_OK);
    EXPECT(epp_request_open(POOL, sizeof POOL - 1, &other, error, sizeof error) == EPP_REQUEST_OK);
    EXPECT(registered == 1);
    EXPECT(sigaction(SIGINT, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
    EXPECT(epp_request_wait_ready(picker, 30.0, error, sizeof error) == EPP_REQUEST_OK);
    run(arguments[1], picker);
    EXPECT(ask(picker) == EPP_REQUEST_OK);
    EXPECT(epp_request_close(other, error, sizeof error) == EPP_REQUEST_OK);
    EXPECT(epp_request_close(picker, error, sizeof error) == EPP_REQUEST_OK);
    return failures == 0 ? 0 : 1;
}
