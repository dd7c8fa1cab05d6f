/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every dialect takes from virtio-blk as it is: the request types of the standard, and
 * the configuration space up to the byte where the dialects part.
 */
#ifndef ICESIM_DIALECT_BLK_H
#define ICESIM_DIALECT_BLK_H

#include "dialect.h"

struct request_type {
    uint32_t type;
    enum command_kind kind;
    uint8_t feature;  /* the bit that must have been negotiated; FEATURE_NONE: none */
    uint16_t body;    /* bytes that stand between the header and the data */
    const char *name; /* as the standard or the draft spells it */
};

#define FEATURE_NONE 255

/* The entry of `type` in the standard's table; NULL when the standard has none. */
const struct request_type *blk_request_type(uint32_t type);

/* The type of a kind that the standard defines. */
uint32_t blk_type_of(enum command_kind kind);

/* The first 96 bytes of the configuration space, each field where its feature is offered. */
void blk_build_config(const struct function_config *config, uint8_t *space);
void blk_parse_config(uint64_t offered, const uint8_t *space, struct function_config *config);

#endif
