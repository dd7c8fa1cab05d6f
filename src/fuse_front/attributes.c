/* SPDX-License-Identifier: BSD-2-Clause */
/* The attributes of files and folders: told anew each time, and kept from change. */
#include "internal.h"

#include "base/bytes.h"
#include <assert.h>
#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static void stat_common(const struct fuse_front *front, uint64_t ino, mode_t mode, nlink_t nlink,
                        struct stat *st)
{
    *st = (struct stat){
        .st_ino = ino,
        .st_mode = mode,
        .st_nlink = nlink,
        .st_uid = getuid(),
        .st_gid = getgid(),
        .st_blksize = BLOCK_BYTES,
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

/* A file of the first function stands at the top, too. */
static nlink_t names_of(const struct fuse_front *front, const struct fuse_front_function *function)
{
    return functions_several(front) && function == functions_find(front, 0) ? 2 : 1;
}

/* `function`: NULL for the top's raw. */
static void stat_byte_file(const struct fuse_front *front, uint64_t ino,
                           const struct fuse_front_function *function, const struct byte_file *file,
                           struct stat *st)
{
    bool slot = place_of(ino) != PLACE_RAW;

    assert(function || !slot);
    stat_common(front, ino, S_IFREG | (slot && function->read_only ? 0400 : 0600),
                slot ? names_of(front, function) : 1, st);
    stat_size(file->size, st);
    if (file->context.data_unit > BLOCK_BYTES)
        st->st_blksize = (blksize_t)file->context.data_unit;
}

static int stat_status(struct fuse_front *front, const struct fuse_front_function *function,
                       struct stat *st)
{
    char *text;

    assert(function);
    text = front->ops.status(function->user);
    if (!text)
        return ENOMEM;
    stat_common(front, ino_of(function->id, PLACE_STATUS), S_IFREG | 0400,
                names_of(front, function), st);
    stat_size(strlen(text), st);
    free(text);
    return 0;
}

/* A slot's file that is dead but open still has its attributes. */
static int stat_slot(struct fuse_front *front, uint64_t ino,
                     const struct fuse_front_function *function, struct stat *st)
{
    struct byte_file file;

    if (!slot_file(front, function, slot_at(place_of(ino)), &file) &&
        !open_files_find(front, ino, &file))
        return ENOENT;
    stat_byte_file(front, ino, function, &file, st);
    return 0;
}

static void stat_folder(const struct fuse_front *front, uint64_t ino, struct stat *st)
{
    unsigned folders = place_of(ino) == PLACE_SLOTS ? 0 : 1;

    if (ino == INO_TOP && functions_several(front))
        folders += front->function_count;
    stat_common(front, ino, S_IFDIR | 0700, 2 + folders, st);
}

int stat_ino(struct fuse_front *front, uint64_t ino, struct stat *st)
{
    unsigned id = id_of(ino);
    const struct fuse_front_function *function = id ? functions_find(front, id) : NULL;

    if (id && !function)
        return ENOENT;
    switch (place_of(ino)) {
    case PLACE_FOLDER:
    case PLACE_SLOTS:
        stat_folder(front, ino, st);
        return 0;
    case PLACE_RAW:
        stat_byte_file(front, ino, function, function ? &function->raw : &front->raw, st);
        return 0;
    case PLACE_STATUS:
        return stat_status(front, function, st);
    default:
        return stat_slot(front, ino, function, st);
    }
}

/* Of an open file, whatever its slot is by now; of `ino` without one. */
static int stat_open(struct fuse_front *front, uint64_t ino, const struct fuse_file_info *fi,
                     struct stat *st)
{
    const struct open_file *open = open_file_of(fi);
    int err = 0;

    functions_look(front);
    if (open && !open->text)
        stat_byte_file(front, ino, open->function, &open->file, st);
    else
        err = stat_ino(front, ino, st);
    functions_done(front);
    return err;
}

static void reply_attr(fuse_req_t req, int err, const struct stat *st)
{
    if (err)
        fuse_reply_err(req, err);
    else
        fuse_reply_attr(req, st, 0);
}

void tree_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct stat st;
    int err = stat_open(fuse_req_userdata(req), ino, fi, &st);

    reply_attr(req, err, &st);
}

/* As on a block device: the size stays; what cp -p and tar set is taken and forgotten. */
void tree_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *wanted, int which,
                  struct fuse_file_info *fi)
{
    struct stat st;
    int err = stat_open(fuse_req_userdata(req), ino, fi, &st);

    if (!err && which & FUSE_SET_ATTR_SIZE && wanted->st_size != st.st_size)
        err = EINVAL;
    reply_attr(req, err, &st);
}
