/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of this folder share of the engine. Private to this folder. */
#ifndef ICESIM_ENGINE_INTERNAL_H
#define ICESIM_ENGINE_INTERNAL_H

#include "engine.h"
#include "slot.h"

struct engine {
    unsigned slot_count;
    unsigned contexts_per_slot;
    _Atomic uint64_t generation;
    /* As set before the engine is used; then only read. */
    bool bitlocker_iv_from_dun;
    uint8_t *secret; /* in secret memory */
    uint64_t boot;
    struct slot slots[];
};

/*
 * The inline key of the ephemeral wrapped key in `key`, into a block for secret_free. 0; -EINVAL,
 * -EBADMSG, -ENOMEM as engine_program says.
 */
int engine_unwrap(const struct engine *engine, const struct engine_key *key, uint8_t **inline_key,
                  struct ice_why *why);

#endif
