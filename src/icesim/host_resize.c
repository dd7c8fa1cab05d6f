/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A function's store becomes longer or shorter. A store grows before its functions do, and is cut
 * when they have refused the sectors for so long that no request reaches them any more.
 */
#include "base/units.h"
#include "host_private.h"
#include <errno.h>
#include <inttypes.h>

static struct store *store_of(const struct host *host, const struct host_function *f)
{
    return f->own_store ? f->own_store : host->store;
}

/* `host->adding` is held by all of the following: functions neither come nor go. */

static int check_alone(const struct host *host, const struct host_function *f, struct ice_why *why)
{
    const struct host_function *other = host->functions;
    while (other && (f->own_store || other->own_store || other == f))
        other = other->next;
    if (!other)
        return 0;
    uint64_t first = other->first_byte / SECTOR_SIZE;
    return why_set(why, EBUSY, "%s has sectors %" PRIu64 "..%" PRIu64 " of the media",
                   function_name(other->function), first,
                   first + function_sectors(other->function) - 1);
}

/* As a function is made that is given no sectors: a part of a block at the end is nobody's. */
static int check_whole(const struct host *host, const struct host_function *f, struct ice_why *why)
{
    uint64_t all = store_of(host, f)->size / SECTOR_SIZE, first = f->first_byte / SECTOR_SIZE;
    uint64_t count = function_sectors(f->function);
    if (first == 0 && count == all - all % (function_block_size(f->function) / SECTOR_SIZE))
        return 0;
    return why_set(why, EINVAL, "it has sectors %" PRIu64 "..%" PRIu64 " only of %s's 0..%" PRIu64,
                   first, first + count - 1, f->own_store ? "the image" : "the media", all - 1);
}

static int check_size(const struct host_function *f, uint64_t size, struct ice_why *why)
{
    uint32_t block = function_block_size(f->function);
    int err = check_store_size(size, why);
    if (!err && size % block)
        err = why_set(why, EINVAL,
                      "a size of %" PRIu64 " bytes is no multiple of the logical block of %u", size,
                      block);
    return err;
}

static int check(const struct host *host, const struct host_function *f, uint64_t size,
                 struct ice_why *why)
{
    int err = check_size(f, size, why);
    if (!err)
        err = check_alone(host, f, why);
    if (!err)
        err = check_whole(host, f, why);
    if (!err && store_of(host, f)->fixed)
        err = why_set(why, EOPNOTSUPP, "a block device has the size that it has");
    if (!err && store_of(host, f)->read_only)
        err = why_set(why, EROFS, "its image may only be read");
    return err;
}

static void tell_resized(struct host_watcher *watcher, const struct host_watcher *end,
                         struct host_function *f)
{
    for (; watcher != end; watcher = watcher->next) {
        if (watcher->resized)
            watcher->resized(watcher, f);
    }
}

/* When one refuses, those who were told before hear that it is over. */
static int tell_resizing(struct host *host, struct host_function *f, uint64_t sectors,
                         struct ice_why *why)
{
    for (struct host_watcher *w = host->watchers; w; w = w->next) {
        int err = w->resizing ? w->resizing(w, f, sectors, why) : 0;
        if (err) {
            tell_resized(host->watchers, w, f);
            return err;
        }
    }
    return 0;
}

/* The function's, and its owner's, who sees a part of a block at the end too. */
static void set_sectors(struct host *host, struct host_function *f, uint64_t sectors)
{
    uint64_t blocks = function_block_size(f->function) / SECTOR_SIZE;
    function_set_sectors(f->function, sectors - sectors % blocks);
    function_set_sectors(f->owner_view, sectors - sectors % blocks);
    if (!f->own_store)
        function_set_sectors(host->owner, sectors);
}

static int change(struct host *host, struct host_function *f, uint64_t size, struct ice_why *why)
{
    struct store *store = store_of(host, f);
    bool cut = size < store->size;
    if (cut)
        set_sectors(host, f, size / SECTOR_SIZE);
    int err = store->ops->resize(store, size, why);
    if (cut ? err : !err) /* a cut that failed is taken back */
        set_sectors(host, f, store->size / SECTOR_SIZE);
    return err;
}

static int resize(struct host *host, struct host_function *f, uint64_t size, struct ice_why *why)
{
    int err = check(host, f, size, why);
    if (err || size == store_of(host, f)->size)
        return err;
    err = tell_resizing(host, f, size / SECTOR_SIZE, why);
    if (err)
        return err;
    err = change(host, f, size, why);
    tell_resized(host->watchers, NULL, f);
    if (err)
        return err;
    function_announce_config(f->function);
    function_announce_config(f->owner_view);
    if (!f->own_store)
        function_announce_config(host->owner);
    return 0;
}

int host_resize(struct host *host, const char *name, uint64_t size, struct host_function **resized,
                struct ice_why *why)
{
    pthread_mutex_lock(&host->adding);
    struct host_function *f = host_find(host, name);
    int err = f ? resize(host, f, size, why)
                : why_set(why, ENOENT, "there is no function \"%.32s\"", name);
    if (!err && resized)
        *resized = f;
    else if (f)
        host_let_go(host, f);
    pthread_mutex_unlock(&host->adding);
    return err;
}
