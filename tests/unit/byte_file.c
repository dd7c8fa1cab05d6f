/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Byte files over the real device: bytes against a plain array, the end of the file, dead files,
 * failures, zeros.
 */
#include "base/bytes.h"
#include "base/units.h"
#include "file_bench.h"
#include "tap.h"
#include <errno.h>
#include <stdlib.h>

#define SECTORS 2053u /* 1 MiB and five sectors: no multiple of a larger data unit */

/* ---- every offset and length, against an array ---- */

static uint8_t model[SECTORS * SECTOR_SIZE + 1], data[SECTORS * SECTOR_SIZE + 1];

/* Often on a boundary of a unit or next to one. */
static uint64_t some_place(const struct byte_file *file, unsigned *seed)
{
    uint64_t at = (uint64_t)rand_r(seed) % byte_file_size(file), unit = byte_file_unit(file);

    if (rand_r(seed) % 2)
        at -= at % unit;
    if (at && rand_r(seed) % 4 == 0)
        at--;
    return at;
}

static size_t some_length(const struct byte_file *file, unsigned *seed)
{
    size_t unit = byte_file_unit(file);

    switch (rand_r(seed) % 4) {
    case 0:
        return 1 + (size_t)rand_r(seed) % unit;
    case 1:
        return unit * (1 + (size_t)rand_r(seed) % 3);
    case 2:
        return unit * ((size_t)rand_r(seed) % 3) + 1 + (size_t)rand_r(seed) % 1000;
    default:
        return 1 + (size_t)rand_r(seed) % (3 * unit);
    }
}

static void compare_with_array(const char *name, const struct byte_file *file)
{
    unsigned seed = 42, short_writes = 0, short_reads = 0, wrong = 0;

    fill(model, byte_file_size(file), &seed);
    is_int(byte_file_write(file, 0, model, byte_file_size(file), NULL),
           (intmax_t)byte_file_size(file), "%s: the whole file in one write", name);
    for (unsigned i = 0; i < 100 * test_scale(); i++) {
        uint64_t at = some_place(file, &seed);
        size_t len = min_u64(some_length(file, &seed), byte_file_size(file) - at);
        size_t into = (size_t)rand_r(&seed) % 2; /* buffers at odd addresses */

        fill(data + into, len, &seed);
        short_writes += byte_file_write(file, at, data + into, len, NULL) != (ssize_t)len;
        memcpy(model + at, data + into, len);
        at = some_place(file, &seed);
        len = min_u64(some_length(file, &seed), byte_file_size(file) - at);
        short_reads += byte_file_read(file, at, data + into, len, NULL) != (ssize_t)len;
        wrong += memcmp(model + at, data + into, len) != 0;
    }
    is_int(short_writes, 0, "%s: all writes are whole", name);
    is_int(short_reads, 0, "%s: all reads are whole", name);
    is_int(wrong, 0, "%s: all reads are right", name);
    ok(reads_as(file, 0, model, byte_file_size(file)), "%s: the whole file is right", name);
}

static void test_units(void)
{
    static const char *const names[] = {"aes-256-xts", "aes-128-cbc-essiv"};
    static const uint32_t units[] = {512, 4096, 65536};
    struct byte_file file = bench_raw();
    char name[64];

    compare_with_array("raw", &file);
    for (size_t a = 0; a < ARRAY_SIZE(names); a++)
        for (size_t u = 0; u < ARRAY_SIZE(units); u++) {
            file = bench_programmed(names[a], units[u]);
            is_int((intmax_t)byte_file_size(&file), SECTORS * SECTOR_SIZE / units[u] * units[u],
                   "size");
            snprintf(name, sizeof(name), "%s, %u", names[a], units[u]);
            compare_with_array(name, &file);
            file = bench_keyed(names[a], units[u], units[u]);
            snprintf(name, sizeof(name), "a key of %s, %u", names[a], units[u]);
            compare_with_array(name, &file);
        }
}

