#include "engine_extras.h"

#include <string.h>

#include "xxh3.h"

enum { DIGEST_DIGITS = 64, U64_DIGITS = 16 };

static bool same_text(epp_mp_value x, epp_mp_value y) {
    return x.kind == EPP_MP_TEXT && y.kind == EPP_MP_TEXT && x.number == y.number &&
           memcmp(x.bytes, y.bytes, x.number) == 0;
}

static int hex_digit(uint8_t byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
    return -1;
}

/** A multimodal identifier as u64: the first 16 of 64 hex digits, else the hash of its text. */
static uint64_t identifier_hash(epp_mp_value text) {
    uint64_t number = 0;
    bool digest = text.number == DIGEST_DIGITS;
    for (uint64_t i = 0; digest && i < DIGEST_DIGITS; i++) {
        const int digit = hex_digit(text.bytes[i]);
        if (digit < 0)
            digest = false;
        else if (i < U64_DIGITS)
            number = number << 4 | (uint64_t)digit;
    }
    return digest ? number : epp_xxh3_hash(text.bytes, text.number, 0);
}

/** Anything that is no text is hashed as it came: such a block must not match tokens alone. */
static uint64_t content_hash(epp_reader item) {
    epp_reader inside = item;
    epp_mp_value value = epp_mp_read(&inside);
    if (value.kind == EPP_MP_ARRAY && value.number > 0) {
        const epp_mp_value first = epp_mp_read(&inside);
        if (first.kind == EPP_MP_TEXT) value = first; /* [identifier, offset] */
    }
    if (value.kind == EPP_MP_TEXT) return identifier_hash(value);
    if (value.kind == EPP_MP_BYTES) return epp_xxh3_hash(value.bytes, value.number, 0);
    return epp_xxh3_hash(item.at, (size_t)(item.end - item.at), 0);
}

static bool add_hash(epp_contents *to, uint64_t hash) {
    if (!epp_scratch_grow(to->message->memory, &to->message->mm_hashes, to->n_hashes + 1, sizeof hash))
        return false;
    ((uint64_t *)to->message->mm_hashes.items)[to->n_hashes++] = hash;
    return true;
}

static uint32_t *counts_of(const epp_contents *to) {
    return (uint32_t *)to->message->mm_counts.items + to->n_counts;
}

/* --- extra_keys ------------------------------------------------------------------------------------ */

/** The keys of one block, without the adapter's name; `left` of them. */
typedef struct block_keys {
    epp_reader at;
    uint64_t left;
} block_keys;

static block_keys open_block(epp_reader *blocks, epp_mp_value adapter) {
    block_keys keys = {.at = *blocks};
    const epp_mp_value header = epp_mp_read(&keys.at);
    (void)epp_mp_skip(blocks);
    if (header.kind != EPP_MP_ARRAY) return keys;
    keys.left = header.number;
    epp_reader next = keys.at;
    if (keys.left && adapter.number && same_text(epp_mp_read(&next), adapter)) {
        keys.at = next;
        keys.left--;
    }
    return keys;
}

/** The next key as the bytes it takes. */
static epp_reader next_key(block_keys *keys) {
    epp_reader item = keys->at;
    (void)epp_mp_skip(&keys->at);
    item.end = keys->at.at;
    keys->left--;
    return item;
}

/** The cache salt: the last text of the first block, unless the next block has it too, which only an item
 *  that spans both can. */
static epp_mp_value find_salt(epp_reader blocks, uint64_t n, epp_mp_value adapter) {
    epp_mp_value salt = {.kind = EPP_MP_NIL};
    block_keys keys = open_block(&blocks, adapter);
    while (keys.left) {
        epp_reader item = next_key(&keys);
        const epp_mp_value value = epp_mp_read(&item);
        if (value.kind == EPP_MP_TEXT) salt = value;
    }
    if (n < 2 || salt.kind != EPP_MP_TEXT) return salt;
    keys = open_block(&blocks, adapter);
    while (keys.left) {
        epp_reader item = next_key(&keys);
        if (same_text(epp_mp_read(&item), salt)) return (epp_mp_value){.kind = EPP_MP_NIL};
    }
    return salt;
}

