/* SPDX-License-Identifier: BSD-2-Clause */
/* The clock of deadlines and of what came first: it never jumps. */
#ifndef ICESIM_BASE_CLOCK_H
#define ICESIM_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Milliseconds since some moment in the past. */
static inline int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The same in nanoseconds. */
static inline uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

#endif
