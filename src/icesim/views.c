/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Views: added, removed, listed. A removal first waits until nobody holds the view; then nobody can
 * hold it anew, and its key is evicted. No lock but that of the wait is held as long: the view is
 * the remover's, and its base stays for it.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/units.h"
#include "blkcrypto/native.h"
#include "views_private.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOSE_MS 500

/* ---- one view ---- */

static void view_free(struct view *view)
{
    if (view->opened)
        view->disk->ops->key_close(view->disk, view->opened);
    if (view->disk)
        view->disk->ops->close(view->disk);
    if (view->key.bytes)
        crypto_key_wipe(&view->key);
    free(view);
}

/* Whole data units, and whole logical blocks, inside the base. */
static int choose_range(struct view *view, const struct view_spec *spec, struct ice_why *why)
{
    const struct disk *disk = view->base->disk;
    uint32_t data_unit = view->key.config.data_unit;
    uint64_t whole = (data_unit > disk->block_size ? data_unit : disk->block_size) / SECTOR_SIZE;
    uint64_t sectors = disk->size / SECTOR_SIZE, left = sectors - min_u64(spec->sector, sectors);

    view->sector = spec->sector;
    view->count = spec->count ? spec->count : left - left % whole;
    if (!left || view->count > left)
        return why_set(why, EINVAL, "sectors %llu+%llu are outside %s, which has %llu",
                       (unsigned long long)view->sector, (unsigned long long)view->count,
                       spec->function, (unsigned long long)sectors);
    if (!view->count || view->count % whole)
        return why_set(why, EINVAL, "sectors %llu+%llu are not whole data units of %llu bytes",
                       (unsigned long long)view->sector,
                       (unsigned long long)(spec->count ? spec->count : left),
                       (unsigned long long)whole * SECTOR_SIZE);
    if (view->sector * SECTOR_SIZE % disk->block_size)
        return why_set(why, EINVAL, "sector %llu is not on a logical block of %u bytes",
                       (unsigned long long)view->sector, disk->block_size);
    return 0;
}

/* What the last DUN needs; one that no key has room for is refused when the range is checked. */
static unsigned dun_bytes_needed(const struct view *view)
{
    struct dun last = view->dun;
    unsigned bytes = 1;

    if (!dun_add(&last, view->count * SECTOR_SIZE / view->key.config.data_unit - 1))
        return DUN_BYTES_MAX;
    while (bytes < DUN_BYTES_MAX && !dun_fits(&last, 8 * bytes))
        bytes++;
    return bytes;
}

static int make_key(struct view *view, const struct view_spec *spec, struct ice_why *why)
{
    struct crypto_config config = spec->config;
    bool chosen = config.dun_bytes;

    config.dun_bytes = chosen ? config.dun_bytes : 1;
    int err = crypto_key_init(&view->key, &config, spec->key, spec->key_len, why);
    if (err) {
        view->key.bytes = NULL;
        return err;
    }
    err = choose_range(view, spec, why);
    if (err)
        return err;
    if (!chosen)
        view->key.config.dun_bytes = dun_bytes_needed(view);
    const struct crypto_context context = {&view->key, view->dun};
    return crypto_context_check(&context, view->count * SECTOR_SIZE, why);
}

static int check_start(const struct view *view, const char *base, struct ice_why *why)
{
    uint32_t data_unit = view->key.config.data_unit;

    if (view->disk->whole_units && view->sector * SECTOR_SIZE % data_unit)
        return why_set(why, EINVAL,
                       "sector %llu is no multiple of the data unit of %u bytes, which would lie "
                       "across children of %s",
                       (unsigned long long)view->sector, data_unit, base);
    return 0;
}

static int open_view(const struct views *views, struct view *view, const struct view_spec *spec,
                     struct ice_why *why)
{
    snprintf(view->name, sizeof(view->name), "%s", spec->name);
    view->dun = spec->dun;
    view->fallback = spec->fallback;
    int err = make_key(view, spec, why);
    if (!err)
        err = fallback_open(view->base->disk, views->fallback_slots, spec->fallback, &view->disk,
                            why);
    if (!err)
        err = check_start(view, spec->function, why);
    if (!err)
        err = view->disk->ops->key_open(view->disk, &view->key, &view->opened, why);
    return err;
}

static struct view *find(const struct base *base, const char *name)
{
    struct view *view = base ? base->views : NULL;
    while (view && strcmp(view->name, name) != 0)
        view = view->next;
    return view;
}

static void insert(struct views *views, struct view *view)
{
    struct view **link = &view->base->views;
    pthread_mutex_lock(&views->lock);
    while (*link && strcmp((*link)->name, view->name) < 0)
        link = &(*link)->next;
    view->next = *link;
    view->number = ++views->last_number;
    *link = view;
    pthread_mutex_unlock(&views->lock);
}

