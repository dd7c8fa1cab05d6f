/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A front end's life. Rings are not started and stopped here and there: messages change what should
 * be, and front_end_settle makes it so.
 */
#include "front_end.h"
#include "base/bytes.h"
#include "base/log.h"
#include "virtio/blk.h"
#include "virtio/virtio.h"
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MESSAGES_AT_ONCE 64u /* before others have their turn */
#define SETUP_TRIES      8u  /* a reset by the host may come between */

#define WRITEBACK_AT offsetof(struct virtio_blk_config, writeback)

#define STATUS_DRIVING (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER)
#define STATUS_LIVE    (STATUS_DRIVING | VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK)

bool front_end_has(const struct front_end *front, unsigned protocol_feature)
{
    return front->protocol & VIRTIO_FEATURE(protocol_feature);
}

uint64_t front_end_ring_features(void)
{
    return VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) | VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX) |
           VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES);
}

/* ---- news of the attachment ---- */

static void on_event(void *user, enum attachment_event event, uint64_t value)
{
    struct front_end *front = user;

    (void)value; /* the engine is asked for its generation when the news is looked at */
    if (event == EVENT_DEVICE_RESET)
        atomic_fetch_add(&front->resets, 1);
    atomic_fetch_or(&front->news, 1u << event);
    eventfd_write(front->events, 1);
}

/*
 * Around what sends the driver a config interrupt, which it may answer before that returns: a
 * generation is announced first, and taken back if there was no room, or nobody.
 */
static void begin_telling(struct front_end *front)
{
    if (!front->to_announce)
        return;
    for (unsigned i = 0; i < front->queue_count; i++)
        queue_mark(&front->queues[i]);
    atomic_store(&front->host.announced, front->to_announce);
}

static void end_telling(struct front_end *front)
{
    bool owes = back_channel_owes_config(&front->channel);

    if (front->to_announce && (owes || !back_channel_reaches(&front->channel)))
        atomic_store(&front->host.announced, 0);
    if (!owes)
        front->to_announce = 0;
}

static bool can_tell_config(const struct front_end *front)
{
    return back_channel_reaches(&front->channel) &&
           front_end_has(front, VHOST_USER_PROTOCOL_F_CONFIG);
}

static void tell_config(struct front_end *front)
{
    if (!can_tell_config(front))
        return;
    begin_telling(front);
    back_channel_config(&front->channel);
    end_telling(front);
}

void front_end_pay(struct front_end *front)
{
    begin_telling(front);
    back_channel_pay(&front->channel);
    end_telling(front);
}

static bool is_live(const struct front_end *front)
{
    return front->status & VIRTIO_STATUS_DRIVER_OK;
}

/*
 * A driver that may have keys of an earlier engine is told once it is there, and its rings run:
 * what is in them by then it has sent before. One that cannot be told has acknowledged nothing,
 * whatever it programs.
 */
static void tell_generation(struct front_end *front)
{
    uint64_t now = engine_generation(function_engine(front->function));

    if (!is_live(front) || !can_tell_config(front) ||
        attachment_generation(front->attachment) >= now)
        return;
    front->to_announce = now;
    tell_config(front);
}

/* ---- device status ---- */

static int set_up_once(struct front_end *front, uint8_t status, struct ice_why *why)
{
    struct ice_attachment *a = front->attachment;
    struct ice_why refusal = {0};
    uint8_t now = attachment_status(a);
    int err = 0;

    if (status & ~now & VIRTIO_STATUS_FEATURES_OK) {
        now |= STATUS_DRIVING;
        err = attachment_set_status(a, now, why);
        if (!err)
            err = attachment_set_features(a, front->features & ~front_end_ring_features(), why);
        if (!err)
            err = attachment_set_status(a, now | VIRTIO_STATUS_FEATURES_OK, &refusal);
        if (!err && refusal.err)
            err = why_set(why, refusal.err, "%s", refusal.text);
        if (!err && front->writeback_set)
            err = attachment_write_config(a, WRITEBACK_AT, &front->writeback, 1, why);
    }
    if (!err)
        err = attachment_set_status(a, attachment_status(a) | status, why);
    if (!err && status & ~attachment_status(a))
        err = why_set(why, EAGAIN, "the device was reset meanwhile");
    return err;
}

