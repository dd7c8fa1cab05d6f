/* SPDX-License-Identifier: BSD-2-Clause */
/* A hit costs what it costs without waiting: the completion is not looked at. */
#include "profile_wait.h"
#include "base/bytes.h"
#include <errno.h>

static void ready(struct profile_ref *ref, int err)
{
    struct profile_hold *hold = CONTAINER_OF(ref, struct profile_hold, ref);

    hold->err = err;
    completion_done(&hold->ready);
}

int profile_hold_begin(struct profile_key *key, struct profile_hold *hold)
{
    hold->ref.ready = ready;
    completion_init(&hold->ready);
    return profile_get(key, &hold->ref);
}

int profile_hold_wait(struct profile_hold *hold)
{
    completion_wait(&hold->ready);
    return hold->err;
}

int profile_hold(struct profile_key *key, struct profile_hold *hold)
{
    int r = profile_hold_begin(key, hold);

    return r == -EINPROGRESS ? profile_hold_wait(hold) : r;
}

int profile_hold_again(struct profile_hold *hold)
{
    int r;

    completion_init(&hold->ready);
    r = profile_again(&hold->ref);
    return r == -EINPROGRESS ? profile_hold_wait(hold) : r;
}

struct eviction {
    struct completion ended;
    int err;
};

static void evicted(void *arg, int err)
{
    struct eviction *eviction = arg;

    eviction->err = err;
    completion_done(&eviction->ended);
}

int profile_evict_wait(struct profile_key *key)
{
    struct eviction eviction;
    int r;

    completion_init(&eviction.ended);
    r = profile_evict(key, evicted, &eviction);
    if (r != -EINPROGRESS)
        return r;
    completion_wait(&eviction.ended);
    return eviction.err;
}
