/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The type is asked for before the file is opened, as opening may block (FIFO) or do something (a
 * tape, a watchdog), and again afterwards, as the name may have changed hands.
 */
#include "base/units.h"
#include "media/fd_store.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static bool forbids_writing(int err)
{
    return err == EACCES || err == EPERM || err == EROFS || err == ETXTBSY;
}

/* Opens what is there; a descriptor or -errno. */
static int open_existing(const char *path, mode_t mode, bool to_read, struct ice_why *why)
{
    if (!S_ISREG(mode) && !S_ISBLK(mode))
        return why_set(why, EINVAL, "%s is neither a file nor a block device", path);

    int flags = O_CLOEXEC | (S_ISBLK(mode) ? O_EXCL : 0);
    int fd = open(path, O_RDWR | flags);
    if (fd < 0 && to_read && forbids_writing(errno))
        fd = open(path, O_RDONLY | flags);
    if (fd < 0 && errno == EBUSY)
        return why_set(why, EBUSY, "%s is in use", path);
    if (fd < 0)
        return why_errno(why, errno, "cannot open %s for reading%s", path,
                         to_read ? "" : " and writing");

    struct stat st;
    if (fstat(fd, &st) || (st.st_mode & S_IFMT) != (mode & S_IFMT)) {
        close(fd);
        return why_set(why, EINVAL, "%s was replaced while it was opened", path);
    }
    return fd;
}

/* A descriptor or -errno; says in `created` whether the file is new. */
static int open_image(const char *path, uint64_t size, bool to_read, bool *created,
                      struct ice_why *why)
{
    struct stat st;
    *created = false;
    if (stat(path, &st) == 0)
        return open_existing(path, st.st_mode, to_read, why);
    if (errno != ENOENT)
        return why_errno(why, errno, "cannot open %s", path);
    if (size == 0)
        return why_set(why, ENOENT, "%s does not exist and no size is given to create it with",
                       path);

    int fd = open(path, O_RDWR | O_CLOEXEC | O_CREAT | O_EXCL, 0600);
    if (fd < 0)
        return why_errno(why, errno, "cannot create %s", path);
    *created = true;
    return fd;
}

int store_lock_file(int fd, const char *path, struct ice_why *why)
{
    bool reads = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
    struct flock all = {.l_type = reads ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &all) == 0)
        return 0;
    if (errno == EAGAIN || errno == EACCES)
        return why_set(why, EBUSY, "%s is locked: it is in use already", path);
    return why_errno(why, errno, "cannot lock %s", path);
}

/* Gives a new file its size, or learns that of an old one and compares. */
static int settle_size(int fd, const char *path, bool created, uint64_t *size, struct ice_why *why)
{
    if (created) {
        if (ftruncate(fd, (off_t)*size))
            return why_errno(why, errno, "cannot make %s %llu bytes long", path,
                             (unsigned long long)*size);
        return 0;
    }

    off_t end = lseek(fd, 0, SEEK_END);
    if (end < 0)
        return why_errno(why, errno, "cannot find the size of %s", path);
    if (end == 0)
        return why_set(why, EINVAL, "%s is empty", path);
    if (*size && *size != (uint64_t)end)
        return why_set(why, EINVAL, "%s has %lld bytes, not the %llu asked for", path,
                       (long long)end, (unsigned long long)*size);
    if (end % SECTOR_SIZE)
        return why_set(why, EINVAL, "%s has %lld bytes, no multiple of %u", path, (long long)end,
                       SECTOR_SIZE);
    *size = (uint64_t)end;
    return 0;
}

static int open_file(const char *path, uint64_t size, bool to_read, struct store **store,
                     struct ice_why *why)
{
    int rc = size ? check_store_size(size, why) : 0;
    if (rc)
        return rc;

    bool created;
    int fd = open_image(path, size, to_read, &created, why);
    if (fd < 0)
        return fd;
    rc = store_lock_file(fd, path, why);
    if (rc == 0)
        rc = settle_size(fd, path, created, &size, why);
    if (rc == 0)
        rc = fd_store_new(fd, size, false, path, store, why);
    if (rc) {
        if (created)
            unlink(path);
        close(fd);
    }
    return rc;
}

int store_open_file(const char *path, uint64_t size, struct store **store, struct ice_why *why)
{
    return open_file(path, size, false, store, why);
}

int store_open_file_to_read(const char *path, uint64_t size, struct store **store,
                            struct ice_why *why)
{
    return open_file(path, size, true, store, why);
}
