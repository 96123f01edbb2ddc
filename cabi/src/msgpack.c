#include "msgpack.h"

#include <string.h>

static uint64_t big_endian(const uint8_t *at, size_t width) {
    uint64_t value = 0;
    for (size_t i = 0; i < width; i++) value = value << 8 | at[i];
    return value;
}

static size_t left(const epp_reader *reader) { return (size_t)(reader->end - reader->at); }

static const epp_mp_value BAD = {.kind = EPP_MP_BAD};

/** A value whose content of `length` bytes follows a header of `header` bytes. */
static epp_mp_value content(epp_reader *reader, epp_mp_kind kind, size_t header, uint64_t length) {
    if (length > left(reader) - header) return BAD;
    const epp_mp_value value = {.kind = kind, .number = length, .bytes = reader->at + header};
    reader->at += header + length;
    return value;
}

/** An array or map whose items follow; every item takes a byte at least. */
static epp_mp_value container(epp_reader *reader, epp_mp_kind kind, size_t header, uint64_t count) {
    const uint64_t items = kind == EPP_MP_MAP ? 2 * count : count;
    if (items > left(reader) - header) return BAD;
    reader->at += header;
    return (epp_mp_value){.kind = kind, .number = count};
}

static epp_mp_value scalar(epp_reader *reader, epp_mp_kind kind, size_t bytes, uint64_t number,
                           bool negative) {
    reader->at += bytes;
    return (epp_mp_value){.kind = kind, .number = number, .negative = negative};
}

/** 0xd0 .. 0xd3: sign-extended. */
static epp_mp_value signed_integer(epp_reader *reader, size_t width) {
    uint64_t number = big_endian(reader->at + 1, width);
    const unsigned shift = 64 - 8 * (unsigned)width;
    const bool negative = number >> (8 * width - 1) & 1;
    if (negative && shift) number |= ~UINT64_C(0) << (8 * width);
    return scalar(reader, EPP_MP_INTEGER, 1 + width, number, negative);
}

/** Bytes of header after the first, by first byte from 0xc0. */
static const uint8_t HEADER_BYTES[32] = {0, 0, 0, 0, 1, 2, 4, 2, 3, 5, 4, 8, 1, 2, 4, 8,
                                         1, 2, 4, 8, 1, 1, 1, 1, 1, 1, 2, 4, 2, 4, 2, 4};

static epp_mp_value read_long(epp_reader *reader, uint8_t first) {
    const size_t width = HEADER_BYTES[first - 0xc0];
    if (left(reader) < 1 + width) return BAD;
    const uint64_t number = big_endian(reader->at + 1, width);
    switch (first) {
    case 0xc0: return scalar(reader, EPP_MP_NIL, 1, 0, false);
    case 0xc2:
    case 0xc3: return scalar(reader, EPP_MP_BOOL, 1, first & 1, false);
    case 0xc4:
    case 0xc5:
    case 0xc6: return content(reader, EPP_MP_BYTES, 1 + width, number);
    case 0xc7:
    case 0xc8:
    case 0xc9: return content(reader, EPP_MP_EXTENSION, 1 + width, number >> 8);
    case 0xca:
    case 0xcb: return scalar(reader, EPP_MP_FLOAT, 1 + width, number, false);
    case 0xcc:
    case 0xcd:
    case 0xce:
    case 0xcf: return scalar(reader, EPP_MP_INTEGER, 1 + width, number, false);
    case 0xd0:
    case 0xd1:
    case 0xd2:
    case 0xd3: return signed_integer(reader, width);
    case 0xd4:
    case 0xd5:
    case 0xd6:
    case 0xd7:
    case 0xd8: return content(reader, EPP_MP_EXTENSION, 2, UINT64_C(1) << (first - 0xd4));
    case 0xd9:
    case 0xda:
    case 0xdb: return content(reader, EPP_MP_TEXT, 1 + width, number);
    case 0xdc:
    case 0xdd: return container(reader, EPP_MP_ARRAY, 1 + width, number);
    case 0xde:
    case 0xdf: return container(reader, EPP_MP_MAP, 1 + width, number);
    default: return BAD; /* 0xc1 is never used */
    }
}

