/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The FUSE tree: raw, slot/N, view/NAME and status.json; with more than one function or layer, a
 * folder of these for each. What the files are is told by structs; how the kernel wants to hear it
 * is this folder's knowledge.
 */
#ifndef ICESIM_FUSE_FRONT_FUSE_FRONT_H
#define ICESIM_FUSE_FRONT_FUSE_FRONT_H

#include "base/why.h"
#include "blkcrypto/byte_file.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FUSE_FRONT_NAME_MAX 32u

/* A view as the tree shows it. */
struct fuse_front_view {
    char name[FUSE_FRONT_NAME_MAX + 1];
    unsigned number; /* below 2^28; never 0, and of no other view of any function, ever */
    struct byte_file file;
};

/* Of all functions, each with its `user`. All are called from many threads at once. */
struct fuse_front_ops {
    /* Slot `slot` of the function as it is programmed now; false when it has no file (empty, or not
     * direct). */
    bool (*slot_file)(void *user, unsigned slot, struct byte_file *file);
    /* The view of that name; the one with the lowest number from `number` on. False: none. */
    bool (*view_named)(void *user, const char *name, struct fuse_front_view *view);
    bool (*view_from)(void *user, unsigned number, struct fuse_front_view *view);
    /* The view of that number, which does not go before view_let_go; false: there is none. */
    bool (*view_hold)(void *user, unsigned number, struct fuse_front_view *view);
    void (*view_let_go)(void *user, unsigned number);
    /* The text of status.json, with its newline; the caller frees it. NULL: no memory. */
    char *(*status)(void *user);
};

/*
 * A function as the tree shows it, or a layer, which has no slots and no status; nothing of it
 * changes while it is there.
 */
struct fuse_front_function {
    struct fuse_front_function *next; /* the front's */
    const char *name;                 /* of its folder, at most FUSE_FRONT_NAME_MAX bytes */
    unsigned id;                /* below 2^24; never 0, never of two functions; lists go by it */
    bool is_layer;              /* then there is a function with a lower id */
    unsigned first_slot, slots; /* as the wire names them, all below 256 */
    bool read_only; /* its slots and views, a layer's raw: 0400, no open for writing (EROFS) */
    struct byte_file raw;
    void *user;
};

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
 * Calls `each` for every file that is open ("slot/0", "vm1/view/a (2 times)"), then for every loop
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
