/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the host's owner may ask: each message has a map with text keys and is answered with a
 * document, which icectl prints as JSON. No socket is known here.
 */
#ifndef ICESIM_ICESIM_CONTROL_H
#define ICESIM_ICESIM_CONTROL_H

#include "frame/frame.h"
#include "host.h"

bool control_knows(uint64_t message);

/* True when it may wait for requests in flight, so no thread of the pool should run it. */
bool control_waits(uint64_t message);

/*
 * Runs a known message. `args` stands at its map, which ends the frame, in secret memory. Appends
 * the answer to `result`. 0 or -errno: -EPROTO for a value of another type; -EINVAL for keys that
 * are unknown, given twice or missing; -ENOENT for a function; -EPERM: a slot that the secure
 * monitor does not give to the function; what the work itself says.
 */
int control_run(struct host *host, uint64_t message, struct reader *args, struct document *result,
                struct ice_why *why);

/* The answer to SLOT_LIST: every slot of the function. */
void control_slot_list(const struct host_function *function, struct document *result);

#endif
