/* SPDX-License-Identifier: BSD-2-Clause */
/* io read: requests run ahead in a ring, their data goes out in order. */
#include "base/bytes.h"
#include "base/units.h"
#include "commands.h"
#include "transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

/* Where the data goes. The file is opened with the first data: a refused read harms none. */
struct output {
    const char *path; /* NULL: standard output */
    int fd;           /* -1: not open */
    bool hex;         /* to icectl->out instead, as a JSON string: a batch's documents are text */
};

static enum status write_hex(const struct icectl *icectl, const uint8_t *bytes, size_t len)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < len; i++) {
        putc_unlocked(digits[bytes[i] >> 4], icectl->out);
        putc_unlocked(digits[bytes[i] & 15], icectl->out);
    }
    return STATUS_DONE;
}

static enum status write_out(const struct icectl *icectl, struct output *output,
                             const uint8_t *bytes, size_t len)
{
    const char *name = output->path ? output->path : "standard output";

    if (output->hex)
        return write_hex(icectl, bytes, len);
    if (output->fd < 0)
        output->fd = open(output->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (output->fd < 0)
        return fail_errno(icectl, STATUS_REFUSED, errno, "%s: %s", name, strerror(errno));
    while (len) {
        ssize_t written = write(output->fd, bytes, len);

        if (written < 0 && errno != EINTR)
            return fail_errno(icectl, STATUS_REFUSED, errno, "%s: %s", name, strerror(errno));
        if (written > 0) {
            bytes += written;
            len -= (size_t)written;
        }
    }
    return STATUS_DONE;
}

static enum status close_output(const struct icectl *icectl, const struct output *output)
{
    if (output->path && output->fd >= 0 && close(output->fd))
        return fail_errno(icectl, STATUS_REFUSED, errno, "%s: %s", output->path, strerror(errno));
    return STATUS_DONE;
}

static enum status read_all(struct transfer *transfer, struct output *output)
{
    const struct plan *plan = &transfer->plan;
    uint64_t pieces = plan_named(plan);
    uint64_t submitted = 0;
    enum status status = STATUS_DONE;

    if (plan_probe(plan) >= pieces)
        return fail_wrap(transfer->icectl, plan);
    for (uint64_t i = 0; !status && i < pieces; i++) {
        struct lane *lane;

        for (; submitted < pieces && submitted < i + RING_SIZE; submitted++) {
            lane = &transfer->ring[submitted % RING_SIZE];
            lane->piece = plan_piece(plan, submitted);
            lane_submit(transfer, lane);
        }
        lane = &transfer->ring[i % RING_SIZE];
        status = lane_wait(transfer, lane);
        if (!status)
            status = write_out(transfer->icectl, output, lane->buffer, lane->piece.len);
    }
    if (!status && pieces < plan_pieces(plan))
        status = fail_wrap(transfer->icectl, plan);
    return status;
}

struct read_args {
    struct arg_lit *help;
    struct arg_str *sector, *count, *slot, *dun, *data_unit, *output;
    struct arg_end *end;
};

static enum status run(struct icectl *icectl, const struct read_args *args)
{
    const struct transfer_options options = {args->sector, args->slot, args->dun, args->data_unit};
    struct transfer transfer = {.icectl = icectl, .kind = COMMAND_READ};
    const char *path = args->output->count ? args->output->sval[0] : "-";
    struct output output = {.path = path, .fd = -1};
    uint64_t count = 0;
    enum status status, closed;

    if (!strcmp(path, "-"))
        output = (struct output){.fd = STDOUT_FILENO, .hex = icectl->session};
    status = args_number(icectl, args->count, UINT64_MAX / SECTOR_SIZE, &count);
    if (!status)
        status = transfer_open(&transfer, &options, count * SECTOR_SIZE);
    if (output.hex)
        putc('"', icectl->out);
    if (!status)
        status = read_all(&transfer, &output);
    if (output.hex)
        putc('"', icectl->out);
    transfer_close(&transfer);
    closed = close_output(icectl, &output);
    return status ? status : closed;
}

enum status command_io_read(struct icectl *icectl, const struct command_entry *entry, int argc,
                            char **argv)
{
    struct read_args args = {
        .help = arg_lit0(NULL, "help", "show this"),
        .sector = arg_str1(NULL, "sector", "SECTOR", "first sector"),
        .count = arg_str1(NULL, "count", "COUNT", "sectors, of 512 bytes"),
        .slot = arg_str0(NULL, "slot", "SLOT", "decrypt through this keyslot"),
        .dun = arg_str0(NULL, "dun", "DUN", "number of the first data unit"),
        .data_unit = arg_str0(NULL, "data-unit", "BYTES", "size of a data unit (the slot's)"),
        .output = arg_str0("o", "output", "FILE", "where to (standard output)"),
        .end = arg_end(4),
    };
    enum status status;

    if (args_parse(icectl, entry, argc, argv, (void **)&args, &status))
        status = run(icectl, &args);
    arg_freetable((void **)&args, sizeof(args) / sizeof(void *));
    return status;
}
