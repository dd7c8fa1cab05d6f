/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fallback over fake disks: who serves a key, its slots, evict while it is in use, errors from
 * below, what a request costs, and many threads with more keys than slots. That its ciphertext is
 * right is disk_ciphertext's. Allocations are counted in front of libc; --wrap in Makefile.am
 * brings calls here.
 */
#include "blkcrypto/fallback.h"
#include "base/bytes.h"
#include "base/units.h"
#include "blkcrypto/layer.h"
#include "counted.h"
#include "fake_disk.h"
#include "tap.h"
#include <errno.h>
#include <stdlib.h>

#define UNIT 4096u
#define SIZE (1u << 20)

/* ---- the bench ---- */

static uint8_t in[SIZE], out[SIZE];

static struct fake_disk *fake;
static struct disk *disk;
static struct fallback_slots *slots;

static void set_up(const struct crypto_caps *caps, enum fallback_policy policy)
{
    fake = fake_disk_new(SIZE, caps);
    is_int(fallback_open(&fake->disk, slots, policy, &disk, NULL), 0, "open");
}

static void tear_down(void)
{
    disk->ops->close(disk);
    fake->disk.ops->close(&fake->disk);
}

static struct disk_key *open_key(const struct crypto_key *key)
{
    struct disk_key *opened = NULL;
    struct ice_why why = {0};

    if (!is_int(disk->ops->key_open(disk, key, &opened, &why), 0, "open a key %s", why.text))
        exit(1);
    return opened;
}

static void close_key(struct crypto_key *key, struct disk_key *opened)
{
    is_int(disk->ops->key_evict(disk, opened, NULL), 0, "evict");
    disk->ops->key_close(disk, opened);
    crypto_key_wipe(key);
}

static int move(struct disk_key *key, bool write, uint64_t offset, void *buffer, size_t len,
                struct ice_why *why)
{
    const struct disk_io io = {offset, buffer, len, write, key, dun_from_u64(offset / UNIT)};

    return disk->ops->transfer(disk, &io, why);
}

/* ---- who serves a key ---- */

static const struct {
    bool native, wrapped;
    enum fallback_policy policy;
    const char *path; /* or why not */
} table[] = {
    {true, false, FALLBACK_AUTO, "native"},
    {true, false, FALLBACK_FORBID, "native"},
    {true, false, FALLBACK_FORCE, "fallback"},
    {false, false, FALLBACK_AUTO, "fallback"},
    {false, false, FALLBACK_FORBID,
     "aes-256-xts is not supported with data units of 4096 bytes, and the fallback is forbidden"},
    {false, false, FALLBACK_FORCE, "fallback"},
    {true, true, FALLBACK_AUTO, "native"},
    {true, true, FALLBACK_FORBID, "native"},
    {true, true, FALLBACK_FORCE, "the fallback is forced, and a fallback cannot unwrap keys"},
    {false, true, FALLBACK_AUTO,
     "aes-256-xts is not supported with data units of 4096 bytes, and a fallback cannot unwrap "
     "keys"},
    {false, true, FALLBACK_FORBID,
     "aes-256-xts is not supported with data units of 4096 bytes, and the fallback is forbidden"},
    {false, true, FALLBACK_FORCE, "the fallback is forced, and a fallback cannot unwrap keys"},
};

static const char *path_name(enum disk_path path)
{
    return path == DISK_NATIVE ? "native" : "fallback";
}

static void check_opened(struct disk_key *opened, const char *path)
{
    struct disk_key_counts counts = {.fallbacks = 77};
    bool native = !strcmp(path, "native");

    is_str(path_name(disk->ops->key_path(opened)), path, "%s in fact", path);
    is_int(fake->opens, native, "opened below if native");
    is_int(move(opened, true, 0, in, UNIT, NULL), 0, "a request");
    is_int(fake->keyed, native, "which has a key below if native");
    disk->ops->key_counts(opened, &counts);
    is_int((intmax_t)counts.fallbacks, !native, "fallbacks are counted");
    is_int(disk->ops->key_evict(disk, opened, NULL), 0, "evict");
    is_int(fake->evicts, native, "evicted below if native");
    disk->ops->key_close(disk, opened);
    is_int(fake->closes, native, "closed below if native");
}

