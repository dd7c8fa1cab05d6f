/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests without a key: their heads are built on the caller's stack. */
#include "context.h"
#include "base/bytes.h"
#include "base/units.h"
#include "exchange.h"
#include "virtio/blk.h"
#include <assert.h>
#include <errno.h>

/* Runs `command` with data for the device or from it, NULL and 0 for none. */
static int run(struct channel *channel, const struct command *command, uint64_t expect,
               const void *out, size_t out_len, void *in, size_t in_len, struct ice_why *why)
{
    uint8_t head[DIALECT_HEAD_MAX]; /* without a key: ordinary memory */
    const struct exchange exchange = {
        .command = command,
        .head = head,
        .expect = expect,
        .out = out,
        .out_len = out_len,
        .in = in,
        .in_len = in_len,
    };

    return channel_exchange(channel, &exchange, why);
}

static struct command transfer(const struct keyless_context *context, enum command_kind kind,
                               uint64_t offset, size_t len)
{
    assert(len && len <= REQUEST_MAX);
    assert(offset % context->data_unit == 0 && len % context->data_unit == 0);
    return (struct command){
        .kind = kind,
        .sector = offset / SECTOR_SIZE,
        .tagged = context->tagged,
        .slot = context->slot,
        .dun = dun_from_u64(context->tagged ? offset / context->data_unit : 0),
    };
}

static uint64_t expected(const struct keyless_context *context)
{
    return context->tagged ? context->expect : EXPECT_ANY;
}

int context_read(const struct keyless_context *context, uint64_t offset, void *buffer, size_t len,
                 struct ice_why *why)
{
    struct command command = transfer(context, COMMAND_READ, offset, len);

    return run(context->channel, &command, expected(context), NULL, 0, buffer, len, why);
}

int context_write(const struct keyless_context *context, uint64_t offset, const void *buffer,
                  size_t len, struct ice_why *why)
{
    struct command command = transfer(context, COMMAND_WRITE, offset, len);

    return run(context->channel, &command, expected(context), buffer, len, NULL, 0, why);
}

int context_flush(const struct keyless_context *context, struct ice_why *why)
{
    const struct command command = {.kind = COMMAND_FLUSH};

    return run(context->channel, &command, EXPECT_ANY, NULL, 0, NULL, 0, why);
}

int channel_config(struct channel *channel, struct function_config *config, struct ice_why *why)
{
    uint8_t space[DIALECT_CONFIG_MAX];
    int r = channel->ops->config_read(channel, 0, space, sizeof(space), why);

    if (!r)
        channel_parse_config(channel, channel->features, space, sizeof(space), config);
    return r;
}

int channel_capabilities(struct channel *channel, struct capability list[static CAPABILITIES_MAX],
                         unsigned *count, struct ice_why *why)
{
    const struct command command = {.kind = COMMAND_GET_CAPABILITIES};
    const struct dialect *dialect = channel->dialect;
    uint8_t bytes[CAPABILITY_REPLY_MAX];
    struct function_config config;
    int r = channel_config(channel, &config, why);
    size_t room;

    *count = 0;
    if (r || !(config.max_slots || channel_has_inline_keys(channel)))
        return r;
    room = dialect->capability_room(&config);
    if (room > sizeof(bytes))
        return why_set(why, EPROTO, "the device names %u capabilities", config.capability_count);
    if (room)
        r = run(channel, &command, EXPECT_ANY, NULL, 0, bytes, room, why);
    else
        r = channel->ops->config_read(channel, 0, bytes, DIALECT_CONFIG_MAX, why);
    if (!r)
        *count = dialect->parse_capabilities(bytes, room ? room : DIALECT_CONFIG_MAX, list);
    return r;
}

/* How many sectors the device zeroes at once. */
static int zero_limit(struct channel *channel, uint64_t *sectors, struct ice_why *why)
{
    struct function_config config;
    int r = channel_config(channel, &config, why);

    if (r)
        return r;
    *sectors = config.max_segment_sectors;
    return *sectors ? 0 : why_set(why, EOPNOTSUPP, "the device has no WRITE_ZEROES");
}

int context_zero(const struct keyless_context *context, uint64_t offset, uint64_t len, bool unmap,
                 struct ice_why *why)
{
    const struct command command = {.kind = COMMAND_WRITE_ZEROES};
    uint64_t sector = offset / SECTOR_SIZE, left = len / SECTOR_SIZE, limit;
    int r = zero_limit(context->channel, &limit, why);

    assert(offset % SECTOR_SIZE == 0 && len % SECTOR_SIZE == 0);
    while (!r && left) {
        uint8_t segment[sizeof(struct virtio_blk_segment)];
        uint64_t count = min_u64(left, limit);
        store_le64(segment + offsetof(struct virtio_blk_segment, sector), sector);
        store_le32(segment + offsetof(struct virtio_blk_segment, num_sectors), (uint32_t)count);
        store_le32(segment + offsetof(struct virtio_blk_segment, flags),
                   unmap ? VIRTIO_BLK_SEGMENT_UNMAP : 0);
        r = run(context->channel, &command, EXPECT_ANY, segment, sizeof(segment), NULL, 0, why);
        sector += count;
        left -= count;
    }
    return r;
}
