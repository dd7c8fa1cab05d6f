/* SPDX-License-Identifier: BSD-2-Clause */
/* function list, add, remove: the host owner's, on the control socket. */
#include "args.h"
#include "base/bytes.h"
#include "commands.h"
#include "control.h"

#include <inttypes.h>
#include <stdlib.h>

#define CELL 64

/* What the table shows of a function; "-" for what is not there. */
struct function_row {
    char name[CELL], dialect[CELL], addressing[CELL], image[CELL], first_sector[CELL],
        sectors[CELL], keys[CELL];
    uint64_t first_slot, slots, clients;
    bool strict, read_only, integrity;
};

static bool is(const struct item *key, const char *name)
{
    return strlen(name) == key->value && !memcmp(key->bytes, name, key->value);
}

static char *text_cell(struct function_row *row, const struct item *key)
{
    return is(key, "name")           ? row->name
           : is(key, "dialect")      ? row->dialect
           : is(key, "addressing")   ? row->addressing
           : is(key, "image")        ? row->image
           : is(key, "first_sector") ? row->first_sector
           : is(key, "sectors")      ? row->sectors
           : is(key, "keys")         ? row->keys
                                     : NULL;
}

static uint64_t *number_cell(struct function_row *row, const struct item *key)
{
    return is(key, "first")     ? &row->first_slot
           : is(key, "count")   ? &row->slots
           : is(key, "clients") ? &row->clients
                                : NULL;
}

static bool *flag_cell(struct function_row *row, const struct item *key)
{
    return is(key, "strict")      ? &row->strict
           : is(key, "read_only") ? &row->read_only
           : is(key, "integrity") ? &row->integrity
                                  : NULL;
}

static void take(struct function_row *row, const struct item *key, const struct item *value)
{
    char *text = text_cell(row, key);
    uint64_t *number = number_cell(row, key);
    bool *flag = flag_cell(row, key);

    if (text && value->type == ITEM_TEXT)
        snprintf(text, CELL, "%.*s", (int)min_u64(value->value, CELL), value->bytes);
    else if (number && value->type == ITEM_UINT)
        *number = value->value;
    else if (flag && value->type == ITEM_BOOL)
        *flag = value->value;
}

/* A map of the answer, or "slots", the one map in it that is looked into. */
static int read_cells(struct reader *reader, struct function_row *row, bool outer,
                      struct ice_why *why)
{
    uint64_t pairs;
    int err = read_map(reader, &pairs, why);

    for (; !err && pairs; pairs--) {
        struct item key = {.type = ITEM_TEXT}, value;
        struct reader at;
        const char *name;
        size_t len;

        err = read_text(reader, &name, &len, why);
        if (err)
            break;
        key.bytes = (const uint8_t *)name;
        key.value = len;
        if (outer && is(&key, "slots")) {
            err = read_cells(reader, row, false, why);
            continue;
        }
        at = *reader;
        err = read_skip(reader, why);
        if (!err && reader_next(&at, &value) == READ_OK)
            take(row, &key, &value);
    }
    return err;
}

/* "3..7", "3", or "none" */
static void print_slots(FILE *out, const struct function_row *row)
{
    char range[48] = "none";

    if (row->slots)
        snprintf(range, sizeof(range), "%" PRIu64 "..%" PRIu64, row->first_slot,
                 row->first_slot + row->slots - 1);
    fprintf(out, " %-9s", range);
}

/* Sectors are decimal for people, as --sector mostly is. */
static void print_sectors(FILE *out, const struct function_row *row)
{
    char range[48];

    snprintf(range, sizeof(range), "%" PRIu64 "+%" PRIu64,
             (uint64_t)strtoull(row->first_sector, NULL, 0),
             (uint64_t)strtoull(row->sectors, NULL, 0));
    fprintf(out, " %-20s", range);
}

/* As --function takes them. */
static void print_flags(FILE *out, const struct function_row *row)
{
    char flags[48];

    snprintf(flags, sizeof(flags), "%s%s%s%s", row->strict ? ",strict" : "",
             row->read_only ? ",ro" : "", strcmp(row->keys, "inline") ? "" : ",keys=inline",
             row->integrity ? ",integrity" : "");
    fprintf(out, " %-9s", *flags ? flags + 1 : "-");
}

static int print_rows(FILE *out, struct reader reader, struct ice_why *why)
{
    uint64_t rows;
    int err = read_array(&reader, &rows, why);

    fprintf(out, "%-15s %-8s %-9s %-10s %-20s %-7s %-9s %s\n", "NAME", "DIALECT", "SLOTS",
            "ADDRESSING", "SECTORS", "CLIENTS", "FLAGS", "IMAGE");
    for (; !err && rows; rows--) {
        struct function_row row = {.image = "-"};

        err = read_cells(&reader, &row, true, why);
        if (err)
            break;
        fprintf(out, "%-15s %-8s", row.name, row.dialect);
        print_slots(out, &row);
        fprintf(out, " %-10s", row.addressing);
        print_sectors(out, &row);
        fprintf(out, " %-7" PRIu64, row.clients);
        print_flags(out, &row);
        fprintf(out, " %s\n", row.image);
    }
    return err;
}

static int show_list(const struct icectl *icectl, struct reader result, struct ice_why *why)
{
    return icectl->json ? print_item(icectl, result, why) : print_rows(icectl->out, result, why);
}

enum status command_function_list(struct icectl *icectl, const struct command_entry *entry,
                                  int argc, char **argv)
{
    void *table[] = {arg_lit0(NULL, "help", "show this"), arg_end(4)};
    enum status status;

    if (args_parse(icectl, entry, argc, argv, table, &status))
        status = ask_control(icectl, MESSAGE_FUNCTION_LIST, false, NULL, 0, show_list);
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}

/* add and remove: `message` with what the user wrote, which the server parses. */
static enum status change(struct icectl *icectl, const struct command_entry *entry, int argc,
                          char **argv, const char *object, enum message message, control_show *show)
{
    struct arg_str *text = arg_str1(NULL, NULL, object, NULL);
    void *table[] = {arg_lit0(NULL, "help", "show this"), text, arg_end(4)};
    enum status status;

    if (args_parse(icectl, entry, argc, argv, table, &status)) {
        const struct control_argument argument = argument_text("function", text->sval[0]);

        set_action(icectl, "%s %.*s", entry->name, (int)strcspn(text->sval[0], ","), text->sval[0]);
        status = ask_control(icectl, message, false, &argument, 1, show);
    }
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}

enum status command_function_add(struct icectl *icectl, const struct command_entry *entry, int argc,
                                 char **argv)
{
    return change(icectl, entry, argc, argv, "NAME[,KEY=VALUE...]", MESSAGE_FUNCTION_ADD,
                  show_document);
}

enum status command_function_remove(struct icectl *icectl, const struct command_entry *entry,
                                    int argc, char **argv)
{
    return change(icectl, entry, argc, argv, "NAME", MESSAGE_FUNCTION_REMOVE, show_nothing);
}
