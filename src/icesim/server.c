/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Listeners and the pool. One epoll carries all: connections and listeners, disarmed by each event
 * (EPOLLONESHOT) so that one worker has it; and three descriptors of the server's own: the tick,
 * the news of memory granted, the end.
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

/* epoll data: an entry's generation and index, or one of ours. */
#define DATA_OURS     (UINT64_C(1) << 31)
#define DATA_TIMER    (DATA_OURS | 1)
#define DATA_BUDGET   (DATA_OURS | 2)
#define DATA_STOP     (DATA_OURS | 3)
#define DATA_LISTENER (DATA_OURS | 256) /* and its index */

#define DESCRIPTORS_BESIDE 256u /* media, FUSE, the server's own */

static uint64_t data_of(const struct connection *connection)
{
    return (uint64_t)connection->generation << 32 | connection->index;
}

static int watch(struct server *server, int operation, int fd, uint32_t events, uint64_t data)
{
    struct epoll_event event = {.events = events, .data.u64 = data};
    return epoll_ctl(server->epoll, operation, fd, &event) < 0 ? -errno : 0;
}

int server_watch(struct server *server, struct connection *connection, struct ice_why *why)
{
    int err = watch(server, EPOLL_CTL_ADD, connection->fd, EPOLLONESHOT, data_of(connection));
    return err ? why_errno(why, -err, "watching a connection") : 0;
}

void server_arm(struct server *server, struct connection *connection, uint32_t events)
{
    /* Fails only for one that server_watch could not add, which is closing. */
    (void)watch(server, EPOLL_CTL_MOD, connection->fd, events, data_of(connection));
}

/* ---- the tick ---- */

/* The server's lock is held. */
static void set_tick(struct server *server, bool on)
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

