/** The interpreter is configured here, before cffi would do it with defaults: cffi knows no virtual
 *  environments, and its own runtime, `_cffi_backend`, lives in one.
 *
 *  Python finds everything else from the path of its program: given `<home>/bin/python3` it reads
 *  `<home>/pyvenv.cfg` as it does when that program runs. The environment of the host (PYTHONPATH, PYTHONHOME)
 *  is not read, because a Go or C program that is not about Python may have any. */
#define PY_SSIZE_T_CLEAN
#include "interpreter.h"

#include <Python.h>
#include <dlfcn.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define HOME_VARIABLE "EPP_PYTHON_HOME"
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define MINOR_VERSION TEXT(PY_MAJOR_VERSION) "." TEXT(PY_MINOR_VERSION)

/** Longest path made here; one that does not fit names no file. */
enum { PATH_BYTES = 4096, SENTENCE_BYTES = 8192 };

static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;
static _Atomic(int) now = EPP_INTERPRETER_NONE;

static const char *home(void) {
    const char *given = getenv(HOME_VARIABLE);
    return given != NULL && given[0] != '\0' ? given : EPP_PYTHON_HOME;
}

static void say_of_home(epp_embedded_error *error, const char *problem) {
    char sentence[SENTENCE_BYTES];
    snprintf(sentence, sizeof sentence,
             "Python " MINOR_VERSION " of %s %s; " HOME_VARIABLE " names another one.", home(), problem);
    epp_embedded_say(error, sentence);
}

/* The pending exception as a sentence. */
static void say_exception(epp_embedded_error *error) {
    PyObject *type = NULL, *value = NULL, *trace = NULL;
    PyErr_Fetch(&type, &value, &trace);
    PyObject *text = value == NULL ? NULL : PyObject_Str(value);
    const char *utf8 = text == NULL ? NULL : PyUnicode_AsUTF8(text);
    char problem[SENTENCE_BYTES / 2];
    snprintf(problem, sizeof problem, "cannot run the picker: %s", utf8 == NULL ? "unknown" : utf8);
    say_of_home(error, problem);
    PyErr_Clear();
    Py_XDECREF(text);
    Py_XDECREF(type);
    Py_XDECREF(value);
    Py_XDECREF(trace);
}

/* No signal handlers, no reading of the environment, UTF-8 everywhere. Leaves the lock taken. */
static PyStatus initialize(const char *program) {
    PyPreConfig pre;
    PyPreConfig_InitIsolatedConfig(&pre);
    pre.utf8_mode = 1;
    PyStatus status = Py_PreInitialize(&pre);
    if (PyStatus_Exception(status)) return status;
    PyConfig config;
    PyConfig_InitIsolatedConfig(&config);
    status = PyConfig_SetBytesString(&config, &config.program_name, program);
    if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
    return status;
}

/* --- fork ---------------------------------------------------------------------------------------------- */

/* A child has the forking thread alone, and every lock as it was. So that thread forks while it holds the interpreter, as
 * os.fork() does; a host that runs Python itself forks by that.
 *
 * A thread that holds the interpreter already is Python's own: os.fork() has called PyOS_BeforeFork, and its hooks must not
 * run twice. Nor may it wait for `starting`, which is taken before the interpreter everywhere else. */
static PyGILState_STATE forking; /* while the interpreter is held */
static _Thread_local int python_forks;

static void before_fork(void) {
    python_forks = PyGILState_Check();
    if (python_forks) return;
    (void)pthread_mutex_lock(&starting);
    const PyGILState_STATE before = PyGILState_Ensure();
    forking = before;
    PyOS_BeforeFork();
}

static void after_fork_in_parent(void) {
    if (python_forks) {
        python_forks = 0; /* a hook that forks returns to the fork it is a hook of */
        return;
    }
    PyOS_AfterFork_Parent();
    PyGILState_Release(forking);
    (void)pthread_mutex_unlock(&starting);
}

static void after_fork_in_child(void) {
    if (python_forks) {
        python_forks = 0;
        starting = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER; /* who held it may be in the parent alone */
        return;
    }
    PyOS_AfterFork_Child();
    PyGILState_Release(forking);
    (void)pthread_mutex_unlock(&starting);
}

