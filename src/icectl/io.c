/* SPDX-License-Identifier: BSD-2-Clause */
/* The requests that carry little: flush, id, lifetime, discard, zero, erase. */
#include "args.h"
#include "base/bytes.h"
#include "base/units.h"
#include "commands.h"
#include "transfer.h"
#include "virtio/blk.h"

#include <inttypes.h>

/* What to do with `len` bytes that the device answered. */
typedef int show_function(const struct icectl *icectl, const uint8_t *bytes, struct ice_why *why);

/* A command without options: one request, whose answer of `len` bytes (at most 20) is shown. */
static enum status run_simple(struct icectl *icectl, const struct command_entry *entry, int argc,
                              char **argv, enum command_kind kind, size_t len, show_function *show)
{
    void *table[] = {arg_lit0(NULL, "help", "show this"), arg_end(4)};
    struct command command = {.kind = kind};
    uint8_t answer[VIRTIO_BLK_ID_BYTES];
    struct device device;
    struct ice_why why;
    enum status status;

    if (args_parse(icectl, entry, argc, argv, table, &status)) {
        status = device_open(icectl, &device);
        if (!status) {
            status = exchange_run(&device, &command, NULL, 0, answer, len, &why);
            if (!status && show && show(icectl, answer, &why))
                status = STATUS_REFUSED;
            if (status)
                fail_why(icectl, status, &why);
            device_close(&device);
        }
    }
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}

enum status command_io_flush(struct icectl *icectl, const struct command_entry *entry, int argc,
                             char **argv)
{
    return run_simple(icectl, entry, argc, argv, COMMAND_FLUSH, 0, NULL);
}

static int show_id(const struct icectl *icectl, const uint8_t *bytes, struct ice_why *why)
{
    size_t len = strnlen((const char *)bytes, VIRTIO_BLK_ID_BYTES);
    struct json *json;

    if (!icectl->json) {
        fprintf(icectl->out, "%.*s\n", (int)len, (const char *)bytes);
        return 0;
    }
    json = json_new();
    json_object_open(json, NULL);
    json_string_n(json, "id", (const char *)bytes, len);
    json_object_close(json);
    return print_json(icectl, json, why);
}

enum status command_io_id(struct icectl *icectl, const struct command_entry *entry, int argc,
                          char **argv)
{
    return run_simple(icectl, entry, argc, argv, COMMAND_GET_ID, VIRTIO_BLK_ID_BYTES, show_id);
}

static int show_lifetime(const struct icectl *icectl, const uint8_t *bytes, struct ice_why *why)
{
    static const struct {
        const char *name;
        size_t at;
    } fields[] = {
        {"pre_eol_info", offsetof(struct virtio_blk_lifetime, pre_eol_info)},
        {"typ_a", offsetof(struct virtio_blk_lifetime, device_lifetime_est_typ_a)},
        {"typ_b", offsetof(struct virtio_blk_lifetime, device_lifetime_est_typ_b)},
    };
    struct json *json = icectl->json ? json_new() : NULL;

    json_object_open(json, NULL);
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
        uint16_t value = load_le16(bytes + fields[i].at);

        json_number(json, fields[i].name, value);
        if (!icectl->json)
            fprintf(icectl->out, "%-12s %u\n", fields[i].name, value);
    }
    json_object_close(json);
    return icectl->json ? print_json(icectl, json, why) : 0;
}

enum status command_io_lifetime(struct icectl *icectl, const struct command_entry *entry, int argc,
                                char **argv)
{
    return run_simple(icectl, entry, argc, argv, COMMAND_GET_LIFETIME,
                      sizeof(struct virtio_blk_lifetime), show_lifetime);
}

/* ---- discard, zero, erase ---- */

static enum command_kind range_kind(const struct command_entry *entry)
{
    return !strcmp(entry->name, "io discard") ? COMMAND_DISCARD
           : !strcmp(entry->name, "io zero")  ? COMMAND_WRITE_ZEROES
                                              : COMMAND_SECURE_ERASE;
}

static enum status run_segment(const struct icectl *icectl, struct device *device,
                               enum command_kind kind, const struct piece *piece)
{
    struct command command = {.kind = kind};
    uint8_t segment[sizeof(struct virtio_blk_segment)] = {0};
    struct ice_why why;
    enum status status;

    store_le64(segment + offsetof(struct virtio_blk_segment, sector), piece->sector);
    store_le32(segment + offsetof(struct virtio_blk_segment, num_sectors),
               (uint32_t)(piece->len / SECTOR_SIZE));
    status = exchange_run(device, &command, segment, sizeof(segment), NULL, 0, &why);
    if (status)
        return fail_errno(icectl, status, why.err, "sector %" PRIu64 ": %s", piece->sector,
                          why.text);
    return STATUS_DONE;
}

/* As for writes, the segment that may not fit goes first. */
static enum status run_segments(const struct icectl *icectl, struct device *device,
                                enum command_kind kind, const struct plan *plan)
{
    uint64_t probe = plan_probe(plan);
    struct piece piece = plan_piece(plan, probe);
    enum status status;

    if (probe >= plan_named(plan))
        return fail_wrap(icectl, plan);
    status = run_segment(icectl, device, kind, &piece);
    for (uint64_t i = 0; !status && i < plan_named(plan); i++) {
        piece = plan_piece(plan, i);
        if (i != probe)
            status = run_segment(icectl, device, kind, &piece);
    }
    if (!status && plan_named(plan) < plan_pieces(plan))
        status = fail_wrap(icectl, plan);
    return status;
}

struct range_args {
    struct arg_lit *help;
    struct arg_str *sector, *count;
    struct arg_end *end;
};

static enum status run_range(struct icectl *icectl, const struct range_args *args,
                             enum command_kind kind)
{
    struct plan plan = {0};
    struct device device;
    uint64_t count = 0, most;
    enum status status = args_number(icectl, args->sector, UINT64_MAX, &plan.sector);

    if (!status)
        status = args_number(icectl, args->count, UINT64_MAX / SECTOR_SIZE, &count);
    if (!status)
        status = device_open(icectl, &device);
    if (status)
        return status;
    most = device.config.max_segment_sectors ? device.config.max_segment_sectors : UINT32_MAX;
    plan.bytes = count * SECTOR_SIZE;
    plan.piece_bytes = most * SECTOR_SIZE;
    status = run_segments(icectl, &device, kind, &plan);
    device_close(&device);
    return status;
}

enum status command_io_range(struct icectl *icectl, const struct command_entry *entry, int argc,
                             char **argv)
{
    struct range_args args = {
        .help = arg_lit0(NULL, "help", "show this"),
        .sector = arg_str1(NULL, "sector", "SECTOR", "first sector"),
        .count = arg_str1(NULL, "count", "COUNT", "sectors, of 512 bytes"),
        .end = arg_end(4),
    };
    enum status status;

    if (args_parse(icectl, entry, argc, argv, (void **)&args, &status))
        status = run_range(icectl, &args, range_kind(entry));
    arg_freetable((void **)&args, sizeof(args) / sizeof(void *));
    return status;
}
