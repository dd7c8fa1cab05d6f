/* SPDX-License-Identifier: BSD-2-Clause */
/* The control plane: function list, slot list, reset, statistics. */
#include "control.h"
#include "base/bytes.h"
#include <errno.h>
#include <stdio.h>

/* ---- arguments: a map whose values are texts ---- */

#define VALUE_MAX 32

struct argument {
    const char *key;
    bool required;
    bool given;
    char value[VALUE_MAX + 1];
};

/* What a client sent may stand in an error: printable and not long. */
static void copy_printable(char *to, size_t room, const char *from, size_t len)
{
    size_t n = min_u64(len, room - 1);
    for (size_t i = 0; i < n; i++) {
        to[i] = from[i];
        if (from[i] < ' ' || from[i] > '~')
            to[i] = '?';
    }
    to[n] = 0;
}

static struct argument *find(struct argument *arguments, unsigned n, const char *key, size_t len)
{
    for (unsigned i = 0; i < n; i++) {
        if (strlen(arguments[i].key) == len && !memcmp(arguments[i].key, key, len))
            return &arguments[i];
    }
    return NULL;
}

static int read_argument(struct reader *reader, struct argument *arguments, unsigned n,
                         struct ice_why *why)
{
    const char *text;
    size_t len;
    char shown[VALUE_MAX + 1];
    int err = read_text(reader, &text, &len, why);
    if (err)
        return err;
    copy_printable(shown, sizeof(shown), text, len);
    struct argument *argument = find(arguments, n, text, len);
    if (!argument)
        return why_set(why, EINVAL, "key \"%s\" is not known", shown);
    if (argument->given)
        return why_set(why, EINVAL, "key \"%s\" is given twice", shown);
    err = read_text(reader, &text, &len, why);
    if (err)
        return err;
    copy_printable(argument->value, sizeof(argument->value), text, len);
    if (len > VALUE_MAX)
        return why_set(why, EINVAL, "key \"%s\": \"%s…\" is too long", shown, argument->value);
    argument->given = true;
    return 0;
}

static int read_arguments(struct reader *reader, struct argument *arguments, unsigned n,
                          struct ice_why *why)
{
    uint64_t pairs;
    int err = read_map(reader, &pairs, why);
    for (; !err && pairs; pairs--)
        err = read_argument(reader, arguments, n, why);
    if (!err)
        err = read_end(reader, why);
    for (unsigned i = 0; !err && i < n; i++) {
        if (arguments[i].required && !arguments[i].given)
            err = why_set(why, EINVAL, "key \"%s\" is missing", arguments[i].key);
    }
    return err;
}

static int find_function(struct host *host, const struct argument *name,
                         struct host_function **function, struct ice_why *why)
{
    *function = host_find(host, name->value);
    if (!*function)
        return why_set(why, ENOENT, "there is no function \"%s\"", name->value);
    return 0;
}

/* ---- answers ---- */

static void key_text(struct document *result, const char *key, const char *value)
{
    document_text(result, key);
    document_text(result, value);
}

static void key_uint(struct document *result, const char *key, uint64_t value)
{
    document_text(result, key);
    document_uint(result, value);
}

static void key_null(struct document *result, const char *key)
{
    document_text(result, key);
    document_null(result);
}

static void list_function(const struct ice_function *function, struct document *result)
{
    unsigned first, count;
    function_slot_window(function, &first, &count);
    document_map(result, 4);
    key_text(result, "name", function_name(function));
    key_text(result, "dialect", function_dialect(function)->name);
    document_text(result, "slots");
    document_map(result, 2);
    key_uint(result, "first", first);
    key_uint(result, "count", count);
    document_text(result, "sectors");
    document_hex(result, function_sectors(function));
}

static int function_list(struct host *host, struct reader *args, struct document *result,
                         struct ice_why *why)
{
    int err = read_arguments(args, NULL, 0, why);
    if (err)
        return err;
    document_array(result, host->function_count);
    for (unsigned i = 0; i < host->function_count; i++)
        list_function(host->functions[i].function, result);
    return 0;
}

static void list_slot(unsigned slot, const struct slot_info *info, struct document *result)
{
    document_map(result, 8);
    key_uint(result, "slot", slot);
    document_text(result, "programmed");
    document_bool(result, info->programmed);
    if (info->programmed) {
        char fingerprint[2 * FINGERPRINT_BYTES + 1];
        for (size_t i = 0; i < FINGERPRINT_BYTES; i++)
            snprintf(fingerprint + 2 * i, 3, "%02x", info->fingerprint[i]);
        key_text(result, "alg", info->algorithm->name);
        key_uint(result, "data_unit", info->data_unit);
        key_text(result, "key_type", "raw");
        key_text(result, "fingerprint", fingerprint);
    } else {
        key_null(result, "alg");
        key_null(result, "data_unit");
        key_null(result, "key_type");
        key_null(result, "fingerprint");
    }
    key_null(result, "owner");
    key_uint(result, "in_flight", info->in_flight);
}

