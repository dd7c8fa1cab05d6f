/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The runtime folder, where the sockets are, and the process id file. A lock in the folder tells a
 * live icesim from the leftovers of a killed one; it ends with the process, however that ends.
 */
#ifndef ICESIM_ICESIM_RUNTIME_H
#define ICESIM_ICESIM_RUNTIME_H

#include "base/why.h"
#include <stdbool.h>

struct runtime {
    char *dir; /* absolute */
    char *lock_path;
    int lock;  /* -1: none */
    bool made; /* the folder is ours to remove: made by us, or by a killed one */
};

/*
 * Makes `dir` (NULL: $XDG_RUNTIME_DIR/icesim, or /run/icesim for root) with mode 0700 if it is
 * missing, locks it, and removes the sockets of a killed one. 0 or -errno: -EBUSY when another
 * icesim serves there.
 */
int runtime_open(struct runtime *runtime, const char *dir, struct ice_why *why);

/* Removes the lock, and the folder if it is ours and empty. */
void runtime_close(struct runtime *runtime);

/*
 * Raises the soft limit of open descriptors to what so many functions and connections need, or as
 * far as it goes. Returns how many more there should be.
 */
unsigned long runtime_raise_descriptors(unsigned functions, unsigned connections);

/* Writes this process's id to `path`, all at once. 0 or -errno. */
int pidfile_write(const char *path, struct ice_why *why);

#endif
