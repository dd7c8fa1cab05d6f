/* SPDX-License-Identifier: BSD-2-Clause */
#include "null_store.h"

static int no_transfer(struct store *store, uint64_t offset, struct iovec *iov, unsigned n,
                       struct ice_why *why)
{
    (void)store;
    (void)offset;
    (void)iov;
    (void)n;
    (void)why;
    return 0;
}

static int no_flush(struct store *store, struct ice_why *why)
{
    (void)store;
    (void)why;
    return 0;
}

static void no_close(struct store *store)
{
    (void)store;
}

const struct store_ops null_store_ops = {
    .read = no_transfer,
    .write = no_transfer,
    .flush = no_flush,
    .close = no_close,
};
