/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The driver's end of an attachment in this process. Events may not call back into the device, so
 * they only raise a counter; whoever submits next sees that it moved and catches up, under a lock
 * that nobody takes otherwise. Of a disk, engine generations are the disk's affair: it is told of
 * them, and acknowledges when its keys are in their slots again.
 */
#include "inproc.h"
#include "base/bytes.h"
#include "base/log.h"
#include "blkcrypto/context.h"
#include "blkcrypto/native.h"
#include "virtio/virtio.h"
#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct inproc {
    struct channel channel;
    struct ice_function *function;
    struct ice_attachment *attachment;
    atomic_uint told;      /* events so far */
    atomic_uint caught_up; /* events that have been acted upon */
    pthread_mutex_t lock;  /* of catch_up */

    bool for_disk;
    /* Of the channel's capacity and of what follows: held while the disk is told, which is soon
     * done. */
    pthread_mutex_t telling;
    struct disk *disk;   /* NULL: not open yet, or no more */
    uint64_t generation; /* the newest of the events; 0: none came */
};

static struct inproc *of_channel(struct channel *channel)
{
    return CONTAINER_OF(channel, struct inproc, channel);
}

static void tell_disk(struct inproc *inproc, uint64_t generation)
{
    pthread_mutex_lock(&inproc->telling);
    if (generation > inproc->generation)
        inproc->generation = generation;
    if (inproc->disk)
        native_generation(inproc->disk, inproc->generation);
    pthread_mutex_unlock(&inproc->telling);
}

/* Under the lock, so that who comes last has the newest. */
static void refresh_capacity(struct inproc *inproc)
{
    pthread_mutex_lock(&inproc->telling);
    inproc->channel.capacity = function_sectors(inproc->function);
    pthread_mutex_unlock(&inproc->telling);
}

static void on_event(void *user, enum attachment_event event, uint64_t value)
{
    struct inproc *inproc = user;
    if (event == EVENT_ENGINE_GENERATION)
        tell_disk(inproc, value);
    else if (event == EVENT_CONFIG_CHANGED)
        refresh_capacity(inproc);
    atomic_fetch_add_explicit(&inproc->told, 1, memory_order_release);
}

/* Takes all that is offered: a driver from the same source knows all of it. */
static int negotiate(struct inproc *inproc, struct ice_why *why)
{
    struct ice_attachment *attachment = inproc->attachment;
    struct ice_why refusal = {0};
    int err = attachment_set_status(attachment, 0, why);
    uint8_t status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
    if (!err)
        err = attachment_set_status(attachment, status, why);
    if (!err)
        err = attachment_set_features(attachment, attachment_offered(attachment), why);
    status |= VIRTIO_STATUS_FEATURES_OK;
    if (!err)
        err = attachment_set_status(attachment, status, &refusal);
    if (!err && refusal.err)
        err = why_set(why, refusal.err, "%s", refusal.text);
    if (!err)
        err = attachment_set_status(attachment, status | VIRTIO_STATUS_DRIVER_OK, why);
    return err;
}

/* Two atomic loads and one compare for who has heard nothing new. */
static bool is_current(const struct inproc *inproc)
{
    if (!(attachment_status(inproc->attachment) & VIRTIO_STATUS_DRIVER_OK))
        return false;
    return inproc->for_disk || atomic_load_explicit(&inproc->told, memory_order_acquire) ==
                                   atomic_load_explicit(&inproc->caught_up, memory_order_acquire);
}

/*
 * Acts on what the device is now, so events that come twice or late do no harm. During a reset by
 * the host it waits, in negotiate, for the reset's end.
 */
static void catch_up(struct inproc *inproc)
{
    struct ice_attachment *attachment = inproc->attachment;
    struct ice_why why = {0};
    pthread_mutex_lock(&inproc->lock);
    if (!is_current(inproc)) {
        unsigned told = atomic_load_explicit(&inproc->told, memory_order_acquire);
        int err = 0;
        if (!(attachment_status(attachment) & VIRTIO_STATUS_DRIVER_OK))
            err = negotiate(inproc, &why);
        if (!err && !inproc->for_disk) {
            struct engine *engine = function_engine(attachment_function(attachment));
            err = attachment_acknowledge(attachment, engine_generation(engine), &why);
        }
        if (err)
            log_error("%s: %s", function_name(attachment_function(attachment)), why.text);
        atomic_store_explicit(&inproc->caught_up, told, memory_order_release);
    }
    pthread_mutex_unlock(&inproc->lock);
}

static void listen_to_events(struct inproc *inproc)
{
    if (!is_current(inproc))
        catch_up(inproc);
}

static void inproc_submit(struct channel *channel, struct ice_request *request)
{
    struct inproc *inproc = of_channel(channel);
    listen_to_events(inproc);
    device_submit(inproc->attachment, request);
}

static int inproc_config_read(struct channel *channel, uint32_t offset, void *buffer, uint32_t len,
                              struct ice_why *why)
{
    (void)why;
    attachment_read_config(of_channel(channel)->attachment, offset, buffer, len);
    return 0;
}

