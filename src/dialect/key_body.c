/* SPDX-License-Identifier: BSD-2-Clause */
#include "key_body.h"
#include "base/bytes.h"
#include "blk.h"
#include "virtio/blk.h"
#include "virtio/ice.h"
#include <assert.h>
#include <errno.h>

_Static_assert(sizeof(struct ice_key_blob) == KEY_BLOB_BYTES, "blob");

/* A wrapped key that is too long is none of this engine's; a raw one is a slip of the driver. */
static uint8_t refuse_length(uint32_t len, struct command *command, struct ice_why *why)
{
    bool wrapped = command->kind == COMMAND_KEY_DERIVE || command->kind == COMMAND_KEY_PREPARE;

    command->broken = wrapped ? RULE_KEY_BLOB : RULE_KEY_INVALID;
    why_say(why, wrapped ? EBADMSG : EINVAL, "a key of %u bytes is longer than its field of %u",
            len, ICE_KEY_FIELD);
    return VIRTIO_BLK_S_IOERR;
}

uint8_t parse_key_field(uint32_t len, const uint8_t *field, struct command *command,
                        struct ice_why *why)
{
    uint8_t rest = 0;

    if (len > ICE_KEY_FIELD)
        return refuse_length(len, command, why);
    for (size_t i = len; i < ICE_KEY_FIELD; i++)
        rest |= field[i];
    if (rest)
        note(command, RULE_RESERVED);
    command->key.len = (uint16_t)len;
    command->key.bytes = field;
    return VIRTIO_BLK_S_OK;
}

void build_key_field(const uint8_t *key, size_t len, uint8_t *field)
{
    assert(len <= ICE_KEY_FIELD);
    if (len)
        memcpy(field, key, len);
    memset(field + len, 0, ICE_KEY_FIELD - len);
}

uint8_t parse_key_blob(const uint8_t *body, struct command *command, struct ice_why *why)
{
    return parse_key_field(load_le32(body), body + offsetof(struct ice_key_blob, key), command,
                           why);
}

int check_key_length(const struct command_key *key, struct ice_why *why)
{
    if (key->len <= ICE_KEY_FIELD)
        return 0;
    return why_set(why, EOPNOTSUPP, "a key of %u bytes is longer than its field of %u", key->len,
                   ICE_KEY_FIELD);
}

void key_blob_store(const uint8_t *key, size_t len, uint8_t blob[static KEY_BLOB_BYTES])
{
    assert(len <= ICE_KEY_FIELD);
    store_le32(blob, (uint32_t)len);
    build_key_field(key, len, blob + offsetof(struct ice_key_blob, key));
}

int key_blob_load(const uint8_t blob[static KEY_BLOB_BYTES], const uint8_t **key)
{
    uint32_t len = load_le32(blob);

    if (len > ICE_KEY_FIELD)
        return -EBADMSG;
    *key = blob + offsetof(struct ice_key_blob, key);
    return (int)len;
}
