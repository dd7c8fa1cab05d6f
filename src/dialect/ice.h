/* SPDX-License-Identifier: BSD-2-Clause */
/* What ice1 and ice2 share: they part in how capabilities are found out, and in nothing else. */
#ifndef ICESIM_DIALECT_ICE_H
#define ICESIM_DIALECT_ICE_H

#include "blk.h"
#include "virtio/ice.h"
#include "virtio/virtio.h"

#define ICE_FEATURE  VIRTIO_FEATURE(VIRTIO_BLK_F_ICE)
#define ICE_DUN_BITS 64

extern const struct feature_need ice_needs[];

/*
 * See struct dialect. These know GET_CRYPTO_CAPABILITIES, which ice1 turns away before. ice_build
 * leaves can_send to its caller.
 */
size_t ice_head_length(const struct wire *wire, uint32_t type);
uint8_t ice_parse(const struct wire *wire, const uint8_t *head, struct command *command,
                  struct ice_why *why);
size_t ice_build(uint64_t negotiated, const struct command *command, uint8_t *head);
int ice_can_send(uint64_t negotiated, const struct command *command, struct ice_why *why);
bool ice_on_control_queue(enum command_kind kind);

/* Configuration space up to slot_info, which stands there if ICE is offered: true. */
bool ice_build_config(const struct function_config *config,
                      uint8_t space[static DIALECT_CONFIG_MAX]);
/* `whole` is `space` with zeros behind it. */
bool ice_parse_config(uint64_t offered, const uint8_t *space, size_t len,
                      uint8_t whole[static DIALECT_CONFIG_MAX], struct function_config *config);

#endif
