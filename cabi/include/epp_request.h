/** epp_request.h -- the request level of an endpoint picker for LLM inference gateways, for any language.
 *
 *  What it does. A *picker* finds model servers, listens to their KV-cache events, reads their load and
 *  holds their tokenizers. Given one OpenAI request as it came, it says which server should take it, which
 *  headers to set, and which token ids the prompt has. It is the same engine, with the same configuration,
 *  that serves gateways over ext_proc; here the host program asks it by a function call.
 *
 *      epp_request_picker picker;
 *      epp_request_input ask;
 *      epp_request_result answer;
 *      char error[256];
 *      epp_request_open(config, strlen(config), &picker, error, sizeof error);
 *      epp_request_wait_ready(picker, 30.0, error, sizeof error);
 *      epp_request_input_init(&ask);
 *      epp_request_result_init(&answer);
 *      ask.path = EPP_REQUEST_TEXT("/v1/chat/completions");
 *      ask.body = (epp_request_text){body, n_body};
 *      if (epp_request_select_worker(picker, &ask, &answer, error, sizeof error) == EPP_REQUEST_OK)
 *          forward_to(answer.destination.bytes);
 *      epp_request_finish(picker, answer.booking, EPP_REQUEST_COMPLETED, error, sizeof error);
 *      epp_request_free_result(&answer);
 *      epp_request_close(picker, error, sizeof error);
 *
 *  The native core, `epp.h`, is a different library without an interpreter: token ids in, a worker out.
 *  This one starts a Python interpreter inside the process at the first `epp_request_open`;
 *  docs/embedding.md says what a host needs for that. The two can be used together.
 *
 *  Reading order: 1 conventions, 2 status codes, 3 what goes in and out, 4 calls.
 *
 *  --- 1. Conventions -----------------------------------------------------------------------------------
 *
 *  Results   Every call that can fail returns an `epp_request_status`. Below 100 it is an error and the
 *            outputs are as they were; from 100 it is an answer ("nobody may serve this") and the result is
 *            filled.
 *  Errors    `error`, `error_capacity`: the caller's room for one sentence on any status but OK, cut to
 *            fit, always ended by NUL, untouched when the status is OK. NULL with capacity 0: nobody wants
 *            to read it.
 *  Threads   Any thread may call anything at any time, `epp_request_close` included. A call blocks its
 *            thread, none but itself, and every one has a deadline. A thread that holds Python's
 *            interpreter lock must release it around a call (ctypes.CDLL and cffi do).
 *  Memory    Every pointer given to a call is borrowed for that call. What a result points to belongs to
 *            the library until `epp_request_free_result`.
 *  Texts     Pointer and length, UTF-8; NULL with length 0 is the empty text. Texts in results are also
 *            ended by a NUL that the length does not count, and are never NULL.
 *  Structs   Begin with `struct_size`, are filled by their `_init`, and may grow at the end in later ABI
 *            versions; the library reads and writes only as many bytes as the caller knows.
 *  Processes A picker does not survive fork(): in the child it is closed, and `epp_request_open` makes another; the
 *            parent is not disturbed. Any thread may fork once the first open has returned. The interpreter
 *            stays until the process ends. No signal handler is installed, and the library's threads take no
 *            signals.
 *  Never     A wrong argument, a closed picker or a broken body never ends the process. */
#ifndef EPP_REQUEST_H
#define EPP_REQUEST_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(EPP_REQUEST_BUILDING) && defined(__GNUC__)
#define EPP_REQUEST_API __attribute__((visibility("default")))
#else
#define EPP_REQUEST_API
#endif

/** A text of the program itself: `ask.path = EPP_REQUEST_TEXT("/v1/completions")`. */
#ifdef __cplusplus
#define EPP_REQUEST_TEXT(literal) (epp_request_text{(literal), sizeof(literal) - 1})
#else
#define EPP_REQUEST_TEXT(literal) ((epp_request_text){(literal), sizeof(literal) - 1})
#endif

