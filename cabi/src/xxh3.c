/* XXH3-64 by input length: 0, 1-3, 4-8, 9-16, 17-128, 129-240 and beyond, each with its own mixing; the
 * long form runs eight lanes over 64-byte stripes. The compiler vectorizes the lane loops. */
#include "xxh3.h"

enum {
    STRIPE_BYTES = 64,
    LANES = STRIPE_BYTES / 8,
    SECRET_STEP_BYTES = 8,
    SECRET_BYTES = 192,
    SECRET_LAST_STRIPE_OFFSET = SECRET_BYTES - STRIPE_BYTES - 7,
    SECRET_MERGE_OFFSET = 11,
    STRIPES_PER_BLOCK = (SECRET_BYTES - STRIPE_BYTES) / SECRET_STEP_BYTES,
    BLOCK_BYTES = STRIPE_BYTES * STRIPES_PER_BLOCK,
    MID_MAX_BYTES = 240,
    MID_SECRET_MIN_BYTES = 136,
};

const uint8_t epp_xxh3_secret[192] = {
    0xb8, 0xfe, 0x6c, 0x39, 0x23, 0xa4, 0x4b, 0xbe, 0x7c, 0x01, 0x81, 0x2c, 0xf7, 0x21, 0xad, 0x1c,
    0xde, 0xd4, 0x6d, 0xe9, 0x83, 0x90, 0x97, 0xdb, 0x72, 0x40, 0xa4, 0xa4, 0xb7, 0xb3, 0x67, 0x1f,
    0xcb, 0x79, 0xe6, 0x4e, 0xcc, 0xc0, 0xe5, 0x78, 0x82, 0x5a, 0xd0, 0x7d, 0xcc, 0xff, 0x72, 0x21,
    0xb8, 0x08, 0x46, 0x74, 0xf7, 0x43, 0x24, 0x8e, 0xe0, 0x35, 0x90, 0xe6, 0x81, 0x3a, 0x26, 0x4c,
    0x3c, 0x28, 0x52, 0xbb, 0x91, 0xc3, 0x00, 0xcb, 0x88, 0xd0, 0x65, 0x8b, 0x1b, 0x53, 0x2e, 0xa3,
    0x71, 0x64, 0x48, 0x97, 0xa2, 0x0d, 0xf9, 0x4e, 0x38, 0x19, 0xef, 0x46, 0xa9, 0xde, 0xac, 0xd8,
    0xa8, 0xfa, 0x76, 0x3f, 0xe3, 0x9c, 0x34, 0x3f, 0xf9, 0xdc, 0xbb, 0xc7, 0xc7, 0x0b, 0x4f, 0x1d,
    0x8a, 0x51, 0xe0, 0x4b, 0xcd, 0xb4, 0x59, 0x31, 0xc8, 0x9f, 0x7e, 0xc9, 0xd9, 0x78, 0x73, 0x64,
    0xea, 0xc5, 0xac, 0x83, 0x34, 0xd3, 0xeb, 0xc3, 0xc5, 0x81, 0xa0, 0xff, 0xfa, 0x13, 0x63, 0xeb,
    0x17, 0x0d, 0xdd, 0x51, 0xb7, 0xf0, 0xda, 0x49, 0xd3, 0x16, 0x55, 0x26, 0x29, 0xd4, 0x68, 0x9e,
    0x2b, 0x16, 0xbe, 0x58, 0x7d, 0x47, 0xa1, 0xfc, 0x8f, 0xf8, 0xb8, 0xd1, 0x7a, 0xd0, 0x31, 0xce,
    0x45, 0xcb, 0x3a, 0x8f, 0x95, 0x16, 0x04, 0x28, 0xaf, 0xd7, 0xfb, 0xca, 0xbb, 0x4b, 0x40, 0x7e,
};

static uint64_t xxh64_avalanche(uint64_t h) {
    h ^= h >> 33;
    h *= EPP_PRIME64_2;
    h ^= h >> 29;
    h *= EPP_PRIME64_3;
    return h ^ (h >> 32);
}

static uint64_t rotl64(uint64_t x, int by) { return (x << by) | (x >> (64 - by)); }

static uint64_t hash_0(uint64_t seed) {
    return xxh64_avalanche(seed ^ epp_read64(epp_xxh3_secret + 56) ^ epp_read64(epp_xxh3_secret + 64));
}

static uint64_t hash_1_to_3(const uint8_t *in, size_t length, uint64_t seed) {
    const uint32_t combined = ((uint32_t)in[0] << 16) | ((uint32_t)in[length >> 1] << 24) | in[length - 1] |
                              ((uint32_t)length << 8);
    const uint64_t flip = (epp_read32(epp_xxh3_secret) ^ epp_read32(epp_xxh3_secret + 4)) + seed;
    return xxh64_avalanche(combined ^ flip);
}

static uint64_t hash_4_to_8(const uint8_t *in, size_t length, uint64_t seed) {
    seed ^= (uint64_t)__builtin_bswap32((uint32_t)seed) << 32;
    const uint64_t flip = (epp_read64(epp_xxh3_secret + 8) ^ epp_read64(epp_xxh3_secret + 16)) - seed;
    uint64_t h = (epp_read32(in + length - 4) + ((uint64_t)epp_read32(in) << 32)) ^ flip;
    h ^= rotl64(h, 49) ^ rotl64(h, 24);
    h *= EPP_PRIME_MX2;
    h ^= (h >> 35) + length;
    h *= EPP_PRIME_MX2;
    return h ^ (h >> 28);
}

