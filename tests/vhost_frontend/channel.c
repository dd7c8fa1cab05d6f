/* SPDX-License-Identifier: BSD-2-Clause */
/* A channel over a front end: one request at a time, copied to and from the guest's memory. */
#include "base/bytes.h"
#include "base/iov.h"
#include "base/secret.h"
#include "private.h"
#include "virtio/blk.h"
#include <errno.h>
#include <stdlib.h>

struct sync_channel {
    struct channel channel;
    struct frontend *frontend;
    pthread_mutex_t lock;
    uint8_t *readable, *writable; /* in guest memory */
    size_t room;
    struct frontend_request request;
    struct iovec parts[3]; /* readable, data, status */
    bool busy;             /* with `request`, perhaps since an earlier submit that failed */
    uint32_t written;
};

static struct sync_channel *of_channel(struct channel *channel)
{
    return CONTAINER_OF(channel, struct sync_channel, channel);
}

static void on_done(struct frontend_request *request, uint32_t written)
{
    struct sync_channel *sync = CONTAINER_OF(request, struct sync_channel, request);

    sync->busy = false;
    sync->written = written;
    secret_wipe(sync->readable, sync->parts[0].iov_len); /* perhaps a key */
}

static struct frontend_queue *find_queue(struct frontend *frontend, unsigned index)
{
    for (unsigned i = 0; i < frontend->queue_count; i++) {
        if (frontend->queues[i].index == index)
            return &frontend->queues[i];
    }
    return NULL;
}

static int finish(struct sync_channel *sync, struct frontend_queue *queue)
{
    int err = 0;

    while (!err && sync->busy) {
        err = frontend_wait(queue, sync->frontend->options.timeout_ms);
        frontend_poll(queue);
    }
    return err;
}

static int start(struct sync_channel *sync, struct frontend_queue *queue)
{
    while (frontend_submit(queue, &sync->request)) {
        int err = frontend_wait(queue, sync->frontend->options.timeout_ms);
        if (err)
            return err;
        frontend_poll(queue);
    }
    sync->busy = true;
    frontend_kick(queue);
    return 0;
}

static int exchange(struct sync_channel *sync, const struct ice_request *request, size_t in,
                    size_t out)
{
    struct frontend_queue *queue = find_queue(sync->frontend, request->queue);

    if (!queue)
        return -EINVAL;
    if (in > sync->room || out > sync->room || !in || !out)
        return -EMSGSIZE;
    int err = finish(sync, queue);
    if (err)
        return err;
    iov_gather(request->readable, request->nreadable, 0, sync->readable, in);
    sync->writable[out - 1] = 0xff;
    sync->parts[0] = (struct iovec){sync->readable, in};
    sync->parts[1] = (struct iovec){sync->writable, out - 1};
    sync->parts[2] = (struct iovec){sync->writable + out - 1, 1};
    sync->request = (struct frontend_request){
        .readable = sync->parts,
        .nreadable = 1,
        .writable = out > 1 ? sync->parts + 1 : sync->parts + 2,
        .nwritable = out > 1 ? 2 : 1,
        .done = on_done,
    };
    err = start(sync, queue);
    return err ? err : finish(sync, queue);
}

static void submit(struct channel *channel, struct ice_request *request)
{
    struct sync_channel *sync = of_channel(channel);
    size_t in = iov_length(request->readable, request->nreadable);
    size_t out = iov_length(request->writable, request->nwritable);
    struct ice_why why = {0};
    size_t written = 0;

    pthread_mutex_lock(&sync->lock);
    int err = exchange(sync, request, in, out);
    if (!err) {
        size_t from = sync->written == out ? 0 : out - 1;
        iov_scatter(request->writable, request->nwritable, from, sync->writable + from, out - from);
        written = sync->written;
    }
    pthread_mutex_unlock(&sync->lock);
    if (err)
        why_say_errno(&why, -err, "vhost-user");
    request->done(request, written, err ? &why : NULL);
}

static int config_read(struct channel *channel, uint32_t offset, void *buffer, uint32_t len,
                       struct ice_why *why)
{
    return frontend_read_config(of_channel(channel)->frontend, offset, buffer, len, why);
}

static const struct channel_ops ops = {
    .submit = submit,
    .config_read = config_read,
};

int frontend_channel(struct frontend *frontend, size_t room, struct channel **channel,
                     struct ice_why *why)
{
    struct function_config config;
    int err = frontend_config(frontend, &config, why);

    if (err)
        return err;
    if (!frontend->sync) {
        struct sync_channel *sync = calloc(1, sizeof(*sync));
        if (!sync)
            return why_set(why, ENOMEM, "no memory for a channel");
        frontend->sync = sync;
        pthread_mutex_init(&sync->lock, NULL);
        sync->frontend = frontend;
        sync->room = room + DIALECT_HEAD_MAX;
        sync->readable = frontend_alloc(frontend, sync->room, 16);
        sync->writable = frontend_alloc(frontend, sync->room, 16);
        if (!sync->readable || !sync->writable)
            return why_set(why, ENOMEM, "guest memory is used up");
    }
    frontend->sync->channel = (struct channel){
        .ops = &ops,
        .dialect = frontend->options.dialect,
        .features = frontend->features,
        .capacity = config.capacity,
        .control_queue = dialect_control_queue(frontend->features, config.num_queues),
    };
    *channel = &frontend->sync->channel;
    return 0;
}

void sync_channel_free(struct sync_channel *sync)
{
    if (!sync)
        return;
    pthread_mutex_destroy(&sync->lock);
    free(sync);
}
