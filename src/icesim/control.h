/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the host's owner may ask: each message has a map with text keys and is answered with a
 * document, which icectl prints as JSON. No socket is known here.
 */
#ifndef ICESIM_ICESIM_CONTROL_H
#define ICESIM_ICESIM_CONTROL_H

#include "frame/frame.h"
#include "host.h"

struct back_ends;
struct views;

/* What the messages act on. */
struct control {
    struct host *host;
    struct views *views;
    struct back_ends *back_ends; /* NULL: there are none */
};

bool control_knows(uint64_t message);

/* What a message may wait for. */
enum control_wait {
    CONTROL_NO_WAIT,
    CONTROL_WAITS_REQUESTS, /* that are in flight: no thread of the socket should run it */
    CONTROL_WAITS_USERS,    /* until they close a file: nor should one that others wait for */
};

enum control_wait control_waits(uint64_t message);

/*
 * Runs a known message. `args` stands at its map, which ends the frame, in secret memory. Appends
 * the answer to `result`. 0 or -errno: -EPROTO for a value of another type; -EINVAL for keys that
 * are unknown, given twice or missing; -ENOENT for a function; -EPERM: a slot that the secure
 * monitor does not give to the function; what the work itself says.
 */
int control_run(const struct control *control, uint64_t message, struct reader *args,
                struct document *result, struct ice_why *why);

/* The answer to SLOT_LIST: every slot of the function. */
void control_slot_list(const struct host_function *function, struct document *result);

/* The answer to VIEW_LIST: every view of the function or layer. 0 or -ENOENT. */
int control_views_of(struct views *views, const char *function, struct document *result,
                     struct ice_why *why);

#endif
