/* SPDX-License-Identifier: BSD-2-Clause */
#include "back_ends.h"
#include "activation.h"
#include "base/bytes.h"
#include "runtime.h"
#include "socket_path.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

struct back_end {
    const char *function;
    const char *path;        /* NULL: there is `fd`, or nothing */
    struct socket_file file; /* at the path, while it serves */
    int fd;                  /* handed to this process; -1: none, or a connection that was served */
    enum vhost_user_socket kind;
    struct vhost_user *serving; /* NULL: its function is not there */
};

struct back_ends {
    struct host *host; /* NULL: not opened */
    struct host_watcher watcher;
    pthread_mutex_t lock; /* of what follows; below it only vhost_user's are taken */
    bool refusing;
    unsigned count;
    struct back_end all[]; /* of each function in the options */
};

/* ---- descriptors from outside ---- */

static int socket_option(int fd, int option)
{
    int value = -1;
    socklen_t len = sizeof(value);
    return getsockopt(fd, SOL_SOCKET, option, &value, &len) < 0 ? -1 : value;
}

static bool is_connected(int fd)
{
    struct sockaddr_un peer;
    socklen_t len = sizeof(peer);
    return getpeername(fd, (struct sockaddr *)&peer, &len) == 0;
}

static int check_descriptor(int fd, enum vhost_user_socket *kind, struct ice_why *why)
{
    if (fcntl(fd, F_GETFD) < 0)
        return why_set(why, EBADF, "descriptor %d is not open", fd);
    if (socket_option(fd, SO_DOMAIN) != AF_UNIX || socket_option(fd, SO_TYPE) != SOCK_STREAM)
        return why_set(why, ENOTSOCK, "descriptor %d is no UNIX stream socket", fd);
    *kind = socket_option(fd, SO_ACCEPTCONN) == 1 ? VHOST_USER_LISTENING : VHOST_USER_CONNECTED;
    if (*kind == VHOST_USER_CONNECTED && !is_connected(fd))
        return why_set(why, EINVAL, "descriptor %d neither listens nor is connected", fd);
    return 0;
}

/* Ours from now on: no child has it, and no call on it waits. */
static int take_descriptor(struct back_ends *back_ends, struct back_end *taker, int fd,
                           struct ice_why *why)
{
    for (unsigned i = 0; i < back_ends->count; i++) {
        if (back_ends->all[i].fd == fd)
            return why_set(why, EEXIST, "descriptor %d is given to %s already", fd,
                           back_ends->all[i].function);
    }
    int err = check_descriptor(fd, &taker->kind, why);
    if (err)
        return err;
    int flags = fcntl(fd, F_GETFL);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return why_errno(why, errno, "descriptor %d", fd);
    taker->fd = fd;
    return 0;
}

static struct back_end *find(struct back_ends *back_ends, const char *function)
{
    for (unsigned i = 0; i < back_ends->count; i++) {
        if (!strcmp(back_ends->all[i].function, function))
            return &back_ends->all[i];
    }
    return NULL;
}

static int take_activated(void *user, unsigned index, const char *name, int fd, struct ice_why *why)
{
    struct back_ends *back_ends = user;
    if (!name && index >= back_ends->count)
        return why_set(why, ENOENT, "LISTEN_FDS: more sockets than the %u of the functions",
                       back_ends->count);
    struct back_end *taker = name ? find(back_ends, name) : &back_ends->all[index];
    if (!taker)
        return why_set(why, ENOENT, "LISTEN_FDNAMES: there is no function \"%.32s\"", name);
    if (taker->path || taker->fd >= 0)
        return why_set(why, EEXIST, "LISTEN_FDS: %s has a socket for vhost-user already",
                       taker->function);
    return take_descriptor(back_ends, taker, fd, why);
}

static int take_all(struct back_ends *back_ends, const struct options *options, struct ice_why *why)
{
    int err = 0;
    for (unsigned i = 0; i < back_ends->count; i++) {
        struct back_end *back_end = &back_ends->all[i];
        back_end->function = options->functions[i].name;
        back_end->path = options->sockets[i].path;
        back_end->fd = -1;
    }
    for (unsigned i = 0; !err && i < back_ends->count; i++) {
        if (options->sockets[i].fd >= 0)
            err = take_descriptor(back_ends, &back_ends->all[i], options->sockets[i].fd, why);
    }
    return err ? err : activation_each(take_activated, back_ends, why);
}

int back_ends_take(const struct options *options, struct back_ends **result, struct ice_why *why)
{
    struct back_ends *back_ends =
        calloc(1, sizeof(*back_ends) + options->function_count * sizeof(back_ends->all[0]));
    if (!back_ends)
        return why_set(why, ENOMEM, "no memory for back ends");
    back_ends->count = options->function_count;
    pthread_mutex_init(&back_ends->lock, NULL);
    int err = take_all(back_ends, options, why);
    if (err)
        back_ends_close(back_ends);
    else
        *result = back_ends;
    return err;
}