/* The part between the two cdef markers is also what the embedded program is generated from. */
/* cdef: begin */

/** Version of everything below; a binding compares it with `epp_request_abi_version()` when it loads. */
#define EPP_REQUEST_ABI_VERSION 1

/* --- 2. Status codes ---------------------------------------------------------------------------------- */

/** Numbers never change; gaps leave room. */
typedef enum epp_request_status {
    EPP_REQUEST_OK = 0,
    EPP_REQUEST_E_ARGUMENT = 10, /**< a NULL, a number out of range, an unknown flag, text that is no UTF-8 */
    EPP_REQUEST_E_MEMORY = 20,   /**< no room for a result */
    EPP_REQUEST_E_CONFIG = 30,   /**< the configuration is refused; one line per problem */
    EPP_REQUEST_E_PYTHON = 31,   /**< the interpreter or its packages could not be started */
    EPP_REQUEST_E_CLOSED = 32,   /**< no open picker has this number: it was closed, or never was */
    EPP_REQUEST_E_DEADLINE = 33, /**< not done in time; nothing is booked */
    EPP_REQUEST_E_UNKNOWN = 34,  /**< no booking has this id: it ended, its lease ended, or its worker left */
    EPP_REQUEST_E_INTERNAL = 50, /**< a mistake of the library's own */
    EPP_REQUEST_NO_ENDPOINTS = 100, /**< nobody may serve this request; answer 503 */
    EPP_REQUEST_SATURATED = 101,    /**< everybody is busy; answer 429 */
    EPP_REQUEST_REFUSED = 102       /**< the client's mistake: no JSON, an unknown pin; answer 4xx */
} epp_request_status;

/* --- 3. What goes in and out -------------------------------------------------------------------------- */

/** A picker, as a number that is never used again; 0 is none. */
typedef uint64_t epp_request_picker;

/** Text or bytes. */
typedef struct epp_request_text {
    const char *bytes;
    size_t n_bytes;
} epp_request_text;

/** One header. Names are compared in lower case; of repeated ones the last counts. */
typedef struct epp_request_header {
    epp_request_text name;
    epp_request_text value;
} epp_request_header;

/** A question, not a request: nothing is booked, logged or counted, and `epp_request_finish` is not to be called. */
#define EPP_REQUEST_ASK_ONLY 1u
#define EPP_REQUEST_SUBSET 2u /**< only the endpoints of `subset`, even if it is empty; not set: all */

/** One request as it came from the client. */
typedef struct epp_request_input {
    uint32_t struct_size;
    uint32_t flags;              /**< EPP_REQUEST_ASK_ONLY, EPP_REQUEST_SUBSET */
    double deadline_s;           /**< longest the call may take, above 0, at most 3600 */
    epp_request_text method;     /**< empty: POST */
    epp_request_text path;       /**< decides the API: `/v1/chat/completions`, `/v1/completions`, ... */
    epp_request_text body;       /**< JSON as it came; empty: the request has none and nothing is booked */
    epp_request_text request_id; /**< empty: `x-request-id`, else one is made */
    const epp_request_header *headers; /**< request headers; may be NULL if none */
    size_t n_headers;                  /**< at most 4096 */
    const epp_request_text *subset;    /**< `ip:port` or a bare ip each; read if EPP_REQUEST_SUBSET is set */
    size_t n_subset;                   /**< at most 65536 */
} epp_request_input;

/** How the token ids relate to what the engine will compute. */
typedef enum epp_request_exactness {
    EPP_REQUEST_TOKENS_NONE = 0,      /**< no tokens; the pick goes by load */
    EPP_REQUEST_TOKENS_ESTIMATED = 1, /**< pseudo-tokens of a few bytes, comparable only with each other */
    EPP_REQUEST_TOKENS_PARTIAL = 2,   /**< exact up to the first part that cannot be matched; no more */
    EPP_REQUEST_TOKENS_EXACT = 3
} epp_request_exactness;

