/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages about what is shared: memory, rings, descriptors, the log of requests in flight. */
#include "base/bytes.h"
#include "base/log.h"
#include "messages.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- memory ---- */

enum vhost_user_refusal handle_set_table(struct front_end *front, struct message *message)
{
    const struct vhost_user_mem_table *table = &message->payload.table;
    enum vhost_user_refusal refusal = REFUSAL_NONE;

    /* virtio_uml of Linux always sends room for two: what is behind `count` is not looked at. */
    if (table->count > VHOST_USER_TABLE_REGIONS ||
        message->header.size < offsetof(struct vhost_user_mem_table, regions) +
                                   table->count * sizeof(table->regions[0]))
        return REFUSAL_MESSAGE_SIZE;
    if (message->fd_count != table->count)
        return REFUSAL_MESSAGE_FDS;
    front_end_halt(front);
    front_end_unmap(front);
    guest_memory_clear(&front->memory);
    for (unsigned i = 0; i < table->count && !refusal; i++)
        refusal = guest_memory_add(&front->memory, &table->regions[i], message->fds[i]);
    return refusal;
}

enum vhost_user_refusal handle_add_region(struct front_end *front, struct message *message)
{
    front_end_halt(front);
    front_end_unmap(front);
    return guest_memory_add(&front->memory, &message->payload.region.region, message->fds[0]);
}

enum vhost_user_refusal handle_remove_region(struct front_end *front, struct message *message)
{
    front_end_halt(front);
    front_end_unmap(front);
    return guest_memory_remove(&front->memory, &message->payload.region.region);
}

enum vhost_user_refusal handle_get_slots(struct front_end *front, struct message *message)
{
    (void)message;
    return message_reply_u64(front, GUEST_REGIONS_MAX);
}

/* ---- rings ---- */

/* NULL: there is none of that index. */
static struct queue *queue_of(struct front_end *front, uint64_t index)
{
    return index < front->queue_count ? &front->queues[index] : NULL;
}

enum vhost_user_refusal handle_get_queue_num(struct front_end *front, struct message *message)
{
    (void)message;
    return message_reply_u64(front, front->queue_count);
}

/* One that is disabled may be set up anew: virtio_uml and cloud-hypervisor never stop a ring. */
static enum vhost_user_refusal begin_anew(struct queue *queue)
{
    if (queue_is_active(queue))
        return REFUSAL_QUEUE_STARTED;
    queue_rewind(queue);
    return REFUSAL_NONE;
}

enum vhost_user_refusal handle_set_num(struct front_end *front, struct message *message)
{
    const struct vhost_user_vring_state *state = &message->payload.state;
    struct queue *queue = queue_of(front, state->index);

    if (!queue)
        return REFUSAL_QUEUE_INDEX;
    if (!is_power_of_two(state->num) || state->num > VRING_SIZE_LIMIT)
        return REFUSAL_QUEUE_SIZE;
    if (state->num == queue->size)
        return REFUSAL_NONE; /* said again, while the ring runs, say */
    enum vhost_user_refusal refusal = begin_anew(queue);
    if (!refusal)
        queue->size = state->num;
    return refusal;
}

enum vhost_user_refusal handle_set_base(struct front_end *front, struct message *message)
{
    const struct vhost_user_vring_state *state = &message->payload.state;
    struct queue *queue = queue_of(front, state->index);

    if (!queue)
        return REFUSAL_QUEUE_INDEX;
    if (state->num > UINT16_MAX)
        return REFUSAL_QUEUE_BASE;
    enum vhost_user_refusal refusal = begin_anew(queue);
    if (!refusal)
        queue->vring.next_avail = (uint16_t)state->num;
    return refusal;
}

enum vhost_user_refusal handle_get_base(struct front_end *front, struct message *message)
{
    struct vhost_user_vring_state state = {.index = message->payload.state.index};
    struct queue *queue = queue_of(front, state.index);

    if (!queue)
        return REFUSAL_QUEUE_INDEX;
    queue_end(queue);
    state.num = queue->vring.next_avail;
    return message_reply(front, &state, sizeof(state), -1);
}

enum vhost_user_refusal handle_set_addr(struct front_end *front, struct message *message)
{
    const struct vhost_user_vring_addr *addr = &message->payload.addr;
    struct queue *queue = queue_of(front, addr->index);

    if (!queue)
        return REFUSAL_QUEUE_INDEX;
    queue_halt(queue);
    queue->desc = addr->desc;
    queue->avail = addr->avail;
    queue->used = addr->used;
    queue->addressed = true;
    return REFUSAL_NONE;
}

/* A file or a device could make a ring's thread wait for ever. */
static bool is_event(int fd)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);

    if (flags < 0 || fstat(fd, &st))
        return false;
    if (!S_ISFIFO(st.st_mode) && !S_ISSOCK(st.st_mode) && st.st_mode & S_IFMT)
        return false;
    return !fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

