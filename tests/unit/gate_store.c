/* SPDX-License-Identifier: BSD-2-Clause */
/* A store with gates. */
#include "gate_store.h"
#include "base/bytes.h"
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LIMIT_SECONDS 10
#define PAUSE_US      2000

struct gate {
    bool closed;
    unsigned count, inside, most;
    unsigned batch, arrived, turn; /* batch 0: no reversal under way */
    unsigned fail_in;              /* 0: no failure is due */
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
    at.tv_sec += LIMIT_SECONDS;
    return at;
}

static bool wait_change(struct gate_store *gs, const struct timespec *until)
{
    return pthread_cond_clockwait(&gs->changed, &gs->lock, CLOCK_MONOTONIC, until) != ETIMEDOUT;
}

/* Waits for the caller's place in the reversed order. */
static void await_turn(struct gate_store *gs, struct gate *gate, const struct timespec *until)
{
    unsigned ticket = gate->arrived++;

    pthread_cond_broadcast(&gs->changed);
    while ((gate->arrived < gate->batch || gate->turn != ticket) && wait_change(gs, until))
        ;
}

/* Returns the errno to fail with. */
static int enter(struct gate_store *gs, enum gate_kind kind)
{
    static const struct timespec pause = {.tv_nsec = PAUSE_US * 1000};
    struct gate *gate = &gs->gates[kind];
    struct timespec until = deadline();
    bool reversed;
    int err = 0;

    pthread_mutex_lock(&gs->lock);
    gate->count++;
    if (++gate->inside > gate->most)
        gate->most = gate->inside;
    pthread_cond_broadcast(&gs->changed);
    while (gate->closed && wait_change(gs, &until))
        ;
    reversed = gate->arrived < gate->batch;
    if (reversed)
        await_turn(gs, gate, &until);
    if (gate->fail_in && !--gate->fail_in)
        err = gate->fail_err;
    pthread_mutex_unlock(&gs->lock);
    if (reversed)
        nanosleep(&pause, NULL); /* so that the one before has answered */
    return err;
}

static void leave(struct gate_store *gs, enum gate_kind kind)
{
    struct gate *gate = &gs->gates[kind];

    pthread_mutex_lock(&gs->lock);
    gate->inside--;
    if (gate->batch && gate->arrived == gate->batch && !gate->turn--)
        gate->batch = gate->arrived = gate->turn = 0;
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

static void set_closed(struct gate_store *gs, enum gate_kind kind, bool closed)
{
    pthread_mutex_lock(&gs->lock);
    gs->gates[kind].closed = closed;
    pthread_cond_broadcast(&gs->changed);
    pthread_mutex_unlock(&gs->lock);
}

void gate_close(struct gate_store *gate, enum gate_kind kind)
{
    set_closed(gate, kind, true);
}

void gate_open(struct gate_store *gate, enum gate_kind kind)
{
    set_closed(gate, kind, false);
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

void gate_reverse(struct gate_store *gs, enum gate_kind kind, unsigned n)
{
    pthread_mutex_lock(&gs->lock);
    gs->gates[kind].batch = n;
    gs->gates[kind].arrived = 0;
    gs->gates[kind].turn = n - 1;
    pthread_mutex_unlock(&gs->lock);
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
