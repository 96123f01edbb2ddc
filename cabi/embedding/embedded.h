/** embedded.h -- the seam inside libepp_request: what its C face asks of the Python program, and the reverse.
 *
 *  The C face has checked every argument before it calls one of these. They return a status plus 1, because cffi
 *  answers 0 when the program could not be loaded. */
#ifndef EPP_EMBEDDED_H
#define EPP_EMBEDDED_H

#include "epp_request.h"

/** Filled in by the C face, never NULL: where the one sentence of a failure goes. */
/* cdef: begin */
typedef struct epp_embedded_error {
    char *text;
    size_t capacity; /**< 0: nobody wants to read it */
} epp_embedded_error;
/* cdef: end */

/* python: begin */
/** As the public calls of the same names. `ours` 1: this library started the interpreter, so nobody else does
 *  logging or garbage collection in it. */
int epp_embedded_open(const char *config, size_t n_config, int ours, uint64_t *out,
                      epp_embedded_error *error);
int epp_embedded_wait_ready(uint64_t picker, double deadline_s, epp_embedded_error *error);
int epp_embedded_select(uint64_t picker, const epp_request_input *input, epp_request_result *result,
                        epp_embedded_error *error);
int epp_embedded_finish(uint64_t picker, uint64_t booking, int ending, epp_embedded_error *error);
int epp_embedded_renew(uint64_t picker, uint64_t booking, epp_embedded_error *error);
int epp_embedded_metrics(uint64_t picker, epp_request_text *page, epp_embedded_error *error);
int epp_embedded_close(uint64_t picker, epp_embedded_error *error);
/* python: end */

/* c: begin */
/** Memory that `epp_request_free_result` and `epp_request_free_text` give back; NULL: there is none. */
void *epp_embedded_allocate(size_t n_bytes);
/** Write a sentence that is ended by NUL, cut between characters. */
void epp_embedded_say(epp_embedded_error *error, const char *sentence);
/* c: end */

#endif
