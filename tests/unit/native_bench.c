/* SPDX-License-Identifier: BSD-2-Clause */
#include "native_bench.h"
#include "base/bytes.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(int r, const struct ice_why *why)
{
    if (r) {
        printf("Bail out! the bench: %s\n", why->text);
        exit(1);
    }
}

void native_bench_open(struct native_bench *bench, unsigned slots, uint64_t sectors,
                       struct store *store, struct function_params params)
{
    struct ice_why why = {.text = ""};

    rig_open_as(&bench->rig, slots, sectors, store, params);
    must(inproc_open_disk(bench->rig.function, "the views of vm0", &bench->inproc, &bench->disk,
                          &why),
         &why);
}

void native_bench_close(struct native_bench *bench)
{
    inproc_close(bench->inproc);
    rig_close(&bench->rig);
}

void native_bench_reset(struct native_bench *bench)
{
    function_announce_generation(bench->rig.function, engine_reset(bench->rig.engine));
}

void bench_key_init(struct native_bench *bench, struct bench_key *key, const char *algorithm,
                    uint32_t data_unit, uint8_t first)
{
    unsigned dun_bytes = (unsigned)min_u64(bench->disk->caps.dun_bytes, 16);
    const struct crypto_config config = {
        .algorithm = algorithm_by_name(algorithm),
        .data_unit = data_unit,
        .dun_bytes = dun_bytes ? dun_bytes : 1,
        .key_type = ICE_KEY_TYPE_RAW,
    };
    struct ice_why why = {.text = ""};
    uint8_t bytes[KEY_BYTES_MAX];

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(first + i);
    must(crypto_key_init(&key->key, &config, bytes, config.algorithm->key_bytes, &why), &why);
}

void bench_key_open(struct native_bench *bench, struct bench_key *key, const char *algorithm,
                    uint32_t data_unit, uint8_t first)
{
    struct ice_why why = {.text = ""};

    bench_key_init(bench, key, algorithm, data_unit, first);
    must(bench->disk->ops->key_open(bench->disk, &key->key, &key->opened, &why), &why);
}

int bench_key_close(struct native_bench *bench, struct bench_key *key)
{
    int r = bench->disk->ops->key_evict(bench->disk, key->opened, NULL);

    if (r == -EBUSY)
        return r;
    bench->disk->ops->key_close(bench->disk, key->opened);
    crypto_key_wipe(&key->key);
    return r;
}

static int transfer(struct native_bench *bench, struct bench_key *key, const struct disk_io *io,
                    struct ice_why *why)
{
    struct disk_io with_key = *io;

    with_key.key = key ? key->opened : NULL;
    return bench->disk->ops->transfer(bench->disk, &with_key, why);
}

int bench_read(struct native_bench *bench, struct bench_key *key, uint64_t offset, struct dun dun,
               void *buffer, size_t len, struct ice_why *why)
{
    const struct disk_io io = {.offset = offset, .buffer = buffer, .len = len, .dun = dun};

    return transfer(bench, key, &io, why);
}

int bench_write(struct native_bench *bench, struct bench_key *key, uint64_t offset, struct dun dun,
                const void *buffer, size_t len, struct ice_why *why)
{
    const struct disk_io io = {
        .offset = offset, .buffer = (void *)buffer, .len = len, .write = true, .dun = dun};

    return transfer(bench, key, &io, why);
}

struct profile_counts bench_counts(struct native_bench *bench, struct bench_key *key)
{
    struct disk_key_counts counts;

    bench->disk->ops->key_counts(key->opened, &counts);
    return counts.profile;
}

unsigned bench_slots_used(struct native_bench *bench)
{
    unsigned programmed = 0;

    for (unsigned i = 0; i < engine_slots(bench->rig.engine); i++) {
        struct slot_info info;
        engine_slot_info(bench->rig.engine, i, &info);
        programmed += info.programmed;
    }
    return programmed;
}
