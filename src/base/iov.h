/* SPDX-License-Identifier: BSD-2-Clause */
/* Scattered buffers: lists of struct iovec seen as one run of bytes. */
#ifndef ICESIM_BASE_IOV_H
#define ICESIM_BASE_IOV_H

#include <stddef.h>
#include <sys/uio.h>

/* Total length in bytes; SIZE_MAX when the sum would overflow. */
size_t iov_length(const struct iovec *iov, unsigned n);

/* Copies up to `len` bytes from byte `offset` of the list into `to`; returns the bytes copied. */
size_t iov_gather(const struct iovec *iov, unsigned n, size_t offset, void *to, size_t len);

/* Copies up to `len` bytes from `from` to byte `offset` of the list; returns the bytes copied. */
size_t iov_scatter(const struct iovec *iov, unsigned n, size_t offset, const void *from,
                   size_t len);

/* Zeroes `len` bytes from byte `offset` of the list on. */
void iov_zero(const struct iovec *iov, unsigned n, size_t offset, size_t len);

/*
 * Writes into `slice` the parts that make bytes [offset, offset + len) of the list; returns their
 * number, at most n. `slice` has room for n.
 */
unsigned iov_slice(const struct iovec *iov, unsigned n, size_t offset, size_t len,
                   struct iovec *slice);

/* Drops `len` bytes from the front of the list, in place; returns the new first index. */
unsigned iov_advance(struct iovec *iov, unsigned n, size_t len);

#endif
