/* SPDX-License-Identifier: BSD-2-Clause */
/* Layers, and the life of all: what is on a base goes before the base. */
#include "base/bytes.h"
#include "base/log.h"
#include "base/units.h"
#include "blkcrypto/native.h"
#include "views_private.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- one layer ---- */

static void describe(const struct base *base, struct layer_info *info)
{
    const struct layer *layer = base->layer;
    *info = (struct layer_info){
        .name = base->name,
        .id = layer->taken.id,
        .map = layer->map,
        .stripe = layer->stripe,
        .children = layer->names,
        .count = layer->count,
        .size = base->disk->size,
        .caps = &base->disk->caps,
        .read_only = layer->read_only,
        .raw = {.on_disk = true,
                .keyed = {.disk = base->disk,
                          .size = base->disk->size,
                          .data_unit = SECTOR_SIZE,
                          .unit = base->disk->block_size}},
    };
}

/* Of no list by now. */
static void free_layer(struct views *views, struct base *base)
{
    struct layer *layer = base->layer;
    if (base->disk)
        base->disk->ops->close(base->disk);
    for (unsigned i = 0; i < layer->count; i++) {
        layer->children[i]->layers--;
        base_settle(views, layer->children[i]);
    }
    if (layer->taken.id)
        host_give_name(views->host, &layer->taken);
    free(layer);
    free(base);
}

/* Without views. */
static void layer_close(struct views *views, struct base *base)
{
    base_remove(views, base);
    free_layer(views, base);
}

static bool is_child(const struct layer *layer, const struct base *base)
{
    for (unsigned i = 0; i < layer->count; i++) {
        if (layer->children[i] == base)
            return true;
    }
    return false;
}

static int add_child(struct views *views, struct layer *layer, const char *name,
                     struct ice_why *why)
{
    struct base *child;
    int err = base_of_function(views, name, &child, why);
    if (err)
        return err;
    if (is_child(layer, child))
        return why_set(why, EINVAL, "function %s is given twice", name);
    struct host_function *function = host_find(views->host, name);
    if (function) {
        layer->read_only |= function_is_read_only(function->function);
        host_let_go(views->host, function);
    }
    child->layers++;
    layer->names[layer->count] = child->name;
    layer->children[layer->count++] = child;
    return 0;
}

static int open_layer(struct views *views, struct base *base, const char *const *children,
                      unsigned count, struct ice_why *why)
{
    struct layer *layer = base->layer;
    struct disk *disks[LAYER_CHILDREN_MAX];
    int err = 0;
    if (!count || count > LAYER_CHILDREN_MAX)
        return why_set(why, EINVAL, "a layer is over 1 to %u functions, not %u", LAYER_CHILDREN_MAX,
                       count);
    for (unsigned i = 0; i < count && !err; i++) {
        err = add_child(views, layer, children[i], why);
        disks[i] = err ? NULL : layer->children[i]->disk;
    }
    return err ? err : layer_open(layer->map, layer->stripe, disks, count, &base->disk, why);
}

static int show(struct views *views, struct base *base, struct ice_why *why)
{
    struct layers_watcher *watcher = views->layers_watcher;
    struct layer_info info;
    base_add(views, base);
    describe(base, &info);
    return watcher ? watcher->added(watcher, &info, why) : 0;
}

/* With a name that is taken. */
static int add(struct views *views, struct base *base, const char *const *children, unsigned count,
               struct ice_why *why)
{
    pthread_mutex_lock(&views->changing);
    int err = open_layer(views, base, children, count, why);
    if (err) {
        free_layer(views, base);
    } else {
        err = show(views, base, why);
        if (err)
            layer_close(views, base);
    }
    pthread_mutex_unlock(&views->changing);
    return err;
}

static struct base *new_layer(const char *name, enum layer_map map, uint64_t stripe)
{
    struct base *base = calloc(1, sizeof(*base));
    struct layer *layer = calloc(1, sizeof(*layer));
    if (!base || !layer) {
        free(base);
        free(layer);
        return NULL;
    }
    snprintf(base->name, sizeof(base->name), "%s", name);
    layer->taken = (struct host_name){.kind = "layer", .name = base->name};
    layer->map = map;
    layer->stripe = map == LAYER_STRIPED ? stripe : 0;
    base->layer = layer;
    return base;
}

int layer_add(struct views *views, const char *name, enum layer_map map, uint64_t stripe,
              const char *const *children, unsigned count, struct ice_why *why)
{
    struct base *base = new_layer(name, map, stripe);
    if (!base)
        return why_set(why, ENOMEM, "no memory for a layer");
    int err = host_take_name(views->host, &base->layer->taken, why);
    if (!err)
        return add(views, base, children, count, why);
    free_layer(views, base);
    return err;
}

static int hide(struct views *views, const struct base *base, struct ice_why *why)
{
    struct layers_watcher *watcher = views->layers_watcher;
    struct layer_info info;
    describe(base, &info);
    return watcher ? watcher->removing(watcher, &info, why) : 0;
}

