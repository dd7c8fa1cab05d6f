/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The ciphers of an inline engine: data units, each encrypted alone, at a data unit number.
 *
 * IV of unit n (fact: IEEE 1619; dm-crypt's essiv and eboiv):
 *   XTS        tweak = n, 128 bits little-endian
 *   ESSIV      AES-256-Encrypt(SHA-256(key), n as 128 bits little-endian)
 *   BitLocker  AES-Encrypt(key, n x data unit bytes as 128 bits little-endian), or of n itself
 *   ECB        none
 * The 128 bits are the low ones; the device keeps DUNs within cipher_iv_bits.
 */
#ifndef ICESIM_CIPHER_CIPHER_H
#define ICESIM_CIPHER_CIPHER_H

#include "base/algorithm.h"
#include "base/dun.h"
#include "base/why.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Once per process, before any other call and before any thread: puts all memory of libgcrypt into
 * secret memory. 0, -ENOTSUP (too old a libgcrypt, or FIPS mode, where it ignores the request), or
 * another -errno.
 */
int cipher_init(struct ice_why *why);

/* A key made ready. One thread at a time; lives in secret memory. */
struct cipher;

struct cipher_params {
    const struct algorithm *algorithm;
    uint32_t data_unit;         /* bytes: a power of two, 512..65536 */
    bool bitlocker_iv_from_dun; /* IV of n itself, not of n x data unit bytes */
};

/* Of `key`, algorithm->key_bytes bytes: the halves of XTS must differ (FIPS 140 IG). 0 or -EINVAL.
 */
int cipher_check_key(const struct algorithm *algorithm, const uint8_t *key, struct ice_why *why);

/*
 * Checks `key` and makes a context. The key bytes are not kept but as expanded by the cipher. 0,
 * -EINVAL (weak key), -ENOMEM.
 */
int cipher_open(const struct cipher_params *params, const uint8_t *key, struct cipher **cipher,
                struct ice_why *why);

/* Wipes and frees; NULL is allowed. */
void cipher_close(struct cipher *cipher);

/*
 * Encrypts or decrypts `len` bytes, a multiple of the data unit, the first unit at `dun`. `from`
 * and `to` are the same or do not overlap; any alignment. 0, or -EIO when the library failed.
 */
int cipher_encrypt(struct cipher *cipher, struct dun dun, const void *from, void *to, size_t len);
int cipher_decrypt(struct cipher *cipher, struct dun dun, const void *from, void *to, size_t len);

/*
 * The widest DUN that the IV tells apart: 128 bits, and for BitLocker's byte offsets log2 of the
 * data unit less. ECB, which has no IV, counts as 128.
 */
unsigned cipher_iv_bits(const struct cipher_params *params);

#define FINGERPRINT_BYTES 8

/*
 * What people may see of a key: the first 8 bytes of SHA-256("icesim key" || 0 || key), the key as
 * the cipher gets it.
 */
void cipher_fingerprint(const uint8_t *key, size_t len,
                        uint8_t fingerprint[static FINGERPRINT_BYTES]);

#endif
