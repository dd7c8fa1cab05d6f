/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every dialect takes from virtio-blk as it is: the request types of the standard, the 16-byte
 * header, and the configuration space up to the byte where the dialects part.
 */
#ifndef ICESIM_DIALECT_BLK_H
#define ICESIM_DIALECT_BLK_H

#include "base/algorithm.h"
#include "base/units.h"
#include "dialect.h"

struct request_type {
    uint32_t type;
    enum command_kind kind;
    uint16_t body;    /* bytes that stand between the header and the data */
    uint64_t needs;   /* features that must have been negotiated */
    const char *name; /* as the standard or the draft spells it */
};

/* The entry of `type`, of `kind`, in a table; NULL when there is none. */
const struct request_type *find_type(const struct request_type *table, size_t n, uint32_t type);
const struct request_type *find_kind(const struct request_type *table, size_t n,
                                     enum command_kind kind);

/* The same in the standard's table. */
const struct request_type *blk_find_type(uint32_t type);
const struct request_type *blk_find_kind(enum command_kind kind);

static inline bool is_negotiated(const struct request_type *type, uint64_t features)
{
    return (features & type->needs) == type->needs;
}

/*
 * Starts `command` from the header: kind, type, and the sector of READ and WRITE. Refuses a type
 * that is not negotiated; returns the status.
 */
uint8_t blk_parse_header(const struct request_type *type, uint64_t features, const uint8_t *head,
                         struct command *command, struct ice_why *why);
size_t blk_build_header(uint32_t type, uint64_t sector, uint8_t *head);

/* Notes a tolerated rule, unless one is noted already. */
static inline void note(struct command *command, enum rule rule)
{
    if (!command->broken)
        command->broken = rule;
}

/* The first 96 bytes of the configuration space, each field where its feature is offered. */
void blk_build_config(const struct function_config *config, uint8_t *space);
void blk_parse_config(uint64_t offered, const uint8_t *space, struct function_config *config);

/*
 * Checks and lists that are the same in several dialects. blk_check_capabilities: known algorithms,
 * data units that are powers of two within DATA_UNIT_MIN and DATA_UNIT_MAX.
 * blk_list_capability: adds an algorithm with each size of a sum of data unit sizes to `list` of
 * `count` entries, as far as there is room; returns how many there are then.
 */
int blk_check_capabilities(const struct capability *capabilities, unsigned count,
                           struct ice_why *why);
unsigned blk_list_capability(const struct algorithm *algorithm, uint64_t data_units,
                             struct capability list[static CAPABILITIES_MAX], unsigned count);

/* All data unit sizes, as a sum. */
#define DATA_UNITS_ALL (2 * DATA_UNIT_MAX - DATA_UNIT_MIN)

#endif
