/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One physical keyslot: an atomic word that says what it is, and the cipher contexts of its key.
 *
 * The word: bit 0 programmed, bit 1 owned by a key operation, bit 2 closing (new references are
 * refused, those in flight end), bits 3..23 references in flight, bits 24..63 program count.
 * References come and go by compare-and-swap. A key operation holds `lock`, and sets OWNED only
 * while nothing is in flight; what stands below `lock` changes only then, so that whoever has a
 * reference, or `lock`, may read it.
 */
#ifndef ICESIM_ENGINE_SLOT_H
#define ICESIM_ENGINE_SLOT_H

#include "cipher/pool.h"
#include "engine.h"
#include <pthread.h>
#include <stdatomic.h>

struct slot {
    _Atomic uint64_t word;
    pthread_mutex_t lock;
    pthread_cond_t idle; /* nothing is in flight, or may be: for who set CLOSING */

    uint64_t owner;
    const struct algorithm *algorithm;
    bool wrapped; /* the key came as a wrapped one */
    struct slot_key key;
    char claimer_name[CLAIMER_NAME_BYTES];
    struct cipher_pool pool;
};

/* What a slot is programmed with. */
struct slot_load {
    struct cipher_params params;
    const uint8_t *key; /* as the cipher gets it, in secret memory */
    bool wrapped;       /* it came as a wrapped one */
    struct slot_owner owner;
};

void slot_init(struct slot *slot);
void slot_destroy(struct slot *slot);

/* The engine.h functions of the same name, for one slot. */
int slot_program(struct slot *slot, const struct slot_load *load, struct slot_key *now,
                 struct ice_why *why);
int slot_evict(struct slot *slot, const struct slot_owner *by, struct slot_key *was,
               struct ice_why *why);
void slot_clear(struct slot *slot, uint64_t owner, bool claimed_only);
void slot_describe(struct slot *slot, struct slot_info *info);
int slot_get(struct slot *slot, uint64_t expect, struct slot_key *key);
void slot_put(struct slot *slot);

#endif
