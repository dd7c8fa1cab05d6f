/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A connection's life: what is to happen next is never remembered but worked out from its state
 * (connection_settle), so no order of events can lose a step.
 */
#include "connection.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "server_private.h"
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- what is next ---- */

static bool wants_in(const struct connection *c)
{
    if (c->reading || c->dead)
        return false;
    if (c->failed)
        return !c->eof;
    return !c->eof && !c->starving && !c->out_first && (!c->waits_idle || c->running == 0) &&
           (c->receiving || c->busy < IN_FLIGHT_MAX);
}

static bool finished(const struct connection *c)
{
    if (c->closing || c->reading || c->sending || c->running || c->submitting)
        return false;
    return c->dead || (c->eof && !c->out_first);
}

/* Input that has been read already raises no event: an open way out does, at once. */
static uint32_t interest(const struct connection *c)
{
    uint32_t events = 0;
    if (wants_in(c)) {
        events |= EPOLLIN;
        if (c->in_len && !c->wants_more)
            events |= EPOLLOUT;
    }
    if (c->out_first && !c->sending && !c->dead)
        events |= EPOLLOUT;
    return events;
}

static void arm(struct connection *c, uint32_t events)
{
    events |= EPOLLONESHOT;
    if (c->armed == events || c->closing)
        return;
    if ((c->reading || c->sending) && events == EPOLLONESHOT)
        return; /* who reads or sends settles after it: nothing is to be told until then */
    if (c->hung_up && events == EPOLLONESHOT)
        return; /* a hangup that nothing can be done about yet would come again at once */
    c->armed = events;
    lane_arm(c, events);
}

static struct output *pop_output(struct connection *c)
{
    struct output *output = c->out_first;
    c->out_first = output->next;
    if (!c->out_first)
        c->out_last = NULL;
    return output;
}

static void drop_outputs(struct connection *c)
{
    while (c->out_first) {
        struct output *output = pop_output(c);
        output->release(c, output);
    }
}

/* The steps that no worker is needed for. */
static void advance(struct connection *c)
{
    if (c->dead && !c->sending)
        drop_outputs(c);
    if (c->failed && !c->shut && !c->sending && !c->out_first && c->running == 0) {
        shutdown(c->fd, SHUT_WR);
        c->shut = true;
    }
}

static void close_connection(struct connection *c)
{
    struct lane *lane = c->lane;
    int fd = c->fd;
    if (c->attachment)
        attachment_close(c->attachment);
    budget_cancel(&lane->budget, &c->waiter);
    epoll_ctl(lane->epoll, EPOLL_CTL_DEL, fd, NULL);
    pthread_mutex_lock(&c->lock);
    drop_outputs(c);
    if (c->receiving)
        request_put(c->receiving);
    c->receiving = NULL;
    request_free_cache(c);
    assert(c->busy == 0);
    secret_free(c->in);
    c->in = NULL;
    c->attachment = NULL;
    c->fd = -1;
    c->generation++;
    pthread_mutex_unlock(&c->lock);
    close(fd);
    table_put(c);
}

void connection_settle(struct connection *c)
{
    advance(c);
    if (finished(c)) {
        c->closing = true;
        pthread_mutex_unlock(&c->lock);
        close_connection(c);
        return;
    }
    arm(c, interest(c));
    pthread_mutex_unlock(&c->lock);
}

/* What is finished is dead or at its end: then there is an event to be had, and a worker comes. */
void connection_settle_later(struct connection *c)
{
    advance(c);
    arm(c, finished(c) ? EPOLLIN | EPOLLOUT : interest(c));
    pthread_mutex_unlock(&c->lock);
}

/* ---- progress ---- */

void connection_progress(struct connection *c)
{
    c->still = 0;
    c->moved = 0;
}

void connection_moved(struct connection *c, size_t n)
{
    c->moved += n;
    if (c->moved >= STALL_BYTES)
        connection_progress(c);
}

/* ---- sending ---- */

#define SEND_PARTS 16

static void sent(struct connection *c, size_t n)
{
    connection_moved(c, n);
    while (n) {
        struct output *output = c->out_first;
        size_t part = min_u64(n, output->len);
        output->bytes += part;
        output->len -= part;
        n -= part;
        if (output->len)
            return;
        connection_progress(c);
        pop_output(c);
        output->release(c, output);
    }
}

/*
 * The lock is held, but not while the kernel copies: others only append meanwhile, and leave their
 * bytes to us.
 */
