/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Views and layers: what the owner makes over functions. Each function with a view or under a layer
 * has one native disk, over a channel of its own, that all of them share; a view is a key on a disk
 * and a range of it, and shows as a file.
 *
 * A host_watcher, and the one that watches longest: a function with views or under a layer is not
 * removed. Names of layers are taken from the host, so that no function has one. Any thread.
 */
#ifndef ICESIM_ICESIM_VIEWS_H
#define ICESIM_ICESIM_VIEWS_H

#include "blkcrypto/byte_file.h"
#include "blkcrypto/fallback.h"
#include "blkcrypto/layer.h"
#include "host.h"

struct views;

/* How a view is asked for. */
struct view_spec {
    const char *function, *name; /* names, checked; the function, or a layer */
    struct crypto_config config; /* dun_bytes 0: as many as its range needs */
    const uint8_t *key;          /* in secret memory */
    size_t key_len;
    uint64_t sector, count; /* count 0: to the end, in whole data units */
    struct dun dun;         /* of its first data unit */
    enum fallback_policy fallback;
};

struct view_info {
    const char *name;
    struct crypto_config config;
    bool has_fingerprint;
    uint8_t fingerprint[FINGERPRINT_BYTES];
    uint64_t sector, count;
    struct dun dun;
    enum fallback_policy fallback;
    enum disk_path path;
    struct disk_key_counts counts;
};

int views_open(struct host *host, struct views **views, struct ice_why *why);
/* Nobody uses a view's file or a layer any more. Removes both. NULL is allowed. */
void views_close(struct views *views);
/*
 * Before the end, when nothing is added or removed and nobody resets any more: requests in the
 * files of views wait for keyslots no longer, and fail.
 */
void views_cut_off(struct views *views);
/* Before the end: whoever waits in view_remove goes on with -ECANCELED, and nobody waits again. */
void views_end_waits(struct views *views);

/* 0; -EEXIST, -ENOENT, -EINVAL, -EOPNOTSUPP, -ENOMEM in words; what opening a channel says. */
int view_add(struct views *views, const struct view_spec *spec, struct ice_why *why);
/*
 * -ENOENT. -EBUSY when its file stays open or a request runs for half a second (the kernel tells of
 * a close after the caller of close(2) goes on); with `wait` nobody opens it from now on, and it is
 * removed once that has ended. Another errno of the evict is logged: the view is gone all the same.
 */
int view_remove(struct views *views, const char *function, const char *name, bool wait,
                struct ice_why *why);

/*
 * Calls `each`, which does not call back, for every view of a function or layer, in the order of
 * names, until it returns other than 0, which is then the result. -ENOENT.
 */
int views_each(struct views *views, const char *function,
               int (*each)(void *user, const struct view_info *info), void *user,
               struct ice_why *why);

/* ---- layers ---- */

/* Valid during the call that it is given to. */
struct layer_info {
    const char *name;
    unsigned id; /* as a function's: never 0, never used twice, of no function */
    enum layer_map map;
    uint64_t stripe; /* bytes; 0: linear */
    const char *const *children;
    unsigned count;
    uint64_t size;                  /* bytes */
    const struct crypto_caps *caps; /* what all of its functions can do with keys */
    bool read_only;                 /* as one of its functions is */
    struct byte_file raw;           /* what is stored; `locks` are for its user to set */
};

/* 0; -EEXIST: a function or a layer has the name; -ENOENT: a child; -EINVAL: a child that is given
 * twice, or layer_open; -ENOMEM; what the watcher says. */
int layer_add(struct views *views, const char *name, enum layer_map map, uint64_t stripe,
              const char *const *children, unsigned count, struct ice_why *why);
/* 0; -ENOENT; -EBUSY: it has views or its files are open. */
int layer_remove(struct views *views, const char *name, struct ice_why *why);

/* As views_each, of layers, in the order of names. */
int layers_each(struct views *views, int (*each)(void *user, const struct layer_info *info),
                void *user);

/*
 * Who shows layers: told on the thread that adds or removes, one at a time; does not add or remove.
 */
struct layers_watcher {
    int (*added)(struct layers_watcher *watcher, const struct layer_info *layer,
                 struct ice_why *why);
    /* -EBUSY keeps it. */
    int (*removing)(struct layers_watcher *watcher, const struct layer_info *layer,
                    struct ice_why *why);
};

/* Before there are layers; NULL ends it: `watcher` is told nothing more. */
void layers_watch(struct views *views, struct layers_watcher *watcher);

/* ---- files ---- */

struct view_file {
    char name[FUNCTION_NAME_MAX + 1];
    unsigned number; /* never 0, and of no other view, ever */
    /* `locks` are for its user to set; `lock_base` is the place in the function or layer, bytes. */
    struct byte_file file;
};

/*
 * Of a function or layer: the view of that name; the one with the lowest number from `number` on.
 * False: there is none that may be opened.
 */
bool view_named(struct views *views, const char *function, const char *name,
                struct view_file *file);
bool view_from(struct views *views, const char *function, unsigned number, struct view_file *file);
/* The view of that number, which stays until view_let_go; false: it is gone or going. */
bool view_hold(struct views *views, const char *function, unsigned number, struct view_file *file);
void view_let_go(struct views *views, const char *function, unsigned number);

/* ---- statistics ---- */

/* A slot of a function's profile. The fingerprint is copied, as a key may go at any time. */
struct view_slot {
    uint32_t wire_slot; /* as the function's driver calls it */
    uint32_t references;
    bool has_fingerprint; /* a raw key is in it */
    uint8_t fingerprint[FINGERPRINT_BYTES];
    struct profile_counts counts;
};

/* False past the last, and for a layer, and a function without a disk. */
bool views_slot(struct views *views, const char *function, uint32_t index, struct view_slot *slot);

#endif
