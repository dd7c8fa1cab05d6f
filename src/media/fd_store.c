/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Only pread and pwrite touch the content: a memcpy into a mapping would tear sectors that two
 * writers meet on. Discarded ranges must read as zeros. fallocate promises that for files and block
 * devices alike, BLKDISCARD does not.
 */
#include "media/fd_store.h"
#include "base/bytes.h"
#include "base/iov.h"
#include "base/log.h"
#include "base/units.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct fd_store {
    struct store store;
    int fd;
    bool thin;
    char name[];
};

static struct fd_store *fd_store_of(struct store *store)
{
    return CONTAINER_OF(store, struct fd_store, store);
}

/*
 * Drivers see `why`; the image and the place in it are for the host's owner. Memory of the caller's
 * that is gone says nothing of the image.
 */
static int failed(const struct fd_store *fs, int err, const char *participle, uint64_t offset,
                  struct ice_why *why)
{
    if (err == EFAULT)
        return why_set(why, err, "the memory of the request is gone");
    log_error("%s cannot be %s at byte %llu: %s", fs->name, participle, (unsigned long long)offset,
              strerrordesc_np(err));
    return why_errno(why, err, "the media cannot be %s", participle);
}

typedef ssize_t transfer_fn(int fd, const struct iovec *iov, int n, off_t offset);

/* Repeats `step` until the list is done. */
static int transfer(struct fd_store *fs, transfer_fn *step, const char *participle, uint64_t offset,
                    struct iovec *iov, unsigned n, struct ice_why *why)
{
    unsigned first = iov_advance(iov, n, 0);
    while (first < n) {
        int count = (int)min_u64(n - first, IOV_MAX);
        ssize_t moved = step(fs->fd, iov + first, count, (off_t)offset);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved < 0)
            return failed(fs, errno, participle, offset, why);
        if (moved == 0) {
            log_error("%s ends at byte %llu: somebody has cut it short", fs->name,
                      (unsigned long long)offset);
            return why_set(why, EIO, "the media has been cut short");
        }
        offset += (uint64_t)moved;
        first += iov_advance(iov + first, n - first, (size_t)moved);
    }
    return 0;
}

static int fd_read(struct store *store, uint64_t offset, struct iovec *iov, unsigned n,
                   struct ice_why *why)
{
    return transfer(fd_store_of(store), preadv, "read", offset, iov, n, why);
}

static int fd_write(struct store *store, uint64_t offset, struct iovec *iov, unsigned n,
                    struct ice_why *why)
{
    return transfer(fd_store_of(store), pwritev, "written", offset, iov, n, why);
}

static int fd_flush(struct store *store, struct ice_why *why)
{
    struct fd_store *fs = fd_store_of(store);
    while (fdatasync(fs->fd)) {
        int err = errno;
        if (err == EINTR)
            continue;
        log_error("%s cannot be made stable: %s", fs->name, strerrordesc_np(err));
        return why_errno(why, err, "the media cannot be made stable");
    }
    return 0;
}

static int write_zeros(struct fd_store *fs, uint64_t offset, uint64_t len, struct ice_why *why)
{
    static const char zeros[65536];
    while (len) {
        struct iovec iov = {(void *)zeros, min_u64(len, sizeof(zeros))};
        uint64_t part = iov.iov_len;
        int rc = transfer(fs, pwritev, "zeroed", offset, &iov, 1, why);
        if (rc)
            return rc;
        offset += part;
        len -= part;
    }
    return 0;
}

/* Returns the errno of fallocate, or 0. */
static int try_fallocate(struct fd_store *fs, int mode, uint64_t offset, uint64_t len)
{
    while (fallocate(fs->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)len)) {
        if (errno != EINTR)
            return errno;
    }
    return 0;
}

/* The filesystem has no such mode, or the device's blocks are larger than our sectors. */
static bool falls_back(int err)
{
    return err == EOPNOTSUPP || err == EINVAL;
}

static int fd_zero(struct store *store, uint64_t offset, uint64_t len, bool unmap,
                   struct ice_why *why)
{
    struct fd_store *fs = fd_store_of(store);
    if (len == 0)
        return 0;

    int err = EOPNOTSUPP;
    if (unmap || fs->thin)
        err = try_fallocate(fs, FALLOC_FL_PUNCH_HOLE, offset, len);
    if (falls_back(err))
        err = try_fallocate(fs, FALLOC_FL_ZERO_RANGE, offset, len);
    if (falls_back(err))
        return write_zeros(fs, offset, len, why);
    if (err)
        return failed(fs, err, "zeroed", offset, why);
    return 0;
}

static int fd_discard(struct store *store, uint64_t offset, uint64_t len, struct ice_why *why)
{
    return fd_zero(store, offset, len, true, why);
}

static int fd_resize(struct store *store, uint64_t size, struct ice_why *why)
{
    struct fd_store *fs = fd_store_of(store);
    while (ftruncate(fs->fd, (off_t)size)) {
        if (errno != EINTR)
            return why_errno(why, errno, "cannot make %s %llu bytes long", fs->name,
                             (unsigned long long)size);
    }
    store->size = size;
    return 0;
}

static void fd_close(struct store *store)
{
    struct fd_store *fs = fd_store_of(store);
    close(fs->fd);
    free(fs);
}

static const struct store_ops fd_store_ops = {
    .read = fd_read,
    .write = fd_write,
    .flush = fd_flush,
    .discard = fd_discard,
    .zero = fd_zero,
    .resize = fd_resize,
    .close = fd_close,
};

int fd_store_new(int fd, uint64_t size, bool thin, const char *name, struct store **store,
                 struct ice_why *why)
{
    struct stat st;
    size_t name_size = strlen(name) + 1;
    struct fd_store *fs = malloc(sizeof(*fs) + name_size);
    if (!fs)
        return why_set(why, ENOMEM, "out of memory");
    bool fixed = fstat(fd, &st) || S_ISBLK(st.st_mode);
    bool read_only = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
    fs->store = (struct store){&fd_store_ops, size, fixed, read_only};
    fs->fd = fd;
    fs->thin = thin;
    memcpy(fs->name, name, name_size);
    *store = &fs->store;
    return 0;
}

int check_store_size(uint64_t size, struct ice_why *why)
{
    if (size == 0 || size % SECTOR_SIZE)
        return why_set(why, EINVAL, "a size of %llu bytes is no positive multiple of %u",
                       (unsigned long long)size, SECTOR_SIZE);
    if (size > INT64_MAX)
        return why_set(why, EFBIG, "a size of %llu bytes is too large", (unsigned long long)size);
    return 0;
}
