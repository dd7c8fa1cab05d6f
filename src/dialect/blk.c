/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of virtio-blk that all dialects share. */
#include "blk.h"
#include "base/bytes.h"
#include "virtio/blk.h"
#include "virtio/virtio.h"

/*
 * FLUSH needs no feature here: flushing for a driver that could not ask for it harms nobody, and
 * the standard leaves it open.
 */
static const struct request_type types[] = {
    {VIRTIO_BLK_T_IN, COMMAND_READ, FEATURE_NONE, 0, "IN"},
    {VIRTIO_BLK_T_OUT, COMMAND_WRITE, FEATURE_NONE, 0, "OUT"},
    {VIRTIO_BLK_T_FLUSH, COMMAND_FLUSH, FEATURE_NONE, 0, "FLUSH"},
    {VIRTIO_BLK_T_GET_ID, COMMAND_GET_ID, FEATURE_NONE, 0, "GET_ID"},
    {VIRTIO_BLK_T_GET_LIFETIME, COMMAND_GET_LIFETIME, VIRTIO_BLK_F_LIFETIME, 0, "GET_LIFETIME"},
    {VIRTIO_BLK_T_DISCARD, COMMAND_DISCARD, VIRTIO_BLK_F_DISCARD, 0, "DISCARD"},
    {VIRTIO_BLK_T_WRITE_ZEROES, COMMAND_WRITE_ZEROES, VIRTIO_BLK_F_WRITE_ZEROES, 0, "WRITE_ZEROES"},
    {VIRTIO_BLK_T_SECURE_ERASE, COMMAND_SECURE_ERASE, VIRTIO_BLK_F_SECURE_ERASE, 0, "SECURE_ERASE"},
};

const struct request_type *blk_request_type(uint32_t type)
{
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (types[i].type == type)
            return &types[i];
    return NULL;
}

uint32_t blk_type_of(enum command_kind kind)
{
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (types[i].kind == kind)
            return types[i].type;
    __builtin_unreachable();
}

static bool has(uint64_t features, unsigned bit)
{
    return features & VIRTIO_FEATURE(bit);
}

#define AT(field) (space + offsetof(struct virtio_blk_config, field))

void blk_build_config(const struct function_config *config, uint8_t *space)
{
    uint64_t features = config->features;

    memset(space, 0, sizeof(struct virtio_blk_config));
    store_le64(AT(capacity), config->capacity);
    if (has(features, VIRTIO_BLK_F_SIZE_MAX))
        store_le32(AT(size_max), config->size_max);
    if (has(features, VIRTIO_BLK_F_SEG_MAX))
        store_le32(AT(seg_max), config->seg_max);
    if (has(features, VIRTIO_BLK_F_BLK_SIZE))
        store_le32(AT(blk_size), config->blk_size);
    if (has(features, VIRTIO_BLK_F_CONFIG_WCE))
        *AT(writeback) = config->writeback;
    if (has(features, VIRTIO_BLK_F_MQ))
        store_le16(AT(num_queues), config->num_queues);
    if (has(features, VIRTIO_BLK_F_DISCARD)) {
        store_le32(AT(max_discard_sectors), config->max_segment_sectors);
        store_le32(AT(max_discard_seg), config->max_segments);
        store_le32(AT(discard_sector_alignment), config->blk_size / 512);
    }
    if (has(features, VIRTIO_BLK_F_WRITE_ZEROES)) {
        store_le32(AT(max_write_zeroes_sectors), config->max_segment_sectors);
        store_le32(AT(max_write_zeroes_seg), config->max_segments);
        *AT(write_zeroes_may_unmap) = 1;
    }
    if (has(features, VIRTIO_BLK_F_SECURE_ERASE)) {
        store_le32(AT(max_secure_erase_sectors), config->max_segment_sectors);
        store_le32(AT(max_secure_erase_seg), config->max_segments);
        store_le32(AT(secure_erase_sector_alignment), config->blk_size / 512);
    }
}

void blk_parse_config(uint64_t offered, const uint8_t *space, struct function_config *config)
{
    *config = (struct function_config){
        .features = offered,
        .capacity = load_le64(AT(capacity)),
        .size_max = load_le32(AT(size_max)),
        .seg_max = load_le32(AT(seg_max)),
        .blk_size = load_le32(AT(blk_size)),
        .num_queues = has(offered, VIRTIO_BLK_F_MQ) ? load_le16(AT(num_queues)) : 1,
        .writeback = *AT(writeback),
    };
    if (has(offered, VIRTIO_BLK_F_DISCARD)) {
        config->max_segment_sectors = load_le32(AT(max_discard_sectors));
        config->max_segments = load_le32(AT(max_discard_seg));
    } else if (has(offered, VIRTIO_BLK_F_WRITE_ZEROES)) {
        config->max_segment_sectors = load_le32(AT(max_write_zeroes_sectors));
        config->max_segments = load_le32(AT(max_write_zeroes_seg));
    }
}
