/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a range of the device should hold: blocks whose content is made from their number, their
 * version and a seed, so that one that is lost, old or elsewhere is told from what belongs there.
 */
#ifndef ICESIM_TESTS_FRONTEND_BLOCKS_H
#define ICESIM_TESTS_FRONTEND_BLOCKS_H

#include "base/why.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct blocks {
    uint64_t seed;
    unsigned count;
    size_t size;       /* bytes, a multiple of 512 */
    uint32_t *version; /* 0: never written */
    bool *busy;        /* a request is in flight */
};

int blocks_make(struct blocks *blocks, uint64_t seed, unsigned count, size_t size,
                struct ice_why *why);
void blocks_free(struct blocks *blocks);

void blocks_fill(const struct blocks *blocks, unsigned block, uint32_t version, void *bytes);

/* 0, or -EILSEQ with what `bytes` are instead of the block's version. */
int blocks_check(const struct blocks *blocks, unsigned block, const void *bytes,
                 struct ice_why *why);

/* Writes all, as they should be, into a new file. */
int blocks_save(const struct blocks *blocks, const char *path, struct ice_why *why);

#endif
