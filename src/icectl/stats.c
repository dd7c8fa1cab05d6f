/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counters as the server names them; those of an inner map go by "outer.inner", and are not shown
 * to people at 0: there are many.
 */
#include "args.h"
#include "base/bytes.h"
#include "commands.h"
#include "control.h"

#include <inttypes.h>

static int print_counter(FILE *out, const char *group, const char *key, size_t len,
                         struct reader *reader, struct ice_why *why)
{
    char name[2 * FRAME_KEY_MAX];
    uint64_t value;
    int err = read_uint(reader, UINT64_MAX, &value, why);

    if (err)
        return err;
    snprintf(name, sizeof(name), "%s%s%.*s", group, *group ? "." : "",
             (int)min_u64(len, FRAME_KEY_MAX), key);
    if (value || !*group)
        fprintf(out, "%-32s %" PRIu64 "\n", name, value);
    return 0;
}

static int print_group(FILE *out, const char *key, size_t len, struct reader *reader,
                       struct ice_why *why)
{
    char group[FRAME_KEY_MAX + 1];
    uint64_t pairs;
    int err = read_map(reader, &pairs, why);

    snprintf(group, sizeof(group), "%.*s", (int)min_u64(len, FRAME_KEY_MAX), key);
    for (; !err && pairs; pairs--) {
        err = read_text(reader, &key, &len, why);
        if (!err)
            err = print_counter(out, group, key, len, reader, why);
    }
    return err;
}

static int print_text(FILE *out, struct reader reader, struct ice_why *why)
{
    uint64_t pairs;
    int err = read_map(&reader, &pairs, why);

    for (; !err && pairs; pairs--) {
        struct reader peek;
        struct item item;
        const char *key;
        size_t len;

        err = read_text(&reader, &key, &len, why);
        if (err)
            break;
        peek = reader;
        if (reader_next_head(&peek, &item) == READ_OK && item.type == ITEM_MAP)
            err = print_group(out, key, len, &reader, why);
        else
            err = print_counter(out, "", key, len, &reader, why);
    }
    return err;
}

static int show(const struct icectl *icectl, struct reader result, struct ice_why *why)
{
    return icectl->json ? print_item(icectl, result, why) : print_text(icectl->out, result, why);
}

enum status command_stats(struct icectl *icectl, const struct command_entry *entry, int argc,
                          char **argv)
{
    void *table[] = {arg_lit0(NULL, "help", "show this"), arg_end(4)};
    enum status status;

    if (args_parse(icectl, entry, argc, argv, table, &status))
        status = ask_control(icectl, MESSAGE_STATS, true, (struct control_argument){0}, show);
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}
