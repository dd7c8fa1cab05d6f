/* SPDX-License-Identifier: BSD-2-Clause */
#include "transfer.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "base/units.h"
#include "slot_rows.h"

#include <errno.h>
#include <stdlib.h>

static enum status read_options(struct transfer *transfer, const struct transfer_options *options)
{
    const struct icectl *icectl = transfer->icectl;
    struct plan *plan = &transfer->plan;
    enum status status;

    if (options->slot->count != options->dun->count)
        return fail(icectl, STATUS_USAGE, "--slot and --dun are given together or not at all");
    if (options->data_unit->count && !options->slot->count)
        return fail(icectl, STATUS_USAGE, "--data-unit needs --slot");
    plan->tagged = options->slot->count;
    status = args_number(icectl, options->sector, UINT64_MAX, &plan->sector);
    if (!status)
        status = args_slot(icectl, options->slot, &transfer->slot);
    if (!status)
        status = args_dun(icectl, options->dun, &plan->dun);
    if (!status)
        status = args_data_unit(icectl, options->data_unit, &plan->data_unit);
    return status;
}

/* Whether the dialect can name the slot and the first DUN; the plan sees to the others. */
static enum status check_tag(struct transfer *transfer)
{
    const struct channel *channel = transfer->device.channel;
    struct command command = {
        .kind = transfer->kind,
        .tagged = true,
        .slot = transfer->slot,
        .dun = transfer->plan.dun,
    };
    struct ice_why why;

    if (!channel_has_crypto(channel))
        return fail(transfer->icectl, STATUS_REFUSED, "%s offers no inline crypto",
                    transfer->device.name.text);
    if (channel->dialect->can_send(channel->features, &command, &why))
        return fail_why(transfer->icectl, STATUS_REFUSED, &why);
    transfer->plan.dun_bits = channel->dialect->dun_bits;
    return STATUS_DONE;
}

/* What the device says that one request may carry. */
static uint64_t request_limit(const struct device *device)
{
    uint64_t limit = (uint64_t)device->config.size_max * device->config.seg_max;

    return limit >= SECTOR_SIZE ? min_u64(limit, REQUEST_MAX) : REQUEST_MAX;
}

/* The slot's unit, from the control socket; an empty slot gets any: it will be refused. */
static enum status ask_data_unit(struct transfer *transfer, uint32_t *data_unit)
{
    struct control_argument argument = argument_text("function", transfer->device.name.text);
    struct client *control;
    struct slot_row row;
    bool found;
    struct ice_why why;
    uint8_t *bytes = NULL;
    size_t len;
    int err =
        connect_socket(transfer->icectl, "control", transfer->icectl->timeout_ms, &control, &why);

    if (err)
        return fail(transfer->icectl, STATUS_CONNECTION,
                    "slot %u's data unit is not to be learned (give --data-unit): %s",
                    transfer->slot, why.text);
    err = control_call(control, MESSAGE_SLOT_LIST, &argument, 1, &bytes, &len, &why);
    if (!err)
        err =
            find_slot_row((struct reader){bytes, bytes + len}, transfer->slot, &row, &found, &why);
    secret_free(bytes);
    if (err) {
        enum status status = fail_call(transfer->icectl, control, err, &why);
        client_close(control);
        return status;
    }
    client_close(control);
    *data_unit = DATA_UNIT_MIN;
    if (found && row.data_unit > DATA_UNIT_MIN)
        *data_unit = (uint32_t)min_u64(row.data_unit, UINT32_MAX);
    return STATUS_DONE;
}

/* The data unit matters only where there is more than one request. */
static enum status make_plan(struct transfer *transfer, uint64_t bytes)
{
    struct plan *plan = &transfer->plan;
    uint64_t limit = request_limit(&transfer->device);

    plan->bytes = bytes;
    if (plan->tagged && plan->data_unit == 0 && bytes > limit) {
        enum status status = ask_data_unit(transfer, &plan->data_unit);
        if (status)
            return status;
    }
    if (plan->data_unit == 0)
        plan->data_unit = DATA_UNIT_MIN;
    plan->piece_bytes = plan_piece_bytes(limit, plan->data_unit);
    return STATUS_DONE;
}

/* As many lanes as there are pieces, each with a buffer no larger than the transfer. */
static enum status open_lanes(struct transfer *transfer)
{
    uint64_t pieces = plan_pieces(&transfer->plan);
    size_t bytes = min_u64(transfer->plan.piece_bytes, transfer->plan.bytes);

    for (unsigned i = 0; i < RING_SIZE && i < pieces; i++) {
        struct lane *lane = &transfer->ring[i];
        struct ice_why why;

        if (exchange_init(&lane->exchange, &why))
            return fail_why(transfer->icectl, STATUS_REFUSED, &why);
        lane->buffer = malloc(bytes ? bytes : 1);
        if (!lane->buffer)
            return fail(transfer->icectl, STATUS_REFUSED, "no memory for %zu bytes", bytes);
    }
    return STATUS_DONE;
}

enum status transfer_open(struct transfer *transfer, const struct transfer_options *options,
                          uint64_t bytes)
{
    enum status status = read_options(transfer, options);

    if (!status)
        status = device_open(transfer->icectl, &transfer->device);
    if (!status && transfer->plan.tagged)
        status = check_tag(transfer);
    if (!status)
        status = make_plan(transfer, bytes);
    return status ? status : open_lanes(transfer);
}

void transfer_close(struct transfer *transfer)
{
    /* Closing first ends what is still in flight in the buffers. */
    device_close(&transfer->device);
    for (unsigned i = 0; i < RING_SIZE; i++) {
        exchange_free(&transfer->ring[i].exchange);
        free(transfer->ring[i].buffer);
    }
}

enum status fail_wrap(const struct icectl *icectl, const struct plan *plan)
{
    return fail(icectl, STATUS_REFUSED,
                "from byte %llu of the data on, the sector or the DUN is too wide to be named",
                (unsigned long long)plan_wrap(plan));
}

void lane_submit(struct transfer *transfer, struct lane *lane)
{
    struct command command = {
        .kind = transfer->kind,
        .sector = lane->piece.sector,
        .tagged = transfer->plan.tagged,
        .slot = transfer->plan.tagged ? transfer->slot : 0,
        .dun = lane->piece.dun,
    };
    bool write = transfer->kind == COMMAND_WRITE;

    lane->busy = true;
    exchange_submit(&transfer->device, &lane->exchange, &command, write ? lane->buffer : NULL,
                    write ? lane->piece.len : 0, write ? NULL : lane->buffer,
                    write ? 0 : lane->piece.len);
}

enum status lane_wait(struct transfer *transfer, struct lane *lane)
{
    enum status status;

    if (!lane->busy)
        return STATUS_DONE;
    lane->busy = false;
    status = exchange_wait(&transfer->device, &lane->exchange);
    if (status)
        return fail_errno(transfer->icectl, status, lane->exchange.why.err, "sector %llu: %s",
                          (unsigned long long)lane->piece.sector, lane->exchange.why.text);
    return STATUS_DONE;
}
