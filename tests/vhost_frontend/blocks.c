/* SPDX-License-Identifier: BSD-2-Clause */
#include "blocks.h"
#include "base/bytes.h"
#include "base/units.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int blocks_make(struct blocks *blocks, uint64_t seed, unsigned count, size_t size,
                struct ice_why *why)
{
    *blocks = (struct blocks){.seed = seed, .count = count, .size = size};
    blocks->version = calloc(count, sizeof(*blocks->version));
    blocks->busy = calloc(count, sizeof(*blocks->busy));
    if (blocks->version && blocks->busy)
        return 0;
    blocks_free(blocks);
    return why_set(why, ENOMEM, "no memory for %u blocks", count);
}

void blocks_free(struct blocks *blocks)
{
    free(blocks->version);
    free(blocks->busy);
}

/* splitmix64 */
static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

#define SECTOR_WORDS 64
#define STEP         UINT64_C(0x9e3779b97f4a7c15)

static uint64_t identity(unsigned block, uint32_t version)
{
    return (uint64_t)version << 32 | block;
}

/* Sectors begin with what they are; their words go on from one of their own, in equal steps. */
static uint64_t sector_start(const struct blocks *blocks, unsigned block, uint32_t version,
                             size_t sector)
{
    return mix(blocks->seed ^ mix(identity(block, version)) ^ sector);
}

void blocks_fill(const struct blocks *blocks, unsigned block, uint32_t version, void *bytes)
{
    uint8_t *at = bytes;

    for (size_t sector = 0; sector < blocks->size / SECTOR_SIZE; sector++) {
        uint64_t value = sector_start(blocks, block, version, sector);
        store_le64(at, identity(block, version));
        for (unsigned i = 1; i < SECTOR_WORDS; i++)
            store_le64(at + 8 * i, value += STEP);
        at += SECTOR_SIZE;
    }
}

int blocks_check(const struct blocks *blocks, unsigned block, const void *bytes,
                 struct ice_why *why)
{
    uint32_t version = blocks->version[block];
    const uint8_t *at = bytes;

    for (size_t sector = 0; sector < blocks->size / SECTOR_SIZE; sector++) {
        uint64_t value = sector_start(blocks, block, version, sector);
        bool same = load_le64(at) == identity(block, version);
        for (unsigned i = 1; i < SECTOR_WORDS; i++)
            same &= load_le64(at + 8 * i) == (value += STEP);
        if (!same)
            return why_set(why, EILSEQ,
                           "block %u, sector %zu is not of version %u; it says block %u, "
                           "version %u",
                           block, sector, version, load_le32(at), load_le32(at + 4));
        at += SECTOR_SIZE;
    }
    return 0;
}

int blocks_save(const struct blocks *blocks, const char *path, struct ice_why *why)
{
    uint8_t *bytes = malloc(blocks->size);
    FILE *file = fopen(path, "wb");
    bool good = bytes && file;

    for (unsigned i = 0; good && i < blocks->count; i++) {
        blocks_fill(blocks, i, blocks->version[i], bytes);
        good = fwrite(bytes, blocks->size, 1, file) == 1;
    }
    if (file && fclose(file))
        good = false;
    free(bytes);
    return good ? 0 : why_errno(why, errno ? errno : EIO, "%.100s", path);
}
