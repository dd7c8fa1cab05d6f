/* SPDX-License-Identifier: BSD-2-Clause */
/* Front ends that are wrong in one thing: a way for each refusal of messages and of memory. */
#ifndef ICESIM_TESTS_VHOST_SPOIL_H
#define ICESIM_TESTS_VHOST_SPOIL_H

#include "vhost_rig.h"

struct spoils {
    int sealed; /* a file that cannot be mapped for writing */
    int log;    /* of requests in flight; what is in it changes from case to case */
    struct vhost_user_inflight at;
};

void spoils_open(struct spoils *spoils);
void spoils_close(struct spoils *spoils);

/* Whether spoil knows a way. */
bool can_spoil(enum vhost_user_refusal how);

/*
 * Connects, does what leads to `how`, sees the front end cut off or its ring stopped, and `how`
 * counted once; hangs up. False: it was not so.
 */
bool spoil(const struct spoils *spoils, struct vhost_rig *rig, struct vm *vm,
           enum vhost_user_refusal how, uint64_t seed);

/* Whether the back end hangs up; whatever it sends before is thrown away. */
bool is_cut_off(struct vm *vm);

#endif
