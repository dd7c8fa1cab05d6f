/* SPDX-License-Identifier: BSD-2-Clause */
/* Byte files on a bench. */
#include "file_bench.h"
#include "base/secret.h"
#include "base/units.h"
#include "icesim/inproc.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct file_bench bench;

void bench_open(unsigned slots, uint64_t sectors)
{
    struct ice_why why = {0};
    struct store *ram;

    if (!store_open_ram(sectors * SECTOR_SIZE, &ram, &why)) {
        bench.gate = gate_store_new(ram);
        rig_open(&bench.rig, slots, sectors, gate_store(bench.gate));
        bench.locks = range_lock_new();
        if (bench.locks && !inproc_open(bench.rig.function, &bench.inproc, &why))
            return;
    }
    printf("Bail out! the bench: %s\n", why.text);
    exit(1);
}

static void close_key(void)
{
    struct ice_why why = {0};

    if (!bench.opened)
        return;
    if (bench.disk->ops->key_evict(bench.disk, bench.opened, &why)) {
        printf("Bail out! the bench: %s\n", why.text);
        exit(1);
    }
    bench.disk->ops->key_close(bench.disk, bench.opened);
    bench.opened = NULL;
    crypto_key_wipe(&bench.key);
}

void bench_close(void)
{
    close_key();
    inproc_close(bench.disk_inproc);
    range_lock_free(bench.locks);
    inproc_close(bench.inproc);
    rig_close(&bench.rig);
}

int bench_program(unsigned slot, const char *algorithm, uint32_t unit, uint8_t first)
{
    struct engine_key key = {.algorithm = algorithm_by_name(algorithm), .data_unit = unit};
    uint8_t *bytes = secret_alloc(KEY_BYTES_MAX);
    int r;

    for (unsigned i = 0; i < KEY_BYTES_MAX; i++)
        bytes[i] = (uint8_t)(first + i);
    key.bytes = bytes;
    r = engine_program(bench.rig.engine, slot, &key, NULL, NULL, NULL);
    secret_free(bytes);
    return r;
}

int bench_evict(unsigned slot)
{
    return engine_evict(bench.rig.engine, slot, NULL, NULL, NULL);
}

struct byte_file bench_raw(void)
{
    return (struct byte_file){
        .context = {.channel = inproc_channel(bench.inproc),
                    .data_unit = SECTOR_SIZE,
                    .expect = EXPECT_ANY},
        .locks = bench.locks,
    };
}

bool bench_slot(unsigned slot, struct byte_file *file)
{
    struct slot_info info;

    engine_slot_info(bench.rig.engine, slot, &info);
    if (!info.programmed)
        return false;
    *file = bench_raw();
    file->context.tagged = true;
    file->context.slot = slot;
    file->context.data_unit = info.data_unit;
    file->context.expect = info.program_count;
    return true;
}

struct byte_file bench_programmed(const char *algorithm, uint32_t unit)
{
    struct byte_file file;

    if (bench_program(0, algorithm, unit, 1) || !bench_slot(0, &file)) {
        printf("Bail out! slot 0 cannot be programmed\n");
        exit(1);
    }
    return file;
}

static int open_key(const struct crypto_config *config, struct ice_why *why)
{
    uint8_t *bytes = secret_alloc(KEY_BYTES_MAX);
    int r = 0;

    for (unsigned i = 0; i < KEY_BYTES_MAX; i++)
        bytes[i] = (uint8_t)(1 + i);
    if (!bench.disk)
        r = inproc_open_disk(bench.rig.function, "the bench", &bench.disk_inproc, &bench.disk, why);
    if (!r)
        r = crypto_key_init(&bench.key, config, bytes, config->algorithm->key_bytes, why);
    secret_free(bytes);
    return r ? r : bench.disk->ops->key_open(bench.disk, &bench.key, &bench.opened, why);
}

struct byte_file bench_keyed(const char *algorithm, uint32_t unit, uint64_t first)
{
    const struct crypto_config config = {.algorithm = algorithm_by_name(algorithm),
                                         .data_unit = unit,
                                         .dun_bytes = 4,
                                         .key_type = ICE_KEY_TYPE_RAW};
    struct byte_file file = bench_raw();
    uint64_t size = byte_file_size(&file) - first;
    struct ice_why why = {0};

    close_key();
    if (open_key(&config, &why)) {
        printf("Bail out! the bench: %s\n", why.text);
        exit(1);
    }
    file.on_disk = true;
    file.keyed = (struct keyed_context){.disk = bench.disk,
                                        .key = bench.opened,
                                        .first = first,
                                        .size = size - size % unit,
                                        .dun = dun_from_u64(first / unit),
                                        .data_unit = unit,
                                        .unit = unit};
    file.lock_base = first;
    return file;
}

void fill(uint8_t *bytes, size_t len, unsigned *seed)
{
    for (size_t i = 0; i < len; i++)
        bytes[i] = (uint8_t)rand_r(seed);
}

bool reads_as(const struct byte_file *file, uint64_t offset, const uint8_t *want, size_t len)
{
    uint8_t *got = malloc(len + 1);
    bool same;

    got[len] = 0x5a;
    same = byte_file_read(file, offset, got, len, NULL) == (ssize_t)len &&
           !memcmp(got, want, len) && got[len] == 0x5a;
    free(got);
    return same;
}

unsigned test_scale(void)
{
    const char *scale = getenv("ICESIM_TEST_SCALE");

    return scale ? (unsigned)atoi(scale) : 1;
}
