/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Layers over fake disks: where bytes go against a plain model, what is advertised and refused, one
 * child's errors, and keys that must be opened, evicted and closed at every child.
 */
#include "blkcrypto/layer.h"
#include "base/bytes.h"
#include "base/units.h"
#include "fake_disk.h"
#include "tap.h"
#include <errno.h>
#include <stdlib.h>

static struct fake_disk *fakes[LAYER_CHILDREN_MAX];
static struct disk *children[LAYER_CHILDREN_MAX];

static uint64_t noise(void)
{
    static uint64_t state = 1;

    state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
    return state >> 33;
}

static struct fake_disk *make_child(unsigned i, uint64_t size, const struct crypto_caps *caps)
{
    fakes[i] = fake_disk_new(size, caps);
    children[i] = &fakes[i]->disk;
    return fakes[i];
}

static struct disk *open_layer(enum layer_map map, uint64_t stripe, unsigned count)
{
    struct disk *disk = NULL;
    struct ice_why why = {0};

    if (!is_int(layer_open(map, stripe, children, count, &disk, &why), 0, "open %s", why.text))
        exit(1);
    return disk;
}

static void close_children(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        children[i]->ops->close(children[i]);
}

static void close_all(struct disk *disk, unsigned count)
{
    disk->ops->close(disk);
    close_children(count);
}

static int run(struct disk *disk, struct disk_key *key, bool write, uint64_t offset, void *buffer,
               size_t len, struct ice_why *why)
{
    const struct disk_io io = {offset, buffer, len, write, key, dun_from_u64(offset / 4096)};

    return disk->ops->transfer(disk, &io, why);
}

/* ---- the map ---- */

#define IMAGE_MAX (1u << 20)

static uint8_t image[IMAGE_MAX], buffer[IMAGE_MAX], seen[IMAGE_MAX];

/* The layer's bytes, one sector after the other, as the children's image says. */
static size_t assemble(enum layer_map map, uint64_t stripe, unsigned count, uint8_t *to)
{
    uint64_t taken[LAYER_CHILDREN_MAX] = {0}, least = UINT64_MAX;
    size_t size = 0;

    for (unsigned i = 0; map == LAYER_LINEAR && i < count; i++) {
        memcpy(to + size, fakes[i]->bytes, children[i]->size);
        size += children[i]->size;
    }
    if (map == LAYER_LINEAR)
        return size;
    for (unsigned i = 0; i < count; i++)
        least = min_u64(least, children[i]->size);
    for (unsigned i = 0; taken[i] + stripe <= least; i = i + 1 < count ? i + 1 : 0) {
        memcpy(to + size, fakes[i]->bytes + taken[i], stripe);
        taken[i] += stripe;
        size += stripe;
    }
    return size;
}

static bool same_image(enum layer_map map, uint64_t stripe, unsigned count, struct disk *disk)
{
    return assemble(map, stripe, count, seen) == disk->size && !memcmp(seen, image, disk->size);
}

static void check_map(enum layer_map map, unsigned count)
{
    uint64_t stripe = (1 + noise() % 7) * SECTOR_SIZE;
    unsigned wrong = 0;
    struct disk *disk;

    for (unsigned i = 0; i < count; i++)
        make_child(i, (7 + noise() % 100) * SECTOR_SIZE, &no_caps);
    disk = open_layer(map, stripe, count);
    memset(image, 0, sizeof(image));
    for (unsigned i = 0; i < 100; i++) {
        uint64_t offset = noise() % (disk->size / SECTOR_SIZE) * SECTOR_SIZE;
        size_t len = (1 + noise() % ((disk->size - offset) / SECTOR_SIZE)) * SECTOR_SIZE;

        for (size_t at = 0; at < len; at++)
            buffer[at] = (uint8_t)noise();
        memcpy(image + offset, buffer, len);
        wrong += run(disk, NULL, true, offset, buffer, len, NULL) != 0;
        offset = noise() % (disk->size / SECTOR_SIZE) * SECTOR_SIZE;
        len = (1 + noise() % ((disk->size - offset) / SECTOR_SIZE)) * SECTOR_SIZE;
        wrong += run(disk, NULL, false, offset, buffer, len, NULL) != 0;
        wrong += memcmp(buffer, image + offset, len) != 0;
    }
    is_int(wrong, 0, "%s over %u: reads give what was written",
           map == LAYER_LINEAR ? "linear" : "striped", count);
    ok(same_image(map, stripe, count, disk), "and every byte is where it belongs");
    close_all(disk, count);
}

