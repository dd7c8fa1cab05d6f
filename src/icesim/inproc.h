/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A channel to a function in the same process: an attachment of its own, negotiated and at
 * DRIVER_OK. A new engine generation is acknowledged, and a device reset by the host followed by a
 * new negotiation, before the next request; requests that were on their way are refused. The
 * channel's capacity is the function's.
 */
#ifndef ICESIM_ICESIM_INPROC_H
#define ICESIM_ICESIM_INPROC_H

#include "blkcrypto/disk.h"
#include "device/device.h"
#include "dialect/channel.h"

struct inproc;

/* 0 or -errno: features that the function does not accept, no memory. */
int inproc_open(struct ice_function *function, struct inproc **inproc, struct ice_why *why);

/*
 * The same with a native disk over the channel, which alone uses it, is told of new engine
 * generations and acknowledges them. Slots that it programs are claimed by `claimer`
 * (attachment_set_name).
 */
int inproc_open_disk(struct ice_function *function, const char *claimer, struct inproc **inproc,
                     struct disk **disk, struct ice_why *why);

/* Closes its disk, if it has one, then waits for its requests; NULL is allowed. */
void inproc_close(struct inproc *inproc);

struct channel *inproc_channel(struct inproc *inproc);
const struct ice_attachment *inproc_attachment(const struct inproc *inproc);

#endif
