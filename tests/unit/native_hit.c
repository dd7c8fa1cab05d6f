/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a request on a hit costs, from the disk down to the media, by a slot, with the key along and
 * by the fallback: it allocates nothing and takes no lock at all, and what the disk keeps for all
 * keys is not written to. Through a file it takes one lock, shared, of the stripe that its bytes
 * are in: a write of a part of a data unit there must keep readers out while the unit is half way,
 * and only who touches the same 64 KiB meets that lock.
 */
#include "base/bytes.h"
#include "blkcrypto/byte_file.h"
#include "blkcrypto/fallback.h"
#include "blkcrypto/native_private.h"
#include "counted.h"
#include "native_bench.h"
#include "tap.h"
#include <stdlib.h>

#define HITS 1000

static struct native_bench bench;
static struct bench_key key;
static uint8_t data[4096], back[4096];

/* One request. */
typedef bool request_function(bool write);

static bool on_disk(bool write)
{
    static const struct dun zero;

    return !(write ? bench_write(&bench, &key, 0, zero, data, sizeof(data), NULL)
                   : bench_read(&bench, &key, 0, zero, back, sizeof(back), NULL));
}

static struct byte_file file;

static bool on_file(bool write)
{
    return (write ? byte_file_write(&file, 0, data, sizeof(data), NULL)
                  : byte_file_read(&file, 0, back, sizeof(back), NULL)) == sizeof(data);
}

/* After one of each way, which may lock and allocate. */
static void check_hits(const char *name, request_function *request, unsigned shared)
{
    unsigned failed = 0, locked, read_locked, allocated;

    failed += !request(true);
    failed += !request(false);
    counted_allocations = counted_locks = counted_shared = 0;
    for (unsigned i = 0; i < 2 * HITS; i++)
        failed += !request(i % 2);
    locked = counted_locks;
    read_locked = counted_shared;
    allocated = counted_allocations;
    is_int(failed, 0, "%s: all done", name);
    is_int(allocated, 0, "%s: no allocation", name);
    is_int(locked, 0, "%s: no lock", name);
    is_int(read_locked, 2 * HITS * shared, "%s: %u shared for each", name, shared);
}

static void test_hits(const char *name, struct function_params params)
{
    struct native before;

    counted_allocations = counted_locks = 0;
    native_bench_open(&bench, 2, 64, NULL, params);
    bench_key_open(&bench, &key, "aes-256-xts", 4096, 1);
    on_disk(true);
    ok(counted_allocations && counted_locks, "%s: locks and allocations are counted", name);
    memcpy(&before, bench.disk, sizeof(before));
    check_hits(name, on_disk, 0);
    is_mem(bench.disk, &before, sizeof(before), "%s: nothing written to what keys share", name);
    is_int((intmax_t)bench_counts(&bench, &key).hits, 2 * HITS + 2 + params.keys_inline,
           "%s: all are hits", name);
    is_int(bench_key_close(&bench, &key), 0, "%s: evict", name);
    native_bench_close(&bench);
}

static void test_fallback(void)
{
    struct fallback_slots *slots = fallback_slots_new(false);
    struct disk *native, *fallback = NULL;
    struct disk_key_counts counts;

    native_bench_open(&bench, 2, 64, NULL, (struct function_params){.slots = 2});
    native = bench.disk;
    fallback_open(native, slots, FALLBACK_FORCE, &fallback, NULL);
    bench_key_init(&bench, &key, "aes-256-xts", 4096, 1);
    bench.disk = fallback;
    fallback->ops->key_open(fallback, &key.key, &key.opened, NULL);
    check_hits("fallback", on_disk, 0);
    fallback->ops->key_counts(key.opened, &counts);
    is_int((intmax_t)counts.profile.hits, 2 * HITS + 1, "fallback: all are hits");
    is_int(bench_key_close(&bench, &key), 0, "fallback: evict");
    fallback->ops->close(fallback);
    fallback_slots_free(slots);
    bench.disk = native;
    native_bench_close(&bench);
}

static void test_file(void)
{
    struct range_lock *locks = range_lock_new();

    native_bench_open(&bench, 2, 64, NULL, (struct function_params){.slots = 2});
    bench_key_open(&bench, &key, "aes-256-xts", 4096, 1);
    file = (struct byte_file){
        .on_disk = true,
        .keyed = {.disk = bench.disk,
                  .key = key.opened,
                  .size = bench.disk->size,
                  .data_unit = 4096,
                  .unit = 4096},
        .locks = locks,
    };
    check_hits("file", on_file, 1);
    is_int(bench_key_close(&bench, &key), 0, "file: evict");
    native_bench_close(&bench);
    range_lock_free(locks);
}

int main(void)
{
    test_hits("ice2", (struct function_params){.slots = 2});
    test_hits("ice1", (struct function_params){.dialect = &dialect_ice1});
    test_hits("inline", (struct function_params){.dialect = &dialect_inline});
    test_hits("keys inline", (struct function_params){.keys_inline = true});
    test_fallback();
    test_file();
    return tap_done();
}
