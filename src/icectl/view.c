/* SPDX-License-Identifier: BSD-2-Clause */
/* view list, add, remove: the host owner's. Keys stay in secret memory from file to socket. */
#include "base/bytes.h"
#include "base/parse.h"
#include "base/secret.h"
#include "commands.h"
#include "control.h"
#include "fields.h"
#include "key_options.h"

#include <inttypes.h>

#define HEX64 (sizeof("0x") + 16)

/* ---- list ---- */

struct view_row {
    char name[CELL], alg[CELL], key_type[CELL], fingerprint[CELL], sector[CELL], count[CELL],
        dun[CELL], fallback[CELL], path[CELL];
    uint64_t data_unit;
};

static int read_row(struct reader *reader, struct view_row *row, struct ice_why *why)
{
    const struct field fields[] = {
        FIELD_TEXT("name", row->name),
        FIELD_TEXT("alg", row->alg),
        FIELD_NUMBER("data_unit", row->data_unit),
        FIELD_TEXT("key_type", row->key_type),
        FIELD_TEXT("fingerprint", row->fingerprint),
        FIELD_TEXT("sector", row->sector),
        FIELD_TEXT("count", row->count),
        FIELD_TEXT("dun", row->dun),
        FIELD_TEXT("fallback", row->fallback),
        FIELD_TEXT("path", row->path),
    };

    *row = (struct view_row){.fingerprint = "-"};
    return read_fields(reader, fields, ARRAY_SIZE(fields), why);
}

/* Sectors are decimal for people, as --sector mostly is. */
static void print_row(FILE *out, const struct view_row *row)
{
    char range[48];

    snprintf(range, sizeof(range), "%" PRIu64 "+%" PRIu64, hex_cell(row->sector),
             hex_cell(row->count));
    fprintf(out, "%-15s %-21s %-5" PRIu64 " %-7s %-16s %-20s %-8s %-8s %s\n", row->name, row->alg,
            row->data_unit, row->key_type, row->fingerprint, range, row->fallback, row->path,
            row->dun);
}

static int show_list(const struct icectl *icectl, struct reader result, struct ice_why *why)
{
    struct view_row row;
    uint64_t rows;
    int err;

    if (icectl->json)
        return print_item(icectl, result, why);
    err = read_array(&result, &rows, why);
    fprintf(icectl->out, "%-15s %-21s %-5s %-7s %-16s %-20s %-8s %-8s %s\n", "NAME", "ALG", "UNIT",
            "KEY", "FINGERPRINT", "SECTORS", "FALLBACK", "PATH", "DUN");
    for (; !err && rows; rows--) {
        err = read_row(&result, &row, why);
        if (!err)
            print_row(icectl->out, &row);
    }
    return err;
}

enum status command_view_list(struct icectl *icectl, const struct command_entry *entry, int argc,
                              char **argv)
{
    void *table[] = {arg_lit0(NULL, "help", "show this"), arg_end(4)};
    enum status status;

    if (args_parse(icectl, entry, argc, argv, table, &status))
        status = ask_control(icectl, MESSAGE_VIEW_LIST, true, NULL, 0, show_list);
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}

/* ---- add ---- */

struct add_args {
    struct arg_lit *help;
    struct key_options key;
    struct arg_str *sector, *count, *dun, *fallback, *name;
    struct arg_end *end;
};

/* What they say, as the message has it. */
struct range {
    char sector[HEX64], count[HEX64], dun[DUN_TEXT];
};

static enum status read_range(const struct icectl *icectl, const struct add_args *args,
                              struct range *range)
{
    uint64_t sector = 0, count = 0;
    struct dun dun = {0};
    enum status status = args_number(icectl, args->sector, UINT64_MAX, &sector);

    if (!status)
        status = args_number(icectl, args->count, UINT64_MAX, &count);
    if (!status)
        status = args_dun(icectl, args->dun, &dun);
    snprintf(range->sector, sizeof(range->sector), "0x%" PRIx64, sector);
    snprintf(range->count, sizeof(range->count), "0x%" PRIx64, count);
    dun_text(&dun, range->dun);
    return status;
}

