/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Puts engine, media and functions together. `adding` makes additions and removals one at a time,
 * so only their thread changes the list; `lock` is for all others, who look for a function and hold
 * it. A function that is leaving is not found any more, and is freed when the last hold is gone.
 */
#include "host.h"
#include "base/log.h"
#include "base/units.h"
#include "host_private.h"
#include "observe/violations.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- one function ---- */

static int open_image(struct host_function *f, const struct function_spec *spec,
                      struct ice_why *why)
{
    if (!spec->image[0])
        return 0;
    f->image = strdup(spec->image);
    if (!f->image)
        return why_set(why, ENOMEM, "no memory for a function");
    return spec->read_only ? store_open_file_to_read(f->image, spec->image_size, &f->own_store, why)
                           : store_open_file(f->image, spec->image_size, &f->own_store, why);
}

static int open_observers(struct host_function *f, const struct function_spec *spec,
                          struct ice_why *why)
{
    f->stats = stats_new();
    if (spec->strict)
        f->log = violations_log_new();
    if (!f->stats || (spec->strict && !f->log))
        return why_set(why, ENOMEM, "no memory for a function's observers");
    f->observers[0] = stats_observer(f->stats);
    f->observers[1] = f->log;
    return 0;
}

static void close_function(struct host_function *f)
{
    struct ice_why why;
    if (f->function)
        function_free(f->function);
    if (f->owner_view)
        function_free(f->owner_view);
    if (f->stats)
        stats_free(f->stats);
    violations_log_free(f->log);
    if (f->own_store && f->own_store->ops->flush(f->own_store, &why))
        log_error("%s: flush: %s", f->image, why.text);
    store_close(f->own_store);
    free(f->image);
    free(f);
}

static int make_function(const struct host *host, const struct function_spec *spec,
                         struct host_function *f, struct function_params *params,
                         struct ice_why *why)
{
    int err = function_new(params, &f->function, why);
    const struct function_params view = {
        .name = spec->name,
        .dialect = spec->dialect,
        .engine = host->engine,
        .store = params->store,
        .first_sector = params->first_sector,
        .sectors = params->sectors,
        .read_only = params->store->read_only,
    };
    f->first_byte = params->first_sector * SECTOR_SIZE;
    return err ? err : function_new(&view, &f->owner_view, why);
}

/* Nothing is opened before it is known to fit. */
static int open_function(struct host *host, const struct function_spec *spec,
                         struct host_function *f, struct ice_why *why)
{
    struct function_params params = {
        .name = spec->name,
        .dialect = spec->dialect,
        .engine = host->engine,
        .addressing = spec->addressing,
        .strict = spec->strict,
        .trimmed_headers = spec->trimmed_headers,
        .read_only = spec->read_only,
        .keep_on_reset = spec->keep_on_reset,
        .block_size = spec->block_size,
        .dun_bits = spec->dun_bits,
        .on_overflow = spec->on_overflow,
        .key_types = spec->key_types,
        .keys_inline = spec->keys_inline,
        .integrity = spec->integrity,
        .capabilities = spec->capabilities,
        .capability_count = spec->capability_count,
        .observers = f->observers,
    };
    uint64_t *first = &params.first_sector, *count = &params.sectors;
    int err = host_choose_slots(host, spec, &params.first_slot, &params.slots, why);
    if (!err && (!spec->image[0] || spec->image_size))
        err = host_choose_sectors(host, spec, spec->image_size, first, count, why);
    if (!err)
        err = open_image(f, spec, why);
    if (!err && f->own_store)
        err = host_choose_sectors(host, spec, f->own_store->size, first, count, why);
    if (!err)
        err = open_observers(f, spec, why);
    params.store = f->own_store ? f->own_store : host->store;
    if (!err && params.store->read_only && !spec->read_only)
        err = why_set(why, EROFS, "the media may only be read, and it is not ro");
    return err ? err : make_function(host, spec, f, &params, why);
}

/* ---- the list ---- */

/* The lock is held. */
static struct host_function *find(struct host *host, const char *name)
{
    struct host_function *f = host->functions;
    while (f && (f->leaving || strcmp(function_name(f->function), name) != 0))
        f = f->next;
    return f;
}

struct host_function *host_find(struct host *host, const char *name)
{
    pthread_mutex_lock(&host->lock);
    struct host_function *f = find(host, name);
    if (f)
        f->holds++;
    pthread_mutex_unlock(&host->lock);
    return f;
}

/* Drops a hold; the lock is held. */
static void drop(struct host *host, struct host_function *f)
{
    assert(f->holds);
    if (--f->holds == 0 && f->leaving)
        pthread_cond_broadcast(&host->let_go);
}

