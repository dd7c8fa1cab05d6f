/* SPDX-License-Identifier: BSD-2-Clause */
/* Listening UNIX sockets with a name in the file system. */
#ifndef ICESIM_ICESIM_SOCKET_PATH_H
#define ICESIM_ICESIM_SOCKET_PATH_H

#include "base/why.h"

#define SOCKET_PATH_MAX 107u /* bytes: sun_path holds them and a terminator */

/*
 * A stream socket that listens at `path`, mode 0600, not blocking. A name that nobody serves any
 * more, a killed process's, is replaced. A descriptor, or -errno: -ENAMETOOLONG; -EADDRINUSE:
 * somebody listens there; -EEXIST: what is there is not a socket.
 */
int socket_listen(const char *path, struct ice_why *why);

#endif