static void check_policy(unsigned i)
{
    struct crypto_config config = {algorithm_by_name("aes-256-xts"), UNIT, 8,
                                   table[i].wrapped ? ICE_KEY_TYPE_WRAPPED : ICE_KEY_TYPE_RAW};
    struct crypto_caps caps = all_caps;
    struct ice_why why = {0}, again = {0};
    struct crypto_key key;
    struct disk_key *opened;
    enum disk_path path;
    int r;

    caps.key_types |= ICE_KEY_TYPE_WRAPPED;
    if (!table[i].native)
        caps.units[1] = 512;
    set_up(&caps, table[i].policy);
    for (unsigned byte = 0; byte < 64; byte++)
        in[byte] = (uint8_t)byte;
    if (crypto_key_init(&key, &config, in, 64, NULL))
        exit(1);
    r = disk_config_supported(disk, &config, &path, &why);
    is_str(r ? why.text : path_name(path), table[i].path, "row %u: supported", i);
    is_int(disk->ops->key_open(disk, &key, &opened, &again), r, "row %u: opened", i);
    if (r)
        is_str(again.text, why.text, "for the same reason");
    else if (!table[i].wrapped)
        check_opened(opened, table[i].path);
    else
        disk->ops->key_close(disk, opened);
    crypto_key_wipe(&key);
    tear_down();
}

static void test_weak_key(void)
{
    static const struct crypto_config config = {&algorithms[1], UNIT, 8, ICE_KEY_TYPE_RAW};
    static const uint8_t halves[64];
    struct ice_why why = {0};
    struct crypto_key key;
    struct disk_key *opened;

    set_up(&no_caps, FALLBACK_AUTO);
    is_int(crypto_key_init(&key, &config, halves, 64, NULL), 0, "a key of equal halves");
    is_int(disk->ops->key_open(disk, &key, &opened, &why), -EINVAL, "is refused before any I/O");
    ok(why.text[0], "because %s", why.text);
    crypto_key_wipe(&key);
    tear_down();
}

/* A fallback over one below: forbidden means that nobody falls back. */
static void test_stacked(void)
{
    const struct crypto_config config = {algorithm_by_name("aes-128-ecb"), UNIT, 8,
                                         ICE_KEY_TYPE_RAW};
    struct disk *lower;
    struct ice_why why = {0};
    enum disk_path path;

    set_up(&no_caps, FALLBACK_AUTO);
    lower = disk;
    fallback_open(lower, slots, FALLBACK_FORBID, &disk, NULL);
    is_int(disk_config_supported(disk, &config, &path, &why), -EOPNOTSUPP, "forbidden");
    is_str(why.text, "only a fallback below serves aes-128-ecb, and the fallback is forbidden",
           "why");
    disk->ops->close(disk);
    fallback_open(lower, slots, FALLBACK_AUTO, &disk, NULL);
    is_int(disk_config_supported(disk, &config, &path, &why), 0, "allowed");
    is_int(path, DISK_FALLBACK, "by the one below");
    disk->ops->close(disk);
    disk = lower;
    tear_down();
}

/* ---- requests ---- */

static void test_requests(void)
{
    struct ice_why why = {0};
    struct crypto_key key;
    struct disk_key *opened;
    struct disk_io io = {.buffer = out, .len = 2 * UNIT, .write = true};

    set_up(&no_caps, FALLBACK_AUTO);
    make_key(&key, UNIT, 1);
    opened = open_key(&key);
    memset(in, 0x33, 4 * UNIT);
    memcpy(out, in, 4 * UNIT);
    is_int(move(opened, true, 512, out, 4 * UNIT, NULL), 0, "a write at an odd sector");
    is_mem(out, in, 4 * UNIT, "is not encrypted in place");
    ok(memcmp(fake->bytes + 512, in, UNIT) != 0 &&
           memcmp(fake->bytes + 512, fake->bytes + 512 + UNIT, UNIT) != 0,
       "but on the disk, each unit otherwise");
    is_int(move(opened, false, 512, out, 4 * UNIT, NULL), 0, "a read");
    is_mem(out, in, 4 * UNIT, "gives it back");
    is_int(move(NULL, false, 512, out, 4 * UNIT, NULL), 0, "a read without a key");
    is_mem(out, fake->bytes + 512, 4 * UNIT, "gives what is stored");

    fake->requests = 0;
    io.key = opened;
    io.dun = dun_from_u64(UINT64_MAX);
    is_int(disk->ops->transfer(disk, &io, &why), -EINVAL, "the last DUN does not fit");
    is_str(why.text, "the last DUN does not fit the key's 64 bits", "why");
    io.dun = dun_from_u64(0);
    io.len = 512;
    is_int(disk->ops->transfer(disk, &io, &why), -EINVAL, "not whole units");
    is_int(fake->requests, 0, "nothing was touched");

    fake->fail_io = -ENOSPC;
    is_int(move(opened, true, 0, in, UNIT, &why), -ENOSPC, "a write fails below");
    is_str(why.text, "the fake disk fails", "why");
    memset(out, 0x44, UNIT);
    is_int(move(opened, false, 0, out, UNIT, &why), -ENOSPC, "so does a read");
    ok(out[0] == 0x44 && out[UNIT - 1] == 0x44, "and nothing is decrypted");
    is_int(disk->ops->flush(disk, NULL), 0, "flush");
    is_int(fake->flushes, 1, "goes down");
    close_key(&key, opened);
    tear_down();
}

