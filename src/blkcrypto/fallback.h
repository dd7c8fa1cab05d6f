/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The same ciphertext without the engine: a disk over another that serves the keys which that one
 * does not, with ciphers in this process. Writes are encrypted whole into a bounce buffer of the
 * thread, reads decrypted in place once they are done; what is below sees plain requests. It has
 * keyslots of its own, under a profile of its own, blanked when a key is evicted; a request holds
 * one until it has ended, so that a key in use is busy.
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

/* `below` outlives it. `bitlocker_iv_from_dun` as the engine's. 0 or -ENOMEM. */
int fallback_open(struct disk *below, enum fallback_policy policy, bool bitlocker_iv_from_dun,
                  struct disk **disk, struct ice_why *why);

#endif
