/* SPDX-License-Identifier: BSD-2-Clause */
/* The thread of messages: it accepts front ends, and serves the one that is there. */
#include "vhost_user.h"
#include "base/bytes.h"
#include "base/log.h"
#include "front_end.h"
#include "worker.h"
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAUSE_MS 1000 /* before accepting again, when descriptors or memory are short */

struct vhost_user {
    struct ice_function *function;
    int listener; /* -1: nobody is to come (any more) */
    int first;    /* a connection that is there from the start; -1: none */
    int stop;     /* an eventfd */
    int events;   /* an eventfd of the front end's */
    struct worker worker;
    atomic_bool refuse_new, connected;
    bool paused; /* nobody is accepted for a moment */
    struct refusal_counts refused;
    struct front_end front;
    unsigned queue_count;
    struct queue queues[];
};

static void clear_event(int fd)
{
    eventfd_t count;

    eventfd_read(fd, &count);
}

/* ---- connections ---- */

static void welcome(struct vhost_user *back_end, int fd)
{
    atomic_store(&back_end->connected, front_end_open(&back_end->front, fd));
}

static void say_goodbye(struct vhost_user *back_end)
{
    front_end_close(&back_end->front);
    atomic_store(&back_end->connected, false);
}

static void accept_one(struct vhost_user *back_end)
{
    const char *name = function_name(back_end->function);
    int fd = accept4(back_end->listener, NULL, NULL, SOCK_CLOEXEC);

    if (fd < 0) {
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
            log_warning("%s: no new front end for a moment: %s", name, strerror(errno));
            back_end->paused = true;
        }
        return;
    }
    if (back_end->front.fd >= 0) {
        log_warning("%s: a second front end is turned away", name);
        close(fd);
    } else {
        welcome(back_end, fd);
    }
}

/* ---- the thread ---- */

/*
 * poll looks in this order: when one that has hung up and come again is seen at the listener, its
 * hang-up is seen as well.
 */
enum { POLL_STOP, POLL_EVENTS, POLL_LISTENER, POLL_FRONT, POLL_CHANNEL, POLLS };

static void wait_for_something(struct vhost_user *back_end, struct pollfd fds[static POLLS])
{
    const struct front_end *front = &back_end->front;
    bool connected = front->fd >= 0;
    bool owes = connected && back_channel_owes(&front->channel);
    bool accepts = !back_end->paused && !atomic_load(&back_end->refuse_new);

    fds[POLL_STOP] = (struct pollfd){.fd = back_end->stop, .events = POLLIN};
    fds[POLL_EVENTS] = (struct pollfd){.fd = back_end->events, .events = POLLIN};
    fds[POLL_FRONT] = (struct pollfd){.fd = front->fd, .events = POLLIN};
    fds[POLL_CHANNEL] = (struct pollfd){.fd = owes ? front->channel.fd : -1, .events = POLLOUT};
    fds[POLL_LISTENER] = (struct pollfd){.fd = accepts ? back_end->listener : -1, .events = POLLIN};
    if (poll(fds, POLLS, back_end->paused ? PAUSE_MS : -1) < 0)
        for (unsigned i = 0; i < POLLS; i++)
            fds[i].revents = 0;
    back_end->paused = false;
}

/* False: the front end is to go. */
static bool attend(struct vhost_user *back_end, const struct pollfd fds[static POLLS])
{
    struct front_end *front = &back_end->front;

    if (fds[POLL_EVENTS].revents)
        clear_event(back_end->events);
    if (fds[POLL_CHANNEL].revents)
        front_end_pay(front);
    if (fds[POLL_EVENTS].revents && !front_end_attend(front))
        return false;
    return !fds[POLL_FRONT].revents || front_end_receive(front);
}

/*
 * The connection comes before the listener: one that has hung up makes room for who comes, as when
 * a VMM is restarted. While what it sent before is not all read, who comes waits. False: it is to
 * end.
 */
