/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a request on a hit costs, from the disk down to the media: it allocates nothing and takes no
 * lock at all, and what the disk keeps for all keys is not written to.
 */
#include "blkcrypto/native_private.h"
#include "counted.h"
#include "native_bench.h"
#include "tap.h"
#include <stdlib.h>

static struct native_bench bench;
static struct bench_key key;
static uint8_t data[4096], back[4096];

#define HITS 1000

static void test_hits(const char *name, struct function_params params)
{
    static const struct dun zero;
    struct native before;
    unsigned failed = 0, locked, allocated;

    native_bench_open(&bench, 2, 64, NULL, params);
    counted_allocations = counted_locks = 0;
    bench_key_open(&bench, &key, "aes-256-xts", 4096, 1);
    bench_write(&bench, &key, 0, zero, data, sizeof(data), NULL);
    bench_read(&bench, &key, 0, zero, back, sizeof(back), NULL);
    ok(counted_allocations && counted_locks, "%s: locks and allocations are counted", name);

    memcpy(&before, bench.disk, sizeof(before));
    counted_allocations = counted_locks = 0;
    for (unsigned i = 0; i < HITS; i++) {
        failed += bench_read(&bench, &key, 0, zero, back, sizeof(back), NULL) != 0;
        failed += bench_write(&bench, &key, 0, zero, data, sizeof(data), NULL) != 0;
    }
    locked = counted_locks;
    allocated = counted_allocations;
    is_int(failed, 0, "%s: all done", name);
    is_int(allocated, 0, "%s: no allocation", name);
    is_int(locked, 0, "%s: no lock", name);
    is_mem(bench.disk, &before, sizeof(before), "%s: nothing written to what keys share", name);
    is_int((intmax_t)bench_counts(&bench, &key).hits, 2 * HITS + 1, "%s: all are hits", name);
    is_int(bench_key_close(&bench, &key), 0, "%s: evict", name);
    native_bench_close(&bench);
}

int main(void)
{
    test_hits("ice2", (struct function_params){.slots = 2});
    test_hits("ice1", (struct function_params){.dialect = &dialect_ice1});
    test_hits("inline", (struct function_params){.dialect = &dialect_inline});
    return tap_done();
}
