// A plugin that renders a file of Prometheus targets (file_sd) from EndpointSlices, and of each
// change only what changed. README.md says what it does and how it is built.

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "plugin.h"

#define SERVICE "kubernetes.io/service-name"
#define COUNT(array) (sizeof(array) / sizeof *(array))

typedef haptic_plugin_stores_borrow_store_t store_t;

// A slice, and what it puts into the file.
typedef struct {
    // Namespace, a byte of 0 and name: compared as bytes, keys sort as names do.
    char *key;
    size_t key_len;
    char *text;
    size_t text_len;
} group_t;

static struct {
    char *port, *selector, *file;
    // In the order of their keys.
    group_t *groups;
    size_t group_count, group_capacity;
    // What changed at the last callback, and at failed ones before it: the host tells of those
    // changes again, but for what has come and gone since.
    haptic_plugin_stores_list_change_t *told;
    size_t told_count;
} plugin;

static plugin_string_t text_of(const char *text) {
    return (plugin_string_t){(uint8_t *)text, strlen(text)};
}

// --- Errors -------------------------------------------------------------------------------------

// A callback's error: `before`, a text of somebody else's, and `after`. The host frees it.
static bool fail(plugin_string_t *err, const char *before, const char *text, size_t len, const char *after) {
    buffer_t sentence = {0};
    append_text(&sentence, before);
    append(&sentence, text, len);
    append_text(&sentence, after);
    *err = (plugin_string_t){(uint8_t *)sentence.data, sentence.len};
    return false;
}

static bool fail_with_number(plugin_string_t *err, const char *before, uint64_t number, const char *after) {
    char digits[24];
    int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)number);
    return fail(err, before, digits, (size_t)len, after);
}

static bool fail_to_read(plugin_string_t *err, haptic_plugin_stores_store_error_t *error) {
    // In all cases but one the value is a text.
    const plugin_string_t *text = &error->val.other;
    switch (error->tag) {
    case HAPTIC_PLUGIN_STORES_STORE_ERROR_TOO_LARGE:
        fail_with_number(err, "the answer would be larger than ", error->val.too_large,
                         " bytes; read pages or select fewer fields");
        break;
    case HAPTIC_PLUGIN_STORES_STORE_ERROR_UNAVAILABLE:
        fail(err, "unavailable: ", (const char *)text->ptr, text->len, "");
        break;
    default:
        fail(err, "", (const char *)text->ptr, text->len, "");
    }
    haptic_plugin_stores_store_error_free(error);
    return false;
}

static bool fail_to_write(plugin_string_t *err, haptic_plugin_output_output_error_t *error) {
    const plugin_string_t *text = &error->val.other;
    switch (error->tag) {
    case HAPTIC_PLUGIN_OUTPUT_OUTPUT_ERROR_TOO_LARGE:
        fail_with_number(err, "the outputs of one callback may not be larger than ", error->val.too_large, " bytes");
        break;
    case HAPTIC_PLUGIN_OUTPUT_OUTPUT_ERROR_INVALID_NAME:
        fail(err, "invalid output name: ", (const char *)text->ptr, text->len, "");
        break;
    default:
        fail(err, "", (const char *)text->ptr, text->len, "");
    }
    haptic_plugin_output_output_error_free(error);
    return false;
}

// --- Groups -------------------------------------------------------------------------------------

static int compare(const group_t *group, const buffer_t *key) {
    size_t len = group->key_len < key->len ? group->key_len : key->len;
    int order = memcmp(group->key, key->data, len);
    return order != 0 ? order : (group->key_len > key->len) - (group->key_len < key->len);
}

// The place of a key: of the first group that is not less.
static size_t place_of(const buffer_t *key) {
    size_t low = 0, high = plugin.group_count;
    // Whoever reads everything reads it in order.
    if (high > 0 && compare(&plugin.groups[high - 1], key) < 0) return high;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&plugin.groups[middle], key) < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

