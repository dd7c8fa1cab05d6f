/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dialect ice1: the draft of 27 January 2026. One word of the configuration space names one
 * algorithm with its data unit sizes, and no request asks for more.
 */
#include "base/bytes.h"
#include "ice.h"
#include <assert.h>
#include <errno.h>

#define CAPABILITY                                                                                 \
    (sizeof(struct virtio_blk_config) +                                                            \
     offsetof(struct virtio_blk_crypto_characteristics, capability))
#define CONFIG_BYTES                                                                               \
    (sizeof(struct virtio_blk_config) + sizeof(struct virtio_blk_crypto_characteristics))

static size_t head_length(const struct wire *wire, uint32_t type)
{
    return type == VIRTIO_BLK_T_GET_CRYPTO_CAPABILITIES ? 0 : ice_head_length(wire, type);
}

static int can_send(uint64_t negotiated, const struct command *command, struct ice_why *why)
{
    if (command->kind == COMMAND_GET_CAPABILITIES)
        return why_set(why, EOPNOTSUPP,
                       "ice1 names its capability in the configuration space: no request does");
    return ice_can_send(negotiated, command, why);
}

static size_t build(uint64_t negotiated, const struct command *command,
                    uint8_t head[static DIALECT_HEAD_MAX])
{
    assert(!can_send(negotiated, command, NULL));
    return ice_build(negotiated, command, head);
}

static int check_capabilities(const struct capability *capabilities, unsigned count,
                              struct ice_why *why)
{
    int r = blk_check_capabilities(capabilities, count, why);

    for (unsigned i = 1; !r && i < count; i++)
        if (capabilities[i].alg != capabilities[0].alg ||
            capabilities[i].key_size != capabilities[0].key_size)
            r = why_set(why, EINVAL, "ice1 can name one algorithm, not both %s and %s",
                        algorithm_by_id(capabilities[0].alg, capabilities[0].key_size)->name,
                        algorithm_by_id(capabilities[i].alg, capabilities[i].key_size)->name);
    return r;
}

static unsigned default_capabilities(struct capability list[static CAPABILITIES_MAX])
{
    return blk_list_capability(algorithm_by_id(ALG_AES_XTS, KEY_SIZE_256), DATA_UNITS_ALL, list, 0);
}

/* The sizes are a sum in `data_unit`s of 512 bytes, which is the mask that the word has. */
static uint32_t capability_word(const struct capability *capabilities, unsigned count)
{
    uint32_t sizes = 0;

    if (!count)
        return 0;
    for (unsigned i = 0; i < count; i++)
        sizes |= capabilities[i].data_unit / DATA_UNIT_MIN;
    return (uint32_t)capabilities[0].alg << 24 | sizes << 16 |
           (uint32_t)capabilities[0].key_size << 8;
}

static size_t build_config(const struct function_config *config,
                           uint8_t space[static DIALECT_CONFIG_MAX])
{
    if (!ice_build_config(config, space))
        return sizeof(struct virtio_blk_config);
    store_le32(space + CAPABILITY, capability_word(config->capabilities, config->capability_count));
    return CONFIG_BYTES;
}

static unsigned parse_capabilities(const uint8_t *space, size_t len,
                                   struct capability list[static CAPABILITIES_MAX])
{
    uint32_t word = len < CONFIG_BYTES ? 0 : load_le32(space + CAPABILITY);
    const struct algorithm *algorithm = algorithm_by_id(word >> 24, word >> 8 & 0xff);

    if (!algorithm)
        return 0;
    return blk_list_capability(algorithm, (uint64_t)(word >> 16 & 0xff) * DATA_UNIT_MIN, list, 0);
}

static void parse_config(uint64_t offered, const uint8_t *space, size_t len,
                         struct function_config *config)
{
    struct capability list[CAPABILITIES_MAX];
    uint8_t whole[DIALECT_CONFIG_MAX];

    if (ice_parse_config(offered, space, len, whole, config))
        config->capability_count = parse_capabilities(whole, sizeof(whole), list);
}

static size_t capability_room(const struct function_config *config)
{
    (void)config;
    return 0;
}

const struct dialect dialect_ice1 = {
    .name = "ice1",
    .draft = "virtio-blk inline encryption, first posting of 27 January 2026",
    .features = ICE_FEATURE,
    .own_features = VIRTIO_FEATURE(VIRTIO_BLK_F_ICE_KEY_OPS),
    .keys_inline = VIRTIO_FEATURE(VIRTIO_BLK_F_ICE_KEYS_INLINE),
    .needs = ice_needs,
    .dun_bits = ICE_DUN_BITS,
    .head_length = head_length,
    .parse = ice_parse,
    .build_config = build_config,
    .check_capabilities = check_capabilities,
    .default_capabilities = default_capabilities,
    .build = build,
    .can_send = can_send,
    .on_control_queue = ice_on_control_queue,
    .parse_config = parse_config,
    .capability_room = capability_room,
    .parse_capabilities = parse_capabilities,
};
