/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the files of src/fuse_front share. Include it before <fuse_lowlevel.h>, whose version it
 * chooses; it declares operations with libfuse's types by their tags.
 */
#ifndef ICESIM_FUSE_FRONT_INTERNAL_H
#define ICESIM_FUSE_FRONT_INTERNAL_H

#define FUSE_USE_VERSION 312

#include "fuse_front.h"
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/stat.h>
#include <time.h>

/* The longest read or write that the kernel sends. */
#define TRANSFER_MAX (1u << 20)

struct fuse_req;
struct fuse_session;
struct fuse_file_info;
struct fuse_lowlevel_ops;

/*
 * Inode numbers are of a function's id, a place in its folder, and the view's number, so that none
 * ever means another function's file, or another view's. Id 0 is the top's; its slot/N, view/NAME
 * and status.json are the first function's, and so are their numbers.
 */
#define PLACE_BITS 12
#define ID_BITS    24
enum {
    PLACE_FOLDER = 1,
    PLACE_RAW,
    PLACE_STATUS,
    PLACE_SLOTS,
    PLACE_VIEWS,
    PLACE_VIEW,
    PLACE_SLOT_0 = 16,
};
#define INO_TOP 1u

#define SLOT_NONE UINT_MAX

static inline uint64_t ino_of(unsigned id, unsigned place)
{
    return (uint64_t)id << PLACE_BITS | place;
}

static inline uint64_t ino_of_view(unsigned id, unsigned number)
{
    return (uint64_t)number << (PLACE_BITS + ID_BITS) | ino_of(id, PLACE_VIEW);
}

static inline unsigned id_of(uint64_t ino)
{
    return ino >> PLACE_BITS & ((1u << ID_BITS) - 1);
}

static inline unsigned view_of(uint64_t ino)
{
    return (unsigned)(ino >> (PLACE_BITS + ID_BITS));
}

static inline unsigned place_of(uint64_t ino)
{
    return ino & ((1u << PLACE_BITS) - 1);
}

/* SLOT_NONE: there is none. */
static inline unsigned slot_at(unsigned place)
{
    return place < PLACE_SLOT_0 ? SLOT_NONE : place - PLACE_SLOT_0;
}

/* A name in a function's folder, with the NUL. */
#define PATH_ROOM (FUSE_FRONT_NAME_MAX + sizeof("/view/") + FUSE_FRONT_NAME_MAX)

/* One open of a file, by its fh. */
struct open_file {
    struct open_file *next, *prev;
    uint64_t ino;
    const struct fuse_front_function *function; /* of which it is; NULL: of none */
    char view[FUSE_FRONT_NAME_MAX + 1];         /* the name of the view that it holds; "": none */
    struct byte_file
        file;   /* with the programming of its slot that it belongs to; not of status.json */
    char *text; /* of status.json, as it was at open */
    size_t text_len;
};

/* A loop device on a file of the mount. */
struct loop_device {
    struct loop_device *next;
    char name[32]; /* "loop0" */
    char *file;    /* "slot/0" */
};

struct fuse_front {
    struct fuse_front_ops ops;
    struct byte_file raw;
    char *mountpoint; /* absolute */
    struct timespec started;
    struct fuse_session *session;
    bool mounted; /* at some time */
    struct worker *workers;
    unsigned worker_room, worker_count; /* allocated; running */
    _Atomic unsigned serving;           /* workers that have not ended by themselves */
    _Atomic unsigned readers, parked;   /* workers that wait for a request; for a turn to do so */
    sem_t turn;                         /* wakes a parked one */
    int closed_fd;                      /* an eventfd, raised when nothing is open after detach */

    pthread_rwlock_t functions_lock; /* of the list; taken before `lock`, not on the I/O path */
    struct fuse_front_function *functions; /* by id */
    _Atomic unsigned function_count;

    pthread_mutex_t lock; /* of what follows */
    bool detached;
    struct open_file *open;
    struct loop_device *loops; /* at detach */
};

/* ---- mount.c ---- */

/*
 * The absolute name of `path`, to be freed, when something may be mounted there; a dead mount of
 * ours is taken away. 0 or -errno.
 */
int mountpoint_claim(const char *path, char **absolute, struct ice_why *why);