// Takes the key and the text; an empty text is no group.
static void put(buffer_t key, buffer_t text) {
    size_t at = place_of(&key);
    group_t *group = plugin.groups + at;
    bool is_known = at < plugin.group_count && compare(group, &key) == 0;
    if (is_known) {
        free(key.data);
        free(group->text);
        if (text.len == 0) {
            free(group->key);
            free(text.data);
            plugin.group_count--;
            memmove(group, group + 1, (plugin.group_count - at) * sizeof *group);
            return;
        }
    } else if (text.len == 0) {
        free(key.data);
        free(text.data);
        return;
    } else {
        if (plugin.group_count == plugin.group_capacity) {
            plugin.group_capacity = plugin.group_capacity * 2 + 16;
            plugin.groups = grow(plugin.groups, plugin.group_capacity * sizeof *plugin.groups);
            group = plugin.groups + at;
        }
        memmove(group + 1, group, (plugin.group_count - at) * sizeof *group);
        plugin.group_count++;
        group->key = key.data;
        group->key_len = key.len;
    }
    group->text = text.data;
    group->text_len = text.len;
}

static void forget_groups(void) {
    for (size_t i = 0; i < plugin.group_count; i++) {
        free(plugin.groups[i].key);
        free(plugin.groups[i].text);
    }
    plugin.group_count = 0;
}

// What a slice puts into the file: nothing without targets. The spans are of its JSON.
static buffer_t group_of(const buffer_t *namespace, span_t service, span_t endpoints, span_t ports) {
    buffer_t group = {0}, address = {0}, port = {0};
    append(&port, "\"", 1);
    append_text(&port, plugin.port);
    append(&port, "\"", 2);
    span_t endpoint, candidate, string;
    bool is_empty = true;
    append_text(&group, "{\"targets\":[");
    while (json_element(&endpoints, &endpoint)) {
        // Whether an endpoint is ready may be unknown: it is then, says the API.
        if (json_is(json_get(json_get(endpoint, "conditions"), "ready"), "false")) continue;
        span_t addresses = json_get(endpoint, "addresses");
        while (json_element(&addresses, &string)) {
            address.len = 0;
            json_decode(&address, string);
            bool is_ipv6 = address.len > 0 && memchr(address.data, ':', address.len) != NULL;
            span_t candidates = ports;
            while (json_element(&candidates, &candidate)) {
                span_t number = json_get(candidate, "port");
                if (!json_is(json_get(candidate, "name"), port.data) || number.at == NULL || json_is(number, "null")) continue;
                append_text(&group, is_empty ? "\"" : ",\"");
                is_empty = false;
                if (is_ipv6) append(&group, "[", 1);
                json_encode(&group, address.data, address.len);
                append_text(&group, is_ipv6 ? "]:" : ":");
                append(&group, number.at, number.len);
                append(&group, "\"", 1);
            }
        }
    }
    append_text(&group, "],\"labels\":{\"namespace\":\"");
    json_encode(&group, namespace->data, namespace->len);
    if (json_is_string(service)) {
        append_text(&group, "\",\"service\":\"");
        address.len = 0;
        json_decode(&address, service);
        json_encode(&group, address.data, address.len);
    }
    append_text(&group, "\"}}");
    free(address.data);
    free(port.data);
    if (is_empty) group.len = 0;
    return group;
}

static bool render(haptic_plugin_log_level_t level, const char *message, plugin_string_t *err) {
    buffer_t text = {0};
    append(&text, "[", 1);
    for (size_t i = 0; i < plugin.group_count; i++) {
        append_text(&text, i == 0 ? "\n  " : ",\n  ");
        append(&text, plugin.groups[i].text, plugin.groups[i].text_len);
    }
    append_text(&text, plugin.group_count == 0 ? "]\n" : "\n]\n");
    plugin_string_t name = text_of(plugin.file), content = {(uint8_t *)text.data, text.len};
    haptic_plugin_output_output_error_t error;
    bool is_written = haptic_plugin_output_write(&name, &content, &error);
    free(text.data);
    if (!is_written) return fail_to_write(err, &error);

    char digits[24];
    snprintf(digits, sizeof digits, "%zu", plugin.group_count);
    plugin_tuple2_string_string_t field = {text_of("groups"), text_of(digits)};
    plugin_list_tuple2_string_string_t fields = {&field, 1};
    plugin_string_t target = text_of("targets"), line = text_of(message);
    haptic_plugin_log_log(level, &target, &line, &fields);
    return true;
}

// --- Settings -----------------------------------------------------------------------------------

static void keep(char **setting, const char *text, size_t len) {
    *setting = grow(*setting, len + 1);
    memcpy(*setting, text, len);
    (*setting)[len] = 0;
}