int layer_remove(struct views *views, const char *name, struct ice_why *why)
{
    int err = 0;
    pthread_mutex_lock(&views->changing);
    struct base *base = base_find(views, name);
    if (!base || !base->layer)
        err = why_set(why, ENOENT, "there is no layer \"%.32s\"", name);
    if (!err)
        err = base_check_unused(views, base, why);
    if (!err)
        err = hide(views, base, why);
    if (!err)
        layer_close(views, base);
    pthread_mutex_unlock(&views->changing);
    return err;
}

int layers_each(struct views *views, int (*each)(void *user, const struct layer_info *info),
                void *user)
{
    struct layer_info info;
    int err = 0;
    pthread_mutex_lock(&views->lock);
    for (const struct base *base = views->bases; base && !err; base = base->next) {
        if (!base->layer)
            continue;
        describe(base, &info);
        err = each(user, &info);
    }
    pthread_mutex_unlock(&views->lock);
    return err;
}

void layers_watch(struct views *views, struct layers_watcher *watcher)
{
    pthread_mutex_lock(&views->changing);
    views->layers_watcher = watcher;
    pthread_mutex_unlock(&views->changing);
}

/* ---- functions that come and go ---- */

static int on_added(struct host_watcher *watcher, struct host_function *function,
                    struct ice_why *why)
{
    (void)watcher, (void)function, (void)why;
    return 0;
}

static int on_removing(struct host_watcher *watcher, struct host_function *function,
                       struct ice_why *why)
{
    struct views *views = CONTAINER_OF(watcher, struct views, watcher);
    pthread_mutex_lock(&views->changing);
    const struct base *base = base_find(views, function_name(function->function));
    int err = base ? base_check_unused(views, base, why) : 0;
    pthread_mutex_unlock(&views->changing);
    return err;
}

/* What is made of a function's sectors is made with `changing`. */
static int on_resizing(struct host_watcher *watcher, struct host_function *function,
                       uint64_t sectors, struct ice_why *why)
{
    struct views *views = CONTAINER_OF(watcher, struct views, watcher);
    pthread_mutex_lock(&views->changing);
    const struct base *base = base_find(views, function_name(function->function));
    int err = base ? base_check_inside(views, base, sectors, why) : 0;
    if (err)
        pthread_mutex_unlock(&views->changing);
    return err;
}

static void on_resized(struct host_watcher *watcher, struct host_function *function)
{
    struct views *views = CONTAINER_OF(watcher, struct views, watcher);
    const struct base *base = base_find(views, function_name(function->function));
    if (base)
        base->disk->size = function_sectors(function->function) * SECTOR_SIZE;
    pthread_mutex_unlock(&views->changing);
}

/* ---- life ---- */

static void init_locks(struct views *views)
{
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&views->let_go, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&views->changing, NULL);
    pthread_mutex_init(&views->lock, NULL);
}

int views_open(struct host *host, struct views **result, struct ice_why *why)
{
    struct views *views = calloc(1, sizeof(*views));
    if (!views)
        return why_set(why, ENOMEM, "no memory for views");
    views->fallback_slots = fallback_slots_new(host->params.bitlocker_iv_from_dun);
    if (!views->fallback_slots) {
        free(views);
        return why_set(why, ENOMEM, "no memory for the fallback");
    }
    views->host = host;
    views->watcher = (struct host_watcher){
        .added = on_added, .removing = on_removing, .resizing = on_resizing, .resized = on_resized};
    init_locks(views);
    int err = host_watch(host, &views->watcher, why);
    assert(!err);
    *result = views;
    return err;
}

void views_end_waits(struct views *views)
{
    pthread_mutex_lock(&views->lock);
    views->waits_end = true;
    pthread_cond_broadcast(&views->let_go);
    pthread_mutex_unlock(&views->lock);
}

void views_cut_off(struct views *views)
{
    pthread_mutex_lock(&views->changing);
    for (struct base *base = views->bases; base; base = base->next) {
        if (!base->layer)
            native_cut_off(base->disk);
    }
    pthread_mutex_unlock(&views->changing);
}

static struct base *first_with(const struct views *views, bool views_on_it)
{
    struct base *base = views->bases;
    while (base && !(views_on_it ? base->views != NULL : base->layer != NULL))
        base = base->next;
    return base;
}

void views_close(struct views *views)
{
    struct base *base;
    if (!views)
        return;
    while ((base = first_with(views, true))) {
        while (view_evict(views, base->views, false, NULL))
            ; /* a profile is at work with the key yet, which ends */
        view_discard(views, base->views);
    }
    while ((base = first_with(views, false)))
        layer_close(views, base);
    assert(!views->bases);
    host_unwatch(views->host, &views->watcher);
    fallback_slots_free(views->fallback_slots);
    pthread_mutex_destroy(&views->lock);
    pthread_mutex_destroy(&views->changing);
    pthread_cond_destroy(&views->let_go);
    free(views);
}
