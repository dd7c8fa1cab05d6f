/* SPDX-License-Identifier: BSD-2-Clause */
/* slot list, program, evict. Keys stay in secret memory from the file's read(2) to the socket. */
#include "args.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "commands.h"
#include "control.h"
#include "key_options.h"
#include "key_path.h"
#include "slot_rows.h"
#include "virtio/ice.h"

#include <inttypes.h>

/* ---- list ---- */

struct listing {
    FILE *out;
    bool physical; /* with a column of its own, as it differs */
};

/* "3", or "3..7" */
static void print_range(FILE *out, uint64_t first, uint64_t last)
{
    char range[48];

    if (first == last)
        snprintf(range, sizeof(range), "%" PRIu64, first);
    else
        snprintf(range, sizeof(range), "%" PRIu64 "..%" PRIu64, first, last);
    fprintf(out, "%-8s ", range);
}

/* From one row to another, with what the engine calls them. */
static void print_slots(const struct listing *listing, const struct slot_row *first,
                        const struct slot_row *last)
{
    print_range(listing->out, first->slot, last->slot);
    if (listing->physical)
        print_range(listing->out, first->physical, last->physical);
}

static void print_programmed(const struct listing *listing, const struct slot_row *row)
{
    print_slots(listing, row, row);
    fprintf(listing->out, "%-21s %-5" PRIu64 " %-7s %-16s %" PRIu64 "%s%s%s\n", row->alg,
            row->data_unit, row->key_type, row->fingerprint, row->in_flight,
            *row->owner ? " (" : "", row->owner, *row->owner ? ")" : "");
}

static void print_head(const struct listing *listing)
{
    fprintf(listing->out, "%-8s ", "SLOT");
    if (listing->physical)
        fprintf(listing->out, "%-8s ", "PHYSICAL");
    fprintf(listing->out, "%-21s %-5s %-7s %-16s %s\n", "ALG", "UNIT", "KEY", "FINGERPRINT",
            "IN-FLIGHT");
}

/* Runs of empty slots share a line. */
static int print_rows(FILE *out, struct reader reader, struct ice_why *why)
{
    struct listing listing = {.out = out};
    struct slot_row row, first = {0}, last = {0}; /* of the run */
    bool empty = false;
    uint64_t rows;
    int err = read_array(&reader, &rows, why);

    for (uint64_t i = 0; !err && i < rows; i++) {
        err = read_slot_row(&reader, &row, why);
        if (err)
            break;
        if (i == 0) {
            listing.physical = row.physical != row.slot;
            print_head(&listing);
        }
        if (empty && row.programmed) {
            print_slots(&listing, &first, &last);
            fputs("-\n", out);
        }
        if (row.programmed)
            print_programmed(&listing, &row);
        else if (!empty)
            first = row;
        empty = !row.programmed;
        last = row;
    }
    if (!err && empty) {
        print_slots(&listing, &first, &last);
        fputs("-\n", out);
    }
    return err;
}

static int show_list(const struct icectl *icectl, struct reader result, struct ice_why *why)
{
    return icectl->json ? print_item(icectl, result, why) : print_rows(icectl->out, result, why);
}

enum status command_slot_list(struct icectl *icectl, const struct command_entry *entry, int argc,
                              char **argv)
{
    void *table[] = {arg_lit0(NULL, "help", "show this"), arg_end(4)};
    enum status status;

    if (args_parse(icectl, entry, argc, argv, table, &status))
        status = ask_control(icectl, MESSAGE_SLOT_LIST, true, NULL, 0, show_list);
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}

/* ---- program ---- */

struct program_args {
    struct arg_lit *help;
    struct key_options key;
    struct arg_str *via, *slot;
    struct arg_end *end;
};

static enum status program_by(struct icectl *icectl, enum via via, uint32_t slot,
                              const struct command_key *key)
{
    struct key_path path;
    struct ice_why why;
    enum status status = key_path_open(icectl, via, &path);

    if (status)
        return status;
    status = tell_key_operation(icectl, key_path_program(&path, slot, key, &why), &why);
    key_path_close(&path);
    return status;
}