/** Who serves a request, or why nobody does. */
typedef struct epp_request_result {
    uint32_t struct_size;
    uint32_t http_status;       /**< 200, or the status to answer the client with */
    uint64_t booking;           /**< for `epp_request_finish`; 0: nothing is booked */
    uint64_t worker_id;         /**< the worker the request goes to */
    uint64_t prefill_worker_id; /**< the worker that computes the prompt; meaningful if `split` */
    uint32_t rank;              /**< data-parallel rank of the worker */
    uint32_t prefill_rank;
    uint32_t split;                       /**< 1: prefill and decode on different workers */
    uint32_t exactness;                   /**< epp_request_exactness */
    uint64_t prompt_tokens;               /**< length of the prompt */
    uint64_t cached_tokens;               /**< of these, resident on the worker that prefills */
    double predicted_ttft_s;              /**< estimated time to the first token; 0: not estimated */
    epp_request_text destination;         /**< `ip:port` of the worker, IPv6 in brackets; empty: nobody */
    epp_request_text prefill_destination; /**< of the prefill worker; empty unless `split` */
    const uint32_t *tokens;               /**< token ids of the prompt, to forward or to keep; NULL: none */
    size_t n_tokens;
    /** To set on the request, the destination's among them; from 100: headers of the response. */
    const epp_request_header *set_headers;
    size_t n_set_headers;
    const epp_request_text *remove_headers; /**< to remove from the request: a client may not decide these */
    size_t n_remove_headers;
    /** To forward instead of the body, empty: as it came; from 100: body of the response. */
    epp_request_text body;
    epp_request_text request_id;
    epp_request_text reason;   /**< why this worker, or why nobody: one line for a log or a client */
    epp_request_text degraded; /**< why the tokens are not exact, one hyphenated word; empty: they are */
    void *memory;              /**< the library's */
} epp_request_result;

/** How a booked request ended. */
typedef enum epp_request_ending {
    EPP_REQUEST_COMPLETED = 0,
    EPP_REQUEST_CLIENT_GONE = 1,
    EPP_REQUEST_FAILED = 2
} epp_request_ending;

/* cdef: end */

/* --- 4. Calls ----------------------------------------------------------------------------------------- */

/** EPP_REQUEST_ABI_VERSION of the library that runs. Starts nothing. Since ABI 1. */
EPP_REQUEST_API uint32_t epp_request_abi_version(void);

/** A short lower-case name such as "deadline"; "unknown status" for numbers not above. Never NULL, static
 *  storage. Starts nothing. Since ABI 1. */
EPP_REQUEST_API const char *epp_request_status_name(int status);

/** Defaults: book, all endpoints, 10 s, everything else empty. NULL is fine. Since ABI 1. */
EPP_REQUEST_API void epp_request_input_init(epp_request_input *input);

/** Zeroes, ready for `epp_request_select_worker` and `epp_request_free_result`. NULL is fine.
 *  Since ABI 1. */
EPP_REQUEST_API void epp_request_result_init(epp_request_result *result);

/** Start a picker. The first call in a process also starts the interpreter (about half a second).
 *  config  YAML or JSON text, UTF-8, at most 1 MiB: the picker's configuration file, see
 *          docs/configuration.md. Settings of doors (ports, TLS) have no effect. Endpoints come from
 *          `discovery.endpoints_file` or, in place, from a top-level list `endpoints` in the form of that
 *          file, its addresses IP literals. As everywhere, environment variables beat the text. Logs go to
 *          standard error, warnings and errors unless `telemetry.log_level` is given; a host that runs
 *          Python itself finds them under the logger `epp`.
 *  out     the new picker, which at once begins to find workers and load tokenizers.
 *  Returns EPP_REQUEST_OK, E_ARGUMENT, E_CONFIG, E_PYTHON, E_DEADLINE (60 s), E_INTERNAL. Since ABI 1. */
EPP_REQUEST_API epp_request_status epp_request_open(const char *config, size_t n_config,
                                                    epp_request_picker *out, char *error,
                                                    size_t error_capacity);

