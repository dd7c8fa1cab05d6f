/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The algorithms an inline engine may have: what people call them, what the wire calls them
 * (virtio_blk_crypto_cap, the numbers of UFSHCI and eMMC), and how long their key is.
 */
#ifndef ICESIM_BASE_ALGORITHM_H
#define ICESIM_BASE_ALGORITHM_H

#include <stdbool.h>
#include <stdint.h>

enum alg_id {
    ALG_AES_XTS = 0,
    ALG_BITLOCKER_AES_CBC = 1,
    ALG_AES_ECB = 2,
    ALG_ESSIV_AES_CBC = 3,
};

/* The strength of each AES key, not the length of the key blob: XTS-256 takes 64 bytes. */
enum key_size_id {
    KEY_SIZE_INVALID = 0,
    KEY_SIZE_128 = 1,
    KEY_SIZE_192 = 2,
    KEY_SIZE_256 = 3,
};

#define ALGORITHM_COUNT 11
#define KEY_BYTES_MAX   64 /* the longest raw key */

struct algorithm {
    const char *name; /* as --alg takes it: "aes-256-xts" */
    uint8_t alg;      /* enum alg_id */
    uint8_t key_size; /* enum key_size_id */
    uint16_t key_bytes;
};

/* Ordered by alg, then key_size. */
extern const struct algorithm algorithms[ALGORITHM_COUNT];

/* NULL when there is none. */
const struct algorithm *algorithm_by_name(const char *name);
const struct algorithm *algorithm_by_id(unsigned alg, unsigned key_size);

/* Whether a hardware-wrapped key can be one of it: of aes-256-xts alone. */
bool algorithm_takes_wrapped(unsigned alg, unsigned key_size);

#endif
