/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The FUSE tree: raw, slot/N and status.json; with more than one function, a folder of these for
 * each. What the files are is told by structs; how the kernel wants to hear it is this folder's
 * knowledge.
 */
#ifndef ICESIM_FUSE_FRONT_FUSE_FRONT_H
#define ICESIM_FUSE_FRONT_FUSE_FRONT_H

#include "base/why.h"
#include "blkcrypto/byte_file.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Of all functions, each with its `user`. All are called from many threads at once. */
struct fuse_front_ops {
    /* Slot `slot` of the function as it is programmed now; false when it has no file (empty, or not
     * direct). */
    bool (*slot_file)(void *user, unsigned slot, struct byte_file *file);
    /* The text of status.json, with its newline; the caller frees it. NULL: no memory. */
    char *(*status)(void *user);
};

/* A function as the tree shows it; nothing of it changes while it is there. */
struct fuse_front_function {
    struct fuse_front_function *next; /* the front's */
    const char *name;                 /* of its folder, at most FUSE_FRONT_NAME_MAX bytes */
    unsigned id;                      /* never 0, never of two functions; lists go by it */
    unsigned first_slot, slots;       /* as the wire names them, all below 256 */
    bool read_only;                   /* its slots' files: 0400, no open for writing (EROFS) */
    struct byte_file raw;
    void *user;
};

#define FUSE_FRONT_NAME_MAX 32u

struct fuse_front;

/* A front without functions, not mounted; `raw` is the file of the whole media. 0 or -errno. */
int fuse_front_new(const struct fuse_front_ops *ops, const struct byte_file *raw,
                   struct fuse_front **front, struct ice_why *why);

/*
 * Shows a function, at once when mounted; it is the front's until it is removed or the front is
 * stopped. The one with the lowest id is also the top's slot/N and status.json. Any thread.
 */
void fuse_front_add(struct fuse_front *front, struct fuse_front_function *function);

/*
 * Takes a function away: nothing of it is used any more. 0, or -EBUSY with what is open, once it
 * has stayed open for half a second: the kernel tells of a close after the caller of close(2) goes
 * on. Any thread.
 */
int fuse_front_remove(struct fuse_front *front, struct fuse_front_function *function,
                      struct ice_why *why);

/*
 * Mounts on `mountpoint` (an existing empty folder, nobody's mount; the dead mount of a killed
 * icesim is replaced) and serves it with threads of its own. `allow_root` as in mount.fuse. The
 * mount works when this returns. 0 or -errno: mountpoint missing, not a folder, not empty, mounted;
 * FUSE missing. Sets a handler for SIGUSR2, which wakes its threads at the end. Called once.
 */
int fuse_front_start(struct fuse_front *front, const char *mountpoint, bool allow_root,
                     struct ice_why *why);

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
 * Calls `each` for every file that is open ("slot/0", "vm1/slot/0 (2 times)"), then for every loop
 * device that was on one when the mount was detached and still is ("/dev/loop0 on slot/0"). Text is
 * valid during the call; `each` does not call back into the front.
 */
void fuse_front_each_open(struct fuse_front *front, void (*each)(void *user, const char *what),
                          void *user);

/*
 * Ends the service, if it was started, and frees: requests in hand are answered, what is still open
 * is cut off (ENOTCONN).
 */
void fuse_front_stop(struct fuse_front *front);

#endif
