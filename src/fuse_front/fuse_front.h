/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The FUSE tree: raw, slot/N, status.json. What the files are is told by an operations struct; how
 * the kernel wants to hear it is this folder's knowledge.
 */
#ifndef ICESIM_FUSE_FRONT_FUSE_FRONT_H
#define ICESIM_FUSE_FRONT_FUSE_FRONT_H

#include "base/why.h"
#include "blkcrypto/byte_file.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Filled by icesim. All are called from many threads at once. */
struct fuse_front_ops {
    /* The media as stored; always there. */
    void (*raw_file)(void *user, struct byte_file *file);
    unsigned (*slot_count)(void *user);
    /* Slot `slot` as it is programmed now; false when it has no file (empty, or not direct). */
    bool (*slot_file)(void *user, unsigned slot, struct byte_file *file);
    /* The text of status.json, with its newline; the caller frees it. NULL: no memory. */
    char *(*status)(void *user);
};

struct fuse_front;

/*
 * Mounts on `mountpoint` (an existing empty folder, nobody's mount; the dead mount of a killed
 * icesim is replaced) and serves it with threads of its own. `allow_root` as in mount.fuse. The
 * mount works when this returns. 0 or -errno: mountpoint missing, not a folder, not empty, mounted;
 * FUSE missing. Sets a handler for SIGUSR2, which wakes its threads at the end.
 */
int fuse_front_start(const struct fuse_front_ops *ops, void *user, const char *mountpoint,
                     bool allow_root, struct fuse_front **front, struct ice_why *why);

/*
 * Takes the name away: no new opens; what is open goes on being served. Called once at most; a stop
 * does it otherwise.
 */
void fuse_front_detach(struct fuse_front *front);

/*
 * After detach: waits until nothing is open any more, at most `timeout_ms`, or until `stop_fd` (-1:
 * none) is readable. True when all is closed.
 */
bool fuse_front_wait_closed(struct fuse_front *front, int timeout_ms, int stop_fd);

/*
 * Calls `each` for every file that is open ("slot/0", "slot/0 (2 times)"), then for every loop
 * device that was on one when the mount was detached and still is ("/dev/loop0 on slot/0"). Text is
 * valid during the call; `each` does not call back into the front.
 */
void fuse_front_each_open(struct fuse_front *front, void (*each)(void *user, const char *what),
                          void *user);

/*
 * Ends the service and frees: requests in hand are answered, what is still open is cut off
 * (ENOTCONN).
 */
void fuse_front_stop(struct fuse_front *front);

#endif
