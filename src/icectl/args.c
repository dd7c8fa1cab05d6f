/* SPDX-License-Identifier: BSD-2-Clause */
#include "args.h"
#include "base/bytes.h"
#include "base/parse.h"
#include "base/units.h"
#include "commands.h"

#include <stdlib.h>

#define DATA_UNIT_WIRE_MAX (UINT32_C(1) << 31)

/* ---- options ---- */

/* Is `name` one of the comma-separated `names`? */
static bool has_name(const char *names, const char *name, size_t len)
{
    for (; names; names = strchr(names, ',')) {
        names += *names == ',';
        if (strcspn(names, ",") == len && !memcmp(names, name, len))
            return true;
    }
    return false;
}

static const struct arg_hdr *find_long(void **table, const char *name, size_t len)
{
    for (;; table++) {
        const struct arg_hdr *option = *table;

        if (option->flag & ARG_TERMINATOR)
            return NULL;
        if (has_name(option->longopts, name, len))
            return option;
    }
}

static const struct arg_hdr *find_short(void **table, char c)
{
    for (;; table++) {
        const struct arg_hdr *option = *table;

        if (option->flag & ARG_TERMINATOR)
            return NULL;
        if (option->shortopts && strchr(option->shortopts, c))
            return option;
    }
}

/* How many arguments the option at argv[0] takes, itself included; 0: it is not in the table. */
static int option_width(char **argv, void **table)
{
    const char *name = *argv + 1;
    const struct arg_hdr *option;

    if (*name == '-') {
        size_t len = strcspn(++name, "=");

        option = find_long(table, name, len);
        if (!option)
            return 0;
        return option->flag & ARG_HASVALUE && !name[len] ? 2 : 1;
    }
    for (; *name; name++) {
        option = find_short(table, *name);
        if (!option)
            return 0;
        if (option->flag & ARG_HASVALUE)
            return name[1] ? 1 : 2;
    }
    return 1;
}

static bool is_option(const char *argument)
{
    return argument[0] == '-' && argument[1];
}

int args_first_operand(int argc, char **argv, void **table, bool *unknown)
{
    int i = 1;

    *unknown = false;
    while (i < argc && is_option(argv[i]) && strcmp(argv[i], "--")) {
        int width = option_width(argv + i, table);

        if (width == 0) {
            *unknown = true;
            break;
        }
        i += width;
    }
    return i < argc ? i : argc;
}

/* The first option anywhere that the table does not have; NULL: none. */
static const char *find_unknown(int argc, char **argv, void **table)
{
    bool unknown;
    int i = 0;

    do {
        i += args_first_operand(argc - i, argv + i, table, &unknown);
        if (unknown)
            return argv[i];
    } while (i < argc && strcmp(argv[i], "--"));
    return NULL;
}

/* argtable2's own text for its first complaint, without what it puts around it. */
static enum status tell_first_error(const struct icectl *icectl, const struct arg_end *end)
{
    const struct arg_hdr *culprit = end->parent[0];
    char *text = NULL;
    size_t len = 0;
    FILE *out = open_memstream(&text, &len);
    enum status status;

    if (!out)
        return fail(icectl, STATUS_USAGE, "wrong usage");
    culprit->errorfn(end->parent[0], out, end->error[0], end->argval[0], "");
    fclose(out);
    text[strcspn(text, "\n")] = '\0';
    status = fail(icectl, STATUS_USAGE, "%s", text + strspn(text, ": "));
    free(text);
    return status;
}

static const struct arg_end *find_end(void **table)
{
    while (!(((const struct arg_hdr *)*table)->flag & ARG_TERMINATOR))
        table++;
    return *table;
}

void args_print_options(FILE *out, void **table)
{
    arg_print_glossary(out, table, "  %-24s %s\n");
}

enum status args_read(const struct icectl *icectl, int argc, char **argv, void **table)
{
    const struct arg_lit *help = table[0];
    const char *unknown;
    int errors;

    if (arg_nullcheck(table))
        return fail(icectl, STATUS_REFUSED, "no memory for the options");
    unknown = find_unknown(argc, argv, table);
    if (unknown)
        return fail(icectl, STATUS_USAGE, "unknown option %s", unknown);
    errors = arg_parse(argc, argv, table);
    if (errors && !help->count)
        return tell_first_error(icectl, find_end(table));
    return STATUS_DONE;
}

bool args_parse(const struct icectl *icectl, const struct command_entry *entry, int argc,
                char **argv, void **table, enum status *status)
{
    const struct arg_lit *help = table[0];

    *status = args_read(icectl, argc, argv, table);
    if (*status)
        return false;
    if (!help->count)
        return true;
    if (icectl->session) {
        *status = fail(icectl, STATUS_USAGE, "--help has no place in a batch");
        return false;
    }
    fprintf(icectl->out, "Usage: icectl %s%s%s\n%s\n", entry->name, *entry->synopsis ? " " : "",
            entry->synopsis, entry->help);
    args_print_options(icectl->out, table);
    return false;
}

/* ---- values ---- */

static enum status refuse(const struct icectl *icectl, const struct arg_str *option,
                          const struct ice_why *why)
{
    const char *name = option->hdr.longopts;

    if (!name)
        return fail(icectl, STATUS_USAGE, "%s %s", option->hdr.datatype, why->text);
    return fail(icectl, STATUS_USAGE, "--%.*s %s", (int)strcspn(name, ","), name, why->text);
}

enum status args_function(struct icectl *icectl, const struct arg_str *option)
{
    struct ice_why why;

    if (option->count == 0)
        return STATUS_DONE;
    icectl->function = option->sval[0];
    return parse_name(icectl->function, &why) ? refuse(icectl, option, &why) : STATUS_DONE;
}

enum status args_number(const struct icectl *icectl, const struct arg_str *option, uint64_t max,
                        uint64_t *value)
{
    struct ice_why why;

    if (option->count && parse_number(option->sval[0], max, value, &why))
        return refuse(icectl, option, &why);
    return STATUS_DONE;
}

enum status args_dun(const struct icectl *icectl, const struct arg_str *option, struct dun *dun)
{
    struct ice_why why;

    if (option->count && parse_dun(option->sval[0], dun, &why))
        return refuse(icectl, option, &why);
    return STATUS_DONE;
}

enum status args_size(const struct icectl *icectl, const struct arg_str *option, uint64_t *bytes)
{
    struct ice_why why;

    if (option->count && parse_size(option->sval[0], bytes, &why))
        return refuse(icectl, option, &why);
    return STATUS_DONE;
}

enum status args_slot(const struct icectl *icectl, const struct arg_str *option, uint32_t *slot)
{
    uint64_t number = *slot;
    enum status status = args_number(icectl, option, UINT32_MAX, &number);

    *slot = (uint32_t)number;
    return status;
}

enum status args_data_unit(const struct icectl *icectl, const struct arg_str *option,
                           uint32_t *bytes)
{
    uint64_t size = *bytes;
    struct ice_why why;
    enum status status = args_size(icectl, option, &size);

    if (status || !option->count)
        return status;
    if (!is_power_of_two(size) || size < DATA_UNIT_MIN || size > DATA_UNIT_WIRE_MAX) {
        why_set(&why, 1, "\"%.32s\" is not a power of two from 512 to 2G", option->sval[0]);
        return refuse(icectl, option, &why);
    }
    *bytes = (uint32_t)size;
    return STATUS_DONE;
}