/* The descriptor of a KICK, CALL or ERR goes into *place of its halted ring. */
static enum vhost_user_refusal take_event(struct front_end *front, struct message *message,
                                          size_t place)
{
    uint64_t value = message->payload.u64;
    struct queue *queue = queue_of(front, value & VHOST_USER_VRING_INDEX_MASK);
    bool without = value & VHOST_USER_VRING_NO_FD;

    if (!queue)
        return REFUSAL_QUEUE_INDEX;
    if (message->fd_count != !without)
        return REFUSAL_MESSAGE_FDS;
    if (!without && !is_event(message->fds[0]))
        return REFUSAL_EVENT_FD;
    int *fd = (int *)(void *)((uint8_t *)queue + place);
    queue_halt(queue);
    if (*fd >= 0)
        close(*fd);
    *fd = message_take_fd(message);
    return REFUSAL_NONE;
}

static bool can_start(const struct front_end *front, const struct queue *queue)
{
    return queue->size && queue->addressed && front->memory.count;
}

enum vhost_user_refusal handle_set_kick(struct front_end *front, struct message *message)
{
    struct queue *queue = queue_of(front, message->payload.u64 & VHOST_USER_VRING_INDEX_MASK);

    if (queue && !can_start(front, queue))
        return REFUSAL_QUEUE_UNREADY;
    enum vhost_user_refusal refusal = take_event(front, message, offsetof(struct queue, kick));
    if (!refusal)
        queue->started = true;
    return refusal;
}

enum vhost_user_refusal handle_set_call(struct front_end *front, struct message *message)
{
    return take_event(front, message, offsetof(struct queue, call));
}

enum vhost_user_refusal handle_set_err(struct front_end *front, struct message *message)
{
    return take_event(front, message, offsetof(struct queue, err));
}

enum vhost_user_refusal handle_enable(struct front_end *front, struct message *message)
{
    const struct vhost_user_vring_state *state = &message->payload.state;
    struct queue *queue = queue_of(front, state->index);

    if (!queue)
        return REFUSAL_QUEUE_INDEX;
    if (state->num > 1)
        return REFUSAL_QUEUE_ENABLE;
    queue->enabled = state->num;
    return REFUSAL_NONE;
}

/* Where kicks are messages no SET_VRING_KICK need come: virtio_uml of Linux sends none. */
enum vhost_user_refusal handle_kick(struct front_end *front, struct message *message)
{
    struct queue *queue = queue_of(front, message->payload.state.index);

    if (!queue)
        return REFUSAL_QUEUE_INDEX;
    if (!queue->started && !can_start(front, queue))
        return REFUSAL_QUEUE_UNREADY;
    queue->started = true;
    atomic_fetch_add_explicit(&queue->kicks, 1, memory_order_relaxed);
    queue_poke(queue);
    return REFUSAL_NONE;
}

/* ---- the channel back, the log of requests in flight ---- */

enum vhost_user_refusal handle_set_channel(struct front_end *front, struct message *message)
{
    struct stat st;

    if (fstat(message->fds[0], &st) || !S_ISSOCK(st.st_mode))
        return REFUSAL_CHANNEL_FD;
    front_end_halt(front);
    back_channel_open(&front->channel, message_take_fd(message));
    front->untold = true; /* what was owed is forgotten */
    return REFUSAL_NONE;
}

enum vhost_user_refusal handle_get_inflight(struct front_end *front, struct message *message)
{
    struct vhost_user_inflight *at = &message->payload.inflight;
    struct stat st;
    int fd;

    if (at->num_queues > front->queue_count)
        return REFUSAL_INFLIGHT_QUEUE;
    int err = inflight_make(at->num_queues, at->queue_size, at, &fd);
    if (err == -EINVAL)
        return REFUSAL_INFLIGHT_SIZE;
    if (err) {
        log_error("%s: a log of requests in flight: %s", function_name(front->function),
                  strerror(-err));
        *at = (struct vhost_user_inflight){0};
        return message_reply(front, at, message->header.size, -1);
    }
    if (!fstat(fd, &st)) {
        front->made_dev = st.st_dev;
        front->made_ino = st.st_ino;
    }
    enum vhost_user_refusal refusal = message_reply(front, at, message->header.size, fd);
    close(fd);
    return refusal;
}

/* A log that was made on this connection tells nothing of a driver before. */
static bool is_own_log(const struct front_end *front, int fd)
{
    struct stat st;

    return front->made_ino && !fstat(fd, &st) && st.st_dev == front->made_dev &&
           st.st_ino == front->made_ino;
}

enum vhost_user_refusal handle_set_inflight(struct front_end *front, struct message *message)
{
    enum vhost_user_refusal refusal;

    if (front_end_any_active(front))
        return REFUSAL_QUEUE_STARTED;
    for (unsigned i = 0; i < front->queue_count; i++)
        queue_rewind(&front->queues[i]);
    inflight_unmap(&front->log);
    refusal = inflight_map(&front->log, &message->payload.inflight, message->fds[0]);
    front_end_guard(front);
    if (refusal)
        return refusal;
    if (!is_own_log(front, message->fds[0]))
        front_end_recall_generation(front);
    inflight_note_generation(&front->log, attachment_generation(front->attachment));
    return REFUSAL_NONE;
}
