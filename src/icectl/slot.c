/* SPDX-License-Identifier: BSD-2-Clause */
/* slot list, program, evict. Keys go in band, from the file's read(2) to the socket in secret
 * memory. */
#include "args.h"
#include "base/algorithm.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "base/units.h"
#include "commands.h"
#include "control.h"
#include "device.h"
#include "key_file.h"
#include "slot_rows.h"
#include "virtio/ice.h"

#include <inttypes.h>

#define DATA_UNIT_DEFAULT 4096u

/* ---- list ---- */

static void print_empty(FILE *out, uint64_t first, uint64_t end)
{
    char range[48];

    if (first == end)
        return;
    if (first + 1 == end)
        snprintf(range, sizeof(range), "%" PRIu64, first);
    else
        snprintf(range, sizeof(range), "%" PRIu64 "..%" PRIu64, first, end - 1);
    fprintf(out, "%-8s -\n", range);
}

/* Runs of empty slots share a line. */
static int print_rows(FILE *out, struct reader reader, struct ice_why *why)
{
    uint64_t rows, empty_from = 0, next = 0;
    int err = read_array(&reader, &rows, why);

    fprintf(out, "%-8s %-21s %-5s %-5s %-16s %s\n", "SLOT", "ALG", "UNIT", "KEY", "FINGERPRINT",
            "IN-FLIGHT");
    for (uint64_t i = 0; !err && i < rows; i++) {
        struct slot_row row;

        err = read_slot_row(&reader, &row, why);
        if (i == 0 || row.programmed) {
            print_empty(out, empty_from, next);
            empty_from = row.slot + row.programmed;
        }
        next = row.slot + 1;
        if (row.programmed)
            fprintf(out, "%-8" PRIu64 " %-21s %-5" PRIu64 " %-5s %-16s %" PRIu64 "%s%s\n", row.slot,
                    row.alg, row.data_unit, row.key_type, row.fingerprint, row.in_flight,
                    *row.owner ? " " : "", row.owner);
    }
    print_empty(out, empty_from, next);
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
        status =
            ask_control(icectl, MESSAGE_SLOT_LIST, true, (struct control_argument){0}, show_list);
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}

/* ---- program and evict ---- */

/* A key operation that was refused is 1, whatever the device's word for it. */
static enum status tell_key_operation(const struct icectl *icectl, enum status status,
                                      const struct ice_why *why)
{
    if (!status)
        return STATUS_DONE;
    return fail(icectl, status == STATUS_CONNECTION ? STATUS_CONNECTION : STATUS_REFUSED, "%s",
                why->text);
}

static enum status run_key_command(const struct icectl *icectl, const struct command *command)
{
    struct device device;
    struct ice_why why;
    enum status status = device_open(icectl, &device);

    if (status)
        return status;
    status = device_need(icectl, &device, VIRTIO_BLK_F_ICE_KEY_OPS, "in-band key operations");
    if (!status)
        status = tell_key_operation(icectl, exchange_run(&device, command, NULL, 0, NULL, 0, &why),
                                    &why);
    device_close(&device);
    return status;
}

struct program_args {
    struct arg_lit *help;
    struct arg_str *alg, *key_file, *data_unit, *slot;
    struct arg_end *end;
};

static enum status find_algorithm(const struct icectl *icectl, const char *name,
                                  const struct algorithm **algorithm)
{
    *algorithm = algorithm_by_name(name);
    if (*algorithm)
        return STATUS_DONE;
    return fail(icectl, STATUS_USAGE, "--alg \"%.32s\" is no algorithm; icectl caps lists them",
                name);
}

static enum status program(struct icectl *icectl, const struct program_args *args)
{
    struct command command = {.kind = COMMAND_KEY_PROGRAM};
    const struct algorithm *algorithm;
    uint32_t data_unit = DATA_UNIT_DEFAULT;
    struct ice_why why;
    uint8_t *key;
    enum status status = args_slot(icectl, args->slot, &command.slot);

