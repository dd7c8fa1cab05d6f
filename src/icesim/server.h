/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The socket server: control.sock and FUNCTION.sock of every function. Each socket has threads of
 * its own, which all wait in one epoll: a function's clients may keep its threads busy, but nobody
 * else's. A worker that is given a connection reads one frame, lets others have the connection, and
 * runs the request itself; so requests of one connection run in parallel, their replies go out as
 * they are done, and no worker ever waits for a socket.
 */
#ifndef ICESIM_ICESIM_SERVER_H
#define ICESIM_ICESIM_SERVER_H

#include "base/why.h"
#include "host.h"

struct server;
struct back_ends;
struct views;

struct server_params {
    struct host *host;
    struct views *views;         /* for control messages */
    struct back_ends *back_ends; /* the same; NULL: there are none */
    const char *dir; /* where the sockets go; leftover sockets of these names are replaced */
    /* Of each socket, at most: */
    unsigned threads;     /* 0: one per core, two at least */
    unsigned connections; /* at once; 0: CONNECTIONS_MAX. Above it one is told so and closed. */
    size_t buffers;       /* bytes of request buffers; 0: BUFFERS_MAX */
    unsigned grace_ms;    /* how long server_stop waits for replies to go out; 0: 1000 */
};

/* 0 or -errno: a socket path that is too long, a folder that is not writable, no threads. */
int server_start(const struct server_params *params, struct server **server, struct ice_why *why);

/* No new clients: removes the sockets. Those that are connected are served on. */
void server_refuse_new(struct server *server);

/*
 * Reads no further frame, lets requests in flight end and their replies go out (for at most
 * grace_ms), closes all, frees. After server_refuse_new.
 */
void server_stop(struct server *server);

#endif
