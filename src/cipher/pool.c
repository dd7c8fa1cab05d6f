/* SPDX-License-Identifier: BSD-2-Clause */
/* Contexts that threads borrow: a word has a bit for each that is at home. */
#include "pool.h"
#include "base/bytes.h"
#include "base/futex.h"
#include <assert.h>
#include <unistd.h>

/* Asked once: the C library reads a file for it. */
static unsigned contexts_wanted(void)
{
    static _Atomic unsigned known;
    unsigned n = atomic_load_explicit(&known, memory_order_relaxed);

    if (!n) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);

        n = cores < 1 ? 1 : (unsigned)min_u64((uint64_t)cores, CIPHER_POOL_MAX);
        atomic_store_explicit(&known, n, memory_order_relaxed);
    }
    return n;
}

int cipher_pool_open(struct cipher_pool *pool, const struct cipher_params *params,
                     const uint8_t *key, struct ice_why *why)
{
    unsigned wanted = contexts_wanted();

    *pool = (struct cipher_pool){0};
    for (; pool->count < wanted; pool->count++) {
        int r = cipher_open(params, key, &pool->contexts[pool->count], why);
        if (r) {
            cipher_pool_close(pool);
            return r;
        }
    }
    atomic_store(&pool->free, (UINT32_C(1) << wanted) - 1);
    return 0;
}

void cipher_pool_close(struct cipher_pool *pool)
{
    for (unsigned i = 0; i < pool->count; i++)
        cipher_close(pool->contexts[i]);
    *pool = (struct cipher_pool){0};
}

void cipher_pool_exchange(struct cipher_pool *a, struct cipher_pool *b)
{
    struct cipher_pool was = *a;

    assert(!a->borrowers && !b->borrowers);
    *a = *b;
    *b = was;
}

struct cipher *cipher_pool_borrow(struct cipher_pool *pool)
{
    for (;;) {
        uint32_t bits = atomic_load(&pool->free);

        while (bits) {
            unsigned lowest = (unsigned)__builtin_ctz(bits);
            if (atomic_compare_exchange_weak(&pool->free, &bits, bits & (bits - 1)))
                return pool->contexts[lowest];
        }
        atomic_fetch_add(&pool->borrowers, 1);
        futex_wait(&pool->free, 0);
        atomic_fetch_sub(&pool->borrowers, 1);
    }
}

void cipher_pool_return(struct cipher_pool *pool, struct cipher *cipher)
{
    unsigned i = 0;

    while (i < pool->count && pool->contexts[i] != cipher)
        i++;
    assert(i < pool->count);
    atomic_fetch_or(&pool->free, UINT32_C(1) << i);
    if (atomic_load(&pool->borrowers))
        futex_wake_one(&pool->free);
}
