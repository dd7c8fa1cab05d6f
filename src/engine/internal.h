/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of this folder share of the engine. Private to this folder. */
#ifndef ICESIM_ENGINE_INTERNAL_H
#define ICESIM_ENGINE_INTERNAL_H

#include "engine.h"
#include "slot.h"

struct engine {
    unsigned slot_count;
    _Atomic uint64_t generation;
    /* As set before the engine is used; then only read. */
    bool bitlocker_iv_from_dun;
    uint8_t *secret; /* in secret memory */
    uint64_t boot;
    _Atomic(struct inline_keys *) inline_keys; /* NULL: none are taken */
    struct slot slots[];
};

/* What `key` programs a slot with, for slot_program; `unwrapped` is for secret_free afterwards. 0
 * or what engine_unwrap says. */
int engine_load(const struct engine *engine, const struct engine_key *key,
                const struct slot_owner *owner, struct slot_load *load, uint8_t **unwrapped,
                struct ice_why *why);

/* inline_keys.c. The slot of a number; put: ends a reference to one. NULL is freed too. */
struct slot *inline_slot(struct inline_keys *keys, unsigned n);
void inline_put(struct inline_keys *keys, unsigned n);
void inline_keys_free(struct inline_keys *keys);

/*
 * The inline key of the ephemeral wrapped key in `key`, into a block for secret_free. 0; -EINVAL,
 * -EBADMSG, -ENOMEM as engine_program says.
 */
int engine_unwrap(const struct engine *engine, const struct engine_key *key, uint8_t **inline_key,
                  struct ice_why *why);

#endif
