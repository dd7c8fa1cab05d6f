/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of this folder share of libgcrypt. Private to this folder. */
#ifndef ICESIM_CIPHER_LIBRARY_H
#define ICESIM_CIPHER_LIBRARY_H

#include "base/why.h"
#include <gcrypt.h>
#include <stdint.h>

#define SHA256_BYTES 32

/* SHA-256 of the parts, of which nothing stays behind on the stack. */
void library_sha256(const gcry_buffer_t *parts, int n, uint8_t digest[static SHA256_BYTES]);

/* The negative errno for an error of the library, with a clause that begins with `what`. */
int library_error(gcry_error_t error, const char *what, struct ice_why *why);

#endif