/** Wait until somebody can be picked and every configured tokenizer has loaded or failed for the first
 *  time. Asking earlier is fine: nobody may be there yet, and tokens are estimated.
 *  deadline_s  above 0, at most 3600.
 *  Returns EPP_REQUEST_OK, E_ARGUMENT, E_CLOSED, E_DEADLINE with the parts that are not ready.
 *  Since ABI 1. */
EPP_REQUEST_API epp_request_status epp_request_wait_ready(epp_request_picker picker, double deadline_s,
                                                          char *error, size_t error_capacity);

/** Choose a worker for one request and book it there, so that the next choice knows of it.
 *  A booking ends by `epp_request_finish`, or when nothing was heard of it for `routing.lease_s` (300 s):
 *  neither the worker's events nor `epp_request_renew`.
 *  result  as `epp_request_result_init` left it; filled on OK and on answers from 100, and then to be given
 *          to `epp_request_free_result`.
 *  Returns EPP_REQUEST_OK, NO_ENDPOINTS, SATURATED, REFUSED, E_ARGUMENT, E_MEMORY, E_CLOSED, E_DEADLINE,
 *  E_INTERNAL. Since ABI 1. */
EPP_REQUEST_API epp_request_status epp_request_select_worker(epp_request_picker picker,
                                                             const epp_request_input *input,
                                                             epp_request_result *result, char *error,
                                                             size_t error_capacity);

/** The request is over: its response has ended, its client left, or it failed. Call it once per booking.
 *  Returns EPP_REQUEST_OK, E_ARGUMENT, E_CLOSED, E_UNKNOWN, E_DEADLINE (10 s), E_INTERNAL. Since ABI 1. */
EPP_REQUEST_API epp_request_status epp_request_finish(epp_request_picker picker, uint64_t booking,
                                                      epp_request_ending ending, char *error,
                                                      size_t error_capacity);

/** The request goes on: its lease starts anew. For answers that take longer than `routing.lease_s` on
 *  workers without KV events. Returns as `epp_request_finish`. Since ABI 1. */
EPP_REQUEST_API epp_request_status epp_request_renew(epp_request_picker picker, uint64_t booking, char *error,
                                                     size_t error_capacity);

/** Release what a result owns and empty it; NULL, an empty result and a second call are fine. Works after
 *  the picker was closed. Since ABI 1. */
EPP_REQUEST_API void epp_request_free_result(epp_request_result *result);

/** The metrics of a picker, as the picker behind ext_proc serves them: a page in Prometheus's text format
 *  (`text/plain; version=0.0.4`), names and meanings in docs/metrics.md. Each call takes some milliseconds;
 *  a scrape every few seconds is what it is for.
 *  page  filled on OK, and then to be given to `epp_request_free_text`; what it held before is not read.
 *  Returns EPP_REQUEST_OK, E_ARGUMENT, E_MEMORY, E_CLOSED, E_DEADLINE (10 s), E_INTERNAL. Since ABI 1. */
EPP_REQUEST_API epp_request_status epp_request_metrics(epp_request_picker picker, epp_request_text *page,
                                                       char *error, size_t error_capacity);

/** Release a text that a call has filled and empty it; NULL, an empty text and a second call are fine. Works
 *  after the picker was closed. Since ABI 1. */
EPP_REQUEST_API void epp_request_free_text(epp_request_text *text);

/** Stop a picker: its threads end, its connections close, its bookings are forgotten. Calls that are
 *  running on it end with E_CLOSED. The interpreter stays for the next one.
 *  Returns EPP_REQUEST_OK, E_CLOSED, E_DEADLINE (15 s; it goes on ending), E_INTERNAL. Since ABI 1. */
EPP_REQUEST_API epp_request_status epp_request_close(epp_request_picker picker, char *error,
                                                     size_t error_capacity);

#ifdef __cplusplus
}
#endif

#endif
