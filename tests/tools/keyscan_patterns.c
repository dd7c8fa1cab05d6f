/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The patterns: the key at each offset; for it and for its halves (the keys of XTS) the schedule of
 * FIPS 197 and that of the equivalent inverse cipher, each as bytes and as words of a little-endian
 * machine. The S-box is computed, so that it needs no table to trust.
 */
#include "keyscan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KEY_MAX      64
#define SCHEDULE_MAX 240
#define FILTER_BITS  20

static struct {
    uint8_t bytes[RUN];
    const char *kind;
} patterns[PATTERNS_MAX];

static unsigned count;
static uint8_t filter[1u << FILTER_BITS]; /* by the first four bytes: is there any such pattern? */

/* Two bytes would not do: a pattern that begins with two zeros makes every empty page a suspect. */
static unsigned filter_index(const uint8_t *bytes)
{
    uint32_t first;
    memcpy(&first, bytes, sizeof(first));
    return (first * UINT32_C(2654435761)) >> (32 - FILTER_BITS);
}

static bool is_plain(const uint8_t *bytes)
{
    for (unsigned i = 1; i < RUN; i++)
        if (bytes[i] != bytes[0])
            return false;
    return true;
}

static void add_runs(const uint8_t *bytes, size_t len, const char *kind)
{
    for (size_t at = 0; at + RUN <= len && count < PATTERNS_MAX; at++) {
        if (is_plain(bytes + at))
            continue;
        memcpy(patterns[count].bytes, bytes + at, RUN);
        patterns[count++].kind = kind;
        filter[filter_index(bytes + at)] = 1;
    }
}

/* ---- AES key expansion, FIPS 197, 5.2 ---- */

static uint8_t times(uint8_t a, uint8_t b)
{
    uint8_t product = 0;
    for (; b; b >>= 1) {
        if (b & 1)
            product ^= a;
        a = (uint8_t)(a << 1 ^ (a & 0x80 ? 0x1b : 0));
    }
    return product;
}

static uint8_t sbox(uint8_t a)
{
    uint8_t inverse = 1, result = 0x63;
    for (unsigned i = 0; i < 254; i++)
        inverse = times(inverse, a);
    for (unsigned turn = 0; turn < 5; turn++)
        result ^= (uint8_t)(inverse << turn | inverse >> (8 - turn));
    return result;
}

static size_t expand(const uint8_t *key, size_t len, uint8_t *schedule)
{
    size_t words = len / 4, total = 4 * (words + 7);
    uint8_t round = 1;
    memcpy(schedule, key, len);
    for (size_t i = words; i < total; i++) {
        uint8_t t[4], *word = schedule + 4 * i;
        memcpy(t, word - 4, 4);
        if (i % words == 0) {
            uint8_t first = t[0];
            t[0] = sbox(t[1]) ^ round;
            t[1] = sbox(t[2]);
            t[2] = sbox(t[3]);
            t[3] = sbox(first);
            round = times(round, 2);
        } else if (words > 6 && i % words == 4) {
            for (unsigned k = 0; k < 4; k++)
                t[k] = sbox(t[k]);
        }
        for (unsigned k = 0; k < 4; k++)
            word[k] = word[k - 4 * (long)words] ^ t[k];
    }
    return 4 * total;
}

/* InvMixColumns of every word but those of the first and the last round. */
static void invert(uint8_t *schedule, size_t len)
{
    for (uint8_t *w = schedule + 16; w < schedule + len - 16; w += 4) {
        const uint8_t a = w[0], b = w[1], c = w[2], d = w[3];
        w[0] = times(a, 14) ^ times(b, 11) ^ times(c, 13) ^ times(d, 9);
        w[1] = times(a, 9) ^ times(b, 14) ^ times(c, 11) ^ times(d, 13);
        w[2] = times(a, 13) ^ times(b, 9) ^ times(c, 14) ^ times(d, 11);
        w[3] = times(a, 11) ^ times(b, 13) ^ times(c, 9) ^ times(d, 14);
    }
}

static void add_both_orders(const uint8_t *schedule, size_t len, const char *kind)
{
    uint8_t swapped[SCHEDULE_MAX] = {0};
    for (size_t i = 0; i < len; i++)
        swapped[i] = schedule[i ^ 3];
    add_runs(schedule, len, kind);
    add_runs(swapped, len, kind);
}

static void add_schedules(const uint8_t *key, size_t len)
{
    uint8_t schedule[SCHEDULE_MAX];
    size_t bytes = expand(key, len, schedule);
    add_both_orders(schedule, bytes, "schedule");
    invert(schedule, bytes);
    add_both_orders(schedule, bytes, "inverse schedule");
}

static bool is_aes(size_t len)
{
    return len == 16 || len == 24 || len == 32;
}

bool patterns_load(const char *path)
{
    uint8_t key[KEY_MAX + 1];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t len = fd < 0 ? -1 : read(fd, key, sizeof(key));
    if (fd >= 0)
        close(fd);
    if (len < RUN || len > KEY_MAX) {
        fprintf(stderr, "keyscan: %s: %s\n", path,
                len < 0 ? strerror(errno) : "not 16 to 64 bytes");
        return false;
    }
    add_runs(key, (size_t)len, "key");
    if (is_aes((size_t)len))
        add_schedules(key, (size_t)len);
    if (is_aes((size_t)len / 2)) {
        add_schedules(key, (size_t)len / 2);
        add_schedules(key + len / 2, (size_t)len / 2);
    }
    return true;
}

const char *patterns_match(const uint8_t *bytes)
{
    if (!filter[filter_index(bytes)])
        return NULL;
    for (unsigned i = 0; i < count; i++)
        if (!memcmp(patterns[i].bytes, bytes, RUN))
            return patterns[i].kind;
    return NULL;
}