static enum status program(struct icectl *icectl, const struct program_args *args)
{
    const struct algorithm *algorithm;
    struct command_key key = {0};
    enum via via = VIA_EITHER;
    uint32_t slot = 0;
    size_t len;
    struct ice_why why;
    uint8_t *bytes;
    enum status status = args_slot(icectl, args->slot, &slot);

    if (!status)
        status = read_key_options(icectl, &args->key, &algorithm, &key.data_unit);
    if (!status)
        status = read_via(icectl, args->via, &via);
    if (status)
        return status;
    set_action(icectl, "slot program %u", slot);
    bytes = read_key(&args->key, algorithm, &len, &why);
    if (!bytes)
        return fail_why(icectl, STATUS_REFUSED, &why);
    key.type = args->key.wrapped->count ? ICE_KEY_TYPE_WRAPPED : ICE_KEY_TYPE_RAW;
    key.alg = algorithm->alg;
    key.key_size = algorithm->key_size;
    key.bytes = bytes;
    key.len = (uint16_t)len;
    status = program_by(icectl, via, slot, &key);
    secret_free(bytes);
    return status;
}

enum status command_slot_program(struct icectl *icectl, const struct command_entry *entry, int argc,
                                 char **argv)
{
    struct program_args args = {
        .help = arg_lit0(NULL, "help", "show this"),
        .key = KEY_OPTIONS,
        .via = arg_str0(NULL, "via", "PATH", "in-band or out-of-band"),
        .slot = arg_str1(NULL, NULL, "SLOT", NULL),
        .end = arg_end(4),
    };
    enum status status;

    if (args_parse(icectl, entry, argc, argv, (void **)&args, &status))
        status = program(icectl, &args);
    arg_freetable((void **)&args, sizeof(args) / sizeof(void *));
    return status;
}

/* ---- evict ---- */

struct evict_args {
    struct arg_lit *help, *all;
    struct arg_str *slot, *via;
    struct arg_end *end;
};

static enum status evict_by(struct icectl *icectl, enum via via, const uint32_t *slot)
{
    struct key_path path;
    struct ice_why why;
    uint32_t culprit;
    enum status status = key_path_open(icectl, via, &path);

    if (status)
        return status;
    if (slot)
        status = key_path_evict(&path, *slot, &why);
    else
        status = key_path_evict_all(&path, &culprit, &why);
    if (status && !slot)
        set_action(icectl, "slot evict %u", culprit);
    status = tell_key_operation(icectl, status, &why);
    key_path_close(&path);
    return status;
}

static enum status evict(struct icectl *icectl, const struct evict_args *args)
{
    enum via via = VIA_EITHER;
    uint32_t slot = 0;
    enum status status = read_via(icectl, args->via, &via);

    if (status)
        return status;
    if (args->all->count + args->slot->count != 1)
        return fail(icectl, STATUS_USAGE, "either SLOT or --all is needed");
    if (args->all->count) {
        set_action(icectl, "slot evict --all");
        return evict_by(icectl, via, NULL);
    }
    status = args_slot(icectl, args->slot, &slot);
    if (status)
        return status;
    set_action(icectl, "slot evict %u", slot);
    return evict_by(icectl, via, &slot);
}

enum status command_slot_evict(struct icectl *icectl, const struct command_entry *entry, int argc,
                               char **argv)
{
    struct evict_args args = {
        .help = arg_lit0(NULL, "help", "show this"),
        .all = arg_lit0(NULL, "all", "every slot of the function"),
        .slot = arg_str0(NULL, NULL, "SLOT", NULL),
        .via = arg_str0(NULL, "via", "PATH", "in-band or out-of-band"),
        .end = arg_end(4),
    };
    enum status status;

    if (args_parse(icectl, entry, argc, argv, (void **)&args, &status))
        status = evict(icectl, &args);
    arg_freetable((void **)&args, sizeof(args) / sizeof(void *));
    return status;
}