static bool read_settings(const plugin_string_t *config, plugin_string_t *err) {
    keep(&plugin.port, "metrics", 7);
    keep(&plugin.selector, "", 0);
    keep(&plugin.file, "targets.json", 12);
    span_t rest = {(const char *)config->ptr, config->len}, name, value;
    while (json_member(&rest, &name, &value)) {
        struct {
            const char *name;
            char **setting;
        } known[] = {{"port", &plugin.port}, {"selector", &plugin.selector}, {"file", &plugin.file}};
        char **setting = NULL;
        for (size_t i = 0; i < COUNT(known); i++) {
            if (json_is(name, known[i].name)) setting = known[i].setting;
        }
        if (setting == NULL) {
            return fail(err, "settings: field `", name.at, name.len,
                        "`: unknown field, expected one of `port`, `selector`, `file`");
        }
        if (!json_is_string(value)) {
            return fail(err, "settings: field `", name.at, name.len, "`: invalid type, expected a string");
        }
        buffer_t text = {0};
        json_decode(&text, value);
        keep(setting, text.data, text.len);
        free(text.data);
    }
    size_t len = strlen(plugin.port);
    if (len < 1 || len > 63 || strspn(plugin.port, "abcdefghijklmnopqrstuvwxyz0123456789-") != len) {
        return fail(err, "settings: field `port`: a port's name has 1 to 63 of the characters a-z, 0-9 and -", "", 0, "");
    }
    return true;
}

// --- Changes ------------------------------------------------------------------------------------

// Forgets the older ones of the changes that are known.
static void forget_told(size_t count) {
    for (size_t i = 0; i < count; i++) haptic_plugin_stores_list_change_free(&plugin.told[i]);
    plugin.told_count -= count;
    memmove(plugin.told, plugin.told + count, plugin.told_count * sizeof *plugin.told);
}

// Reads one slice as it is now.
static bool read_slice(store_t store, haptic_plugin_stores_change_t *change, plugin_string_t *err) {
    plugin_option_string_t object;
    haptic_plugin_stores_store_error_t error;
    if (!haptic_plugin_stores_method_store_get_object(store, &change->namespace_, &change->name, &object, &error)) {
        return fail_to_read(err, &error);
    }
    buffer_t namespace = {0}, key = {0}, group = {0};
    append(&namespace, change->namespace_.ptr, change->namespace_.len);
    append(&key, namespace.data, namespace.len);
    append(&key, "", 1);
    append(&key, change->name.ptr, change->name.len);
    if (object.is_some) {
        span_t slice = {(const char *)object.val.ptr, object.val.len};
        span_t labels = json_get(json_get(slice, "metadata"), "labels");
        group = group_of(&namespace, json_get(labels, SERVICE), json_get(slice, "endpoints"), json_get(slice, "ports"));
        plugin_string_free(&object.val);
    }
    put(key, group);
    free(namespace.data);
    return true;
}

// --- The callbacks ------------------------------------------------------------------------------

// What an export answers is freed by the host's call into `cabi_post_…`: all of it is allocated.
static plugin_list_string_t strings(const char *const *texts, size_t count) {
    plugin_list_string_t list = {grow(NULL, count * sizeof *list.ptr), count};
    for (size_t i = 0; i < count; i++) plugin_string_dup(&list.ptr[i], texts[i]);
    return list;
}

#define STRINGS(...) strings((const char *const[]){__VA_ARGS__}, COUNT(((const char *const[]){__VA_ARGS__})))

bool exports_haptic_plugin_callbacks_describe(plugin_string_t *config, exports_haptic_plugin_callbacks_list_watch_t *ret,
                                              plugin_string_t *err) {
    bool is_right = read_settings(config, err);
    plugin_string_free(config);
    if (!is_right) return false;
    // What is not named here is none, false or empty.
    exports_haptic_plugin_callbacks_watch_t watch = {0};
    plugin_string_dup(&watch.name, "endpointslices");
    plugin_string_dup(&watch.api_version, "discovery.k8s.io/v1");
    plugin_string_dup(&watch.resources, "endpointslices");
    watch.scope.tag = HAPTIC_PLUGIN_TYPES_SCOPE_ALL_NAMESPACES;
    watch.label_selector.is_some = *plugin.selector != 0;
    if (watch.label_selector.is_some) plugin_string_dup(&watch.label_selector.val, plugin.selector);
    watch.index_by = STRINGS("metadata.namespace", "metadata.name");
    // What moves without a scraper having to know.
    watch.ignore_fields = STRINGS("endpoints[*].targetRef", "endpoints[*].nodeName", "endpoints[*].zone", "endpoints[*].hints");
    watch.keep_fields = STRINGS("metadata.labels['" SERVICE "']", "endpoints", "ports");
    watch.storage = HAPTIC_PLUGIN_TYPES_STORAGE_MEMORY;
    watch.required = true;
    *ret = (exports_haptic_plugin_callbacks_list_watch_t){grow(NULL, sizeof watch), 1};
    ret->ptr[0] = watch;
    return true;
}

