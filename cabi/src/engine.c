#include "engine.h"

#include <stdio.h>
#include <string.h>

#include "engine_extras.h"

enum {
    MAX_BLOCK_TOKENS = 1 << 16,
    TAIL_ITEMS = 4,
    MAX_GROUPS = 64,
    ADAPTER_BYTES = 320,
    MAX_LORA_ID_BYTES = 256
};

/* What became of an event: kept, or the reason to leave it out. */
enum { KEPT = -1, NO_MEMORY = -2 };

/** Decoding one payload; the message's arrays are filled up to the counts. */
typedef struct decoder {
    epp_message *message;
    uint64_t *groups;
    size_t n_events, n_hashes, n_tokens;
    epp_contents contents;
} decoder;

/** Fields of one event as they came. */
typedef struct fields {
    bool has_hashes, has_tokens, has_size, mistyped;
    bool names_are_bytes, tokens_out_of_range, parent_is_bytes;
    uint64_t n_hashes, n_tokens, block_size;
    bool size_negative;
    epp_mp_value parent, lora_id, medium, lora_name, cache_salt, group, kind, locality;
    epp_extras extras;
} fields;

/* --- values ---------------------------------------------------------------------------------------- */

static bool text_is(epp_mp_value value, const char *text) {
    return value.kind == EPP_MP_TEXT && value.number == strlen(text) &&
           memcmp(value.bytes, text, value.number) == 0;
}

static bool text_is_any_case(epp_mp_value value, const char *upper) {
    if (value.number != strlen(upper)) return false;
    for (uint64_t i = 0; i < value.number; i++) {
        const uint8_t byte = value.bytes[i];
        if ((byte >= 'a' && byte <= 'z' ? byte - 32 : byte) != upper[i]) return false;
    }
    return true;
}

/** Read a value that must be null or of one kind; marks the event mistyped otherwise. */
static epp_mp_value optional(epp_reader *reader, epp_mp_kind kind, fields *out) {
    const epp_mp_value value = epp_mp_read(reader);
    if (value.kind == EPP_MP_TEXT && !epp_is_utf8(value.bytes, value.number)) out->mistyped = true;
    if (value.kind != kind && value.kind != EPP_MP_NIL) out->mistyped = true;
    return value;
}

/** An optional list, left for later; null is an empty one. */
static epp_reader optional_list(epp_reader *reader, fields *out) {
    epp_reader list = *reader;
    const epp_mp_value header = epp_mp_read(&list);
    if (header.kind != EPP_MP_ARRAY && header.kind != EPP_MP_NIL) out->mistyped = true;
    list = *reader;
    if (!epp_mp_skip(reader)) out->mistyped = true;
    list.end = reader->at;
    return header.kind == EPP_MP_ARRAY ? list : (epp_reader){0};
}

/* --- the two big lists ----------------------------------------------------------------------------- */

static bool read_names(decoder *to, epp_reader *reader, fields *out) {
    const epp_mp_value header = epp_mp_read(reader);
    out->has_hashes = true;
    out->names_are_bytes = false;
    out->n_hashes = 0;
    if (header.kind != EPP_MP_ARRAY) {
        out->mistyped = true;
        return true;
    }
    if (!epp_scratch_grow(to->message->memory, &to->message->hashes, to->n_hashes + header.number,
                          sizeof(uint64_t)))
        return false;
    uint64_t *names = (uint64_t *)to->message->hashes.items + to->n_hashes;
    for (uint64_t i = 0; i < header.number; i++) {
        if (epp_mp_read_unsigned(reader, &names[i])) continue;
        const epp_mp_value name = epp_mp_read(reader);
        if (name.kind == EPP_MP_BYTES)
            out->names_are_bytes = true;
        else if (name.kind != EPP_MP_INTEGER)
            out->mistyped = true;
        names[i] = name.number;
    }
    out->n_hashes = header.number;
    return true;
}

