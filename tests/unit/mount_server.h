/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A mounted FUSE front in a process of its own, for tests that are its user: a device with 12 slots
 * over a store with gates, slots 0 and 10 programmed with aes-256-xts at 4096, shown as function 1,
 * vm0. Every function has the views "a" (number 5) and "b" (9), which show what raw does. A hung
 * server is killed in the end, which frees its user: one process in both parts could not even
 * be killed.
 */
#ifndef ICESIM_TESTS_MOUNT_SERVER_H
#define ICESIM_TESTS_MOUNT_SERVER_H

#include <errno.h>
#include <stdbool.h>

#define MOUNT_SECTORS 16389 /* 8 MiB and five sectors */
#define MOUNT_UNIT    4096
#define MOUNT_SLOTS   12
#define MOUNT_SIZE    (8 << 20) /* of a slot's file */

/*
 * Makes an empty folder to mount on and starts the server, nothing mounted. False when there is no
 * FUSE here: a test is skipped then.
 */
bool mount_open(void);
/* Ends the server, removes the folder. What the server exits with, -1: by a signal. */
int mount_close(void);

/* A server is killed and another started. */
void mount_kill(void);
void mount_restart(void);

/* The name below the mount; valid until the thread's next call. */
const char *mount_path(const char *name);
/* open(2) of it, O_CLOEXEC. */
int mount_open_at(const char *name, int flags);

enum order {
    START, /* fuse_front_start on `text`; that is the clause afterwards */
    STOP,
    DETACH,
    WAIT_CLOSED, /* a: ms, b: break the wait off at once */
    EACH_OPEN,   /* `text` gets them all, each with ", " */
    ADD,         /* function a, named `text`, with the slots from b on */
    ADD_READ_ONLY,
    ADD_LAYER,
    REMOVE,  /* function a; `text` is the clause afterwards */
    HOLDS,   /* how often views are held */
    PROGRAM, /* slot a, with key bytes b, b + 1, … */
    EVICT,   /* slot a */
    CLOSE,   /* gate_close for kind a, and so on */
    OPEN,
    WAIT,
    COUNT,
    FAIL,
};

/* Has the server do it; returns what came of it. One thread at a time. */
int mount_tell(enum order order, int a, int b);
extern char mount_text[256];

/* Whether the open files are these, each with ", ", once those that were closed are released. */
bool mount_has_open(const char *files);

/* A check that a system call fails with errno `want`, 0: does not. Needs tap.h. */
#define fails(call, want, name)                                                                    \
    do {                                                                                           \
        errno = 0;                                                                                 \
        is_int((call) == -1 ? errno : 0, want, name);                                              \
    } while (0)

/* Mounts; ends the program when that fails. */
void mount_start(void);

#endif