static void test_end(void)
{
    struct byte_file file = bench_programmed("aes-256-xts", 4096);
    struct ice_why why = {0};
    uint8_t bytes[600] = {7};

    is_int(byte_file_write(&file, byte_file_size(&file) - 100, bytes, 600, &why), 100,
           "a short write");
    is_int(byte_file_read(&file, byte_file_size(&file) - 100, bytes, 600, &why), 100,
           "a short read");
    is_int(byte_file_read(&file, byte_file_size(&file), bytes, 600, &why), 0, "a read at the end");
    is_int(byte_file_read(&file, UINT64_MAX, bytes, 600, &why), 0, "a read far past the end");
    is_int(why.err, 0, "none of them has a cause");
    is_int(byte_file_write(&file, byte_file_size(&file), bytes, 600, &why), -ENOSPC,
           "a write at the end");
    is_str(why.text, "byte 1048576 is past the end of the file (1048576 bytes)", "its cause");
    is_int(byte_file_write(&file, byte_file_size(&file), bytes, 0, &why), 0, "a write of nothing");
}

/* What is written through the file is what the device does with unit and DUN. */
static void test_against_device(void)
{
    struct byte_file file = bench_programmed("aes-256-xts", 4096);
    struct ice_attachment *a = rig_attach(&bench.rig, RIG_ALL);
    struct command command = rig_tagged(rig_read(24), 0, 3);
    uint8_t unit[4096];
    unsigned seed = 5;

    fill(data, 3 * 4096, &seed);
    byte_file_write(&file, 2 * 4096 - 1000, data, 2 * 4096, NULL);
    is_int(rig_run(a, &command, NULL, 0, unit, sizeof(unit)).status, 0, "unit 3 at DUN 3");
    is_mem(unit, data + 1000 + 4096, 4096 - 1000, "is the tail of the write");
    attachment_close(a);
}

/* Through a key on a disk as through the slot that has it. */
static void test_keyed(void)
{
    struct byte_file slot = bench_programmed("aes-256-xts", 4096);
    struct byte_file keyed = bench_keyed("aes-256-xts", 4096, 5 * 4096);
    struct ice_why why = {0};
    unsigned seed = 9, flushes = gate_count(bench.gate, GATE_FLUSH);

    fill(data, 20000, &seed);
    is_int(byte_file_write(&keyed, 1234, data, 20000, &why), 20000, "written by the key");
    ok(reads_as(&slot, 5 * 4096 + 1234, data, 20000), "read through the slot");
    fill(data, 100, &seed);
    is_int(byte_file_write(&slot, 5 * 4096 + 9000, data, 100, &why), 100, "and the reverse");
    ok(reads_as(&keyed, 9000, data, 100), "is right");
    is_int(byte_file_sync(&keyed, &why), 0, "sync");
    is_int(gate_count(bench.gate, GATE_FLUSH), (intmax_t)flushes + 1, "is a flush");
    bench_evict(0);
    is_int(byte_file_sync(&keyed, &why), 0, "it does not hang on the slot");
    keyed.keyed.dun = dun_from_u64(UINT32_MAX);
    is_int(byte_file_write(&keyed, 4096, data, 100, &why), -EINVAL, "a DUN past the key's");
    is_str(why.text, "the first DUN does not fit the key's 32 bits", "its cause");
    is_int(byte_file_write(&keyed, byte_file_size(&keyed), data, 1, &why), -ENOSPC, "past the end");
}

/* The disk without a key: by logical blocks, whatever the sector. */
static void test_plain_disk(void)
{
    struct byte_file plain = bench_keyed("aes-256-xts", 4096, 0), raw = bench_raw();
    unsigned seed = 11;

    plain.keyed.key = NULL;
    plain.keyed.data_unit = SECTOR_SIZE;
    fill(data, 10000, &seed);
    is_int(byte_file_write(&plain, 3333, data, 10000, NULL), 10000, "written as it is");
    ok(reads_as(&raw, 3333, data, 10000), "is what raw has");
}

/* ---- dead files ---- */

