/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Byte files on a bench: a rig over RAM with gates, a channel to its function in the process, range
 * locks. One at a time. Failures of the bench itself end the program.
 */
#ifndef ICESIM_TESTS_FILE_BENCH_H
#define ICESIM_TESTS_FILE_BENCH_H

#include "blkcrypto/byte_file.h"
#include "gate_store.h"
#include "rig.h"

struct file_bench {
    struct rig rig;
    struct gate_store *gate;
    struct inproc *inproc;
    struct range_lock *locks;
    /* Of bench_keyed: */
    struct inproc *disk_inproc;
    struct disk *disk;
    struct crypto_key key;
    struct disk_key *opened;
};

extern struct file_bench bench;

void bench_open(unsigned slots, uint64_t sectors);
void bench_close(void);

/* engine_program with the key bytes first, first + 1, … */
int bench_program(unsigned slot, const char *algorithm, uint32_t unit, uint8_t first);
int bench_evict(unsigned slot);

struct byte_file bench_raw(void);
/* False when the slot is empty. */
bool bench_slot(unsigned slot, struct byte_file *file);
/* Slot 0, freshly programmed. */
struct byte_file bench_programmed(const char *algorithm, uint32_t unit);
/*
 * From byte `first` of the function on, through its native disk and bench_programmed's key; with
 * the DUNs that a slot's file has there, so `first` is whole data units. The one before is dead.
 */
struct byte_file bench_keyed(const char *algorithm, uint32_t unit, uint64_t first);

/* Bytes from `seed`, which moves on. */
void fill(uint8_t *bytes, size_t len, unsigned *seed);
/* True when a read gives exactly `want`, and writes nothing behind it. */
bool reads_as(const struct byte_file *file, uint64_t offset, const uint8_t *want, size_t len);
/* ICESIM_TEST_SCALE, 1 without it. */
unsigned test_scale(void);

#endif
