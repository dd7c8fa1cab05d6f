/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The server as its own files see it. A socket with its clients is a *lane*, and has all that they
 * need for itself: threads, a table of connections, memory. So what the clients of one function do,
 * or wait for, is nothing to another's.
 */
#ifndef ICESIM_ICESIM_SERVER_PRIVATE_H
#define ICESIM_ICESIM_SERVER_PRIVATE_H

#include "connection.h"
#include "server.h"

#define TICK_MS     200
#define DISCARD_MS  (1000 - TICK_MS) /* a deadline is noticed up to a tick late */
#define IDLE_TICKS  5u               /* then a connection gives its cached buffers back */
#define GRACE_MS    1000             /* server_stop's, unless told otherwise */
#define STALL_MS    5000             /* to finish a frame, take a reply, … */
#define STALL_BYTES (512u << 10)     /* … or move so much of it, while others wait for memory */

struct lane {
    struct server *server;
    struct lane *next;              /* the server's */
    struct host_function *function; /* held; NULL: control */
    char *path;
    int epoll;
    int timer; /* ticks while there are connections, or accepting is paused */
    int stop;  /* eventfd: the threads end */
    struct budget budget;

    pthread_mutex_t lock; /* of what follows; no other is taken below it */
    int fd;               /* listens; -1: no more */
    bool paused;          /* accept failed, the tick tries again */
    bool ticking;
    pthread_cond_t none_open;
    struct connection *table; /* `limit` entries, of which the first `table_len` have been used */
    unsigned table_len, limit, open;
    struct connection *free_entries;
    pthread_t *threads;
    unsigned thread_count;

    atomic_uint more;    /* threads that may yet be started */
    atomic_uint waiting; /* threads without an event */
};

struct server {
    struct host *host;
    struct views *views;
    struct back_ends *back_ends;
    int grace_ms;
    unsigned threads, connections; /* of a lane, at most */
    size_t buffers;                /* the same */
    char *dir;
    struct host_watcher watcher;

    pthread_mutex_t lock; /* of what follows; a lane's or the host's may be taken below it */
    struct lane *lanes;   /* the functions' */
    struct lane *control;
    bool listening;
    bool warned; /* that there are too few descriptors */

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
int table_init(struct lane *lane, unsigned limit);
/* A free entry, or NULL: the limit is reached. The lane's lock is held. */
struct connection *table_take(struct lane *lane);
void table_put(struct connection *connection);
/* Calls `each` for every entry that was ever used, without the lane's lock. */
void table_each(struct lane *lane, void (*each)(struct connection *, void *), void *user);
/* Waits until no connection is open, at most `timeout_ms`. True: none is. */
bool table_wait_empty(struct lane *lane, int timeout_ms);
void table_free(struct lane *lane);

/* ---- lane.c ---- */

#define LISTENER_DATA   (UINT64_C(1) << 31) /* epoll data of `fd` */
#define LISTENER_EVENTS (EPOLLIN | EPOLLONESHOT)

/* A lane that listens on `fd`, and holds `function`. Both descriptor and `path` are its own on
 * success. 0 or -errno. */
int lane_open(struct server *server, int fd, char *path, struct host_function *function,
              struct lane **lane, struct ice_why *why);

/* Nobody comes any more; removes the socket. */
void lane_refuse_new(struct lane *lane);

/* Closes its connections as soon as nothing runs on them, which it waits for. */
void lane_cut(struct lane *lane);

/* After lane_cut, and not by one of its threads. */
void lane_free(struct lane *lane);

/* Adds to the epoll, or changes there. 0 or -errno. */
int lane_epoll(struct lane *lane, int operation, int fd, uint32_t events, uint64_t data);

/* Puts a connection into the epoll, with no interest yet. 0 or -errno. */
int lane_watch(struct connection *connection, struct ice_why *why);

/* Sets the interest of a connection. Its lock is held. */
void lane_arm(struct connection *connection, uint32_t events);

/* Ticks while there is something to tick for. The lane's lock is held. */
void lane_tick(struct lane *lane, bool on);

/* ---- listeners.c ---- */

/* Listens on control.sock and, now and as they come, on FUNCTION.sock of every function. */
int listeners_open(struct server *server, struct ice_why *why);
/* Closes all and removes the sockets; none comes any more. */
void listeners_close(struct server *server);
/* Somebody may be waiting. */
void listener_event(struct lane *lane);
/* Tries again after accept has failed. */
void listener_resume(struct lane *lane);

/* ---- jobs.c: control messages that may wait for requests run on a thread of their own ---- */

int jobs_start(struct server *server, struct ice_why *why);
void jobs_stop(struct server *server);
void jobs_add(struct connection *connection);

#endif
