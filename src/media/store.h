/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where sectors are kept. A store holds bytes as given to it (ciphertext, here) and knows nothing
 * of keys. Offsets and lengths are bytes, multiples of 512, inside `size`: the device checks that
 * before it calls. Transfers are whole or fail with -errno and a `why`, which drivers may see: it
 * names neither the image nor a place in it; the log does. -EFAULT says that not the media failed
 * but the memory of the iovec, which the file under it no longer has. All operations may be called
 * from any thread at once; of overlapping writes each 512-byte sector ends as one of them wrote it.
 */
#ifndef ICESIM_MEDIA_STORE_H
#define ICESIM_MEDIA_STORE_H

#include "base/why.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

struct store;

struct store_ops {
    /* The iovec array is the callee's to change; the bytes of a write are not. */
    int (*read)(struct store *store, uint64_t offset, struct iovec *iov, unsigned n,
                struct ice_why *why);
    int (*write)(struct store *store, uint64_t offset, struct iovec *iov, unsigned n,
                 struct ice_why *why);
    /* Makes stable every write that returned before the call. */
    int (*flush)(struct store *store, struct ice_why *why);
    /* The range may be forgotten; here it reads as zeros afterwards. */
    int (*discard)(struct store *store, uint64_t offset, uint64_t len, struct ice_why *why);
    /* The range reads as zeros afterwards; `unmap`: its space may be given back. */
    int (*zero)(struct store *store, uint64_t offset, uint64_t len, bool unmap,
                struct ice_why *why);
    /*
     * Makes it longer, by zeros, or cuts it; a size that check_store_size takes. Alone: no other
     * call reaches past the smaller size meanwhile. 0, or -errno with a `why` for the host's owner,
     * and nothing has changed.
     */
    int (*resize)(struct store *store, uint64_t size, struct ice_why *why);
    /* Frees everything; no call is under way. */
    void (*close)(struct store *store);
};

struct store {
    const struct store_ops *ops;
    uint64_t size;  /* bytes, a multiple of 512 */
    bool fixed;     /* it is not to be resized: a block device */
    bool read_only; /* it cannot be written, zeroed or resized */
};

/* 0 when `size` is one that a store can have; else -EINVAL or -EFBIG. */
int check_store_size(uint64_t size, struct ice_why *why);

/*
 * RAM: a memfd, so that a sparse terabyte costs nothing until written; zeroing gives the memory
 * back. 0, -EINVAL when `size` is 0 or no multiple of 512, or another -errno; free with
 * store_close.
 */
int store_open_ram(uint64_t size, struct store **store, struct ice_why *why);

/*
 * An image file or block device, kept exactly as stored, without a header. Creates the file (0600,
 * sparse) with `size` bytes when it is missing. `size` 0 takes what is there. Refused: missing with
 * size 0 (ENOENT), another size than `size`, empty, no multiple of 512, not a file or block device
 * (EINVAL), in use by another (EBUSY: a whole-file OFD lock, which QEMU respects too; O_EXCL on
 * block devices), no write permission (EACCES, EROFS). A file that this call created is removed
 * again when it fails.
 */
int store_open_file(const char *path, uint64_t size, struct store **store, struct ice_why *why);

/*
 * The same for who only reads: a file that is there and may not be written becomes a store that is
 * read_only. Several may have it so at once, and nobody who writes.
 */
int store_open_file_to_read(const char *path, uint64_t size, struct store **store,
                            struct ice_why *why);

/*
 * The lock that an image has, on a file that is to be none: as long as the description of `fd` is
 * open. Where that is for reading only it keeps out only who writes. 0, or -EBUSY.
 */
int store_lock_file(int fd, const char *path, struct ice_why *why);

static inline void store_close(struct store *store)
{
    if (store)
        store->ops->close(store);
}

#endif