/*
 * Adds bits to the device status: what a driver does before FEATURES_OK is done for it, as front
 * ends do not pass on every step. 0 or -errno; features that the device does not take are an error.
 */
static int set_up(struct front_end *front, uint8_t status, struct ice_why *why)
{
    unsigned tries = 0, resets;
    int err;

    do {
        resets = atomic_load(&front->resets);
        err = set_up_once(front, status, why);
        if (!err)
            break;
        function_attachments(front->function); /* a reset has its lock until all are told */
    } while (resets != atomic_load(&front->resets) && ++tries < SETUP_TRIES);
    return err;
}

static void poke_all(struct front_end *front)
{
    for (unsigned i = 0; i < front->queue_count; i++)
        queue_poke(&front->queues[i]);
}

static void note_status(struct front_end *front, uint8_t status)
{
    front->status |= status;
    if (!(status & VIRTIO_STATUS_DRIVER_OK))
        return;
    front->untold = true;
    poke_all(front);
}

/*
 * As a new driver starts: whatever keys there were, it has none. But it may be a machine that was
 * paused, and goes on: the mode of its write cache is kept for as long as its features stay.
 */
static void reset(struct front_end *front)
{
    struct ice_attachment *a = front->attachment;

    attachment_set_status(a, 0, NULL);
    front->status = 0;
    front->to_announce = 0;
    atomic_store(&front->host.announced, 0);
    attachment_acknowledge(a, engine_generation(function_engine(front->function)), NULL);
    inflight_note_generation(&front->log, attachment_generation(a));
}

int front_end_set_status(struct front_end *front, uint8_t status, struct ice_why *why)
{
    int err;

    if (!status) {
        reset(front);
        return 0;
    }
    err = set_up(front, status, why);
    if (!err)
        note_status(front, status);
    return err;
}

/* The host has reset the device under the driver, who is not to notice but that its keys are gone.
 */
static void set_up_again(struct front_end *front)
{
    struct ice_why why = {0};
    unsigned resets = atomic_load(&front->resets);

    /* One that comes between makes this be done again. */
    if (set_up(front, front->status, &why) && resets == atomic_load(&front->resets))
        log_error("%s: the device is not set up again: %s", function_name(front->function),
                  why.text);
    tell_config(front);
    poke_all(front);
}

/* ---- rings ---- */

void front_end_halt(struct front_end *front)
{
    for (unsigned i = 0; i < front->queue_count; i++)
        queue_halt(&front->queues[i]);
}

void front_end_unmap(struct front_end *front)
{
    for (unsigned i = 0; i < front->queue_count; i++)
        vring_unmap(&front->queues[i].vring);
}

bool front_end_any_active(const struct front_end *front)
{
    for (unsigned i = 0; i < front->queue_count; i++)
        if (queue_is_active(&front->queues[i]))
            return true;
    return false;
}

/* Without STATUS the back end is told of no driver: the first ring that runs is the sign of one. */
static enum vhost_user_refusal expect_driver(struct front_end *front)
{
    struct ice_why why = {0};

    if (is_live(front) || front_end_has(front, VHOST_USER_PROTOCOL_F_STATUS))
        return REFUSAL_NONE;
    if (set_up(front, STATUS_LIVE, &why)) {
        log_error("%s: %s", function_name(front->function), why.text);
        return REFUSAL_FEATURES_REFUSED;
    }
    note_status(front, STATUS_LIVE);
    return REFUSAL_NONE;
}

enum vhost_user_refusal front_end_settle(struct front_end *front)
{
    enum vhost_user_refusal refusal = REFUSAL_NONE;

