/* SPDX-License-Identifier: BSD-2-Clause */
/* A split ring from the driver's side (virtio 1.3, 2.7). */
#include "base/bytes.h"
#include "base/clock.h"
#include "private.h"
#include <assert.h>
#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

static uint16_t load16(const uint16_t *p)
{
    return le16toh(__atomic_load_n(p, __ATOMIC_ACQUIRE));
}

static void store16(uint16_t *p, uint16_t v)
{
    __atomic_store_n(p, htole16(v), __ATOMIC_RELEASE);
}

/* Not atomic_thread_fence, which ThreadSanitizer does not know. */
static void full_fence(void)
{
    __sync_synchronize();
}

static uint16_t *used_event(const struct frontend_queue *queue)
{
    return &queue->avail->ring[queue->size];
}

static const uint16_t *avail_event(const struct frontend_queue *queue)
{
    return (const uint16_t *)&queue->used->ring[queue->size];
}

static bool has(const struct frontend_queue *queue, unsigned feature)
{
    return queue->frontend->features & VIRTIO_FEATURE(feature);
}

/* Asks for a call at the next request that comes back; or for none, as far as the ring lets say. */
static void ask_calls(const struct frontend_queue *queue, bool wanted)
{
    if (has(queue, VIRTIO_F_EVENT_IDX)) {
        if (wanted)
            store16(used_event(queue), queue->used_idx);
    } else {
        store16(&queue->avail->flags, wanted ? 0 : VRING_AVAIL_F_NO_INTERRUPT);
    }
}

/* ---- making and freeing ---- */

size_t queue_bytes(unsigned size)
{
    return vring_desc_bytes(size) + vring_avail_bytes(size) + vring_used_bytes(size) + 3 * 16 +
           size * FRONTEND_PARTS_MAX * sizeof(struct vring_desc);
}

int queue_make(struct frontend *frontend, unsigned position, unsigned index, struct ice_why *why)
{
    struct frontend_queue *queue = &frontend->queues[position];
    unsigned size = frontend->options.queue_size;

    queue->frontend = frontend;
    queue->index = index;
    queue->size = size;
    queue->desc = frontend_alloc(frontend, vring_desc_bytes(size), VRING_DESC_ALIGN);
    queue->avail = frontend_alloc(frontend, vring_avail_bytes(size), VRING_AVAIL_ALIGN);
    queue->used = frontend_alloc(frontend, vring_used_bytes(size), VRING_USED_ALIGN);
    queue->tables = frontend_alloc(frontend, size * FRONTEND_PARTS_MAX * sizeof(struct vring_desc),
                                   VRING_DESC_ALIGN);
    queue->by_head = calloc(size, sizeof(struct frontend_request *));
    queue->next_free = calloc(size, sizeof(*queue->next_free));
    if (!queue->tables || !queue->by_head || !queue->next_free)
        return why_set(why, ENOMEM, "no memory for a ring of %u", size);
    for (unsigned i = 0; i < size; i++)
        queue->next_free[i] = (uint16_t)(i + 1);
    queue->free = size;
    ask_calls(queue, !frontend->options.spin);
    queue->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    queue->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    queue->err_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (queue->err_fd < 0)
        return why_errno(why, errno, "eventfd");
    return 0;
}

void queue_free(struct frontend_queue *queue)
{
    free(queue->by_head);
    free(queue->next_free);
    close(queue->kick_fd);
    close(queue->call_fd);
    close(queue->err_fd);
}

/* ---- submitting ---- */

static void fill(const struct frontend_queue *queue, struct vring_desc *desc,
                 const struct iovec *part, uint16_t flags, uint16_t next)
{
    store_le64(&desc->addr, guest_address(queue->frontend, part->iov_base));
    store_le32(&desc->len, (uint32_t)part->iov_len);
    store_le16(&desc->flags, flags);
    store_le16(&desc->next, next);
}

static uint16_t take_free(struct frontend_queue *queue)
{
    uint16_t index = queue->first_free;

    queue->first_free = queue->next_free[index];
    queue->free--;
    return index;
}

