/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A key as users of inline crypto name it, before any slot has it: its bytes and how they will be
 * used. And the context of one request: a key and the first data unit number.
 *
 * Nothing here is locked: a key does not change between crypto_key_init and crypto_key_wipe.
 */
#ifndef ICESIM_BLKCRYPTO_KEY_H
#define ICESIM_BLKCRYPTO_KEY_H

#include "base/algorithm.h"
#include "base/dun.h"
#include "base/why.h"
#include "cipher/cipher.h"
#include "virtio/ice.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WRAPPED_KEY_MIN 32 /* bytes: the strength of aes-256-xts, the one that they program */
#define DUN_BYTES_MAX   32 /* of any key on any engine */

/* How a key is used: all but its bytes. */
struct crypto_config {
    const struct algorithm *algorithm;
    uint32_t data_unit; /* bytes */
    unsigned dun_bytes; /* the user promises DUNs of no more */
    unsigned key_type;  /* ICE_KEY_TYPE_RAW, or _WRAPPED */
};

struct crypto_key {
    struct crypto_config config;
    unsigned len;
    const uint8_t *bytes; /* in secret memory of its own: the raw key, or the wrapped blob */
};

/*
 * Copies both. 0, -EINVAL (no algorithm, all that Linux's blk_crypto_init_key refuses, and a
 * wrapped key for another than aes-256-xts), -ENOMEM. On error there is nothing to wipe.
 */
int crypto_key_init(struct crypto_key *key, const struct crypto_config *config,
                    const uint8_t *bytes, size_t len, struct ice_why *why);

/* Wipes and frees the bytes. Evict the key from every profile first. */
void crypto_key_wipe(struct crypto_key *key);

/* Fills `fingerprint` and returns true; false for a wrapped key, whose inline key is not known. */
bool crypto_key_fingerprint(const struct crypto_key *key,
                            uint8_t fingerprint[static FINGERPRINT_BYTES]);

/* A key and the number of the first data unit; no key: the data goes as it is. */
struct crypto_context {
    const struct crypto_key *key;
    struct dun dun;
};

/*
 * Whether a request of `len` bytes may run with `context`, which has a key: whole data units, at
 * least one, and the first and the last DUN within dun_bytes and within what the IV tells apart.
 * 0 or -EINVAL. Nothing is ever truncated.
 */
int crypto_context_check(const struct crypto_context *context, uint64_t len, struct ice_why *why);

/*
 * Moves `context` on by `len` bytes, whole data units of a request that was checked: what follows
 * a part that was split off.
 */
void crypto_context_advance(struct crypto_context *context, uint64_t len);

/*
 * Whether `next` may join, as one request, the `len` bytes of `context` that it follows: both
 * without a key, or the same key (not an equal one) and contiguous DUNs.
 */
bool crypto_context_mergeable(const struct crypto_context *context, uint64_t len,
                              const struct crypto_context *next);

#endif
