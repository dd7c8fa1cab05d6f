/* SPDX-License-Identifier: BSD-2-Clause */
/* One counter, one queue, one lock, none of them on the path of a request whose buffer is cached.
 */
#include "budget.h"
#include "base/bytes.h"
#include <assert.h>
#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

int budget_init(struct budget *budget, size_t limit)
{
    *budget = (struct budget){.limit = limit};
    budget->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (budget->wake < 0)
        return -errno;
    pthread_mutex_init(&budget->lock, NULL);
    return 0;
}

void budget_destroy(struct budget *budget)
{
    assert(budget->used == 0 && !budget->first);
    close(budget->wake);
    pthread_mutex_destroy(&budget->lock);
}

/* A single need above the limit is met when nothing else is in use. */
static bool fits(const struct budget *budget, size_t size)
{
    return budget->used == 0 || (size <= budget->limit && budget->used <= budget->limit - size);
}

static void unlink_from(struct budget_waiter **list, const struct budget_waiter *waiter)
{
    for (; *list; list = &(*list)->next) {
        if (*list == waiter) {
            *list = waiter->next;
            return;
        }
    }
}

static void queue_changed(struct budget *budget)
{
    budget->last = budget->first;
    while (budget->last && budget->last->next)
        budget->last = budget->last->next;
    atomic_store_explicit(&budget->waiting, budget->first != NULL, memory_order_relaxed);
}

/* Serves the head of the queue for as long as there is room. */
static void grant(struct budget *budget)
{
    bool any = false;
    while (budget->first && fits(budget, budget->first->need)) {
        struct budget_waiter *waiter = budget->first;
        budget->first = waiter->next;
        budget->used += waiter->need;
        waiter->state = BUDGET_GRANTED;
        waiter->next = budget->granted;
        budget->granted = waiter;
        any = true;
    }
    if (!any)
        return;
    queue_changed(budget);
    if (eventfd_write(budget->wake, 1))
        assert(errno == EAGAIN); /* readable already */
}

bool budget_take(struct budget *budget, struct budget_waiter *waiter, size_t size)
{
    pthread_mutex_lock(&budget->lock);
    bool taken = false;
    if (waiter->state == BUDGET_GRANTED) {
        unlink_from(&budget->granted, waiter);
        waiter->state = BUDGET_NOT_WAITING;
        budget->used = budget->used - waiter->need + size;
        grant(budget);
        taken = true;
    } else if (!budget->first && fits(budget, size)) {
        budget->used += size;
        taken = true;
    }
    pthread_mutex_unlock(&budget->lock);
    return taken;
}

void budget_wait(struct budget *budget, struct budget_waiter *waiter, size_t size)
{
    pthread_mutex_lock(&budget->lock);
    if (waiter->state == BUDGET_NOT_WAITING) {
        *waiter = (struct budget_waiter){.need = size, .state = BUDGET_QUEUED};
        if (budget->last)
            budget->last->next = waiter;
        else
            budget->first = waiter;
        queue_changed(budget);
        grant(budget);
    }
    pthread_mutex_unlock(&budget->lock);
}

void budget_cancel(struct budget *budget, struct budget_waiter *waiter)
{
    pthread_mutex_lock(&budget->lock);
    if (waiter->state == BUDGET_QUEUED) {
        unlink_from(&budget->first, waiter);
        queue_changed(budget);
    } else if (waiter->state == BUDGET_GRANTED) {
        unlink_from(&budget->granted, waiter);
        budget->used -= waiter->need;
    }
    waiter->state = BUDGET_NOT_WAITING;
    grant(budget);
    pthread_mutex_unlock(&budget->lock);
}

void budget_give(struct budget *budget, size_t size)
{
    pthread_mutex_lock(&budget->lock);
    assert(budget->used >= size);
    budget->used -= size;
    grant(budget);
    pthread_mutex_unlock(&budget->lock);
}

struct budget_waiter *budget_next_granted(struct budget *budget)
{
    pthread_mutex_lock(&budget->lock);
    struct budget_waiter *waiter = budget->granted;
    if (waiter)
        budget->granted = waiter->next;
    pthread_mutex_unlock(&budget->lock);
    return waiter;
}