/* Goes from a function that is held (NULL: the beginning) to the next. */
static struct host_function *step(struct host *host, struct host_function *from, bool leaving_too)
{
    pthread_mutex_lock(&host->lock);
    struct host_function *f = from ? from->next : host->functions;
    while (f && f->leaving && !leaving_too)
        f = f->next;
    if (f)
        f->holds++;
    if (from)
        drop(host, from);
    pthread_mutex_unlock(&host->lock);
    return f;
}

struct host_function *host_first(struct host *host)
{
    return step(host, NULL, false);
}

struct host_function *host_next(struct host *host, struct host_function *function)
{
    return step(host, function, false);
}

void host_hold(struct host *host, struct host_function *function)
{
    pthread_mutex_lock(&host->lock);
    function->holds++;
    pthread_mutex_unlock(&host->lock);
}

void host_let_go(struct host *host, struct host_function *function)
{
    pthread_mutex_lock(&host->lock);
    drop(host, function);
    pthread_mutex_unlock(&host->lock);
}

static struct host_function **last_link(struct host *host)
{
    struct host_function **link = &host->functions;
    while (*link)
        link = &(*link)->next;
    return link;
}

static void append(struct host *host, struct host_function *f)
{
    pthread_mutex_lock(&host->lock);
    *last_link(host) = f;
    pthread_mutex_unlock(&host->lock);
}

/* Waits until nobody holds it. */
static void take_out(struct host *host, struct host_function *f)
{
    struct host_function **link = &host->functions;
    pthread_mutex_lock(&host->lock);
    while (f->holds)
        pthread_cond_wait(&host->let_go, &host->lock);
    while (*link != f)
        link = &(*link)->next;
    *link = f->next;
    pthread_mutex_unlock(&host->lock);
}

static void set_leaving(struct host *host, struct host_function *f, bool leaving)
{
    pthread_mutex_lock(&host->lock);
    f->leaving = leaving;
    pthread_mutex_unlock(&host->lock);
}

/* ---- watchers: the newest is the first of the list ---- */

/* The older ones let go of it, but it stays. */
static void tell_it_stays(struct host_watcher *watcher, struct host_function *f)
{
    for (; watcher; watcher = watcher->next) {
        int refused = watcher->added(watcher, f, NULL);
        assert(!refused);
        (void)refused;
    }
}

/* Tells the oldest first, up to (without) `end`. */
static int tell_removing(struct host_watcher *watcher, const struct host_watcher *end,
                         struct host_function *f, struct ice_why *why)
{
    if (watcher == end)
        return 0;
    int err = tell_removing(watcher->next, end, f, why);
    if (err)
        return err;
    err = watcher->removing(watcher, f, why);
    if (err)
        tell_it_stays(watcher->next, f);
    return err;
}

static int tell_added(struct host *host, struct host_function *f, struct ice_why *why)
{
    for (struct host_watcher *w = host->watchers; w; w = w->next) {
        int err = w->added(w, f, why);
        if (!err)
            continue;
        int refused = tell_removing(host->watchers, w, f, NULL);
        assert(!refused);
        (void)refused;
        return err;
    }
    return 0;
}

int host_watch(struct host *host, struct host_watcher *watcher, struct ice_why *why)
{
    int err = 0;
    pthread_mutex_lock(&host->adding);
    struct host_function *f = host->functions;
    for (; f && !err; f = err ? f : f->next)
        err = watcher->added(watcher, f, why);
    for (struct host_function *g = host->functions; err && g != f; g = g->next)
        watcher->removing(watcher, g, NULL);
    if (!err) {
        watcher->next = host->watchers;
        host->watchers = watcher;
    }
    pthread_mutex_unlock(&host->adding);
    return err;
}

void host_unwatch(struct host *host, struct host_watcher *watcher)
{
    pthread_mutex_lock(&host->adding);
    struct host_watcher **link = &host->watchers;
    while (*link && *link != watcher)
        link = &(*link)->next;
    if (*link)
        *link = watcher->next;
    pthread_mutex_unlock(&host->adding);
}

/* ---- additions and removals ---- */

/* `adding` is held. */
static int check_name(struct host *host, const char *name, struct ice_why *why)
{
    int err = 0;
    pthread_mutex_lock(&host->lock);
    struct host_name *taken = host->names;
    while (taken && strcmp(taken->name, name) != 0)
        taken = taken->next;
    if (taken)
        err = why_set(why, EEXIST, "there is a %s %s already", taken->kind, name);
    else if (find(host, name))
        err = why_set(why, EEXIST, "there is a function %s already", name);
    pthread_mutex_unlock(&host->lock);
    return err;
}

