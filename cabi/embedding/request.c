/** The C face of libepp_request: every argument is checked here, every output written here, so the program
 *  behind it sees only sound values and a failure leaves the caller's outputs as they were. */
#include "interpreter.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_HEADERS = 4096, MAX_SUBSET = 65536, MAX_CONFIG_BYTES = 1 << 20 };

static const double MAX_DEADLINE_S = 3600.0;
static const double DEFAULT_DEADLINE_S = 10.0;
static const uint32_t KNOWN_FLAGS = EPP_REQUEST_ASK_ONLY | EPP_REQUEST_SUBSET;

static const struct {
    epp_request_status status;
    const char *name;
} NAMES[] = {
    {EPP_REQUEST_OK, "ok"},
    {EPP_REQUEST_E_ARGUMENT, "argument"},
    {EPP_REQUEST_E_MEMORY, "memory"},
    {EPP_REQUEST_E_CONFIG, "config"},
    {EPP_REQUEST_E_PYTHON, "python"},
    {EPP_REQUEST_E_CLOSED, "closed"},
    {EPP_REQUEST_E_DEADLINE, "deadline"},
    {EPP_REQUEST_E_UNKNOWN, "unknown"},
    {EPP_REQUEST_E_INTERNAL, "internal"},
    {EPP_REQUEST_NO_ENDPOINTS, "no-endpoints"},
    {EPP_REQUEST_SATURATED, "saturated"},
    {EPP_REQUEST_REFUSED, "refused"},
};

/* --- pure ---------------------------------------------------------------------------------------------- */

uint32_t epp_request_abi_version(void) { return EPP_REQUEST_ABI_VERSION; }

const char *epp_request_status_name(int status) {
    for (size_t i = 0; i < sizeof NAMES / sizeof NAMES[0]; i++)
        if ((int)NAMES[i].status == status) return NAMES[i].name;
    return "unknown status";
}

void epp_request_input_init(epp_request_input *input) {
    if (input == NULL) return;
    memset(input, 0, sizeof *input);
    input->struct_size = sizeof *input;
    input->deadline_s = DEFAULT_DEADLINE_S;
}

void epp_request_result_init(epp_request_result *result) {
    if (result == NULL) return;
    memset(result, 0, sizeof *result);
    result->struct_size = sizeof *result;
}

void epp_request_free_result(epp_request_result *result) {
    if (result == NULL || result->struct_size < sizeof *result) return;
    const uint32_t size = result->struct_size;
    free(result->memory);
    memset(result, 0, sizeof *result);
    result->struct_size = size;
}

void epp_request_free_text(epp_request_text *text) {
    if (text == NULL) return;
    free((void *)text->bytes);
    *text = (epp_request_text){NULL, 0};
}

/* --- for the embedded program ------------------------------------------------------------------------- */

void *epp_embedded_allocate(size_t n_bytes) { return malloc(n_bytes); }

void epp_embedded_say(epp_embedded_error *error, const char *sentence) {
    if (error->capacity == 0) return;
    size_t n = strlen(sentence);
    if (n >= error->capacity) {
        n = error->capacity - 1;
        while (n > 0 && ((unsigned char)sentence[n] & 0xC0u) == 0x80u) n--;
    }
    memcpy(error->text, sentence, n);
    error->text[n] = '\0';
}

/* --- arguments ---------------------------------------------------------------------------------------- */

static int is_text(epp_request_text text) { return text.bytes != NULL || text.n_bytes == 0; }

static int is_deadline(double seconds) {
    return isfinite(seconds) && seconds > 0 && seconds <= MAX_DEADLINE_S;
}

static int are_headers(const epp_request_header *headers, size_t n) {
    if (n > MAX_HEADERS || (n > 0 && headers == NULL)) return 0;
    for (size_t i = 0; i < n; i++)
        if (!is_text(headers[i].name) || !is_text(headers[i].value)) return 0;
    return 1;
}

static int are_texts(const epp_request_text *texts, size_t n) {
    if (n > MAX_SUBSET || (n > 0 && texts == NULL)) return 0;
    for (size_t i = 0; i < n; i++)
        if (!is_text(texts[i])) return 0;
    return 1;
}

/* What is wrong with a request, NULL: nothing. */
static const char *problem_of(const epp_request_input *input) {
    if ((input->flags & ~KNOWN_FLAGS) != 0) return "The request has an unknown flag.";
    if (!is_deadline(input->deadline_s)) return "The deadline is not above 0 and at most 3600 seconds.";
    if (!is_text(input->method) || !is_text(input->path) || !is_text(input->body) ||
        !is_text(input->request_id))
        return "A text of the request is NULL but has a length.";
    if (!are_headers(input->headers, input->n_headers))
        return "The headers are NULL but have a length, or are more than 4096.";
    if ((input->flags & EPP_REQUEST_SUBSET) != 0 && !are_texts(input->subset, input->n_subset))
        return "The subset is NULL but has a length, or is longer than 65536.";
    return NULL;
}

static epp_request_status wrong(epp_embedded_error *room, const char *sentence) {
    epp_embedded_say(room, sentence);
    return EPP_REQUEST_E_ARGUMENT;
}

