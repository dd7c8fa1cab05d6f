/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The insides of views: a base is a function or a layer with a disk, made for the first view or
 * layer on it and closed behind the last.
 *
 * `changing` is held over a whole addition or removal, and makes them one at a time; `lock` is for
 * all others, who look. So the lists may be read with either, and are changed with both. What
 * waits for requests is not done under `lock`. Below both only the host's lock is taken.
 */
#ifndef ICESIM_ICESIM_VIEWS_PRIVATE_H
#define ICESIM_ICESIM_VIEWS_PRIVATE_H

#include "inproc.h"
#include "views.h"
#include <pthread.h>

struct view {
    struct view *next;
    char name[FUNCTION_NAME_MAX + 1];
    unsigned number;
    struct base *base;
    struct crypto_key key;
    struct disk *disk; /* the base's, with the fallback beside it */
    struct disk_key *opened;
    uint64_t sector, count;
    struct dun dun;
    enum fallback_policy fallback;
    /* Under `lock`: */
    unsigned holds;
    bool in_removal; /* by somebody, who alone may free it */
    bool leaving;    /* nobody holds it anew */
};

struct layer {
    struct host_name taken;
    enum layer_map map;
    uint64_t stripe;
    unsigned count;
    struct base *children[LAYER_CHILDREN_MAX];
    const char *names[LAYER_CHILDREN_MAX]; /* the children's */
    bool read_only;
};

struct base {
    struct base *next;
    char name[FUNCTION_NAME_MAX + 1];
    struct disk *disk;
    struct view *views;    /* by name */
    unsigned layers;       /* over it */
    struct inproc *inproc; /* of a function */
    struct layer *layer;   /* of a layer; else NULL */
};

struct views {
    struct host *host;
    struct host_watcher watcher;
    pthread_mutex_t changing, lock;
    pthread_cond_t let_go; /* with `lock`: a view has no holds any more, or waits end */
    bool waits_end;
    struct layers_watcher *layers_watcher;
    struct fallback_slots *fallback_slots; /* of all views */
    struct base *bases;                    /* by name */
    unsigned last_number;
};

/* ---- views_bases.c ---- */

/* With `changing` or `lock`: NULL, there is none of that name. */
struct base *base_find(const struct views *views, const char *name);

/*
 * With `changing`: the function's, made if there is none. To be let go of, as it may be of no use,
 * by base_settle. -ENOENT: there is no such function.
 */
int base_of_function(struct views *views, const char *name, struct base **base,
                     struct ice_why *why);

/* With `changing`: puts it into the list, or takes it out. */
void base_add(struct views *views, struct base *base);
void base_remove(struct views *views, struct base *base);

/* With `changing`: closes and frees a function's if nothing is on it. */
void base_settle(struct views *views, struct base *base);

/* With `changing`: 0, or -EBUSY: "view v1 is on it", "layer l1 is over it". */
int base_check_unused(const struct views *views, const struct base *base, struct ice_why *why);

/* With `changing`: 0, or -EBUSY: "view v1 has sectors up to 4095", "layer l1 has …". */
int base_check_inside(const struct views *views, const struct base *base, uint64_t sectors,
                      struct ice_why *why);

/* ---- views.c ---- */

/* Of a view in removal, which nobody holds: evicts the key. -EBUSY when it is in use, after a
 * while, or with `wait` as waits end; any other trouble is logged. */
int view_evict(struct views *views, struct view *view, bool wait, struct ice_why *why);

/* With `changing`: takes out a view whose key is evicted and which nobody holds; wipes, frees. */
void view_discard(struct views *views, struct view *view);

#endif
