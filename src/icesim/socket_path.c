/* SPDX-License-Identifier: BSD-2-Clause */
/* A name is a leftover when nobody answers a connection to it. */
#include "socket_path.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int new_socket(const char *path, struct ice_why *why)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    return fd < 0 ? why_errno(why, errno, "socket %s", path) : fd;
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    return address;
}

/* Of a socket that is connected. */
static bool is_served_here(int fd)
{
    struct ucred peer;
    socklen_t len = sizeof(peer);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 && peer.pid == getpid();
}

/* 0: nobody listens, and the name may go. */
static int check_unserved(const char *path, struct ice_why *why)
{
    struct sockaddr_un address = address_of(path);
    int fd = new_socket(path, why);
    if (fd < 0)
        return fd;
    int err = connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? errno : 0;
    bool own = !err && is_served_here(fd);
    close(fd);
    if (err == ECONNREFUSED || err == ENOENT)
        return 0;
    if (!err || err == EAGAIN) /* EAGAIN: its queue is full */
        return why_set(why, EADDRINUSE, "socket %s: %s listens there", path,
                       own ? "icesim itself" : "another process");
    return why_errno(why, err, "socket %s is in the way", path);
}

int socket_remove_leftover(const char *path, struct ice_why *why)
{
    struct stat st;
    if (strlen(path) > SOCKET_PATH_MAX)
        return why_set(why, ENAMETOOLONG, "socket path %s has %zu bytes; %u is the most", path,
                       strlen(path), SOCKET_PATH_MAX);
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : why_errno(why, errno, "%s", path);
    if (!S_ISSOCK(st.st_mode))
        return why_set(why, EEXIST, "%s is in the way, and not a socket", path);
    int err = check_unserved(path, why);
    if (!err && unlink(path) < 0 && errno != ENOENT)
        err = why_errno(why, errno, "removing %s", path);
    return err;
}

/* The mode is set before the name is there (unix(7) takes it from the socket). */
static int bind_private(int fd, const char *path, struct ice_why *why)
{
    struct sockaddr_un address = address_of(path);
    if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return why_errno(why, errno, "socket %s", path);
    if (listen(fd, SOMAXCONN) < 0) {
        int err = why_errno(why, errno, "socket %s", path);
        unlink(path);
        return err;
    }
    return 0;
}

int socket_listen(const char *path, struct ice_why *why)
{
    int err = socket_remove_leftover(path, why);
    if (err)
        return err;
    int fd = new_socket(path, why);
    if (fd < 0)
        return fd;
    err = bind_private(fd, path, why);
    if (err)
        close(fd);
    return err ? err : fd;
}

struct socket_file socket_file(const char *path)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return (struct socket_file){0};
    return (struct socket_file){st.st_dev, st.st_ino};
}

void socket_unlink(const char *path, const struct socket_file *file)
{
    struct socket_file now = socket_file(path);
    if (now.inode && now.device == file->device && now.inode == file->inode)
        unlink(path);
}
