/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A ring's thread: takes what the driver makes available, and runs it. When the ring is empty it
 * looks on for a moment, without kicks, if that has paid lately; then it asks for a kick and
 * sleeps.
 */
#include "base/clock.h"
#include "queue_private.h"
#include "virtio/virtio.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SPIN_NS     UINT64_C(30000)   /* about what a kick and a wake-up cost both sides */
#define MISSES_MOST 4u                /* spins for nothing, one after the other; then only … */
#define TRY_EACH    16u               /* … one in so many, to see whether it pays again */
#define POLL_LEAST  UINT64_C(50000)   /* between looks at a ring that nobody kicks … */
#define POLL_MOST   UINT64_C(1000000) /* … when nothing has come for long */
#define KICKS_BYTES 64                /* an eventfd has 8; a pipe may have more */

static inline void relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#endif
}

static bool goes_on(const struct queue *queue)
{
    return !atomic_load_explicit(&queue->stop, memory_order_acquire) &&
           !atomic_load_explicit(&queue->broken, memory_order_relaxed) &&
           !guest_memory_lost(queue->host->memory);
}

static bool device_is_ready(const struct queue *queue)
{
    return attachment_status(queue->host->attachment) & VIRTIO_STATUS_DRIVER_OK;
}

/* Where memory was lost, what it says now is nobody's fault but that, and ends the connection. */
static void refuse(struct queue *queue, enum vhost_user_refusal refusal)
{
    if (refusal && !guest_memory_lost(queue->host->memory))
        queue_break(queue, refusal_text(refusal));
}

/* ---- looking ---- */

static bool look(struct queue *queue, struct turn *turn)
{
    bool there;

    if (ring_take_again(queue, turn))
        return true;
    *turn = (struct turn){.replayed = queue->replayed};
    refuse(queue, vring_next(&queue->vring, &turn->head, &there));
    if (there && turn->replayed)
        queue->replayed--;
    return there;
}

/*
 * How long the ring was empty would not tell whether to spin: a thread that sleeps adds to it the
 * kick and its own wake-up, and would sleep for good.
 */
static bool spin(struct queue *queue, struct turn *turn)
{
    if (queue->idle_since)
        return false;
    ring_tell(queue);
    queue->idle_since = now_ns();
    if (queue->misses == MISSES_MOST && ++queue->unspun < TRY_EACH)
        return false;
    queue->unspun = 0;
    while (goes_on(queue) && now_ns() - queue->idle_since < SPIN_NS) {
        if (look(queue, turn)) {
            queue->misses = 0;
            return true;
        }
        relax();
    }
    if (queue->misses < MISSES_MOST)
        queue->misses++;
    return false;
}

/* ---- sleeping ---- */

static void take_kick(struct queue *queue)
{
    uint8_t bytes[KICKS_BYTES];
    ssize_t n = read(queue->kick, bytes, sizeof(bytes));

    if (n > 0) {
        atomic_fetch_add_explicit(&queue->kicks, 1, memory_order_relaxed);
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        refuse(queue, refusal_count(queue->host->refused, REFUSAL_KICK_END));
    }
}

/* Until it is poked or, if so asked, kicked. `most`: nanoseconds; 0: no limit. */
static void wait(struct queue *queue, bool kicks, uint64_t most)
{
    const struct timespec limit = {.tv_nsec = (long)most};
    struct pollfd fds[] = {
        {.fd = queue->wake, .events = POLLIN},
        {.fd = kicks ? queue->kick : -1, .events = POLLIN},
    };
    eventfd_t pokes;

    if (ppoll(fds, 2, most ? &limit : NULL, NULL) <= 0)
        return;
    if (fds[0].revents)
        eventfd_read(queue->wake, &pokes);
    if (fds[1].revents)
        take_kick(queue);
}

/* Half as long as it has been empty, within limits. */
static uint64_t poll_interval(const struct queue *queue)
{
    uint64_t ns = (now_ns() - queue->idle_since) / 2;

    return ns < POLL_LEAST ? POLL_LEAST : ns < POLL_MOST ? ns : POLL_MOST - 1;
}

static void sleep_until_kicked(struct queue *queue)
{
    bool polls = queue->kick < 0 && !queue->host->in_band;

    if (!vring_ask_kick(&queue->vring))
        wait(queue, true, polls ? poll_interval(queue) : 0);
    if (goes_on(queue) && device_is_ready(queue))
        vring_spare_kick(&queue->vring);
}

/* ---- the thread ---- */

static void serve(struct queue *queue)
{
    struct turn turn;

    vring_spare_kick(&queue->vring);
    while (goes_on(queue)) {
        if (!device_is_ready(queue)) {
            wait(queue, false, 0);
        } else if (look(queue, &turn) || spin(queue, &turn)) {
            queue->idle_since = 0;
            refuse(queue, ring_submit(queue, turn));
        } else if (goes_on(queue)) {
            sleep_until_kicked(queue);
        }
    }
}

void ring_thread(void *user)
{
    struct queue *queue = user;
    const struct queue_host *host = queue->host;
    char name[16];

    snprintf(name, sizeof(name), "ring-%u", queue->index);
    pthread_setname_np(pthread_self(), name);
    guest_memory_guard(host->memory, host->log->map, host->log->map_bytes);
    queue->idle_since = 0;
    queue->misses = MISSES_MOST;
    queue->unspun = 0;
    serve(queue);
    if (device_is_ready(queue))
        ring_tell(queue);
    guest_memory_guard(NULL, NULL, 0);
}
