/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The functions that the tree shows. Who looks names up or opens a file keeps the list as it is; a
 * function goes when nobody looks and no file of it is open, in one step. Reads and writes go by
 * the open file alone and do not come here.
 */
#include "internal.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define CLOSE_TRIES   50
#define CLOSE_WAIT_NS 10000000

void functions_look(struct fuse_front *front)
{
    pthread_rwlock_rdlock(&front->functions_lock);
}

void functions_done(struct fuse_front *front)
{
    pthread_rwlock_unlock(&front->functions_lock);
}

const struct fuse_front_function *functions_find(const struct fuse_front *front, unsigned id)
{
    const struct fuse_front_function *function = front->functions;

    while (id && function && function->id != id)
        function = function->next;
    return function;
}

const struct fuse_front_function *functions_named(const struct fuse_front *front, const char *name)
{
    const struct fuse_front_function *function = front->functions;

    while (function && strcmp(function->name, name))
        function = function->next;
    return function;
}

bool functions_several(const struct fuse_front *front)
{
    return atomic_load(&front->function_count) > 1;
}

bool slot_file(const struct fuse_front *front, const struct fuse_front_function *function,
               unsigned slot, struct byte_file *file)
{
    return function && slot - function->first_slot < function->slots &&
           front->ops.slot_file(function->user, slot, file);
}

bool keyed_file(const struct fuse_front *front, const struct fuse_front_function *function,
                uint64_t ino, struct byte_file *file)
{
    struct fuse_front_view view;

    if (place_of(ino) != PLACE_VIEW)
        return slot_file(front, function, slot_at(place_of(ino)), file);
    if (!function || !front->ops.view_from(function->user, view_of(ino), &view) ||
        view.number != view_of(ino))
        return false;
    *file = view.file;
    return true;
}

void file_path(const struct fuse_front *front, const struct open_file *file,
               char path[static PATH_ROOM])
{
    unsigned place = place_of(file->ino);
    bool foldered = file->function && (place == PLACE_RAW || functions_several(front));
    size_t used = 0;

    if (foldered)
        used = (size_t)snprintf(path, PATH_ROOM, "%s/", file->function->name);
    if (place == PLACE_RAW)
        snprintf(path + used, PATH_ROOM - used, "raw");
    else if (place == PLACE_STATUS)
        snprintf(path + used, PATH_ROOM - used, "status.json");
    else if (place == PLACE_VIEW)
        snprintf(path + used, PATH_ROOM - used, "view/%s", file->view);
    else
        snprintf(path + used, PATH_ROOM - used, "slot/%u", slot_at(place));
}

/* ---- coming and going ---- */

/* Where in the list an id is, or would be. */
static struct fuse_front_function **link_of(struct fuse_front *front, unsigned id)
{
    struct fuse_front_function **link = &front->functions;

    while (*link && (*link)->id < id)
        link = &(*link)->next;
    return link;
}

void fuse_front_add(struct fuse_front *front, struct fuse_front_function *function)
{
    struct fuse_front_function **link;

    pthread_rwlock_wrlock(&front->functions_lock);
    link = link_of(front, function->id);
    function->next = *link;
    *link = function;
    atomic_fetch_add(&front->function_count, 1);
    pthread_rwlock_unlock(&front->functions_lock);
}

/* False, and what is open. */
static bool remove_closed(struct fuse_front *front, struct fuse_front_function *function,
                          char path[static PATH_ROOM])
{
    bool open;

    pthread_rwlock_wrlock(&front->functions_lock);
    open = open_files_of(front, function, path);
    if (!open) {
        *link_of(front, function->id) = function->next;
        atomic_fetch_sub(&front->function_count, 1);
    }
    pthread_rwlock_unlock(&front->functions_lock);
    return !open;
}

int fuse_front_remove(struct fuse_front *front, struct fuse_front_function *function,
                      struct ice_why *why)
{
    char path[PATH_ROOM];

    for (unsigned tries = 0; !remove_closed(front, function, path); tries++) {
        if (tries == CLOSE_TRIES)
            return why_set(why, EBUSY, "file %s is open", path);
        nanosleep(&(struct timespec){.tv_nsec = CLOSE_WAIT_NS}, NULL);
    }
    return 0;
}
