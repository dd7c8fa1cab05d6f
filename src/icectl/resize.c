/* SPDX-License-Identifier: BSD-2-Clause */
#include "args.h"
#include "base/bytes.h"
#include "base/parse.h"
#include "commands.h"
#include "control.h"

#include <inttypes.h>

static enum status resize(struct icectl *icectl, const char *text)
{
    char number[sizeof("0x") + 16];
    struct control_argument argument;
    struct ice_why why;
    uint64_t size;

    if (parse_size(text, &size, &why))
        return fail(icectl, STATUS_USAGE, "%s", why.text);
    set_action(icectl, "resize %.32s", text);
    snprintf(number, sizeof(number), "0x%" PRIx64, size);
    argument = argument_text("size", number);
    return ask_control(icectl, MESSAGE_FUNCTION_RESIZE, true, &argument, 1, show_document);
}

enum status command_resize(struct icectl *icectl, const struct command_entry *entry, int argc,
                           char **argv)
{
    struct arg_str *size = arg_str1(NULL, NULL, "SIZE", NULL);
    void *table[] = {arg_lit0(NULL, "help", "show this"), size, arg_end(4)};
    enum status status;

    if (args_parse(icectl, entry, argc, argv, table, &status))
        status = resize(icectl, size->sval[0]);
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}
