/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The memory that the request buffers of a lane's connections may take together. Who finds too
 * little left waits in one queue, first come, first served, whatever its size: a large request is
 * not passed by small ones for ever. What is given back goes to the queue's head as a grant,
 * already charged to it, and an eventfd tells that there are grants to hand out. All functions may
 * be called from any thread; none blocks.
 */
#ifndef ICESIM_ICESIM_BUDGET_H
#define ICESIM_ICESIM_BUDGET_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

/* One who may wait; part of a connection. Its fields belong to the budget. */
struct budget_waiter {
    struct budget_waiter *next;
    size_t need;
    enum { BUDGET_NOT_WAITING, BUDGET_QUEUED, BUDGET_GRANTED } state;
};

struct budget {
    pthread_mutex_t lock;
    size_t used, limit;
    struct budget_waiter *first, *last;
    struct budget_waiter *granted; /* not yet handed out */
    atomic_bool waiting;           /* the queue is not empty */
    int wake;                      /* eventfd: readable while grants wait to be handed out */
};

/* 0 or -errno. */
int budget_init(struct budget *budget, size_t limit);
void budget_destroy(struct budget *budget);

/*
 * Charges `size` bytes: true. Or false: there is not enough, or others wait. A grant for `waiter`
 * is used up by it (a difference in size is settled).
 */
bool budget_take(struct budget *budget, struct budget_waiter *waiter, size_t size);

/* Puts `waiter` in the queue, if it is not there yet; it may get its grant at once. */
void budget_wait(struct budget *budget, struct budget_waiter *waiter, size_t size);

/* Takes `waiter` out of the queue, and back what was granted to it. */
void budget_cancel(struct budget *budget, struct budget_waiter *waiter);

void budget_give(struct budget *budget, size_t size);

/* The next waiter with a grant that has not been told, or NULL. The grant stays charged to it. */
struct budget_waiter *budget_next_granted(struct budget *budget);

/* True when somebody waits: then nobody should keep what it does not use. */
static inline bool budget_short(struct budget *budget)
{
    return atomic_load_explicit(&budget->waiting, memory_order_relaxed);
}

#endif
