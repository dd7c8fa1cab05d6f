/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside of the front end; see frontend.h. */
#ifndef ICESIM_TESTS_FRONTEND_PRIVATE_H
#define ICESIM_TESTS_FRONTEND_PRIVATE_H

#include "frontend.h"
#include <pthread.h>
#include <stdatomic.h>

/* Where the guest has its memory: behind 4 GiB, so that an address cut to 32 bits is none. */
#define GUEST_BASE UINT64_C(0x100000000)

struct frontend_queue {
    struct frontend *frontend;
    unsigned index; /* of the ring at the back end */
    unsigned size;

    /* in guest memory */
    struct vring_desc *desc, *tables; /* tables: FRONTEND_PARTS_MAX entries for each head */
    struct vring_avail *avail;
    struct vring_used *used;

    struct frontend_request **by_head; /* NULL: not in flight */
    uint16_t *next_free;               /* a list through the descriptors, `free` of them */
    uint16_t first_free;
    unsigned free, in_flight;
    uint16_t avail_idx, kicked_idx; /* made available; of them, the device was told */
    uint16_t used_idx;              /* seen */

    bool stopped; /* by GET_VRING_BASE, which said: */
    uint16_t base;

    int kick_fd, call_fd, err_fd; /* eventfds; of our own where notifications are in band */
    _Atomic uint64_t requests, kicks, calls;
};

struct frontend {
    struct frontend_options options;

    int memory_fd;
    uint8_t *memory;
    size_t memory_bytes, region_bytes, allocated;

    int fd, channel_fd; /* -1: not connected */
    pid_t peer;
    bool was_connected;
    uint64_t offered, features, offered_protocol, protocol;
    unsigned queue_limit;

    int log_fd; /* -1: none */
    struct vhost_user_inflight log_at;
    uint8_t *log;

    struct frontend_queue queues[FRONTEND_QUEUES_MAX];
    unsigned queue_count;

    pthread_mutex_t listening;
    _Atomic uint64_t config_changes, ring_errors, connects;

    struct sync_channel *sync;
};

static inline bool frontend_has(const struct frontend *frontend, unsigned protocol_bit)
{
    return frontend->protocol & VIRTIO_FEATURE(protocol_bit);
}

static inline uint64_t guest_address(const struct frontend *frontend, const void *p)
{
    return GUEST_BASE + (uint64_t)((const uint8_t *)p - frontend->memory);
}

/* ---- socket.c ---- */

int socket_connect(struct frontend *frontend, struct ice_why *why);

/*
 * A message whose answer is known by its number, of `reply_len` bytes; a descriptor that comes
 * along is put into *fd, if that is not NULL.
 */
int socket_call(struct frontend *frontend, uint32_t request, const void *payload, uint32_t len,
                void *reply, uint32_t reply_len, int *fd, struct ice_why *why);

/* A message with no answer but REPLY_ACK's. */
int socket_tell(struct frontend *frontend, uint32_t request, const void *payload, uint32_t len,
                const int *fds, unsigned nfds, struct ice_why *why);

/* A message that is neither acknowledged nor answered. 0 or -errno. */
int socket_notify(struct frontend *frontend, uint32_t request, const void *payload, uint32_t len);

/* ---- ring.c ---- */

/* Bytes of guest memory that the rings and tables of a queue take, any alignment. */
size_t queue_bytes(unsigned size);
int queue_make(struct frontend *frontend, unsigned position, unsigned index, struct ice_why *why);
void queue_free(struct frontend_queue *queue);

/* ---- log.c ---- */

int log_share(struct frontend *frontend, struct ice_why *why);
void log_unmap(struct frontend *frontend);

/* ---- channel.c ---- */

void sync_channel_free(struct sync_channel *sync);

#endif
