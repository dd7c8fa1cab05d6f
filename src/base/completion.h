/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of something that one thread waits for, once. When it has ended before anybody waits,
 * neither side makes a system call.
 */
#ifndef ICESIM_BASE_COMPLETION_H
#define ICESIM_BASE_COMPLETION_H

#include "futex.h"

enum completion_state { COMPLETION_PENDING, COMPLETION_AWAITED, COMPLETION_DONE };

struct completion {
    _Atomic uint32_t state;
};

static inline void completion_init(struct completion *completion)
{
    atomic_init(&completion->state, COMPLETION_PENDING);
}

/* Once. What was written before is seen by who waited. `completion` may be gone when it returns. */
static inline void completion_done(struct completion *completion)
{
    if (atomic_exchange(&completion->state, COMPLETION_DONE) == COMPLETION_AWAITED)
        futex_wake_all(&completion->state);
}

static inline void completion_wait(struct completion *completion)
{
    uint32_t state = COMPLETION_PENDING;

    if (!atomic_compare_exchange_strong(&completion->state, &state, COMPLETION_AWAITED))
        return;
    while (atomic_load(&completion->state) != COMPLETION_DONE)
        futex_wait(&completion->state, COMPLETION_AWAITED);
}

#endif