/** Little-endian, as the hash reads them. */
static void write_token(uint8_t *at, uint32_t token) {
    at[0] = (uint8_t)token;
    at[1] = (uint8_t)(token >> 8);
    at[2] = (uint8_t)(token >> 16);
    at[3] = (uint8_t)(token >> 24);
}

static bool read_tokens(decoder *to, epp_reader *reader, fields *out) {
    const epp_mp_value header = epp_mp_read(reader);
    out->has_tokens = true;
    out->tokens_out_of_range = false;
    out->n_tokens = 0;
    if (header.kind != EPP_MP_ARRAY) {
        out->mistyped = true;
        return true;
    }
    if (!epp_scratch_grow(to->message->memory, &to->message->tokens, to->n_tokens + header.number,
                          sizeof(uint32_t)))
        return false;
    uint8_t *tokens = (uint8_t *)((uint32_t *)to->message->tokens.items + to->n_tokens);
    for (uint64_t i = 0; i < header.number; i++) {
        uint64_t token = 0;
        if (!epp_mp_read_unsigned(reader, &token)) {
            if (epp_mp_read(reader).kind != EPP_MP_INTEGER) out->mistyped = true;
            token = UINT64_MAX; /* negative, if an integer at all */
        }
        if (token > UINT32_MAX) out->tokens_out_of_range = true;
        write_token(tokens + 4 * i, (uint32_t)token);
    }
    out->n_tokens = header.number;
    return true;
}

static void read_size(epp_reader *reader, fields *out) {
    const epp_mp_value size = epp_mp_read(reader);
    if (size.kind != EPP_MP_INTEGER) out->mistyped = true;
    out->has_size = true;
    out->size_negative = size.negative;
    out->block_size = size.number;
}

static void read_parent(epp_reader *reader, fields *out) {
    out->parent = epp_mp_read(reader);
    out->parent_is_bytes = out->parent.kind == EPP_MP_BYTES;
    if (out->parent.kind != EPP_MP_INTEGER && out->parent.kind != EPP_MP_NIL && !out->parent_is_bytes)
        out->mistyped = true;
}

static void read_lora_id(epp_reader *reader, fields *out) {
    out->lora_id = epp_mp_read(reader);
    const epp_mp_kind kind = out->lora_id.kind;
    const bool text_fits = kind == EPP_MP_TEXT && out->lora_id.number <= MAX_LORA_ID_BYTES &&
                           epp_is_utf8(out->lora_id.bytes, out->lora_id.number);
    if (kind == EPP_MP_TEXT && !text_fits) out->mistyped = true;
    if (kind != EPP_MP_INTEGER && kind != EPP_MP_TEXT && kind != EPP_MP_NIL) out->mistyped = true;
}

/* --- forms ----------------------------------------------------------------------------------------- */

typedef enum field {
    F_BLOCK_HASHES,
    F_PARENT,
    F_TOKEN_IDS,
    F_BLOCK_SIZE,
    F_LORA_ID,
    F_MEDIUM,
    F_LORA_NAME,
    F_EXTRA_KEYS,
    F_GROUP,
    F_CACHE_SALT,
    F_MM_INFOS,
    F_KIND,
    F_LOCALITY,
    F_OTHER,
} field;

static const char *const FIELD_NAMES[F_OTHER] = {
    "block_hashes",   "parent_block_hash",  "token_ids",  "block_size", "lora_id",
    "medium",         "lora_name",          "extra_keys", "group_idx",  "cache_salt",
    "block_mm_infos", "kv_cache_spec_kind", "locality",
};

static const field STORED_ORDER[] = {F_BLOCK_HASHES, F_PARENT, F_TOKEN_IDS, F_BLOCK_SIZE,
                                     F_LORA_ID,      F_MEDIUM, F_LORA_NAME, F_EXTRA_KEYS};
static const field REMOVED_ORDER[] = {F_BLOCK_HASHES, F_MEDIUM, F_GROUP};

/** Fields a removal has; others are passed whatever they hold. */
static bool removal_has(field name) {
    return name == F_BLOCK_HASHES || name == F_MEDIUM || name == F_GROUP || name == F_LOCALITY;
}

