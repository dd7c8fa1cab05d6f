/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vhost-user back end of one function: a VMM connects, shares its guest's memory, and the
 * driver's requests come by split virtqueues. One front end at a time; it is an attachment of the
 * function like any other.
 *
 * One thread serves messages, one more each ring that is started; requests run on the ring's
 * thread. Any thread may call what is here.
 *
 * A message that is refused ends the connection, with a reply before it where one was asked for;
 * but a request that is unknown here, and asks for a reply, is told so, and the connection goes on.
 */
#ifndef ICESIM_VHOST_USER_VHOST_USER_H
#define ICESIM_VHOST_USER_VHOST_USER_H

#include "base/why.h"
#include "device/device.h"
#include "refusal.h"

struct vhost_user;

enum vhost_user_socket {
    VHOST_USER_LISTENING, /* front ends connect to it, one after the other */
    VHOST_USER_CONNECTED, /* it is the connection, and the only one */
};

/*
 * Serves `fd`, which it takes over when it succeeds. `function` outlives it. 0 or -errno.
 */
int vhost_user_open(struct ice_function *function, enum vhost_user_socket kind, int fd,
                    struct vhost_user **back_end, struct ice_why *why);

/* Takes no new front end; the one there is is served on. */
void vhost_user_refuse_new(struct vhost_user *back_end);

/* Waits for requests in flight, hangs up, frees; NULL is allowed. */
void vhost_user_close(struct vhost_user *back_end);

/* Since it was opened, over all front ends. */
struct vhost_user_counts {
    bool connected;
    uint64_t requests, kicks, calls; /* kicks read, of which one may stand for several; calls */
    struct refusal_counts refused;
};

void vhost_user_count(struct vhost_user *back_end, struct vhost_user_counts *counts);

#endif
