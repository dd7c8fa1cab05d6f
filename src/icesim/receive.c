/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Input: one frame a turn. At a frame's start at most FRAME_INLINE_MAX bytes are read, into secret
 * memory, as a key may be among them; once the head of a REQUEST is known, its first bytes go to
 * the request's secret memory and the rest straight to its buffer, by one readv that takes the
 * start of the next frame along.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "connection.h"
#include "server_private.h"
#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

struct turn {
    enum {
        TURN_NOTHING, /* all there was is read, or memory is waited for */
        TURN_REPLY,   /* small_bytes are to be sent: `len` */
        TURN_SUBMIT,  /* `request` is whole */
        TURN_JOB,     /* the control thread goes on */
        TURN_IDLE,    /* the next message waits until nothing runs */
        TURN_FAILED,  /* malformed; `len` bytes of reply, perhaps 0 */
        TURN_EOF,
        TURN_DEAD,
    } kind;
    size_t len;
    struct request *request;
};

static const struct turn nothing = {.kind = TURN_NOTHING};

static struct turn failed(struct connection *c, bool has_tag, uint64_t tag,
                          const struct ice_why *why)
{
    struct turn turn = {.kind = TURN_FAILED};
    log_debug("a malformed frame ends a connection: %s", why->text);
    if (has_tag)
        turn.len = message_error(c->small_bytes, sizeof(c->small_bytes), tag, why);
    return turn;
}

void connection_consume(struct connection *c, size_t len)
{
    assert(len <= c->in_len);
    memmove(c->in, c->in + len, c->in_len - len);
    secret_wipe(c->in + c->in_len - len, len);
    c->in_len -= len;
    c->wants_more = false;
}

static ssize_t receive(struct connection *c, struct iovec *parts, unsigned n)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = n};
    ssize_t got;
    do
        got = recvmsg(c->fd, &message, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    return got < 0 ? -errno : got;
}

/* More bytes for `in`: their number, 0 at the end, or -errno. */
static ssize_t receive_inline(struct connection *c)
{
    struct iovec part = {c->in + c->in_len, FRAME_INLINE_MAX - c->in_len};
    ssize_t n = receive(c, &part, 1);
    if (n > 0)
        c->in_len += (size_t)n;
    return n;
}

static struct turn ended(struct connection *c, ssize_t n)
{
    if (n == -EAGAIN) {
        c->wants_more = true;
        return nothing;
    }
    if (n < 0)
        return (struct turn){.kind = TURN_DEAD};
    if (!c->in_len && !c->receiving && !c->skip)
        return (struct turn){.kind = TURN_EOF};
    struct ice_why why;
    struct frame_view view = {0};
    why_set(&why, EPROTO, "the connection ended inside a frame");
    if (c->receiving)
        return failed(c, true, c->receiving->tag, &why);
    struct ice_why unused;
    if (c->in_len)
        frame_scan(c->in, c->in_len, &view, &unused);
    return failed(c, view.has_tag, view.tag, &why);
}

static struct turn receive_bulk(struct connection *c)
{
    struct request *request = c->receiving;
    while (request->received < request->bulk_len) {
        struct iovec parts[3];
        unsigned n = request_missing(request, parts);
        parts[n++] = (struct iovec){c->in, FRAME_INLINE_MAX}; /* empty while a bulk is coming */
        ssize_t got = receive(c, parts, n);
        if (got <= 0)
            return ended(c, got);
        size_t part = min_u64((size_t)got, request->bulk_len - request->received);
        request->received += part;
        c->in_len = (size_t)got - part;
        c->wants_more = false;
    }
    c->receiving = NULL;
    return (struct turn){.kind = TURN_SUBMIT, .request = request};
}

static struct turn begin_request(struct connection *c, const struct frame_view *view)
{
    struct request *request;
    switch (request_take(c, view, &request)) {
    case TAKEN:
        break;
    case TAKEN_WAIT:
        return nothing;
    case TAKEN_NO_MEMORY: {
        struct ice_why why;
        why_set(&why, ENOMEM, "no memory for a request of %zu bytes",
                view->bulk_length + view->writable_len);
        return failed(c, true, view->tag, &why);
    }
    }
    connection_consume(c, view->length);
    struct iovec parts[2];
    unsigned n = request_missing(request, parts);
    for (unsigned i = 0; i < n && c->in_len; i++) {
        size_t part = min_u64(parts[i].iov_len, c->in_len);
        memcpy(parts[i].iov_base, c->in, part);
        request->received += part;
        connection_consume(c, part);
    }
    c->receiving = request;
    return receive_bulk(c);
}