static void test_range(void)
{
    struct ice_why why = {0};
    struct disk *disk;

    make_child(0, 8192, &no_caps);
    make_child(1, 8192, &no_caps);
    disk = open_layer(LAYER_STRIPED, 512, 2);
    is_int(run(disk, NULL, true, 16384 - 512, buffer, 1024, &why), -EIO, "past the end");
    is_str(why.text, "byte 15872 + 1024 is past the end of the layer (16384 bytes)", "why");
    is_int(run(disk, NULL, true, UINT64_MAX - 511, buffer, 1024, &why), -EIO, "far past the end");
    is_int(fakes[0]->requests + fakes[1]->requests, 0, "no child was asked");
    is_int(run(disk, NULL, true, 16384 - 512, buffer, 512, NULL), 0, "the last sector");
    close_all(disk, 2);
}

/* ---- capabilities ---- */

static void refused(enum layer_map map, uint64_t stripe, unsigned count, const char *text)
{
    struct ice_why why = {0};
    struct disk *disk;

    is_int(layer_open(map, stripe, children, count, &disk, &why), -EINVAL, "refused");
    is_str(why.text, text, "because %s", text);
}

static void test_refusals(void)
{
    struct crypto_caps caps = caps_of(512 | 4096);

    for (unsigned i = 0; i < LAYER_CHILDREN_MAX; i++)
        make_child(i, 1 << 20, &caps);
    fakes[1]->disk.caps.units[3] |= 8192; /* one child's alone: not advertised */
    refused(LAYER_LINEAR, 0, 0, "0 children: a layer has 1 to 16");
    refused(LAYER_LINEAR, 0, 17, "17 children: a layer has 1 to 16");
    refused(LAYER_STRIPED, 0, 2,
            "a stripe of 0 bytes is no multiple of the data unit of 4096 bytes that aes-128-xts "
            "has");
    refused(LAYER_STRIPED, 6144, 2,
            "a stripe of 6144 bytes is no multiple of the data unit of 4096 bytes that "
            "aes-128-xts has");
    refused(LAYER_STRIPED, 2 << 20, 2, "child 0, of 1048576 bytes, has no room for 2097152");
    fakes[2]->disk.size = 4095;
    refused(LAYER_LINEAR, 0, 3, "child 2, of 4095 bytes, has no room for 4096");
    fakes[0]->disk.caps = no_caps;
    fakes[1]->disk.block_size = 4096;
    refused(LAYER_STRIPED, 512, 2,
            "a stripe of 512 bytes is no multiple of the logical block of 4096 bytes");
    children[3] = children[0];
    refused(LAYER_LINEAR, 0, 4, "child 3 is child 0 again");
    children[3] = &fakes[3]->disk;
    fakes[4]->disk.size = fakes[5]->disk.size = UINT64_C(1) << 63;
    children[0] = children[4];
    children[1] = children[5];
    refused(LAYER_LINEAR, 0, 2, "the children are larger than 2^64 bytes");
    refused(LAYER_STRIPED, 4096, 2, "the children are larger than 2^64 bytes");
    for (unsigned i = 0; i < LAYER_CHILDREN_MAX; i++)
        fakes[i]->disk.ops->close(&fakes[i]->disk);
}

