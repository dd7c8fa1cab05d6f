/* SPDX-License-Identifier: BSD-2-Clause */
/* The control plane: which messages there are; resets. */
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

static int reset(const struct control *control, struct reader *args, struct document *result,
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
        err = reset_engine(control->host, &arguments[1], why);
    else if (!strcmp(scope->text, "device") || !strcmp(scope->text, "function"))
        err = reset_function(control->host, scope, &arguments[1], why);
    else
        err = why_set(why, EINVAL, "scope \"%s\" is none of device, function, engine", scope->text);
    if (err)
        return err;
    document_map(result, 1);
    answer_hex(result, "generation", engine_generation(control->host->engine));
    return 0;
}

/* ---- dispatch ---- */

static const struct control_kind {
    uint64_t message;
    enum control_wait waits;
    control_handler *run;
} kinds[] = {
    {MESSAGE_FUNCTION_LIST, CONTROL_NO_WAIT, control_function_list},
    {MESSAGE_SLOT_LIST, CONTROL_NO_WAIT, control_slots},
    {MESSAGE_RESET, CONTROL_WAITS_REQUESTS, reset},
    {MESSAGE_STATS, CONTROL_NO_WAIT, control_stats},
    {MESSAGE_FUNCTION_ADD, CONTROL_WAITS_REQUESTS, control_function_add},
    {MESSAGE_FUNCTION_REMOVE, CONTROL_WAITS_REQUESTS, control_function_remove},
    {MESSAGE_FUNCTION_RESIZE, CONTROL_WAITS_REQUESTS, control_function_resize},
    {MESSAGE_SLOT_PROGRAM, CONTROL_NO_WAIT, control_slot_program},
    {MESSAGE_SLOT_EVICT, CONTROL_NO_WAIT, control_slot_evict},
    {MESSAGE_KEY_GENERATE, CONTROL_NO_WAIT, control_key_generate},
    {MESSAGE_KEY_IMPORT, CONTROL_NO_WAIT, control_key_import},
    {MESSAGE_KEY_PREPARE, CONTROL_NO_WAIT, control_key_prepare},
    {MESSAGE_KEY_DERIVE, CONTROL_NO_WAIT, control_key_derive},
    {MESSAGE_VIEW_ADD, CONTROL_WAITS_REQUESTS, control_view_add},
    {MESSAGE_VIEW_LIST, CONTROL_NO_WAIT, control_view_list},
    {MESSAGE_VIEW_REMOVE, CONTROL_WAITS_USERS, control_view_remove},
    {MESSAGE_LAYER_ADD, CONTROL_WAITS_REQUESTS, control_layer_add},
    {MESSAGE_LAYER_LIST, CONTROL_NO_WAIT, control_layer_list},
    {MESSAGE_LAYER_REMOVE, CONTROL_WAITS_REQUESTS, control_layer_remove},
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

enum control_wait control_waits(uint64_t message)
{
    return kind_of(message)->waits;
}

int control_run(const struct control *control, uint64_t message, struct reader *args,
                struct document *result, struct ice_why *why)
{
    int err = kind_of(message)->run(control, args, result, why);
    if (!err && result->failed)
        err = why_set(why, ENOMEM, "no memory for the answer");
    return err;
}