static int inproc_slot_hold(struct channel *channel, uint32_t slot, uint64_t expect)
{
    struct inproc *inproc = of_channel(channel);
    listen_to_events(inproc);
    return slot_hold(inproc->attachment, slot, expect);
}

static void inproc_slot_release(struct channel *channel, uint32_t slot)
{
    slot_release(of_channel(channel)->attachment, slot);
}

/* An event may be older than what the attachment began with. */
static int inproc_acknowledge(struct channel *channel, uint64_t generation, struct ice_why *why)
{
    struct ice_attachment *attachment = of_channel(channel)->attachment;
    if (generation <= attachment_generation(attachment))
        return 0;
    return attachment_acknowledge(attachment, generation, why);
}

static bool inproc_slot_programmed(struct channel *channel, uint32_t slot)
{
    return slot_programmed(of_channel(channel)->attachment, slot);
}

static const struct channel_ops inproc_ops = {
    .submit = inproc_submit,
    .config_read = inproc_config_read,
    .slot_hold = inproc_slot_hold,
    .slot_release = inproc_slot_release,
    .slot_programmed = inproc_slot_programmed,
};

static const struct channel_ops inproc_disk_ops = {
    .submit = inproc_submit,
    .config_read = inproc_config_read,
    .acknowledge = inproc_acknowledge,
    .slot_programmed = inproc_slot_programmed,
};

/* What of the device stays the same from one negotiation to the next. */
static int settle(struct inproc *inproc, struct ice_why *why)
{
    struct channel *channel = &inproc->channel;
    struct function_config config;
    int err = negotiate(inproc, why);
    if (err)
        return err;
    channel->features = attachment_features(inproc->attachment);
    err = channel_config(channel, &config, why);
    if (!err)
        channel->control_queue = dialect_control_queue(channel->features, config.num_queues);
    return err;
}

/* Not settled yet. */
static int open_channel(struct ice_function *function, bool for_disk, struct inproc **result,
                        struct ice_why *why)
{
    static const struct attachment_ops events = {.event = on_event};
    struct inproc *inproc = calloc(1, sizeof(*inproc));
    if (!inproc)
        return why_set(why, ENOMEM, "no memory for a channel");
    pthread_mutex_init(&inproc->lock, NULL);
    pthread_mutex_init(&inproc->telling, NULL);
    inproc->for_disk = for_disk;
    inproc->channel.ops = for_disk ? &inproc_disk_ops : &inproc_ops;
    inproc->channel.dialect = function_dialect(function);
    inproc->function = function;
    inproc->channel.key_types = function_key_types(function);
    inproc->channel.dun_bytes = function_dun_bits(function) / 8;
    inproc->channel.slot_offset = function_slot_offset(function);
    int err = attachment_open(function, &events, inproc, &inproc->attachment, why);
    if (err) {
        inproc_close(inproc);
        return err;
    }
    refresh_capacity(inproc);
    *result = inproc;
    return 0;
}

int inproc_open(struct ice_function *function, struct inproc **result, struct ice_why *why)
{
    struct inproc *inproc;
    int err = open_channel(function, false, &inproc, why);
    if (err)
        return err;
    err = settle(inproc, why);
    if (err) {
        inproc_close(inproc);
        return err;
    }
    *result = inproc;
    return 0;
}

/* An event may have come before there was a disk to tell. */
static int open_disk(struct inproc *inproc, struct ice_why *why)
{
    struct disk *disk;
    int err = native_open(&inproc->channel, &disk, why);
    if (err)
        return err;
    pthread_mutex_lock(&inproc->telling);
    inproc->disk = disk;
    if (inproc->generation)
        native_generation(disk, inproc->generation);
    pthread_mutex_unlock(&inproc->telling);
    return 0;
}

int inproc_open_disk(struct ice_function *function, const char *claimer, struct inproc **result,
                     struct disk **disk, struct ice_why *why)
{
    struct inproc *inproc;
    int err = open_channel(function, true, &inproc, why);
    if (err)
        return err;
    attachment_set_name(inproc->attachment, claimer);
    err = settle(inproc, why);
    if (!err)
        err = open_disk(inproc, why);
    if (err) {
        inproc_close(inproc);
        return err;
    }
    *result = inproc;
    *disk = inproc->disk;
    return 0;
}

static void close_disk(struct inproc *inproc)
{
    struct disk *disk = inproc->disk;
    pthread_mutex_lock(&inproc->telling);
    inproc->disk = NULL;
    pthread_mutex_unlock(&inproc->telling);
    if (disk)
        disk->ops->close(disk);
}

void inproc_close(struct inproc *inproc)
{
    if (!inproc)
        return;
    close_disk(inproc);
    if (inproc->attachment)
        attachment_close(inproc->attachment);
    pthread_mutex_destroy(&inproc->telling);
    pthread_mutex_destroy(&inproc->lock);
    free(inproc);
}

struct channel *inproc_channel(struct inproc *inproc)
{
    return &inproc->channel;
}

const struct ice_attachment *inproc_attachment(const struct inproc *inproc)
{
    return inproc->attachment;
}