static int add(struct views *views, struct base *base, const struct view_spec *spec,
               struct ice_why *why)
{
    struct view *view = calloc(1, sizeof(*view));
    if (!view)
        return why_set(why, ENOMEM, "no memory for a view");
    view->base = base;
    int err = open_view(views, view, spec, why);
    if (err)
        view_free(view);
    else
        insert(views, view);
    return err;
}

int view_add(struct views *views, const struct view_spec *spec, struct ice_why *why)
{
    int err = 0;
    pthread_mutex_lock(&views->changing);
    struct base *base = base_find(views, spec->function);
    if (find(base, spec->name))
        err = why_set(why, EEXIST, "there is a view %s of %s already", spec->name, spec->function);
    else if (!base)
        err = base_of_function(views, spec->function, &base, why);
    if (err == -ENOENT)
        why_set(why, ENOENT, "there is no function or layer \"%.32s\"", spec->function);
    if (!err)
        err = add(views, base, spec, why);
    if (base)
        base_settle(views, base);
    pthread_mutex_unlock(&views->changing);
    return err;
}

/* ---- removal ---- */

static int not_there(struct views *views, const char *function, const char *name,
                     struct ice_why *why)
{
    struct host_function *f = host_find(views->host, function);
    if (!f && !base_find(views, function))
        return why_set(why, ENOENT, "there is no function or layer \"%.32s\"", function);
    if (f)
        host_let_go(views->host, f);
    return why_set(why, ENOENT, "there is no view \"%.32s\" of %s", name, function);
}

/* Waits for the next change; false: the time is over, or waits end. */
static bool wait_for_change(struct views *views, int64_t deadline)
{
    const struct timespec until = {.tv_sec = deadline / 1000, .tv_nsec = deadline % 1000 * 1000000};
    if (views->waits_end)
        return false;
    if (deadline)
        return !pthread_cond_timedwait(&views->let_go, &views->lock, &until);
    pthread_cond_wait(&views->let_go, &views->lock);
    return !views->waits_end;
}

/* With `lock`: waits until nobody holds the view and nobody can. */
static int wait_until_free(struct views *views, struct view *view, bool wait, struct ice_why *why)
{
    int64_t deadline = wait ? 0 : now_ms() + CLOSE_MS;
    view->leaving = wait;
    while (view->holds && wait_for_change(views, deadline))
        ;
    if (!view->holds) {
        view->leaving = true;
        return 0;
    }
    view->leaving = false;
    return wait ? why_set(why, ECANCELED, "icesim is stopping, and view %s is open", view->name)
                : why_set(why, EBUSY, "view %s is open", view->name);
}

/* Finds it and makes it the caller's to remove. */
static int claim(struct views *views, const char *function, const char *name, bool wait,
                 struct view **result, struct ice_why *why)
{
    struct view *view = find(base_find(views, function), name);
    if (!view)
        return not_there(views, function, name, why);
    if (view->in_removal)
        return why_set(why, EBUSY, "view %s is being removed", name);
    view->in_removal = true;
    int err = wait_until_free(views, view, wait, why);
    if (err)
        view->in_removal = false;
    *result = view;
    return err;
}

static bool waits_end(struct views *views)
{
    pthread_mutex_lock(&views->lock);
    bool end = views->waits_end;
    pthread_mutex_unlock(&views->lock);
    return end;
}

/* Nobody uses the key by now, but a profile may be at work with it yet. */
int view_evict(struct views *views, struct view *view, bool wait, struct ice_why *why)
{
    int64_t deadline = now_ms() + CLOSE_MS;
    struct ice_why cause = {0};
    int err;
    while ((err = view->disk->ops->key_evict(view->disk, view->opened, &cause)) == -EBUSY) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        if (waits_end(views) || (!wait && now_ms() >= deadline))
            break;
    }
    if (err == -EBUSY)
        return why_set(why, EBUSY, "%s", cause.text);
    if (err)
        log_warning("view %s: its key may still be in a slot: %s", view->name, cause.text);
    return 0;
}

void view_discard(struct views *views, struct view *view)
{
    struct base *base = view->base;
    struct view **link = &base->views;
    pthread_mutex_lock(&views->lock);
    while (*link != view)
        link = &(*link)->next;
    *link = view->next;
    pthread_mutex_unlock(&views->lock);
    view_free(view);
    base_settle(views, base);
}

static void give_up(struct views *views, struct view *view)
{
    pthread_mutex_lock(&views->lock);
    view->in_removal = view->leaving = false;
    pthread_mutex_unlock(&views->lock);
}

