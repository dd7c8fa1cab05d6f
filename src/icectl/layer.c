/* SPDX-License-Identifier: BSD-2-Clause */
/* layer list, add, remove: the host owner's. */
#include "args.h"
#include "base/bytes.h"
#include "commands.h"
#include "control.h"
#include "fields.h"

#include <inttypes.h>
#include <stdlib.h>

#define CHILDREN_MAX 64 /* more than the server takes, which says how many */

/* ---- list ---- */

static int print_row(FILE *out, struct reader *reader, struct ice_why *why)
{
    char name[CELL] = "", map[CELL] = "", functions[1024] = "", sectors[CELL] = "";
    const struct field fields[] = {
        FIELD_TEXT("name", name),
        FIELD_TEXT("map", map),
        FIELD_TEXT("functions", functions),
        FIELD_TEXT("sectors", sectors),
    };
    int err = read_fields(reader, fields, ARRAY_SIZE(fields), why);

    if (!err)
        fprintf(out, "%-15s %-16s %-10" PRIu64 " %s\n", name, map, hex_cell(sectors), functions);
    return err;
}

static int show_list(const struct icectl *icectl, struct reader result, struct ice_why *why)
{
    uint64_t rows;
    int err;

    if (icectl->json)
        return print_item(icectl, result, why);
    err = read_array(&result, &rows, why);
    fprintf(icectl->out, "%-15s %-16s %-10s %s\n", "NAME", "MAP", "SECTORS", "FUNCTIONS");
    for (; !err && rows; rows--)
        err = print_row(icectl->out, &result, why);
    return err;
}

enum status command_layer_list(struct icectl *icectl, const struct command_entry *entry, int argc,
                               char **argv)
{
    void *table[] = {arg_lit0(NULL, "help", "show this"), arg_end(4)};
    enum status status;

    if (args_parse(icectl, entry, argc, argv, table, &status))
        status = ask_control(icectl, MESSAGE_LAYER_LIST, false, NULL, 0, show_list);
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}

/* ---- add ---- */

/* The first operand is the layer, the others are its functions. NULL: no memory. */
static char *join_functions(const struct arg_str *names)
{
    char *text = NULL;
    size_t len;
    FILE *out = open_memstream(&text, &len);

    if (!out)
        return NULL;
    for (int i = 1; i < names->count; i++)
        fprintf(out, "%s%s", i > 1 ? "," : "", names->sval[i]);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

static enum status add(struct icectl *icectl, const char *map, const struct arg_str *names)
{
    char *functions = join_functions(names);
    enum status status;

    set_action(icectl, "layer add %s", names->sval[0]);
    if (functions) {
        const struct control_argument list[] = {
            argument_text("name", names->sval[0]),
            argument_text("map", map),
            argument_text("functions", functions),
        };

        status =
            ask_control(icectl, MESSAGE_LAYER_ADD, false, list, ARRAY_SIZE(list), show_document);
    } else {
        status = fail(icectl, STATUS_REFUSED, "no memory");
    }
    free(functions);
    return status;
}

enum status command_layer_add(struct icectl *icectl, const struct command_entry *entry, int argc,
                              char **argv)
{
    struct arg_str *map = arg_str1(NULL, "map", "MAP", "linear, striped or striped:BYTES");
    struct arg_str *names = arg_strn(NULL, NULL, "NAME FUNCTION...", 2, 1 + CHILDREN_MAX, NULL);
    void *table[] = {arg_lit0(NULL, "help", "show this"), map, names, arg_end(4)};
    enum status status;

    if (args_parse(icectl, entry, argc, argv, table, &status))
        status = add(icectl, map->sval[0], names);
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}

/* ---- remove ---- */

enum status command_layer_remove(struct icectl *icectl, const struct command_entry *entry, int argc,
                                 char **argv)
{
    struct arg_str *name = arg_str1(NULL, NULL, "NAME", NULL);
    void *table[] = {arg_lit0(NULL, "help", "show this"), name, arg_end(4)};
    enum status status;

    if (args_parse(icectl, entry, argc, argv, table, &status)) {
        const struct control_argument argument = argument_text("name", name->sval[0]);

        set_action(icectl, "layer remove %s", name->sval[0]);
        status = ask_control(icectl, MESSAGE_LAYER_REMOVE, false, &argument, 1, show_nothing);
    }
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}
