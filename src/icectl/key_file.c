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

static int fill_key(int fd, uint8_t *key, const char *path, const struct algorithm *algorithm,
                    struct ice_why *why)
{
    size_t want = algorithm->key_bytes;
    ssize_t got = read_all(fd, key, want + 1); /* one more, to see that there is no more */

    if (got < 0)
        return why_errno(why, (int)-got, "key file %.100s", path);
    if ((size_t)got > want)
        return why_set(why, EINVAL, "key file %.100s holds more than the %zu bytes of %s", path,
                       want, algorithm->name);
    if ((size_t)got < want)
        return why_set(why, EINVAL, "key file %.100s holds %zd bytes, not the %zu of %s", path, got,
                       want, algorithm->name);
    return 0;
}

uint8_t *read_key_file(const char *path, const struct algorithm *algorithm, struct ice_why *why)
{
    bool is_stdin = !strcmp(path, "-");
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    uint8_t *key;

    if (fd < 0) {
        why_errno(why, errno, "key file %.100s", path);
        return NULL;
    }
    key = secret_alloc(algorithm->key_bytes + 1u);
    if (!key)
        secret_exhausted("a key", why);
    else if (fill_key(fd, key, path, algorithm, why)) {
        secret_free(key);
        key = NULL;
    }
    if (!is_stdin)
        close(fd);
    return key;
}
