/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The same ciphertext without the engine: a disk over another that serves the keys which that one
 * does not, with ciphers in this process. Writes are encrypted whole into a bounce buffer of the
 * thread, reads decrypted in place once they are done; what is below sees plain requests. Its
 * keyslots are shared with other fallbacks, so that all their keys have as many contexts in locked
 * memory as there are slots, and no more; a slot is blanked when its key is evicted. A request
 * holds one until it has ended, so that a key in use is busy.
 *
 * It serves raw keys alone, as only the engine can unwrap others, and opens none that the cipher
 * refuses (-EINVAL: the halves of an XTS key are equal). Its `caps` are those of the disk below, or
 * none with FALLBACK_FORCE.
 */
#ifndef ICESIM_BLKCRYPTO_FALLBACK_H
#define ICESIM_BLKCRYPTO_FALLBACK_H

#include "disk.h"

#define FALLBACK_SLOTS 100u /* as Linux has them */

enum fallback_policy {
    FALLBACK_AUTO,   /* natively where the disk below can, else here: raw keys only */
    FALLBACK_FORBID, /* natively, or refused with the reason */
    FALLBACK_FORCE,  /* here, whatever the disk below can */
};

struct fallback_slots;

/* Keyslots for any number of fallbacks. `bitlocker_iv_from_dun` as the engine's. NULL: no memory.
 */
struct fallback_slots *fallback_slots_new(bool bitlocker_iv_from_dun);
void fallback_slots_free(struct fallback_slots *slots); /* no key is open; NULL is allowed */

/* `below` and `slots` outlive it. 0 or -ENOMEM. */
int fallback_open(struct disk *below, struct fallback_slots *slots, enum fallback_policy policy,
                  struct disk **disk, struct ice_why *why);

#endif
