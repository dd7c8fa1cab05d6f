/* SPDX-License-Identifier: BSD-2-Clause */
/* The request stands in the caller's stack frame until it is done. */
#include "exchange.h"
#include "base/bytes.h"
#include "base/completion.h"
#include "virtio/blk.h"
#include <errno.h>

struct wait {
    struct ice_request request;
    struct completion done;
    size_t written;
    struct ice_why why;
};

static void done(struct ice_request *request, size_t written, const struct ice_why *why)
{
    struct wait *wait = CONTAINER_OF(request, struct wait, request);

    wait->written = written;
    if (why)
        wait->why = *why;
    completion_done(&wait->done);
}

static int result(const struct wait *wait, uint8_t status, struct ice_why *why)
{
    if (wait->why.err)
        return why_set(why, wait->why.err, "%s", wait->why.text);
    if (!wait->written)
        return why_set(why, EIO, "the device gave no answer");
    switch (status) {
    case VIRTIO_BLK_S_OK:
        return 0;
    case VIRTIO_BLK_S_UNSUPP:
        return why_set(why, EOPNOTSUPP, "the device answered UNSUPP");
    default:
        return why_set(why, EIO, "the device answered status %u", status);
    }
}

int channel_exchange(struct channel *channel, const struct exchange *exchange, struct ice_why *why)
{
    size_t head = channel->dialect->build(channel->features, exchange->command, exchange->head);
    uint8_t status = VIRTIO_BLK_S_IOERR;
    struct iovec readable[] = {{exchange->head, head}, {(void *)exchange->out, exchange->out_len}};
    struct iovec writable[] = {{exchange->in, exchange->in_len}, {&status, 1}};
    struct wait wait;

    wait.request = (struct ice_request){
        .readable = readable,
        .nreadable = exchange->out_len ? 2 : 1,
        .writable = exchange->in_len ? writable : writable + 1,
        .nwritable = exchange->in_len ? 2 : 1,
        .queue = channel_queue(channel, exchange->command->kind),
        .expect = exchange->expect,
        .claim = exchange->claim,
        .done = done,
    };
    wait.why.err = 0;
    completion_init(&wait.done);
    channel_submit(channel, &wait.request);
    completion_wait(&wait.done);
    return result(&wait, status, why);
}
