/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Listeners: control.sock, and a socket for each function as long as the host has it. A listener
 * accepts and goes under its lane's lock.
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

static const char *name_of(const struct host_function *function)
{
    return function ? function_name(function->function) : "control";
}

/* ---- accepting ---- */

/* The socket's buffer is empty: what little there is to say goes in at once. */
static void turn_away(const struct lane *lane, int fd)
{
    struct ice_why why;
    uint8_t reply[ERROR_REPLY_MAX];
    why_set(&why, EUSERS, "%u connections to %s are open, and no more are served", lane->limit,
            name_of(lane->function));
    size_t len = message_error(reply, sizeof(reply), 0, &why);
    if (send(fd, reply, len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        log_debug("a client above the limit was gone already");
    close(fd);
}

/* Without descriptors or memory for one more, trying again at once would spin: the tick does. The
 * lock is held. */
static void pause_accepting(struct lane *lane, int err)
{
    if (!lane->paused)
        log_warning("%s: no new connections for a moment: %s", name_of(lane->function),
                    strerror(err));
    lane->paused = true;
    lane_tick(lane, true);
}

static void arm(struct lane *lane)
{
    lane_epoll(lane, EPOLL_CTL_MOD, lane->fd, LISTENER_EVENTS, LISTENER_DATA);
}

/* A descriptor, with a free entry of the table or, above the limit, NULL; or -1. */
static int accept_one(struct lane *lane, struct connection **connection)
{
    int fd = -1;
    pthread_mutex_lock(&lane->lock);
    if (lane->fd >= 0) {
        fd = accept4(lane->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        int err = errno;
        if (fd < 0 && err != EAGAIN && err != EINTR && err != ECONNABORTED)
            pause_accepting(lane, err);
        else
            arm(lane);
    }
    if (fd >= 0) {
        *connection = table_take(lane);
        lane_tick(lane, true);
    }
    pthread_mutex_unlock(&lane->lock);
    return fd;
}

void listener_event(struct lane *lane)
{
    struct connection *connection;
    int fd = accept_one(lane, &connection);
    if (fd < 0)
        return;
    if (connection)
        connection_open(connection, fd);
    else
        turn_away(lane, fd);
}

void listener_resume(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    if (lane->fd >= 0)
        arm(lane);
    lane->paused = false;
    pthread_mutex_unlock(&lane->lock);
}

/* ---- sockets ---- */

/* A connection is a descriptor, and the usual soft limit is as many as one function may have. The
 * lock is held. */
static void raise_descriptor_limit(struct server *server)
{
    unsigned functions = 1;
    for (const struct lane *lane = server->lanes; lane; lane = lane->next)
        functions++;
    unsigned long lacking =
        runtime_raise_descriptors(functions, (functions + 1) * server->connections);
    if (lacking && !server->warned)
        log_warning("RLIMIT_NOFILE: %u functions with %u connections each need %lu more", functions,
                    server->connections, lacking);
    server->warned = server->warned || lacking;
}

/* The lock is held. `path` is the lane's on success. */
static int add_lane(struct server *server, char *path, struct host_function *function,
                    struct lane **lane, struct ice_why *why)
{
    if (!server->listening)
        return why_set(why, ESHUTDOWN, "icesim is about to end");
    raise_descriptor_limit(server);
    int fd = socket_listen(path, why);
    if (fd < 0)
        return fd;
    int err = lane_open(server, fd, path, function, lane, why);
    if (err) {
        unlink(path);
        close(fd);
    }
    return err;
}

static int add_socket(struct server *server, struct host_function *function, struct ice_why *why)
{
    char *path;
    struct lane *lane;
    if (asprintf(&path, "%s/%s.sock", server->dir, name_of(function)) < 0)
        return why_set(why, ENOMEM, "no memory for a path");
    pthread_mutex_lock(&server->lock);
    int err = add_lane(server, path, function, &lane, why);
    if (err) {
        free(path);
    } else if (function) {
        lane->next = server->lanes;
        server->lanes = lane;
    } else {
        server->control = lane;
    }
    pthread_mutex_unlock(&server->lock);
    return err;
}

/* ---- functions that come and go ---- */

static int on_added(struct host_watcher *watcher, struct host_function *function,
                    struct ice_why *why)
{
    return add_socket(CONTAINER_OF(watcher, struct server, watcher), function, why);
}

static int on_removing(struct host_watcher *watcher, struct host_function *function,
                       struct ice_why *why)
{
    struct server *server = CONTAINER_OF(watcher, struct server, watcher);
    struct lane **link = &server->lanes;
    (void)why;
    pthread_mutex_lock(&server->lock);
    while (*link && (*link)->function != function)
        link = &(*link)->next;
    struct lane *lane = *link;
    if (lane)
        *link = lane->next;
    pthread_mutex_unlock(&server->lock);
    if (!lane)
        return 0;
    lane_refuse_new(lane);
    lane_cut(lane);
    lane_free(lane);
    return 0;
}

/* control.sock comes last: who can reach it can reach the functions. */
int listeners_open(struct server *server, struct ice_why *why)
{
    server->watcher.added = on_added;
    server->watcher.removing = on_removing;
    int err = host_watch(server->host, &server->watcher, why);
    return err ? err : add_socket(server, NULL, why);
}

void listeners_close(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    server->listening = false;
    for (struct lane *lane = server->lanes; lane; lane = lane->next)
        lane_refuse_new(lane);
    if (server->control)
        lane_refuse_new(server->control);
    pthread_mutex_unlock(&server->lock);
}
