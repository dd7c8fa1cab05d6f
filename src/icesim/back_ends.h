/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The vhost-user back ends of a host's functions. One serves as long as the host has its function,
 * and again when that is added again; but a connection that was handed over ends with it.
 */
#ifndef ICESIM_ICESIM_BACK_ENDS_H
#define ICESIM_ICESIM_BACK_ENDS_H

#include "host.h"
#include "options.h"
#include "vhost_user/vhost_user.h"

struct back_ends;

/*
 * Takes over the descriptors that the options name, and those of a service manager: before this
 * process opens any of its own, whose number could be theirs. Serves nothing yet. `options` outlive
 * it. 0 or -errno: -EBADF, -ENOTSOCK, -EINVAL: no such socket; -ENOENT: no such function; -EEXIST:
 * one function has two.
 */
int back_ends_take(const struct options *options, struct back_ends **back_ends,
                   struct ice_why *why);

/* Serves the functions of `host`, now and as they come. 0 or -errno. */
int back_ends_open(struct back_ends *back_ends, struct host *host, struct ice_why *why);

/* Removes the sockets; front ends that are connected are served on. NULL is allowed, as below. */
void back_ends_refuse_new(struct back_ends *back_ends);

/* Lets requests in flight end, hangs up, frees. */
void back_ends_close(struct back_ends *back_ends);

/* False: the function has no back end. Any thread. */
bool back_ends_count(struct back_ends *back_ends, const char *function,
                     struct vhost_user_counts *counts);

#endif
