/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ICE drafts. Once ICE is negotiated the header of every request is 32 bytes, whatever its
 * type; else 16. Of a function with trimmed headers it is 32 for IN, OUT and FLUSH only, as the
 * February text has it, and for key operations, which are icesim's own, behind a feature bit of
 * their own.
 */
#include "ice.h"
#include "base/bytes.h"
#include "key_body.h"
#include <assert.h>
#include <errno.h>

#define KEY_OPS_FEATURE VIRTIO_FEATURE(VIRTIO_BLK_F_ICE_KEY_OPS)
#define INLINE_FEATURE  VIRTIO_FEATURE(VIRTIO_BLK_F_ICE_KEYS_INLINE)
#define ADDED_FEATURES  (KEY_OPS_FEATURE | INLINE_FEATURE)
#define HEADER          sizeof(struct virtio_blk_header)
#define LONG_HEADER     (HEADER + sizeof(struct virtio_blk_ice_payload))

const struct feature_need ice_needs[] = {
    {VIRTIO_BLK_F_ICE_KEY_OPS, VIRTIO_BLK_F_ICE},
    {VIRTIO_BLK_F_ICE_KEYS_INLINE, VIRTIO_BLK_F_ICE},
    {0, 0},
};

#define KEY_TYPE(name, kind, body)                                                                 \
    {                                                                                              \
        VIRTIO_BLK_T_##name, COMMAND_##kind, body, KEY_OPS_FEATURE, #name                          \
    }
#define INLINE_TYPE(name, kind)                                                                    \
    {                                                                                              \
        VIRTIO_BLK_T_##name, COMMAND_##kind, sizeof(struct ice_key_program), INLINE_FEATURE, #name \
    }

static const struct request_type types[] = {
    {VIRTIO_BLK_T_GET_CRYPTO_CAPABILITIES, COMMAND_GET_CAPABILITIES, 0, ICE_FEATURE,
     "GET_CRYPTO_CAPABILITIES"},
    KEY_TYPE(KEY_PROGRAM, KEY_PROGRAM, sizeof(struct ice_key_program)),
    KEY_TYPE(KEY_EVICT, KEY_EVICT, sizeof(struct ice_key_evict)),
    KEY_TYPE(KEY_DERIVE_SW_SECRET, KEY_DERIVE, sizeof(struct ice_key_blob)),
    KEY_TYPE(KEY_GENERATE, KEY_GENERATE, 0),
    KEY_TYPE(KEY_IMPORT, KEY_IMPORT, sizeof(struct ice_key_blob)),
    KEY_TYPE(KEY_PREPARE, KEY_PREPARE, sizeof(struct ice_key_blob)),
    INLINE_TYPE(KEYED_OUT, WRITE),
    INLINE_TYPE(KEYED_IN, READ),
    INLINE_TYPE(KEY_FORGET, KEY_FORGET),
};

static const struct request_type *type_of(uint32_t number)
{
    const struct request_type *type = blk_find_type(number);

    return type ? type : find_type(types, ARRAY_SIZE(types), number);
}

static const struct request_type *type_of_command(const struct command *command)
{
    const struct request_type *type = command->keyed ? NULL : blk_find_kind(command->kind);

    return type ? type : find_kind(types, ARRAY_SIZE(types), command->kind);
}

/* READ or WRITE with a key, as such a type has no body otherwise. */
static bool is_keyed(const struct request_type *type)
{
    return type->body && (type->kind == COMMAND_READ || type->kind == COMMAND_WRITE);
}

static size_t header_length(const struct wire *wire, enum command_kind kind)
{
    if (!(wire->features & ICE_FEATURE))
        return HEADER;
    if (!wire->trimmed)
        return LONG_HEADER;
    switch (kind) {
    case COMMAND_DISCARD:
    case COMMAND_WRITE_ZEROES:
    case COMMAND_SECURE_ERASE:
        return HEADER;
    case COMMAND_GET_ID:
    case COMMAND_GET_LIFETIME:
    case COMMAND_GET_CAPABILITIES:
        return wire->readable >= LONG_HEADER ? LONG_HEADER : HEADER; /* nothing else is readable */
    default:
        return LONG_HEADER;
    }
}

/* A body whose feature is not negotiated is not waited for: parse refuses the type by its header.
 */
size_t ice_head_length(const struct wire *wire, uint32_t number)
{
    const struct request_type *type = type_of(number);

    if (!type || wire->control || (wire->strict && type->needs & ADDED_FEATURES))
        return 0;
    return header_length(wire, type->kind) + (is_negotiated(type, wire->features) ? type->body : 0);
}

/* ---- parse ---- */

#define PAYLOAD(field) (at + offsetof(struct virtio_blk_ice_payload, field))

