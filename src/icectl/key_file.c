/* SPDX-License-Identifier: BSD-2-Clause */
#include "key_file.h"
#include "base/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <unistd.h>

/* Reads until `len` bytes or the end. Bytes, or -errno. */
static ssize_t read_all(int fd, uint8_t *to, size_t len)
{
    size_t done = 0;

    while (done < len) {
        ssize_t got = read(fd, to + done, len - done);

        if (got == 0)
            break;
        if (got < 0 && errno != EINTR)
            return -errno;
        if (got > 0)
            done += (size_t)got;
    }
    return (ssize_t)done;
}

/* `key` has room for one byte more than `most`, to see that there is no more. */
static int fill_key(int fd, uint8_t *key, const char *path, size_t least, size_t most,
                    const char *of, size_t *len, struct ice_why *why)
{
    ssize_t got = read_all(fd, key, most + 1);

    if (got < 0)
        return why_errno(why, (int)-got, "key file %.100s", path);
    *len = (size_t)got;
    if (*len > most)
        return why_set(why, EINVAL, "key file %.100s holds more than the %zu bytes of %s", path,
                       most, of);
    if (*len < least && least == most)
        return why_set(why, EINVAL, "key file %.100s holds %zu bytes, not the %zu of %s", path,
                       *len, most, of);
    if (*len < least)
        return why_set(why, EINVAL, "key file %.100s is empty", path);
    return 0;
}

uint8_t *read_key_file(const char *path, size_t least, size_t most, const char *of, size_t *len,
                       struct ice_why *why)
{
    bool is_stdin = !strcmp(path, "-");
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    uint8_t *key;

    if (fd < 0) {
        why_errno(why, errno, "key file %.100s", path);
        return NULL;
    }
    key = secret_alloc(most + 1);
    if (!key)
        secret_exhausted("a key", why);
    else if (fill_key(fd, key, path, least, most, of, len, why)) {
        secret_free(key);
        key = NULL;
    }
    if (!is_stdin)
        close(fd);
    return key;
}

/* 0 or -errno. */
static int write_all(int fd, const uint8_t *key, size_t len)
{
    while (len) {
        ssize_t written = write(fd, key, len);

        if (written < 0 && errno != EINTR)
            return -errno;
        if (written > 0) {
            key += written;
            len -= (size_t)written;
        }
    }
    return 0;
}

int write_key_file(const char *path, const uint8_t *key, size_t len, struct ice_why *why)
{
    int fd, err;

    if (!path) {
        err = write_all(STDOUT_FILENO, key, len);
        return err ? why_errno(why, -err, "standard output") : 0;
    }
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return why_set(why, EEXIST, "%.100s is there already, and no key file is overwritten",
                       path);
    if (fd < 0)
        return why_errno(why, errno, "%.100s", path);
    err = write_all(fd, key, len);
    if (close(fd) && !err)
        err = -errno;
    if (!err)
        return 0;
    unlink(path);
    return why_errno(why, -err, "%.100s", path);
}