void control_slot_list(const struct host_function *function, struct document *result)
{
    unsigned first, count;
    function_slot_window(function->function, &first, &count);
    document_array(result, count);
    for (unsigned slot = first; slot < first + count; slot++) {
        struct slot_info info;
        engine_slot_info(function_engine(function->function), slot, &info);
        list_slot(slot, &info, result);
    }
}

static int slot_list(struct host *host, struct reader *args, struct document *result,
                     struct ice_why *why)
{
    struct argument arguments[] = {{.key = "function", .required = true}};
    struct host_function *function;
    int err = read_arguments(args, arguments, ARRAY_SIZE(arguments), why);
    if (!err)
        err = find_function(host, &arguments[0], &function, why);
    if (!err)
        control_slot_list(function, result);
    return err;
}

static int reset_function(struct host *host, const struct argument *scope,
                          const struct argument *name, struct ice_why *why)
{
    struct host_function *function;
    if (!name->given)
        return why_set(why, EINVAL, "scope \"%s\" needs key \"function\"", scope->value);
    int err = find_function(host, name, &function, why);
    if (err)
        return err;
    if (!strcmp(scope->value, "device"))
        function_reset_attachments(function->function);
    else
        function_reset(function->function);
    return 0;
}

static int reset_engine(struct host *host, const struct argument *name, struct ice_why *why)
{
    if (name->given)
        return why_set(why, EINVAL, "scope \"engine\" takes no key \"function\"");
    host_reset_engine(host);
    return 0;
}

static int reset(struct host *host, struct reader *args, struct document *result,
                 struct ice_why *why)
{
    struct argument arguments[] = {{.key = "scope", .required = true}, {.key = "function"}};
    const struct argument *scope = &arguments[0];
    int err = read_arguments(args, arguments, ARRAY_SIZE(arguments), why);
    if (err)
        return err;
    if (!strcmp(scope->value, "engine"))
        err = reset_engine(host, &arguments[1], why);
    else if (!strcmp(scope->value, "device") || !strcmp(scope->value, "function"))
        err = reset_function(host, scope, &arguments[1], why);
    else
        err =
            why_set(why, EINVAL, "scope \"%s\" is none of device, function, engine", scope->value);
    if (err)
        return err;
    document_map(result, 1);
    document_text(result, "generation");
    document_hex(result, engine_generation(host->engine));
    return 0;
}

static int stats(struct host *host, struct reader *args, struct document *result,
                 struct ice_why *why)
{
    struct argument arguments[] = {{.key = "function", .required = true}};
    struct host_function *function;
    struct stats_counters counters;
    int err = read_arguments(args, arguments, ARRAY_SIZE(arguments), why);
    if (!err)
        err = find_function(host, &arguments[0], &function, why);
    if (err)
        return err;
    stats_read(function->stats, &counters);
    document_map(result, 8);
    document_text(result, "requests");
    document_map(result, COMMAND_KINDS);
    for (unsigned kind = 0; kind < COMMAND_KINDS; kind++)
        key_uint(result, command_name(kind), counters.requests[kind]);
    key_uint(result, "ok", counters.ok);
    key_uint(result, "ioerr", counters.ioerr);
    key_uint(result, "unsupp", counters.unsupp);
    key_uint(result, "bytes_read", counters.bytes_read);
    key_uint(result, "bytes_written", counters.bytes_written);
    key_uint(result, "tagged", counters.tagged);
    key_uint(result, "syncs", counters.syncs);
    return 0;
}

/* ---- dispatch ---- */

static const struct control_kind {
    uint64_t message;
    bool waits;
    int (*run)(struct host *host, struct reader *args, struct document *result,
               struct ice_why *why);
} kinds[] = {
    {MESSAGE_FUNCTION_LIST, false, function_list},
    {MESSAGE_SLOT_LIST, false, slot_list},
    {MESSAGE_RESET, true, reset},
    {MESSAGE_STATS, false, stats},
};

static const struct control_kind *kind_of(uint64_t message)
{
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        if (kinds[i].message == message)
            return &kinds[i];
    }
    return NULL;
}

bool control_knows(uint64_t message)
{
    return kind_of(message);
}

bool control_waits(uint64_t message)
{
    return kind_of(message)->waits;
}

int control_run(struct host *host, uint64_t message, struct reader *args, struct document *result,
                struct ice_why *why)
{
    int err = kind_of(message)->run(host, args, result, why);
    if (!err && result->failed)
        err = why_set(why, ENOMEM, "no memory for the answer");
    return err;
}