static void test_largest(void)
{
    uint8_t *large = calloc(2, REQUEST_MAX), *back = large + REQUEST_MAX;
    struct crypto_key key;
    struct disk_key *opened;

    fake = fake_disk_new(REQUEST_MAX, &no_caps);
    fallback_open(&fake->disk, slots, FALLBACK_AUTO, &disk, NULL);
    make_key(&key, UNIT, 2);
    opened = open_key(&key);
    memset(large, 0x77, REQUEST_MAX);
    is_int(move(opened, true, 0, large, REQUEST_MAX, NULL), 0, "the largest write");
    is_int(fake->requests, 1, "is one request below");
    is_int(move(opened, false, 0, back, REQUEST_MAX, NULL), 0, "the largest read");
    ok(!memcmp(large, back, REQUEST_MAX), "gives it back");
    close_key(&key, opened);
    tear_down();
    free(large);
}

/* A layer above adds nothing; what lies together on its lone child stays together. */
static void test_cost(void)
{
    struct disk *lower;
    struct crypto_key key;
    struct disk_key *opened;
    unsigned before;

    set_up(&no_caps, FALLBACK_AUTO);
    lower = disk;
    is_int(layer_open(LAYER_STRIPED, UNIT, &lower, 1, &disk, NULL), 0, "a layer");
    make_key(&key, UNIT, 3);
    opened = open_key(&key);
    move(opened, true, 0, in, UNIT, NULL);
    before = counted_allocations;
    for (unsigned i = 0; i < 100; i++)
        move(opened, i % 2, 0, out, 8 * UNIT, NULL);
    is_int(counted_allocations, before, "requests allocate nothing (%u before them)", before);
    is_int(fake->requests, 101, "one request each");
    close_key(&key, opened);
    disk->ops->close(disk);
    disk = lower;
    tear_down();
}

/* ---- slots ---- */

/* Every other key is at another fallback, with the same slots. */
static void test_slots(void)
{
    static struct crypto_key keys[FALLBACK_SLOTS + 1];
    static struct disk_key *opened[FALLBACK_SLOTS + 1];
    struct disk *disks[2];
    struct disk_key_counts counts;
    uint64_t programs = 0, evictions = 0, fallbacks = 0;
    unsigned failed = 0;

    set_up(&no_caps, FALLBACK_AUTO);
    disks[0] = disk;
    is_int(fallback_open(&fake->disk, slots, FALLBACK_FORCE, &disks[1], NULL), 0, "another");
    for (unsigned i = 0; i <= FALLBACK_SLOTS; i++) {
        disk = disks[i % 2];
        make_key(&keys[i], UNIT, i);
        failed += disk->ops->key_open(disk, &keys[i], &opened[i], NULL) != 0;
        for (unsigned j = 0; j < 2; j++)
            failed += move(opened[i], true, 0, in, UNIT, NULL) != 0;
    }
    disk = disks[0];
    failed += move(opened[0], false, 0, in, UNIT, NULL) != 0;
    is_int(failed, 0, "a key more than slots");
    disk->ops->key_counts(opened[0], &counts);
    is_int((intmax_t)counts.profile.programs, 2, "the first had to go and came back");
    is_int((intmax_t)counts.profile.misses, 2, "two misses");
    for (unsigned i = 0; i <= FALLBACK_SLOTS; i++) {
        disk = disks[i % 2];
        disk->ops->key_counts(opened[i], &counts);
        programs += counts.profile.programs;
        evictions += counts.profile.evictions;
        fallbacks += counts.fallbacks;
        failed += disk->ops->key_evict(disk, opened[i], NULL) != 0;
        disk->ops->key_close(disk, opened[i]);
        crypto_key_wipe(&keys[i]);
    }
    is_int((intmax_t)(programs - evictions), FALLBACK_SLOTS, "as many keys in slots as slots");
    is_int((intmax_t)fallbacks, 2 * (FALLBACK_SLOTS + 1) + 1, "every request is counted");
    is_int(failed, 0, "all are evicted");
    disks[1]->ops->close(disks[1]);
    disk = disks[0];
    tear_down();
}

