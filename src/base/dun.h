/* SPDX-License-Identifier: BSD-2-Clause */
/* The data unit number: 256 bits in four limbs, least significant first, as blk-crypto has it. */
#ifndef ICESIM_BASE_DUN_H
#define ICESIM_BASE_DUN_H

#include <stdbool.h>
#include <stdint.h>

struct dun {
    uint64_t limb[4];
};

static inline struct dun dun_from_u64(uint64_t n)
{
    return (struct dun){{n, 0, 0, 0}};
}

/* Adds n with carry. Returns false when the sum does not fit 256 bits (it wraps). */
static inline bool dun_add(struct dun *dun, uint64_t n)
{
    for (int i = 0; i < 4 && n; i++) {
        dun->limb[i] += n;
        n = dun->limb[i] < n; /* the carry */
    }
    return n == 0;
}

/* True when `dun` fits `bits` (1..256). */
static inline bool dun_fits(const struct dun *dun, unsigned bits)
{
    for (unsigned i = 0; i < 4; i++) {
        unsigned low = i * 64;
        if (bits >= low + 64)
            continue;
        uint64_t allowed = bits <= low ? 0 : (UINT64_C(1) << (bits - low)) - 1;
        if (dun->limb[i] & ~allowed)
            return false;
    }
    return true;
}

#endif
