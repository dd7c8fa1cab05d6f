/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * io write. Where the input's length is known, the piece that the device would refuse goes first
 * and alone (plan_probe), so that a transfer that does not fit changes nothing. A piece whose DUN
 * or sector wraps is never followed before its answer is there.
 */
#include "base/bytes.h"
#include "base/units.h"
#include "commands.h"
#include "transfer.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

struct input {
    const char *name;
    int fd;
    bool seekable;
    uint64_t start; /* where the data begins, when seekable */
    uint64_t bytes; /* UINT64_MAX: until the end */
};

static enum status fail_input(const struct icectl *icectl, const struct input *input, int err)
{
    return fail_errno(icectl, STATUS_REFUSED, err, "%s: %s", input->name, strerror(err));
}

/* Files and block devices have a known length and are read at any place, pipes are not. */
static enum status measure_input(const struct icectl *icectl, struct input *input)
{
    struct stat st;
    off_t here, end;

    input->bytes = UINT64_MAX;
    if (fstat(input->fd, &st))
        return fail_input(icectl, input, errno);
    if (S_ISDIR(st.st_mode))
        return fail_input(icectl, input, EISDIR);
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return STATUS_DONE;
    here = lseek(input->fd, 0, SEEK_CUR);
    end = here < 0 ? -1 : lseek(input->fd, 0, SEEK_END);
    if (end < 0)
        return fail_input(icectl, input, errno);
    input->seekable = true;
    input->start = (uint64_t)here;
    input->bytes = end > here ? (uint64_t)(end - here) : 0;
    if (input->bytes % SECTOR_SIZE)
        return fail(icectl, STATUS_REFUSED, "%s: %llu bytes are no multiple of %u", input->name,
                    (unsigned long long)input->bytes, SECTOR_SIZE);
    return STATUS_DONE;
}

static enum status open_input(const struct icectl *icectl, const char *path, struct input *input)
{
    bool is_stdin = !strcmp(path, "-");

    *input = (struct input){.name = is_stdin ? "standard input" : path};
    input->fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (input->fd < 0)
        return fail_input(icectl, input, errno);
    return measure_input(icectl, input);
}

/* Fills up to `len` bytes of the input at `offset`; *got is less only at its end. */
static enum status read_input(const struct icectl *icectl, const struct input *input,
                              uint64_t offset, uint8_t *to, size_t len, size_t *got)
{
    for (*got = 0; *got < len;) {
        off_t at = (off_t)(input->start + offset + *got);
        ssize_t n = input->seekable ? pread(input->fd, to + *got, len - *got, at)
                                    : read(input->fd, to + *got, len - *got);

        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return fail_input(icectl, input, errno);
        if (n > 0)
            *got += (size_t)n;
    }
    return STATUS_DONE;
}

/* Waits for all lanes; the first failure is told, and none of the others. */
static enum status drain(struct transfer *transfer)
{
    enum status status = STATUS_DONE;

    for (unsigned i = 0; !status && i < RING_SIZE; i++)
        status = lane_wait(transfer, &transfer->ring[i]);
    return status;
}

/*
 * Reads piece `index` into `lane`, which is idle, and submits it. *ended: the input ended before it
 * was full, or just there.
 */
static enum status send_piece(struct transfer *transfer, const struct input *input,
                              struct lane *lane, uint64_t index, bool *ended)
{
    size_t got;
    enum status status;

    lane->piece = plan_piece(&transfer->plan, index);
    status = read_input(transfer->icectl, input, lane->piece.offset, lane->buffer, lane->piece.len,
                        &got);
    if (status)
        return status;
    *ended = got < lane->piece.len;
    if (*ended && input->seekable)
        return fail(transfer->icectl, STATUS_REFUSED, "%s became shorter while it was read",
                    input->name);
    if (got % SECTOR_SIZE)
        return fail(transfer->icectl, STATUS_REFUSED,
                    "%s: its end, %zu bytes, is no multiple of %u", input->name, got, SECTOR_SIZE);
    lane->piece.len = got;
    if (got > 0 || index == 0)
        lane_submit(transfer, lane);
    return STATUS_DONE;
}

/* Sends the piece that may not fit, alone, when there are others. */
static enum status send_probe(struct transfer *transfer, const struct input *input)
{
    const struct plan *plan = &transfer->plan;
    bool ended;
    enum status status;

    if (!input->seekable || plan_pieces(plan) == 1)
        return STATUS_DONE;
    if (plan_probe(plan) >= plan_named(plan))
        return fail_wrap(transfer->icectl, plan);
    status = send_piece(transfer, input, &transfer->ring[0], plan_probe(plan), &ended);
    return status ? status : lane_wait(transfer, &transfer->ring[0]);
}

/* All that can be named is written: a pipe may be at its end just there. */
static enum status expect_end(struct transfer *transfer, const struct input *input)
{
    size_t got = 1;
    enum status status = STATUS_DONE;

    if (!input->seekable)
        status = read_input(transfer->icectl, input, 0, transfer->ring[0].buffer, 1, &got);
    return status || !got ? status : fail_wrap(transfer->icectl, &transfer->plan);
}

static enum status write_all(struct transfer *transfer, const struct input *input)
{
    const struct plan *plan = &transfer->plan;
    uint64_t pieces = plan_named(plan), sent = UINT64_MAX;
    enum status status = send_probe(transfer, input);
    bool ended = false;

    if (input->seekable && plan_pieces(plan) > 1)
        sent = plan_probe(plan);
    for (uint64_t i = 0; !status && !ended && i < pieces; i++) {
        struct lane *lane = &transfer->ring[i % RING_SIZE];

        if (i == sent)
            continue;
        status = lane_wait(transfer, lane);
        if (!status)
            status = send_piece(transfer, input, lane, i, &ended);
    }
    if (!status)
        status = drain(transfer);
    if (!status && !ended && pieces < plan_pieces(plan))
        status = expect_end(transfer, input);
    return status;
}

struct write_args {
    struct arg_lit *help;
    struct arg_str *sector, *slot, *dun, *data_unit, *file;
    struct arg_end *end;
};

static enum status run(struct icectl *icectl, const struct write_args *args)
{
    const struct transfer_options options = {args->sector, args->slot, args->dun, args->data_unit};
    struct transfer transfer = {.icectl = icectl, .kind = COMMAND_WRITE};
    struct input input;
    enum status status = open_input(icectl, args->file->count ? args->file->sval[0] : "-", &input);

    if (!status)
        status = transfer_open(&transfer, &options, input.bytes);
    if (!status)
        status = write_all(&transfer, &input);
    transfer_close(&transfer);
    if (input.fd > STDIN_FILENO)
        close(input.fd);
    return status;
}

enum status command_io_write(struct icectl *icectl, const struct command_entry *entry, int argc,
                             char **argv)
{
    struct write_args args = {
        .help = arg_lit0(NULL, "help", "show this"),
        .sector = arg_str1(NULL, "sector", "SECTOR", "first sector"),
        .slot = arg_str0(NULL, "slot", "SLOT", "encrypt through this keyslot"),
        .dun = arg_str0(NULL, "dun", "DUN", "number of the first data unit"),
        .data_unit = arg_str0(NULL, "data-unit", "BYTES", "size of a data unit (the slot's)"),
        .file = arg_str0(NULL, NULL, "FILE", NULL),
        .end = arg_end(4),
    };
    enum status status;

    if (args_parse(icectl, entry, argc, argv, (void **)&args, &status))
        status = run(icectl, &args);
    arg_freetable((void **)&args, sizeof(args) / sizeof(void *));
    return status;
}