static void test_caps(void)
{
    struct crypto_caps a = caps_of(512 | 4096 | 65536), b = caps_of(1024 | 4096 | 8192);
    struct disk *disk;

    a.dun_bytes = 8;
    b.key_types = ICE_KEY_TYPE_RAW | ICE_KEY_TYPE_WRAPPED;
    b.units[7] = 0;
    make_child(0, 10 * 4096 + 512, &a);
    make_child(1, 20 * 4096 + 3584, &b)->disk.block_size = 4096;
    disk = open_layer(LAYER_LINEAR, 0, 2);
    is_int(disk->caps.units[0], 4096, "units that both have");
    is_int(disk->caps.units[7], 0, "an algorithm that one lacks");
    is_int(disk->caps.dun_bytes, 8, "the smaller DUN");
    is_int(disk->caps.key_types, ICE_KEY_TYPE_RAW, "key types that both have");
    is_int(disk->block_size, 4096, "the larger block");
    is_int((intmax_t)disk->size, 30 * 4096, "whole data units of each child");
    ok(disk->whole_units, "requests begin at whole units");
    close_all(disk, 2);

    make_child(0, 4096 + 512, &no_caps);
    disk = open_layer(LAYER_LINEAR, 0, 1);
    ok(!disk->whole_units && disk->size == 4608, "one child alone has no such bounds");
    close_all(disk, 1);
}

static void test_supported(void)
{
    struct crypto_config config = {algorithm_by_name("aes-256-xts"), 4096, 8, ICE_KEY_TYPE_RAW};
    struct crypto_caps small = caps_of(512);
    enum disk_path path;
    struct ice_why why = {0};
    struct crypto_key key;
    struct disk_key *opened;
    struct disk *disk;

    make_child(0, 65536, &all_caps);
    make_child(1, 65536, &small);
    disk = open_layer(LAYER_STRIPED, 1024, 2);
    is_int(disk_config_supported(disk, &config, &path, &why), -EOPNOTSUPP, "across stripes");
    is_str(why.text,
           "data units of 4096 bytes would lie across children, which meet at multiples of 1024",
           "why");
    make_key(&key, 4096, 0);
    is_int(disk->ops->key_open(disk, &key, &opened, &why), -EOPNOTSUPP, "nor is a key opened");
    crypto_key_wipe(&key);
    config.data_unit = 1024;
    is_int(disk_config_supported(disk, &config, &path, &why), -EOPNOTSUPP, "one child lacks it");
    is_str(why.text, "child 1: aes-256-xts is not supported with data units of 1024 bytes", "why");
    config.data_unit = 512;
    path = DISK_FALLBACK;
    is_int(disk_config_supported(disk, &config, &path, &why), 0, "both have it");
    is_int(path, DISK_NATIVE, "natively");
    close_all(disk, 2);
}

/* ---- requests with a key ---- */

static void test_context(void)
{
    struct crypto_caps caps = caps_of(4096);
    struct ice_why why = {0};
    struct crypto_key key;
    struct disk_key *opened;
    struct disk *disk;
    struct disk_io io = {.buffer = buffer, .len = 8192, .write = true};

    make_child(0, 65536, &caps);
    make_child(1, 65536, &caps);
    disk = open_layer(LAYER_STRIPED, 4096, 2);
    make_key(&key, 4096, 0);
    disk->ops->key_open(disk, &key, &opened, NULL);
    io.key = opened;
    io.dun = dun_from_u64(UINT64_MAX);
    is_int(disk->ops->transfer(disk, &io, &why), -EINVAL, "the second part's DUN does not fit");
    is_str(why.text, "the last DUN does not fit the key's 64 bits", "why");
    io.dun = dun_from_u64(0);
    io.offset = 512;
    is_int(disk->ops->transfer(disk, &io, &why), -EINVAL, "a unit would lie across children");
    is_str(why.text, "byte 512 is no multiple of the data unit of 4096 bytes", "why");
    is_int(fakes[0]->requests + fakes[1]->requests, 0, "nothing was touched");
    io.offset = 0;
    is_int(disk->ops->transfer(disk, &io, &why), 0, "a request over both");
    is_int(fakes[0]->keyed * 10 + fakes[1]->keyed, 11, "one part each, with the key");
    is_int(disk->ops->key_evict(disk, opened, NULL), 0, "evict");
    disk->ops->key_close(disk, opened);
    crypto_key_wipe(&key);
    close_all(disk, 2);
}

