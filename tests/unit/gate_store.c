/* SPDX-License-Identifier: BSD-2-Clause */
/* A store with gates. */
#include "gate_store.h"
#include "base/bytes.h"
#include "patience.h"
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define NO_CALL UINT_MAX

struct gate {
    bool closed;
    unsigned pass; /* the number of a call that is let through although it is; none: NO_CALL */
    unsigned count, inside, most;
    unsigned fail_in; /* 0: no failure is due */
    int fail_err;
};

struct gate_store {
    struct store store;
    struct store *inner;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct gate gates[GATE_KINDS];
};

static struct timespec deadline(void)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += PATIENCE_S;
    return at;
}

static bool wait_change(struct gate_store *gs, const struct timespec *until)
{
    return pthread_cond_clockwait(&gs->changed, &gs->lock, CLOCK_MONOTONIC, until) != ETIMEDOUT;
}

/* Returns the errno to fail with. */
static int enter(struct gate_store *gs, enum gate_kind kind)
{
    struct gate *gate = &gs->gates[kind];
    struct timespec until = deadline();
    unsigned number;
    int err = 0;

    pthread_mutex_lock(&gs->lock);
    number = gate->count++;
    if (++gate->inside > gate->most)
        gate->most = gate->inside;
    pthread_cond_broadcast(&gs->changed);
    while (gate->closed && gate->pass != number && wait_change(gs, &until))
        ;
    if (gate->fail_in && !--gate->fail_in)
        err = gate->fail_err;
    pthread_mutex_unlock(&gs->lock);
    return err;
}

static void leave(struct gate_store *gs, enum gate_kind kind)
{
    pthread_mutex_lock(&gs->lock);
    gs->gates[kind].inside--;
    pthread_cond_broadcast(&gs->changed);
    pthread_mutex_unlock(&gs->lock);
}

static struct gate_store *of_store(struct store *store)
{
    return CONTAINER_OF(store, struct gate_store, store);
}

#define GATED(gs, kind, call, why)                                                                 \
    int r = enter(gs, kind);                                                                       \
    r = r ? why_set(why, r, "the test asked for a failure") : (call);                              \
    leave(gs, kind);                                                                               \
    return r

static int gated_read(struct store *store, uint64_t offset, struct iovec *iov, unsigned n,
                      struct ice_why *why)
{
    struct gate_store *gs = of_store(store);

    GATED(gs, GATE_READ, gs->inner->ops->read(gs->inner, offset, iov, n, why), why);
}

static int gated_write(struct store *store, uint64_t offset, struct iovec *iov, unsigned n,
                       struct ice_why *why)
{
    struct gate_store *gs = of_store(store);

    GATED(gs, GATE_WRITE, gs->inner->ops->write(gs->inner, offset, iov, n, why), why);
}

static int gated_flush(struct store *store, struct ice_why *why)
{
    struct gate_store *gs = of_store(store);

    GATED(gs, GATE_FLUSH, gs->inner->ops->flush(gs->inner, why), why);
}

static int gated_discard(struct store *store, uint64_t offset, uint64_t len, struct ice_why *why)
{
    struct gate_store *gs = of_store(store);

    GATED(gs, GATE_ZERO, gs->inner->ops->discard(gs->inner, offset, len, why), why);
}

static int gated_zero(struct store *store, uint64_t offset, uint64_t len, bool unmap,
                      struct ice_why *why)
{
    struct gate_store *gs = of_store(store);

    GATED(gs, GATE_ZERO, gs->inner->ops->zero(gs->inner, offset, len, unmap, why), why);
}

static void gated_close(struct store *store)
{
    struct gate_store *gs = of_store(store);

    store_close(gs->inner);
    pthread_cond_destroy(&gs->changed);
    pthread_mutex_destroy(&gs->lock);
    free(gs);
}

struct gate_store *gate_store_new(struct store *inner)
{
    static const struct store_ops ops = {
        .read = gated_read,
        .write = gated_write,
        .flush = gated_flush,
        .discard = gated_discard,
        .zero = gated_zero,
        .close = gated_close,
    };
    struct gate_store *gs = calloc(1, sizeof(*gs));

    if (!gs) {
        printf("Bail out! no memory for a store\n");
        exit(1);
    }
    gs->store = (struct store){.ops = &ops, .size = inner->size};
    gs->inner = inner;
    pthread_mutex_init(&gs->lock, NULL);
    pthread_cond_init(&gs->changed, NULL);
    return gs;
}

struct store *gate_store(struct gate_store *gate)
{
    return &gate->store;
}

static void set(struct gate_store *gs, enum gate_kind kind, bool closed, unsigned pass)
{
    pthread_mutex_lock(&gs->lock);
    gs->gates[kind].closed = closed;
    gs->gates[kind].pass = pass;
    pthread_cond_broadcast(&gs->changed);
    pthread_mutex_unlock(&gs->lock);
}

void gate_close(struct gate_store *gate, enum gate_kind kind)
{
    set(gate, kind, true, NO_CALL);
}

void gate_open(struct gate_store *gate, enum gate_kind kind)
{
    set(gate, kind, false, NO_CALL);
}

void gate_pass(struct gate_store *gate, enum gate_kind kind, unsigned number)
{
    set(gate, kind, true, number);
}

bool gate_wait(struct gate_store *gs, enum gate_kind kind, unsigned n)
{
    struct timespec until = deadline();
    bool in_time = true;

    pthread_mutex_lock(&gs->lock);
    while (gs->gates[kind].inside < n && in_time)
        in_time = wait_change(gs, &until);
    pthread_mutex_unlock(&gs->lock);
    return in_time;
}

void gate_fail(struct gate_store *gs, enum gate_kind kind, unsigned skipped, int err)
{
    pthread_mutex_lock(&gs->lock);
    gs->gates[kind].fail_in = skipped + 1;
    gs->gates[kind].fail_err = err;
    pthread_mutex_unlock(&gs->lock);
}

unsigned gate_count(struct gate_store *gs, enum gate_kind kind)
{
    pthread_mutex_lock(&gs->lock);
    unsigned count = gs->gates[kind].count;
    pthread_mutex_unlock(&gs->lock);
    return count;
}

unsigned gate_most(struct gate_store *gs, enum gate_kind kind)
{
    pthread_mutex_lock(&gs->lock);
    unsigned most = gs->gates[kind].most;
    pthread_mutex_unlock(&gs->lock);
    return most;
}