static void note_unused(const uint8_t *at, struct command *command)
{
    bool takes_payload = command->kind == COMMAND_READ || command->kind == COMMAND_WRITE ||
                         command->kind == COMMAND_FLUSH;

    if (*PAYLOAD(activate) && !takes_payload)
        note(command, RULE_ACTIVATE_TYPE);
    if (!*PAYLOAD(activate) && (*PAYLOAD(slot) || load_le64(PAYLOAD(data_unit_num))))
        note(command, RULE_PAYLOAD_UNUSED);
    if (load_le16(PAYLOAD(reserved1)) || load_le32(PAYLOAD(reserved2)))
        note(command, RULE_RESERVED);
}

static uint8_t parse_payload(const uint8_t *at, struct command *command, struct ice_why *why)
{
    unsigned activate = *PAYLOAD(activate);

    note_unused(at, command);
    if (command->kind != COMMAND_READ && command->kind != COMMAND_WRITE)
        return VIRTIO_BLK_S_OK;
    if (activate > 1 || (command->keyed && !activate)) {
        command->broken = RULE_ACTIVATE_VALUE;
        why_say(why, EINVAL, "activate is %u, %s", activate,
                command->keyed ? "not 1, though a key follows" : "neither 0 nor 1");
        return VIRTIO_BLK_S_IOERR;
    }
    if (activate) {
        command->tagged = true;
        command->slot = *PAYLOAD(slot);
        command->dun = dun_from_u64(load_le64(PAYLOAD(data_unit_num)));
    }
    return VIRTIO_BLK_S_OK;
}

#define PROGRAM(field) (body + offsetof(struct ice_key_program, field))

static uint8_t parse_program(const uint8_t *body, struct command *command, struct ice_why *why)
{
    unsigned exp = *PROGRAM(data_unit_size_exp);

    command->slot = *PROGRAM(slot);
    command->key = (struct command_key){
        .type = *PROGRAM(key_type),
        .alg = *PROGRAM(alg),
        .key_size = *PROGRAM(key_size),
        .data_unit = exp < 16 ? DATA_UNIT_MIN << exp : 0,
    };
    if (*PROGRAM(reserved))
        note(command, RULE_RESERVED);
    return parse_key_field(load_le16(PROGRAM(key_len)), PROGRAM(key), command, why);
}

static uint8_t parse_evict(const uint8_t *body, struct command *command)
{
    static const uint8_t zeros[sizeof(struct ice_key_evict)];
    const size_t reserved = offsetof(struct ice_key_evict, reserved);

    command->slot = body[offsetof(struct ice_key_evict, slot)];
    if (memcmp(body + reserved, zeros, sizeof(zeros) - reserved) != 0)
        note(command, RULE_RESERVED);
    return VIRTIO_BLK_S_OK;
}

/* There are no slots where keys come with the requests, but two places for one. */
static uint8_t parse_inline_key(const uint8_t *body, struct command *command, struct ice_why *why)
{
    unsigned slot = command->slot ? command->slot : *PROGRAM(slot);

    if (!slot)
        return parse_program(body, command, why);
    command->broken = RULE_SLOT_WINDOW;
    why_say(why, EINVAL, "slot %u in a request with a key, which has no slot", slot);
    return VIRTIO_BLK_S_IOERR;
}

static uint8_t parse_body(const uint8_t *body, struct command *command, struct ice_why *why)
{
    switch (command->kind) {
    case COMMAND_KEY_PROGRAM:
        return parse_program(body, command, why);
    case COMMAND_KEY_FORGET:
        return parse_inline_key(body, command, why);
    case COMMAND_KEY_EVICT:
        return parse_evict(body, command);
    case COMMAND_KEY_DERIVE:
    case COMMAND_KEY_IMPORT:
    case COMMAND_KEY_PREPARE:
        return parse_key_blob(body, command, why);
    default:
        return command->keyed ? parse_inline_key(body, command, why) : VIRTIO_BLK_S_OK;
    }
}

uint8_t ice_parse(const struct wire *wire, const uint8_t *head, struct command *command,
                  struct ice_why *why)
{
    const struct request_type *type = type_of(load_le32(head));
    size_t header;
    uint8_t status;

    assert(type && !wire->control);
    header = header_length(wire, type->kind);
    status = blk_parse_header(type, wire->features, head, command, why);
    command->keyed = status == VIRTIO_BLK_S_OK && is_keyed(type);
    if (status == VIRTIO_BLK_S_OK && header == LONG_HEADER)
        status = parse_payload(head + HEADER, command, why);
    return status == VIRTIO_BLK_S_OK ? parse_body(head + header, command, why) : status;
}

/* ---- build ---- */

static bool has_program_body(const struct command *command)
{
    return command->kind == COMMAND_KEY_PROGRAM || command->kind == COMMAND_KEY_FORGET ||
           command->keyed;
}

