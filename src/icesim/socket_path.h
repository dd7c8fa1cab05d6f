/* SPDX-License-Identifier: BSD-2-Clause */
/* Listening UNIX sockets with a name in the file system. */
#ifndef ICESIM_ICESIM_SOCKET_PATH_H
#define ICESIM_ICESIM_SOCKET_PATH_H

#include "base/why.h"
#include <sys/types.h>

#define SOCKET_PATH_MAX 107u /* bytes: sun_path holds them and a terminator */

/*
 * A stream socket that listens at `path`, mode 0600, not blocking. A name that nobody serves any
 * more, a killed process's, is replaced. A descriptor, or -errno: -ENAMETOOLONG; -EADDRINUSE:
 * somebody listens there; -EEXIST: what is there is not a socket.
 */
int socket_listen(const char *path, struct ice_why *why);

/* The file that a name stands for: somebody else may put another one there. */
struct socket_file {
    dev_t device;
    ino_t inode;
};

/* To be asked right after socket_listen; removes the name if that is still its file. */
struct socket_file socket_file(const char *path);
void socket_unlink(const char *path, const struct socket_file *file);

/* Removes the name, if there is one and nobody serves it. 0, or -errno as of socket_listen. */
int socket_remove_leftover(const char *path, struct ice_why *why);

#endif