/* A REQUEST where none is taken: answered, its bulk passed over. */
static struct turn refuse_request(struct connection *c, const struct frame_view *view)
{
    struct ice_why why;
    why_set(&why, EACCES, "only a device socket takes message %u", MESSAGE_REQUEST);
    connection_consume(c, view->length);
    c->skip = view->bulk_length;
    return (struct turn){
        .kind = TURN_REPLY,
        .len = message_error(c->small_bytes, sizeof(c->small_bytes), view->tag, &why)};
}

static struct turn handle(struct connection *c, const struct frame_view *view)
{
    if (view->bulk)
        return c->attachment ? begin_request(c, view) : refuse_request(c, view);
    struct turn turn = {.kind = TURN_REPLY};
    switch (message_handle(c, view, &turn.len)) {
    case HANDLED_REPLY:
        connection_consume(c, view->length);
        return turn;
    case HANDLED_WAIT:
        return (struct turn){.kind = TURN_IDLE};
    case HANDLED_JOB:
        return (struct turn){.kind = TURN_JOB};
    }
    __builtin_unreachable();
}

static struct turn receive_frame(struct connection *c)
{
    for (;;) {
        size_t skip = min_u64(c->skip, c->in_len);
        connection_consume(c, skip);
        c->skip -= skip;
        if (c->in_len) {
            struct frame_view view = {0};
            struct ice_why why = {0};
            enum scan_result result = frame_scan(c->in, c->in_len, &view, &why);
            if (result == SCAN_BAD)
                return failed(c, view.has_tag, view.tag, &why);
            if (result == SCAN_READY)
                return handle(c, &view);
        }
        ssize_t n = receive_inline(c);
        if (n <= 0)
            return ended(c, n);
    }
}

/* What follows a malformed frame. In portions, as the client may never stop. */
static struct turn discard(struct connection *c)
{
    for (int i = 0; i < 64; i++) {
        ssize_t n = receive_inline(c);
        connection_consume(c, c->in_len);
        if (n == -EAGAIN)
            return nothing;
        if (n <= 0)
            return (struct turn){.kind = n ? TURN_DEAD : TURN_EOF};
    }
    return nothing;
}

/* The lock is held. */
static void fail(struct connection *c, size_t reply_len)
{
    c->failed = true;
    c->deadline = now_ms() + DISCARD_MS;
    connection_consume(c, c->in_len);
    c->skip = 0;
    if (c->receiving)
        request_put(c->receiving);
    c->receiving = NULL;
    if (reply_len)
        connection_queue(c, &c->small, c->small_bytes, reply_len);
}

static void apply(struct connection *c, const struct turn *turn)
{
    switch (turn->kind) {
    case TURN_NOTHING:
    case TURN_JOB:
        break;
    case TURN_REPLY:
        connection_queue(c, &c->small, c->small_bytes, turn->len);
        break;
    case TURN_SUBMIT:
        c->running++;
        c->submitting++;
        break;
    case TURN_IDLE:
        c->waits_idle = true;
        break;
    case TURN_FAILED:
        fail(c, turn->len);
        break;
    case TURN_EOF:
        c->eof = true;
        break;
    case TURN_DEAD:
        c->dead = true;
        break;
    }
}

void connection_receive(struct connection *c)
{
    const struct request *request = c->receiving;
    size_t had = request ? request->received : 0;
    struct turn turn;
    if (c->failed)
        turn = discard(c);
    else
        turn = c->receiving ? receive_bulk(c) : receive_frame(c);
    if (turn.kind == TURN_JOB) {
        jobs_add(c);
        return;
    }
    pthread_mutex_lock(&c->lock);
    if (request && c->receiving == request)
        connection_moved(c, request->received - had);
    else
        connection_progress(c);
    c->reading = false;
    apply(c, &turn);
    connection_settle(c);
    if (turn.kind == TURN_SUBMIT)
        request_submit(turn.request);
}
