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

/* Raw of a function is the owner's, who may write what its driver may not. */
bool is_read_only(const struct fuse_front_function *function, uint64_t ino)
{
    return function && function->read_only && (function->is_layer || place_of(ino) != PLACE_RAW);
}

/* `function`: NULL for the top's raw. */
static void stat_byte_file(const struct fuse_front *front, uint64_t ino,
                           const struct fuse_front_function *function, const struct byte_file *file,
                           struct stat *st)
{
    bool raw = place_of(ino) == PLACE_RAW;

    assert(function || raw);
    stat_common(front, ino, S_IFREG | (is_read_only(function, ino) ? 0400 : 0600),
                raw ? 1 : names_of(front, function), st);
    stat_size(byte_file_size(file), st);
    if (byte_file_unit(file) > BLOCK_BYTES)
        st->st_blksize = (blksize_t)byte_file_unit(file);
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

/* The file of a slot that is dead, or of a view that goes, still has its attributes while open. */
static int stat_keyed(struct fuse_front *front, uint64_t ino,
                      const struct fuse_front_function *function, struct stat *st)
{
    struct byte_file file;

    if (!keyed_file(front, function, ino, &file) && !open_files_find(front, ino, &file))
        return ENOENT;
    stat_byte_file(front, ino, function, &file, st);
    return 0;
}

/* `function`: NULL for the top. */
static void stat_folder(const struct fuse_front *front, uint64_t ino,
                        const struct fuse_front_function *function, struct stat *st)
{
    unsigned folders = 0;

    if (place_of(ino) == PLACE_FOLDER)
        folders = function && function->is_layer ? 1 : 2;
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
    case PLACE_VIEWS:
        stat_folder(front, ino, function, st);
        return 0;
    case PLACE_RAW:
        stat_byte_file(front, ino, function, function ? &function->raw : &front->raw, st);
        return 0;
    case PLACE_STATUS:
        return stat_status(front, function, st);
    default:
        return stat_keyed(front, ino, function, st);
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