static void test_errors(void)
{
    struct ice_why why = {0};
    struct disk *disk;

    for (unsigned i = 0; i < 3; i++)
        make_child(i, 8192, &no_caps);
    disk = open_layer(LAYER_STRIPED, 512, 3);
    memset(buffer, 0x5a, 3072);
    fakes[1]->fail_io = -ENOSPC;
    fakes[1]->fail_from = 512;
    is_int(run(disk, NULL, true, 0, buffer, 3072, &why), -ENOSPC, "a child's second part fails");
    is_str(why.text, "child 1: the fake disk fails", "why");
    is_int(why.err, ENOSPC, "errno");
    ok(fakes[0]->bytes[1023] == 0x5a && fakes[1]->bytes[511] == 0x5a && !fakes[1]->bytes[512] &&
           !fakes[2]->bytes[512] && fakes[2]->bytes[511] == 0x5a,
       "parts before it are written, none after");
    is_int(run(disk, NULL, false, 0, buffer, 3072, NULL), -ENOSPC, "a read, nobody asks why");
    is_int(disk->ops->flush(disk, NULL), 0, "flush");
    fakes[0]->fail_flush = -EIO;
    fakes[2]->fail_flush = -ENOSPC;
    fakes[0]->disk.name = "vm0";
    is_int(disk->ops->flush(disk, &why), -EIO, "flush says the first error");
    is_str(why.text, "vm0: the fake disk does not flush", "of a child by its name");
    is_int(fakes[0]->flushes + fakes[1]->flushes + fakes[2]->flushes, 6, "all are flushed");
    close_all(disk, 3);
}

/* ---- keys ---- */

static unsigned sum_closes(unsigned count)
{
    unsigned sum = 0;

    for (unsigned i = 0; i < count; i++)
        sum += fakes[i]->closes;
    return sum;
}

static void test_open_undone(void)
{
    struct ice_why why = {0};
    struct crypto_key key;
    struct disk_key *opened;
    struct disk *disk;

    for (unsigned i = 0; i < 4; i++)
        make_child(i, 65536, &all_caps);
    disk = open_layer(LAYER_STRIPED, 65536, 4);
    make_key(&key, 4096, 0);
    fakes[2]->fail_open = -ENOMEM;
    is_int(disk->ops->key_open(disk, &key, &opened, &why), -ENOMEM, "the third child fails");
    is_str(why.text, "child 2: the fake disk opens no key", "why");
    is_int(fakes[0]->closes * 1000 + fakes[1]->closes * 100 + fakes[2]->closes * 10 +
               fakes[3]->closes,
           1100, "the first two are closed again");
    is_int(fakes[3]->opens, 0, "the fourth was not asked");
    crypto_key_wipe(&key);
    close_all(disk, 4);
}

struct job {
    struct disk *disk;
    struct disk_key *key;
    uint8_t *bytes;
    int rc;
};

static void *write_both(void *argument)
{
    struct job *job = argument;

    job->rc = run(job->disk, job->key, true, 0, job->bytes, 131072, NULL);
    return NULL;
}

static void test_evict(void)
{
    struct ice_why why = {0};
    struct crypto_key key;
    struct job job = {.bytes = buffer};
    pthread_t thread;

    make_child(0, 65536, &all_caps);
    make_child(1, 65536, &all_caps);
    make_key(&key, 4096, 0);
    job.disk = open_layer(LAYER_LINEAR, 0, 2);
    job.disk->ops->key_open(job.disk, &key, &job.key, NULL);
    is_int(job.disk->ops->key_path(job.key), DISK_NATIVE, "its path");

    fake_disk_shut(fakes[1]);
    pthread_create(&thread, NULL, write_both, &job);
    fake_disk_await(fakes[1], 1);
    is_int(job.disk->ops->key_evict(job.disk, job.key, &why), -EBUSY, "evict in flight");
    is_str(why.text, "the key has requests in flight", "why");
    is_int(fakes[0]->evicts, 0, "no child evicts, idle as it may be");
    fake_disk_release(fakes[1]);
    pthread_join(thread, NULL);
    is_int(job.rc, 0, "the request ends well");

    fakes[0]->fail_evict = -EIO;
    fakes[1]->fail_evict = -EBUSY;
    is_int(job.disk->ops->key_evict(job.disk, job.key, &why), -EBUSY, "busy goes before errors");
    is_str(why.text, "child 1: the fake disk does not evict", "why");
    fakes[1]->fail_evict = 0;
    is_int(job.disk->ops->key_evict(job.disk, job.key, &why), -EIO, "one child fails");
    is_int(fakes[0]->evicts * 10 + fakes[1]->evicts, 22, "every child was asked each time");
    is_int(sum_closes(2), 0, "nothing is closed");
    job.disk->ops->key_close(job.disk, job.key);
    is_int(sum_closes(2), 2, "close closes all");
    crypto_key_wipe(&key);
    close_all(job.disk, 2);
}

