/* SPDX-License-Identifier: BSD-2-Clause */
/* Key bytes in the body of a request: the field that all dialects have, and the blob around it. */
#ifndef ICESIM_DIALECT_KEY_BODY_H
#define ICESIM_DIALECT_KEY_BODY_H

#include "dialect.h"

/*
 * Sets key.len and key.bytes from a field of ICE_KEY_FIELD bytes of which `len` are said to be the
 * key; returns the status.
 */
uint8_t parse_key_field(uint32_t len, const uint8_t *field, struct command *command,
                        struct ice_why *why);
void build_key_field(const uint8_t *key, size_t len, uint8_t *field);

/* The same of a blob, which key_blob_store builds. */
uint8_t parse_key_blob(const uint8_t *body, struct command *command, struct ice_why *why);

/* Why a key that is longer than its field cannot be sent; 0 when it can. */
int check_key_length(const struct command_key *key, struct ice_why *why);

#endif