static int can_send_program(const struct command_key *key, struct ice_why *why)
{
    if (!is_power_of_two(key->data_unit) || key->data_unit < DATA_UNIT_MIN)
        return why_set(why, EOPNOTSUPP, "the ICE drafts have no number for data units of %u bytes",
                       key->data_unit);
    if (key->type > UINT8_MAX || key->alg > UINT8_MAX || key->key_size > UINT8_MAX)
        return why_set(why, EOPNOTSUPP,
                       "the ICE drafts have 8 bits for key type, algorithm and "
                       "key size");
    return check_key_length(key, why);
}

int ice_can_send(uint64_t negotiated, const struct command *command, struct ice_why *why)
{
    if (!type_of_command(command))
        return why_set(why, EOPNOTSUPP, "the ICE drafts have no such request");
    if (command->slot > UINT8_MAX)
        return why_set(why, EOPNOTSUPP, "slot %u is above 255, the last that the ICE drafts name",
                       command->slot);
    if (command->keyed && !(negotiated & INLINE_FEATURE))
        return why_set(why, EOPNOTSUPP,
                       "VIRTIO_BLK_F_ICE_KEYS_INLINE is not negotiated: no request takes a key "
                       "along");
    if (command->tagged && !(negotiated & ICE_FEATURE))
        return why_set(why, EOPNOTSUPP,
                       "VIRTIO_BLK_F_ICE is not negotiated: no request has a "
                       "place for a slot");
    if (!dun_fits(&command->dun, ICE_DUN_BITS))
        return why_set(why, EOPNOTSUPP, "the ICE drafts have %u bits for a DUN", ICE_DUN_BITS);
    if (has_program_body(command))
        return can_send_program(&command->key, why);
    return check_key_length(&command->key, why);
}

static void build_payload(const struct command *command, uint8_t *at)
{
    memset(at, 0, sizeof(struct virtio_blk_ice_payload));
    if (!command->tagged)
        return;
    *PAYLOAD(slot) = (uint8_t)command->slot;
    *PAYLOAD(activate) = 1;
    store_le64(PAYLOAD(data_unit_num), command->dun.limb[0]);
}

static void build_program(const struct command *command, uint8_t *body)
{
    const struct command_key *key = &command->key;

    *PROGRAM(slot) = (uint8_t)command->slot;
    *PROGRAM(key_type) = (uint8_t)key->type;
    store_le16(PROGRAM(key_len), key->len);
    *PROGRAM(alg) = (uint8_t)key->alg;
    *PROGRAM(data_unit_size_exp) = (uint8_t)log2_exact(key->data_unit / DATA_UNIT_MIN);
    *PROGRAM(key_size) = (uint8_t)key->key_size;
    *PROGRAM(reserved) = 0;
    build_key_field(key->bytes, key->len, PROGRAM(key));
}

static void build_body(const struct command *command, uint8_t *body)
{
    switch (command->kind) {
    case COMMAND_KEY_PROGRAM:
    case COMMAND_KEY_FORGET:
        build_program(command, body);
        break;
    case COMMAND_KEY_EVICT:
        memset(body, 0, sizeof(struct ice_key_evict));
        body[offsetof(struct ice_key_evict, slot)] = (uint8_t)command->slot;
        break;
    case COMMAND_KEY_DERIVE:
    case COMMAND_KEY_IMPORT:
    case COMMAND_KEY_PREPARE:
        key_blob_store(command->key.bytes, command->key.len, body);
        break;
    default:
        if (command->keyed)
            build_program(command, body);
    }
}

size_t ice_build(uint64_t negotiated, const struct command *command, uint8_t *head)
{
    const struct request_type *type = type_of_command(command);
    size_t header = blk_build_header(type->type, command->sector, head);

    if (negotiated & ICE_FEATURE) {
        build_payload(command, head + header);
        header = LONG_HEADER;
    }
    build_body(command, head + header);
    return header + type->body;
}

bool ice_on_control_queue(enum command_kind kind)
{
    (void)kind;
    return false;
}

/* ---- configuration space ---- */

#define BEHIND_BLK (sizeof(struct virtio_blk_config))

bool ice_build_config(const struct function_config *config,
                      uint8_t space[static DIALECT_CONFIG_MAX])
{
    memset(space, 0, DIALECT_CONFIG_MAX);
    blk_build_config(config, space);
    if (!(config->features & ICE_FEATURE))
        return false;
    store_le16(space + BEHIND_BLK, (uint16_t)(config->max_slots << 8 | config->slot_offset));
    return true;
}

bool ice_parse_config(uint64_t offered, const uint8_t *space, size_t len,
                      uint8_t whole[static DIALECT_CONFIG_MAX], struct function_config *config)
{
    uint16_t slot_info;

    memset(whole, 0, DIALECT_CONFIG_MAX);
    memcpy(whole, space, min_u64(len, DIALECT_CONFIG_MAX));
    blk_parse_config(offered, whole, config);
    if (!(offered & ICE_FEATURE))
        return false;
    slot_info = load_le16(whole + BEHIND_BLK);
    config->slot_offset = slot_info & 0xff;
    config->max_slots = slot_info >> 8;
    return true;
}
