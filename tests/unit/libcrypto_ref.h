/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The second implementation of the data unit ciphers and of the KDF of wrapped keys: OpenSSL's EVP,
 * and IV arithmetic of its own.
 * Shares nothing with src/ but the table of algorithms. For tests only.
 */
#ifndef ICESIM_TESTS_LIBCRYPTO_REF_H
#define ICESIM_TESTS_LIBCRYPTO_REF_H

#include "base/algorithm.h"
#include <stdbool.h>
#include <stddef.h>

/* What a data unit number is here: wide enough for the 128 bits of an XTS tweak. */
typedef unsigned __int128 ref_dun;

/*
 * Encrypts or decrypts `len` bytes, whole data units, from `from` to `to`. False when OpenSSL
 * refuses (XTS halves that are equal, say).
 */
bool libcrypto_ref(const struct algorithm *algorithm, size_t data_unit, ref_dun dun,
                   const unsigned char *key, bool encrypt, const unsigned char *from,
                   unsigned char *to, size_t len);

/*
 * SP 800-108 in counter mode, AES-256-CMAC with a key of 32 bytes: counter and length of 32 bits, a
 * zero byte behind the label.
 */
bool libcrypto_ref_kdf(const unsigned char *key, const unsigned char *label, size_t label_len,
                       const unsigned char *context, size_t context_len, unsigned char *out,
                       size_t len);

#endif