static uint64_t hash_9_to_16(const uint8_t *in, size_t length, uint64_t seed) {
    const uint64_t flip_low = (epp_read64(epp_xxh3_secret + 24) ^ epp_read64(epp_xxh3_secret + 32)) + seed;
    const uint64_t flip_high = (epp_read64(epp_xxh3_secret + 40) ^ epp_read64(epp_xxh3_secret + 48)) - seed;
    const uint64_t low = epp_read64(in) ^ flip_low;
    const uint64_t high = epp_read64(in + length - 8) ^ flip_high;
    return epp_xxh3_avalanche(length + __builtin_bswap64(low) + high + epp_fold128(low, high));
}

static uint64_t hash_17_to_128(const uint8_t *in, size_t length, uint64_t seed) {
    uint64_t acc = length * EPP_PRIME64_1;
    for (size_t i = (length - 1) / 32 + 1; i-- > 0;) { /* pairs from both ends, innermost first */
        acc += epp_xxh3_mix16(in + 16 * i, epp_xxh3_secret + 32 * i, seed);
        acc += epp_xxh3_mix16(in + length - 16 * (i + 1), epp_xxh3_secret + 32 * i + 16, seed);
    }
    return epp_xxh3_avalanche(acc);
}

static uint64_t hash_129_to_240(const uint8_t *in, size_t length, uint64_t seed) {
    uint64_t acc = length * EPP_PRIME64_1;
    const size_t rounds = length / 16;
    for (size_t i = 0; i < 8; i++) acc += epp_xxh3_mix16(in + 16 * i, epp_xxh3_secret + 16 * i, seed);
    acc = epp_xxh3_avalanche(acc);
    for (size_t i = 8; i < rounds; i++)
        acc += epp_xxh3_mix16(in + 16 * i, epp_xxh3_secret + 16 * (i - 8) + 3, seed);
    acc += epp_xxh3_mix16(in + length - 16, epp_xxh3_secret + MID_SECRET_MIN_BYTES - 17, seed);
    return epp_xxh3_avalanche(acc);
}

static void accumulate(uint64_t acc[LANES], const uint8_t *stripe, const uint8_t *secret) {
    for (size_t lane = 0; lane < LANES; lane++) {
        const uint64_t value = epp_read64(stripe + 8 * lane);
        const uint64_t key = value ^ epp_read64(secret + 8 * lane);
        acc[lane ^ 1] += value;
        acc[lane] += (uint64_t)(uint32_t)key * (key >> 32);
    }
}

static void scramble(uint64_t acc[LANES], const uint8_t *secret) {
    for (size_t lane = 0; lane < LANES; lane++) {
        acc[lane] ^= acc[lane] >> 47;
        acc[lane] ^= epp_read64(secret + 8 * lane);
        acc[lane] *= EPP_PRIME32_1;
    }
}

/** The secret of a seeded long hash: the default one with the seed added and subtracted in turn. */
static void derive_secret(uint8_t out[SECRET_BYTES], uint64_t seed) {
    for (size_t at = 0; at < SECRET_BYTES; at += 16) {
        const uint64_t words[2] = {epp_read64(epp_xxh3_secret + at) + seed,
                                   epp_read64(epp_xxh3_secret + at + 8) - seed};
        for (size_t byte = 0; byte < 16; byte++)
            out[at + byte] = (uint8_t)(words[byte / 8] >> (8 * (byte % 8)));
    }
}

static uint64_t merge(const uint64_t acc[LANES], const uint8_t *secret, uint64_t start) {
    for (size_t i = 0; i < LANES / 2; i++)
        start += epp_fold128(acc[2 * i] ^ epp_read64(secret + 16 * i),
                             acc[2 * i + 1] ^ epp_read64(secret + 16 * i + 8));
    return epp_xxh3_avalanche(start);
}

static uint64_t hash_long(const uint8_t *in, size_t length, uint64_t seed) {
    uint64_t acc[LANES] = {EPP_PRIME32_3, EPP_PRIME64_1, EPP_PRIME64_2, EPP_PRIME64_3,
                           EPP_PRIME64_4, EPP_PRIME32_2, EPP_PRIME64_5, EPP_PRIME32_1};
    uint8_t secret[SECRET_BYTES];
    derive_secret(secret, seed);
    const size_t blocks = (length - 1) / BLOCK_BYTES;
    for (size_t block = 0; block < blocks; block++) {
        for (size_t i = 0; i < STRIPES_PER_BLOCK; i++)
            accumulate(acc, in + block * BLOCK_BYTES + i * STRIPE_BYTES, secret + i * SECRET_STEP_BYTES);
        scramble(acc, secret + SECRET_BYTES - STRIPE_BYTES);
    }
    const uint8_t *tail = in + blocks * BLOCK_BYTES;
    const size_t stripes = (length - 1 - blocks * BLOCK_BYTES) / STRIPE_BYTES;
    for (size_t i = 0; i < stripes; i++)
        accumulate(acc, tail + i * STRIPE_BYTES, secret + i * SECRET_STEP_BYTES);
    accumulate(acc, in + length - STRIPE_BYTES, secret + SECRET_LAST_STRIPE_OFFSET);
    return merge(acc, secret + SECRET_MERGE_OFFSET, length * EPP_PRIME64_1);
}

uint64_t epp_xxh3_hash(const void *data, size_t length, uint64_t seed) {
    const uint8_t *in = data;
    if (length > MID_MAX_BYTES) return hash_long(in, length, seed);
    if (length > 128) return hash_129_to_240(in, length, seed);
    if (length > 16) return hash_17_to_128(in, length, seed);
    if (length > 8) return hash_9_to_16(in, length, seed);
    if (length >= 4) return hash_4_to_8(in, length, seed);
    if (length > 0) return hash_1_to_3(in, length, seed);
    return hash_0(seed);
}
