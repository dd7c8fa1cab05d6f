/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Byte files used by many threads: what runs at the same time and what does not, that no update is
 * lost, and that key operations do not come between the halves of one.
 */
#include "base/bytes.h"
#include "base/units.h"
#include "file_bench.h"
#include "tap.h"
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define SECTORS 2053u /* 1 MiB and five sectors: no multiple of a larger data unit */
#define STRIPE  65536u

static uint8_t data[4096];

/* ---- threads ---- */

struct io {
    const struct byte_file *file;
    uint64_t offset;
    size_t len;
    uint8_t value;
    pthread_t thread;
    ssize_t result;
    struct ice_why why;
};

static void *write_value(void *arg)
{
    struct io *io = arg;
    uint8_t *bytes = malloc(io->len);

    memset(bytes, io->value, io->len);
    io->result = byte_file_write(io->file, io->offset, bytes, io->len, &io->why);
    free(bytes);
    return NULL;
}

static void *read_value(void *arg)
{
    struct io *io = arg;
    uint8_t *bytes = malloc(io->len);

    io->result = byte_file_read(io->file, io->offset, bytes, io->len, &io->why);
    io->value = bytes[0];
    free(bytes);
    return NULL;
}

static void start(struct io *io, void *(*run)(void *))
{
    pthread_create(&io->thread, NULL, run, io);
}

static void end(struct io *io, const char *name)
{
    pthread_join(io->thread, NULL);
    is_int(io->result, (intmax_t)io->len, "%s", name);
}

static void moment(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 30 * 1000 * 1000}, NULL);
}

static void test_one_unit(void)
{
    struct byte_file file = bench_programmed("aes-256-xts", 4096);
    struct io a = {.file = &file, .offset = 100, .len = 50, .value = 0xaa};
    struct io b = {.file = &file, .offset = 150, .len = 50, .value = 0xbb};
    struct io c = {.file = &file, .offset = 8192, .len = 4096, .value = 0xcc};
    struct io d = {.file = &file, .offset = 8192, .len = 1};
    uint8_t want[100];
    unsigned reads;

    memset(want, 0xaa, 50);
    memset(want + 50, 0xbb, 50);
    gate_close(bench.gate, GATE_READ);
    reads = gate_count(bench.gate, GATE_READ);
    start(&a, write_value);
    ok(gate_wait(bench.gate, GATE_READ, 1), "a partial write reads its unit");
    start(&b, write_value);
    start(&c, write_value);
    start(&d, read_value);
    moment();
    is_int(gate_count(bench.gate, GATE_READ), reads + 1,
           "other partial writes and reads of the stripe wait for it");
    gate_open(bench.gate, GATE_READ);
    end(&a, "the first partial write");
    end(&b, "the second partial write");
    end(&c, "a whole unit in the same stripe");
    end(&d, "a read");
    ok(reads_as(&file, 100, want, 100), "no update is lost");
}

static void test_overlap(void)
{
    struct byte_file file = bench_programmed("aes-256-xts", 4096);
    struct io partial[] = {
        {.file = &file, .offset = 100, .len = 50, .value = 1},
        {.file = &file, .offset = STRIPE + 100, .len = 50, .value = 2},
        {.file = &file, .offset = 4 * STRIPE - 100, .len = 50, .value = 3},
    };
    struct io whole[] = {
        {.file = &file, .offset = 0, .len = 4096, .value = 4},
        {.file = &file, .offset = 4096, .len = 8192, .value = 5},
        {.file = &file, .offset = 3 * 4096, .len = 2 * STRIPE, .value = 6},
    };

    gate_close(bench.gate, GATE_READ);
    for (int i = 0; i < 3; i++)
        start(&partial[i], write_value);
    ok(gate_wait(bench.gate, GATE_READ, 3),
       "partial writes of three stripes read at the same time");
    gate_close(bench.gate, GATE_WRITE);
    gate_open(bench.gate, GATE_READ);
    ok(gate_wait(bench.gate, GATE_WRITE, 3), "and write at the same time");
    gate_open(bench.gate, GATE_WRITE);
    for (int i = 0; i < 3; i++)
        end(&partial[i], "a partial write");
    gate_close(bench.gate, GATE_WRITE);
    for (int i = 0; i < 3; i++)
        start(&whole[i], write_value);
    ok(gate_wait(bench.gate, GATE_WRITE, 3),
       "whole units of one stripe are written at the same time");
    gate_open(bench.gate, GATE_WRITE);
    for (int i = 0; i < 3; i++)
        end(&whole[i], "a write of whole units");
}

