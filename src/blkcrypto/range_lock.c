/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stripe s of the store has lock s mod 256. A hold is a run of stripes, so its locks are one run of
 * the table, or two when it goes over the table's end; they are taken from index 0 up. What is held
 * where follows from the hold alone, so that nothing has to be remembered between take and drop.
 */
#include "range_lock.h"
#include "base/bytes.h"
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>

#define STRIPE_SHIFT 16
#define STRIPES      256u

struct range_lock {
    struct stripe {
        pthread_rwlock_t lock;
    } __attribute__((aligned(64))) stripes[STRIPES]; /* one cache line each */
};

/* Stripes first to last of the store, not reduced to the table. */
struct run {
    uint64_t first, last;
};

static struct run run_of(uint64_t offset, uint64_t len)
{
    return (struct run){offset >> STRIPE_SHIFT, (offset + len - 1) >> STRIPE_SHIFT};
}

/* True when a stripe of the run has the lock `index`. */
static bool uses(struct run run, unsigned index)
{
    return ((index - run.first) & (STRIPES - 1)) <= run.last - run.first;
}

static bool exclusive(const struct range_hold *hold, unsigned index)
{
    return (hold->head && uses(run_of(hold->offset, hold->head), index)) ||
           (hold->tail && uses(run_of(hold->offset + hold->len - hold->tail, hold->tail), index));
}

/* Table indices [from, to). */
struct span {
    unsigned from, to;
};

/* The locks of a run, the lower ones first. */
static void spans_of(struct run run, struct span spans[static 2])
{
    unsigned first = (unsigned)(run.first % STRIPES);
    unsigned end = first + (unsigned)min_u64(run.last - run.first + 1, STRIPES);

    spans[0] = (struct span){0, end > STRIPES ? end - STRIPES : 0};
    spans[1] = (struct span){first, (unsigned)min_u64(end, STRIPES)};
}

static void init_stripes(struct range_lock *lock)
{
    pthread_rwlockattr_t attr;

    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_rwlock_init(&lock->stripes[i].lock, &attr);
    pthread_rwlockattr_destroy(&attr);
}

struct range_lock *range_lock_new(void)
{
    struct range_lock *lock = aligned_alloc(_Alignof(struct range_lock), sizeof(*lock));

    if (lock)
        init_stripes(lock);
    return lock;
}

void range_lock_free(struct range_lock *lock)
{
    if (!lock)
        return;
    for (unsigned i = 0; i < STRIPES; i++)
        pthread_rwlock_destroy(&lock->stripes[i].lock);
    free(lock);
}

void range_lock_take(struct range_lock *lock, const struct range_hold *hold)
{
    struct span spans[2];

    assert(hold->len && hold->head <= hold->len && hold->tail <= hold->len);
    spans_of(run_of(hold->offset, hold->len), spans);
    for (unsigned s = 0; s < 2; s++)
        for (unsigned i = spans[s].from; i < spans[s].to; i++)
            if (exclusive(hold, i))
                pthread_rwlock_wrlock(&lock->stripes[i].lock);
            else
                pthread_rwlock_rdlock(&lock->stripes[i].lock);
}

void range_lock_drop(struct range_lock *lock, const struct range_hold *hold)
{
    struct span spans[2];

    spans_of(run_of(hold->offset, hold->len), spans);
    for (unsigned s = 0; s < 2; s++)
        for (unsigned i = spans[s].from; i < spans[s].to; i++)
            pthread_rwlock_unlock(&lock->stripes[i].lock);
}
