/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Mounting without libfuse: it would let fusermount3 write on our stderr, and its unmount takes the
 * connection away too. mount(2) is tried first, then fusermount3, the set-user-id helper, which
 * hands the descriptor over a socket (_FUSE_COMMFD) and whose complaint becomes our clause.
 */
#include "base/bytes.h"
#include "internal.h"
#include <dirent.h>
#include <errno.h>
#include <libgen.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define SOURCE "icesim"
#define FSTYPE "fuse.icesim"

/* ---- what is mounted there ---- */

/* Undoes mountinfo's \ooo, in place. */
static void unescape(char *text)
{
    char *to = text;

    for (const char *from = text; *from; to++) {
        if (from[0] == '\\' && from[1] && from[2] && from[3]) {
            *to = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + (from[3] - '0'));
            from += 4;
        } else {
            *to = *from++;
        }
    }
    *to = '\0';
}

struct mounted {
    bool found;
    char type[64], source[64];
};

/* A line of mountinfo (proc(5)): the fifth field is the mountpoint, type and source follow " - ".
 */
static void match_line(char *line, const char *path, struct mounted *mounted)
{
    char *tail = strstr(line, " - "), *field = NULL;

    for (int i = 0; i < 5; i++)
        field = strsep(&line, " ");
    if (!tail || !field)
        return;
    unescape(field);
    if (strcmp(field, path))
        return;
    mounted->found = sscanf(tail, " - %63s %63s", mounted->type, mounted->source) == 2;
}

/* The uppermost mount on `path`. */
static struct mounted what_is_mounted(const char *path)
{
    struct mounted mounted = {0};
    FILE *file = fopen("/proc/self/mountinfo", "re");
    char *line = NULL;
    size_t room = 0;

    if (!file)
        return mounted;
    while (getline(&line, &room, file) > 0)
        match_line(line, path, &mounted);
    free(line);
    fclose(file);
    return mounted;
}

/* A killed server leaves its mount behind; every call on it fails like this. */
static bool is_dead(const char *path)
{
    struct stat st;

    return stat(path, &st) && errno == ENOTCONN;
}

static int check_folder(const char *path, struct ice_why *why)
{
    DIR *dir = opendir(path);
    bool empty = true;

    if (!dir && errno == ENOTDIR)
        return why_set(why, ENOTDIR, "not a folder");
    if (!dir)
        return why_errno(why, errno, "cannot open the folder");
    for (struct dirent *entry; empty && (entry = readdir(dir));)
        empty = !strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..");
    closedir(dir);
    return empty ? 0 : why_set(why, ENOTEMPTY, "the folder is not empty");
}

static int clear_mountpoint(const char *path, struct ice_why *why)
{
    struct mounted mounted;
    int r;

    while ((mounted = what_is_mounted(path)).found) {
        if (strcmp(mounted.type, FSTYPE) || strcmp(mounted.source, SOURCE) || !is_dead(path))
            return why_set(why, EBUSY, "%s (%s) is mounted there", mounted.source, mounted.type);
        r = mount_detach(path, why);
        if (r)
            return r;
    }
    return check_folder(path, why);
}

/* realpath, for a folder under a dead mount too: only the way to it is looked at. */
static char *resolve(const char *path)
{
    char *real = realpath(path, NULL), *copy, *parent;

    if (real || errno != ENOTCONN)
        return real;
    copy = strdup(path);
    parent = copy ? realpath(dirname(copy), NULL) : NULL;
    if (parent) {
        strcpy(copy, path); /* dirname and basename each cut their argument */
        if (asprintf(&real, "%s/%s", parent[1] ? parent : "", basename(copy)) < 0)
            real = NULL;
    }
    free(parent);
    free(copy);
    return real;
}

int mountpoint_claim(const char *path, char **absolute, struct ice_why *why)
{
    char *real = resolve(path);
    int r;

    if (!real && errno == ENOENT)
        return why_set(why, ENOENT, "no such folder");
    if (!real)
        return why_errno(why, errno, "cannot find the folder");
    r = clear_mountpoint(real, why);
    if (r)
        free(real);
    else
        *absolute = real;
    return r;
}

/* ---- fusermount3 ---- */

/* environ with `extra` in front; to be freed. */
static char **environment_with(char *extra)
{
    size_t n = 0;
    char **environment;

    while (environ[n])
        n++;
    environment = malloc((n + 2) * sizeof(*environment));
    if (environment) {
        environment[0] = extra;
        memcpy(environment + 1, environ, (n + 1) * sizeof(*environment));
    }
    return environment;
}

static int spawn(char *const argv[], int stderr_fd, int comm_fd, pid_t *pid)
{
    char variable[32];
    char **environment;
    posix_spawn_file_actions_t actions;
    int err;

    snprintf(variable, sizeof(variable), "_FUSE_COMMFD=%d", comm_fd);
    environment = environment_with(variable);
    if (!environment)
        return ENOMEM;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, stderr_fd, STDERR_FILENO);
    if (comm_fd >= 0) /* onto itself: inherited */
        posix_spawn_file_actions_adddup2(&actions, comm_fd, comm_fd);
    err = posix_spawnp(pid, argv[0], &actions, NULL, argv, environment);
    posix_spawn_file_actions_destroy(&actions);
    free(environment);
    return err;
}

