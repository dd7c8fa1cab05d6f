/* SPDX-License-Identifier: BSD-2-Clause */
/* The data unit number: 256 bits in four limbs, least significant first, as blk-crypto has it. */
#ifndef ICESIM_BASE_DUN_H
#define ICESIM_BASE_DUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct dun {
    uint64_t limb[4];
};

#define DUN_TEXT (sizeof("0x") + 64)

/* In hexadecimal, "0x…", without zeros before it. */
void dun_text(const struct dun *dun, char text[static DUN_TEXT]);

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

/* True when `next` is `n` after `dun`, without a wrap to zero in between. */
static inline bool dun_contiguous(struct dun dun, uint64_t n, struct dun next)
{
    if (!dun_add(&dun, n))
        return false;
    for (int i = 0; i < 4; i++) {
        if (dun.limb[i] != next.limb[i])
            return false;
    }
    return true;
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

/* Drops what is above the low `bits` (1..256). */
static inline void dun_mask(struct dun *dun, unsigned bits)
{
    for (unsigned i = 0; i < 4; i++) {
        unsigned low = i * 64;
        if (bits <= low)
            dun->limb[i] = 0;
        else if (bits < low + 64)
            dun->limb[i] &= (UINT64_C(1) << (bits - low)) - 1;
    }
}

/* How many numbers there are from `dun`, which fits `bits`, to the last that does; `most` if more.
 */
static inline uint64_t dun_left(const struct dun *dun, unsigned bits, uint64_t most)
{
    struct dun behind;

    for (unsigned i = 0; i < 4; i++)
        behind.limb[i] = ~dun->limb[i];
    dun_mask(&behind, bits);
    if (behind.limb[1] | behind.limb[2] | behind.limb[3] || behind.limb[0] >= most)
        return most;
    return behind.limb[0] + 1;
}

#endif