/** Read one field. False: no memory. */
static bool read_field(decoder *to, epp_reader *reader, field name, fields *out) {
    switch (name) {
    case F_BLOCK_HASHES: return read_names(to, reader, out);
    case F_TOKEN_IDS: return read_tokens(to, reader, out);
    case F_PARENT: read_parent(reader, out); break;
    case F_BLOCK_SIZE: read_size(reader, out); break;
    case F_LORA_ID: read_lora_id(reader, out); break;
    case F_MEDIUM: out->medium = optional(reader, EPP_MP_TEXT, out); break;
    case F_LORA_NAME: out->lora_name = optional(reader, EPP_MP_TEXT, out); break;
    case F_CACHE_SALT: out->cache_salt = optional(reader, EPP_MP_TEXT, out); break;
    case F_KIND: out->kind = optional(reader, EPP_MP_TEXT, out); break;
    case F_LOCALITY: out->locality = optional(reader, EPP_MP_TEXT, out); break;
    case F_GROUP: out->group = optional(reader, EPP_MP_INTEGER, out); break;
    case F_EXTRA_KEYS: out->extras.keys = optional_list(reader, out); break;
    case F_MM_INFOS: out->extras.mm_infos = optional_list(reader, out); break;
    case F_OTHER: (void)epp_mp_skip(reader); break;
    }
    return true;
}

static field field_named(epp_mp_value key) {
    for (int i = 0; i < F_OTHER; i++)
        if (text_is(key, FIELD_NAMES[i])) return (field)i;
    return F_OTHER;
}

static bool read_map(decoder *to, epp_reader reader, uint64_t pairs, bool stored, fields *out) {
    for (uint64_t i = 0; i < pairs; i++) {
        const epp_mp_value key = epp_mp_read(&reader);
        if (key.kind != EPP_MP_TEXT) {
            out->mistyped = true;
            return true;
        }
        field name = field_named(key);
        if (!stored && !removal_has(name)) name = F_OTHER;
        if (!read_field(to, &reader, name, out)) return false;
        if (out->mistyped) return true; /* the reader may stand inside a value */
    }
    return true;
}

/** The positional tail differs between publishers, so types tell what is what. */
static void read_tail(epp_reader *reader, uint64_t items, fields *out) {
    for (uint64_t i = 0; i < items && i < TAIL_ITEMS; i++) {
        epp_reader start = *reader;
        const epp_mp_value value = epp_mp_read(&start);
        if (value.kind == EPP_MP_INTEGER && out->group.kind == EPP_MP_BAD) out->group = value;
        if (value.kind == EPP_MP_TEXT && out->kind.kind == EPP_MP_BAD) out->kind = value;
        if (value.kind == EPP_MP_ARRAY && out->extras.mm_infos.at == NULL)
            out->extras.mm_infos = optional_list(reader, out);
        else
            (void)epp_mp_skip(reader);
    }
}

static bool read_array(decoder *to, epp_reader reader, uint64_t items, bool stored, fields *out) {
    const field *order = stored ? STORED_ORDER : REMOVED_ORDER;
    const size_t known = stored ? sizeof STORED_ORDER / sizeof *order : sizeof REMOVED_ORDER / sizeof *order;
    (void)epp_mp_skip(&reader); /* the type */
    for (uint64_t i = 0; i + 1 < items && i < known; i++) {
        if (!read_field(to, &reader, order[i], out)) return false;
        if (out->mistyped) return true;
    }
    if (stored && items > known + 1) read_tail(&reader, items - known - 1, out);
    return true;
}

/* --- meaning --------------------------------------------------------------------------------------- */

