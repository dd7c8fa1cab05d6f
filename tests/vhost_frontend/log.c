/* SPDX-License-Identifier: BSD-2-Clause */
/* The log of requests in flight (INFLIGHT_SHMFD): kept for the back end, and read by tests. */
#include "base/bytes.h"
#include "private.h"
#include <errno.h>
#include <sys/mman.h>

#define LOG_ALIGN 64u /* of a queue's part, by custom */

struct log_entry {
    uint8_t inflight;
    uint8_t padding[5];
    uint16_t next;
    uint64_t counter;
};

struct log_queue {
    uint64_t features;
    uint16_t version;
    uint16_t desc_num;
    uint16_t last_batch_head;
    uint16_t used_idx;
    struct log_entry entries[];
};

_Static_assert(sizeof(struct log_entry) == 16, "log_entry");
_Static_assert(offsetof(struct log_queue, entries) == 16, "log_queue");

static struct log_queue *part_of(const struct frontend_queue *queue)
{
    size_t bytes = sizeof(struct log_queue) + queue->size * sizeof(struct log_entry);
    size_t stride = (bytes + LOG_ALIGN - 1) / LOG_ALIGN * LOG_ALIGN;

    return (struct log_queue *)(queue->frontend->log + queue->index * stride);
}

static int get(struct frontend *frontend, struct ice_why *why)
{
    const struct frontend_queue *last = &frontend->queues[frontend->queue_count - 1];
    struct vhost_user_inflight ask = {
        .num_queues = (uint16_t)(last->index + 1),
        .queue_size = (uint16_t)frontend->options.queue_size,
    };
    int err = socket_call(frontend, VHOST_USER_GET_INFLIGHT_FD, &ask, sizeof(ask),
                          &frontend->log_at, sizeof(frontend->log_at), &frontend->log_fd, why);

    if (err)
        return err;
    if (frontend->log_fd < 0)
        return why_set(why, EPROTO, "GET_INFLIGHT_FD: no descriptor came");
    void *map = mmap(NULL, frontend->log_at.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED,
                     frontend->log_fd, (off_t)frontend->log_at.mmap_offset);
    if (map == MAP_FAILED)
        return why_errno(why, errno, "mmap of the inflight log");
    frontend->log = map;
    return 0;
}

int log_share(struct frontend *frontend, struct ice_why *why)
{
    int err = frontend->log ? 0 : get(frontend, why);

    if (err)
        return err;
    return socket_tell(frontend, VHOST_USER_SET_INFLIGHT_FD, &frontend->log_at,
                       sizeof(frontend->log_at), &frontend->log_fd, 1, why);
}

void log_unmap(struct frontend *frontend)
{
    if (frontend->log)
        munmap(frontend->log, frontend->log_at.mmap_size);
}

unsigned frontend_taken(const struct frontend_queue *queue, uint16_t *heads)
{
    unsigned count = 0;

    if (!queue->frontend->log)
        return 0;
    const struct log_queue *part = part_of(queue);
    /* One that is in the used ring, though the log does not say so yet, was handed back. */
    bool late = part->used_idx != load_le16(&queue->used->idx);
    for (unsigned i = 0; i < queue->size; i++) {
        if (part->entries[i].inflight && !(late && i == part->last_batch_head))
            heads[count++] = (uint16_t)i;
    }
    return count;
}
