/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A request's way between ring and device. The log is written around what the driver sees: before
 * the device has a request, and before and after it is handed back, so that a process killed
 * anywhere leaves either the request in the log or its answer in the ring.
 */
#include "base/bytes.h"
#include "base/iov.h"
#include "base/log.h"
#include "base/units.h"
#include "queue_private.h"
#include <errno.h>
#include <sys/eventfd.h>

/*
 * The driver is told of answers in batches while more requests are waiting, so that it takes
 * several at one interrupt; a batch is small enough for it to go on while the rest is worked on.
 */
#define BATCH_REQUESTS 8u
#define BATCH_BYTES    65536u

/* Whose thread this is: an answer that comes on it is told of by it, in its own time. */
static __thread const struct queue *ours;

/* ---- interrupts ---- */

static void call(struct queue *queue)
{
    atomic_fetch_add_explicit(&queue->calls, 1, memory_order_relaxed);
    if (queue->call >= 0)
        eventfd_write(queue->call, 1);
    else
        back_channel_call(queue->host->channel, queue->index);
}

/* The lock is held. */
static bool wants_call(struct queue *queue)
{
    bool can = queue->call >= 0 || (queue->host->in_band && queue->host->channel->fd >= 0);

    return can && vring_wants_call(&queue->vring);
}

void ring_tell(struct queue *queue)
{
    queue->untold = 0;
    queue->untold_bytes = 0;
    pthread_mutex_lock(&queue->lock);
    bool wanted = wants_call(queue);
    pthread_mutex_unlock(&queue->lock);
    if (wanted)
        call(queue);
}

/* ---- answers ---- */

/* The lock is held. */
static void hand_back(struct queue *queue, uint16_t head, size_t written)
{
    inflight_ending(&queue->log, head);
    vring_push(&queue->vring, head, (uint32_t)written);
    inflight_ended(&queue->log, head, queue->vring.next_used);
}

/*
 * No answer though there was room for one: the device was reset and is not ready. The request waits
 * until it is.
 */
static bool is_postponed(const struct ice_request *request, size_t written)
{
    return !written && request->nwritable;
}

static void done(struct ice_request *request, size_t written, const struct ice_why *why)
{
    struct ring_request *r = CONTAINER_OF(request, struct ring_request, request);
    struct queue *queue = r->queue;
    const struct queue_host *host = queue->host;
    uint16_t head = r->chain.head;

    if (why)
        log_debug("%s: ring %u: %s", host->name, queue->index, why->text);
    if (why && why->err == EFAULT && ours == queue)
        guest_memory_touch(r->chain.parts, r->chain.readable + r->chain.writable);
    inflight_note_generation(host->log, attachment_generation(host->attachment));
    pthread_mutex_lock(&queue->lock);
    if (is_postponed(request, written)) {
        queue->again[queue->again_count] =
            (struct turn){head, .taken = true, .replayed = request->replayed};
        queue->again_count++;
    } else {
        hand_back(queue, head, written);
    }
    r->next = queue->spare;
    queue->spare = r;
    if (ours != queue && wants_call(queue))
        call(queue);
    queue->in_flight--;
    pthread_cond_signal(&queue->returned);
    pthread_mutex_unlock(&queue->lock);
}

void ring_wait_returned(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    while (queue->in_flight)
        pthread_cond_wait(&queue->returned, &queue->lock);
    pthread_mutex_unlock(&queue->lock);
}

/* ---- submission ---- */

/* One that is not in use; NULL: all are. The lock is held. */
static struct ring_request *take_spare(struct queue *queue)
{
    struct ring_request *r = queue->spare;

    if (r)
        queue->spare = r->next;
    else if (queue->made < queue->size)
        r = &queue->requests[queue->made++];
    return r;
}

/* A driver may have more in flight than the ring has entries if it lets heads come twice. */
static struct ring_request *wait_for_spare(struct queue *queue)
{
    struct ring_request *r;

    pthread_mutex_lock(&queue->lock);
    while (!(r = take_spare(queue)))
        pthread_cond_wait(&queue->returned, &queue->lock);
    pthread_mutex_unlock(&queue->lock);
    return r;
}

/* What carries no data may take its time (a flush, a key): what is done is told of before. */
static void tell_before(struct queue *queue, size_t bytes)
{
    if (queue->untold && bytes < SECTOR_SIZE)
        ring_tell(queue);
}

static void tell_after(struct queue *queue, size_t bytes)
{
    queue->untold++;
    queue->untold_bytes += bytes;
    if (queue->untold >= BATCH_REQUESTS || queue->untold_bytes >= BATCH_BYTES)
        ring_tell(queue);
}

/*
 * The generation that the driver was told of when it made this available; 0: none. Rings are marked
 * before it is announced, so that who sees it sees the mark.
 */
static uint64_t acknowledged_by(struct queue *queue, struct turn turn)
{
    uint64_t announced = atomic_load(&queue->host->announced);
    uint32_t mark = atomic_load_explicit(&queue->mark, memory_order_acquire);
    uint16_t at = (uint16_t)(queue->vring.next_avail - 1);
    uint16_t before = (uint16_t)(mark - at);

    if (!mark)
        return announced;
    if (turn.taken || (before && before <= queue->size))
        return 0;
    atomic_compare_exchange_strong(&queue->mark, &mark, 0);
    return announced;
}

/* The thread keeps one request at hand, so that a submission takes the lock once. */
enum vhost_user_refusal ring_submit(struct queue *queue, struct turn turn)
{
    struct ring_request *r = queue->current ? queue->current : wait_for_spare(queue);
    struct chain *chain = &r->chain;

    queue->current = r;
    enum vhost_user_refusal refusal = vring_chain(&queue->vring, turn.head, chain);
    if (refusal)
        return refusal;
    size_t bytes = iov_length(chain->parts, chain->readable + chain->writable);
    tell_before(queue, bytes);
    r->queue = queue;
    r->request = (struct ice_request){
        .readable = chain->parts,
        .nreadable = chain->readable,
        .writable = chain->parts + chain->readable,
        .nwritable = chain->writable,
        .queue = (uint16_t)queue->index,
        .expect = EXPECT_ANY,
        .replayed = turn.replayed,
        .acknowledges = acknowledged_by(queue, turn),
        .done = done,
    };
    pthread_mutex_lock(&queue->lock);
    if (!turn.taken)
        inflight_begin(&queue->log, turn.head);
    queue->in_flight++;
    queue->current = take_spare(queue);
    pthread_mutex_unlock(&queue->lock);
    atomic_fetch_add_explicit(&queue->taken, 1, memory_order_relaxed);
    ours = queue;
    device_submit(queue->host->attachment, &r->request);
    tell_after(queue, bytes);
    return REFUSAL_NONE;
}

/* ---- what is handed in again ---- */

bool ring_take_again(struct queue *queue, struct turn *turn)
{
    if (!atomic_load_explicit(&queue->again_count, memory_order_relaxed))
        return false;
    pthread_mutex_lock(&queue->lock);
    *turn = queue->again[--queue->again_count];
    pthread_mutex_unlock(&queue->lock);
    return true;
}

void ring_give_back(struct queue *queue)
{
    struct turn turn;

    while (ring_take_again(queue, &turn)) {
        inflight_forget(&queue->log, turn.head);
        queue->vring.next_avail--;
        queue->replayed += turn.replayed;
    }
}