static uint32_t tier_of(epp_mp_value medium) {
    static const struct {
        const char *name;
        uint32_t tier;
    } tiers[] = {
        {"GPU", EPP_TIER_DEVICE},      {"DEVICE", EPP_TIER_DEVICE},  {"CPU", EPP_TIER_HOST},
        {"CPU_PINNED", EPP_TIER_HOST}, {"CPU_TIER1", EPP_TIER_HOST}, {"CPU_TIER2", EPP_TIER_DISK},
        {"DISK", EPP_TIER_DISK},       {"NVME", EPP_TIER_DISK},      {"STORAGE", EPP_TIER_DISK},
    };
    if (medium.kind != EPP_MP_TEXT) return EPP_TIER_DEVICE;
    for (size_t i = 0; i < sizeof tiers / sizeof *tiers; i++)
        if (text_is_any_case(medium, tiers[i].name)) return tiers[i].tier;
    return EPP_TIER_EXTERNAL; /* a name not known must not raise a score */
}

static bool is_main_kind(epp_mp_value kind) {
    return kind.kind != EPP_MP_TEXT || text_is(kind, "full_attention") || text_is(kind, "mla_attention") ||
           text_is(kind, "sink_full_attention");
}

static bool is_here(epp_mp_value locality) {
    return locality.kind != EPP_MP_TEXT || text_is_any_case(locality, "LOCAL");
}

static bool has_group(epp_mp_value group) { return group.kind == EPP_MP_INTEGER; }

/** Groups are remembered as a bit each; of others nothing can be told, so they are left out. */
static bool is_remembered(epp_mp_value group) { return !group.negative && group.number < MAX_GROUPS; }

/** The adapter's name; `room` holds one that is made of a number. An empty or null one is no adapter. */
static epp_mp_value adapter_of(const fields *f, char room[ADAPTER_BYTES]) {
    const epp_mp_value id = f->lora_id;
    int n = 0;
    if (f->lora_name.kind == EPP_MP_TEXT && f->lora_name.number) return f->lora_name;
    if (id.kind == EPP_MP_TEXT && id.number)
        n = snprintf(room, ADAPTER_BYTES, "lora-id:%.*s", (int)id.number, (const char *)id.bytes);
    if (id.kind == EPP_MP_INTEGER && id.negative)
        n = snprintf(room, ADAPTER_BYTES, "lora-id:%lld", (long long)id.number);
    if (id.kind == EPP_MP_INTEGER && !id.negative && id.number)
        n = snprintf(room, ADAPTER_BYTES, "lora-id:%llu", (unsigned long long)id.number);
    return (epp_mp_value){.kind = EPP_MP_TEXT, .number = (uint64_t)n, .bytes = (const uint8_t *)room};
}

/** Add the event and keep what its lists appended. */
static int keep(decoder *to, const fields *f, epp_event event) {
    if (!epp_scratch_grow(to->message->memory, &to->message->events, to->n_events + 1, sizeof event))
        return NO_MEMORY;
    event.first_hash = to->n_hashes;
    event.n_blocks = f->n_hashes;
    ((epp_event *)to->message->events.items)[to->n_events++] = event;
    to->n_hashes += f->n_hashes;
    return KEPT;
}

static bool tokens_fit(const fields *f) {
    return !f->size_negative && f->block_size >= 1 && f->block_size <= MAX_BLOCK_TOKENS &&
           !f->tokens_out_of_range && f->n_tokens == f->n_hashes * f->block_size;
}

