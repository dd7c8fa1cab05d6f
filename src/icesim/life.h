/* SPDX-License-Identifier: BSD-2-Clause */
/* The life of one icesim, from its options to its exit status. */
#ifndef ICESIM_ICESIM_LIFE_H
#define ICESIM_ICESIM_LIFE_H

#include "options.h"
#include <sys/types.h>

/*
 * Starts everything, serves until a signal or the end of --run's command, stops, leaves nothing
 * behind. `umask` is what the command of --run shall have. Call once, with one thread. Returns the
 * exit status; what went wrong has been printed.
 */
int life_run(const struct options *options, mode_t umask);

#endif
