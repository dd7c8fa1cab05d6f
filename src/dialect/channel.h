/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A driver's link to a function: over a socket (src/client) or in the process (src/icesim). What a
 * virtio transport gives a driver, and no more, but for holding a slot, which only a
 * channel in the process can do.
 *
 * A channel is ready for requests when its maker returns it: features are negotiated, the status
 * is DRIVER_OK. Functions may be called from any thread unless the maker says otherwise.
 */
#ifndef ICESIM_DIALECT_CHANNEL_H
#define ICESIM_DIALECT_CHANNEL_H

#include "dialect.h"
#include "request.h"

struct channel;

struct channel_ops {
    /* See struct ice_request. A failed transport is reported by done (written 0). */
    void (*submit)(struct channel *channel, struct ice_request *request);
    /* Reads the configuration space at `offset`. 0 or -errno. */
    int (*config_read)(struct channel *channel, uint32_t offset, void *buffer, uint32_t len,
                       struct ice_why *why);
    /*
     * Keeps `slot` at program count `expect` until slot_release: it counts as a request in flight,
     * so nobody programs or evicts it meanwhile. 0; -ENOKEY when the slot is empty or has been
     * programmed since; -EBUSY when another driver has claimed it. NULL where the transport cannot
     * do it.
     */
    int (*slot_hold)(struct channel *channel, uint32_t slot, uint64_t expect);
    void (*slot_release)(struct channel *channel, uint32_t slot);
    /* Acknowledges an engine generation. 0 or -errno. NULL where the channel does it by itself. */
    int (*acknowledge)(struct channel *channel, uint64_t generation, struct ice_why *why);
    /* Whether `slot` is programmed, by whomever. NULL where the transport cannot tell. */
    bool (*slot_programmed)(struct channel *channel, uint32_t slot);
};

struct channel {
    const struct channel_ops *ops;
    const struct dialect *dialect;
    uint64_t features;         /* negotiated */
    _Atomic uint64_t capacity; /* sectors; a maker in the process keeps it up to date */
    uint16_t control_queue;
    /* Of keys, what a maker in the process knows though the dialect does not say: sum of
     * ICE_KEY_TYPE_*, the widest DUN; 0: it does not know. */
    unsigned key_types, dun_bytes;
    /* What the wire calls the function's first slot, also where the dialect's space does not say.
     */
    unsigned slot_offset;
};

/* The queue that a command of this kind goes to. */
static inline uint16_t channel_queue(const struct channel *channel, enum command_kind kind)
{
    return channel->dialect->on_control_queue(kind) ? channel->control_queue : 0;
}

/* A configuration space that was read, with `offered` as for the dialect's parse_config. */
static inline void channel_parse_config(const struct channel *channel, uint64_t offered,
                                        const uint8_t *space, size_t len,
                                        struct function_config *config)
{
    channel->dialect->parse_config(offered, space, len, config);
    if (channel->dialect->virtual_slots)
        config->slot_offset = channel->slot_offset;
}

/* Whether inline crypto is negotiated: capabilities, tagged I/O. */
static inline bool channel_has_crypto(const struct channel *channel)
{
    return !(channel->dialect->features & ~channel->features);
}

/* Whether keys go with each request: there are no slots. */
static inline bool channel_has_inline_keys(const struct channel *channel)
{
    return channel->features & channel->dialect->keys_inline;
}

/* Whether it takes key commands too. */
static inline bool channel_has_key_commands(const struct channel *channel)
{
    return channel_has_crypto(channel) && !(channel->dialect->own_features & ~channel->features);
}

static inline void channel_submit(struct channel *channel, struct ice_request *request)
{
    channel->ops->submit(channel, request);
}

#endif
