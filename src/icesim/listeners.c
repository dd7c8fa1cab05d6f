/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Listeners: control.sock, and a socket for each function as long as the host has it. A listener is
 * looked up, accepts and goes under the server's lock; whoever accepts for a function holds it, so
 * a function that goes meanwhile takes along the client that just came.
 */
#include "base/bytes.h"
#include "base/log.h"
#include "runtime.h"
#include "server_private.h"
#include "socket_path.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTENER_EVENTS (EPOLLIN | EPOLLONESHOT)

static uint64_t data_of(const struct server *server, const struct listener *listener)
{
    return (uint64_t)listener->generation << 32 | LISTENER_DATA |
           (uint64_t)(listener - server->listeners);
}

/* The lock is held. NULL: it is gone. */
static struct listener *listener_of(struct server *server, uint64_t data)
{
    uint32_t index = (uint32_t)(data & ~LISTENER_DATA);
    struct listener *listener = &server->listeners[index];
    bool current = listener->fd >= 0 && listener->generation == (uint32_t)(data >> 32);
    return current ? listener : NULL;
}

/* ---- accepting ---- */

/* The socket's buffer is empty: what little there is to say goes in at once. */
static void turn_away(const struct server *server, int fd)
{
    struct ice_why why;
    uint8_t reply[ERROR_REPLY_MAX];
    why_set(&why, EUSERS, "%u connections are open, and no more are served", server->limit);
    size_t len = message_error(reply, sizeof(reply), 0, &why);
    if (send(fd, reply, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        log_debug("a client above the limit was gone already");
    close(fd);
}

/* Returns the connection, or NULL: it is turned away. */
static struct connection *admit(struct server *server, struct host_function *function, int fd)
{
    struct connection *connection = table_take(server);
    if (!connection) {
        turn_away(server, fd);
        return NULL;
    }
    pthread_mutex_lock(&server->lock);
    server_tick(server, true);
    pthread_mutex_unlock(&server->lock);
    connection_open(connection, fd, function);
    return connection;
}

/* Without descriptors or memory for one more, trying again at once would spin: the tick does. The
 * lock is held. */
static void pause_accepting(struct server *server, int err)
{
    if (!server->paused)
        log_warning("no new connections for a moment: %s", strerror(err));
    server->paused = true;
    server_tick(server, true);
}

/* Accepts one, and holds its function. A descriptor, or -1. */
static int accept_one(struct server *server, uint64_t data, struct host_function **function)
{
    int fd = -1;
    pthread_mutex_lock(&server->lock);
    struct listener *listener = listener_of(server, data);
    if (listener) {
        fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        int err = errno;
        if (fd < 0 && err != EAGAIN && err != EINTR && err != ECONNABORTED)
            pause_accepting(server, err);
        else
            server_epoll(server, EPOLL_CTL_MOD, listener->fd, LISTENER_EVENTS, data);
        *function = listener->function;
        if (fd >= 0 && *function)
            host_hold(server->host, *function);
    }
    pthread_mutex_unlock(&server->lock);
    return fd;
}

static bool is_gone(struct server *server, uint64_t data)
{
    pthread_mutex_lock(&server->lock);
    bool gone = !listener_of(server, data);
    pthread_mutex_unlock(&server->lock);
    return gone;
}

void listeners_event(struct server *server, uint64_t data)
{
    struct host_function *function;
    int fd = accept_one(server, data, &function);
    if (fd < 0)
        return;
    struct connection *connection = admit(server, function, fd);
    if (!function)
        return;
    /* Who closes the listener from now on sees the connection in the table. */
    if (connection && is_gone(server, data))
        connection_cut(connection, function);
    host_let_go(server->host, function);
}

void listeners_resume(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    for (unsigned i = 0; i < server->listener_count; i++) {
        const struct listener *listener = &server->listeners[i];
        if (listener->fd >= 0)
            server_epoll(server, EPOLL_CTL_MOD, listener->fd, LISTENER_EVENTS,
                         data_of(server, listener));
    }
    server->paused = false;
    pthread_mutex_unlock(&server->lock);
}

/* ---- sockets ---- */

/* The lock is held. */
static void close_listener(struct server *server, struct listener *listener)
{
    unlink(listener->path);
    epoll_ctl(server->epoll, EPOLL_CTL_DEL, listener->fd, NULL);
    close(listener->fd);
    free(listener->path);
    *listener = (struct listener){.fd = -1, .generation = listener->generation + 1};
}

/* A connection is a descriptor, and the usual soft limit is as many as there may be connections. */
static void raise_descriptor_limit(const struct server *server)
{
    unsigned functions = server->listener_count;
    unsigned long lacking = runtime_raise_descriptors(functions, server->limit);
    if (lacking && !functions)
        log_warning("RLIMIT_NOFILE: %u connections need %lu more", server->limit, lacking);
}

/* A free entry; NULL: no memory. The lock is held. */
static struct listener *free_entry(struct server *server)
{
    unsigned n = 0;
    while (n < server->listener_count && server->listeners[n].fd >= 0)
        n++;
    if (n == server->listener_room) {
        unsigned room = n ? 2 * n : 8;
        struct listener *grown = realloc(server->listeners, room * sizeof(*grown));
        if (!grown)
            return NULL;
        server->listeners = grown;
        server->listener_room = room;
    }
    if (n == server->listener_count)
        server->listeners[server->listener_count++] = (struct listener){.fd = -1};
    return &server->listeners[n];
}

/* The lock is held. `path` is the listener's on success. */
static int add_listener(struct server *server, char *path, struct host_function *function,
                        struct ice_why *why)
{
    if (!server->listening)
        return why_set(why, ESHUTDOWN, "icesim is about to end");
    raise_descriptor_limit(server);
    struct listener *listener = free_entry(server);
    if (!listener)
        return why_set(why, ENOMEM, "no memory for a socket");
    int fd = socket_listen(path, why);
    if (fd < 0)
        return fd;
    int err = server_epoll(server, EPOLL_CTL_ADD, fd, LISTENER_EVENTS, data_of(server, listener));
    if (err) {
        unlink(path);
        close(fd);
        return why_errno(why, -err, "watching %s", path);
    }
    listener->fd = fd;
    listener->path = path;
    listener->function = function;
    return 0;
}

static int add_socket(struct server *server, const char *name, struct host_function *function,
                      struct ice_why *why)
{
    char *path;
    if (asprintf(&path, "%s/%s.sock", server->dir, name) < 0)
        return why_set(why, ENOMEM, "no memory for a path");
    pthread_mutex_lock(&server->lock);
    int err = add_listener(server, path, function, why);
    pthread_mutex_unlock(&server->lock);
    if (err)
        free(path);
    return err;
}

/* ---- functions that come and go ---- */

static int on_added(struct host_watcher *watcher, struct host_function *function,
                    struct ice_why *why)
{
    struct server *server = CONTAINER_OF(watcher, struct server, watcher);
    return add_socket(server, function_name(function->function), function, why);
}

static void cut(struct connection *connection, void *user)
{
    connection_cut(connection, user);
}

/* The host waits until the connections have let go of the function. */
static int on_removing(struct host_watcher *watcher, struct host_function *function,
                       struct ice_why *why)
{
    struct server *server = CONTAINER_OF(watcher, struct server, watcher);
    (void)why;
    pthread_mutex_lock(&server->lock);
    for (unsigned i = 0; i < server->listener_count; i++) {
        if (server->listeners[i].function == function)
            close_listener(server, &server->listeners[i]);
    }
    pthread_mutex_unlock(&server->lock);
    table_each(server, cut, function);
    return 0;
}

/* control.sock comes last: who can reach it can reach the functions. */
int listeners_open(struct server *server, struct ice_why *why)
{
    server->watcher.added = on_added;
    server->watcher.removing = on_removing;
    int err = host_watch(server->host, &server->watcher, why);
    return err ? err : add_socket(server, "control", NULL, why);
}

void listeners_close(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    server->listening = false;
    for (unsigned i = 0; i < server->listener_count; i++) {
        if (server->listeners[i].fd >= 0)
            close_listener(server, &server->listeners[i]);
    }
    pthread_mutex_unlock(&server->lock);
}