int view_remove(struct views *views, const char *function, const char *name, bool wait,
                struct ice_why *why)
{
    struct view *view;
    pthread_mutex_lock(&views->lock);
    int err = claim(views, function, name, wait, &view, why);
    pthread_mutex_unlock(&views->lock);
    if (err)
        return err;
    err = view_evict(views, view, wait, why);
    if (err) {
        give_up(views, view);
        return err;
    }
    pthread_mutex_lock(&views->changing);
    view_discard(views, view);
    pthread_mutex_unlock(&views->changing);
    return 0;
}

/* ---- lists ---- */

static void describe(struct view *view, struct view_info *info)
{
    *info = (struct view_info){
        .name = view->name,
        .config = view->key.config,
        .sector = view->sector,
        .count = view->count,
        .dun = view->dun,
        .fallback = view->fallback,
        .path = view->disk->ops->key_path(view->opened),
    };
    info->has_fingerprint = crypto_key_fingerprint(&view->key, info->fingerprint);
    view->disk->ops->key_counts(view->opened, &info->counts);
}

int views_each(struct views *views, const char *function,
               int (*each)(void *user, const struct view_info *info), void *user,
               struct ice_why *why)
{
    struct view_info info;
    struct host_function *f = host_find(views->host, function);
    pthread_mutex_lock(&views->lock);
    struct base *base = base_find(views, function);
    int err =
        base || f ? 0 : why_set(why, ENOENT, "there is no function or layer \"%.32s\"", function);
    for (struct view *view = base ? base->views : NULL; view && !err; view = view->next) {
        describe(view, &info);
        err = each(user, &info);
    }
    pthread_mutex_unlock(&views->lock);
    if (f)
        host_let_go(views->host, f);
    return err;
}

/* A key that is in a slot has not been evicted, and is not freed while the lock is held. */
bool views_slot(struct views *views, const char *function, uint32_t index, struct view_slot *slot)
{
    struct profile_slot_info info = {.key = NULL};
    pthread_mutex_lock(&views->lock);
    const struct base *base = base_find(views, function);
    bool there = base && !base->layer && native_slot(base->disk, index, &slot->wire_slot, &info);
    slot->references = info.references;
    slot->counts = info.counts;
    slot->has_fingerprint = info.key && crypto_key_fingerprint(info.key, slot->fingerprint);
    pthread_mutex_unlock(&views->lock);
    return there;
}

/* ---- files ---- */

static void fill(const struct view *view, struct view_file *file)
{
    uint32_t data_unit = view->key.config.data_unit, block = view->disk->block_size;
    uint64_t first = view->sector * SECTOR_SIZE;
    memcpy(file->name, view->name, sizeof(file->name));
    file->number = view->number;
    file->file = (struct byte_file){
        .on_disk = true,
        .keyed = {.disk = view->disk,
                  .key = view->opened,
                  .first = first,
                  .size = view->count * SECTOR_SIZE,
                  .dun = view->dun,
                  .data_unit = data_unit,
                  .unit = data_unit > block ? data_unit : block},
        .lock_base = first,
    };
}

bool view_named(struct views *views, const char *function, const char *name, struct view_file *file)
{
    pthread_mutex_lock(&views->lock);
    const struct view *view = find(base_find(views, function), name);
    bool there = view && !view->leaving;
    if (there)
        fill(view, file);
    pthread_mutex_unlock(&views->lock);
    return there;
}

/* With `lock`. */
static struct view *find_from(const struct views *views, const char *function, unsigned number)
{
    const struct base *base = base_find(views, function);
    struct view *found = NULL;
    for (struct view *view = base ? base->views : NULL; view; view = view->next) {
        if (!view->leaving && view->number >= number && (!found || view->number < found->number))
            found = view;
    }
    return found;
}

bool view_from(struct views *views, const char *function, unsigned number, struct view_file *file)
{
    pthread_mutex_lock(&views->lock);
    const struct view *view = find_from(views, function, number);
    if (view)
        fill(view, file);
    pthread_mutex_unlock(&views->lock);
    return view;
}

bool view_hold(struct views *views, const char *function, unsigned number, struct view_file *file)
{
    pthread_mutex_lock(&views->lock);
    struct view *view = find_from(views, function, number);
    bool there = view && view->number == number;
    if (there) {
        view->holds++;
        fill(view, file);
    }
    pthread_mutex_unlock(&views->lock);
    return there;
}

void view_let_go(struct views *views, const char *function, unsigned number)
{
    pthread_mutex_lock(&views->lock);
    struct view *view = base_find(views, function)->views;
    while (view->number != number)
        view = view->next;
    assert(view->holds);
    if (--view->holds == 0)
        pthread_cond_broadcast(&views->let_go);
    pthread_mutex_unlock(&views->lock);
}