    if (!status)
        status = find_algorithm(icectl, args->alg->sval[0], &algorithm);
    if (!status)
        status = args_data_unit(icectl, args->data_unit, &data_unit);
    if (status)
        return status;
    set_action(icectl, "slot program %u", command.slot);
    status = check_slot(icectl, command.slot);
    if (status)
        return status;
    key = read_key_file(args->key_file->sval[0], algorithm, &why);
    if (!key)
        return fail(icectl, STATUS_REFUSED, "%s", why.text);
    command.key = (struct command_key){
        .type = ICE_KEY_TYPE_RAW,
        .alg = algorithm->alg,
        .key_size = algorithm->key_size,
        .data_unit = data_unit,
        .len = algorithm->key_bytes,
        .bytes = key,
    };
    status = run_key_command(icectl, &command);
    secret_free(key);
    return status;
}

enum status command_slot_program(struct icectl *icectl, const struct command_entry *entry, int argc,
                                 char **argv)
{
    struct program_args args = {
        .help = arg_lit0(NULL, "help", "show this"),
        .alg = arg_str1(NULL, "alg", "ALG", "algorithm; icectl caps lists them"),
        .key_file = arg_str1(NULL, "key-file", "FILE|-", "the raw key, exactly its length"),
        .data_unit = arg_str0(NULL, "data-unit", "BYTES", "size of a data unit (4096)"),
        .slot = arg_str1(NULL, NULL, "SLOT", NULL),
        .end = arg_end(4),
    };
    enum status status;

    if (args_parse(icectl, entry, argc, argv, (void **)&args, &status))
        status = program(icectl, &args);
    arg_freetable((void **)&args, sizeof(args) / sizeof(void *));
    return status;
}

/* All that can be emptied is; the first refusal is told. */
static enum status evict_each(struct icectl *icectl, struct device *device)
{
    enum status result = STATUS_DONE;
    struct ice_why cause = {0};

    for (unsigned i = 0; result != STATUS_CONNECTION && i < device->config.max_slots; i++) {
        struct command command = {.kind = COMMAND_KEY_EVICT,
                                  .slot = device->config.slot_offset + i};
        struct ice_why why;
        enum status status = exchange_run(device, &command, NULL, 0, NULL, 0, &why);

        if (status == STATUS_CONNECTION || (status && !result)) {
            set_action(icectl, "slot evict %u", command.slot);
            result = status;
            cause = why;
        }
    }
    return tell_key_operation(icectl, result, &cause);
}

static enum status evict_all(struct icectl *icectl)
{
    struct device device;
    enum status status = device_open(icectl, &device);

    if (status)
        return status;
    status = device_need(icectl, &device, VIRTIO_BLK_F_ICE_KEY_OPS, "in-band key operations");
    if (!status)
        status = evict_each(icectl, &device);
    device_close(&device);
    return status;
}

struct evict_args {
    struct arg_lit *help, *all;
    struct arg_str *slot;
    struct arg_end *end;
};

static enum status evict(struct icectl *icectl, const struct evict_args *args)
{
    struct command command = {.kind = COMMAND_KEY_EVICT};
    enum status status;

    if (args->all->count + args->slot->count != 1)
        return fail(icectl, STATUS_USAGE, "either SLOT or --all is needed");
    if (args->all->count) {
        set_action(icectl, "slot evict --all");
        return evict_all(icectl);
    }
    status = args_slot(icectl, args->slot, &command.slot);
    if (status)
        return status;
    set_action(icectl, "slot evict %u", command.slot);
    status = check_slot(icectl, command.slot);
    return status ? status : run_key_command(icectl, &command);
}

enum status command_slot_evict(struct icectl *icectl, const struct command_entry *entry, int argc,
                               char **argv)
{
    struct evict_args args = {
        .help = arg_lit0(NULL, "help", "show this"),
        .all = arg_lit0(NULL, "all", "every slot of the function"),
        .slot = arg_str0(NULL, NULL, "SLOT", NULL),
        .end = arg_end(4),
    };
    enum status status;

    if (args_parse(icectl, entry, argc, argv, (void **)&args, &status))
        status = evict(icectl, &args);
    arg_freetable((void **)&args, sizeof(args) / sizeof(void *));
    return status;
}
