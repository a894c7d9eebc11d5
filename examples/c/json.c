#include "json.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *grow(void *memory, size_t size) {
    memory = realloc(memory, size);
    if (memory == NULL && size > 0) __builtin_trap();
    return memory;
}

void append(buffer_t *buffer, const void *bytes, size_t len) {
    if (len > buffer->capacity - buffer->len) {
        size_t wanted = buffer->len + len;
        buffer->capacity = wanted > buffer->capacity * 2 ? wanted : buffer->capacity * 2;
        buffer->data = grow(buffer->data, buffer->capacity);
    }
    if (len > 0) memcpy(buffer->data + buffer->len, bytes, len);
    buffer->len += len;
}

void append_text(buffer_t *buffer, const char *text) { append(buffer, text, strlen(text)); }

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static void skip(span_t *text, size_t len) {
    text->at += len;
    text->len -= len;
}

// Skips spaces, and then this character if it is there.
static bool skip_to(span_t *text, char c) {
    while (text->len > 0 && is_space(*text->at)) skip(text, 1);
    if (text->len == 0 || *text->at != c) return false;
    skip(text, 1);
    return true;
}

// Takes one value off the text.
static span_t take_value(span_t *text) {
    while (text->len > 0 && is_space(*text->at)) skip(text, 1);
    const char *at = text->at, *end = at + text->len;
    size_t depth = 0;
    bool in_string = false;
    for (; at < end; at++) {
        if (in_string) {
            if (*at == '\\') {
                at++;
            } else if (*at == '"') {
                in_string = false;
                if (depth == 0) {
                    at++;
                    break;
                }
            }
            continue;
        }
        if (*at == '"') {
            in_string = true;
        } else if (*at == '[' || *at == '{') {
            depth++;
        } else if (*at == ']' || *at == '}') {
            if (depth == 0) break;
            if (--depth == 0) {
                at++;
                break;
            }
        } else if (depth == 0 && (*at == ',' || is_space(*at))) {
            break;
        }
    }
    if (at > end) at = end;
    span_t value = {text->at, (size_t)(at - text->at)};
    skip(text, value.len);
    return value;
}

// Where in a list: at its start, or behind an element. False at its end.
static bool next(span_t *rest, char open) {
    if (rest->at == NULL || !(skip_to(rest, open) || skip_to(rest, ','))) return false;
    span_t ahead = *rest;
    return !skip_to(&ahead, ']') && !skip_to(&ahead, '}') && ahead.len > 0;
}

bool json_element(span_t *rest, span_t *element) {
    if (!next(rest, '[')) return false;
    *element = take_value(rest);
    return true;
}

bool json_member(span_t *rest, span_t *name, span_t *value) {
    if (!next(rest, '{')) return false;
    *name = take_value(rest);
    if (!json_is_string(*name) || !skip_to(rest, ':')) return false;
    name->at++;
    name->len -= 2;
    *value = take_value(rest);
    return true;
}

span_t json_get(span_t object, const char *name) {
    span_t key, value;
    while (json_member(&object, &key, &value)) {
        if (key.len == strlen(name) && memcmp(key.at, name, key.len) == 0) return value;
    }
    return (span_t){NULL, 0};
}

bool json_is(span_t value, const char *text) {
    return value.len == strlen(text) && memcmp(value.at, text, value.len) == 0;
}

bool json_is_string(span_t value) { return value.len >= 2 && *value.at == '"'; }

static uint32_t hex4(const char *at) {
    char digits[5] = {at[0], at[1], at[2], at[3], 0};
    return (uint32_t)strtoul(digits, NULL, 16);
}

static void append_utf8(buffer_t *buffer, uint32_t c) {
    if (c < 0x80) {
        append(buffer, (char[]){(char)c}, 1);
    } else if (c < 0x800) {
        append(buffer, (char[]){(char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f))}, 2);
    } else if (c < 0x10000) {
        append(buffer, (char[]){(char)(0xe0 | c >> 12), (char)(0x80 | (c >> 6 & 0x3f)), (char)(0x80 | (c & 0x3f))}, 3);
    } else {
        append(buffer, (char[]){(char)(0xf0 | c >> 18), (char)(0x80 | (c >> 12 & 0x3f)), (char)(0x80 | (c >> 6 & 0x3f)), (char)(0x80 | (c & 0x3f))}, 4);
    }
}

void json_decode(buffer_t *buffer, span_t string) {
    if (!json_is_string(string)) return;
    static const char escapes[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    const char *at = string.at + 1, *end = string.at + string.len - 1;
    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        const char *stop = escape == NULL ? end : escape;
        append(buffer, at, (size_t)(stop - at));
        at = stop;
        if (end - at < 2) break;
        const char *known = strchr(escapes, at[1]);
        if (known != NULL && *known != 0) {
            append(buffer, &meanings[known - escapes], 1);
            at += 2;
        } else if (at[1] == 'u' && end - at >= 6) {
            uint32_t c = hex4(at + 2);
            at += 6;
            // What UTF-16 says with two.
            if (c >= 0xd800 && c < 0xdc00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
                uint32_t low = hex4(at + 2);
                if (low >= 0xdc00 && low < 0xe000) {
                    c = 0x10000 + ((c - 0xd800) << 10) + (low - 0xdc00);
                    at += 6;
                }
            }
            append_utf8(buffer, c >= 0xd800 && c < 0xe000 ? 0xfffd : c);
        } else {
            break;
        }
    }
}

void json_encode(buffer_t *buffer, const char *text, size_t len) {
    static const char characters[] = "\"\\\b\f\n\r\t", escapes[] = "\"\\bfnrt";
    for (const char *at = text, *end = text + len; at < end; at++) {
        const char *known = *at == 0 ? NULL : strchr(characters, *at);
        if (known != NULL) {
            append(buffer, (char[]){'\\', escapes[known - characters]}, 2);
        } else if ((unsigned char)*at < 0x20) {
            char escape[7];
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)*at);
            append(buffer, escape, 6);
        } else {
            append(buffer, at, 1);
        }
    }
}
