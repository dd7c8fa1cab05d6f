/* SPDX-License-Identifier: BSD-2-Clause */
/* The control plane: which messages there are; resets and statistics. */
#include "control.h"
#include "base/bytes.h"
#include "control_private.h"
#include <errno.h>

static int reset_function(struct host *host, const struct argument *scope,
                          const struct argument *name, struct ice_why *why)
{
    struct host_function *function;
    if (!name->given)
        return why_set(why, EINVAL, "scope \"%s\" needs key \"function\"", scope->text);
    int err = argument_function(host, name, &function, why);
    if (err)
        return err;
    if (!strcmp(scope->text, "device"))
        function_reset_attachments(function->function);
    else
        function_reset(function->function);
    host_let_go(host, function);
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
    struct argument arguments[] = {
        {.key = "scope", .max = 32},
        {.key = "function", .max = FUNCTION_NAME_MAX, .optional = true},
    };
    const struct argument *scope = &arguments[0];
    int err = arguments_read(args, arguments, ARRAY_SIZE(arguments), why);
    if (err)
        return err;
    if (!strcmp(scope->text, "engine"))
        err = reset_engine(host, &arguments[1], why);
    else if (!strcmp(scope->text, "device") || !strcmp(scope->text, "function"))
        err = reset_function(host, scope, &arguments[1], why);
    else
        err = why_set(why, EINVAL, "scope \"%s\" is none of device, function, engine", scope->text);
    if (err)
        return err;
    document_map(result, 1);
    answer_hex(result, "generation", engine_generation(host->engine));
    return 0;
}

static void answer_counters(const struct stats_counters *counters, struct document *result)
{
    document_map(result, 9);
    document_text(result, "requests");
    document_map(result, COMMAND_KINDS);
    for (unsigned kind = 0; kind < COMMAND_KINDS; kind++)
        answer_uint(result, command_name(kind), counters->requests[kind]);
    answer_uint(result, "ok", counters->ok);
    answer_uint(result, "ioerr", counters->ioerr);
    answer_uint(result, "unsupp", counters->unsupp);
    answer_uint(result, "bytes_read", counters->bytes_read);
    answer_uint(result, "bytes_written", counters->bytes_written);
    answer_uint(result, "tagged", counters->tagged);
    answer_uint(result, "syncs", counters->syncs);
    document_text(result, "violations");
    document_map(result, RULE_COUNT - 1);
    for (enum rule rule = RULE_NONE + 1; rule < RULE_COUNT; rule++)
        answer_uint(result, rule_name(rule), counters->violations[rule]);
}

static int stats(struct host *host, struct reader *args, struct document *result,
                 struct ice_why *why)
{
    struct argument name = ARGUMENT_FUNCTION;
    struct host_function *function;
    struct stats_counters counters;
    int err = arguments_read(args, &name, 1, why);
    if (!err)
        err = argument_function(host, &name, &function, why);
    if (err)
        return err;
    stats_read(function->stats, &counters);
    host_let_go(host, function);
    answer_counters(&counters, result);
    return 0;
}

/* ---- dispatch ---- */

static const struct control_kind {
    uint64_t message;
    bool waits;
    control_handler *run;
} kinds[] = {
    {MESSAGE_FUNCTION_LIST, false, control_function_list},
    {MESSAGE_SLOT_LIST, false, control_slots},
    {MESSAGE_RESET, true, reset},
    {MESSAGE_STATS, false, stats},
    {MESSAGE_FUNCTION_ADD, true, control_function_add},
    {MESSAGE_FUNCTION_REMOVE, true, control_function_remove},
    {MESSAGE_SLOT_PROGRAM, false, control_slot_program},
    {MESSAGE_SLOT_EVICT, false, control_slot_evict},
    {MESSAGE_KEY_GENERATE, false, control_key_generate},
    {MESSAGE_KEY_IMPORT, false, control_key_import},
    {MESSAGE_KEY_PREPARE, false, control_key_prepare},
    {MESSAGE_KEY_DERIVE, false, control_key_derive},
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
