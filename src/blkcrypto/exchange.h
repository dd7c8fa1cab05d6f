/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One command over a channel, and the wait for its answer. Any thread, any number at once; never
 * from within an event or the end of a request, as those may run on the thread that brings answers.
 */
#ifndef ICESIM_BLKCRYPTO_EXCHANGE_H
#define ICESIM_BLKCRYPTO_EXCHANGE_H

#include "dialect/channel.h"

struct exchange {
    const struct command *command; /* the dialect can send it */
    /* DIALECT_HEAD_MAX bytes to build its head in: secret memory, and the caller wipes it, when
     * there is a key. */
    uint8_t *head;
    uint64_t expect; /* as struct ice_request */
    bool claim;      /* the same */
    const void *out; /* data for the device; NULL and 0 for none */
    size_t out_len;
    void *in; /* data from it */
    size_t in_len;
};

/* 0, or -errno as `why` says, which may be NULL: what the device said, or -EIO, -EOPNOTSUPP where
 * its answer names no errno. */
int channel_exchange(struct channel *channel, const struct exchange *exchange, struct ice_why *why);

#endif
