/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The log of requests in flight (INFLIGHT_SHMFD), in memory that outlives this process: what a back
 * end that was killed had taken from its rings and not handed back. The layout of a queue's part is
 * the specification's for split rings; behind the last queue stands a record of our own, which says
 * of what engine, and what generation of it, the driver's keys are.
 */
#ifndef ICESIM_VHOST_USER_INFLIGHT_H
#define ICESIM_VHOST_USER_INFLIGHT_H

#include "refusal.h"
#include "virtio/vhost_user.h"
#include <stdbool.h>
#include <stddef.h>

struct inflight_part; /* a queue's, in shared memory */

/*
 * A queue's part of the log. Of the functions below that take it, one runs at a time; and a head is
 * not begun anew between being pushed and ended.
 */
struct inflight_queue {
    struct inflight_part *part; /* NULL: there is no log, and nothing is done */
    unsigned size;              /* of the ring */
    uint64_t counter;           /* of the latest request that was taken */
};

struct inflight {
    void *map; /* NULL: there is no log */
    size_t map_bytes;
    uint8_t *bytes; /* of the log, mmap_offset into it */
    unsigned queues, size;
};

/*
 * Makes a log in a new memfd, all zeros, and fills `reply`; *fd is the caller's. 0; -EINVAL: no
 * queues, or a size that no ring has; another -errno.
 */
int inflight_make(unsigned queues, unsigned size, struct vhost_user_inflight *reply, int *fd);

/* Maps what a front end hands in; `fd` stays the caller's. A refusal: not such a log. */
enum vhost_user_refusal inflight_map(struct inflight *log, const struct vhost_user_inflight *at,
                                     int fd);
void inflight_unmap(struct inflight *log);

/* The part of queue `index`, whose ring has `size` entries. A refusal: there is no room for it. */
enum vhost_user_refusal inflight_open(const struct inflight *log, unsigned index, unsigned size,
                                      struct inflight_queue *queue);

/*
 * Before anything else of a queue: forgets what `used_idx` of the ring says was handed back, and
 * writes into `heads` (room for the ring's size) what was not, in the order it was taken. Returns
 * their number.
 */
unsigned inflight_recover(struct inflight_queue *queue, uint16_t used_idx, uint16_t *heads);

/* A request was taken from the ring; it is about to be handed back; it was (used_idx as then). */
void inflight_begin(struct inflight_queue *queue, uint16_t head);
void inflight_ending(struct inflight_queue *queue, uint16_t head);
void inflight_ended(struct inflight_queue *queue, uint16_t head, uint16_t used_idx);
/* It is in the ring again, as if it had never been taken. */
void inflight_forget(struct inflight_queue *queue, uint16_t head);

/*
 * The generation of the engine that the driver acknowledged, as an earlier connection noted it; 0:
 * none, or of another process. And noting it; cheap when nothing changed.
 */
uint64_t inflight_generation(const struct inflight *log);
void inflight_note_generation(const struct inflight *log, uint64_t generation);

#endif