static const struct iovec *part_of(const struct frontend_request *request, unsigned i,
                                   uint16_t *flags)
{
    if (i < request->nreadable)
        return &request->readable[i];
    *flags |= VRING_DESC_F_WRITE;
    return &request->writable[i - request->nreadable];
}

static uint16_t put_indirect(struct frontend_queue *queue, const struct frontend_request *request,
                             unsigned parts)
{
    uint16_t head = take_free(queue);
    struct vring_desc *table = queue->tables + head * FRONTEND_PARTS_MAX;
    struct iovec whole = {table, parts * sizeof(*table)};

    for (unsigned i = 0; i < parts; i++) {
        uint16_t flags = i + 1 < parts ? VRING_DESC_F_NEXT : 0;
        const struct iovec *part = part_of(request, i, &flags);
        fill(queue, &table[i], part, flags, i + 1 < parts ? (uint16_t)(i + 1) : 0);
    }
    fill(queue, &queue->desc[head], &whole, VRING_DESC_F_INDIRECT, 0);
    return head;
}

/* next_free of a descriptor in flight is the next of its chain. */
static uint16_t put_direct(struct frontend_queue *queue, const struct frontend_request *request,
                           unsigned parts)
{
    uint16_t head = queue->first_free;

    for (unsigned i = 0; i < parts; i++) {
        uint16_t index = take_free(queue);
        uint16_t flags = i + 1 < parts ? VRING_DESC_F_NEXT : 0;
        const struct iovec *part = part_of(request, i, &flags);
        fill(queue, &queue->desc[index], part, flags, i + 1 < parts ? queue->first_free : 0);
    }
    return head;
}

int frontend_submit(struct frontend_queue *queue, struct frontend_request *request)
{
    unsigned parts = request->nreadable + request->nwritable;
    bool indirect = parts > 1 && has(queue, VIRTIO_F_INDIRECT_DESC);

    assert(parts && parts <= FRONTEND_PARTS_MAX && parts <= queue->size);
    if (queue->free < (indirect ? 1 : parts))
        return -EAGAIN;
    uint16_t head =
        indirect ? put_indirect(queue, request, parts) : put_direct(queue, request, parts);
    request->head = head;
    queue->by_head[head] = request;
    queue->in_flight++;
    store_le16(&queue->avail->ring[queue->avail_idx & (queue->size - 1)], head);
    store16(&queue->avail->idx, ++queue->avail_idx);
    atomic_fetch_add_explicit(&queue->requests, 1, memory_order_relaxed);
    return 0;
}

static bool wants_kick(const struct frontend_queue *queue)
{
    full_fence(); /* avail->idx is out before the device's wish is read */
    if (queue->frontend->options.every_kick)
        return true;
    if (has(queue, VIRTIO_F_EVENT_IDX))
        return vring_passes(load16(avail_event(queue)), queue->avail_idx, queue->kicked_idx);
    return !(load16(&queue->used->flags) & VRING_USED_F_NO_NOTIFY);
}

void frontend_kick(struct frontend_queue *queue)
{
    struct frontend *frontend = queue->frontend;
    struct vhost_user_vring_state state = {queue->index, 0};

    if (queue->kicked_idx == queue->avail_idx)
        return;
    bool wanted = wants_kick(queue);
    queue->kicked_idx = queue->avail_idx;
    if (!wanted)
        return;
    atomic_fetch_add_explicit(&queue->kicks, 1, memory_order_relaxed);
    if (!frontend_has(frontend, VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS))
        eventfd_write(queue->kick_fd, 1);
    else if (frontend->fd >= 0)
        socket_notify(frontend, VHOST_USER_VRING_KICK, &state, sizeof(state));
}

/* ---- completions ---- */

static void give_free(struct frontend_queue *queue, uint16_t head, unsigned parts)
{
    uint16_t last = head;

    for (unsigned i = 1; i < parts; i++)
        last = queue->next_free[last];
    queue->next_free[last] = queue->first_free;
    queue->first_free = head;
    queue->free += parts;
}

