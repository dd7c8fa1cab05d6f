/* SPDX-License-Identifier: BSD-2-Clause */
/* Random choices of a storm. A case is its seed: the same one makes the same choices. */
#ifndef ICESIM_TESTS_STORM_H
#define ICESIM_TESTS_STORM_H

#include <stdbool.h>
#include <stdint.h>

static uint64_t storm_state = 1;

static inline void storm_seed(uint64_t seed)
{
    storm_state = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
}

/* 48 bits (xorshift64*, without its weak ones). */
static inline uint64_t number(void)
{
    storm_state ^= storm_state >> 12;
    storm_state ^= storm_state << 25;
    storm_state ^= storm_state >> 27;
    return storm_state * UINT64_C(0x2545f4914f6cdd1d) >> 16;
}

static inline unsigned pick(unsigned below)
{
    return (unsigned)(number() % below);
}

static inline bool chance(unsigned percent)
{
    return pick(100) < percent;
}

#endif