/* Once: a handler cannot be taken back. */
static int handle_forks(epp_embedded_error *error) {
    static int handled; /* under `starting` */
    if (!handled) handled = pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
    if (!handled) say_of_home(error, "has no room for what a fork needs");
    return handled;
}

/* --- starting ------------------------------------------------------------------------------------------ */

static int is_ours; /* under `starting`; a second try finds Python running and must still know whose */

static int start_ours(epp_embedded_error *error) {
    char program[PATH_BYTES];
    const int length = snprintf(program, sizeof program, "%s/bin/python3", home());
    if (length < 0 || (size_t)length >= sizeof program || access(program, X_OK) != 0) {
        say_of_home(error, "is not there (no bin/python3)");
        return 0;
    }
    const PyStatus status = initialize(program);
    if (PyStatus_Exception(status)) {
        say_of_home(error, status.err_msg == NULL ? "cannot be started" : status.err_msg);
        return 0;
    }
    is_ours = 1;
    PyEval_SaveThread();
    return 1;
}

static int import(const char *name) {
    PyObject *module = PyImport_ImportModule(name);
    Py_XDECREF(module);
    return module != NULL;
}

static int can_import(void) { return import("_cffi_backend") && import(EPP_PYTHON_MODULE); }

/* The packages beside the library's own Python, for a host whose Python has them not. */
static int add_packages(void) {
    char folder[PATH_BYTES];
    const int length =
        snprintf(folder, sizeof folder, "%s/lib/python" MINOR_VERSION "/site-packages", home());
    if (length < 0 || (size_t)length >= sizeof folder) return 0;
    PyObject *site = PyImport_ImportModule("site");
    PyObject *done = site == NULL ? NULL : PyObject_CallMethod(site, "addsitedir", "s", folder);
    Py_XDECREF(site);
    Py_XDECREF(done);
    return done != NULL;
}

static int find_program(epp_embedded_error *error) {
    const PyGILState_STATE lock = PyGILState_Ensure();
    int found = can_import();
    if (!found) {
        PyErr_Clear();
        found = add_packages() && can_import();
    }
    if (!found) say_exception(error);
    PyGILState_Release(lock);
    return found;
}

/* Importing Python's signal module takes SIGINT over wherever nobody has: the host gets it back. */
static int find_program_quietly(epp_embedded_error *error) {
    struct sigaction hosts;
    const int known = sigaction(SIGINT, NULL, &hosts) == 0;
    const int found = find_program(error);
    if (known) sigaction(SIGINT, &hosts, NULL);
    return found;
}

static int is_our_version(epp_embedded_error *error) {
    static const char wanted[] = MINOR_VERSION ".";
    if (strncmp(Py_GetVersion(), wanted, sizeof wanted - 1) == 0) return 1;
    char sentence[SENTENCE_BYTES];
    snprintf(sentence, sizeof sentence,
             "This library is built for Python " MINOR_VERSION ", the host runs %.20s.", Py_GetVersion());
    epp_embedded_say(error, sentence);
    return 0;
}

static epp_interpreter start(epp_embedded_error *error) {
    /* A host that loaded us with dlopen() keeps libpython to itself; extension modules must find it too. */
    (void)dlopen(EPP_LIBPYTHON, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
    if (!Py_IsInitialized()) {
        if (!start_ours(error)) return EPP_INTERPRETER_NONE;
    } else if (!is_our_version(error)) {
        return EPP_INTERPRETER_NONE;
    }
    if (!is_ours) return find_program(error) ? EPP_INTERPRETER_HOST : EPP_INTERPRETER_NONE;
    if (!handle_forks(error) || !find_program_quietly(error)) return EPP_INTERPRETER_NONE;
    return EPP_INTERPRETER_OURS;
}

epp_interpreter epp_interpreter_start(epp_embedded_error *error) {
    pthread_mutex_lock(&starting);
    if (atomic_load(&now) == EPP_INTERPRETER_NONE) atomic_store(&now, (int)start(error));
    pthread_mutex_unlock(&starting);
    return epp_interpreter_now();
}

epp_interpreter epp_interpreter_now(void) { return (epp_interpreter)atomic_load(&now); }