static void send_queued(struct connection *c)
{
    if (c->sending)
        return;
    c->sending = true;
    while (c->out_first && !c->dead) {
        struct iovec parts[SEND_PARTS];
        struct msghdr message = {.msg_iov = parts};
        for (struct output *o = c->out_first; o && message.msg_iovlen < SEND_PARTS; o = o->next)
            parts[message.msg_iovlen++] = (struct iovec){(void *)(uintptr_t)o->bytes, o->len};
        pthread_mutex_unlock(&c->lock);
        ssize_t n = sendmsg(c->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        int err = errno;
        pthread_mutex_lock(&c->lock);
        if (n >= 0)
            sent(c, (size_t)n);
        else if (err == EAGAIN)
            break;
        else if (err != EINTR)
            c->dead = true;
    }
    c->sending = false;
}

void connection_queue(struct connection *c, struct output *output, const uint8_t *bytes, size_t len)
{
    output->bytes = bytes;
    output->len = len;
    output->next = NULL;
    if (c->dead) {
        output->release(c, output);
        return;
    }
    if (!c->out_first)
        connection_progress(c);
    if (c->out_last)
        c->out_last->next = output;
    else
        c->out_first = output;
    c->out_last = output;
    send_queued(c);
}

/* ---- events ---- */

static void release_small(struct connection *c, struct output *output)
{
    (void)c;
    (void)output;
}

static void release_document(struct connection *c, struct output *output)
{
    (void)output;
    document_free(&c->document);
}

static void queue_events(struct connection *c)
{
    c->events_sending = true;
    size_t len = message_events(c);
    connection_queue(c, &c->event, c->event_bytes, len);
}

static void release_events(struct connection *c, struct output *output)
{
    (void)output;
    c->events_sending = false;
    if (c->events_pending && !c->dead)
        queue_events(c);
}

static void on_event(void *user, enum attachment_event event, uint64_t value)
{
    struct connection *c = user;
    pthread_mutex_lock(&c->lock);
    c->events_pending |= 1u << event;
    c->event_value[event] = value;
    if (!c->events_sending && !c->eof && !c->failed)
        queue_events(c);
    connection_settle_later(c);
}

static const struct attachment_ops connection_events = {.event = on_event};

/* Takes the lock of an entry that is in use; false without the lock: it is not. */
static bool lock_open(struct connection *c)
{
    pthread_mutex_lock(&c->lock);
    if (c->fd >= 0 && !c->closing)
        return true;
    pthread_mutex_unlock(&c->lock);
    return false;
}

void connection_event(struct connection *c, uint32_t generation, uint32_t events)
{
    if (!lock_open(c))
        return;
    if (c->generation != generation) {
        pthread_mutex_unlock(&c->lock);
        return;
    }
    c->armed = 0;
    if (events & (EPOLLHUP | EPOLLERR))
        c->hung_up = true;
    if (c->out_first)
        send_queued(c);
    if (!wants_in(c)) {
        connection_settle(c);
        return;
    }
    c->reading = true;
    c->waits_idle = false;
    pthread_mutex_unlock(&c->lock);
    connection_receive(c);
}

void connection_finish(struct connection *c)
{
    if (!lock_open(c))
        return;
    c->eof = true;
    connection_settle(c);
}

void connection_cut(struct connection *c)
{
    if (!lock_open(c))
        return;
    c->dead = true;
    connection_settle(c);
}

void connection_fed(struct connection *c)
{
    if (!lock_open(c))
        return;
    c->starving = false;
    connection_settle(c);
}

void connection_tick(struct connection *c, int64_t now, bool scarce)
{
    if (!lock_open(c))
        return;
    c->still++;
    if (c->failed && now >= c->deadline)
        c->dead = true;
    bool receiving = !c->reading && c->receiving; /* whoever reads has it for himself */
    bool holds = receiving || c->out_first;       /* memory that waits for the client */
    if (scarce && holds && c->still > STALL_MS / TICK_MS)
        c->dead = true;
    if (scarce || (c->busy == 0 && c->still > IDLE_TICKS))
        request_free_cache(c);
    connection_settle(c);
}

/* ---- the beginning ---- */

/* The control socket is for root and for whoever runs this icesim. */
static void check_peer(struct connection *c)
{
    struct ucred peer = {.uid = (uid_t)-1};
    socklen_t len = sizeof(peer);
    getsockopt(c->fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
    c->peer = peer.uid;
    c->forbidden = peer.uid != 0 && peer.uid != geteuid();
}

/* Says why there is no service, and ends. The lock is held. */
static void turn_away(struct connection *c, const struct ice_why *why)
{
    size_t len = message_error(c->small_bytes, sizeof(c->small_bytes), 0, why);
    c->eof = true;
    connection_queue(c, &c->small, c->small_bytes, len);
}

static void begin(struct connection *c, int fd)
{
    /* From `fd` on all is one client's. */
    memset((char *)c + offsetof(struct connection, fd), 0,
           sizeof(*c) - offsetof(struct connection, fd));
    c->fd = fd;
    c->host = c->lane->server->host;
    c->small.release = release_small;
    c->large.release = release_document;
    c->event.release = release_events;
    c->reading = true; /* nobody else reads until the attachment is there */
}

void connection_open(struct connection *c, int fd)
{
    const struct host_function *function = c->lane->function;
    struct ice_attachment *attachment = NULL;
    struct ice_why why = {0};
    pthread_mutex_lock(&c->lock);
    begin(c, fd);
    pthread_mutex_unlock(&c->lock);

    uint8_t *in = secret_alloc(FRAME_INLINE_MAX);
    int err = in ? 0 : secret_exhausted("a connection", &why);
    if (!err)
        err = lane_watch(c, &why);
    if (!err && function)
        err = attachment_open(function->function, &connection_events, c, &attachment, &why);

    pthread_mutex_lock(&c->lock);
    c->in = in;
    c->attachment = attachment;
    if (err)
        turn_away(c, &why);
    else if (!function)
        check_peer(c);
    c->reading = false;
    connection_settle(c);
}