#define REGION  (5 * 4096)
#define THREADS 4

/* Each byte of the region belongs to one thread, in runs of odd lengths. */
struct owner {
    struct byte_file file;
    uint64_t region;
    uint8_t *map, *want;
    unsigned id;
    unsigned failed;
};

static size_t run_at(const struct owner *owner, size_t at)
{
    size_t end_of_run = at;

    while (end_of_run < REGION && owner->map[end_of_run] == owner->id)
        end_of_run++;
    return end_of_run - at;
}

static void *write_own(void *arg)
{
    struct owner *owner = arg;
    unsigned seed = owner->id + 1;
    uint8_t bytes[REGION];

    for (unsigned i = 0; i < 400 * test_scale(); i++) {
        size_t at = (size_t)rand_r(&seed) % REGION, len = run_at(owner, at);
        if (!len)
            continue;
        len = 1 + (size_t)rand_r(&seed) % len;
        fill(bytes, len, &seed);
        memcpy(owner->want + at, bytes, len);
        owner->failed +=
            byte_file_write(&owner->file, owner->region + at, bytes, len, NULL) != (ssize_t)len;
    }
    return NULL;
}

/* Two threads in a region of a key's file, two in one of raw beside it, in one stripe. */
static void test_lost_updates(const char *name, struct byte_file slot)
{
    static uint8_t maps[2][REGION], want[2][REGION];
    struct byte_file raw = bench_raw();
    struct owner owners[THREADS];
    pthread_t threads[THREADS];
    unsigned seed = 99, failed = 0;

    for (size_t r = 0; r < 2; r++) {
        for (size_t at = 0; at < REGION; at++)
            maps[r][at] = at && rand_r(&seed) % 300 ? maps[r][at - 1] : rand_r(&seed) % 2;
        fill(want[r], REGION, &seed);
        byte_file_write(r ? &raw : &slot, r * REGION, want[r], REGION, NULL);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        owners[i] = (struct owner){.file = i / 2 ? raw : slot,
                                   .region = i / 2 * REGION,
                                   .map = maps[i / 2],
                                   .want = want[i / 2],
                                   .id = i % 2};
        pthread_create(&threads[i], NULL, write_own, &owners[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        failed += owners[i].failed;
    }
    is_int(failed, 0, "%s: all writes are whole", name);
    ok(reads_as(&slot, 0, want[0], REGION), "%s: no update is lost", name);
    ok(reads_as(&raw, REGION, want[1], REGION), "%s: nor in raw beside it", name);
}

static _Atomic bool enough;

static void *read_same(void *arg)
{
    struct io *io = arg;
    uint8_t bytes[4096];

    while (!enough) {
        io->result +=
            byte_file_read(io->file, io->offset, bytes, io->len, NULL) != (ssize_t)io->len ||
            memcmp(bytes, bytes + 1, io->len - 1);
    }
    return NULL;
}

/* A reader of a CBC unit under way would see noise, not old bytes or new ones. */
static void test_readers(void)
{
    struct byte_file file = bench_programmed("aes-128-cbc-essiv", 4096);
    struct io writer = {.file = &file, .offset = 0, .len = 4096};
    struct io reader = {.file = &file, .offset = 500, .len = 3000};

    write_value(&writer);
    enough = false;
    start(&reader, read_same);
    writer.offset = 500;
    writer.len = 3000;
    for (unsigned i = 0; i < 300 * test_scale(); i++) {
        writer.value = (uint8_t)i;
        write_value(&writer);
    }
    enough = true;
    pthread_join(reader.thread, NULL);
    is_int(reader.result, 0, "a reader sees a partial write whole or not at all");
}

/* ---- key operations ---- */

static void test_busy(void)
{
    struct byte_file file = bench_programmed("aes-256-xts", 4096);
    struct io io = {.file = &file, .offset = 100, .len = 50, .value = 9};
    uint8_t want[50];

    memset(want, 9, sizeof(want));
    gate_close(bench.gate, GATE_READ);
    start(&io, write_value);
    gate_wait(bench.gate, GATE_READ, 1);
    is_int(bench_program(0, "aes-256-xts", 4096, 77), -EBUSY, "program while a unit is read");
    gate_close(bench.gate, GATE_WRITE);
    gate_open(bench.gate, GATE_READ);
    gate_wait(bench.gate, GATE_WRITE, 1);
    is_int(bench_program(0, "aes-256-xts", 4096, 77), -EBUSY, "program before it is written");
    is_int(bench_evict(0), -EBUSY, "evict before it is written");
    gate_open(bench.gate, GATE_WRITE);
    end(&io, "the partial write");
    ok(reads_as(&file, 100, want, 50), "is there");
    is_int(bench_evict(0), 0, "then the slot can be evicted");
}

/* A channel that tries to program the slot after its first request, or after the first release. */
struct meddler {
    struct channel channel;
    struct channel *inner;
    bool at_release;
    unsigned requests, releases;
    int result;
};

static void meddle_submit(struct channel *channel, struct ice_request *request)
{
    struct meddler *meddler = CONTAINER_OF(channel, struct meddler, channel);

    channel_submit(meddler->inner, request);
    if (++meddler->requests == 1 && !meddler->at_release)
        meddler->result = bench_program(0, "aes-256-xts", 4096, 77);
}

static int meddle_hold(struct channel *channel, uint32_t slot, uint64_t expect)
{
    struct channel *inner = CONTAINER_OF(channel, struct meddler, channel)->inner;

    return inner->ops->slot_hold(inner, slot, expect);
}

static void meddle_release(struct channel *channel, uint32_t slot)
{
    struct meddler *meddler = CONTAINER_OF(channel, struct meddler, channel);

    meddler->inner->ops->slot_release(meddler->inner, slot);
    if (++meddler->releases == 1 && meddler->at_release)
        meddler->result = bench_program(0, "aes-256-xts", 4096, 77);
}

static void test_between(void)
{
    static const struct channel_ops ops = {
        .submit = meddle_submit,
        .slot_hold = meddle_hold,
        .slot_release = meddle_release,
    };
    struct byte_file file = bench_programmed("aes-256-xts", 4096);
    struct meddler meddler = {.channel = *file.context.channel, .inner = file.context.channel};

    meddler.channel.ops = &ops;
    file.context.channel = &meddler.channel;
    is_int(byte_file_write(&file, 100, "abc", 3, NULL), 3, "a partial write");
    is_int(meddler.requests, 2, "is a read and a write");
    is_int(meddler.result, -EBUSY, "program between the two");
    ok(reads_as(&file, 100, (const uint8_t *)"abc", 3), "the bytes are there");
    meddler.at_release = true;
    meddler.releases = 0;
    is_int(byte_file_write(&file, 4000, data, 4096, NULL), 96, "two partial units, one after one");
    is_int(meddler.result, 0, "the slot is programmed between them");
    is_int(byte_file_write(&file, 4096, data, 4000, NULL), -ENOKEY, "the rest is refused");
}

int main(void)
{
    bench_open(4, SECTORS);
    test_one_unit();
    test_overlap();
    test_lost_updates("aes-256-xts", bench_programmed("aes-256-xts", 4096));
    test_lost_updates("aes-128-cbc-essiv", bench_programmed("aes-128-cbc-essiv", 4096));
    test_lost_updates("a key on a disk", bench_keyed("aes-256-xts", 4096, 0));
    test_readers();
    test_busy();
    test_between();
    bench_close();
    return tap_done();
}
