/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A lane's threads and what they wait for. One epoll carries all: connections and the listener,
 * disarmed by each event (EPOLLONESHOT) so that one worker has it; and three descriptors of the
 * lane's own: the tick, the news of memory granted, the end. A lane begins with one thread; who
 * takes an event when nobody else waits starts another one, up to a limit.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "server_private.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define CUT_MS 20 /* until one that was just being accepted is looked for again */

/* epoll data: an entry's generation and index, or one of ours. */
#define DATA_OURS   LISTENER_DATA
#define DATA_TIMER  (DATA_OURS | 1)
#define DATA_BUDGET (DATA_OURS | 2)
#define DATA_STOP   (DATA_OURS | 3)

static uint64_t data_of(const struct connection *connection)
{
    return (uint64_t)connection->generation << 32 | connection->index;
}

int lane_epoll(struct lane *lane, int operation, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(lane->epoll, operation, fd, &event) < 0 ? -errno : 0;
}

int lane_watch(struct connection *connection, struct ice_why *why)
{
    int err = lane_epoll(connection->lane, EPOLL_CTL_ADD, connection->fd, EPOLLONESHOT,
                         data_of(connection));
    return err ? why_errno(why, -err, "watching a connection") : 0;
}

void lane_arm(struct connection *connection, uint32_t events)
{
    /* Fails only for one that lane_watch could not add, which is closing. */
    (void)lane_epoll(connection->lane, EPOLL_CTL_MOD, connection->fd, events, data_of(connection));
}

/* ---- the tick ---- */

