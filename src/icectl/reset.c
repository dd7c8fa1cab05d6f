/* SPDX-License-Identifier: BSD-2-Clause */
#include "args.h"
#include "base/bytes.h"
#include "commands.h"
#include "control.h"

static enum status reset(struct icectl *icectl, const char *scope)
{
    static const char *const scopes[] = {"device", "function", "engine"};
    const struct control_argument argument = argument_text("scope", scope);

    for (size_t i = 0; i < ARRAY_SIZE(scopes); i++) {
        if (strcmp(scope, scopes[i]))
            continue;
        set_action(icectl, "reset %s", scope);
        return ask_control(icectl, MESSAGE_RESET, strcmp(scope, "engine") != 0, &argument, 1,
                           show_document);
    }
    return fail(icectl, STATUS_USAGE, "--scope \"%.32s\" is none of device, function, engine",
                scope);
}

enum status command_reset(struct icectl *icectl, const struct command_entry *entry, int argc,
                          char **argv)
{
    struct arg_str *scope = arg_str1(NULL, "scope", "SCOPE", "device, function or engine");
    void *table[] = {arg_lit0(NULL, "help", "show this"), scope, arg_end(4)};
    enum status status;

    if (args_parse(icectl, entry, argc, argv, table, &status))
        status = reset(icectl, scope->sval[0]);
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}