static void listen_on(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    for (unsigned i = 0; server->listening && i < server->listener_count; i++)
        watch(server, EPOLL_CTL_MOD, server->listeners[i].fd, EPOLLIN | EPOLLONESHOT,
              DATA_LISTENER + i);
    server->paused = false;
    pthread_mutex_unlock(&server->lock);
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
        set_tick(server, false);
    pthread_mutex_unlock(&server->lock);
    if (paused)
        listen_on(server);
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

static void admit(struct server *server, const struct listener *listener, int fd)
{
    struct connection *connection = table_take(server);
    if (!connection) {
        turn_away(server, fd);
        return;
    }
    pthread_mutex_lock(&server->lock);
    set_tick(server, true);
    pthread_mutex_unlock(&server->lock);
    connection_open(connection, fd, listener->function);
}

/* Without descriptors or memory for one more, trying again at once would spin: the tick does. */
static void pause_accepting(struct server *server, int err)
{
    pthread_mutex_lock(&server->lock);
    if (server->listening) { /* else it has been shut down */
        if (!server->paused)
            log_warning("no new connections for a moment: %s", strerror(err));
        server->paused = true;
        set_tick(server, true);
    }
    pthread_mutex_unlock(&server->lock);
}

static void on_listener(struct server *server, unsigned index)
{
    const struct listener *listener = &server->listeners[index];
    int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    int err = errno;
    if (fd < 0 && err != EAGAIN && err != EINTR && err != ECONNABORTED) {
        pause_accepting(server, err);
        return;
    }
    pthread_mutex_lock(&server->lock);
    if (server->listening)
        watch(server, EPOLL_CTL_MOD, listener->fd, EPOLLIN | EPOLLONESHOT, DATA_LISTENER + index);
    pthread_mutex_unlock(&server->lock);
    if (fd >= 0)
        admit(server, listener, fd);
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
            on_listener(server, (unsigned)(data - DATA_LISTENER));
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

/* ---- the sockets ---- */

static int remove_leftover(const char *path, struct ice_why *why)
{
    struct stat st;
    if (lstat(path, &st) < 0)
        return errno == ENOENT ? 0 : why_errno(why, errno, "%s", path);
    if (!S_ISSOCK(st.st_mode))
        return why_set(why, EEXIST, "%s is in the way, and not a socket", path);
    return unlink(path) < 0 ? why_errno(why, errno, "removing %s", path) : 0;
}

/* The mode is set before the name is there (unix(7) takes it from the socket). */
static int bind_private(int fd, const char *path, struct ice_why *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, path);
    if (fchmod(fd, 0600) < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return why_errno(why, errno, "socket %s", path);
    if (listen(fd, SOMAXCONN) < 0) {
        int err = why_errno(why, errno, "socket %s", path);
        unlink(path);
        return err;
    }
    return 0;
}

static int add_listener(struct server *server, const char *dir, const char *name,
                        struct ice_function *function, struct ice_why *why)
{
    struct listener *listener = &server->listeners[server->listener_count];
    char *path;
    if (asprintf(&path, "%s/%s.sock", dir, name) < 0)
        return why_set(why, ENOMEM, "no memory for a path");
    size_t room = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
    int fd = -1;
    int err = 0;
    if (strlen(path) > room)
        err = why_set(why, ENAMETOOLONG, "socket path %s has %zu bytes; %zu is the most", path,
                      strlen(path), room);
    if (!err)
        err = remove_leftover(path, why);
    if (!err) {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        err = fd < 0 ? why_errno(why, errno, "socket %s", path) : bind_private(fd, path, why);
    }
    if (err) {
        if (fd >= 0)
            close(fd);
        free(path);
        return err;
    }
    *listener = (struct listener){.fd = fd, .function = function, .path = path};
    err = watch(server, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLONESHOT,
                DATA_LISTENER + server->listener_count++);
    return err ? why_errno(why, -err, "watching %s", path) : 0;
}

/* control.sock comes last: who can reach it can reach the functions. */
static int add_listeners(struct server *server, const char *dir, struct ice_why *why)
{
    struct host *host = server->host;
    int err = 0;
    for (unsigned i = 0; !err && i < host->function_count; i++) {
        struct ice_function *function = host->functions[i].function;
        err = add_listener(server, dir, function_name(function), function, why);
    }
    return err ? err : add_listener(server, dir, "control", NULL, why);
}

/* ---- start and stop ---- */

static int open_descriptors(struct server *server, struct ice_why *why)
{
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    server->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    server->stop = eventfd(0, EFD_CLOEXEC);
    if (server->epoll < 0 || server->timer < 0 || server->stop < 0)
        return why_errno(why, errno, "the server's descriptors");
    int err = watch(server, EPOLL_CTL_ADD, server->timer, EPOLLIN | EPOLLET, DATA_TIMER);
    if (!err)
        err = watch(server, EPOLL_CTL_ADD, server->budget.wake, EPOLLIN | EPOLLET, DATA_BUDGET);
    if (!err)
        err = watch(server, EPOLL_CTL_ADD, server->stop, EPOLLIN, DATA_STOP);
    return err ? why_errno(why, -err, "the server's epoll") : 0;
}

/* A connection is a descriptor, and the usual soft limit is as many as there may be connections. */
static void raise_descriptor_limit(unsigned connections)
{
    rlim_t need = connections + DESCRIPTORS_BESIDE;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= need)
        return;
    if (limit.rlim_max < need)
        log_warning("RLIMIT_NOFILE is %llu: %u connections need %llu",
                    (unsigned long long)limit.rlim_max, connections, (unsigned long long)need);
    limit.rlim_cur = limit.rlim_max < need ? limit.rlim_max : need;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static void free_server(struct server *server)
{
    for (unsigned i = 0; i < server->listener_count; i++) {
        close(server->listeners[i].fd);
        free(server->listeners[i].path);
    }
    table_free(server);
    budget_destroy(&server->budget);
    const int fds[] = {server->epoll, server->timer, server->stop};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
        if (fds[i] >= 0)
            close(fds[i]);
    }
    free(server);
}

int server_start(const struct server_params *params, struct server **result, struct ice_why *why)
{
    struct server *server = calloc(1, sizeof(*server));
    if (!server)
        return why_set(why, ENOMEM, "no memory for the server");
    server->host = params->host;
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
    raise_descriptor_limit(server->limit);
    server->listening = true;
    err = jobs_start(server, why);
    if (!err)
        err = open_descriptors(server, why);
    if (!err)
        err = start_threads(server, params->threads, why);
    if (!err)
        err = add_listeners(server, params->dir, why);
    if (err) {
        server_refuse_new(server);
        server_stop(server);
        return err;
    }
    *result = server;
    return 0;
}

/* The descriptors stay open until no worker can be at them. */
void server_refuse_new(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    server->listening = false;
    for (unsigned i = 0; i < server->listener_count; i++) {
        unlink(server->listeners[i].path);
        epoll_ctl(server->epoll, EPOLL_CTL_DEL, server->listeners[i].fd, NULL);
        shutdown(server->listeners[i].fd, SHUT_RDWR);
    }
    pthread_mutex_unlock(&server->lock);
}

static void finish(struct connection *connection, void *user)
{
    (void)user;
    connection_finish(connection);
}

static void cut(struct connection *connection, void *user)
{
    (void)user;
    connection_cut(connection);
}

void server_stop(struct server *server)
{
    table_each(server, finish, NULL);
    bool empty = table_wait_empty(server, 1000);
    while (!empty) { /* again, for one that was just being accepted */
        table_each(server, cut, NULL);
        empty = table_wait_empty(server, 100);
    }
    stop_threads(server);
    jobs_stop(server);
    free_server(server);
}