void lane_tick(struct lane *lane, bool on)
{
    if (lane->ticking == on)
        return;
    lane->ticking = on;
    struct timespec interval = {.tv_nsec = on ? TICK_MS * 1000000L : 0};
    struct itimerspec spec = {.it_interval = interval, .it_value = interval};
    timerfd_settime(lane->timer, 0, &spec, NULL);
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

static void on_tick(struct lane *lane)
{
    uint64_t count;
    if (read(lane->timer, &count, sizeof(count)) < 0)
        return; /* another worker had it */
    struct tick tick = {
        .now = now_ms(),
        .scarce = budget_short(&lane->budget),
    };
    table_each(lane, tick_connection, &tick);
    pthread_mutex_lock(&lane->lock);
    bool paused = lane->paused;
    if (!lane->open && !paused)
        lane_tick(lane, false);
    pthread_mutex_unlock(&lane->lock);
    if (paused)
        listener_resume(lane);
}

/* ---- memory that has come ---- */

static void on_grants(struct lane *lane)
{
    uint64_t count;
    if (read(lane->budget.wake, &count, sizeof(count)) < 0)
        return;
    struct budget_waiter *waiter;
    while ((waiter = budget_next_granted(&lane->budget))) {
        struct connection *connection = CONTAINER_OF(waiter, struct connection, waiter);
        connection_fed(connection);
    }
}

/* ---- threads ---- */

static void *work(void *user);

/* 0 or an errno, which leaves the work to those there are. The lock is held. */
static int start_thread(struct lane *lane)
{
    if (!lane->more)
        return 0;
    lane->waiting++; /* on its behalf */
    int err = pthread_create(&lane->threads[lane->thread_count], NULL, work, lane);
    if (err) {
        lane->waiting--;
        return err;
    }
    lane->thread_count++;
    lane->more--;
    return 0;
}

/* A worker may be busy for long: somebody is to wait for what comes next. */
static void take_leave(struct lane *lane)
{
    if (atomic_fetch_sub(&lane->waiting, 1) > 1 || !lane->more)
        return;
    pthread_mutex_lock(&lane->lock);
    start_thread(lane);
    pthread_mutex_unlock(&lane->lock);
}

static void handle(struct lane *lane, const struct epoll_event *event)
{
    uint64_t data = event->data.u64;
    if (data == LISTENER_DATA)
        listener_event(lane);
    else if (data == DATA_TIMER)
        on_tick(lane);
    else if (data == DATA_BUDGET)
        on_grants(lane);
    else
        connection_event(&lane->table[(uint32_t)data], (uint32_t)(data >> 32), event->events);
}

static void *work(void *user)
{
    struct lane *lane = user;
    for (;;) {
        struct epoll_event event;
        int n = epoll_wait(lane->epoll, &event, 1, -1);
        if (n != 1)
            continue;
        if (event.data.u64 == DATA_STOP)
            return NULL;
        take_leave(lane);
        handle(lane, &event);
        lane->waiting++;
    }
}

static int start_threads(struct lane *lane, struct ice_why *why)
{
    lane->threads = calloc(lane->server->threads, sizeof(*lane->threads));
    if (!lane->threads)
        return why_set(why, ENOMEM, "no memory for threads");
    lane->more = lane->server->threads;
    pthread_mutex_lock(&lane->lock);
    int err = start_thread(lane);
    pthread_mutex_unlock(&lane->lock);
    return err ? why_errno(why, err, "starting a thread") : 0;
}

static void stop_threads(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    lane->more = 0;
    pthread_mutex_unlock(&lane->lock);
    eventfd_write(lane->stop, 1);
    for (unsigned i = 0; i < lane->thread_count; i++)
        pthread_join(lane->threads[i], NULL);
    free(lane->threads);
}

/* ---- the whole ---- */

static int open_descriptors(struct lane *lane, struct ice_why *why)
{
    lane->epoll = epoll_create1(EPOLL_CLOEXEC);
    lane->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    lane->stop = eventfd(0, EFD_CLOEXEC);
    if (lane->epoll < 0 || lane->timer < 0 || lane->stop < 0)
        return why_errno(why, errno, "a socket's descriptors");
    int err = lane_epoll(lane, EPOLL_CTL_ADD, lane->timer, EPOLLIN | EPOLLET, DATA_TIMER);
    if (!err)
        err = lane_epoll(lane, EPOLL_CTL_ADD, lane->budget.wake, EPOLLIN | EPOLLET, DATA_BUDGET);
    if (!err)
        err = lane_epoll(lane, EPOLL_CTL_ADD, lane->stop, EPOLLIN, DATA_STOP);
    if (!err)
        err = lane_epoll(lane, EPOLL_CTL_ADD, lane->fd, LISTENER_EVENTS, LISTENER_DATA);
    return err ? why_errno(why, -err, "a socket's epoll") : 0;
}

int lane_open(struct server *server, int fd, char *path, struct host_function *function,
              struct lane **result, struct ice_why *why)
{
    struct lane *lane = calloc(1, sizeof(*lane));
    if (!lane)
        return why_set(why, ENOMEM, "no memory for a socket");
    *lane = (struct lane){
        .server = server, .function = function, .epoll = -1, .timer = -1, .stop = -1, .fd = fd};
    int err = budget_init(&lane->budget, server->buffers);
    if (err) {
        free(lane);
        return why_errno(why, -err, "a socket's descriptors");
    }
    if (table_init(lane, server->connections))
        err = why_set(why, ENOMEM, "no memory for connections");
    if (!err)
        err = open_descriptors(lane, why);
    if (function)
        host_hold(server->host, function);
    if (!err)
        err = start_threads(lane, why);
    if (err) {
        lane_free(lane);
        return err;
    }
    lane->path = path;
    *result = lane;
    return 0;
}

void lane_refuse_new(struct lane *lane)
{
    pthread_mutex_lock(&lane->lock);
    if (lane->fd >= 0) {
        unlink(lane->path);
        epoll_ctl(lane->epoll, EPOLL_CTL_DEL, lane->fd, NULL);
        close(lane->fd);
    }
    lane->fd = -1;
    pthread_mutex_unlock(&lane->lock);
}

static void cut(struct connection *connection, void *user)
{
    (void)user;
    connection_cut(connection);
}

void lane_cut(struct lane *lane)
{
    do
        table_each(lane, cut, NULL);
    while (!table_wait_empty(lane, CUT_MS));
}

void lane_free(struct lane *lane)
{
    stop_threads(lane);
    if (lane->function)
        host_let_go(lane->server->host, lane->function);
    table_free(lane);
    budget_destroy(&lane->budget);
    const int fds[] = {lane->epoll, lane->timer, lane->stop};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    free(lane->path);
    free(lane);
}
