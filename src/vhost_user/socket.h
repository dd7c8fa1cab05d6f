/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages on a front end's socket: put together from whatever pieces come, with their descriptors,
 * without ever waiting.
 */
#ifndef ICESIM_VHOST_USER_SOCKET_H
#define ICESIM_VHOST_USER_SOCKET_H

#include "refusal.h"
#include "virtio/vhost_user.h"
#include <stddef.h>

struct message {
    size_t have; /* bytes, header included */
    struct vhost_user_header header;
    union vhost_user_payload {
        uint64_t u64;
        struct vhost_user_mem_table table;
        struct vhost_user_mem_reg region;
        struct vhost_user_vring_state state;
        struct vhost_user_vring_addr addr;
        struct vhost_user_config config;
        struct vhost_user_inflight inflight;
    } payload;
    unsigned fd_count;
    int fds[VHOST_USER_TABLE_REGIONS]; /* -1: taken over by who handled the message */
};

enum receipt {
    RECEIPT_NOTHING, /* not yet a whole message */
    RECEIPT_MESSAGE,
    RECEIPT_END,     /* the front end hung up, between two messages */
    RECEIPT_REFUSED, /* *refusal says why */
};

/* Reads on. After a message: message_clear, before the next call. */
enum receipt message_receive(struct message *message, int fd, enum vhost_user_refusal *refusal);

/* Closes the descriptors that nobody took over; ready for the next. */
void message_clear(struct message *message);

/* The first descriptor, which is the caller's from now on; -1: there is none. */
int message_take_fd(struct message *message);

/*
 * Sends a message whole, at once, with a descriptor unless `passed` is -1. 0, -EAGAIN: there is no
 * room, or another -errno: nobody is there.
 */
int message_send(int fd, const struct vhost_user_header *header, const void *payload, int passed);

#endif
