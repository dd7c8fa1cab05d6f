/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A disk in memory for tests of what stands above disks: with keys of its own, as an engine has
 * them, which it is told to support; and with knobs for what goes wrong. It notes what it is asked.
 */
#ifndef ICESIM_TESTS_FAKE_DISK_H
#define ICESIM_TESTS_FAKE_DISK_H

#include "blkcrypto/disk.h"
#include <pthread.h>

struct fake_disk {
    struct disk disk; /* first */
    uint8_t *bytes;

    /* knobs: -errno, or 0 */
    int fail_io; /* from the next request on that touches a byte at fail_from or behind */
    uint64_t fail_from;
    int fail_open, fail_evict, fail_flush;

    _Atomic unsigned requests, keyed, flushes, opens, evicts, closes;

    /* the gate: while it is shut, requests wait in it */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool shut;
    unsigned waiting;
};

/* All algorithms and units, DUNs of 16 bytes, raw keys. */
extern const struct crypto_caps all_caps, no_caps;

/* Of all_caps, these data unit sizes. */
struct crypto_caps caps_of(uint32_t units);

/* A key for aes-256-xts, one for each `number`, with DUNs of 8 bytes. Exits on error. */
void make_key(struct crypto_key *key, uint32_t data_unit, unsigned number);

/* A disk of zeros. Exits when there is no memory. */
struct fake_disk *fake_disk_new(uint64_t size, const struct crypto_caps *caps);

void fake_disk_shut(struct fake_disk *fake);
/* Until `n` requests are in the gate. */
void fake_disk_await(struct fake_disk *fake, unsigned n);
void fake_disk_release(struct fake_disk *fake);

#endif
