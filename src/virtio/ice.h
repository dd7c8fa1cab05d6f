/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VIRTIO_BLK_F_ICE, the inline crypto extension: virtio-dev, "[PATCH] virtio-blk: Add inline
 * encryption support" of 27 January 2026 (ice1); its v2 of 10 February 2026 as amended in review
 * (ice2); and icesim's in-band key operations, which those drafts do not define.
 */
#ifndef ICESIM_VIRTIO_ICE_H
#define ICESIM_VIRTIO_ICE_H

#include "blk.h"

#define VIRTIO_BLK_F_ICE             22
#define VIRTIO_BLK_F_ICE_KEY_OPS     56 /* icesim's own */
#define VIRTIO_BLK_F_ICE_KEYS_INLINE 57 /* the same */

#define VIRTIO_BLK_T_GET_CRYPTO_CAPABILITIES 28u
#define VIRTIO_BLK_T_KEY_PROGRAM             29u
#define VIRTIO_BLK_T_KEY_EVICT               31u
#define VIRTIO_BLK_T_KEY_DERIVE_SW_SECRET    33u
#define VIRTIO_BLK_T_KEY_GENERATE            36u
#define VIRTIO_BLK_T_KEY_IMPORT              37u
#define VIRTIO_BLK_T_KEY_PREPARE             39u
#define VIRTIO_BLK_T_KEYED_OUT               41u
#define VIRTIO_BLK_T_KEYED_IN                42u
#define VIRTIO_BLK_T_KEY_FORGET              43u

/* Behind struct virtio_blk_config when ICE is offered: ice1. */
struct virtio_blk_crypto_characteristics {
    uint16_t slot_info; /* 15:8 max_slots, 7:0 slot_offset */
    uint16_t reserved;
    uint32_t capability; /* 31:24 alg, 23:16 mask of data units (bit j: 512 << j), 15:8 key_size */
};

_Static_assert(offsetof(struct virtio_blk_crypto_characteristics, reserved) == 2, "reserved");
_Static_assert(offsetof(struct virtio_blk_crypto_characteristics, capability) == 4, "capability");
_Static_assert(sizeof(struct virtio_blk_crypto_characteristics) == 8, "crypto_characteristics");

/* The same: ice2. */
struct virtio_blk_ice_characteristics {
    uint16_t slot_info; /* 15:8 max_slots, 7:0 slot_offset */
    /* the draft calls this word reserved; the review moved the count here */
    uint16_t capability_num;
};

_Static_assert(offsetof(struct virtio_blk_ice_characteristics, capability_num) == 2, "num");
_Static_assert(sizeof(struct virtio_blk_ice_characteristics) == 4, "ice_characteristics");

/* Follows struct virtio_blk_header in every request once ICE is negotiated. */
struct virtio_blk_ice_payload {
    uint8_t slot;
    uint8_t activate;
    uint16_t reserved1;
    uint32_t reserved2;
    uint64_t data_unit_num;
};

_Static_assert(offsetof(struct virtio_blk_ice_payload, activate) == 1, "activate");
_Static_assert(offsetof(struct virtio_blk_ice_payload, reserved1) == 2, "reserved1");
_Static_assert(offsetof(struct virtio_blk_ice_payload, reserved2) == 4, "reserved2");
_Static_assert(offsetof(struct virtio_blk_ice_payload, data_unit_num) == 8, "data_unit_num");
_Static_assert(sizeof(struct virtio_blk_ice_payload) == 16, "virtio_blk_ice_payload");

/* One capability of ice2: the data unit is 512 << data_unit_size_exp bytes. */
struct virtio_blk_crypto_cap {
    uint8_t alg;
    uint8_t data_unit_size_exp;
    uint8_t key_size;
    uint8_t reserved;
};

_Static_assert(offsetof(struct virtio_blk_crypto_cap, data_unit_size_exp) == 1, "exp");
_Static_assert(offsetof(struct virtio_blk_crypto_cap, key_size) == 2, "key_size");
_Static_assert(sizeof(struct virtio_blk_crypto_cap) == 4, "virtio_blk_crypto_cap");

#define ICE_KEY_TYPE_RAW     1u
#define ICE_KEY_TYPE_WRAPPED 2u
#define ICE_KEY_FIELD        128u

/* Body of KEY_PROGRAM, KEYED_OUT, KEYED_IN and KEY_FORGET, after header and payload. */
struct ice_key_program {
    uint8_t slot; /* 0 but in KEY_PROGRAM */
    uint8_t key_type;
    uint16_t key_len;
    uint8_t alg;
    uint8_t data_unit_size_exp;
    uint8_t key_size;
    uint8_t reserved;
    uint8_t key[ICE_KEY_FIELD];
};

_Static_assert(offsetof(struct ice_key_program, key_type) == 1, "key_type");
_Static_assert(offsetof(struct ice_key_program, key_len) == 2, "key_len");
_Static_assert(offsetof(struct ice_key_program, alg) == 4, "alg");
_Static_assert(offsetof(struct ice_key_program, data_unit_size_exp) == 5, "exp");
_Static_assert(offsetof(struct ice_key_program, key_size) == 6, "key_size");
_Static_assert(offsetof(struct ice_key_program, key) == 8, "key");
_Static_assert(sizeof(struct ice_key_program) == 136, "ice_key_program");

/* Body of KEY_EVICT. */
struct ice_key_evict {
    uint8_t slot;
    uint8_t reserved[7];
};

_Static_assert(offsetof(struct ice_key_evict, reserved) == 1, "reserved");
_Static_assert(sizeof(struct ice_key_evict) == 8, "ice_key_evict");

/*
 * Body of KEY_DERIVE_SW_SECRET, KEY_IMPORT and KEY_PREPARE; answer to KEY_GENERATE, KEY_IMPORT and
 * KEY_PREPARE. The same in the inline draft.
 */
struct ice_key_blob {
    uint32_t size;
    uint8_t key[ICE_KEY_FIELD]; /* zeros past size */
};

_Static_assert(offsetof(struct ice_key_blob, key) == 4, "key");
_Static_assert(sizeof(struct ice_key_blob) == 132, "ice_key_blob");

#endif
