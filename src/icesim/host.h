/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What one icesim simulates: an engine, the media, and the functions over both, each with its
 * statistics. The owner's own function has the whole store, no slots and no socket: raw files
 * go through it.
 */
#ifndef ICESIM_ICESIM_HOST_H
#define ICESIM_ICESIM_HOST_H

#include "device/device.h"
#include "observe/stats.h"

#define HOST_FUNCTIONS_MAX 1u

struct host_function {
    struct ice_function *function;
    struct stats *stats;
    struct observer *observers[2]; /* the statistics, NULL */
};

struct host {
    struct store *store;
    struct engine *engine;
    struct host_function functions[HOST_FUNCTIONS_MAX];
    unsigned function_count;
    struct host_function owner; /* "host" */
};

/*
 * Fills `host` with an engine of `slots` slots (1..SLOTS_MAX) and the function `vm0` over all of
 * it and of `store`, which is the host's from now on, also when this fails. 0 or -errno.
 */
int host_open(struct host *host, struct store *store, unsigned slots, const struct dialect *dialect,
              struct ice_why *why);

/* All attachments are closed. Closes the store. */
void host_close(struct host *host);

/* NULL when there is none of that name. */
struct host_function *host_find(struct host *host, const char *name);

/* Engine reset, told to every function. Waits for requests in flight. Returns the new generation.
 */
uint64_t host_reset_engine(struct host *host);

#endif
