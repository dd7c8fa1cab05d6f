/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dialect inline: the draft of September and October 2026. Tagged transfers are types of their own
 * with a longer header; all others stay as virtio-blk has them. Keys and capabilities go over a
 * control queue, whose framing virtio/inline.h tells. One algorithm has a number.
 */
#include "virtio/inline.h"
#include "base/bytes.h"
#include "blk.h"
#include "key_body.h"
#include "virtio/virtio.h"
#include <assert.h>
#include <errno.h>

#define ENCRYPTION VIRTIO_FEATURE(VIRTIO_BLK_F_INLINE_ENCRYPTION)
#define CONTROL    VIRTIO_FEATURE(VIRTIO_BLK_F_CTRL_VQ)
#define HEADER     sizeof(struct virtio_blk_header)
#define DUN_BYTES  32

static const struct feature_need needs[] = {
    {VIRTIO_BLK_F_INLINE_ENCRYPTION, VIRTIO_BLK_F_CTRL_VQ},
    {0, 0},
};

static const struct request_type tagged_types[] = {
    {VIRTIO_BLK_T_CRYPTO_OUT, COMMAND_WRITE, sizeof(struct virtio_blk_crypto_msg), ENCRYPTION,
     "CRYPTO_OUT"},
    {VIRTIO_BLK_T_CRYPTO_IN, COMMAND_READ, sizeof(struct virtio_blk_crypto_msg), ENCRYPTION,
     "CRYPTO_IN"},
};

#define CONTROL_TYPE(name, kind, body)                                                             \
    {                                                                                              \
        VIRTIO_BLK_T_##name, COMMAND_##kind, body, CONTROL | ENCRYPTION, #name                     \
    }

static const struct request_type control_types[] = {
    CONTROL_TYPE(GET_CRYPTO_MODES, GET_CAPABILITIES, 0),
    CONTROL_TYPE(KEYSLOT_PROGRAM, KEY_PROGRAM, sizeof(struct virtio_blk_keyslot_program)),
    CONTROL_TYPE(KEYSLOT_EVICT, KEY_EVICT, sizeof(struct virtio_blk_keyslot_evict)),
    CONTROL_TYPE(DERIVE_SW_SECRET, KEY_DERIVE, sizeof(struct ice_key_blob)),
    CONTROL_TYPE(GENERATE_KEY, KEY_GENERATE, 0),
    CONTROL_TYPE(IMPORT_KEY, KEY_IMPORT, sizeof(struct ice_key_blob)),
    CONTROL_TYPE(PREPARE_KEY, KEY_PREPARE, sizeof(struct ice_key_blob)),
};

static const struct request_type *type_of(const struct wire *wire, uint32_t number)
{
    const struct request_type *type;

    if (wire->control)
        return find_type(control_types, ARRAY_SIZE(control_types), number);
    type = find_type(tagged_types, ARRAY_SIZE(tagged_types), number);
    return type ? type : blk_find_type(number);
}

static const struct request_type *type_of_command(const struct command *command)
{
    const struct request_type *type = NULL;

    if (command->tagged)
        type = find_kind(tagged_types, ARRAY_SIZE(tagged_types), command->kind);
    if (!type)
        type = blk_find_kind(command->kind);
    return type ? type : find_kind(control_types, ARRAY_SIZE(control_types), command->kind);
}

static size_t head_length(const struct wire *wire, uint32_t number)
{
    const struct request_type *type = type_of(wire, number);

    if (!type)
        return 0;
    return HEADER + (is_negotiated(type, wire->features) ? type->body : 0);
}

/* ---- parse ---- */

#define MSG(field) (at + offsetof(struct virtio_blk_crypto_msg, field))

static void parse_msg(const uint8_t *at, struct command *command)
{
    command->tagged = true;
    command->slot = load_le32(MSG(slot));
    for (size_t i = 0; i < ARRAY_SIZE(command->dun.limb); i++)
        command->dun.limb[i] = load_le64(MSG(dun) + i * sizeof(uint64_t));
    if (load_le32(MSG(unused)))
        note(command, RULE_RESERVED);
}

#define PROGRAM(field) (body + offsetof(struct virtio_blk_keyslot_program, field))