static enum status check_fallback(const struct icectl *icectl, const struct arg_str *option)
{
    static const char *const words[] = {"auto", "forbid", "force"};

    if (!option->count)
        return STATUS_DONE;
    for (size_t i = 0; i < ARRAY_SIZE(words); i++)
        if (!strcmp(option->sval[0], words[i]))
            return STATUS_DONE;
    return fail(icectl, STATUS_USAGE, "--fallback \"%.32s\" is none of auto, forbid, force",
                option->sval[0]);
}

/* Options that were not given are left out: their defaults are the server's. */
static enum status add_with(struct icectl *icectl, const struct add_args *args,
                            const struct algorithm *algorithm, uint32_t data_unit,
                            const struct range *range)
{
    struct control_argument list[CONTROL_ARGUMENTS];
    struct ice_why why;
    enum status status;
    unsigned n = 0;
    size_t len;
    uint8_t *bytes = read_key(&args->key, algorithm, &len, &why);

    if (!bytes)
        return fail_why(icectl, STATUS_REFUSED, &why);
    list[n++] = argument_text("name", args->name->sval[0]);
    list[n++] = argument_text("alg", algorithm->name);
    list[n++] = argument_number("data_unit", data_unit);
    list[n++] = argument_bytes("key", bytes, len);
    if (args->key.wrapped->count)
        list[n++] = argument_text("key_type", "wrapped");
    if (args->sector->count)
        list[n++] = argument_text("sector", range->sector);
    if (args->count->count)
        list[n++] = argument_text("count", range->count);
    if (args->dun->count)
        list[n++] = argument_text("dun", range->dun);
    if (args->fallback->count)
        list[n++] = argument_text("fallback", args->fallback->sval[0]);
    status = ask_control(icectl, MESSAGE_VIEW_ADD, true, list, n, show_document);
    secret_free(bytes);
    return status;
}

static enum status add(struct icectl *icectl, const struct add_args *args)
{
    const struct algorithm *algorithm;
    uint32_t data_unit;
    struct range range;
    enum status status = read_key_options(icectl, &args->key, &algorithm, &data_unit);

    if (!status)
        status = read_range(icectl, args, &range);
    if (!status)
        status = check_fallback(icectl, args->fallback);
    if (status)
        return status;
    set_action(icectl, "view add %s", args->name->sval[0]);
    return add_with(icectl, args, algorithm, data_unit, &range);
}

enum status command_view_add(struct icectl *icectl, const struct command_entry *entry, int argc,
                             char **argv)
{
    struct add_args args = {
        .help = arg_lit0(NULL, "help", "show this"),
        .key = KEY_OPTIONS,
        .sector = arg_str0(NULL, "sector", "S", "first sector (0)"),
        .count = arg_str0(NULL, "count", "N", "number of sectors (to the end)"),
        .dun = arg_str0(NULL, "dun", "D", "number of the first data unit (0)"),
        .fallback = arg_str0(NULL, "fallback", "POLICY", "auto, forbid or force (auto)"),
        .name = arg_str1(NULL, NULL, "NAME", NULL),
        .end = arg_end(4),
    };
    enum status status;

    if (args_parse(icectl, entry, argc, argv, (void **)&args, &status))
        status = add(icectl, &args);
    arg_freetable((void **)&args, sizeof(args) / sizeof(void *));
    return status;
}

/* ---- remove ---- */

enum status command_view_remove(struct icectl *icectl, const struct command_entry *entry, int argc,
                                char **argv)
{
    struct arg_lit *wait = arg_lit0(NULL, "wait", "until nobody uses it");
    struct arg_str *name = arg_str1(NULL, NULL, "NAME", NULL);
    void *table[] = {arg_lit0(NULL, "help", "show this"), wait, name, arg_end(4)};
    enum status status;

    if (args_parse(icectl, entry, argc, argv, table, &status)) {
        const struct control_argument list[] = {
            argument_text("name", name->sval[0]),
            argument_flag("wait", wait->count),
        };

        set_action(icectl, "view remove %s", name->sval[0]);
        status =
            ask_control(icectl, MESSAGE_VIEW_REMOVE, true, list, ARRAY_SIZE(list), show_nothing);
    }
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}