static bool step(struct vhost_user *back_end)
{
    struct pollfd fds[POLLS];
    bool connected = back_end->front.fd >= 0;

    wait_for_something(back_end, fds);
    if (fds[POLL_STOP].revents)
        return false;
    if (connected && !attend(back_end, fds))
        say_goodbye(back_end);
    else if (!connected && fds[POLL_EVENTS].revents)
        clear_event(back_end->events);
    bool leaving = back_end->front.fd >= 0 && fds[POLL_FRONT].revents & POLLHUP;
    if (fds[POLL_LISTENER].revents && !leaving)
        accept_one(back_end);
    if (atomic_load(&back_end->refuse_new) && back_end->listener >= 0) {
        close(back_end->listener);
        back_end->listener = -1;
    }
    return true;
}

static void serve(void *user)
{
    struct vhost_user *back_end = user;

    pthread_setname_np(pthread_self(), "vhost-user");
    if (back_end->first >= 0)
        welcome(back_end, back_end->first);
    while (step(back_end))
        ;
    if (back_end->front.fd >= 0)
        say_goodbye(back_end);
}

/* ---- life ---- */

static void free_all(struct vhost_user *back_end)
{
    while (back_end->queue_count)
        queue_free(&back_end->queues[--back_end->queue_count]);
    if (back_end->stop >= 0)
        close(back_end->stop);
    if (back_end->events >= 0)
        close(back_end->events);
    free(back_end);
}

static int make_parts(struct vhost_user *back_end, unsigned queues)
{
    struct front_end *front = &back_end->front;
    int err = 0;

    back_end->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    back_end->events = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (back_end->stop < 0 || back_end->events < 0)
        return -errno;
    while (back_end->queue_count < queues && !err) {
        unsigned i = back_end->queue_count;
        err = queue_init(&back_end->queues[i], i, &front->host);
        back_end->queue_count += !err;
    }
    front->fd = -1;
    front->function = back_end->function;
    front->events = back_end->events;
    front->refused = &back_end->refused;
    front->queues = back_end->queues;
    front->queue_count = back_end->queue_count;
    return err;
}

static int set_nonblocking(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) ? -errno : 0;
}

int vhost_user_open(struct ice_function *function, enum vhost_user_socket kind, int fd,
                    struct vhost_user **result, struct ice_why *why)
{
    unsigned queues = function_rings(function);
    struct vhost_user *back_end =
        calloc(1, sizeof(*back_end) + queues * sizeof(back_end->queues[0]));
    int err;

    assert(queues <= BACK_CHANNEL_QUEUES);
    if (!back_end)
        return why_set(why, ENOMEM, "no memory for a back end of %s", function_name(function));
    back_end->function = function;
    back_end->listener = kind == VHOST_USER_LISTENING ? fd : -1;
    back_end->first = kind == VHOST_USER_CONNECTED ? fd : -1;
    err = make_parts(back_end, queues);
    if (!err && kind == VHOST_USER_LISTENING)
        err = set_nonblocking(fd);
    if (!err)
        err = worker_start(&back_end->worker, serve, back_end);
    if (err) {
        free_all(back_end);
        return why_errno(why, -err, "a back end of %s", function_name(function));
    }
    *result = back_end;
    return 0;
}

void vhost_user_refuse_new(struct vhost_user *back_end)
{
    atomic_store(&back_end->refuse_new, true);
    eventfd_write(back_end->events, 1);
}

void vhost_user_close(struct vhost_user *back_end)
{
    if (!back_end)
        return;
    eventfd_write(back_end->stop, 1);
    worker_join(&back_end->worker);
    if (back_end->listener >= 0)
        close(back_end->listener);
    free_all(back_end);
}

void vhost_user_count(struct vhost_user *back_end, struct vhost_user_counts *counts)
{
    counts->connected = atomic_load(&back_end->connected);
    counts->requests = 0;
    counts->kicks = 0;
    counts->calls = 0;
    for (unsigned i = 0; i < back_end->queue_count; i++) {
        const struct queue *queue = &back_end->queues[i];
        counts->requests += atomic_load_explicit(&queue->taken, memory_order_relaxed);
        counts->kicks += atomic_load_explicit(&queue->kicks, memory_order_relaxed);
        counts->calls += atomic_load_explicit(&queue->calls, memory_order_relaxed);
    }
    for (unsigned i = 0; i < REFUSALS; i++)
        counts->refused.of[i] =
            atomic_load_explicit(&back_end->refused.of[i], memory_order_relaxed);
}
