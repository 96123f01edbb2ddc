/** load.h -- libepp_request found when the program runs: building it needs neither the library nor Python. */
#ifndef EPP_GO_LOAD_H
#define EPP_GO_LOAD_H

#include "epp_request.h"

/** Load the library; NULL: done, else why not (the loader's own storage: read it at once). Once it was loaded,
 *  further calls do nothing. Not safe from two threads at a time. */
const char *epp_go_load(const char *path);

uint32_t epp_go_abi_version(void);
void epp_go_input_init(epp_request_input *input);
epp_request_status epp_go_open(const char *config, size_t n_config, epp_request_picker *out, char *error,
                               size_t capacity);
epp_request_status epp_go_wait_ready(epp_request_picker picker, double deadline_s, char *error,
                                     size_t capacity);
epp_request_status epp_go_select(epp_request_picker picker, const epp_request_input *input,
                                 epp_request_result *result, char *error, size_t capacity);
epp_request_status epp_go_finish(epp_request_picker picker, uint64_t booking, int ending, char *error,
                                 size_t capacity);
epp_request_status epp_go_renew(epp_request_picker picker, uint64_t booking, char *error, size_t capacity);
epp_request_status epp_go_metrics(epp_request_picker picker, epp_request_text *page, char *error,
                                  size_t capacity);
void epp_go_free_text(epp_request_text *text);
epp_request_status epp_go_close(epp_request_picker picker, char *error, size_t capacity);
void epp_go_result_init(epp_request_result *result);
void epp_go_free_result(epp_request_result *result);

#endif
