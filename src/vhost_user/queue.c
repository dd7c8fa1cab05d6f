/* SPDX-License-Identifier: BSD-2-Clause */
#include "queue.h"
#include "base/log.h"
#include "queue_private.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

int queue_init(struct queue *queue, unsigned index, const struct queue_host *host)
{
    *queue = (struct queue){
        .host = host,
        .index = index,
        .kick = -1,
        .call = -1,
        .err = -1,
        .wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
    };
    if (queue->wake < 0)
        return -errno;
    pthread_mutex_init(&queue->lock, NULL);
    pthread_cond_init(&queue->returned, NULL);
    return 0;
}

void queue_free(struct queue *queue)
{
    pthread_cond_destroy(&queue->returned);
    pthread_mutex_destroy(&queue->lock);
    close(queue->wake);
}

void queue_poke(struct queue *queue)
{
    eventfd_write(queue->wake, 1);
}

void queue_break(struct queue *queue, const char *cause)
{
    const struct queue_host *host = queue->host;

    log_error("%s: ring %u stops: %s", host->name, queue->index, cause);
    atomic_store(&queue->broken, true);
    if (queue->err >= 0)
        eventfd_write(queue->err, 1);
    else if (host->in_band)
        back_channel_error(host->channel, queue->index);
}

/* ---- start ---- */

bool queue_is_active(const struct queue *queue)
{
    return queue->started && queue->enabled;
}

bool queue_should_run(const struct queue *queue)
{
    return queue_is_active(queue) && !atomic_load(&queue->broken);
}

/* Memory for requests and for what is handed in again; pages are there once they are touched. */
static bool make_requests(struct queue *queue)
{
    size_t requests = queue->size * sizeof(struct ring_request);
    size_t bytes = requests + 2 * (size_t)queue->size * sizeof(struct turn);
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (map == MAP_FAILED)
        return false;
    queue->requests = map;
    queue->requests_bytes = bytes;
    queue->again = (void *)((uint8_t *)map + requests);
    return true;
}

static void drop_requests(struct queue *queue)
{
    if (queue->requests)
        munmap(queue->requests, queue->requests_bytes);
    queue->requests = NULL;
    queue->again = NULL;
    queue->current = NULL;
    queue->spare = NULL;
    queue->made = 0;
    queue->again_count = 0;
}

/*
 * What the log says was in flight stands in the ring between the used and the available index, so
 * the next entry to look at is behind it, whatever base was set.
 */
static bool recover(struct queue *queue)
{
    uint16_t *heads;
    unsigned n;

    if (!queue->log.part)
        return true;
    heads = calloc(queue->size, sizeof(*heads));
    if (!heads)
        return false;
    n = inflight_recover(&queue->log, queue->vring.next_used, heads);
    queue->vring.next_avail = (uint16_t)(queue->vring.next_used + n);
    for (unsigned i = 0; i < n; i++)
        queue->again[i] = (struct turn){heads[n - 1 - i], .taken = true, .replayed = true};
    queue->again_count = n;
    free(heads);
    if (n)
        log_info("%s: ring %u: %u requests in flight are taken up again", queue->host->name,
                 queue->index, n);
    return true;
}

/* NULL, or what is wrong. */
static const char *prepare(struct queue *queue)
{
    const struct queue_host *host = queue->host;
    enum vhost_user_refusal refusal;

    refusal = inflight_open(host->log, queue->index, queue->size, &queue->log);
    if (refusal) {
        refusal_count(host->refused, refusal);
        return refusal_text(refusal);
    }
    if (!make_requests(queue) || !recover(queue))
        return "no memory for its requests";
    if (queue->vring.next_avail != queue->replayed_at)
        queue->replayed = 0; /* another driver's ring */
    queue->prepared = true;
    return NULL;
}

static enum vhost_user_refusal map(struct queue *queue)
{
    const struct queue_host *host = queue->host;
    struct vring *vring = &queue->vring;

    vring->memory = host->memory;
    vring->counts = host->refused;
    vring->size = queue->size;
    vring->event_idx = host->event_idx;
    vring->indirect = host->indirect;
    return vring_map(vring, queue->desc, queue->avail, queue->used);
}

static const char *start(struct queue *queue)
{
    const char *fault = queue->prepared ? NULL : prepare(queue);
    int err;

    if (fault)
        return fault;
    if (atomic_load(&queue->mark) == MARK_LATER)
        queue_mark(queue);
    atomic_store(&queue->stop, false);
    err = worker_start(&queue->worker, ring_thread, queue);
    queue->running = !err;
    return err ? strerror(-err) : NULL;
}

/* Regions come and go one by one: one that is not there yet is waited for. */
bool queue_run(struct queue *queue)
{
    bool late = atomic_load(&queue->mark) == MARK_LATER;
    enum vhost_user_refusal refusal = map(queue);
    const char *fault = refusal ? refusal_text(refusal) : start(queue);

    if (refusal == REFUSAL_RING_ADDRESS)
        log_info("%s: ring %u waits: %s", queue->host->name, queue->index, fault);
    else if (fault)
        queue_break(queue, fault);
    return late && queue->running;
}

void queue_mark(struct queue *queue)
{
    uint32_t mark = queue->vring.desc ? MARKED | vring_available(&queue->vring) : MARK_LATER;

    atomic_store_explicit(&queue->mark, mark, memory_order_release);
}

/* ---- end ---- */

void queue_halt(struct queue *queue)
{
    if (!queue->running)
        return;
    atomic_store_explicit(&queue->stop, true, memory_order_release);
    queue_poke(queue);
    worker_join(&queue->worker);
    ring_wait_returned(queue);
    queue->running = false;
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* What running it has made; what the front end has said stays. */
static void clean(struct queue *queue)
{
    drop_requests(queue);
    vring_unmap(&queue->vring);
    queue->log = (struct inflight_queue){0};
    queue->prepared = false;
    if (atomic_load(&queue->mark))
        atomic_store(&queue->mark, MARK_LATER);
    atomic_store(&queue->broken, false);
}

void queue_rewind(struct queue *queue)
{
    queue_halt(queue);
    if (queue->prepared) {
        ring_give_back(queue);
        queue->replayed_at = queue->vring.next_avail;
    }
    clean(queue);
}

static void end(struct queue *queue)
{
    queue->started = false;
    close_fd(&queue->kick);
    close_fd(&queue->call);
}

void queue_end(struct queue *queue)
{
    queue_rewind(queue);
    end(queue);
}

void queue_reset(struct queue *queue)
{
    queue_end(queue);
    queue->replayed = 0;
}

void queue_forget(struct queue *queue)
{
    queue_halt(queue);
    clean(queue);
    end(queue);
    queue->replayed = 0;
    close_fd(&queue->err);
    queue->size = 0;
    queue->addressed = false;
    queue->enabled = false;
    queue->vring.next_avail = 0;
    atomic_store(&queue->mark, 0);
}