static void is_dead(const char *name, const struct byte_file *file)
{
    unsigned writes = gate_count(bench.gate, GATE_WRITE),
             flushes = gate_count(bench.gate, GATE_FLUSH);
    struct ice_why why = {0};
    uint8_t bytes[4096] = {0};

    is_int(byte_file_read(file, 0, bytes, 4096, &why), -ENOKEY, "%s: read", name);
    is_int(why.err, ENOKEY, "%s: its cause", name);
    is_int(byte_file_read(file, 1, bytes, 1, &why), -ENOKEY, "%s: read of a part", name);
    is_int(byte_file_write(file, 0, bytes, 4096, &why), -ENOKEY, "%s: write", name);
    why = (struct ice_why){0};
    is_int(byte_file_write(file, 1, bytes, 1, &why), -ENOKEY, "%s: write of a part", name);
    is_str(why.text, "slot 0 no longer has the key that the file was opened with", "%s: its cause",
           name);
    is_int(byte_file_sync(file, &why), -ENOKEY, "%s: sync", name);
    is_int(gate_count(bench.gate, GATE_WRITE), writes, "%s: nothing is written", name);
    is_int(gate_count(bench.gate, GATE_FLUSH), flushes, "%s: nor flushed", name);
}

static void test_dead(void)
{
    struct byte_file file = bench_programmed("aes-256-xts", 4096), fresh;

    is_int(byte_file_sync(&file, NULL), 0, "sync of a live file");
    bench_program(0, "aes-256-xts", 4096, 1);
    is_dead("programmed again, with the same key", &file);
    bench_slot(0, &fresh);
    is_int(byte_file_write(&fresh, 1, "x", 1, NULL), 1, "a file of the new programming lives");
    bench_evict(0);
    is_dead("evicted", &file);
    is_dead("evicted, the new one", &fresh);
}

/* ---- failures, zeros ---- */

static void test_failures(void)
{
    struct byte_file file = bench_programmed("aes-256-xts", 4096);
    struct ice_why why = {0};

    gate_fail(bench.gate, GATE_WRITE, 0, EIO);
    is_int(byte_file_write(&file, 4096, data, 3 * 4096, &why), -EIO, "whole units that fail");
    is_str(why.text, "the test asked for a failure", "the store's cause comes through");
    gate_fail(bench.gate, GATE_WRITE, 1, EIO);
    is_int(byte_file_write(&file, 4000, data, 3 * 4096, &why), 96, "the head, then a failure");
    gate_fail(bench.gate, GATE_WRITE, 2, EIO);
    is_int(byte_file_write(&file, 4000, data, 3 * 4096, &why), 96 + 2 * 4096,
           "head and whole units, then a failure");
    gate_fail(bench.gate, GATE_READ, 0, EIO);
    is_int(byte_file_write(&file, 4000, data, 10, &why), -EIO, "a unit that cannot be read");
    gate_fail(bench.gate, GATE_READ, 1, ENOMEM);
    is_int(byte_file_read(&file, 4000, data, 4096, &why), 96, "a read that fails half way");
}

static void test_zero(void)
{
    struct byte_file file = bench_raw();
    unsigned seed = 3, wrong = 0, zeroed = gate_count(bench.gate, GATE_ZERO);
    struct ice_why why = {0};

    fill(model, byte_file_size(&file), &seed);
    byte_file_write(&file, 0, model, byte_file_size(&file), NULL);
    for (int i = 0; i < 60; i++) {
        uint64_t at = some_place(&file, &seed), len = some_length(&file, &seed);
        memset(model + at, 0, min_u64(len, byte_file_size(&file) - at));
        wrong += byte_file_zero(&file, at, len, i % 2, &why) != 0;
    }
    is_int(wrong, 0, "zeros anywhere: %s", why.text);
    ok(reads_as(&file, 0, model, byte_file_size(&file)), "are zeros, and nothing else is");
    ok(gate_count(bench.gate, GATE_ZERO) > zeroed, "whole sectors by WRITE_ZEROES");
    is_int(byte_file_zero(&file, byte_file_size(&file) + 5, 100, true, &why), 0,
           "past the end: nothing");
}

int main(void)
{
    bench_open(4, SECTORS);
    test_units();
    test_end();
    test_against_device();
    test_keyed();
    test_plain_disk();
    test_dead();
    test_failures();
    test_zero();
    bench_close();
    return tap_done();
}
