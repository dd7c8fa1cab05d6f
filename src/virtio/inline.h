/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * VIRTIO_BLK_F_INLINE_ENCRYPTION, the restarted proposal: virtio-dev v3 and v4 of September 2026,
 * as the headers of Linux's series v4 of 9 October 2026 have it. Bits and types that the ICE drafts
 * use too mean other things here.
 *
 * The text about the control virtqueue was not to be had; this is icesim's reading, all of it here:
 *   - the control queue is the one behind the request queues: index num_queues when MQ is
 *     negotiated, else 1 (dialect_control_queue);
 *   - a request on it starts as any request does, with the 16-byte virtio_blk_header: type,
 *     reserved 0, sector 0;
 *   - then the body, device-readable: KEYSLOT_PROGRAM a virtio_blk_keyslot_program, KEYSLOT_EVICT
 *     le32 slot, DERIVE_SW_SECRET, IMPORT_KEY and PREPARE_KEY an ice_key_blob, the others none;
 *   - then, device-writable, the answer: GET_CRYPTO_MODES le32 modes[], DERIVE_SW_SECRET 32 bytes,
 *     GENERATE_KEY, IMPORT_KEY and PREPARE_KEY an ice_key_blob, the others none; and the status
 *     byte, last;
 *   - commands stand on the control queue only, and nothing else does.
 */
#ifndef ICESIM_VIRTIO_INLINE_H
#define ICESIM_VIRTIO_INLINE_H

#include "ice.h"

#define VIRTIO_BLK_F_CTRL_VQ           22
#define VIRTIO_BLK_F_INLINE_ENCRYPTION 23

/* On request queues. */
#define VIRTIO_BLK_T_CRYPTO_OUT 27u
#define VIRTIO_BLK_T_CRYPTO_IN  28u

/* On the control queue. */
#define VIRTIO_BLK_T_GET_CRYPTO_MODES 29u
#define VIRTIO_BLK_T_KEYSLOT_PROGRAM  30u
#define VIRTIO_BLK_T_KEYSLOT_EVICT    31u
#define VIRTIO_BLK_T_DERIVE_SW_SECRET 32u
#define VIRTIO_BLK_T_GENERATE_KEY     33u
#define VIRTIO_BLK_T_IMPORT_KEY       34u
#define VIRTIO_BLK_T_PREPARE_KEY      35u

/* Indices of modes[] in the answer to GET_CRYPTO_MODES; bit i of a word: data units of 2^i bytes.
 */
#define VIRTIO_BLK_CRYPTO_MODE_INVALID     0u
#define VIRTIO_BLK_CRYPTO_MODE_AES_256_XTS 1u
#define VIRTIO_BLK_CRYPTO_MODES            2u

/* Behind struct virtio_blk_config when INLINE_ENCRYPTION is offered. */
struct virtio_blk_inline_characteristics {
    uint16_t max_slots;
    uint8_t max_dun_bytes;
    uint8_t key_types; /* sum of ICE_KEY_TYPE_* */
    uint32_t unused3;
};

_Static_assert(offsetof(struct virtio_blk_inline_characteristics, max_dun_bytes) == 2, "dun_bytes");
_Static_assert(offsetof(struct virtio_blk_inline_characteristics, key_types) == 3, "key_types");
_Static_assert(offsetof(struct virtio_blk_inline_characteristics, unused3) == 4, "unused3");
_Static_assert(sizeof(struct virtio_blk_inline_characteristics) == 8, "inline_characteristics");

/* Follows struct virtio_blk_header in CRYPTO_OUT and CRYPTO_IN. */
struct virtio_blk_crypto_msg {
    uint32_t slot;
    uint8_t unused[4];
    uint64_t dun[4]; /* least significant first */
};

_Static_assert(offsetof(struct virtio_blk_crypto_msg, unused) == 4, "unused");
_Static_assert(offsetof(struct virtio_blk_crypto_msg, dun) == 8, "dun");
_Static_assert(sizeof(struct virtio_blk_crypto_msg) == 40, "virtio_blk_crypto_msg");

/* Body of KEYSLOT_PROGRAM. */
struct virtio_blk_keyslot_program {
    uint32_t slot;
    uint8_t key[ICE_KEY_FIELD];
    uint32_t key_size; /* bytes */
    uint32_t crypto_mode;
    uint32_t key_type;            /* ICE_KEY_TYPE_* */
    uint32_t data_unit_size_bits; /* log2 of bytes */
    uint32_t dun_bytes;
};

_Static_assert(offsetof(struct virtio_blk_keyslot_program, key) == 4, "key");
_Static_assert(offsetof(struct virtio_blk_keyslot_program, key_size) == 132, "key_size");
_Static_assert(offsetof(struct virtio_blk_keyslot_program, crypto_mode) == 136, "crypto_mode");
_Static_assert(offsetof(struct virtio_blk_keyslot_program, key_type) == 140, "key_type");
_Static_assert(offsetof(struct virtio_blk_keyslot_program, data_unit_size_bits) == 144, "bits");
_Static_assert(offsetof(struct virtio_blk_keyslot_program, dun_bytes) == 148, "dun_bytes");
_Static_assert(sizeof(struct virtio_blk_keyslot_program) == 152, "virtio_blk_keyslot_program");

/* Body of KEYSLOT_EVICT. */
struct virtio_blk_keyslot_evict {
    uint32_t slot;
};

#endif
