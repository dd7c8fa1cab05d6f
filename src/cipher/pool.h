/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A few contexts of one key, as many as can run at once: borrowed and given back by one atomic step
 * each.
 */
#ifndef ICESIM_CIPHER_POOL_H
#define ICESIM_CIPHER_POOL_H

#include "cipher.h"
#include <stdatomic.h>

/*
 * One per core, as no more can run at once, and at most this many, since they are locked memory
 * (255 slots x 8 x 3 KiB is most of Debian's RLIMIT_MEMLOCK).
 */
#define CIPHER_POOL_MAX 8u

struct cipher_pool {
    unsigned count; /* 0: empty */
    struct cipher *contexts[CIPHER_POOL_MAX];
    _Atomic uint32_t free;      /* bit i: contexts[i] is at home */
    _Atomic uint32_t borrowers; /* threads that wait for one */
};

/* Opens one context per core. As cipher_open; on failure the pool is empty. */
int cipher_pool_open(struct cipher_pool *pool, const struct cipher_params *params,
                     const uint8_t *key, struct ice_why *why);
/* All are at home. Wipes; an empty one is allowed. */
void cipher_pool_close(struct cipher_pool *pool);

/* Exchanges what two pools hold; all contexts of both are at home, and nobody waits. */
void cipher_pool_exchange(struct cipher_pool *a, struct cipher_pool *b);

/* Waits while all are in use. Give it back soon: never across I/O. */
struct cipher *cipher_pool_borrow(struct cipher_pool *pool);
void cipher_pool_return(struct cipher_pool *pool, struct cipher *cipher);

#endif