static bool read_everything(store_t store, plugin_string_t *err) {
    plugin_string_t fields[] = {
        text_of("metadata.namespace"), text_of("metadata.name"), text_of("metadata.labels['" SERVICE "']"),
        text_of("endpoints"), text_of("ports"),
    };
    plugin_list_string_t paths = {fields, COUNT(fields)}, no_keys = {NULL, 0};
    plugin_string_t answer;
    haptic_plugin_stores_store_error_t error;
    if (!haptic_plugin_stores_method_store_select(store, &paths, &no_keys, &answer, &error)) {
        return fail_to_read(err, &error);
    }
    forget_groups();
    forget_told(plugin.told_count);
    // A cursor in each column.
    span_t rest = {(const char *)answer.ptr, answer.len}, columns[COUNT(fields)] = {0}, row[COUNT(fields)];
    for (size_t i = 0; i < COUNT(columns) && json_element(&rest, &columns[i]);) i++;
    for (;;) {
        size_t read = 0;
        while (read < COUNT(columns) && json_element(&columns[read], &row[read])) read++;
        if (read < COUNT(columns)) break;
        buffer_t namespace = {0}, key = {0};
        json_decode(&namespace, row[0]);
        append(&key, namespace.data, namespace.len);
        append(&key, "", 1);
        json_decode(&key, row[1]);
        put(key, group_of(&namespace, row[2], row[3], row[4]));
        free(namespace.data);
    }
    plugin_string_free(&answer);
    return render(HAPTIC_PLUGIN_LOG_LEVEL_INFO, "rendered everything", err);
}

static bool read_changes(store_t store, plugin_string_t *err) {
    haptic_plugin_stores_list_change_t changes;
    haptic_plugin_stores_store_error_t error;
    if (!haptic_plugin_stores_method_store_changes(store, &changes, &error)) return fail_to_read(err, &error);
    size_t before = plugin.told_count;
    plugin.told = grow(plugin.told, (before + 1) * sizeof *plugin.told);
    plugin.told[plugin.told_count++] = changes;
    for (size_t i = 0; i < plugin.told_count; i++) {
        for (size_t j = 0; j < plugin.told[i].len; j++) {
            if (!read_slice(store, &plugin.told[i].ptr[j], err)) return false;
        }
    }
    forget_told(before);
    return render(HAPTIC_PLUGIN_LOG_LEVEL_DEBUG, "rendered what changed", err);
}

// The store is lent: a handle that is not dropped when a callback returns fails it. There is one way
// out of each callback, and whatever it calls may return where it likes.

bool exports_haptic_plugin_callbacks_on_sync_complete(store_t store, uint32_t initial_count, plugin_string_t *err) {
    (void)initial_count;
    bool is_done = read_everything(store, err);
    haptic_plugin_stores_store_drop_borrow(store);
    return is_done;
}

bool exports_haptic_plugin_callbacks_on_change(store_t store, exports_haptic_plugin_callbacks_change_stats_t *stats,
                                               plugin_string_t *err) {
    (void)stats;
    bool is_done = read_changes(store, err);
    haptic_plugin_stores_store_drop_borrow(store);
    return is_done;
}

bool exports_haptic_plugin_callbacks_on_resource_change(plugin_string_t *watch,
                                                        exports_haptic_plugin_callbacks_resource_event_t *event,
                                                        plugin_string_t *err) {
    fail(err, "the plugin watches no single object, and was told of `", (const char *)watch->ptr, watch->len, "`");
    plugin_string_free(watch);
    exports_haptic_plugin_callbacks_resource_event_free(event);
    return false;
}
