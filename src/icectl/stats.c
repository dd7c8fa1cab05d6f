/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counters as the server names them; those of an inner map go by "outer.inner", and are not shown
 * to people at 0: there are many. Nor is null. Keys and slots of a profile are a table each.
 */
#include "args.h"
#include "base/bytes.h"
#include "commands.h"
#include "control.h"
#include "fields.h"

#include <inttypes.h>
#include <stdarg.h>

static enum item_type next_type(struct reader reader)
{
    struct item item;

    return reader_next_head(&reader, &item) == READ_OK ? item.type : ITEM_NULL;
}

static int print_counter(FILE *out, const char *name, bool inner, struct reader *reader,
                         struct ice_why *why)
{
    uint64_t value;
    int err = read_uint(reader, UINT64_MAX, &value, why);

    if (!err && (value || !inner))
        fprintf(out, "%-32s %" PRIu64 "\n", name, value);
    return err;
}

static int print_flag(FILE *out, const char *name, struct reader *reader, struct ice_why *why)
{
    bool value;
    int err = read_bool(reader, &value, why);

    if (!err)
        fprintf(out, "%-32s %s\n", name, value ? "yes" : "no");
    return err;
}

static int print_group(FILE *out, const char *group, unsigned depth, struct reader *reader,
                       struct ice_why *why);

/* A value of a group: a counter, a flag, or a group again, `depth` more at most. */
static int print_inner(FILE *out, const char *name, unsigned depth, struct reader *reader,
                       struct ice_why *why)
{
    enum item_type type = next_type(*reader);

    if (type == ITEM_BOOL)
        return print_flag(out, name, reader, why);
    if (type == ITEM_MAP && depth)
        return print_group(out, name, depth - 1, reader, why);
    return print_counter(out, name, true, reader, why);
}

static int print_group(FILE *out, const char *group, unsigned depth, struct reader *reader,
                       struct ice_why *why)
{
    char name[4 * FRAME_KEY_MAX];
    uint64_t pairs;
    int err = read_map(reader, &pairs, why);

    for (; !err && pairs; pairs--) {
        const char *key;
        size_t len;

        err = read_text(reader, &key, &len, why);
        if (err)
            break;
        snprintf(name, sizeof(name), "%s.%.*s", group, (int)min_u64(len, FRAME_KEY_MAX), key);
        err = print_inner(out, name, depth, reader, why);
    }
    return err;
}

/* ---- tables ---- */

struct counts {
    uint64_t hits, misses, programs, evictions, waits;
};

/* After what there is, a blank line. */
__attribute__((format(printf, 2, 3))) static void print_head(FILE *out, const char *fmt, ...)
{
    va_list args;

    if (ftell(out) > 0)
        fputc('\n', out);
    va_start(args, fmt);
    vfprintf(out, fmt, args);
    va_end(args);
}

static int print_key(FILE *out, struct reader *reader, struct ice_why *why)
{
    char view[CELL] = "", path[CELL] = "";
    struct counts c = {0};
    uint64_t fallbacks = 0;
    const struct field fields[] = {
        FIELD_TEXT("view", view),
        FIELD_TEXT("path", path),
        FIELD_NUMBER("hits", c.hits),
        FIELD_NUMBER("misses", c.misses),
        FIELD_NUMBER("programs", c.programs),
        FIELD_NUMBER("evictions", c.evictions),
        FIELD_NUMBER("waits", c.waits),
        FIELD_NUMBER("fallbacks", fallbacks),
    };
    int err = read_fields(reader, fields, ARRAY_SIZE(fields), why);

    if (!err)
        fprintf(out,
                "%-15s %-8s %-10" PRIu64 " %-10" PRIu64 " %-10" PRIu64 " %-10" PRIu64 " %-10" PRIu64
                " %" PRIu64 "\n",
                view, path, c.hits, c.misses, c.programs, c.evictions, c.waits, fallbacks);
    return err;
}

/* Not those that no key was in. */
static int print_slot(FILE *out, struct reader *reader, bool *headed, struct ice_why *why)
{
    char fingerprint[CELL] = "-";
    struct counts c = {0};
    uint64_t slot = 0, references = 0;
    const struct field fields[] = {
        FIELD_NUMBER("slot", slot),           FIELD_TEXT("fingerprint", fingerprint),
        FIELD_NUMBER("hits", c.hits),         FIELD_NUMBER("misses", c.misses),
        FIELD_NUMBER("programs", c.programs), FIELD_NUMBER("evictions", c.evictions),
        FIELD_NUMBER("waits", c.waits),       FIELD_NUMBER("references", references),
    };
    int err = read_fields(reader, fields, ARRAY_SIZE(fields), why);

    if (err || !c.programs)
        return err;
    if (!*headed)
        print_head(out, "%-6s %-17s %-10s %-10s %-10s %-10s %-10s %s\n", "SLOT", "FINGERPRINT",
                   "HITS", "MISSES", "PROGRAMS", "EVICTIONS", "WAITS", "REFERENCES");
    *headed = true;
    fprintf(out,
            "%-6" PRIu64 " %-17s %-10" PRIu64 " %-10" PRIu64 " %-10" PRIu64 " %-10" PRIu64
            " %-10" PRIu64 " %" PRIu64 "\n",
            slot, fingerprint, c.hits, c.misses, c.programs, c.evictions, c.waits, references);
    return 0;
}

static int print_keys(FILE *out, struct reader *reader, struct ice_why *why)
{
    uint64_t rows;
    int err = read_array(reader, &rows, why);

    if (!err && rows)
        print_head(out, "%-15s %-8s %-10s %-10s %-10s %-10s %-10s %s\n", "VIEW", "PATH", "HITS",
                   "MISSES", "PROGRAMS", "EVICTIONS", "WAITS", "FALLBACKS");
    for (; !err && rows; rows--)
        err = print_key(out, reader, why);
    return err;
}

static int print_slots(FILE *out, struct reader *reader, struct ice_why *why)
{
    uint64_t rows;
    bool headed = false;
    int err = read_array(reader, &rows, why);

    for (; !err && rows; rows--)
        err = print_slot(out, reader, &headed, why);
    return err;
}

/* ---- all ---- */

static int print_value(FILE *out, const char *key, size_t len, struct reader *reader,
                       struct ice_why *why)
{
    enum item_type type = next_type(*reader);
    char name[FRAME_KEY_MAX + 1];

    snprintf(name, sizeof(name), "%.*s", (int)min_u64(len, FRAME_KEY_MAX), key);
    if (type == ITEM_MAP)
        return print_group(out, name, 1, reader, why);
    if (type == ITEM_NULL)
        return read_skip(reader, why);
    if (len == strlen("keys") && !memcmp(key, "keys", len))
        return print_keys(out, reader, why);
    if (len == strlen("profile_slots") && !memcmp(key, "profile_slots", len))
        return print_slots(out, reader, why);
    return print_counter(out, name, false, reader, why);
}

static int print_text(FILE *out, struct reader reader, struct ice_why *why)
{
    uint64_t pairs;
    int err = read_map(&reader, &pairs, why);

    for (; !err && pairs; pairs--) {
        const char *key;
        size_t len;

        err = read_text(&reader, &key, &len, why);
        if (!err)
            err = print_value(out, key, len, &reader, why);
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
        status = ask_control(icectl, MESSAGE_STATS, true, NULL, 0, show);
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}
