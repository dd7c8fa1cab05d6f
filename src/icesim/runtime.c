/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The lock file holds the owner's process id and, after it, "made" when the folder is icesim's own.
 * A clean end removes it: one that holds something already was a killed one's.
 */
#include "runtime.h"
#include "base/bytes.h"
#include "socket_path.h"
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define DESCRIPTORS_BESIDE  256u /* media, FUSE, the server's own */
#define DESCRIPTORS_OF_EACH 96u  /* function: its socket, its image, a front end's rings */

static char *default_dir(struct ice_why *why)
{
    const char *base = getenv("XDG_RUNTIME_DIR");
    char *dir = NULL;
    if (base && *base) {
        if (asprintf(&dir, "%s/icesim", base) < 0)
            dir = NULL;
    } else if (geteuid() == 0) {
        dir = strdup("/run/icesim");
    } else {
        why_set(why, ENOENT, "XDG_RUNTIME_DIR is not set; --dir names a folder for the sockets");
        return NULL;
    }
    if (!dir)
        why_set(why, ENOMEM, "no memory for a path");
    return dir;
}

static int make_dir(struct runtime *runtime, const char *dir, struct ice_why *why)
{
    struct stat st;
    if (mkdir(dir, 0700) == 0)
        runtime->made = true;
    else if (errno != EEXIST)
        return why_errno(why, errno, "folder %s", dir);
    else if (stat(dir, &st) < 0)
        return why_errno(why, errno, "folder %s", dir);
    else if (!S_ISDIR(st.st_mode))
        return why_set(why, ENOTDIR, "%s is not a folder", dir);
    runtime->dir = realpath(dir, NULL);
    if (!runtime->dir)
        return why_errno(why, errno, "folder %s", dir);
    if (asprintf(&runtime->lock_path, "%s/lock", runtime->dir) < 0) {
        runtime->lock_path = NULL;
        return why_set(why, ENOMEM, "no memory for a path");
    }
    return 0;
}

static int serves_already(const struct runtime *runtime, int fd, struct ice_why *why)
{
    char text[32] = "";
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    int pid = n > 0 ? atoi(text) : 0;
    if (pid > 0)
        return why_set(why, EBUSY, "icesim with process id %d serves in %s already", pid,
                       runtime->dir);
    return why_set(why, EBUSY, "another icesim serves in %s already", runtime->dir);
}

/* The owner removes the file while it holds the lock: then this is a lock on nothing. */
static bool is_current(const char *path, int fd)
{
    struct stat held, named;
    return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino &&
           held.st_dev == named.st_dev;
}

static int take_lock(struct runtime *runtime, struct ice_why *why)
{
    for (;;) {
        struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        int fd = open(runtime->lock_path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return why_errno(why, errno, "lock %s", runtime->lock_path);
        if (fcntl(fd, F_OFD_SETLK, &whole) < 0) {
            int err = errno == EAGAIN || errno == EACCES
                          ? serves_already(runtime, fd, why)
                          : why_errno(why, errno, "lock %s", runtime->lock_path);
            close(fd);
            return err;
        }
        if (is_current(runtime->lock_path, fd)) {
            runtime->lock = fd;
            return 0;
        }
        close(fd);
    }
}

/* As icesim makes them: private, and this user's. */
static bool is_own_socket(int folder, const char *name)
{
    const char *suffix = strrchr(name, '.');
    struct stat st;
    return suffix && !strcmp(suffix, ".sock") &&
           fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISSOCK(st.st_mode) &&
           st.st_uid == geteuid() && (st.st_mode & 07777) == 0600;
}

/* What cannot be removed stays: it is in the way only of a socket of its name, which says so. */
static void remove_sockets(const struct runtime *runtime)
{
    DIR *folder = opendir(runtime->dir);
    struct dirent *entry;
    while (folder && (entry = readdir(folder))) {
        char *path = NULL;
        if (is_own_socket(dirfd(folder), entry->d_name) &&
            asprintf(&path, "%s/%s", runtime->dir, entry->d_name) >= 0) {
            socket_remove_leftover(path, NULL);
            free(path);
        }
    }
    if (folder)
        closedir(folder);
}

static int sign_lock(struct runtime *runtime, struct ice_why *why)
{
    char text[32] = "";
    if (pread(runtime->lock, text, sizeof(text) - 1, 0) > 0) {
        runtime->made |= strstr(text, "made") != NULL;
        remove_sockets(runtime);
    }
    int len = snprintf(text, sizeof(text), "%d%s\n", (int)getpid(), runtime->made ? " made" : "");
    if (ftruncate(runtime->lock, 0) < 0 || pwrite(runtime->lock, text, (size_t)len, 0) != len)
        return why_errno(why, errno, "lock %s", runtime->lock_path);
    return 0;
}

int runtime_open(struct runtime *runtime, const char *dir, struct ice_why *why)
{
    *runtime = (struct runtime){.lock = -1};
    char *fallback = dir ? NULL : default_dir(why);
    if (!dir && !fallback)
        return -ENOENT;
    int err = make_dir(runtime, dir ? dir : fallback, why);
    free(fallback);
    if (!err)
        err = take_lock(runtime, why);
    if (!err)
        err = sign_lock(runtime, why);
    if (err)
        runtime_close(runtime);
    return err;
}

void runtime_close(struct runtime *runtime)
{
    if (runtime->lock >= 0) {
        assert(runtime->lock_path);
        unlink(runtime->lock_path);
        close(runtime->lock);
    }
    if (runtime->made && runtime->dir)
        rmdir(runtime->dir);
    free(runtime->lock_path);
    free(runtime->dir);
    *runtime = (struct runtime){.lock = -1};
}

int pidfile_write(const char *path, struct ice_why *why)
{
    char *draft;
    char text[32];
    int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
    if (asprintf(&draft, "%s.%d", path, (int)getpid()) < 0)
        return why_set(why, ENOMEM, "no memory for a path");
    int err = 0;
    int fd = open(draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        err = why_errno(why, errno, "pidfile %s", path);
    else if (write(fd, text, (size_t)len) != len || rename(draft, path) < 0)
        err = why_errno(why, errno, "pidfile %s", path);
    if (fd >= 0) {
        close(fd);
        if (err)
            unlink(draft);
    }
    free(draft);
    return err;
}

unsigned long runtime_raise_descriptors(unsigned functions, unsigned connections)
{
    rlim_t need = connections + DESCRIPTORS_BESIDE + DESCRIPTORS_OF_EACH * functions;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= need)
        return 0;
    limit.rlim_cur = limit.rlim_max < need ? limit.rlim_max : need;
    setrlimit(RLIMIT_NOFILE, &limit);
    return need - limit.rlim_cur;
}