epp_mp_value epp_mp_read(epp_reader *reader) {
    if (reader->at == reader->end) return BAD;
    const uint8_t first = *reader->at;
    if (first < 0x80) return scalar(reader, EPP_MP_INTEGER, 1, first, false);
    if (first < 0x90) return container(reader, EPP_MP_MAP, 1, first & 0x0F);
    if (first < 0xa0) return container(reader, EPP_MP_ARRAY, 1, first & 0x0F);
    if (first < 0xc0) return content(reader, EPP_MP_TEXT, 1, first & 0x1F);
    if (first < 0xe0) return read_long(reader, first);
    return scalar(reader, EPP_MP_INTEGER, 1, ~UINT64_C(0xFF) | first, true);
}

/** Bytes of a value that is not longer than its first byte says; 0: look closer. */
static size_t fixed_bytes(uint8_t first) {
    if (first < 0x80 || first >= 0xe0) return 1;
    if (first >= 0xcc && first <= 0xd3) return 1 + (size_t)HEADER_BYTES[first - 0xc0];
    return first == 0xc0 ? 1 : 0;
}

bool epp_mp_skip(epp_reader *reader) {
    uint64_t pending = 1;
    while (pending > 0) {
        const size_t fixed = reader->at < reader->end ? fixed_bytes(*reader->at) : 0;
        pending--;
        if (fixed) { /* numbers, which most of a message is */
            if (fixed > left(reader)) return false;
            reader->at += fixed;
            continue;
        }
        const epp_mp_value value = epp_mp_read(reader);
        if (value.kind == EPP_MP_BAD) return false;
        if (value.kind == EPP_MP_ARRAY) pending += value.number;
        if (value.kind == EPP_MP_MAP) pending += 2 * value.number;
        if (pending > left(reader)) return false;
    }
    return true;
}

bool epp_mp_read_unsigned(epp_reader *reader, uint64_t *number) {
    if (reader->at == reader->end) return false;
    const uint8_t first = *reader->at;
    if (first < 0x80) {
        *number = first;
        reader->at++;
        return true;
    }
    if (first < 0xcc || first > 0xcf) return false;
    const size_t width = HEADER_BYTES[first - 0xc0];
    if (left(reader) < 1 + width) return false;
    switch (width) {
    case 1: *number = reader->at[1]; break;
    case 2: *number = (uint64_t)reader->at[1] << 8 | reader->at[2]; break;
    case 4: *number = big_endian(reader->at + 1, 4); break;
    default: *number = big_endian(reader->at + 1, 8); break;
    }
    reader->at += 1 + width;
    return true;
}

/** Bytes of the UTF-8 sequence at `at`, or 0. */
static uint64_t sequence(const uint8_t *at, uint64_t n) {
    static const uint32_t least[5] = {0, 0, 0x80, 0x800, 0x10000};
    if (at[0] < 0x80) return 1;
    const uint64_t length = at[0] >= 0xF0 ? 4 : at[0] >= 0xE0 ? 3 : at[0] >= 0xC0 ? 2 : 0;
    if (length == 0 || length > n || at[0] > 0xF4) return 0;
    uint32_t point = at[0] & (0x7Fu >> length);
    for (uint64_t i = 1; i < length; i++) {
        if ((at[i] & 0xC0) != 0x80) return 0;
        point = point << 6 | (at[i] & 0x3F);
    }
    const bool surrogate = point >= 0xD800 && point <= 0xDFFF;
    return point < least[length] || point > 0x10FFFF || surrogate ? 0 : length;
}

bool epp_is_utf8(const uint8_t *bytes, uint64_t n) {
    for (uint64_t at = 0; at < n;) {
        const uint64_t length = sequence(bytes + at, n - at);
        if (length == 0) return false;
        at += length;
    }
    return true;
}