static epp_extras_result read_keys(epp_reader keys, epp_mp_value adapter, bool at_root, uint64_t n_blocks,
                                   epp_contents *to, epp_mp_value *salt) {
    epp_reader blocks = keys;
    const uint64_t n = epp_mp_read(&blocks).number;
    const size_t before = to->n_hashes;
    if (at_root && n) *salt = find_salt(blocks, n, adapter);
    for (uint64_t i = 0; i < n; i++) {
        block_keys block = open_block(&blocks, adapter);
        while (block.left) {
            epp_reader item = next_key(&block), inside = item;
            const epp_mp_value value = epp_mp_read(&inside);
            if (value.kind == EPP_MP_TEXT && !epp_is_utf8(value.bytes, value.number))
                return EPP_EXTRAS_MALFORMED;
            if (i == 0 && salt->kind == EPP_MP_TEXT && value.bytes == salt->bytes) continue;
            if (!add_hash(to, content_hash(item))) return EPP_EXTRAS_NO_MEMORY;
            if (i < n_blocks) counts_of(to)[i]++;
        }
    }
    return to->n_hashes == before || n == n_blocks ? EPP_EXTRAS_OK : EPP_EXTRAS_MALFORMED;
}

/* --- block_mm_infos -------------------------------------------------------------------------------- */

static bool is_text(epp_mp_value value, const char *text) {
    return value.kind == EPP_MP_TEXT && value.number == strlen(text) &&
           memcmp(value.bytes, text, value.number) == 0;
}

/** The value of a key in a map; `at` NULL: absent, or no map. */
static epp_reader value_of(epp_reader map, const char *key) {
    epp_reader found = {0};
    const epp_mp_value header = epp_mp_read(&map);
    for (uint64_t i = 0; header.kind == EPP_MP_MAP && i < header.number; i++) {
        epp_reader name = map;
        const bool wanted = is_text(epp_mp_read(&name), key);
        (void)epp_mp_skip(&map);
        if (wanted) found = map;
        (void)epp_mp_skip(&map);
    }
    return found;
}

static bool read_objects(epp_reader objects, uint64_t block, uint64_t n_blocks, epp_contents *to) {
    const epp_mp_value header = epp_mp_read(&objects);
    for (uint64_t i = 0; header.kind == EPP_MP_ARRAY && i < header.number; i++) {
        epp_reader hash = value_of(objects, "mm_hash");
        (void)epp_mp_skip(&objects);
        const epp_mp_value value = hash.at ? epp_mp_read(&hash) : (epp_mp_value){.kind = EPP_MP_NIL};
        if (value.kind != EPP_MP_INTEGER) continue;
        if (!add_hash(to, value.number)) return false;
        if (block < n_blocks) counts_of(to)[block]++;
    }
    return true;
}

static epp_extras_result read_mm_infos(epp_reader infos, uint64_t n_blocks, epp_contents *to) {
    const uint64_t n = epp_mp_read(&infos).number;
    const size_t before = to->n_hashes;
    for (uint64_t i = 0; i < n; i++) {
        const epp_reader objects = value_of(infos, "mm_objects");
        (void)epp_mp_skip(&infos);
        if (objects.at && !read_objects(objects, i, n_blocks, to)) return EPP_EXTRAS_NO_MEMORY;
    }
    return to->n_hashes == before || n == n_blocks ? EPP_EXTRAS_OK : EPP_EXTRAS_MALFORMED;
}

static bool has_items(epp_reader list) { return list.at != NULL && epp_mp_read(&list).number > 0; }

epp_extras_result epp_read_extras(const epp_extras *extras, epp_mp_value adapter, bool at_root,
                                  uint64_t n_blocks, epp_contents *to, epp_mp_value *salt) {
    const size_t before = to->n_hashes;
    epp_extras_result result = EPP_EXTRAS_OK;
    *salt = (epp_mp_value){.kind = EPP_MP_NIL};
    if (!epp_scratch_grow(to->message->memory, &to->message->mm_counts, to->n_counts + n_blocks,
                          sizeof(uint32_t)))
        return EPP_EXTRAS_NO_MEMORY;
    if (n_blocks) memset(counts_of(to), 0, n_blocks * sizeof(uint32_t));
    if (has_items(extras->keys)) result = read_keys(extras->keys, adapter, at_root, n_blocks, to, salt);
    if (has_items(extras->mm_infos) && result != EPP_EXTRAS_NO_MEMORY) {
        to->n_hashes = before; /* they say the same more plainly */
        if (n_blocks) memset(counts_of(to), 0, n_blocks * sizeof(uint32_t));
        result = read_mm_infos(extras->mm_infos, n_blocks, to);
    }
    if (result != EPP_EXTRAS_OK) {
        to->n_hashes = before;
        return result;
    }
    to->any |= to->n_hashes > before;
    return EPP_EXTRAS_OK;
}
