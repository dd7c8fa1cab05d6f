/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The bound of the FUSE cases: a tree of one file, `file`, of plain memory, with the flags that
 * icesim's files have (direct I/O, parallel direct writes, requests of 1 MiB). In the foreground,
 * until it is unmounted or gets SIGTERM.
 */
#define FUSE_USE_VERSION 312
#include "clock.h"
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define INO_FILE     2
#define TRANSFER_MAX (1u << 20)

static char *memory;
static size_t memory_size;

static struct stat attributes(fuse_ino_t ino)
{
    return ino == FUSE_ROOT_ID
               ? (struct stat){.st_ino = ino, .st_mode = S_IFDIR | 0700, .st_nlink = 2}
               : (struct stat){.st_ino = ino,
                               .st_mode = S_IFREG | 0600,
                               .st_nlink = 1,
                               .st_size = (off_t)memory_size};
}

static void on_init(void *user, struct fuse_conn_info *connection)
{
    (void)user;
    connection->max_write = TRANSFER_MAX;
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry = {.ino = INO_FILE, .attr = attributes(INO_FILE)};

    (void)parent;
    if (strcmp(name, "file"))
        fuse_reply_err(req, ENOENT);
    else
        fuse_reply_entry(req, &entry);
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct stat st = attributes(ino);

    (void)fi;
    fuse_reply_attr(req, &st, 0);
}

/* As a block device: nothing changes size, mode or times. */
static void on_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int set,
                       struct fuse_file_info *fi)
{
    (void)st;
    (void)set;
    on_getattr(req, ino, fi);
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
    struct fuse_open_out out = {.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES};

    (void)ino;
    (void)fi;
    fuse_reply_buf(req, (const char *)&out, sizeof(out));
}

static size_t inside(off_t offset, size_t size)
{
    size_t left = (size_t)offset < memory_size ? memory_size - (size_t)offset : 0;

    return size < left ? size : left;
}

static void on_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                    struct fuse_file_info *fi)
{
    (void)ino;
    (void)fi;
    fuse_reply_buf(req, memory + offset, inside(offset, size));
}

static void on_write(fuse_req_t req, fuse_ino_t ino, const char *bytes, size_t size, off_t offset,
                     struct fuse_file_info *fi)
{
    size_t len = inside(offset, size);

    (void)ino;
    (void)fi;
    memcpy(memory + offset, bytes, len);
    fuse_reply_write(req, len);
}

static void on_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
    (void)ino;
    (void)datasync;
    (void)fi;
    fuse_reply_err(req, 0);
}

static void on_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
                         struct fuse_file_info *fi)
{
    (void)ino;
    (void)mode;
    (void)offset;
    (void)length;
    (void)fi;
    fuse_reply_err(req, EOPNOTSUPP);
}

static const struct fuse_lowlevel_ops operations = {
    .init = on_init,
    .lookup = on_lookup,
    .getattr = on_getattr,
    .setattr = on_setattr,
    .open = on_open,
    .read = on_read,
    .write = on_write,
    .fsync = on_fsync,
    .fallocate = on_fallocate,
};

static int serve(struct fuse_session *session)
{
    struct fuse_loop_config *config = fuse_loop_cfg_create();
    int r;

    fuse_loop_cfg_set_clone_fd(config, 1);
    r = fuse_session_loop_mt(session, config);
    fuse_loop_cfg_destroy(config);
    return r;
}

int main(int argc, char **argv)
{
    char *name[] = {argv[0], NULL};
    struct fuse_args args = FUSE_ARGS_INIT(1, name);
    struct fuse_session *session;
    int r = 1;

    if (argc != 3) {
        fputs("usage: memfuse MOUNTPOINT BYTES\n", stderr);
        return 2;
    }
    memory_size = (size_t)argument(argv[2]);
    memory = mmap(NULL, memory_size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) {
        perror("memfuse: mmap");
        return 1;
    }
    session = fuse_session_new(&args, &operations, sizeof(operations), NULL);
    if (session && !fuse_set_signal_handlers(session) && !fuse_session_mount(session, argv[1])) {
        r = serve(session) ? 1 : 0;
        fuse_session_unmount(session);
    }
    if (session)
        fuse_session_destroy(session);
    return r;
}
