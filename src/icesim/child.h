/* SPDX-License-Identifier: BSD-2-Clause */
/* The command of --run. */
#ifndef ICESIM_ICESIM_CHILD_H
#define ICESIM_ICESIM_CHILD_H

#include "base/why.h"
#include <stdbool.h>
#include <sys/types.h>

/*
 * Sets what the command finds: ICESIM_DIR, ICESIM_MOUNT (NULL: unset), and the folder of this
 * program first on PATH. While there is but one thread. 0 or -errno.
 */
int child_environment(const char *dir, const char *mount, struct ice_why *why);

/* Starts `sh -c command` with default signals and none of our descriptors. 0 or -errno. */
int child_start(const char *command, pid_t *pid, struct ice_why *why);

/* True when it has ended: `*status` is what it exits with, 128 + N after signal N. */
bool child_ended(pid_t pid, int *status);

#endif
