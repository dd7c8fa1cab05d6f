/* SPDX-License-Identifier: BSD-2-Clause */
/* The server as its own files see it: the table of connections, the pool, the control thread. */
#ifndef ICESIM_ICESIM_SERVER_PRIVATE_H
#define ICESIM_ICESIM_SERVER_PRIVATE_H

#include "connection.h"
#include "server.h"

#define TICK_MS    200
#define DISCARD_MS (1000 - TICK_MS) /* a deadline is noticed up to a tick late */
#define IDLE_TICKS 5u               /* then a connection gives its cached buffers back */
#define GRACE_MS   1000             /* server_stop's, unless told otherwise */
#define STALL_MS   5000             /* without a byte moved, while others wait for memory */

/* A socket that takes connections. Entries are used again, and `generation` tells them apart. */
struct listener {
    int fd; /* -1: the entry is free */
    uint32_t generation;
    struct host_function *function; /* NULL: control */
    char *path;
};

struct server {
    struct host *host;
    struct views *views;
    struct back_ends *back_ends;
    int epoll;
    int grace_ms;
    int timer; /* ticks while there are connections, or a listener waits for one */
    int stop;  /* eventfd: the pool ends */
    struct budget budget;
    char *dir;
    struct host_watcher watcher;

    pthread_mutex_t lock; /* of what follows; below it only the host's is taken */
    struct listener *listeners;
    unsigned listener_count, listener_room;
    pthread_cond_t none_open;
    struct connection *table; /* `limit` entries, of which the first `table_len` have been used */
    unsigned table_len, limit, open;
    struct connection *free_entries;
    bool listening;
    bool paused; /* accept failed, the tick tries again */
    bool ticking;

    pthread_t *threads;
    unsigned thread_count;

    pthread_mutex_t job_lock;
    pthread_cond_t job_there;
    struct connection *jobs, *last_job;
    bool jobs_end;
    pthread_t job_thread;
    bool job_thread_runs;
    unsigned long_jobs;
};

/* ---- table.c ---- */

/* 0 or -errno. */
int table_init(struct server *server, unsigned limit);
/* A free entry, or NULL: the limit is reached. */
struct connection *table_take(struct server *server);
void table_put(struct server *server, struct connection *connection);
/* Calls `each` for every entry that was ever used, without the server's lock. */
void table_each(struct server *server, void (*each)(struct connection *, void *), void *user);
/* Waits until no connection is open, at most `timeout_ms`. True: none is. */
bool table_wait_empty(struct server *server, int timeout_ms);
void table_free(struct server *server);

/* ---- server.c ---- */

/* Puts a connection into the epoll, with no interest yet. 0 or -errno. */
int server_watch(struct server *server, struct connection *connection, struct ice_why *why);

/* Sets the interest of a connection. Its lock is held. */
void server_arm(struct server *server, struct connection *connection, uint32_t events);

/* Adds to the epoll, or changes there. 0 or -errno. */
int server_epoll(struct server *server, int operation, int fd, uint32_t events, uint64_t data);

/* Ticks while there is something to tick for. The server's lock is held. */
void server_tick(struct server *server, bool on);

/* ---- listeners.c ---- */

/* Epoll data of listeners: the generation, LISTENER_DATA and the index. */
#define LISTENER_DATA (UINT64_C(1) << 31 | UINT64_C(1) << 30)

/* Listens on control.sock and, now and as they come, on FUNCTION.sock of every function. */
int listeners_open(struct server *server, struct ice_why *why);
/* Somebody may be waiting: `data` came with the event. */
void listeners_event(struct server *server, uint64_t data);
/* Tries again after accept has failed. */
void listeners_resume(struct server *server);
/* Closes all and removes the sockets; none comes any more. */
void listeners_close(struct server *server);

/* ---- jobs.c: control messages that may wait for requests run on a thread of their own ---- */

int jobs_start(struct server *server, struct ice_why *why);
void jobs_stop(struct server *server);
void jobs_add(struct connection *connection);

#endif
