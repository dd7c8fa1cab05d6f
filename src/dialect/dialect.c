/* SPDX-License-Identifier: BSD-2-Clause */
/* The list of dialects, and the names of commands. */
#include "dialect.h"
#include "base/bytes.h"
#include "virtio/blk.h"
#include "virtio/virtio.h"

static const struct dialect *const dialects[] = {&dialect_ice1, &dialect_ice2, &dialect_inline};

const struct dialect *dialect_at(unsigned index)
{
    return index < ARRAY_SIZE(dialects) ? dialects[index] : NULL;
}

const struct dialect *dialect_by_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(dialects); i++)
        if (!strcmp(dialects[i]->name, name))
            return dialects[i];
    return NULL;
}

uint16_t dialect_control_queue(uint64_t negotiated, unsigned num_queues)
{
    return negotiated & VIRTIO_FEATURE(VIRTIO_BLK_F_MQ) ? (uint16_t)num_queues : 1;
}

const char *command_name(enum command_kind kind)
{
    static const char *const names[COMMAND_KINDS] = {
        [COMMAND_UNKNOWN] = "unknown",
        [COMMAND_READ] = "read",
        [COMMAND_WRITE] = "write",
        [COMMAND_FLUSH] = "flush",
        [COMMAND_GET_ID] = "get_id",
        [COMMAND_GET_LIFETIME] = "get_lifetime",
        [COMMAND_DISCARD] = "discard",
        [COMMAND_WRITE_ZEROES] = "write_zeroes",
        [COMMAND_SECURE_ERASE] = "secure_erase",
        [COMMAND_GET_CAPABILITIES] = "get_capabilities",
        [COMMAND_KEY_PROGRAM] = "key_program",
        [COMMAND_KEY_EVICT] = "key_evict",
        [COMMAND_KEY_DERIVE] = "key_derive",
        [COMMAND_KEY_GENERATE] = "key_generate",
        [COMMAND_KEY_IMPORT] = "key_import",
        [COMMAND_KEY_PREPARE] = "key_prepare",
        [COMMAND_KEY_FORGET] = "key_forget",
    };
    return names[kind];
}
