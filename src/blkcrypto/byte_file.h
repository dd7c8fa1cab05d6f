/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A file of bytes over a keyless context, or over a disk with a key: pread and pwrite at any offset
 * and length. A partial data unit is read, changed and written under an exclusive range lock; of a
 * keyless context the slot is held meanwhile, so that no key operation comes between.
 *
 * Any thread, any number at once; each uses up to 80 KiB of stack and allocates nothing.
 */
#ifndef ICESIM_BLKCRYPTO_BYTE_FILE_H
#define ICESIM_BLKCRYPTO_BYTE_FILE_H

#include "base/units.h"
#include "context.h"
#include "disk.h"
#include "range_lock.h"
#include <sys/types.h>

/* A range of a disk through a key, which does not change while there is a file of it. */
struct keyed_context {
    struct disk *disk;
    struct disk_key *key; /* NULL: the data as it is */
    uint64_t first;       /* where the range begins on the disk: bytes, whole logical blocks */
    uint64_t size;        /* of the range: bytes, whole units */
    struct dun dun;       /* of its first data unit */
    uint32_t data_unit;   /* bytes; 512 without a key */
    uint32_t unit;        /* the larger of that and the disk's logical block */
};

struct byte_file {
    bool on_disk; /* which of the two it is over */
    union {
        struct keyless_context context;
        struct keyed_context keyed;
    };
    struct range_lock *locks; /* shared by all files on the same store */
    uint64_t lock_base;       /* the file's offset 0 in the store, bytes */
};

/* Bytes of what is read or written as a whole. */
static inline uint32_t byte_file_unit(const struct byte_file *file)
{
    return file->on_disk ? file->keyed.unit : file->context.data_unit;
}

/* Bytes; of a keyless context all that the channel's capacity has, as it is now, in whole units. */
static inline uint64_t byte_file_size(const struct byte_file *file)
{
    uint64_t bytes;

    if (file->on_disk)
        return file->keyed.size;
    bytes = file->context.channel->capacity * SECTOR_SIZE;
    return bytes - bytes % file->context.data_unit;
}

/*
 * As pread and pwrite: short at the end of the file, 0 past it for reads, -ENOSPC past it for
 * writes; else the bytes, or -errno (-ENOKEY: the slot has been evicted or programmed since; -EIO;
 * what the disk says). Buffers at any alignment.
 *
 * What a transfer cannot do in one request it does in turn: a partial head unit, the whole units in
 * requests of REQUEST_MAX, a partial tail unit. Each of these is all or nothing; when one fails the
 * count of the bytes before it is returned, and the error if there are none.
 */
ssize_t byte_file_read(const struct byte_file *file, uint64_t offset, void *buffer, size_t len,
                       struct ice_why *why);
ssize_t byte_file_write(const struct byte_file *file, uint64_t offset, const void *buffer,
                        size_t len, struct ice_why *why);

/*
 * Makes zeros of the part of [offset, offset + len) that is inside the file, the media as stored:
 * not for a tagged file, nor for one over a disk. `unmap`: the space of whole sectors may be given
 * back. 0 or -errno.
 */
int byte_file_zero(const struct byte_file *file, uint64_t offset, uint64_t len, bool unmap,
                   struct ice_why *why);

/* FLUSH, for a file that is alive: -ENOKEY when the slot has been evicted or programmed since. */
int byte_file_sync(const struct byte_file *file, struct ice_why *why);

/* FLUSH, whatever has become of the slot. */
int byte_file_flush(const struct byte_file *file, struct ice_why *why);

#endif