    for (unsigned i = 0; i < front->queue_count && !refusal; i++) {
        struct queue *queue = &front->queues[i];
        bool should = queue_should_run(queue);
        if (should && !queue->running)
            refusal = expect_driver(front);
        if (should && !queue->running && !refusal)
            front->untold |= queue_run(queue);
        else if (!should)
            queue_halt(queue);
    }
    if (front->untold && is_live(front) && !refusal) {
        front->untold = false;
        tell_generation(front);
    }
    return refusal;
}

void front_end_guard(struct front_end *front)
{
    guest_memory_guard(&front->memory, front->log.map, front->log.map_bytes);
}

void front_end_recall_generation(struct front_end *front)
{
    attachment_recall_generation(front->attachment, inflight_generation(&front->log));
    front->untold = true;
}

/* ---- life ---- */

bool front_end_open(struct front_end *front, int fd)
{
    static const struct attachment_ops ops = {.event = on_event};
    struct ice_why why;

    front->fd = fd;
    front->in = (struct message){0};
    front->memory = (struct guest_memory){.lost_fd = front->events};
    front->log = (struct inflight){0};
    front->made_ino = 0;
    front->channel = (struct back_channel){.fd = -1, .wake = front->events};
    front->protocol = 0;
    front->features = 0;
    front->status = 0;
    front->untold = false;
    front->writeback_set = false;
    front->to_announce = 0;
    front->news = 0;
    front->resets = 0;
    if (attachment_open(front->function, &ops, front, &front->attachment, &why)) {
        log_error("%s: a front end is turned away: %s", function_name(front->function), why.text);
        close(fd);
        front->fd = -1;
        return false;
    }
    front->host = (struct queue_host){
        .name = function_name(front->function),
        .attachment = front->attachment,
        .memory = &front->memory,
        .log = &front->log,
        .channel = &front->channel,
        .refused = front->refused,
    };
    for (unsigned i = 0; i < front->queue_count; i++)
        front->queues[i].enabled = true; /* unless PROTOCOL_FEATURES comes to be negotiated */
    front_end_guard(front);
    log_info("%s: a vhost-user front end connected", function_name(front->function));
    return true;
}

void front_end_close(struct front_end *front)
{
    for (unsigned i = 0; i < front->queue_count; i++)
        queue_forget(&front->queues[i]);
    attachment_close(front->attachment);
    guest_memory_guard(NULL, NULL, 0);
    message_clear(&front->in);
    back_channel_close(&front->channel);
    inflight_unmap(&front->log);
    guest_memory_clear(&front->memory);
    close(front->fd);
    front->fd = -1;
    log_info("%s: the vhost-user front end is gone", function_name(front->function));
}

bool front_end_receive(struct front_end *front)
{
    for (unsigned n = 0; n < MESSAGES_AT_ONCE; n++) {
        enum vhost_user_refusal refusal;
        switch (message_receive(&front->in, front->fd, &refusal)) {
        case RECEIPT_NOTHING:
            return true;
        case RECEIPT_END:
            return false;
        case RECEIPT_REFUSED:
            message_refuse(front, refusal);
            return false;
        case RECEIPT_MESSAGE:
            if (front_end_message(front) == VERDICT_CUT_OFF)
                return false;
            message_clear(&front->in);
        }
    }
    return true;
}

bool front_end_attend(struct front_end *front)
{
    unsigned news = atomic_exchange(&front->news, 0);

    if (guest_memory_lost(&front->memory)) {
        refusal_count(front->refused, REFUSAL_MEMORY_LOST);
        log_error("%s: the front end is cut off: %s", function_name(front->function),
                  refusal_text(REFUSAL_MEMORY_LOST));
        return false;
    }
    if (news & 1u << EVENT_DEVICE_RESET && front->status & VIRTIO_STATUS_FEATURES_OK)
        set_up_again(front);
    if (news & 1u << EVENT_ENGINE_GENERATION)
        tell_generation(front);
    if (news & 1u << EVENT_CONFIG_CHANGED)
        tell_config(front);
    return true;
}