static int keep_stored(decoder *to, const fields *f) {
    char room[ADAPTER_BYTES];
    epp_mp_value salt;
    const bool has_parent = f->parent.kind == EPP_MP_INTEGER;
    const epp_mp_value adapter = adapter_of(f, room);
    if (!tokens_fit(f)) return EPP_IGNORED_MALFORMED;
    epp_event event = {
        .kind = EPP_EVENT_STORED,
        .tier = tier_of(f->medium),
        .flags = has_parent ? EPP_EVENT_HAS_PARENT : 0,
        .block_tokens = (uint32_t)f->block_size,
        .parent_hash = f->parent.number,
        .first_token = to->n_tokens,
        .first_mm_count = to->contents.n_counts,
        .first_mm_hash = to->contents.n_hashes,
    };
    switch (epp_read_extras(&f->extras, adapter, !has_parent, f->n_hashes, &to->contents, &salt)) {
    case EPP_EXTRAS_MALFORMED: return EPP_IGNORED_MALFORMED;
    case EPP_EXTRAS_NO_MEMORY: return NO_MEMORY;
    default: break;
    }
    if (f->cache_salt.kind == EPP_MP_TEXT && f->cache_salt.number) salt = f->cache_salt;
    if (salt.kind != EPP_MP_TEXT) salt = (epp_mp_value){.number = 0};
    event.namespace_seed = epp_namespace_seed((const char *)adapter.bytes, adapter.number,
                                              (const char *)salt.bytes, salt.number);
    to->contents.n_counts += f->n_hashes;
    to->n_tokens += f->n_tokens;
    return keep(to, f, event);
}

/** Judge a stored event, in the order in which reasons take precedence. */
static int take_stored(decoder *to, const fields *f) {
    if (!f->has_hashes || !f->has_tokens || !f->has_size) return EPP_IGNORED_MALFORMED;
    if (has_group(f->group) && !is_remembered(f->group)) return EPP_IGNORED_KIND;
    if (!is_main_kind(f->kind)) {
        if (has_group(f->group)) *to->groups |= UINT64_C(1) << f->group.number;
        return EPP_IGNORED_KIND;
    }
    if (!is_here(f->locality)) return EPP_IGNORED_LOCALITY;
    if (f->names_are_bytes || f->parent_is_bytes) return EPP_IGNORED_HASH_FORM;
    return keep_stored(to, f);
}

static int take_removed(decoder *to, const fields *f) {
    if (!f->has_hashes) return EPP_IGNORED_MALFORMED;
    if (has_group(f->group) && (!is_remembered(f->group) || *to->groups >> f->group.number & 1))
        return EPP_IGNORED_KIND;
    if (!is_here(f->locality)) return EPP_IGNORED_LOCALITY;
    if (f->names_are_bytes) return EPP_IGNORED_HASH_FORM;
    return keep(to, f, (epp_event){.kind = EPP_EVENT_REMOVED, .tier = tier_of(f->medium)});
}

/* --- one event ------------------------------------------------------------------------------------- */

/** The type of an event: the first item of an array, or the value of a map's `type`. */
static epp_mp_value type_of(epp_reader event) {
    epp_mp_value type = {.kind = EPP_MP_BAD};
    const epp_mp_value header = epp_mp_read(&event);
    if (header.kind == EPP_MP_ARRAY && header.number) type = epp_mp_read(&event);
    for (uint64_t i = 0; header.kind == EPP_MP_MAP && i < header.number; i++) {
        const epp_mp_value key = epp_mp_read(&event);
        if (key.kind != EPP_MP_TEXT) return (epp_mp_value){.kind = EPP_MP_BAD};
        if (text_is(key, "type")) {
            type = epp_mp_read(&event);
            break;
        }
        (void)epp_mp_skip(&event);
    }
    if (type.kind == EPP_MP_TEXT && epp_is_utf8(type.bytes, type.number)) return type;
    return (epp_mp_value){.kind = EPP_MP_BAD};
}

/** Decode one event: KEPT, NO_MEMORY or a reason. */
static int decode_event(decoder *to, epp_reader event) {
    const epp_mp_value type = type_of(event);
    if (type.kind == EPP_MP_BAD) return EPP_IGNORED_MALFORMED;
    const bool stored = text_is(type, "BlockStored"), removed = text_is(type, "BlockRemoved");
    fields found = {0};
    if (text_is(type, "AllBlocksCleared")) return keep(to, &found, (epp_event){.kind = EPP_EVENT_CLEARED});
    if (!stored && !removed) return EPP_IGNORED_UNKNOWN_TYPE;
    const epp_mp_value header = epp_mp_read(&event);
    const bool read = header.kind == EPP_MP_MAP ? read_map(to, event, header.number, stored, &found)
                                                : read_array(to, event, header.number, stored, &found);
    if (!read) return NO_MEMORY;
    if (found.mistyped) return EPP_IGNORED_MALFORMED;
    return stored ? take_stored(to, &found) : take_removed(to, &found);
}

