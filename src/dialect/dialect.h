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
#include "rule.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* No head (header, payload and key body: all but data and segments) is longer in any dialect. */
#define DIALECT_HEAD_MAX 512

/* No configuration space is longer (vhost-user's limit too). */
#define DIALECT_CONFIG_MAX 256

/* 11 algorithm and key size pairs times 8 data unit sizes */
#define CAPABILITIES_MAX 88

/* No answer to GET_CAPABILITIES is longer. */
#define CAPABILITY_REPLY_MAX 512

/* A wrapped key as it travels, `le32 size; u8 key[128]`, in every dialect; a software secret. */
#define KEY_BLOB_BYTES  132
#define SW_SECRET_BYTES 32

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
    COMMAND_KEY_DERIVE,   /* ephemeral wrapped key -> software secret */
    COMMAND_KEY_GENERATE, /* -> long-term wrapped key */
    COMMAND_KEY_IMPORT,   /* raw key -> long-term wrapped key */
    COMMAND_KEY_PREPARE,  /* long-term -> ephemeral wrapped key */
    COMMAND_KEY_FORGET,   /* of keys that come with each request: closes `key` */
    COMMAND_KINDS
};

/* "read", "key_program", …: for messages and statistics. */
const char *command_name(enum command_kind kind);

struct command {
    enum command_kind kind;
    uint32_t type;   /* as on the wire */
    uint64_t sector; /* READ and WRITE, else 0 */
    bool tagged;     /* READ and WRITE: run through the engine, first data unit `dun` … */
    bool keyed;    /* … with `key`, which comes along (dialect.keys_inline); else with `slot`'s */
    uint32_t slot; /* as on the wire; also of key operations */
    struct dun dun;
    struct command_key {
        unsigned type;        /* ICE_KEY_TYPE_* */
        unsigned alg;         /* enum alg_id, unchecked */
        unsigned key_size;    /* enum key_size_id, unchecked */
        uint32_t data_unit;   /* bytes; 0 when the wire's exponent means nothing */
        unsigned dun_bytes;   /* as the driver promises, 1..32; 0: the dialect does not say */
        uint16_t len;         /* at most ICE_KEY_FIELD */
        const uint8_t *bytes; /* in the caller's head buffer: secret memory */
    } key;                    /* of KEY_DERIVE, KEY_IMPORT and KEY_PREPARE: len and bytes */
    /* Device side: what the head breaks, the first of several. With status OK it is a tolerated
     * rule. */
    enum rule broken;
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
    unsigned dun_bytes;        /* 0: the dialect does not say */
    unsigned key_types;        /* sum of ICE_KEY_TYPE_*; 0: the dialect does not say */
    unsigned capability_count; /* 0 where it is not in the space */
    /* Device side: the entries, for a dialect that names one in the space. */
    const struct capability *capabilities;
};

/* How a request came. */
struct wire {
    uint64_t features; /* negotiated */
    bool control;      /* on the control queue */
    bool strict;       /* types that icesim adds to the draft are unknown */
    bool trimmed;      /* the function takes 16-byte headers of types other than IN, OUT, FLUSH */
    size_t readable;   /* bytes, in all */
};

struct feature_need {
    uint8_t feature, needs;
};

struct dialect {
    const char *name;
    const char *draft;     /* where it is defined, for people */
    uint64_t features;     /* the bits that the draft adds to virtio-blk's own */
    uint64_t own_features; /* icesim's additions, which a strict function does not offer */
    /* icesim's bit for functions without slots, whose keys come with each request. 0: the dialect
     * has no such requests. */
    uint64_t keys_inline;
    /* Negotiated: there is a control queue. 0: the draft has none. */
    uint64_t control_feature;
    /* Bits of both that are nothing without another; NULL: none. A row of zeros is the last. */
    const struct feature_need *needs;
    unsigned dun_bits;  /* that its header can carry */
    bool virtual_slots; /* the draft counts slots from 0, its space has no slot_offset */

    /*
     * Device side. head_length: bytes of the readable part that stand before data or segments,
     * given the type; 0 when the dialect has no such type (on that queue). parse: `head` has at
     * least that many bytes; fills `command`, returns VIRTIO_BLK_S_OK, or the status to answer
     * with `why` and command->broken set.
     */
    size_t (*head_length)(const struct wire *wire, uint32_t type);
    uint8_t (*parse)(const struct wire *wire, const uint8_t *head, struct command *command,
                     struct ice_why *why);
    /* Fills the space (zeros past the end); returns its length. */
    size_t (*build_config)(const struct function_config *config,
                           uint8_t space[static DIALECT_CONFIG_MAX]);
    /* Whether a function may advertise all these together. 0, or -EINVAL with what is wrong. */
    int (*check_capabilities)(const struct capability *capabilities, unsigned count,
                              struct ice_why *why);
    /* The list that a function advertises unless told otherwise; returns their number. */
    unsigned (*default_capabilities)(struct capability list[static CAPABILITIES_MAX]);
    /* The answer to GET_CAPABILITIES; returns its length. NULL: the space names it. */
    size_t (*build_capabilities)(const struct capability *capabilities, unsigned count,
                                 uint8_t reply[static CAPABILITY_REPLY_MAX]);

    /*
     * Driver side. build: writes the head of `command` and returns its length; a key is copied, so
     * `head` is secret memory when there is one. can_send: whether the dialect can say it at all
     * (slot and DUN in their fields, the algorithm has a number): 0, or -EOPNOTSUPP with the
     * reason; build asserts it. parse_config: from a space that was read.
     */
    size_t (*build)(uint64_t negotiated, const struct command *command,
                    uint8_t head[static DIALECT_HEAD_MAX]);
    int (*can_send)(uint64_t negotiated, const struct command *command, struct ice_why *why);
    bool (*on_control_queue)(enum command_kind kind);
    void (*parse_config)(uint64_t offered, const uint8_t *space, size_t len,
                         struct function_config *config);
    /*
     * The bytes of data area to send GET_CAPABILITIES with, at most CAPABILITY_REPLY_MAX; 0: the
     * dialect has no such request, the space itself is what parse_capabilities takes. That returns
     * how many entries it wrote; what it does not know it leaves out.
     */
    size_t (*capability_room)(const struct function_config *config);
    unsigned (*parse_capabilities)(const uint8_t *bytes, size_t len,
                                   struct capability list[static CAPABILITIES_MAX]);
};

extern const struct dialect dialect_ice1, dialect_ice2, dialect_inline;

/* NULL when there is none of that name; NULL past the last. */
const struct dialect *dialect_by_name(const char *name);
const struct dialect *dialect_at(unsigned index);

/*
 * The index of the control queue, behind the request queues: icesim's choice, as the draft's text
 * was not to be had.
 */
uint16_t dialect_control_queue(uint64_t negotiated, unsigned num_queues);

/* A wrapped key to and from its KEY_BLOB_BYTES. load: its length, or -EBADMSG above the field. */
void key_blob_store(const uint8_t *key, size_t len, uint8_t blob[static KEY_BLOB_BYTES]);
int key_blob_load(const uint8_t blob[static KEY_BLOB_BYTES], const uint8_t **key);

#endif
