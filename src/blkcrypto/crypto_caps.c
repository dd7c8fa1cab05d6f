/* SPDX-License-Identifier: BSD-2-Clause */
/* A size is its own bit in the mask, as sizes are powers of two. */
#include "crypto_caps.h"
#include <errno.h>

int crypto_caps_support(const struct crypto_caps *caps, const struct crypto_config *config,
                        struct ice_why *why)
{
    uint32_t units = caps->units[config->algorithm - algorithms];

    if (!caps->key_types)
        return why_set(why, EOPNOTSUPP, "the device has no inline crypto");
    if (!units)
        return why_set(why, EOPNOTSUPP, "%s is not supported", config->algorithm->name);
    if (!(units & config->data_unit))
        return why_set(why, EOPNOTSUPP, "%s is not supported with data units of %u bytes",
                       config->algorithm->name, config->data_unit);
    if (config->dun_bytes > caps->dun_bytes)
        return why_set(why, EOPNOTSUPP, "DUNs of %u bytes are not supported, at most %u",
                       config->dun_bytes, caps->dun_bytes);
    if (!(config->key_type & caps->key_types))
        return why_set(why, EOPNOTSUPP, "%s keys are not supported",
                       config->key_type == ICE_KEY_TYPE_RAW ? "raw" : "wrapped");
    return 0;
}

void crypto_caps_intersect(struct crypto_caps *caps, const struct crypto_caps *child)
{
    static const struct crypto_caps none;

    if (!child)
        child = &none;
    for (unsigned i = 0; i < ALGORITHM_COUNT; i++)
        caps->units[i] &= child->units[i];
    if (child->dun_bytes < caps->dun_bytes)
        caps->dun_bytes = child->dun_bytes;
    caps->key_types &= child->key_types;
}

bool crypto_caps_include(const struct crypto_caps *caps, const struct crypto_caps *reference)
{
    for (unsigned i = 0; i < ALGORITHM_COUNT; i++) {
        if (reference->units[i] & ~caps->units[i])
            return false;
    }
    return reference->dun_bytes <= caps->dun_bytes && !(reference->key_types & ~caps->key_types);
}