static epp_embedded_error room_of(char *error, size_t capacity) {
    return (epp_embedded_error){error, error == NULL ? 0 : capacity};
}

/* Nothing can be open before the interpreter runs, and asking must not start it. */
static int nothing_open(epp_embedded_error *room) {
    if (epp_interpreter_now() != EPP_INTERPRETER_NONE) return 0;
    epp_embedded_say(room, "No picker is open.");
    return 1;
}

/* From the program's answer, a status plus 1. */
static epp_request_status answered(int answer, epp_embedded_error *room) {
    if (answer > 0) return (epp_request_status)(answer - 1);
    epp_embedded_say(room, "The embedded program could not be loaded; standard error has the reason.");
    return EPP_REQUEST_E_PYTHON;
}

/* --- calls -------------------------------------------------------------------------------------------- */

epp_request_status epp_request_open(const char *config, size_t n_config, epp_request_picker *out, char *error,
                                    size_t error_capacity) {
    epp_embedded_error room = room_of(error, error_capacity);
    if (out == NULL || (config == NULL && n_config > 0))
        return wrong(&room, "The configuration or the place for the picker is NULL.");
    if (n_config > MAX_CONFIG_BYTES) return wrong(&room, "The configuration is larger than 1 MiB.");
    const epp_interpreter whose = epp_interpreter_start(&room);
    if (whose == EPP_INTERPRETER_NONE) return EPP_REQUEST_E_PYTHON;
    uint64_t picker = 0;
    const int answer = epp_embedded_open(config, n_config, whose == EPP_INTERPRETER_OURS, &picker, &room);
    const epp_request_status status = answered(answer, &room);
    if (status == EPP_REQUEST_OK) *out = picker;
    return status;
}

epp_request_status epp_request_wait_ready(epp_request_picker picker, double deadline_s, char *error,
                                          size_t error_capacity) {
    epp_embedded_error room = room_of(error, error_capacity);
    if (!is_deadline(deadline_s))
        return wrong(&room, "The deadline is not above 0 and at most 3600 seconds.");
    if (nothing_open(&room)) return EPP_REQUEST_E_CLOSED;
    return answered(epp_embedded_wait_ready(picker, deadline_s, &room), &room);
}

epp_request_status epp_request_select_worker(epp_request_picker picker, const epp_request_input *input,
                                             epp_request_result *result, char *error, size_t error_capacity) {
    epp_embedded_error room = room_of(error, error_capacity);
    if (input == NULL || input->struct_size < sizeof *input)
        return wrong(&room, "The request is NULL or was not initialized.");
    if (result == NULL || result->struct_size < sizeof *result || result->memory != NULL)
        return wrong(&room, "The result is NULL, was not initialized, or still holds an answer.");
    const char *problem = problem_of(input);
    if (problem != NULL) return wrong(&room, problem);
    if (nothing_open(&room)) return EPP_REQUEST_E_CLOSED;
    epp_request_result filled;
    epp_request_result_init(&filled);
    const epp_request_status status = answered(epp_embedded_select(picker, input, &filled, &room), &room);
    if (status == EPP_REQUEST_OK || status >= EPP_REQUEST_NO_ENDPOINTS) {
        filled.struct_size = result->struct_size;
        memcpy(result, &filled, sizeof filled);
    }
    return status;
}

epp_request_status epp_request_finish(epp_request_picker picker, uint64_t booking, epp_request_ending ending,
                                      char *error, size_t error_capacity) {
    epp_embedded_error room = room_of(error, error_capacity);
    if ((int)ending < EPP_REQUEST_COMPLETED || (int)ending > EPP_REQUEST_FAILED)
        return wrong(&room, "The ending is unknown.");
    if (nothing_open(&room)) return EPP_REQUEST_E_CLOSED;
    return answered(epp_embedded_finish(picker, booking, (int)ending, &room), &room);
}

epp_request_status epp_request_renew(epp_request_picker picker, uint64_t booking, char *error,
                                     size_t error_capacity) {
    epp_embedded_error room = room_of(error, error_capacity);
    if (nothing_open(&room)) return EPP_REQUEST_E_CLOSED;
    return answered(epp_embedded_renew(picker, booking, &room), &room);
}

epp_request_status epp_request_metrics(epp_request_picker picker, epp_request_text *page, char *error,
                                       size_t error_capacity) {
    epp_embedded_error room = room_of(error, error_capacity);
    if (page == NULL) return wrong(&room, "The place for the page is NULL.");
    if (nothing_open(&room)) return EPP_REQUEST_E_CLOSED;
    epp_request_text filled = {NULL, 0};
    const epp_request_status status = answered(epp_embedded_metrics(picker, &filled, &room), &room);
    if (status == EPP_REQUEST_OK) *page = filled;
    return status;
}

epp_request_status epp_request_close(epp_request_picker picker, char *error, size_t error_capacity) {
    epp_embedded_error room = room_of(error, error_capacity);
    if (nothing_open(&room)) return EPP_REQUEST_E_CLOSED;
    return answered(epp_embedded_close(picker, &room), &room);
}
