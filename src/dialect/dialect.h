/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A dialect is one generation of the inline crypto proposal, as a table of functions both ways:
 * parse for the device, build for drivers. Behind it stands one internal form, struct command.
 * Tables are constant; all functions may be called from any thread.
 */
#ifndef ICESIM_DIALECT_DIALECT_H
#define ICESIM_DIALECT_DIALECT_H

#include "base/dun.h"
#include "base/why.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No head (header, payload and key body: all but data and segments) is longer in any dialect. */
#define DIALECT_HEAD_MAX 512

/* No configuration space is longer (vhost-user's limit too). */
#define DIALECT_CONFIG_MAX 256

/* 11 algorithm and key size pairs times 8 data unit sizes */
#define CAPABILITIES_MAX 88

enum command_kind {
    COMMAND_UNKNOWN, /* the type means nothing in this dialect, or its feature is not negotiated */
    COMMAND_READ,
    COMMAND_WRITE,
    COMMAND_FLUSH,
    COMMAND_GET_ID,
    COMMAND_GET_LIFETIME,
    COMMAND_DISCARD,
    COMMAND_WRITE_ZEROES,
    COMMAND_SECURE_ERASE,
    COMMAND_GET_CAPABILITIES,
    COMMAND_KEY_PROGRAM,
    COMMAND_KEY_EVICT,
    COMMAND_KINDS
};

/* "read", "key_program", …: for messages and statistics. */
const char *command_name(enum command_kind kind);

struct command {
    enum command_kind kind;
    uint32_t type;   /* as on the wire */
    uint64_t sector; /* READ and WRITE, else 0 */
    bool tagged;     /* READ and WRITE: run through `slot`, first data unit `dun` */
    uint32_t slot;   /* as on the wire; also of key operations */
    struct dun dun;
    struct command_key {
        unsigned type;        /* ICE_KEY_TYPE_* */
        unsigned alg;         /* enum alg_id, unchecked */
        unsigned key_size;    /* enum key_size_id, unchecked */
        uint32_t data_unit;   /* bytes; 0 when the wire's exponent means nothing */
        uint16_t len;         /* at most ICE_KEY_FIELD */
        const uint8_t *bytes; /* in the caller's head buffer: secret memory */
    } key;
};

struct capability {
    uint8_t alg;        /* enum alg_id */
    uint8_t key_size;   /* enum key_size_id */
    uint32_t data_unit; /* bytes */
};

/* What a configuration space is made of, whatever the dialect. */
struct function_config {
    uint64_t features; /* offered */
    uint64_t capacity; /* sectors */
    uint32_t size_max, seg_max, blk_size;
    uint16_t num_queues;
    uint32_t max_segment_sectors; /* of DISCARD, WRITE_ZEROES, SECURE_ERASE */
    uint32_t max_segments;        /* the same */
    uint8_t writeback;
    unsigned slot_offset, max_slots;
    unsigned capability_count;
};

struct dialect {
    const char *name;
    uint64_t features; /* the bits this dialect adds to virtio-blk's own */

    /*
     * Device side. head_length: bytes of the readable part that stand before data or segments,
     * given the type (0 when the type is unknown). parse: `head` has at least that many bytes;
     * fills `command`, returns VIRTIO_BLK_S_OK, or the status to answer with `why` set.
     */
    size_t (*head_length)(uint64_t negotiated, uint32_t type);
    uint8_t (*parse)(uint64_t negotiated, const uint8_t *head, struct command *command,
                     struct ice_why *why);
    /* Fills the space (zeros past the end); returns its length. */
    size_t (*build_config)(const struct function_config *config,
                           uint8_t space[static DIALECT_CONFIG_MAX]);
    /* One entry of the capability reply; capability_entry bytes. */
    size_t capability_entry;
    void (*build_capability)(const struct capability *capability, uint8_t *entry);

    /*
     * Driver side. build: writes the head of `command` and returns its length; a key is copied, so
     * `head` is secret memory when there is one. parse_config: from a space that was read.
     * parse_capability: false for an entry that names nothing.
     */
    size_t (*build)(uint64_t negotiated, const struct command *command,
                    uint8_t head[static DIALECT_HEAD_MAX]);
    void (*parse_config)(uint64_t offered, const uint8_t *space, size_t len,
                         struct function_config *config);
    bool (*parse_capability)(const uint8_t *entry, struct capability *capability);
};

extern const struct dialect dialect_ice2;

/* NULL when there is none of that name. */
const struct dialect *dialect_by_name(const char *name);

#endif
