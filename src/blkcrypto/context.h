/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keyless context: a slot that somebody else programmed, with its data unit size, used over a
 * channel; or no slot at all (the media as stored). Whole data units only; byte_file.h does the
 * rest.
 *
 * Calls wait for their request. Any thread, any number at once.
 */
#ifndef ICESIM_BLKCRYPTO_CONTEXT_H
#define ICESIM_BLKCRYPTO_CONTEXT_H

#include "dialect/channel.h"
#include <stdbool.h>

struct keyless_context {
    struct channel *channel; /* one that can hold slots, when tagged */
    bool tagged;
    uint32_t slot;      /* as the function's wire names it */
    uint32_t data_unit; /* bytes; 512 when not tagged */
    uint64_t expect;    /* program count of the slot */
};

/*
 * Reads or writes `len` bytes, 1 to REQUEST_MAX, at byte `offset` of the function, both multiples
 * of the data unit, in one request; DUN = offset / data unit. All or nothing: 0, or -errno as `why`
 * says: -ENOKEY when the slot no longer has the expected programming, -EIO where the device gave no
 * errno.
 */
int context_read(const struct keyless_context *context, uint64_t offset, void *buffer, size_t len,
                 struct ice_why *why);
int context_write(const struct keyless_context *context, uint64_t offset, const void *buffer,
                  size_t len, struct ice_why *why);

/* FLUSH. */
int context_flush(const struct keyless_context *context, struct ice_why *why);

/*
 * WRITE_ZEROES over whole sectors of the media as stored, in as many requests as the device's
 * limits ask for; those before one that fails stay done. `unmap`: the space may be given back.
 */
int context_zero(const struct keyless_context *context, uint64_t offset, uint64_t len, bool unmap,
                 struct ice_why *why);

/* The configuration space, as far as the negotiated features say. */
int channel_config(struct channel *channel, struct function_config *config, struct ice_why *why);

/* What keys may be used for; nothing where there is no inline crypto. 0, or -errno as above. */
int channel_capabilities(struct channel *channel, struct capability list[static CAPABILITIES_MAX],
                         unsigned *count, struct ice_why *why);

#endif