/* Keeps the first line of what comes from `fd` until its end. */
static void read_first_line(int fd, char *line, size_t size)
{
    char part[256];
    size_t used = 0;
    ssize_t n;

    while ((n = read(fd, part, sizeof(part))) > 0 || (n < 0 && errno == EINTR)) {
        size_t kept = n < 0 ? 0 : min_u64((size_t)n, size - 1 - used);
        memcpy(line + used, part, kept);
        used += kept;
    }
    line[used] = '\0';
    line[strcspn(line, "\n")] = '\0';
}

static int fusermount(char *const argv[], int comm_fd, struct ice_why *why)
{
    char said[ICE_WHY_TEXT];
    int pipe_fds[2], err, status;
    pid_t pid;

    if (pipe2(pipe_fds, O_CLOEXEC))
        return why_errno(why, errno, "cannot run fusermount3");
    err = spawn(argv, pipe_fds[1], comm_fd, &pid);
    close(pipe_fds[1]);
    if (!err)
        read_first_line(pipe_fds[0], said, sizeof(said));
    close(pipe_fds[0]);
    if (err == ENOENT)
        return why_set(why, err, "fusermount3 is missing: install the package fuse3");
    if (err)
        return why_errno(why, err, "cannot run fusermount3");
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (WIFEXITED(status) && !WEXITSTATUS(status))
        return 0;
    return why_set(why, EPERM, "%s", said[0] ? said : "fusermount3 failed");
}

/* Takes the descriptor that came with the one byte of a message. */
static int receive_fd(int sock, int *fd, struct ice_why *why)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    char byte;
    struct iovec iov = {&byte, 1};
    struct msghdr message = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    struct cmsghdr *header;

    if (recvmsg(sock, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC) != 1 ||
        !(header = CMSG_FIRSTHDR(&message)) || header->cmsg_type != SCM_RIGHTS)
        return why_set(why, EPROTO, "fusermount3 sent no descriptor");
    memcpy(fd, CMSG_DATA(header), sizeof(int));
    return 0;
}

static int mount_by_helper(const char *mountpoint, const char *options, int *fd,
                           struct ice_why *why)
{
    char list[160];
    char *argv[] = {(char *)"fusermount3",         (char *)"-o", list, (char *)"--",
                    (char *)(uintptr_t)mountpoint, NULL};
    int socks[2], r;

    snprintf(list, sizeof(list), "fsname=" SOURCE ",subtype=icesim,%s", options);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks))
        return why_errno(why, errno, "cannot run fusermount3");
    r = fusermount(argv, socks[1], why);
    if (!r)
        r = receive_fd(socks[0], fd, why);
    close(socks[0]);
    close(socks[1]);
    return r;
}

/* ---- mount and detach ---- */

/* -EPERM or -EACCES: the helper may do better. */
static int mount_directly(const char *mountpoint, const char *options, int *fd)
{
    char list[256];
    int fuse = open("/dev/fuse", O_RDWR | O_CLOEXEC);

    if (fuse < 0)
        return -errno;
    snprintf(list, sizeof(list), "fd=%d,rootmode=40000,user_id=%u,group_id=%u,%s", fuse, getuid(),
             getgid(), options);
    if (mount(SOURCE, mountpoint, FSTYPE, MS_NOSUID | MS_NODEV, list)) {
        int err = errno;
        close(fuse);
        return -err;
    }
    *fd = fuse;
    return 0;
}

int mount_fuse(const char *mountpoint, bool allow_root, int *fd, struct ice_why *why)
{
    char options[96];
    int r;

    /* allow_root is the kernel's allow_other; libfuse then sends all others but root away. */
    snprintf(options, sizeof(options), "default_permissions,max_read=%u%s", TRANSFER_MAX,
             allow_root ? ",allow_other" : "");
    r = mount_directly(mountpoint, options, fd);
    if (r == -EPERM || r == -EACCES)
        return mount_by_helper(mountpoint, options, fd, why);
    if (r == -ENOENT || r == -ENODEV || r == -ENXIO)
        return why_set(why, -r, "this kernel has no FUSE: /dev/fuse is missing or dead");
    return r ? why_errno(why, -r, "cannot mount") : 0;
}

int mount_detach(const char *mountpoint, struct ice_why *why)
{
    char *argv[] = {(char *)"fusermount3",         (char *)"-u", (char *)"-z", (char *)"--",
                    (char *)(uintptr_t)mountpoint, NULL};

    if (!umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW))
        return 0;
    if (errno != EPERM)
        return why_errno(why, errno, "cannot unmount");
    return fusermount(argv, -1, why);
}
