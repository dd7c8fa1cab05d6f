/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A profile for who waits: the calls of profile.h that may end later, until they have. Never from
 * within an operation or a continuation of a profile. Without allocation.
 */
#ifndef ICESIM_BLKCRYPTO_PROFILE_WAIT_H
#define ICESIM_BLKCRYPTO_PROFILE_WAIT_H

#include "base/completion.h"
#include "profile.h"

/* A reference to a slot. End it with profile_put(&ref). */
struct profile_hold {
    struct profile_ref ref;

    /* private */
    struct completion ready;
    int err;
};

/* 0: it is held, ref.slot has the key; or -errno as profile_get or `ready` have it. */
int profile_hold(struct profile_key *key, struct profile_hold *hold);

/* The two halves of profile_hold: as profile_get, and the wait after its -EINPROGRESS. */
int profile_hold_begin(struct profile_key *key, struct profile_hold *hold);
int profile_hold_wait(struct profile_hold *hold);

/* As profile_again; on error it is held no more. */
int profile_hold_again(struct profile_hold *hold);

/* 0; -EBUSY: nothing changes; another -errno as `done` has it. */
int profile_evict_wait(struct profile_key *key);

#endif
