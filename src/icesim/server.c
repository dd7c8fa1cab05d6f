/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The pool. One epoll carries all: connections and listeners, disarmed by each event (EPOLLONESHOT)
 * so that one worker has it; and three descriptors of the server's own: the tick, the news of
 * memory granted, the end.
 */
#include "server.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "server_private.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

/* epoll data: an entry's generation and index, or one of ours, listeners among them. */
#define DATA_OURS   (UINT64_C(1) << 31)
#define DATA_TIMER  (DATA_OURS | 1)
#define DATA_BUDGET (DATA_OURS | 2)
#define DATA_STOP   (DATA_OURS | 3)

static uint64_t data_of(const struct connection *connection)
{
    return (uint64_t)connection->generation << 32 | connection->index;
}

int server_epoll(struct server *server, int operation, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(server->epoll, operation, fd, &event) < 0 ? -errno : 0;
}

int server_watch(struct server *server, struct connection *connection, struct ice_why *why)
{
    int err =
        server_epoll(server, EPOLL_CTL_ADD, connection->fd, EPOLLONESHOT, data_of(connection));
    return err ? why_errno(why, -err, "watching a connection") : 0;
}

void server_arm(struct server *server, struct connection *connection, uint32_t events)
{
    /* Fails only for one that server_watch could not add, which is closing. */
    (void)server_epoll(server, EPOLL_CTL_MOD, connection->fd, events, data_of(connection));
}

/* ---- the tick ---- */

void server_tick(struct server *server, bool on)
{
    if (server->ticking == on)
        return;
    server->ticking = on;
    struct timespec interval = {.tv_nsec = on ? TICK_MS * 1000000L : 0};
    struct itimerspec spec = {.it_interval = interval, .it_value = interval};
    timerfd_settime(server->timer, 0, &spec, NULL);
}

struct tick {
    int64_t now;
    bool scarce;
};

static void tick_connection(struct connection *connection, void *user)
{
    const struct tick *tick = user;
    connection_tick(connection, tick->now, tick->scarce);
}

static void on_tick(struct server *server)
{
    uint64_t count;
    if (read(server->timer, &count, sizeof(count)) < 0)
        return; /* another worker had it */
    struct tick tick = {
        .now = now_ms(),
        .scarce = budget_short(&server->budget),
    };
    table_each(server, tick_connection, &tick);
    pthread_mutex_lock(&server->lock);
    bool paused = server->paused;
    if (!server->open && !paused)
        server_tick(server, false);
    pthread_mutex_unlock(&server->lock);
    if (paused)
        listeners_resume(server);
}

/* ---- memory that has come ---- */

static void on_grants(struct server *server)
{
    uint64_t count;
    if (read(server->budget.wake, &count, sizeof(count)) < 0)
        return;
    struct budget_waiter *waiter;
    while ((waiter = budget_next_granted(&server->budget))) {
        struct connection *connection = CONTAINER_OF(waiter, struct connection, waiter);
        connection_fed(connection);
    }
}

/* ---- the pool ---- */

static void *work(void *user)
{
    struct server *server = user;
    for (;;) {
        struct epoll_event event;
        int n = epoll_wait(server->epoll, &event, 1, -1);
        if (n != 1)
            continue;
        uint64_t data = event.data.u64;
        if (!(data & DATA_OURS))
            connection_event(&server->table[(uint32_t)data], (uint32_t)(data >> 32), event.events);
        else if (data == DATA_TIMER)
            on_tick(server);
        else if (data == DATA_BUDGET)
            on_grants(server);
        else if (data == DATA_STOP)
            return NULL;
        else
            listeners_event(server, data);
    }
}

static int start_threads(struct server *server, unsigned count, struct ice_why *why)
{
    if (!count) {
        long cores = sysconf(_SC_NPROCESSORS_ONLN);
        count = cores < 2 ? 2 : (unsigned)cores;
    }
    server->threads = calloc(count, sizeof(*server->threads));
    if (!server->threads)
        return why_set(why, ENOMEM, "no memory for threads");
    for (; server->thread_count < count; server->thread_count++) {
        int err = pthread_create(&server->threads[server->thread_count], NULL, work, server);
        if (err)
            return why_errno(why, err, "starting thread %u", server->thread_count);
    }
    return 0;
}

static void stop_threads(struct server *server)
{
    uint64_t one = 1;
    while (write(server->stop, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
    for (unsigned i = 0; i < server->thread_count; i++)
        pthread_join(server->threads[i], NULL);
    free(server->threads);
}

/* ---- start and stop ---- */

static int open_descriptors(struct server *server, struct ice_why *why)
{
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    server->stop = eventfd(0, EFD_CLOEXEC);
    if (server->epoll < 0 || server->timer < 0 || server->stop < 0)
        return why_errno(why, errno, "the server's descriptors");
    int err = server_epoll(server, EPOLL_CTL_ADD, server->timer, EPOLLIN | EPOLLET, DATA_TIMER);
    if (!err)
        err = server_epoll(server, EPOLL_CTL_ADD, server->budget.wake, EPOLLIN | EPOLLET,
                           DATA_BUDGET);
    if (!err)
        err = server_epoll(server, EPOLL_CTL_ADD, server->stop, EPOLLIN, DATA_STOP);
    return err ? why_errno(why, -err, "the server's epoll") : 0;
}

static void free_server(struct server *server)
{
    free(server->listeners);
    table_free(server);
    budget_destroy(&server->budget);
    const int fds[] = {server->epoll, server->timer, server->stop};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    free(server->dir);
    free(server);
}

int server_start(const struct server_params *params, struct server **result, struct ice_why *why)
{
    struct server *server = calloc(1, sizeof(*server));
    if (!server)
        return why_set(why, ENOMEM, "no memory for the server");
    server->host = params->host;
    server->grace_ms = params->grace_ms ? (int)params->grace_ms : GRACE_MS;
    server->views = params->views;
    server->back_ends = params->back_ends;
    server->epoll = server->timer = server->stop = -1;
    int err = budget_init(&server->budget, params->buffers ? params->buffers : BUFFERS_MAX);
    if (err) {
        free(server);
        return why_errno(why, -err, "the server's descriptors");
    }
    if (table_init(server, params->connections ? params->connections : CONNECTIONS_MAX)) {
        free_server(server);
        return why_set(why, ENOMEM, "no memory for connections");
    }
    server->dir = strdup(params->dir);
    err = server->dir ? 0 : why_set(why, ENOMEM, "no memory for a path");
    server->listening = true;
    if (!err)
        err = jobs_start(server, why);
    if (!err)
        err = open_descriptors(server, why);
    if (!err)
        err = start_threads(server, params->threads, why);
    if (!err)
        err = listeners_open(server, why);
    if (err) {
        server_refuse_new(server);
        server_stop(server);
        return err;
    }
    *result = server;
    return 0;
}

void server_refuse_new(struct server *server)
{
    listeners_close(server);
}

static void finish(struct connection *connection, void *user)
{
    (void)user;
    connection_finish(connection);
}

static void cut(struct connection *connection, void *user)
{
    (void)user;
    connection_cut(connection, NULL);
}

void server_stop(struct server *server)
{
    table_each(server, finish, NULL);
    bool empty = table_wait_empty(server, server->grace_ms);
    while (!empty) { /* again, for one that was just being accepted */
        table_each(server, cut, NULL);
        empty = table_wait_empty(server, 100);
    }
    stop_threads(server);
    jobs_stop(server);
    host_unwatch(server->host, &server->watcher);
    free_server(server);
}
