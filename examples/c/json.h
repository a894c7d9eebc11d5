// Reading and writing the JSON text that crosses the contract: no tree, no copies. A text is walked
// by spans of it; what the host gives is valid, and what is not what a caller expects reads as
// nothing.
#pragma once

#include <stdbool.h>
#include <stddef.h>

// A part of a text that somebody else owns. `at` is NULL: nothing.
typedef struct {
    const char *at;
    size_t len;
} span_t;

// A text that grows. Free `data`.
typedef struct {
    char *data;
    size_t len, capacity;
} buffer_t;

// Appends bytes. There is no way back from a lack of memory: the plugin traps, and the host makes a
// new instance. An unchecked NULL would be address 0, which WebAssembly can write to.
void append(buffer_t *buffer, const void *bytes, size_t len);
void append_text(buffer_t *buffer, const char *text);

// Moves memory as realloc does, and traps as `append` does.
void *grow(void *memory, size_t size);

// The elements of an array, one after the other: false after the last one, and for what is no
// array. `rest` is the array first, and what follows after.
bool json_element(span_t *rest, span_t *element);

// The members of an object in the same way. The name is without its quotes, escapes as they are.
bool json_member(span_t *rest, span_t *name, span_t *value);

// The member of this name; nothing if there is none.
span_t json_get(span_t object, const char *name);

// Whether the value is the string of this text, or the word, such as `"ready"` or `false`.
bool json_is(span_t value, const char *text);

bool json_is_string(span_t value);

// Appends what a string means.
void json_decode(buffer_t *buffer, span_t string);

// Appends a text as it stands inside of a string's quotes.
void json_encode(buffer_t *buffer, const char *text, size_t len);
