/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dialect ice2: the draft of 10 February 2026 as amended in review. A request lists capabilities,
 * one entry for each algorithm and data unit size; the configuration space has their number.
 */
#include "base/bytes.h"
#include "ice.h"
#include <assert.h>

#define ENTRY_BYTES sizeof(struct virtio_blk_crypto_cap)
#define CAPABILITY_NUM                                                                             \
    (sizeof(struct virtio_blk_config) +                                                            \
     offsetof(struct virtio_blk_ice_characteristics, capability_num))

_Static_assert(CAPABILITIES_MAX *ENTRY_BYTES <= CAPABILITY_REPLY_MAX, "reply");

static size_t build(uint64_t negotiated, const struct command *command,
                    uint8_t head[static DIALECT_HEAD_MAX])
{
    assert(!ice_can_send(negotiated, command, NULL));
    return ice_build(negotiated, command, head);
}

static unsigned default_capabilities(struct capability list[static CAPABILITIES_MAX])
{
    unsigned count = 0;

    for (size_t i = 0; i < ALGORITHM_COUNT; i++)
        count = blk_list_capability(&algorithms[i], DATA_UNITS_ALL, list, count);
    return count;
}

static size_t build_config(const struct function_config *config,
                           uint8_t space[static DIALECT_CONFIG_MAX])
{
    if (!ice_build_config(config, space))
        return sizeof(struct virtio_blk_config);
    store_le16(space + CAPABILITY_NUM, (uint16_t)config->capability_count);
    return sizeof(struct virtio_blk_config) + sizeof(struct virtio_blk_ice_characteristics);
}

static void parse_config(uint64_t offered, const uint8_t *space, size_t len,
                         struct function_config *config)
{
    uint8_t whole[DIALECT_CONFIG_MAX];

    if (ice_parse_config(offered, space, len, whole, config))
        config->capability_count = load_le16(whole + CAPABILITY_NUM);
}

#define ENTRY(field) (entry + offsetof(struct virtio_blk_crypto_cap, field))

static size_t build_capabilities(const struct capability *capabilities, unsigned count,
                                 uint8_t reply[static CAPABILITY_REPLY_MAX])
{
    for (unsigned i = 0; i < count; i++) {
        uint8_t *entry = reply + i * ENTRY_BYTES;

        *ENTRY(alg) = capabilities[i].alg;
        *ENTRY(data_unit_size_exp) = (uint8_t)log2_exact(capabilities[i].data_unit / DATA_UNIT_MIN);
        *ENTRY(key_size) = capabilities[i].key_size;
        *ENTRY(reserved) = 0;
    }
    return count * ENTRY_BYTES;
}

/* A device that has none is asked too: it answers zeros. */
static size_t capability_room(const struct function_config *config)
{
    unsigned entries = config->capability_count ? config->capability_count : 1;

    return min_u64(entries * ENTRY_BYTES, CAPABILITY_REPLY_MAX);
}

/* The answer is padded with zeros, and key size 0 is none. */
static unsigned parse_capabilities(const uint8_t *bytes, size_t len,
                                   struct capability list[static CAPABILITIES_MAX])
{
    unsigned count = 0;

    for (size_t i = 0; i < len / ENTRY_BYTES; i++) {
        const uint8_t *entry = bytes + i * ENTRY_BYTES;
        const struct algorithm *algorithm = algorithm_by_id(*ENTRY(alg), *ENTRY(key_size));
        unsigned exp = *ENTRY(data_unit_size_exp);

        if (algorithm && exp < 16)
            count = blk_list_capability(algorithm, (uint64_t)DATA_UNIT_MIN << exp, list, count);
    }
    return count;
}

const struct dialect dialect_ice2 = {
    .name = "ice2",
    .draft = "virtio-blk inline encryption, v2 of 10 February 2026 as amended in review",
    .features = ICE_FEATURE,
    .own_features = VIRTIO_FEATURE(VIRTIO_BLK_F_ICE_KEY_OPS),
    .keys_inline = VIRTIO_FEATURE(VIRTIO_BLK_F_ICE_KEYS_INLINE),
    .needs = ice_needs,
    .dun_bits = ICE_DUN_BITS,
    .head_length = ice_head_length,
    .parse = ice_parse,
    .build_config = build_config,
    .check_capabilities = blk_check_capabilities,
    .default_capabilities = default_capabilities,
    .build_capabilities = build_capabilities,
    .build = build,
    .can_send = ice_can_send,
    .on_control_queue = ice_on_control_queue,
    .parse_config = parse_config,
    .capability_room = capability_room,
    .parse_capabilities = parse_capabilities,
};
