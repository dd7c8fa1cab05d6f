/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What one icesim simulates: an engine, the media, and the functions over both, each with its
 * statistics. The owner's own function has the whole store, no slots and no socket: raw files
 * go through it.
 *
 * Functions come and go while the host runs. Who uses one holds it (host_find, host_hold), and
 * lets go soon or when told by a watcher. Any thread.
 */
#ifndef ICESIM_ICESIM_HOST_H
#define ICESIM_ICESIM_HOST_H

#include "device/device.h"
#include "function_spec.h"
#include "observe/stats.h"
#include <pthread.h>

struct host_function {
    struct ice_function *function;
    struct ice_function *owner_view; /* the same sectors for the owner: no slots; writable if the
                                      * store is */
    struct stats *stats;
    struct observer *observers[3]; /* the statistics, the log of violations, NULL */
    unsigned id;                   /* never 0, never used twice */
    uint64_t first_byte;           /* of the window in its store */
    struct store *own_store;       /* of image=; NULL: the host's */
    char *image;                   /* its file's name; NULL: none of its own */
    /* host.c's: the list, holds, observers' memory */
    struct host_function *next;
    unsigned holds;
    bool leaving;
    struct observer *log;
};

/*
 * Who is told of functions that come and go, on the thread that adds or removes; one at a time. Who
 * watches longest is told of additions last and of removals first. When one refuses either, those
 * who were told before hear the opposite, and cannot refuse that: so of one that may refuse a
 * removal all older ones must take every addition.
 */
struct host_watcher {
    struct host_watcher *next; /* host.c's */
    /* It is there, and not yet found by name; or stays, as another refused its removal. Not 0: it
     * is taken away again. */
    int (*added)(struct host_watcher *watcher, struct host_function *function, struct ice_why *why);
    /* It is no longer found by name: let go of it. -EBUSY keeps it. */
    int (*removing)(struct host_watcher *watcher, struct host_function *function,
                    struct ice_why *why);
    /*
     * It is to have `sectors` from the first of its store on. -EBUSY refuses; after 0 the watcher
     * makes nothing of its sectors until `resized` comes, which it does whether it has got them
     * (function_sectors) or not. Both NULL for who does not mind.
     */
    int (*resizing)(struct host_watcher *watcher, struct host_function *function, uint64_t sectors,
                    struct ice_why *why);
    void (*resized)(struct host_watcher *watcher, struct host_function *function);
};

/* A name that is no function's while it is taken, and shares their space of names and ids. */
struct host_name {
    struct host_name *next; /* host.c's */
    const char *kind, *name;
    unsigned id; /* given with it: of no function, never 0, never used twice */
};

struct host_params {
    struct store *store;                   /* the host's from host_open on, also when that fails */
    unsigned slots;                        /* 1..SLOTS_MAX */
    unsigned reserve_first, reserve_count; /* slots that no function gets */
    bool unsafe_overlap;                   /* windows of functions may overlap */
    bool unsafe_monitor; /* the out-of-band key path holds no function to its window */
    bool bitlocker_iv_from_dun;
    /* ENGINE_SECRET_BYTES in secret memory, read by host_open; NULL: the engine draws its own. */
    const uint8_t *secret;
    uint64_t boot;
    const struct dialect *dialect; /* of functions that do not say */
    bool strict;                   /* the same */
};

struct host {
    struct host_params params;
    struct store *store;
    struct engine *engine;
    struct ice_function *owner; /* "host" */
    pthread_mutex_t lock;       /* of the list and of holds */
    pthread_mutex_t adding;     /* held over a whole add or remove */
    pthread_cond_t let_go;
    struct host_function *functions; /* in the order they were added */
    struct host_name *names;         /* taken */
    struct host_watcher *watchers;
    unsigned last_id;
};

/* No function yet. 0 or -errno. */
int host_open(struct host *host, const struct host_params *params, struct ice_why *why);

/* All attachments are closed, all holds let go. Closes the stores. */
void host_close(struct host *host);

/* Tells `watcher` of the functions there are, then of those that come and go. 0 or what it says. */
int host_watch(struct host *host, struct host_watcher *watcher, struct ice_why *why);
void host_unwatch(struct host *host, struct host_watcher *watcher);

/*
 * 0; -EEXIST: the name is taken; -EINVAL: outside the engine or the media, or what
 * function_spec_settle refuses; -EBUSY: a window overlaps another function's or the reserve, or
 * nothing is free, in words; -EROFS: it would write, and the media may only be read; what opening
 * an image says; what a watcher says. Not by a watcher.
 */
int host_add(struct host *host, const struct function_spec *spec, struct ice_why *why);

/*
 * Waits until all have let go of it, and so for its requests in flight; empties its slots. 0;
 * -ENOENT; -EBUSY: what a watcher says. Not by a watcher, nor by one who holds it.
 */
int host_remove(struct host *host, const char *name, struct ice_why *why);

/*
 * Gives the store of a function that nobody shares with it, and so the function, `size` bytes; all
 * drivers are told. Waits for requests in flight. 0; -ENOENT; -EBUSY: another function has a part
 * of the store, or what a watcher says; -EINVAL: no multiple of the logical block, or the function
 * does not have the whole store; -EFBIG; -EOPNOTSUPP: a block device; -EROFS: the store may only be
 * read; what ftruncate(2) says. An error leaves all as it was. Not by a watcher. *resized (may be
 * NULL) is held after 0.
 */
int host_resize(struct host *host, const char *name, uint64_t size, struct host_function **resized,
                struct ice_why *why);

/* 0, or -EEXIST: a function has it, or it is taken. Not by a watcher. */
int host_take_name(struct host *host, struct host_name *name, struct ice_why *why);
void host_give_name(struct host *host, struct host_name *name);

/* Makes stable what was written to the host's media and to images. 0 or the first -errno; all are
 * logged. */
int host_flush(struct host *host);

/* Holds it. NULL: there is none of that name. */
struct host_function *host_find(struct host *host, const char *name);
/* Holds the first, or the one after `function`, which is let go of. NULL: none. */
struct host_function *host_first(struct host *host);
struct host_function *host_next(struct host *host, struct host_function *function);
void host_hold(struct host *host, struct host_function *function);
void host_let_go(struct host *host, struct host_function *function);

/* Engine reset, told to every function. Waits for requests in flight. Returns the new generation.
 */
uint64_t host_reset_engine(struct host *host);

#endif