struct job {
    struct disk_key *key;
    bool write;
    int rc;
};

static void *transfer_one(void *argument)
{
    struct job *job = argument;

    job->rc = move(job->key, job->write, 0, out, UNIT, NULL);
    return NULL;
}

static void check_evict(struct disk_key *opened, bool write)
{
    struct job job = {opened, write, -1};
    struct ice_why why = {0};
    pthread_t thread;

    fake_disk_shut(fake);
    pthread_create(&thread, NULL, transfer_one, &job);
    fake_disk_await(fake, 1);
    is_int(disk->ops->key_evict(disk, opened, &why), -EBUSY, "evict during a %s",
           write ? "write" : "read");
    is_str(why.text, "the key has requests in flight", "why");
    fake_disk_release(fake);
    pthread_join(thread, NULL);
    is_int(job.rc, 0, "which ends well");
    is_int(move(opened, false, 0, out, UNIT, NULL), 0, "the key still works");
    is_mem(out, in, UNIT, "and reads what it wrote");
}

static void test_evict(void)
{
    struct disk_key_counts counts;
    struct crypto_key key;
    struct disk_key *opened;

    set_up(&no_caps, FALLBACK_AUTO);
    make_key(&key, UNIT, 4);
    opened = open_key(&key);
    is_int(disk->ops->key_evict(disk, opened, NULL), 0, "evict of a key that was never used");
    memcpy(out, in, UNIT);
    check_evict(opened, true);
    check_evict(opened, false);
    is_int(disk->ops->key_evict(disk, opened, NULL), 0, "evict once they have ended");
    disk->ops->key_counts(opened, &counts);
    is_int((intmax_t)counts.profile.evictions, 1, "it is in no slot");
    close_key(&key, opened);
    tear_down();
}

/* ---- threads ---- */

#define THREADS 8
#define KEYS    (FALLBACK_SLOTS + 4)
#define ROUNDS  500

static struct disk_key *shared[KEYS];

/* Each thread has an area of its own; keys are everybody's. */
static void *work(void *argument)
{
    const unsigned number = *(const unsigned *)argument;
    const uint64_t area = number * (SIZE / THREADS);
    uint8_t mine[2 * UNIT], back[2 * UNIT];
    uintptr_t wrong = 0;
    uint32_t noise = number + 1;

    for (unsigned i = 0; i < ROUNDS; i++) {
        struct disk_key *key;
        int r;

        noise = noise * 1664525 + 1013904223;
        key = shared[(noise >> 16) % KEYS];
        memset(mine, (int)(noise >> 24), sizeof(mine));
        wrong += move(key, true, area, mine, sizeof(mine), NULL) != 0;
        r = i % 4 ? 0 : disk->ops->key_evict(disk, key, NULL);
        wrong += r && r != -EBUSY;
        wrong += move(key, false, area, back, sizeof(back), NULL) != 0;
        wrong += memcmp(mine, back, sizeof(mine)) != 0;
    }
    return (void *)wrong;
}

static void test_threads(void)
{
    static struct crypto_key keys[KEYS];
    pthread_t threads[THREADS];
    unsigned numbers[THREADS];
    uintptr_t wrong = 0;

    set_up(&no_caps, FALLBACK_FORCE);
    for (unsigned i = 0; i < KEYS; i++) {
        make_key(&keys[i], UNIT, i);
        if (disk->ops->key_open(disk, &keys[i], &shared[i], NULL))
            exit(1);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, work, &numbers[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        void *result;

        pthread_join(threads[i], &result);
        wrong += (uintptr_t)result;
    }
    is_int((intmax_t)wrong, 0, "%u threads, %u keys, evicted under way: all comes back", THREADS,
           KEYS);
    for (unsigned i = 0; i < KEYS; i++) {
        wrong += disk->ops->key_evict(disk, shared[i], NULL) != 0;
        disk->ops->key_close(disk, shared[i]);
        crypto_key_wipe(&keys[i]);
    }
    is_int((intmax_t)wrong, 0, "all are evicted");
    tear_down();
}

int main(void)
{
    if (!is_int(cipher_init(NULL), 0, "cipher_init") || !(slots = fallback_slots_new(false)))
        return tap_done();
    for (unsigned i = 0; i < ARRAY_SIZE(table); i++)
        check_policy(i);
    test_weak_key();
    test_stacked();
    test_requests();
    test_largest();
    test_cost();
    test_slots();
    test_evict();
    test_threads();
    fallback_slots_free(slots);
    return tap_done();
}
