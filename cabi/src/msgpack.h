/** Reading msgpack in place: strict bounds, no recursion, no allocation.
 *
 *  Written from the specification (msgpack.org). A reader never passes its end; a malformed value reads as
 *  EPP_MP_BAD and leaves the reader where it was. */
#ifndef EPP_MSGPACK_H
#define EPP_MSGPACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct epp_reader {
    const uint8_t *at, *end;
} epp_reader;

typedef enum epp_mp_kind {
    EPP_MP_BAD,
    EPP_MP_NIL,
    EPP_MP_BOOL,
    EPP_MP_INTEGER,
    EPP_MP_FLOAT,
    EPP_MP_TEXT,
    EPP_MP_BYTES,
    EPP_MP_ARRAY,
    EPP_MP_MAP,
    EPP_MP_EXTENSION,
} epp_mp_kind;

typedef struct epp_mp_value {
    epp_mp_kind kind;
    bool negative;
    uint64_t number;      /* integer: its 64 bits; text, bytes: length; array: items; map: pairs */
    const uint8_t *bytes; /* text, bytes, extension: the content */
} epp_mp_value;

/** The next value; of arrays and maps only the header is consumed, its items follow. */
epp_mp_value epp_mp_read(epp_reader *reader);

/** An integer that is not negative, quickly; false: the next value is something else, and was not passed. */
bool epp_mp_read_unsigned(epp_reader *reader, uint64_t *number);

/** Pass one whole value. False: malformed; the reader is then anywhere. */
bool epp_mp_skip(epp_reader *reader);

/** True if the text is UTF-8 (no surrogates, no overlong forms). */
bool epp_is_utf8(const uint8_t *bytes, uint64_t n);

#endif
