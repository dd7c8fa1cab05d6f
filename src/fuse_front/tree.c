/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tree as the kernel sees it: names, attributes, folders, and the table of operations. Nothing
 * is cached in the kernel (timeouts 0), so it is never notified of anything.
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
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BLOCK_SIZE_MIN 4096u

static struct fuse_front *front_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

void tree_path(uint64_t ino, char path[static 32])
{
    if (ino == INO_RAW)
        strcpy(path, "raw");
    else if (ino == INO_STATUS)
        strcpy(path, "status.json");
    else
        snprintf(path, 32, "slot/%llu", (unsigned long long)(ino - INO_SLOT_0));
}

/* ---- attributes ---- */

static void stat_common(const struct fuse_front *front, uint64_t ino, mode_t mode, nlink_t nlink,
                        struct stat *st)
{
    *st = (struct stat){
        .st_ino = ino,
        .st_mode = mode,
        .st_nlink = nlink,
        .st_uid = getuid(),
        .st_gid = getgid(),
        .st_blksize = BLOCK_SIZE_MIN,
        .st_atim = front->started,
        .st_mtim = front->started,
        .st_ctim = front->started,
    };
}

static void stat_size(uint64_t size, struct stat *st)
{
    st->st_size = (off_t)size;
    st->st_blocks = (blkcnt_t)((size + 511) / 512);
}

static void stat_byte_file(const struct fuse_front *front, uint64_t ino,
                           const struct byte_file *file, struct stat *st)
{
    stat_common(front, ino, S_IFREG | 0600, 1, st);
    stat_size(file->size, st);
    if (file->context.data_unit > BLOCK_SIZE_MIN)
        st->st_blksize = (blksize_t)file->context.data_unit;
}

static int stat_status(struct fuse_front *front, struct stat *st)
{
    char *text = front->ops.status(front->user);

    if (!text)
        return ENOMEM;
    stat_common(front, INO_STATUS, S_IFREG | 0400, 1, st);
    stat_size(strlen(text), st);
    free(text);
    return 0;
}

static bool slot_file(struct fuse_front *front, uint64_t slot, struct byte_file *file)
{
    return slot < front->ops.slot_count(front->user) &&
           front->ops.slot_file(front->user, (unsigned)slot, file);
}

/* 0 or an errno. A slot's file that is dead but open still has its attributes. */
static int stat_ino(struct fuse_front *front, uint64_t ino, struct stat *st)
{
    struct byte_file file;

    switch (ino) {
    case INO_ROOT:
        stat_common(front, ino, S_IFDIR | 0700, 3, st);
        return 0;
    case INO_SLOTS:
        stat_common(front, ino, S_IFDIR | 0700, 2, st);
        return 0;
    case INO_STATUS:
        return stat_status(front, st);
    case INO_RAW:
        front->ops.raw_file(front->user, &file);
        break;
    default:
        if (ino < INO_SLOT_0 ||
            (!slot_file(front, ino - INO_SLOT_0, &file) && !open_files_find(front, ino, &file)))
            return ENOENT;
    }
    stat_byte_file(front, ino, &file, st);
    return 0;
}

/* Of an open file, whatever its slot is by now; of `ino` without one. */
static int stat_open(struct fuse_front *front, uint64_t ino, const struct fuse_file_info *fi,
                     struct stat *st)
{
    const struct open_file *open = open_file_of(fi);

    if (!open || open->text)
        return stat_ino(front, ino, st);
    stat_byte_file(front, ino, &open->file, st);
    return 0;
}

static void reply_attr(fuse_req_t req, int err, const struct stat *st)
{
    if (err)
        fuse_reply_err(req, err);
    else
        fuse_reply_attr(req, st, 0);
}

static void tree_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct stat st;
    int err = stat_open(front_of(req), ino, fi, &st);

    reply_attr(req, err, &st);
}

/* As on a block device: the size stays; what cp -p and tar set is taken and forgotten. */
static void tree_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *wanted, int which,
                         struct fuse_file_info *fi)
{
    struct stat st;
    int err = stat_open(front_of(req), ino, fi, &st);

    if (!err && which & FUSE_SET_ATTR_SIZE && wanted->st_size != st.st_size)
        err = EINVAL;
    reply_attr(req, err, &st);
}

/* ---- names ---- */

/* The number of slot `name`, in its one spelling; UINT64_MAX for anything else. */
static uint64_t slot_of_name(const char *name)
{
    char spelled[16];
    unsigned slot;

    if (sscanf(name, "%3u", &slot) != 1)
        return UINT64_MAX;
    snprintf(spelled, sizeof(spelled), "%u", slot);
    return strcmp(spelled, name) ? UINT64_MAX : slot;
}

/* 0 when there is no such name. */
static uint64_t find_name(struct fuse_front *front, fuse_ino_t parent, const char *name)
{
    struct byte_file file;
    uint64_t slot;

    if (parent == INO_ROOT) {
        if (!strcmp(name, "raw"))
            return INO_RAW;
        if (!strcmp(name, "slot"))
            return INO_SLOTS;
        return strcmp(name, "status.json") ? 0 : INO_STATUS;
    }
    slot = parent == INO_SLOTS ? slot_of_name(name) : UINT64_MAX;
    return slot_file(front, slot, &file) ? INO_SLOT_0 + slot : 0;
}

static void tree_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_front *front = front_of(req);
    struct fuse_entry_param entry = {.ino = find_name(front, parent, name)};
    int err = entry.ino ? stat_ino(front, entry.ino, &entry.attr) : ENOENT;

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

static void list_slots(struct fuse_front *front, struct listing *to)
{
    unsigned count = front->ops.slot_count(front->user);
    struct byte_file file;
    char name[16];
    bool room = true;

    for (unsigned slot = 0; room && slot < count; slot++) {
        if (!slot_file(front, slot, &file))
            continue;
        snprintf(name, sizeof(name), "%u", slot);
        room = list(to, 2 + (off_t)slot, name, INO_SLOT_0 + slot, S_IFREG);
    }
}

static void tree_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                         struct fuse_file_info *fi)
{
    struct listing to;

    (void)fi;
    to.req = req;
    to.used = 0;
    to.room = min_u64(size, sizeof(to.bytes));
    to.after = offset;
    if (list(&to, 0, ".", ino, S_IFDIR) && list(&to, 1, "..", INO_ROOT, S_IFDIR)) {
        if (ino == INO_SLOTS)
            list_slots(front_of(req), &to);
        else if (list(&to, 2, "raw", INO_RAW, S_IFREG) && list(&to, 3, "slot", INO_SLOTS, S_IFDIR))
            list(&to, 4, "status.json", INO_STATUS, S_IFREG);
    }
    fuse_reply_buf(req, to.bytes, to.used);
}

static void tree_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct fuse_front *front = front_of(req);
    struct byte_file raw;
    struct statvfs vfs = {
        .f_bsize = BLOCK_SIZE_MIN,
        .f_frsize = SECTOR_SIZE,
        .f_files = INO_SLOT_0 + SLOTS_MAX,
        .f_namemax = 255,
    };

    (void)ino;
    front->ops.raw_file(front->user, &raw);
    vfs.f_blocks = raw.size / SECTOR_SIZE;
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