/* A mode that is not known becomes an algorithm that is none. */
static uint8_t parse_program(const uint8_t *body, struct command *command, struct ice_why *why)
{
    bool xts = load_le32(PROGRAM(crypto_mode)) == VIRTIO_BLK_CRYPTO_MODE_AES_256_XTS;
    uint32_t unit_bits = load_le32(PROGRAM(data_unit_size_bits));
    uint32_t dun_bytes = load_le32(PROGRAM(dun_bytes));

    command->slot = load_le32(PROGRAM(slot));
    if (dun_bytes < 1 || dun_bytes > DUN_BYTES) {
        command->broken = RULE_KEY_INVALID;
        why_say(why, EINVAL, "dun_bytes is %u, outside 1..%u", dun_bytes, DUN_BYTES);
        return VIRTIO_BLK_S_IOERR;
    }
    command->key = (struct command_key){
        .type = load_le32(PROGRAM(key_type)),
        .alg = ALG_AES_XTS,
        .key_size = xts ? KEY_SIZE_256 : KEY_SIZE_INVALID,
        .data_unit = unit_bits < 32 ? UINT32_C(1) << unit_bits : 0,
        .dun_bytes = dun_bytes,
    };
    return parse_key_field(load_le32(PROGRAM(key_size)), PROGRAM(key), command, why);
}

static uint8_t parse_control(const uint8_t *body, struct command *command, struct ice_why *why)
{
    switch (command->kind) {
    case COMMAND_KEY_PROGRAM:
        return parse_program(body, command, why);
    case COMMAND_KEY_EVICT:
        command->slot = load_le32(body);
        return VIRTIO_BLK_S_OK;
    case COMMAND_KEY_DERIVE:
    case COMMAND_KEY_IMPORT:
    case COMMAND_KEY_PREPARE:
        return parse_key_blob(body, command, why);
    default:
        return VIRTIO_BLK_S_OK;
    }
}

static uint8_t parse(const struct wire *wire, const uint8_t *head, struct command *command,
                     struct ice_why *why)
{
    const struct request_type *type = type_of(wire, load_le32(head));
    uint8_t status;

    assert(type);
    status = blk_parse_header(type, wire->features, head, command, why);
    if (status != VIRTIO_BLK_S_OK)
        return status;
    if (wire->control)
        return parse_control(head + HEADER, command, why);
    if (type->body)
        parse_msg(head + HEADER, command);
    return VIRTIO_BLK_S_OK;
}

/* ---- build ---- */

static int can_send_program(const struct command_key *key, struct ice_why *why)
{
    if (key->alg != ALG_AES_XTS || key->key_size != KEY_SIZE_256)
        return why_set(why, EOPNOTSUPP, "the inline draft has a number for aes-256-xts alone");
    if (!is_power_of_two(key->data_unit))
        return why_set(why, EOPNOTSUPP, "the inline draft has no number for data units of %u bytes",
                       key->data_unit);
    if (key->dun_bytes < 1 || key->dun_bytes > DUN_BYTES)
        return why_set(why, EOPNOTSUPP, "the inline draft has DUNs of 1..%u bytes, not %u",
                       DUN_BYTES, key->dun_bytes);
    return check_key_length(key, why);
}

static int can_send(uint64_t negotiated, const struct command *command, struct ice_why *why)
{
    (void)negotiated;
    if (!type_of_command(command) || command->keyed)
        return why_set(why, EOPNOTSUPP, "the inline draft has no such request");
    if (command->kind == COMMAND_KEY_PROGRAM)
        return can_send_program(&command->key, why);
    return check_key_length(&command->key, why);
}

static void build_msg(const struct command *command, uint8_t *at)
{
    store_le32(MSG(slot), command->slot);
    store_le32(MSG(unused), 0);
    for (size_t i = 0; i < ARRAY_SIZE(command->dun.limb); i++)
        store_le64(MSG(dun) + i * sizeof(uint64_t), command->dun.limb[i]);
}

static void build_program(const struct command *command, uint8_t *body)
{
    const struct command_key *key = &command->key;

    store_le32(PROGRAM(slot), command->slot);
    build_key_field(key->bytes, key->len, PROGRAM(key));
    store_le32(PROGRAM(key_size), key->len);
    store_le32(PROGRAM(crypto_mode), VIRTIO_BLK_CRYPTO_MODE_AES_256_XTS);
    store_le32(PROGRAM(key_type), key->type);
    store_le32(PROGRAM(data_unit_size_bits), log2_exact(key->data_unit));
    store_le32(PROGRAM(dun_bytes), key->dun_bytes);
}

static void build_body(const struct command *command, uint8_t *body)
{
    switch (command->kind) {
    case COMMAND_KEY_PROGRAM:
        build_program(command, body);
        break;
    case COMMAND_KEY_EVICT:
        store_le32(body, command->slot);
        break;
    case COMMAND_KEY_DERIVE:
    case COMMAND_KEY_IMPORT:
    case COMMAND_KEY_PREPARE:
        key_blob_store(command->key.bytes, command->key.len, body);
        break;
    default:
        if (command->tagged)
            build_msg(command, body);
    }
}

