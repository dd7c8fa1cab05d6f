/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Open files. An open of a slot's file belongs to the slot's programming at that moment: the byte
 * file with its expected program count is copied into the handle, and nothing is looked up again.
 */
#include "internal.h"

#include "base/bytes.h"
#include "base/log.h"
#include <assert.h>
#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <stdlib.h>
#include <unistd.h>

_Thread_local uint8_t *read_buffer;

struct open_file *open_file_of(const struct fuse_file_info *fi)
{
    return fi ? (struct open_file *)(uintptr_t)fi->fh : NULL;
}

uint64_t open_file_size(const struct open_file *file)
{
    return file->text ? file->text_len : byte_file_size(&file->file);
}

/* FUSE carries an errno, the clause goes to the log. A dead file says nothing new each time. */
static void reply_failure(fuse_req_t req, const struct open_file *file, const char *verb, int err,
                          const struct ice_why *why)
{
    char path[PATH_ROOM];

    file_path(fuse_req_userdata(req), file, path);
    log_line(err == ENOKEY || err == ENOSPC ? LOG_DEBUG : LOG_WARNING, "%s %s: %s", verb, path,
             why->text);
    fuse_reply_err(req, err);
}

/* ---- open and release ---- */

static int fill_status(struct fuse_front *front, struct open_file *file, int flags)
{
    if ((flags & O_ACCMODE) != O_RDONLY)
        return EACCES;
    assert(file->function);
    file->text = front->ops.status(file->function->user);
    file->text_len = file->text ? strlen(file->text) : 0;
    return file->text ? 0 : ENOMEM;
}

/* Holds it. */
static int fill_view(struct fuse_front *front, struct open_file *file)
{
    struct fuse_front_view view;

    if (!file->function || !front->ops.view_hold(file->function->user, view_of(file->ino), &view))
        return ENOENT;
    memcpy(file->view, view.name, sizeof(file->view));
    file->file = view.file;
    return 0;
}

/* While looking at functions. 0 or an errno. */
static int fill(struct fuse_front *front, struct open_file *file, int flags)
{
    unsigned id = id_of(file->ino), place = place_of(file->ino);

    file->function = id ? functions_find(front, id) : NULL;
    if (id && !file->function)
        return ENOENT;
    if (place == PLACE_STATUS)
        return fill_status(front, file, flags);
    if (is_read_only(file->function, file->ino) && (flags & O_ACCMODE) != O_RDONLY)
        return EROFS;
    switch (place) {
    case PLACE_RAW:
        file->file = id ? file->function->raw : front->raw;
        return 0;
    case PLACE_VIEW:
        return fill_view(front, file);
    default:
        return slot_file(front, file->function, slot_at(place), &file->file) ? 0 : ENOENT;
    }
}

/* libfuse has no name for parallel direct writes in all versions that serve: the answer goes out
 * raw. */
static int reply_open(fuse_req_t req, const struct open_file *file)
{
    struct fuse_open_out out = {
        .fh = (uintptr_t)file,
        .open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES,
    };

    return fuse_reply_buf(req, (const char *)&out, sizeof(out));
}

/* O_TRUNC comes in the flags and does nothing, as on a block device. */
void file_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fuse_front *front = fuse_req_userdata(req);
    struct open_file *file = calloc(1, sizeof(*file));
    int err = ENOMEM;

    if (file) {
        file->ino = ino;
        functions_look(front);
        err = fill(front, file, fi->flags);
        if (!err && !open_files_add(front, file)) {
            open_file_let_go(front, file);
            err = ENOENT;
        }
        functions_done(front);
    }
    if (err) {
        if (file)
            free(file->text);
        free(file);
        fuse_reply_err(req, err);
    } else if (reply_open(req, file)) {
        open_files_remove(front, file); /* the caller was interrupted: no release comes */
    }
}

void file_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    (void)ino;
    open_files_remove(fuse_req_userdata(req), open_file_of(fi));
    fuse_reply_err(req, 0);
}

/* ---- bytes ---- */

/* Out of the thread's own memory: once the reply is out the file may be released. */
static void read_text(fuse_req_t req, const struct open_file *file, size_t size, off_t offset)
{
    size_t at = min_u64((uint64_t)offset, file->text_len);
    size_t n = min_u64(min_u64(size, TRANSFER_MAX), file->text_len - at);

    memcpy(read_buffer, file->text + at, n);
    fuse_reply_buf(req, (const char *)read_buffer, n);
}

void file_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
    const struct open_file *file = open_file_of(fi);
    struct ice_why why;
    ssize_t n;

    (void)ino;
    if (file->text) {
        read_text(req, file, size, offset);
        return;
    }
    n = byte_file_read(&file->file, (uint64_t)offset, read_buffer, min_u64(size, TRANSFER_MAX),
                       &why);
    if (n < 0)
        reply_failure(req, file, "read", (int)-n, &why);
    else
        fuse_reply_buf(req, (const char *)read_buffer, (size_t)n);
}

/*
 * The flags are those of this write: a write that is to be stable (O_DSYNC, which O_SYNC includes,
 * and RWF_DSYNC) brings no FSYNC of its own.
 */
void file_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
                struct fuse_file_info *fi)
{
    const struct open_file *file = open_file_of(fi);
    struct ice_why why;
    ssize_t n = byte_file_write(&file->file, (uint64_t)offset, bytes, size, &why);
    int err = n < 0 ? (int)-n : 0;

    (void)ino;
    if (!err && fi->flags & O_DSYNC)
        err = -byte_file_flush(&file->file, &why);
    if (err)
        reply_failure(req, file, "write", err, &why);
    else
        fuse_reply_write(req, (size_t)n);
}

void file_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    const struct open_file *file = open_file_of(fi);
    struct ice_why why;
    int err = file->text ? 0 : -byte_file_sync(&file->file, &why);

    (void)ino, (void)datasync;
    if (err)
        reply_failure(req, file, "fsync", err, &why);
    else
        fuse_reply_err(req, 0);
}

/*
 * A hole in a plaintext file would decrypt to noise: where it is refused the kernel writes zeros,
 * which are encrypted. The size never changes: a hole past the end is nothing, zeros past it are
 * too many.
 */
void file_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                    struct fuse_file_info *fi)
{
    const struct open_file *file = open_file_of(fi);
    bool punch = mode == (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE);
    bool grows = (uint64_t)offset + (uint64_t)length > open_file_size(file);
    struct ice_why why;
    int err = 0;

    if (place_of(ino) != PLACE_RAW || file->file.on_disk ||
        (!punch && (mode & ~FALLOC_FL_KEEP_SIZE) != FALLOC_FL_ZERO_RANGE)) {
        fuse_reply_err(req, EOPNOTSUPP);
        return;
    }
    if (grows && !(mode & FALLOC_FL_KEEP_SIZE))
        err = -why_set(&why, ENOSPC, "a range past the end");
    else
        err = -byte_file_zero(&file->file, (uint64_t)offset, (uint64_t)length, punch, &why);
    if (err)
        reply_failure(req, file, "fallocate", err, &why);
    else
        fuse_reply_err(req, 0);
}

/* All is data, up to the hole at the end. */
void file_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence, struct fuse_file_info *fi)
{
    off_t size = (off_t)open_file_size(open_file_of(fi));

    (void)ino;
    if (whence != SEEK_DATA && whence != SEEK_HOLE)
        fuse_reply_err(req, EINVAL);
    else if (offset < 0 || offset >= size)
        fuse_reply_err(req, ENXIO);
    else
        fuse_reply_lseek(req, whence == SEEK_DATA ? offset : size);
}
