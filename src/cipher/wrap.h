/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hardware-wrapped keys: what is inside a blob, and what is derived from it. A blob is a master key
 * of 32 bytes under AES-256-GCM, with a key of its own for each form that comes from the device
 * secret and, for the ephemeral form, from the boot number.
 *
 * Derivation: NIST SP 800-108 in counter mode with AES-256-CMAC, the labels and contexts of the
 * Qualcomm engines as xfstests' fscrypt-crypt-util has them.
 *
 * All functions may be called from any thread.
 */
#ifndef ICESIM_CIPHER_WRAP_H
#define ICESIM_CIPHER_WRAP_H

#include "base/why.h"
#include <stddef.h>
#include <stdint.h>

#define WRAP_SECRET_BYTES 32
#define WRAP_MASTER_BYTES 32
#define WRAP_BLOB_BYTES   68 /* of every blob made here, and of no raw key */
#define INLINE_KEY_BYTES  64
#define SECRET_SW_BYTES   32

enum wrap_form { WRAP_LONG_TERM = 1, WRAP_EPHEMERAL = 2 };

/* `secret` and `master` in secret memory. 0, -ENOMEM, -EIO (the library failed). */
int wrap_seal(const uint8_t secret[static WRAP_SECRET_BYTES], enum wrap_form form, uint64_t boot,
              const uint8_t master[static WRAP_MASTER_BYTES], uint8_t blob[static WRAP_BLOB_BYTES],
              struct ice_why *why);

/* `master`, in secret memory, is filled on success alone. -EBADMSG for whatever wrap_seal did not
 * make with the same secret, form and (ephemeral) boot. */
int wrap_open(const uint8_t secret[static WRAP_SECRET_BYTES], enum wrap_form form, uint64_t boot,
              const uint8_t *blob, size_t len, uint8_t master[static WRAP_MASTER_BYTES],
              struct ice_why *why);

/* Results in secret memory. 0, -ENOMEM, -EIO. */
int wrap_derive_inline_key(const uint8_t master[static WRAP_MASTER_BYTES],
                           uint8_t key[static INLINE_KEY_BYTES], struct ice_why *why);
int wrap_derive_sw_secret(const uint8_t master[static WRAP_MASTER_BYTES],
                          uint8_t secret[static SECRET_SW_BYTES], struct ice_why *why);

#endif
