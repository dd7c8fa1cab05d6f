/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Descriptors that a service manager opened and handed over: the protocol of sd_listen_fds(3),
 * LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES.
 */
#ifndef ICESIM_ICESIM_ACTIVATION_H
#define ICESIM_ICESIM_ACTIVATION_H

#include "base/why.h"

/*
 * Calls `each` for every one, with its name or NULL if there are no names, and its number among
 * them, until it does not return 0. Takes the variables out of the environment. 0 or -errno:
 * -EINVAL: what is in the variables is not the protocol's; what `each` says.
 */
int activation_each(int (*each)(void *user, unsigned index, const char *name, int fd,
                                struct ice_why *why),
                    void *user, struct ice_why *why);

#endif