static size_t build(uint64_t negotiated, const struct command *command,
                    uint8_t head[static DIALECT_HEAD_MAX])
{
    const struct request_type *type = type_of_command(command);

    assert(!can_send(negotiated, command, NULL));
    blk_build_header(type->type, command->sector, head);
    build_body(command, head + HEADER);
    return HEADER + type->body;
}

static bool on_control_queue(enum command_kind kind)
{
    return find_kind(control_types, ARRAY_SIZE(control_types), kind);
}

/* ---- configuration space and capabilities ---- */

#define CONFIG(field)                                                                              \
    (sizeof(struct virtio_blk_config) + offsetof(struct virtio_blk_inline_characteristics, field))

static size_t build_config(const struct function_config *config,
                           uint8_t space[static DIALECT_CONFIG_MAX])
{
    memset(space, 0, DIALECT_CONFIG_MAX);
    blk_build_config(config, space);
    if (!(config->features & ENCRYPTION))
        return sizeof(struct virtio_blk_config);
    store_le16(space + CONFIG(max_slots), (uint16_t)config->max_slots);
    space[CONFIG(max_dun_bytes)] = (uint8_t)config->dun_bytes;
    space[CONFIG(key_types)] = (uint8_t)config->key_types;
    return sizeof(struct virtio_blk_config) + sizeof(struct virtio_blk_inline_characteristics);
}

static void parse_config(uint64_t offered, const uint8_t *space, size_t len,
                         struct function_config *config)
{
    uint8_t whole[DIALECT_CONFIG_MAX] = {0};

    memcpy(whole, space, min_u64(len, sizeof(whole)));
    blk_parse_config(offered, whole, config);
    if (!(offered & ENCRYPTION))
        return;
    config->max_slots = load_le16(whole + CONFIG(max_slots));
    config->dun_bytes = whole[CONFIG(max_dun_bytes)];
    config->key_types = whole[CONFIG(key_types)];
}

static int check_capabilities(const struct capability *capabilities, unsigned count,
                              struct ice_why *why)
{
    int r = blk_check_capabilities(capabilities, count, why);

    for (unsigned i = 0; !r && i < count; i++)
        if (capabilities[i].alg != ALG_AES_XTS || capabilities[i].key_size != KEY_SIZE_256)
            r = why_set(why, EINVAL, "inline can name aes-256-xts alone, not %s",
                        algorithm_by_id(capabilities[i].alg, capabilities[i].key_size)->name);
    return r;
}

static unsigned list_xts(uint64_t data_units, struct capability list[static CAPABILITIES_MAX])
{
    return blk_list_capability(algorithm_by_id(ALG_AES_XTS, KEY_SIZE_256), data_units, list, 0);
}

static unsigned default_capabilities(struct capability list[static CAPABILITIES_MAX])
{
    return list_xts(DATA_UNITS_ALL, list);
}

static size_t build_capabilities(const struct capability *capabilities, unsigned count,
                                 uint8_t reply[static CAPABILITY_REPLY_MAX])
{
    uint32_t xts = 0;

    for (unsigned i = 0; i < count; i++)
        xts |= capabilities[i].data_unit;
    store_le32(reply, 0);
    store_le32(reply + 4, xts);
    return VIRTIO_BLK_CRYPTO_MODES * sizeof(uint32_t);
}

/* Modes may be added, and more than are known is no error: room for some. */
static size_t capability_room(const struct function_config *config)
{
    (void)config;
    return 32 * sizeof(uint32_t);
}

static unsigned parse_capabilities(const uint8_t *bytes, size_t len,
                                   struct capability list[static CAPABILITIES_MAX])
{
    const size_t at = VIRTIO_BLK_CRYPTO_MODE_AES_256_XTS * sizeof(uint32_t);

    return len < at + sizeof(uint32_t) ? 0 : list_xts(load_le32(bytes + at), list);
}

const struct dialect dialect_inline = {
    .name = "inline",
    .draft = "virtio-blk inline encryption, v4 of September 2026, as Linux had it in October",
    .features = CONTROL | ENCRYPTION,
    .control_feature = CONTROL,
    .needs = needs,
    .dun_bits = DUN_BYTES * 8,
    .virtual_slots = true,
    .head_length = head_length,
    .parse = parse,
    .build_config = build_config,
    .check_capabilities = check_capabilities,
    .default_capabilities = default_capabilities,
    .build_capabilities = build_capabilities,
    .build = build,
    .can_send = can_send,
    .on_control_queue = on_control_queue,
    .parse_config = parse_config,
    .capability_room = capability_room,
    .parse_capabilities = parse_capabilities,
};
