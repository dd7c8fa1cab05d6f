/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tree as the kernel sees it: names, folders, and the table of operations. Nothing is cached in
 * the kernel (timeouts 0), so it is never notified of anything.
 *
 * No operation that it may send is left to libfuse's ENOSYS, which it would remember for the whole
 * mount; but for ACCESS, which default_permissions makes it answer itself, and calls newer than
 * this libfuse, whose absence it makes up for.
 */
#include "internal.h"

#include "base/bytes.h"
#include "base/units.h"
#include <errno.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>

static struct fuse_front *front_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* ---- names ---- */

/* The number of slot `name`, in its one spelling; SLOT_NONE for anything else. */
static unsigned slot_of_name(const char *name)
{
    char spelled[16];
    unsigned slot;

    if (sscanf(name, "%3u", &slot) != 1)
        return SLOT_NONE;
    snprintf(spelled, sizeof(spelled), "%u", slot);
    return strcmp(spelled, name) ? SLOT_NONE : slot;
}

/* `function`: whose slots, views and status the folder `id` has; NULL: none. 0 when there is no
 * such name. */
static uint64_t find_in_folder(const struct fuse_front *front, unsigned id,
                               const struct fuse_front_function *function, const char *name)
{
    if (!strcmp(name, "raw"))
        return ino_of(id, PLACE_RAW);
    if (!strcmp(name, "view"))
        return ino_of(id, PLACE_VIEWS);
    if (id && function->is_layer)
        return 0;
    if (!strcmp(name, "slot"))
        return ino_of(id, PLACE_SLOTS);
    if (!strcmp(name, "status.json"))
        return function ? ino_of(function->id, PLACE_STATUS) : 0;
    function = !id && functions_several(front) ? functions_named(front, name) : NULL;
    return function ? ino_of(function->id, PLACE_FOLDER) : 0;
}

static uint64_t find_slot(const struct fuse_front *front,
                          const struct fuse_front_function *function, const char *name)
{
    unsigned slot = slot_of_name(name);
    struct byte_file file;

    return slot_file(front, function, slot, &file) ? ino_of(function->id, PLACE_SLOT_0 + slot) : 0;
}

static uint64_t find_view(const struct fuse_front *front,
                          const struct fuse_front_function *function, const char *name)
{
    struct fuse_front_view view;

    return function && front->ops.view_named(function->user, name, &view)
               ? ino_of_view(function->id, view.number)
               : 0;
}

/* While looking at functions. 0 when there is no such name. */
static uint64_t find_name(struct fuse_front *front, uint64_t parent, const char *name)
{
    unsigned id = id_of(parent);
    const struct fuse_front_function *function = functions_find(front, id);

    if (id && !function)
        return 0;
    switch (place_of(parent)) {
    case PLACE_FOLDER:
        return find_in_folder(front, id, function, name);
    case PLACE_VIEWS:
        return find_view(front, function, name);
    default:
        return find_slot(front, function, name);
    }
}

static void tree_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_front *front = front_of(req);
    struct fuse_entry_param entry = {0};
    int err = ENOENT;

    functions_look(front);
    entry.ino = find_name(front, parent, name);
    if (entry.ino)
        err = stat_ino(front, entry.ino, &entry.attr);
    functions_done(front);
    if (err)
        fuse_reply_err(req, err);
    else
        fuse_reply_entry(req, &entry);
}

/* ---- folders: an entry's offset is one more than its place ---- */

struct listing {
    fuse_req_t req;
    char bytes[4096];
    size_t used, room;
    off_t after; /* entries up to here have been listed before */
};

/* False when the buffer is full. */
static bool list(struct listing *to, off_t place, const char *name, uint64_t ino, mode_t type)
{
    struct stat st = {.st_ino = ino, .st_mode = type};
    size_t need;

    if (place < to->after)
        return true;
    need =
        fuse_add_direntry(to->req, to->bytes + to->used, to->room - to->used, name, &st, place + 1);
    if (need > to->room - to->used)
        return false;
    to->used += need;
    return true;
}

