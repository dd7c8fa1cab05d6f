/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A channel to a function in the same process: an attachment of its own, negotiated and at
 * DRIVER_OK. A new engine generation is acknowledged, and a device reset by the host followed by a
 * new negotiation, before the next request; requests that were on their way are refused.
 */
#ifndef ICESIM_ICESIM_INPROC_H
#define ICESIM_ICESIM_INPROC_H

#include "device/device.h"
#include "dialect/channel.h"

struct inproc;

/* 0 or -errno: features that the function does not accept, no memory. */
int inproc_open(struct ice_function *function, struct inproc **inproc, struct ice_why *why);

/* Waits for its requests; NULL is allowed. */
void inproc_close(struct inproc *inproc);

struct channel *inproc_channel(struct inproc *inproc);
const struct ice_attachment *inproc_attachment(const struct inproc *inproc);

#endif
