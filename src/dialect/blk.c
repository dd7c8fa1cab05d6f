/* SPDX-License-Identifier: BSD-2-Clause */
/* The part of virtio-blk that all dialects share. */
#include "blk.h"
#include "base/bytes.h"
#include "virtio/blk.h"
#include "virtio/virtio.h"
#include <errno.h>

#define NEEDS(bit) VIRTIO_FEATURE(VIRTIO_BLK_F_##bit)

/*
 * FLUSH needs no feature here: flushing for a driver that could not ask for it harms nobody, and
 * the standard leaves it open.
 */
static const struct request_type types[] = {
    {VIRTIO_BLK_T_IN, COMMAND_READ, 0, 0, "IN"},
    {VIRTIO_BLK_T_OUT, COMMAND_WRITE, 0, 0, "OUT"},
    {VIRTIO_BLK_T_FLUSH, COMMAND_FLUSH, 0, 0, "FLUSH"},
    {VIRTIO_BLK_T_GET_ID, COMMAND_GET_ID, 0, 0, "GET_ID"},
    {VIRTIO_BLK_T_GET_LIFETIME, COMMAND_GET_LIFETIME, 0, NEEDS(LIFETIME), "GET_LIFETIME"},
    {VIRTIO_BLK_T_DISCARD, COMMAND_DISCARD, 0, NEEDS(DISCARD), "DISCARD"},
    {VIRTIO_BLK_T_WRITE_ZEROES, COMMAND_WRITE_ZEROES, 0, NEEDS(WRITE_ZEROES), "WRITE_ZEROES"},
    {VIRTIO_BLK_T_SECURE_ERASE, COMMAND_SECURE_ERASE, 0, NEEDS(SECURE_ERASE), "SECURE_ERASE"},
};

const struct request_type *find_type(const struct request_type *table, size_t n, uint32_t type)
{
    for (size_t i = 0; i < n; i++)
        if (table[i].type == type)
            return &table[i];
    return NULL;
}

const struct request_type *find_kind(const struct request_type *table, size_t n,
                                     enum command_kind kind)
{
    for (size_t i = 0; i < n; i++)
        if (table[i].kind == kind)
            return &table[i];
    return NULL;
}

const struct request_type *blk_find_type(uint32_t type)
{
    return find_type(types, ARRAY_SIZE(types), type);
}

const struct request_type *blk_find_kind(enum command_kind kind)
{
    return find_kind(types, ARRAY_SIZE(types), kind);
}

uint8_t blk_parse_header(const struct request_type *type, uint64_t features, const uint8_t *head,
                         struct command *command, struct ice_why *why)
{
    uint64_t missing = type->needs & ~features;
    uint64_t sector = load_le64(head + offsetof(struct virtio_blk_header, sector));

    *command = (struct command){.kind = type->kind, .type = type->type};
    if (missing) {
        command->kind = COMMAND_UNKNOWN;
        command->broken = RULE_TYPE_UNNEGOTIATED;
        why_say(why, EOPNOTSUPP, "%s needs feature bit %u, which the driver has not negotiated",
                type->name, (unsigned)__builtin_ctzll(missing));
        return VIRTIO_BLK_S_UNSUPP;
    }
    if (type->kind == COMMAND_READ || type->kind == COMMAND_WRITE)
        command->sector = sector;
    else if (sector)
        note(command, RULE_SECTOR_UNUSED);
    return VIRTIO_BLK_S_OK;
}

size_t blk_build_header(uint32_t type, uint64_t sector, uint8_t *head)
{
    memset(head, 0, sizeof(struct virtio_blk_header));
    store_le32(head + offsetof(struct virtio_blk_header, type), type);
    store_le64(head + offsetof(struct virtio_blk_header, sector), sector);
    return sizeof(struct virtio_blk_header);
}

int blk_check_capabilities(const struct capability *capabilities, unsigned count,
                           struct ice_why *why)
{
    if (count > CAPABILITIES_MAX)
        return why_set(why, EINVAL, "%u capabilities are more than %u", count, CAPABILITIES_MAX);
    for (unsigned i = 0; i < count; i++) {
        const struct capability *c = &capabilities[i];

        if (!algorithm_by_id(c->alg, c->key_size))
            return why_set(why, EINVAL, "there is no algorithm %u with key size %u", c->alg,
                           c->key_size);
        if (!is_power_of_two(c->data_unit) || !(c->data_unit & DATA_UNITS_ALL))
            return why_set(why, EINVAL, "a data unit of %u bytes is no power of two from %u to %u",
                           c->data_unit, DATA_UNIT_MIN, DATA_UNIT_MAX);
    }
    return 0;
}

unsigned blk_list_capability(const struct algorithm *algorithm, uint64_t data_units,
                             struct capability list[static CAPABILITIES_MAX], unsigned count)
{
    for (; data_units && count < CAPABILITIES_MAX; data_units &= data_units - 1)
        list[count++] = (struct capability){algorithm->alg, algorithm->key_size,
                                            UINT32_C(1) << log2_exact(data_units)};
    return count;
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
