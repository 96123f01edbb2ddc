/** XXH3-64: the hash every block, worker and LoRA name of this project is built from.
 *
 *  Written from the published algorithm (the xxHash specification, XXH3 section); no vendored source.
 *  Works on any alignment and byte order; verified against the reference package by tests/unit/cabi. */
#ifndef EPP_XXH3_H
#define EPP_XXH3_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define EPP_PRIME32_1 UINT64_C(0x9E3779B1)
#define EPP_PRIME32_2 UINT64_C(0x85EBCA77)
#define EPP_PRIME32_3 UINT64_C(0xC2B2AE3D)
#define EPP_PRIME64_1 UINT64_C(0x9E3779B185EBCA87)
#define EPP_PRIME64_2 UINT64_C(0xC2B2AE3D27D4EB4F)
#define EPP_PRIME64_3 UINT64_C(0x165667B19E3779F9)
#define EPP_PRIME64_4 UINT64_C(0x85EBCA77C2B2AE63)
#define EPP_PRIME64_5 UINT64_C(0x27D4EB2F165667C5)
#define EPP_PRIME_MX1 UINT64_C(0x165667919E3779F9)
#define EPP_PRIME_MX2 UINT64_C(0x9FB21C651E98DF25)

/** The default secret of the specification. */
extern const uint8_t epp_xxh3_secret[192];

/** XXH3-64 of `length` bytes. `data` may be NULL when `length` is 0. */
uint64_t epp_xxh3_hash(const void *data, size_t length, uint64_t seed);

static inline uint32_t epp_read32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap32(value);
#endif
    return value;
}

static inline uint64_t epp_read64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

/** Low half xor high half of the 128-bit product. */
static inline uint64_t epp_fold128(uint64_t a, uint64_t b) {
    const unsigned __int128 product = (unsigned __int128)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

static inline uint64_t epp_xxh3_avalanche(uint64_t h) {
    h ^= h >> 37;
    h *= EPP_PRIME_MX1;
    return h ^ (h >> 32);
}

/** XXH3-64 of the 16 bytes le64(a), le64(b): one link of a block chain. */
static inline uint64_t epp_xxh3_pair(uint64_t a, uint64_t b, uint64_t seed) {
    const uint64_t flip_low = (epp_read64(epp_xxh3_secret + 24) ^ epp_read64(epp_xxh3_secret + 32)) + seed;
    const uint64_t flip_high = (epp_read64(epp_xxh3_secret + 40) ^ epp_read64(epp_xxh3_secret + 48)) - seed;
    const uint64_t low = a ^ flip_low;
    const uint64_t high = b ^ flip_high;
    return epp_xxh3_avalanche(16 + __builtin_bswap64(low) + high + epp_fold128(low, high));
}

/** Mix 16 bytes of input with 16 bytes of secret. */
static inline uint64_t epp_xxh3_mix16(const uint8_t *input, const uint8_t *secret, uint64_t seed) {
    return epp_fold128(epp_read64(input) ^ (epp_read64(secret) + seed),
                       epp_read64(input + 8) ^ (epp_read64(secret + 8) - seed));
}

/** XXH3-64 of exactly 64 bytes: one block of 16 tokens, the commonest input by far. */
static inline uint64_t epp_xxh3_64bytes(const uint8_t *input, uint64_t seed) {
    uint64_t acc = 64 * EPP_PRIME64_1;
    acc += epp_xxh3_mix16(input + 16, epp_xxh3_secret + 32, seed);
    acc += epp_xxh3_mix16(input + 32, epp_xxh3_secret + 48, seed);
    acc += epp_xxh3_mix16(input, epp_xxh3_secret, seed);
    acc += epp_xxh3_mix16(input + 48, epp_xxh3_secret + 16, seed);
    return epp_xxh3_avalanche(acc);
}

#endif
