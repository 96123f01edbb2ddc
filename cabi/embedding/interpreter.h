/** interpreter.h -- the Python interpreter this library runs in: the host's, or one it starts. */
#ifndef EPP_INTERPRETER_H
#define EPP_INTERPRETER_H

#include "embedded.h"

/** Whose interpreter it is. */
typedef enum epp_interpreter {
    EPP_INTERPRETER_NONE = 0, /**< nobody's yet, or it could not be used */
    EPP_INTERPRETER_HOST = 1,
    EPP_INTERPRETER_OURS = 2
} epp_interpreter;

/** Start the interpreter unless it runs, and make sure that the embedded program can be imported. NONE: `error`
 *  says why, and a later call tries again. Leaves the calling thread without the interpreter lock. */
epp_interpreter epp_interpreter_start(epp_embedded_error *error);

/** As `epp_interpreter_start` last said; starts nothing. */
epp_interpreter epp_interpreter_now(void);

#endif