/* --- the message ----------------------------------------------------------------------------------- */

/** Open `[ts, [event, ...], rank]`; the reader then stands at the first of the events. */
static bool open_message(epp_reader *reader, uint64_t *n_items, uint64_t *n_events) {
    const epp_mp_value message = epp_mp_read(reader);
    if (message.kind != EPP_MP_ARRAY || message.number < 2) return false;
    const epp_mp_value ts = epp_mp_read(reader);
    if (ts.kind != EPP_MP_FLOAT && ts.kind != EPP_MP_INTEGER) return false;
    const epp_mp_value events = epp_mp_read(reader);
    *n_items = message.number;
    *n_events = events.number;
    return events.kind == EPP_MP_ARRAY;
}

/** What follows the events: a rank or null, then anything, then the end. */
static bool close_message(epp_reader *reader, uint64_t n_items) {
    epp_reader rank = *reader;
    for (uint64_t i = 2; i < n_items; i++)
        if (!epp_mp_skip(reader)) return false;
    const epp_mp_kind kind = n_items > 2 ? epp_mp_read(&rank).kind : EPP_MP_NIL;
    return reader->at == reader->end && (kind == EPP_MP_INTEGER || kind == EPP_MP_NIL);
}

typedef enum decoded { DECODED, DECODED_MALFORMED, DECODED_NO_MEMORY } decoded;

static decoded decode_message(decoder *to, epp_reader reader, uint64_t ignored[EPP_IGNORED_COUNT]) {
    uint64_t n_items = 0, n_events = 0;
    if (!open_message(&reader, &n_items, &n_events)) return DECODED_MALFORMED;
    for (uint64_t i = 0; i < n_events; i++) {
        epp_reader event = reader;
        if (!epp_mp_skip(&reader)) return DECODED_MALFORMED;
        event.end = reader.at;
        const int outcome = decode_event(to, event);
        if (outcome == NO_MEMORY) return DECODED_NO_MEMORY;
        if (outcome != KEPT) ignored[outcome]++;
    }
    return close_message(&reader, n_items) ? DECODED : DECODED_MALFORMED;
}

/** A message that is malformed anywhere tells nothing. */
static void refuse(epp_batch *batch, uint64_t ignored[EPP_IGNORED_COUNT]) {
    *batch = (epp_batch){0};
    memset(ignored, 0, EPP_IGNORED_COUNT * sizeof *ignored);
    ignored[EPP_IGNORED_MALFORMED] = 1;
}

bool epp_decode_payload(epp_message *message, const void *payload, size_t n_payload, uint64_t *groups,
                        epp_batch *batch, uint64_t ignored[EPP_IGNORED_COUNT]) {
    uint64_t seen_groups = *groups;
    decoder to = {.message = message, .groups = &seen_groups, .contents = {.message = message}};
    const epp_reader reader = {.at = payload, .end = (const uint8_t *)payload + n_payload};
    const decoded result = n_payload ? decode_message(&to, reader, ignored) : DECODED_MALFORMED;
    if (result == DECODED_NO_MEMORY) return false;
    if (result == DECODED_MALFORMED) {
        refuse(batch, ignored);
        return true;
    }
    *groups = seen_groups;
    *batch = (epp_batch){
        .events = message->events.items,
        .n_events = to.n_events,
        .hashes = message->hashes.items,
        .n_hashes = to.n_hashes,
        .tokens = message->tokens.items,
        .n_tokens = to.n_tokens,
        .mm_counts = to.contents.any ? message->mm_counts.items : NULL,
        .n_mm_counts = to.contents.n_counts,
        .mm_hashes = message->mm_hashes.items,
        .n_mm_hashes = to.contents.n_hashes,
    };
    return true;
}
