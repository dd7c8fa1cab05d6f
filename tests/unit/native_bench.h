/* SPDX-License-Identifier: BSD-2-Clause */
/* A native disk on a rig, and keys for it. Failures of the bench itself end the program. */
#ifndef ICESIM_TESTS_NATIVE_BENCH_H
#define ICESIM_TESTS_NATIVE_BENCH_H

#include "blkcrypto/native.h"
#include "icesim/inproc.h"
#include "rig.h"

struct native_bench {
    struct rig rig;
    struct inproc *inproc;
    struct disk *disk;
};

/* As rig_open_as; the disk claims slots as "the views of vm0". */
void native_bench_open(struct native_bench *bench, unsigned slots, uint64_t sectors,
                       struct store *store, struct function_params params);
void native_bench_close(struct native_bench *bench);

/* Engine reset, and the news of it. */
void native_bench_reset(struct native_bench *bench);

struct bench_key {
    struct crypto_key key;
    struct disk_key *opened;
};

/* A raw key of the bytes first, first + 1, …; dun_bytes as wide as the disk and the IV have it. */
void bench_key_init(struct native_bench *bench, struct bench_key *key, const char *algorithm,
                    uint32_t data_unit, uint8_t first);
/* The same, in use at the disk. */
void bench_key_open(struct native_bench *bench, struct bench_key *key, const char *algorithm,
                    uint32_t data_unit, uint8_t first);
/* 0, or what key_evict says; closes and wipes it but for -EBUSY. */
int bench_key_close(struct native_bench *bench, struct bench_key *key);

/* One transfer; `key` NULL: the data as it is. */
int bench_read(struct native_bench *bench, struct bench_key *key, uint64_t offset, struct dun dun,
               void *buffer, size_t len, struct ice_why *why);
int bench_write(struct native_bench *bench, struct bench_key *key, uint64_t offset, struct dun dun,
                const void *buffer, size_t len, struct ice_why *why);

/* Counters of the key. */
struct profile_counts bench_counts(struct native_bench *bench, struct bench_key *key);

/* How many slots of the engine hold a key. */
unsigned bench_slots_used(struct native_bench *bench);

#endif
