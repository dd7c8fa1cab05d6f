/* SPDX-License-Identifier: BSD-2-Clause */
/* Each walk skips to its offset in whole parts first, then handles what is left part by part. */
#include "base/iov.h"
#include "base/bytes.h"

size_t iov_length(const struct iovec *iov, unsigned n)
{
    size_t total = 0;
    for (unsigned i = 0; i < n; i++) {
        if (__builtin_add_overflow(total, iov[i].iov_len, &total))
            return SIZE_MAX;
    }
    return total;
}

/* The part that holds byte *offset; *offset becomes relative to it. */
static unsigned find_part(const struct iovec *iov, unsigned n, size_t *offset)
{
    unsigned i = 0;
    while (i < n && *offset >= iov[i].iov_len)
        *offset -= iov[i++].iov_len;
    return i;
}

size_t iov_gather(const struct iovec *iov, unsigned n, size_t offset, void *to, size_t len)
{
    size_t done = 0;
    for (unsigned i = find_part(iov, n, &offset); i < n && done < len; i++, offset = 0) {
        size_t part = min_u64(iov[i].iov_len - offset, len - done);
        if (part)
            memcpy((char *)to + done, (const char *)iov[i].iov_base + offset, part);
        done += part;
    }
    return done;
}

size_t iov_scatter(const struct iovec *iov, unsigned n, size_t offset, const void *from, size_t len)
{
    size_t done = 0;
    for (unsigned i = find_part(iov, n, &offset); i < n && done < len; i++, offset = 0) {
        size_t part = min_u64(iov[i].iov_len - offset, len - done);
        if (part)
            memcpy((char *)iov[i].iov_base + offset, (const char *)from + done, part);
        done += part;
    }
    return done;
}

void iov_zero(const struct iovec *iov, unsigned n, size_t offset, size_t len)
{
    for (unsigned i = find_part(iov, n, &offset); i < n && len; i++, offset = 0) {
        size_t part = min_u64(iov[i].iov_len - offset, len);
        if (part)
            memset((char *)iov[i].iov_base + offset, 0, part);
        len -= part;
    }
}

unsigned iov_slice(const struct iovec *iov, unsigned n, size_t offset, size_t len,
                   struct iovec *slice)
{
    unsigned count = 0;
    for (unsigned i = find_part(iov, n, &offset); i < n && len; i++, offset = 0) {
        size_t part = min_u64(iov[i].iov_len - offset, len);
        if (part)
            slice[count++] = (struct iovec){(char *)iov[i].iov_base + offset, part};
        len -= part;
    }
    return count;
}

unsigned iov_advance(struct iovec *iov, unsigned n, size_t len)
{
    unsigned first = find_part(iov, n, &len);
    if (first < n) {
        iov[first].iov_base = (char *)iov[first].iov_base + len;
        iov[first].iov_len -= len;
    }
    return first;
}
