/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What views and layers stand on. A function's base is an attachment of its own and the native disk
 * over it; it holds the function by refusing its removal, as long as something is on it.
 */
#include "base/units.h"
#include "views_private.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct base *base_find(const struct views *views, const char *name)
{
    struct base *base = views->bases;
    while (base && strcmp(base->name, name) != 0)
        base = base->next;
    return base;
}

void base_add(struct views *views, struct base *base)
{
    pthread_mutex_lock(&views->lock);
    struct base **link = &views->bases;
    while (*link && strcmp((*link)->name, base->name) < 0)
        link = &(*link)->next;
    base->next = *link;
    *link = base;
    pthread_mutex_unlock(&views->lock);
}

void base_remove(struct views *views, struct base *base)
{
    pthread_mutex_lock(&views->lock);
    struct base **link = &views->bases;
    while (*link != base)
        link = &(*link)->next;
    *link = base->next;
    pthread_mutex_unlock(&views->lock);
}

static void close_function(struct base *base)
{
    inproc_close(base->inproc);
    free(base);
}

static int open_function(struct host_function *function, struct base *base, struct ice_why *why)
{
    char claimer[sizeof("the views of ") + FUNCTION_NAME_MAX];
    snprintf(base->name, sizeof(base->name), "%s", function_name(function->function));
    snprintf(claimer, sizeof(claimer), "the views of %s", base->name);
    int err = inproc_open_disk(function->function, claimer, &base->inproc, &base->disk, why);
    if (!err)
        base->disk->name = base->name;
    return err;
}

/* A removal of the function that began before we look is seen by host_find, one that begins later
 * waits for `changing`. */
static int make(struct views *views, const char *name, struct base **result, struct ice_why *why)
{
    struct host_function *function = host_find(views->host, name);
    if (!function)
        return why_set(why, ENOENT, "there is no function \"%.32s\"", name);
    struct base *base = calloc(1, sizeof(*base));
    int err = base ? open_function(function, base, why)
                   : why_set(why, ENOMEM, "no memory for a function's disk");
    host_let_go(views->host, function);
    if (!err) {
        base_add(views, base);
        *result = base;
    } else if (base) {
        close_function(base);
    }
    return err;
}

int base_of_function(struct views *views, const char *name, struct base **base, struct ice_why *why)
{
    *base = base_find(views, name);
    if (!*base)
        return make(views, name, base, why);
    return (*base)->layer ? why_set(why, ENOENT, "%s is a layer, not a function", name) : 0;
}

void base_settle(struct views *views, struct base *base)
{
    if (base->layer || base->views || base->layers)
        return;
    base_remove(views, base);
    close_function(base);
}

/* How many sectors of `child` the layer `base` uses; 0: it is not over it, or no layer. */
static uint64_t uses(const struct base *base, const struct base *child)
{
    for (unsigned i = 0; base->layer && i < base->layer->count; i++) {
        if (base->layer->children[i] == child)
            return layer_uses(base->disk, i) / SECTOR_SIZE;
    }
    return 0;
}

int base_check_unused(const struct views *views, const struct base *base, struct ice_why *why)
{
    const struct base *over = views->bases;
    if (base->views)
        return why_set(why, EBUSY, "view %s is on it", base->views->name);
    while (over && !uses(over, base))
        over = over->next;
    return over ? why_set(why, EBUSY, "layer %s is over it", over->name) : 0;
}

int base_check_inside(const struct views *views, const struct base *base, uint64_t sectors,
                      struct ice_why *why)
{
    for (const struct view *view = base->views; view; view = view->next) {
        if (view->sector + view->count > sectors)
            return why_set(why, EBUSY, "view %s has sectors up to %" PRIu64, view->name,
                           view->sector + view->count - 1);
    }
    for (const struct base *over = views->bases; over; over = over->next) {
        if (uses(over, base) > sectors)
            return why_set(why, EBUSY, "layer %s has sectors up to %" PRIu64, over->name,
                           uses(over, base) - 1);
    }
    return 0;
}
