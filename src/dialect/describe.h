/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A function as its driver sees it, as JSON: `icectl --json info`, `icectl --json caps` and
 * status.json are made here, and nowhere else.
 */
#ifndef ICESIM_DIALECT_DESCRIBE_H
#define ICESIM_DIALECT_DESCRIBE_H

#include "base/json.h"
#include "dialect.h"

/* What a driver can learn. `capabilities` as the device answered. */
struct description {
    const char *function;
    const struct dialect *dialect;
    uint64_t offered, negotiated;
    uint8_t status;
    struct function_config config;
    const struct capability *capabilities;
    unsigned capability_count;
};

/* The name of a feature bit in a dialect ("VIRTIO_BLK_F_ICE"), or NULL. */
const char *feature_name(const struct dialect *dialect, unsigned bit);

/* One object under `key`: the function's features, config and algorithms. */
void describe_info(struct json *json, const char *key, const struct description *description);

/* An array under `key`: one object per algorithm with its data unit sizes, in the order of the
 * reply. */
void describe_capabilities(struct json *json, const char *key,
                           const struct capability *capabilities, unsigned count);

#endif
