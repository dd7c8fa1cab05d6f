/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The disk over a channel in the process: a profile whose slots are the function's, or, for a
 * function that takes keys inline, a passthrough profile. Without inline crypto its capabilities
 * are empty. It programs slots with claiming requests (struct ice_request), so that they are its
 * own, and gives up those that somebody programs directly until they are empty again. While none is
 * left, requests are refused with -EBUSY, those that wait for one already, too.
 *
 * After an engine reset (native_generation) its keys are programmed again, the generation is
 * acknowledged, and requests that were refused with ESTALE are repeated. When its function or its
 * driver was reset by the host (ENOKEY, EPROTO), keys that are lost are programmed again, and what
 * was refused for that is repeated too. Nothing else is.
 */
#ifndef ICESIM_BLKCRYPTO_NATIVE_H
#define ICESIM_BLKCRYPTO_NATIVE_H

#include "dialect/channel.h"
#include "disk.h"

/*
 * The channel outlives the disk and is used by nobody else; it has acknowledge and slot_programmed.
 * A disk with inline crypto has a thread, which sleeps but after resets. 0 or -errno.
 */
int native_open(struct channel *channel, struct disk **disk, struct ice_why *why);

/* The engine has a new generation. From any thread, also within a call of the channel; does not
 * wait. */
void native_generation(struct disk *disk, uint64_t generation);

/*
 * Before the end: resets are heard of no more, and requests that wait for a slot, or come for one,
 * are refused with -ECANCELED. What runs goes on; keys can be evicted.
 */
void native_cut_off(struct disk *disk);

/* For people: the slots as the wire numbers them. False past the last. */
bool native_slot(struct disk *disk, uint32_t index, uint32_t *wire_slot,
                 struct profile_slot_info *info);

#endif
