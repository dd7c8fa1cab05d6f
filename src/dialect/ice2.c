/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dialect ice2: the draft of 10 February 2026 as amended in review. Once ICE is negotiated the
 * header of every request is 32 bytes, whatever its type; else 16. Key operations are icesim's
 * own, behind a feature bit of their own.
 */
#include "base/bytes.h"
#include "base/units.h"
#include "blk.h"
#include "virtio/ice.h"
#include "virtio/virtio.h"
#include <assert.h>
#include <errno.h>

#define CAPABILITY_BYTES sizeof(struct virtio_blk_crypto_cap)

static const struct request_type ice_types[] = {
    {VIRTIO_BLK_T_GET_CRYPTO_CAPABILITIES, COMMAND_GET_CAPABILITIES, VIRTIO_BLK_F_ICE, 0,
     "GET_CRYPTO_CAPABILITIES"},
    {VIRTIO_BLK_T_KEY_PROGRAM, COMMAND_KEY_PROGRAM, VIRTIO_BLK_F_ICE_KEY_OPS,
     sizeof(struct ice_key_program), "KEY_PROGRAM"},
    {VIRTIO_BLK_T_KEY_EVICT, COMMAND_KEY_EVICT, VIRTIO_BLK_F_ICE_KEY_OPS,
     sizeof(struct ice_key_evict), "KEY_EVICT"},
};

static const struct request_type *find_type(uint32_t type)
{
    for (size_t i = 0; i < ARRAY_SIZE(ice_types); i++)
        if (ice_types[i].type == type)
            return &ice_types[i];
    return blk_request_type(type);
}

static uint32_t type_of(enum command_kind kind)
{
    for (size_t i = 0; i < ARRAY_SIZE(ice_types); i++)
        if (ice_types[i].kind == kind)
            return ice_types[i].type;
    return blk_type_of(kind);
}

static bool ice(uint64_t negotiated)
{
    return negotiated & VIRTIO_FEATURE(VIRTIO_BLK_F_ICE);
}

static size_t header_length(uint64_t negotiated)
{
    return sizeof(struct virtio_blk_header) +
           (ice(negotiated) ? sizeof(struct virtio_blk_ice_payload) : 0);
}

static bool is_negotiated(uint64_t negotiated, const struct request_type *type)
{
    return type->feature == FEATURE_NONE || negotiated & VIRTIO_FEATURE(type->feature);
}

/* A body whose feature is not negotiated is not waited for: parse refuses the type by its header.
 */
static size_t head_length(uint64_t negotiated, uint32_t type)
{
    const struct request_type *entry = find_type(type);

    if (!entry)
        return 0;
    return header_length(negotiated) + (is_negotiated(negotiated, entry) ? entry->body : 0);
}

static uint8_t parse_payload(const uint8_t *at, struct command *command, struct ice_why *why)
{
    unsigned activate = at[offsetof(struct virtio_blk_ice_payload, activate)];

    if (activate > 1) {
        why_set(why, EINVAL, "activate is %u, neither 0 nor 1", activate);
        return VIRTIO_BLK_S_IOERR;
    }
    if (activate) {
        command->tagged = true;
        command->slot = at[offsetof(struct virtio_blk_ice_payload, slot)];
        command->dun =
            dun_from_u64(load_le64(at + offsetof(struct virtio_blk_ice_payload, data_unit_num)));
    }
    return VIRTIO_BLK_S_OK;
}

static uint8_t parse_key_program(const uint8_t *body, struct command *command, struct ice_why *why)
{
    unsigned exp = body[offsetof(struct ice_key_program, data_unit_size_exp)];
    uint16_t len = load_le16(body + offsetof(struct ice_key_program, key_len));

    if (len > ICE_KEY_FIELD) {
        why_set(why, EINVAL, "a key of %u bytes is longer than its field of %u", len,
                ICE_KEY_FIELD);
        return VIRTIO_BLK_S_IOERR;
    }
    command->slot = body[offsetof(struct ice_key_program, slot)];
    command->key = (struct command_key){
        .type = body[offsetof(struct ice_key_program, key_type)],
        .alg = body[offsetof(struct ice_key_program, alg)],
        .key_size = body[offsetof(struct ice_key_program, key_size)],
        .data_unit = exp < 16 ? 512u << exp : 0,
        .len = len,
        .bytes = body + offsetof(struct ice_key_program, key),
    };
    return VIRTIO_BLK_S_OK;
}

static uint8_t parse(uint64_t negotiated, const uint8_t *head, struct command *command,
                     struct ice_why *why)
{
    uint32_t type_number = load_le32(head + offsetof(struct virtio_blk_header, type));
    const struct request_type *type = find_type(type_number);
    size_t header = header_length(negotiated);

    assert(type);
    *command = (struct command){.kind = type->kind, .type = type_number};
    if (!is_negotiated(negotiated, type)) {
        command->kind = COMMAND_UNKNOWN;
        why_set(why, EOPNOTSUPP, "%s needs feature bit %u, which the driver has not negotiated",
                type->name, type->feature);
        return VIRTIO_BLK_S_UNSUPP;
    }
    switch (type->kind) {
    case COMMAND_READ:
    case COMMAND_WRITE:
        command->sector = load_le64(head + offsetof(struct virtio_blk_header, sector));
        if (!ice(negotiated))
            return VIRTIO_BLK_S_OK;
        return parse_payload(head + sizeof(struct virtio_blk_header), command, why);
    case COMMAND_KEY_PROGRAM:
        return parse_key_program(head + header, command, why);
    case COMMAND_KEY_EVICT:
        command->slot = head[header + offsetof(struct ice_key_evict, slot)];
        return VIRTIO_BLK_S_OK;
    default:
        return VIRTIO_BLK_S_OK;
    }
}