/* ---- serving ---- */

/* What a back end takes over, or -errno. A listening descriptor is kept for the next one. */
static int open_socket(struct back_end *back_end, struct ice_why *why)
{
    if (back_end->path) {
        int listener = socket_listen(back_end->path, why);
        back_end->file = socket_file(back_end->path);
        return listener;
    }
    if (back_end->kind == VHOST_USER_CONNECTED)
        return back_end->fd;
    int fd = fcntl(back_end->fd, F_DUPFD_CLOEXEC, 0);
    return fd < 0 ? why_errno(why, errno, "descriptor %d", back_end->fd) : fd;
}

/* The lock is held. */
static int serve(struct back_end *back_end, struct ice_function *function, struct ice_why *why)
{
    int fd = open_socket(back_end, why);
    if (fd < 0)
        return fd;
    int err = vhost_user_open(function, back_end->kind, fd, &back_end->serving, why);
    if (err && back_end->path)
        socket_unlink(back_end->path, &back_end->file);
    if (err && fd != back_end->fd)
        close(fd);
    if (!err && fd == back_end->fd)
        back_end->fd = -1;
    return err;
}

/* The lock is held. */
static struct vhost_user *take_out(struct back_end *back_end)
{
    struct vhost_user *serving = back_end->serving;
    back_end->serving = NULL;
    return serving;
}

static int on_added(struct host_watcher *watcher, struct host_function *function,
                    struct ice_why *why)
{
    struct back_ends *back_ends = CONTAINER_OF(watcher, struct back_ends, watcher);
    struct back_end *back_end = find(back_ends, function_name(function->function));
    int err = 0;
    pthread_mutex_lock(&back_ends->lock);
    if (back_end && (back_end->path || back_end->fd >= 0))
        err = back_ends->refusing ? why_set(why, ESHUTDOWN, "icesim is about to end")
                                  : serve(back_end, function->function, why);
    pthread_mutex_unlock(&back_ends->lock);
    return err;
}

static int on_removing(struct host_watcher *watcher, struct host_function *function,
                       struct ice_why *why)
{
    struct back_ends *back_ends = CONTAINER_OF(watcher, struct back_ends, watcher);
    struct back_end *back_end = find(back_ends, function_name(function->function));
    (void)why;
    if (!back_end)
        return 0;
    pthread_mutex_lock(&back_ends->lock);
    struct vhost_user *serving = take_out(back_end);
    if (serving && back_end->path && !back_ends->refusing)
        socket_unlink(back_end->path, &back_end->file);
    pthread_mutex_unlock(&back_ends->lock);
    vhost_user_close(serving);
    return 0;
}

int back_ends_open(struct back_ends *back_ends, struct host *host, struct ice_why *why)
{
    runtime_raise_descriptors(back_ends->count, 0);
    back_ends->watcher = (struct host_watcher){.added = on_added, .removing = on_removing};
    int err = host_watch(host, &back_ends->watcher, why);
    if (!err)
        back_ends->host = host;
    return err;
}

void back_ends_refuse_new(struct back_ends *back_ends)
{
    if (!back_ends)
        return;
    pthread_mutex_lock(&back_ends->lock);
    for (unsigned i = 0; !back_ends->refusing && i < back_ends->count; i++) {
        const struct back_end *back_end = &back_ends->all[i];
        if (!back_end->serving)
            continue;
        vhost_user_refuse_new(back_end->serving);
        if (back_end->path)
            socket_unlink(back_end->path, &back_end->file);
    }
    back_ends->refusing = true;
    pthread_mutex_unlock(&back_ends->lock);
}

void back_ends_close(struct back_ends *back_ends)
{
    if (!back_ends)
        return;
    back_ends_refuse_new(back_ends);
    if (back_ends->host)
        host_unwatch(back_ends->host, &back_ends->watcher);
    for (unsigned i = 0; i < back_ends->count; i++) {
        vhost_user_close(back_ends->all[i].serving);
        if (back_ends->all[i].fd >= 0)
            close(back_ends->all[i].fd);
    }
    pthread_mutex_destroy(&back_ends->lock);
    free(back_ends);
}

bool back_ends_count(struct back_ends *back_ends, const char *function,
                     struct vhost_user_counts *counts)
{
    struct back_end *back_end = back_ends ? find(back_ends, function) : NULL;
    if (!back_end)
        return false;
    pthread_mutex_lock(&back_ends->lock);
    bool serves = back_end->serving;
    if (serves)
        vhost_user_count(back_end->serving, counts);
    pthread_mutex_unlock(&back_ends->lock);
    return serves;
}