static void list_slots(struct fuse_front *front, const struct fuse_front_function *function,
                       struct listing *to)
{
    struct byte_file file;
    char name[16];
    bool room = true;

    for (unsigned i = 0; function && room && i < function->slots; i++) {
        unsigned slot = function->first_slot + i;
        if (!slot_file(front, function, slot, &file))
            continue;
        snprintf(name, sizeof(name), "%u", slot);
        room = list(to, 2 + (off_t)slot, name, ino_of(function->id, PLACE_SLOT_0 + slot), S_IFREG);
    }
}

static void list_views(struct fuse_front *front, const struct fuse_front_function *function,
                       struct listing *to)
{
    struct fuse_front_view view = {.number = to->after > 1 ? (unsigned)to->after - 1 : 1};
    bool room = true;

    while (function && room && front->ops.view_from(function->user, view.number, &view)) {
        room = list(to, 1 + (off_t)view.number, view.name, ino_of_view(function->id, view.number),
                    S_IFREG);
        view.number++;
    }
}

/* `function`: whose slots, views and status the folder `id` has. */
static void list_folder(const struct fuse_front *front, unsigned id,
                        const struct fuse_front_function *function, struct listing *to)
{
    bool layer = id && function->is_layer;
    bool room = list(to, 2, "raw", ino_of(id, PLACE_RAW), S_IFREG) &&
                (layer || list(to, 3, "slot", ino_of(id, PLACE_SLOTS), S_IFDIR)) &&
                list(to, 4, "view", ino_of(id, PLACE_VIEWS), S_IFDIR) &&
                (layer || !function ||
                 list(to, 5, "status.json", ino_of(function->id, PLACE_STATUS), S_IFREG));

    if (id || !functions_several(front))
        return;
    for (; room && function; function = function->next)
        room = list(to, 5 + (off_t)function->id, function->name, ino_of(function->id, PLACE_FOLDER),
                    S_IFDIR);
}

/* While looking at functions. */
static void list_ino(struct fuse_front *front, uint64_t ino, struct listing *to)
{
    unsigned id = id_of(ino);
    const struct fuse_front_function *function = functions_find(front, id);
    unsigned place = place_of(ino);
    uint64_t parent = place == PLACE_FOLDER ? INO_TOP : ino_of(id, PLACE_FOLDER);

    if ((id && !function) || !list(to, 0, ".", ino, S_IFDIR) || !list(to, 1, "..", parent, S_IFDIR))
        return;
    if (place == PLACE_SLOTS)
        list_slots(front, function, to);
    else if (place == PLACE_VIEWS)
        list_views(front, function, to);
    else
        list_folder(front, id, function, to);
}

static void tree_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                         struct fuse_file_info *fi)
{
    struct fuse_front *front = front_of(req);
    struct listing to;

    (void)fi;
    to.req = req;
    to.used = 0;
    to.room = min_u64(size, sizeof(to.bytes));
    to.after = offset;
    functions_look(front);
    list_ino(front, ino, &to);
    functions_done(front);
    fuse_reply_buf(req, to.bytes, to.used);
}

static void tree_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct fuse_front *front = front_of(req);
    struct statvfs vfs = {
        .f_bsize = BLOCK_BYTES,
        .f_frsize = SECTOR_SIZE,
        .f_blocks = byte_file_size(&front->raw) / SECTOR_SIZE,
        .f_files = (front->function_count + UINT64_C(1)) * (PLACE_SLOT_0 + SLOTS_MAX),
        .f_namemax = 255,
    };

    (void)ino;
    fuse_reply_statfs(req, &vfs);
}

/* ---- what the tree does not do ---- */

static void no_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t dev)
{
    (void)parent, (void)name, (void)mode, (void)dev;
    fuse_reply_err(req, EPERM);
}

static void no_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
                      struct fuse_file_info *fi)
{
    (void)parent, (void)name, (void)mode, (void)fi;
    fuse_reply_err(req, EPERM);
}

