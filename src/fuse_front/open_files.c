/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The list of what is open, so that a stop can wait for it and name it. A loop device is known by
 * its backing file's name in sysfs, which is the mount's only until the mount is detached.
 */
#include "base/bytes.h"
#include "internal.h"
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define SYS_BLOCK "/sys/block"

bool open_files_add(struct fuse_front *front, struct open_file *file)
{
    bool open;

    pthread_mutex_lock(&front->lock);
    open = !front->detached;
    if (open) {
        file->prev = NULL;
        file->next = front->open;
        if (file->next)
            file->next->prev = file;
        front->open = file;
    }
    pthread_mutex_unlock(&front->lock);
    return open;
}

/* Before it leaves the list, which keeps its function. */
void open_file_let_go(struct fuse_front *front, struct open_file *file)
{
    if (file->view[0])
        front->ops.view_let_go(file->function->user, view_of(file->ino));
}

static void free_file(struct open_file *file)
{
    free(file->text);
    free(file);
}

/* The caller holds the lock. */
static void tell_if_closed(struct fuse_front *front)
{
    if (front->detached && !front->open)
        eventfd_write(front->closed_fd, 1);
}

void open_files_remove(struct fuse_front *front, struct open_file *file)
{
    open_file_let_go(front, file);
    pthread_mutex_lock(&front->lock);
    if (file->prev)
        file->prev->next = file->next;
    else
        front->open = file->next;
    if (file->next)
        file->next->prev = file->prev;
    tell_if_closed(front);
    pthread_mutex_unlock(&front->lock);
    free_file(file);
}

bool open_files_find(struct fuse_front *front, uint64_t ino, struct byte_file *file)
{
    struct open_file *open;

    pthread_mutex_lock(&front->lock);
    for (open = front->open; open && open->ino != ino; open = open->next)
        ;
    if (open)
        *file = open->file;
    pthread_mutex_unlock(&front->lock);
    return open;
}

bool open_files_of(struct fuse_front *front, const struct fuse_front_function *function,
                   char path[static PATH_ROOM])
{
    struct open_file *open;

    pthread_mutex_lock(&front->lock);
    for (open = front->open; open && open->function != function; open = open->next)
        ;
    if (open)
        file_path(front, open, path);
    pthread_mutex_unlock(&front->lock);
    return open;
}

void open_files_close_door(struct fuse_front *front)
{
    pthread_mutex_lock(&front->lock);
    front->detached = true;
    tell_if_closed(front);
    pthread_mutex_unlock(&front->lock);
}

void open_files_free(struct fuse_front *front)
{
    for (struct open_file *file = front->open, *next; file; file = next) {
        next = file->next;
        open_file_let_go(front, file);
        free_file(file);
    }
    for (struct loop_device *loop = front->loops, *next; loop; loop = next) {
        next = loop->next;
        free(loop->file);
        free(loop);
    }
}

/* ---- loop devices ---- */

/* Reads the name of the backing file; false when the device has none. */
static bool backing_file(const char *loop, char *path, size_t size)
{
    char name[sizeof(SYS_BLOCK "//loop/backing_file") + NAME_MAX];
    FILE *file;
    bool there;

    snprintf(name, sizeof(name), SYS_BLOCK "/%s/loop/backing_file", loop);
    file = fopen(name, "re");
    if (!file)
        return false;
    there = fgets(path, (int)size, file);
    fclose(file);
    if (there)
        path[strcspn(path, "\n")] = '\0';
    return there;
}

static void note_loop(struct fuse_front *front, const char *name)
{
    size_t prefix = strlen(front->mountpoint);
    char path[PATH_MAX];
    struct loop_device *loop;

    if (strlen(name) >= sizeof(loop->name) || !backing_file(name, path, sizeof(path)) ||
        strncmp(path, front->mountpoint, prefix) || path[prefix] != '/')
        return;
    loop = calloc(1, sizeof(*loop));
    if (!loop)
        return;
    strcpy(loop->name, name);
    loop->file = strdup(path + prefix + 1);
    loop->next = front->loops;
    front->loops = loop;
}

void open_files_note_loops(struct fuse_front *front)
{
    DIR *dir = opendir(SYS_BLOCK);

    if (!dir)
        return;
    for (struct dirent *entry; (entry = readdir(dir));)
        if (!strncmp(entry->d_name, "loop", 4))
            note_loop(front, entry->d_name);
    closedir(dir);
}

/* ---- naming what is open ---- */

static unsigned count_opens(const struct open_file *from, uint64_t ino)
{
    unsigned n = 0;

    for (; from; from = from->next)
        n += from->ino == ino;
    return n;
}

static bool named_before(const struct open_file *file)
{
    for (const struct open_file *other = file->prev; other; other = other->prev)
        if (other->ino == file->ino)
            return true;
    return false;
}

void fuse_front_each_open(struct fuse_front *front, void (*each)(void *user, const char *what),
                          void *user)
{
    char what[256], path[PATH_MAX];

    pthread_mutex_lock(&front->lock);
    for (struct open_file *file = front->open; file; file = file->next) {
        unsigned n = count_opens(file, file->ino);
        if (named_before(file))
            continue;
        file_path(front, file, what);
        if (n > 1)
            snprintf(what + strlen(what), sizeof(what) - strlen(what), " (%u times)", n);
        each(user, what);
    }
    for (struct loop_device *loop = front->loops; loop; loop = loop->next) {
        if (!loop->file || !backing_file(loop->name, path, sizeof(path)))
            continue;
        snprintf(what, sizeof(what), "/dev/%s on %s", loop->name, loop->file);
        each(user, what);
    }
    pthread_mutex_unlock(&front->lock);
}
