/** Reading the golden files, which this project wrote: the JSON that occurs in them. Anything else ends the program. */
#ifndef EPP_TEST_JSON_H
#define EPP_TEST_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct json {
    const char *at;
} json;

static inline _Noreturn void json_fail(const json *from) {
    (void)fprintf(stderr, "not the JSON that was expected: %.40s\n", from->at);
    exit(2);
}

static inline void json_space(json *from) { from->at += strspn(from->at, " \t\r\n"); }

/** Pass a character if it is next. */
static inline bool json_takes(json *from, char wanted) {
    json_space(from);
    if (*from->at != wanted) return false;
    from->at++;
    return true;
}

static inline void json_expect(json *from, char wanted) {
    if (!json_takes(from, wanted)) json_fail(from);
}

/** Whether another item follows in an array or object that was opened and ends with `end`. */
static inline bool json_more(json *from, char end) {
    if (json_takes(from, end)) return false;
    (void)json_takes(from, ',');
    return true;
}

/** An escape \uXXXX of a character below U+0800, as UTF-8. */
static inline char *json_escape(json *from, char *to) {
    char digits[5] = {0};
    if (strlen(from->at) < 5 || *from->at != 'u') json_fail(from);
    memcpy(digits, from->at + 1, 4);
    const unsigned long code = strtoul(digits, NULL, 16);
    from->at += 5;
    if (code >= 0x800) json_fail(from);
    if (code >= 0x80) {
        *to++ = (char)(0xC0 | code >> 6);
        *to++ = (char)(0x80 | (code & 0x3F));
    } else {
        *to++ = (char)code;
    }
    return to;
}

/** A text; returns its length. */
static inline size_t json_text(json *from, char *to, size_t capacity) {
    const char *start = to;
    json_expect(from, '"');
    while (*from->at != '"') {
        if (*from->at == 0 || (size_t)(to - start) + 3 > capacity) json_fail(from);
        if (*from->at == '\\') {
            from->at++;
            to = json_escape(from, to);
        } else {
            *to++ = *from->at++;
        }
    }
    from->at++;
    *to = 0;
    return (size_t)(to - start);
}

/** A number, or a text that is one. */
static inline uint64_t json_number(json *from) {
    char *end = NULL;
    const bool quoted = json_takes(from, '"');
    json_space(from);
    const uint64_t number = strtoull(from->at, &end, 10);
    if (end == from->at) json_fail(from);
    from->at = end;
    if (quoted) json_expect(from, '"');
    return number;
}

/** Numbers in an array; returns how many. */
static inline size_t json_numbers(json *from, uint64_t *to, size_t capacity) {
    size_t n = 0;
    json_expect(from, '[');
    while (json_more(from, ']')) {
        if (n == capacity) json_fail(from);
        to[n++] = json_number(from);
    }
    return n;
}

/** Pass whatever comes. */
static inline void json_skip(json *from) {
    char text[1024];
    json_space(from);
    if (*from->at == '"') {
        (void)json_text(from, text, sizeof text);
    } else if (json_takes(from, '[')) {
        while (json_more(from, ']')) json_skip(from);
    } else if (json_takes(from, '{')) {
        while (json_more(from, '}')) {
            json_skip(from);
            json_expect(from, ':');
            json_skip(from);
        }
    } else {
        from->at += strcspn(from->at, ",]} \n");
    }
}

/** The next key of an object that was opened; false: it ends. */
static inline bool json_key(json *from, char *key, size_t capacity) {
    if (!json_more(from, '}')) return false;
    (void)json_text(from, key, capacity);
    json_expect(from, ':');
    return true;
}

/** A file as text, to be freed. */
static inline char *json_read(const char *folder, const char *name) {
    char path[1024];
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL) {
        (void)fprintf(stderr, "cannot open %s\n", path);
        exit(2);
    }
    enum { MAX_BYTES = 1 << 20 };
    char *text = calloc(1, MAX_BYTES + 1);
    if (text == NULL || fread(text, 1, MAX_BYTES, file) == 0) exit(2);
    (void)fclose(file);
    return text;
}

#endif
