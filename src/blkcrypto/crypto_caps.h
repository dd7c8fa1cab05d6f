/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an engine, or a device over several, can do with keys. Plain values: who shares them locks
 * them.
 */
#ifndef ICESIM_BLKCRYPTO_CRYPTO_CAPS_H
#define ICESIM_BLKCRYPTO_CRYPTO_CAPS_H

#include "key.h"

struct crypto_caps {
    uint32_t units[ALGORITHM_COUNT]; /* as algorithms[]: the sum of the data unit sizes, in bytes */
    unsigned dun_bytes;              /* the widest DUN */
    unsigned key_types;              /* the sum of ICE_KEY_TYPE_* */
};

/* Whether keys used so are served. 0, or -EOPNOTSUPP with the first reason against it. */
int crypto_caps_support(const struct crypto_caps *caps, const struct crypto_config *config,
                        struct ice_why *why);

/* Leaves in `caps` what `child` can do as well; of no child (NULL), nothing. */
void crypto_caps_intersect(struct crypto_caps *caps, const struct crypto_caps *child);

/* Whether `caps` can do all that `reference` can. */
bool crypto_caps_include(const struct crypto_caps *caps, const struct crypto_caps *reference);

#endif