/* Mounts; `fd` is the session's. 0 or -errno. */
int mount_fuse(const char *mountpoint, bool allow_root, int *fd, struct ice_why *why);

/* Takes the name away; what is open stays. 0 or -errno. */
int mount_detach(const char *mountpoint, struct ice_why *why);

/* ---- functions.c ---- */

/*
 * While a thread looks at functions none goes away; not to be nested. An open file keeps its
 * function by itself.
 */
void functions_look(struct fuse_front *front);
void functions_done(struct fuse_front *front);
/* While looking: the function `id`, of 0 the first; NULL: none. */
const struct fuse_front_function *functions_find(const struct fuse_front *front, unsigned id);
const struct fuse_front_function *functions_named(const struct fuse_front *front, const char *name);
/* True when each has a folder. */
bool functions_several(const struct fuse_front *front);

/* The file of a slot, as ops.slot_file; false too without a function and outside its window. */
bool slot_file(const struct fuse_front *front, const struct fuse_front_function *function,
               unsigned slot, struct byte_file *file);
/* The file of a slot or a view by its inode. */
bool keyed_file(const struct fuse_front *front, const struct fuse_front_function *function,
                uint64_t ino, struct byte_file *file);

/* "slot/0"; "vm1/view/a" where that needs the folder. */
void file_path(const struct fuse_front *front, const struct open_file *file,
               char path[static PATH_ROOM]);

/* ---- open_files.c ---- */

/* While looking at functions. False when the mount is detached: no new opens. */
bool open_files_add(struct fuse_front *front, struct open_file *file);
/* Lets go of the view that it may hold. */
void open_file_let_go(struct fuse_front *front, struct open_file *file);
/* Lets go of its view, removes and frees. */
void open_files_remove(struct fuse_front *front, struct open_file *file);
/* The file behind an open of `ino`; false when there is none. */
bool open_files_find(struct fuse_front *front, uint64_t ino, struct byte_file *file);
/* True, and a path, when a file of the function is open. */
bool open_files_of(struct fuse_front *front, const struct fuse_front_function *function,
                   char path[static PATH_ROOM]);
void open_files_free(struct fuse_front *front);

/* Notes the loop devices on files of the mount, while their names still tell. */
void open_files_note_loops(struct fuse_front *front);
/* No new opens from now on. */
void open_files_close_door(struct fuse_front *front);

/* ---- attributes.c ---- */

/* The kernel's unit of I/O, unless a data unit is larger. */
#define BLOCK_BYTES 4096u

/* Whether the file may not be written; `function`: NULL for the top's raw. */
bool is_read_only(const struct fuse_front_function *function, uint64_t ino);

/* While looking at functions. 0 or an errno. */
int stat_ino(struct fuse_front *front, uint64_t ino, struct stat *st);

void tree_getattr(struct fuse_req *req, uint64_t ino, struct fuse_file_info *fi);
void tree_setattr(struct fuse_req *req, uint64_t ino, struct stat *wanted, int which,
                  struct fuse_file_info *fi);

/* ---- tree.c: names, folders ---- */

extern const struct fuse_lowlevel_ops front_ops;

/* ---- file.c: open files ---- */

/* TRANSFER_MAX bytes of this thread's, for reads. */
extern _Thread_local uint8_t *read_buffer;

void file_open(struct fuse_req *req, uint64_t ino, struct fuse_file_info *fi);
void file_release(struct fuse_req *req, uint64_t ino, struct fuse_file_info *fi);
void file_read(struct fuse_req *req, uint64_t ino, size_t size, off_t offset,
               struct fuse_file_info *fi);
void file_write(struct fuse_req *req, uint64_t ino, const char *bytes, size_t size, off_t offset,
                struct fuse_file_info *fi);
void file_fsync(struct fuse_req *req, uint64_t ino, int datasync, struct fuse_file_info *fi);
void file_fallocate(struct fuse_req *req, uint64_t ino, int mode, off_t offset, off_t length,
                    struct fuse_file_info *fi);
void file_lseek(struct fuse_req *req, uint64_t ino, off_t offset, int whence,
                struct fuse_file_info *fi);

uint64_t open_file_size(const struct open_file *file);
/* NULL for NULL. */
struct open_file *open_file_of(const struct fuse_file_info *fi);

#endif
