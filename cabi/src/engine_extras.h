/** What engines hash into a block besides its tokens: `extra_keys` and `block_mm_infos` of a stored event. */
#ifndef EPP_ENGINE_EXTRAS_H
#define EPP_ENGINE_EXTRAS_H

#include "msgpack.h"
#include "router.h"

/** The two lists, not yet read; `at` NULL: absent or null. */
typedef struct epp_extras {
    epp_reader keys, mm_infos;
} epp_extras;

typedef enum epp_extras_result {
    EPP_EXTRAS_OK,
    EPP_EXTRAS_MALFORMED,
    EPP_EXTRAS_NO_MEMORY
} epp_extras_result;

/** Where content hashes go, and how much of it is in use. */
typedef struct epp_contents {
    epp_message *message;
    size_t n_counts, n_hashes;
    bool any;
} epp_contents;

/** Append a count for each of `n_blocks` blocks and the content hashes counted, and find the salt.
 *  adapter   the LoRA adapter's name, which engines repeat as the first key of every block.
 *  at_root   the run begins a sequence, so its first block may carry the salt. */
epp_extras_result epp_read_extras(const epp_extras *extras, epp_mp_value adapter, bool at_root,
                                  uint64_t n_blocks, epp_contents *to, epp_mp_value *salt);

#endif