static void test_counts(void)
{
    struct disk_key_counts counts;
    struct crypto_key key;
    struct disk_key *opened;
    struct disk *disk;

    make_child(0, 65536, &all_caps);
    make_child(1, 65536, &all_caps);
    make_key(&key, 4096, 0);
    disk = open_layer(LAYER_LINEAR, 0, 2);
    disk->ops->key_open(disk, &key, &opened, NULL);
    run(disk, opened, true, 0, buffer, 131072, NULL);
    run(disk, opened, true, 65536, buffer, 65536, NULL);
    disk->ops->key_counts(opened, &counts);
    is_int((intmax_t)counts.profile.hits, 3, "hits");
    is_int((intmax_t)counts.profile.misses, 6, "misses");
    is_int((intmax_t)counts.profile.programs, 9, "programs");
    is_int((intmax_t)counts.profile.evictions, 12, "evictions");
    is_int((intmax_t)counts.profile.waits, 15, "waits");
    is_int((intmax_t)counts.fallbacks, 0, "fallbacks");
    disk->ops->key_evict(disk, opened, NULL);
    disk->ops->key_close(disk, opened);
    crypto_key_wipe(&key);
    close_all(disk, 2);
}

/* ---- threads ---- */

#define THREADS 8
#define AREA    65536u

struct worker {
    struct disk *disk;
    struct disk_key *key; /* everybody's */
    unsigned number;
    unsigned wrong;
};

/* Each has an area of its own, which lies on all children. */
static void *work(void *argument)
{
    struct worker *worker = argument;
    struct disk *disk = worker->disk;
    uint8_t *mine = malloc(AREA), *back = malloc(AREA);

    for (unsigned i = 0; mine && back && i < 200; i++) {
        size_t len = (1 + i % 16) * 4096;
        int r;

        memset(mine, (int)(i + worker->number), len);
        worker->wrong += run(disk, worker->key, true, worker->number * AREA, mine, len, NULL) != 0;
        r = i % 4 ? 0 : disk->ops->key_evict(disk, worker->key, NULL);
        worker->wrong += r && r != -EBUSY;
        worker->wrong += run(disk, worker->key, false, worker->number * AREA, back, len, NULL) != 0;
        worker->wrong += memcmp(mine, back, len) != 0;
    }
    free(mine);
    free(back);
    return NULL;
}

static void test_threads(void)
{
    struct crypto_caps caps = caps_of(4096);
    struct worker workers[THREADS];
    pthread_t threads[THREADS];
    struct crypto_key key;
    struct disk_key *opened;
    struct disk *disk;
    unsigned wrong = 0;

    for (unsigned i = 0; i < 4; i++)
        make_child(i, THREADS * AREA / 4, &caps);
    disk = open_layer(LAYER_STRIPED, 4096, 4);
    make_key(&key, 4096, 0);
    disk->ops->key_open(disk, &key, &opened, NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        workers[i] = (struct worker){disk, opened, i, 0};
        pthread_create(&threads[i], NULL, work, &workers[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        wrong += workers[i].wrong;
    }
    is_int(wrong, 0, "%u threads with one key: all comes back", THREADS);
    is_int(disk->ops->key_evict(disk, opened, NULL), 0, "nothing is left in flight");
    disk->ops->key_close(disk, opened);
    crypto_key_wipe(&key);
    close_all(disk, 4);
}

int main(void)
{
    if (!is_int(cipher_init(NULL), 0, "cipher_init"))
        return tap_done();
    for (unsigned count = 1; count <= LAYER_CHILDREN_MAX; count++) {
        check_map(LAYER_LINEAR, count);
        check_map(LAYER_STRIPED, count);
    }
    test_range();
    test_refusals();
    test_caps();
    test_supported();
    test_context();
    test_errors();
    test_open_undone();
    test_evict();
    test_counts();
    test_threads();
    return tap_done();
}