unsigned frontend_poll(struct frontend_queue *queue)
{
    unsigned done = 0;

    while (queue->used_idx != load16(&queue->used->idx)) {
        const struct vring_used_elem *elem =
            &queue->used->ring[queue->used_idx & (queue->size - 1)];
        uint32_t head = load_le32(&elem->id);
        uint32_t written = load_le32(&elem->len);
        /* Tests want to know at once, and a back end under test is trusted with no more. */
        if (head >= queue->size || !queue->by_head[head])
            abort();
        struct frontend_request *request = queue->by_head[head];
        bool indirect = load_le16(&queue->desc[head].flags) & VRING_DESC_F_INDIRECT;
        queue->by_head[head] = NULL;
        give_free(queue, (uint16_t)head, indirect ? 1 : request->nreadable + request->nwritable);
        queue->in_flight--;
        queue->used_idx++;
        done++;
        if (queue->frontend->options.every_call)
            ask_calls(queue, true);
        request->done(request, written);
    }
    return done;
}

/* ---- waiting, for one queue or several ---- */

static bool is_there(const struct frontend_queue *queues, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (queues[i].used_idx != load16(&queues[i].used->idx))
            return true;
    }
    return false;
}

static void count_calls(struct frontend_queue *queue)
{
    eventfd_t calls;

    if (!eventfd_read(queue->call_fd, &calls))
        atomic_fetch_add_explicit(&queue->calls, calls, memory_order_relaxed);
}

static bool take_error(struct frontend_queue *queue)
{
    eventfd_t errors;

    if (eventfd_read(queue->err_fd, &errors))
        return false;
    queue->frontend->ring_errors += errors;
    return true;
}

static int sleep_once(struct frontend *frontend, struct frontend_queue *queues, unsigned count,
                      int timeout_ms)
{
    struct pollfd fds[2 + 2 * FRONTEND_QUEUES_MAX] = {
        {.fd = frontend->fd, .events = POLLRDHUP},
        {.fd = frontend->channel_fd, .events = POLLIN},
    };
    bool failed = false;

    for (unsigned i = 0; i < count; i++) {
        fds[2 + 2 * i] = (struct pollfd){.fd = queues[i].call_fd, .events = POLLIN};
        fds[3 + 2 * i] = (struct pollfd){.fd = queues[i].err_fd, .events = POLLIN};
    }
    if (poll(fds, 2 + 2 * count, timeout_ms) < 0 && errno != EINTR)
        return -errno;
    if (fds[1].revents & POLLIN)
        frontend_listen(frontend);
    for (unsigned i = 0; i < count; i++) {
        count_calls(&queues[i]);
        failed |= fds[3 + 2 * i].revents && take_error(&queues[i]);
    }
    if (is_there(queues, count))
        return 0;
    if (failed)
        return -EPIPE;
    return fds[0].revents || frontend->fd < 0 ? -ECONNRESET : -EAGAIN;
}

static int wait_for(struct frontend *frontend, struct frontend_queue *queues, unsigned count,
                    int timeout_ms)
{
    int64_t deadline = now_ms() + timeout_ms;
    int err;

    if (is_there(queues, count))
        return 0;
    for (unsigned i = 0; i < count; i++)
        ask_calls(&queues[i], !frontend->options.spin);
    full_fence(); /* the wish is out before the ring is looked at for the last time */
    do {
        int64_t left = deadline - now_ms();
        if (is_there(queues, count))
            err = 0;
        else if (timeout_ms >= 0 && left < 0)
            err = -ETIMEDOUT;
        else if (frontend->options.spin)
            err = sleep_once(frontend, queues, count, 0);
        else
            err = sleep_once(frontend, queues, count, timeout_ms < 0 ? -1 : (int)left);
    } while (err == -EAGAIN);
    for (unsigned i = 0; i < count && !frontend->options.every_call; i++)
        ask_calls(&queues[i], false);
    return err;
}

int frontend_wait(struct frontend_queue *queue, int timeout_ms)
{
    return wait_for(queue->frontend, queue, 1, timeout_ms);
}

int frontend_wait_any(struct frontend *frontend, int timeout_ms)
{
    return wait_for(frontend, frontend->queues, frontend->queue_count, timeout_ms);
}

unsigned frontend_in_flight(const struct frontend_queue *queue)
{
    return queue->in_flight;
}