static void no_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    (void)parent, (void)name, (void)mode;
    fuse_reply_err(req, EPERM);
}

static void no_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    (void)parent, (void)name;
    fuse_reply_err(req, EPERM);
}

static void no_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    (void)target, (void)parent, (void)name;
    fuse_reply_err(req, EPERM);
}

static void no_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
                      const char *new_name, unsigned flags)
{
    (void)parent, (void)name, (void)new_parent, (void)new_name, (void)flags;
    fuse_reply_err(req, EPERM);
}

static void no_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
    (void)ino, (void)parent, (void)name;
    fuse_reply_err(req, EPERM);
}

static void no_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
                        size_t size, int flags)
{
    (void)ino, (void)name, (void)value, (void)size, (void)flags;
    fuse_reply_err(req, EOPNOTSUPP);
}

static void no_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
    (void)ino, (void)name, (void)size;
    fuse_reply_err(req, EOPNOTSUPP);
}

static void no_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
    (void)ino, (void)size;
    fuse_reply_err(req, EOPNOTSUPP);
}

static void no_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
    (void)ino, (void)name;
    fuse_reply_err(req, EOPNOTSUPP);
}

static void no_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned cmd, void *arg,
                     struct fuse_file_info *fi, unsigned flags, const void *in, size_t in_size,
                     size_t out_size)
{
    (void)ino, (void)cmd, (void)arg, (void)fi, (void)flags, (void)in, (void)in_size;
    (void)out_size;
    fuse_reply_err(req, ENOTTY);
}

/* The kernel then copies by read and write. */
static void no_copy_file_range(fuse_req_t req, fuse_ino_t from, off_t from_offset,
                               struct fuse_file_info *from_fi, fuse_ino_t to, off_t to_offset,
                               struct fuse_file_info *to_fi, size_t len, int flags)
{
    (void)from, (void)from_offset, (void)from_fi, (void)to, (void)to_offset, (void)to_fi;
    (void)len, (void)flags;
    fuse_reply_err(req, EOPNOTSUPP);
}

/* Always ready, as files are. */
static void tree_poll(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi,
                      struct fuse_pollhandle *handle)
{
    (void)ino, (void)fi;
    if (handle)
        fuse_pollhandle_destroy(handle);
    fuse_reply_poll(req, POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM);
}

static void nothing_to_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino, (void)fi;
    fuse_reply_err(req, 0);
}

static void nothing_to_sync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)ino, (void)datasync, (void)fi;
    fuse_reply_err(req, 0);
}

/* Async direct I/O is background work to the kernel; its default of 12 would be the queue depth. */
static void start_connection(void *user, struct fuse_conn_info *conn)
{
    (void)user;
    conn->max_write = TRANSFER_MAX;
    conn->max_background = 64;
    conn->congestion_threshold = 48;
}

const struct fuse_lowlevel_ops front_ops = {
    .init = start_connection,
    .lookup = tree_lookup,
    .getattr = tree_getattr,
    .setattr = tree_setattr,
    .readdir = tree_readdir,
    .fsyncdir = nothing_to_sync,
    .statfs = tree_statfs,
    .open = file_open,
    .release = file_release,
    .read = file_read,
    .write = file_write,
    .flush = nothing_to_flush,
    .fsync = file_fsync,
    .fallocate = file_fallocate,
    .lseek = file_lseek,
    .poll = tree_poll,
    .mknod = no_mknod,
    .create = no_create,
    .mkdir = no_mkdir,
    .unlink = no_unlink,
    .rmdir = no_unlink,
    .symlink = no_symlink,
    .rename = no_rename,
    .link = no_link,
    .setxattr = no_setxattr,
    .getxattr = no_getxattr,
    .listxattr = no_listxattr,
    .removexattr = no_removexattr,
    .ioctl = no_ioctl,
    .copy_file_range = no_copy_file_range,
};