static size_t build_config(const struct function_config *config,
                           uint8_t space[static DIALECT_CONFIG_MAX])
{
    uint8_t *crypto = space + sizeof(struct virtio_blk_config);

    memset(space, 0, DIALECT_CONFIG_MAX);
    blk_build_config(config, space);
    if (!ice(config->features))
        return sizeof(struct virtio_blk_config);
    store_le16(crypto + offsetof(struct virtio_blk_ice_characteristics, slot_info),
               (uint16_t)(config->max_slots << 8 | config->slot_offset));
    store_le16(crypto + offsetof(struct virtio_blk_ice_characteristics, capability_num),
               (uint16_t)config->capability_count);
    return sizeof(struct virtio_blk_config) + sizeof(struct virtio_blk_ice_characteristics);
}

static void parse_config(uint64_t offered, const uint8_t *space, size_t len,
                         struct function_config *config)
{
    uint8_t whole[sizeof(struct virtio_blk_config) +
                  sizeof(struct virtio_blk_ice_characteristics)] = {0};
    const uint8_t *crypto = whole + sizeof(struct virtio_blk_config);

    memcpy(whole, space, min_u64(len, sizeof(whole)));
    blk_parse_config(offered, whole, config);
    if (!ice(offered))
        return;
    config->slot_offset = crypto[0];
    config->max_slots = crypto[1];
    config->capability_count =
        load_le16(crypto + offsetof(struct virtio_blk_ice_characteristics, capability_num));
}

static void build_capability(const struct capability *capability, uint8_t *entry)
{
    memset(entry, 0, CAPABILITY_BYTES);
    entry[offsetof(struct virtio_blk_crypto_cap, alg)] = capability->alg;
    entry[offsetof(struct virtio_blk_crypto_cap, data_unit_size_exp)] =
        (uint8_t)log2_exact(capability->data_unit / DATA_UNIT_MIN);
    entry[offsetof(struct virtio_blk_crypto_cap, key_size)] = capability->key_size;
}

static bool parse_capability(const uint8_t *entry, struct capability *capability)
{
    unsigned exp = entry[offsetof(struct virtio_blk_crypto_cap, data_unit_size_exp)];

    *capability = (struct capability){
        .alg = entry[offsetof(struct virtio_blk_crypto_cap, alg)],
        .key_size = entry[offsetof(struct virtio_blk_crypto_cap, key_size)],
        .data_unit = exp < 16 ? DATA_UNIT_MIN << exp : 0,
    };
    return capability->key_size && capability->data_unit;
}

static size_t build_key_program(const struct command *command, uint8_t *body)
{
    const struct command_key *key = &command->key;

    assert(key->len <= ICE_KEY_FIELD);
    memset(body, 0, sizeof(struct ice_key_program));
    body[offsetof(struct ice_key_program, slot)] = (uint8_t)command->slot;
    body[offsetof(struct ice_key_program, key_type)] = (uint8_t)key->type;
    store_le16(body + offsetof(struct ice_key_program, key_len), key->len);
    body[offsetof(struct ice_key_program, alg)] = (uint8_t)key->alg;
    body[offsetof(struct ice_key_program, data_unit_size_exp)] =
        (uint8_t)log2_exact(key->data_unit / DATA_UNIT_MIN);
    body[offsetof(struct ice_key_program, key_size)] = (uint8_t)key->key_size;
    memcpy(body + offsetof(struct ice_key_program, key), key->bytes, key->len);
    return sizeof(struct ice_key_program);
}

static size_t build(uint64_t negotiated, const struct command *command,
                    uint8_t head[static DIALECT_HEAD_MAX])
{
    size_t header = header_length(negotiated);
    uint8_t *payload = head + sizeof(struct virtio_blk_header);

    assert(command->slot <= UINT8_MAX && dun_fits(&command->dun, 64));
    memset(head, 0, header);
    store_le32(head + offsetof(struct virtio_blk_header, type), type_of(command->kind));
    store_le64(head + offsetof(struct virtio_blk_header, sector), command->sector);
    if (command->tagged) {
        assert(ice(negotiated));
        payload[offsetof(struct virtio_blk_ice_payload, slot)] = (uint8_t)command->slot;
        payload[offsetof(struct virtio_blk_ice_payload, activate)] = 1;
        store_le64(payload + offsetof(struct virtio_blk_ice_payload, data_unit_num),
                   command->dun.limb[0]);
    }
    switch (command->kind) {
    case COMMAND_KEY_PROGRAM:
        return header + build_key_program(command, head + header);
    case COMMAND_KEY_EVICT:
        memset(head + header, 0, sizeof(struct ice_key_evict));
        head[header + offsetof(struct ice_key_evict, slot)] = (uint8_t)command->slot;
        return header + sizeof(struct ice_key_evict);
    default:
        return header;
    }
}

const struct dialect dialect_ice2 = {
    .name = "ice2",
    .features = VIRTIO_FEATURE(VIRTIO_BLK_F_ICE) | VIRTIO_FEATURE(VIRTIO_BLK_F_ICE_KEY_OPS),
    .head_length = head_length,
    .parse = parse,
    .build_config = build_config,
    .capability_entry = CAPABILITY_BYTES,
    .build_capability = build_capability,
    .build = build,
    .parse_config = parse_config,
    .parse_capability = parse_capability,
};