int host_take_name(struct host *host, struct host_name *name, struct ice_why *why)
{
    pthread_mutex_lock(&host->adding);
    int err = check_name(host, name->name, why);
    if (!err) {
        name->id = ++host->last_id;
        pthread_mutex_lock(&host->lock);
        name->next = host->names;
        host->names = name;
        pthread_mutex_unlock(&host->lock);
    }
    pthread_mutex_unlock(&host->adding);
    return err;
}

void host_give_name(struct host *host, struct host_name *name)
{
    pthread_mutex_lock(&host->lock);
    struct host_name **link = &host->names;
    while (*link != name)
        link = &(*link)->next;
    *link = name->next;
    pthread_mutex_unlock(&host->lock);
}

/* `adding` is held. */
static int add(struct host *host, const struct function_spec *spec, struct ice_why *why)
{
    struct host_function *f = calloc(1, sizeof(*f));
    if (!f)
        return why_set(why, ENOMEM, "no memory for a function");
    f->id = ++host->last_id;
    int err = open_function(host, spec, f, why);
    if (!err)
        err = tell_added(host, f, why);
    if (err)
        close_function(f);
    else
        append(host, f);
    return err;
}

int host_add(struct host *host, const struct function_spec *spec, struct ice_why *why)
{
    struct function_spec settled = *spec;
    int err = function_spec_settle(&settled, host->params.dialect, host->params.strict, why);
    if (err)
        return err;
    pthread_mutex_lock(&host->adding);
    err = check_name(host, spec->name, why);
    if (!err)
        err = add(host, &settled, why);
    pthread_mutex_unlock(&host->adding);
    return err;
}

/* `adding` is held. */
static int take_away(struct host *host, struct host_function *f, struct ice_why *why)
{
    set_leaving(host, f, true);
    int err = tell_removing(host->watchers, NULL, f, why);
    if (err) {
        set_leaving(host, f, false);
        return err;
    }
    take_out(host, f);
    function_reset(f->function);
    close_function(f);
    return 0;
}

int host_remove(struct host *host, const char *name, struct ice_why *why)
{
    pthread_mutex_lock(&host->adding);
    struct host_function *f = find(host, name);
    int err =
        f ? take_away(host, f, why) : why_set(why, ENOENT, "there is no function \"%.32s\"", name);
    pthread_mutex_unlock(&host->adding);
    return err;
}

/* ---- the whole ---- */

static int open_engine(struct host *host, struct ice_why *why)
{
    struct host_params *params = &host->params;
    int err = engine_new(params->slots, &host->engine, why);
    if (err)
        return err;
    if (params->secret)
        engine_set_secret(host->engine, params->secret, params->boot);
    params->secret = NULL; /* the engine has a copy; the caller's may go */
    engine_set_bitlocker_iv(host->engine, params->bitlocker_iv_from_dun);
    return 0;
}

int host_open(struct host *host, const struct host_params *params, struct ice_why *why)
{
    *host = (struct host){.params = *params, .store = params->store};
    pthread_mutex_init(&host->lock, NULL);
    pthread_mutex_init(&host->adding, NULL);
    pthread_cond_init(&host->let_go, NULL);
    int err = open_engine(host, why);
    struct function_params owner = {
        .name = "host",
        .dialect = params->dialect,
        .engine = host->engine,
        .store = host->store,
        .sectors = host->store->size / SECTOR_SIZE,
        .read_only = host->store->read_only,
    };
    if (!err)
        err = function_new(&owner, &host->owner, why);
    if (err)
        host_close(host);
    return err;
}

void host_close(struct host *host)
{
    struct host_function *f;
    while ((f = host->functions)) {
        assert(!f->holds);
        host->functions = f->next;
        close_function(f);
    }
    if (host->owner)
        function_free(host->owner);
    if (host->engine)
        engine_free(host->engine);
    store_close(host->store);
    pthread_cond_destroy(&host->let_go);
    pthread_mutex_destroy(&host->adding);
    pthread_mutex_destroy(&host->lock);
    *host = (struct host){0};
}

int host_flush(struct host *host)
{
    struct ice_why why;
    int first = host->store->ops->flush(host->store, &why);
    if (first)
        log_error("flush: %s", why.text);
    for (struct host_function *f = host_first(host); f; f = host_next(host, f)) {
        int err = f->own_store ? f->own_store->ops->flush(f->own_store, &why) : 0;
        if (err)
            log_error("%s: flush: %s", f->image, why.text);
        if (!first)
            first = err;
    }
    return first;
}

/* One that is leaving may stay yet, so it is told too. */
uint64_t host_reset_engine(struct host *host)
{
    uint64_t generation = engine_reset(host->engine);
    for (struct host_function *f = step(host, NULL, true); f; f = step(host, f, true)) {
        function_announce_generation(f->function, generation);
        function_announce_generation(f->owner_view, generation);
    }
    function_announce_generation(host->owner, generation);
    return generation;
}
