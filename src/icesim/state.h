/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The device's memory over restarts: the secret that wrapped keys hang on, and the boot counter. A
 * file of STATE_FILE_BYTES, mode 0600. One thread at a time.
 */
#ifndef ICESIM_ICESIM_STATE_H
#define ICESIM_ICESIM_STATE_H

#include "base/why.h"
#include <stdint.h>

#define STATE_FILE_BYTES 1024

struct state {
    int fd;          /* holds the lock */
    uint8_t *secret; /* ENGINE_SECRET_BYTES in secret memory */
    uint64_t boot;   /* of this start: above that of every earlier one */
};

/*
 * Opens the state file, or makes one with a new random secret, and raises its boot counter: that is
 * on stable storage when this returns. Until state_close nobody else can open it, nor as an image.
 * 0; -EBUSY: somebody has it, as either; -EPERM: it is another user's, or open to others; -EINVAL:
 * no state file, cut, or garbled (it stays as it is); -ENOMEM; what the file system says.
 */
int state_open(const char *path, struct state *state, struct ice_why *why);

/* Wipes the secret, lets go of the file. Of a zeroed struct it does nothing. */
void state_close(struct state *state);

#endif
