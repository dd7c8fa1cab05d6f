/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes in and out of a connection. Data of answers goes from the socket straight into the
 * request's buffers, together with whatever follows it into the input buffer, by one readv.
 */
#include "base/bytes.h"
#include "base/clock.h"
#include "base/iov.h"
#include "base/secret.h"
#include "internal.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#define PARTS_MAX 16 /* of one system call */

void link_start_clock(struct client *client)
{
    client->deadline_ms = client->timeout_ms < 0 ? -1 : now_ms() + client->timeout_ms;
}

int link_poll(void *user, int fd, short events, int64_t deadline_ms)
{
    (void)user;
    for (;;) {
        struct pollfd pollfd = {.fd = fd, .events = events};
        int64_t left = deadline_ms < 0 ? -1 : deadline_ms - now_ms();
        int n = poll(&pollfd, 1, deadline_ms >= 0 && left < 0 ? 0 : (int)left);

        if (n > 0)
            return pollfd.revents;
        if (n == 0)
            return 0;
        if (errno != EINTR)
            return -errno;
    }
}

/* Waits for `events`; returns those that came, or -errno. */
static int wait_for(struct client *client, short events, struct ice_why *why)
{
    int came = client->wait(client->wait_user, client->fd, events, client->deadline_ms);

    if (came == 0)
        return why_set(why, ETIMEDOUT, "no answer within %g s", client->timeout_ms / 1000.0);
    return came < 0 ? why_errno(why, -came, "waiting for the server") : came;
}

int link_break(struct client *client, const struct ice_why *cause, struct ice_why *why)
{
    if (!client->lost.err) {
        client->lost = *cause;
        shutdown(client->fd, SHUT_RDWR);
        for (unsigned i = 0; i < ENTRIES; i++) {
            struct entry *entry = &client->entries[i];
            struct ice_request *request = entry->request;

            if (!entry->busy)
                continue;
            *entry = (struct entry){0};
            if (request) {
                client->in_flight--;
                request->done(request, 0, &client->lost);
            }
        }
    }
    if (why)
        *why = client->lost;
    return -client->lost.err;
}

struct entry *link_open_entry(struct client *client, enum message message,
                              struct ice_request *request)
{
    unsigned i = request ? 0 : CALL_ENTRY;

    while (request && i < IN_FLIGHT_MAX && client->entries[i].busy)
        i++;
    if (request && i == IN_FLIGHT_MAX)
        return NULL;
    client->entries[i] = (struct entry){
        .busy = true,
        .tag = ++client->uses << TAG_INDEX_BITS | i,
        .message = message,
        .request = request,
    };
    if (request)
        client->in_flight++;
    return &client->entries[i];
}

/* As iov_slice, into at most `max` parts. */
static unsigned window(const struct iovec *iov, unsigned n, size_t offset, size_t len,
                       struct iovec *parts, unsigned max)
{
    unsigned count = 0;

    for (unsigned i = 0; i < n && len && count < max; i++) {
        size_t part;

        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        part = min_u64(iov[i].iov_len - offset, len);
        parts[count++] = (struct iovec){(char *)iov[i].iov_base + offset, part};
        len -= part;
        offset = 0;
    }
    return count;
}

/* One sendmsg from byte `offset` of head and list on. Bytes sent, or -errno. */
static ssize_t send_some(struct client *client, const uint8_t *head, size_t head_len,
                         const struct iovec *iov, unsigned n, size_t offset)
{
    struct iovec parts[PARTS_MAX];
    struct msghdr message = {.msg_iov = parts};
    unsigned count = 0;
    ssize_t sent;

    if (offset < head_len)
        parts[count++] = (struct iovec){(void *)(uintptr_t)(head + offset), head_len - offset};
    count += window(iov, n, offset < head_len ? 0 : offset - head_len, SIZE_MAX, parts + count,
                    PARTS_MAX - count);
    message.msg_iovlen = count;
    do
        sent = sendmsg(client->fd, &message, MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    return sent < 0 ? -errno : sent;
}

/* The socket is full: lets the server have its answers taken while it does not read. */
static int wait_to_send(struct client *client, struct ice_why *why)
{
    struct ice_why cause;
    int events = wait_for(client, POLLIN | POLLOUT, &cause);

    if (events < 0)
        return link_break(client, &cause, why);
    return events & (POLLIN | POLLHUP | POLLERR) ? link_receive(client, why) : 0;
}

int link_send(struct client *client, const uint8_t *head, size_t head_len, const struct iovec *iov,
              unsigned n, struct ice_why *why)
{
    size_t total = head_len + iov_length(iov, n);
    size_t offset = 0;

    while (offset < total) {
        ssize_t sent = send_some(client, head, head_len, iov, n, offset);
        int err = 0;

        if (sent >= 0) {
            offset += (size_t)sent;
        } else if (sent == -EAGAIN) {
            err = wait_to_send(client, why);
        } else {
            /* The server has closed: it may have said why before. */
            while (!err)
                err = link_receive(client, why);
        }
        if (err)
            return err;
    }
    return 0;
}

static int lost(struct ice_why *why)
{
    return why_set(why, ECONNRESET, "connection lost");
}

/* One readv into `parts` once something is there. Bytes, or -errno. */
static ssize_t receive_some(struct client *client, const struct iovec *parts, unsigned count,
                            struct ice_why *why)
{
    for (;;) {
        ssize_t got = readv(client->fd, parts, (int)count);
        int err;

        if (got > 0)
            return got;
        if (got == 0)
            return lost(why);
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return errno == ECONNRESET ? lost(why) : why_errno(why, errno, "receiving");
        err = wait_for(client, POLLIN, why);
        if (err < 0)
            return err;
    }
}

/* Room behind in_end; grows the buffer when a frame fills all of it. 0 or -errno. */
static int make_room(struct client *client, struct ice_why *why)
{
    size_t have = client->in_end - client->in_start;
    uint8_t *grown;

    if (client->in_start) {
        memmove(client->in, client->in + client->in_start, have);
        client->in_start = 0;
        client->in_end = have;
    }
    if (have < client->in_capacity)
        return 0;
    grown = secret_realloc(client->in, client->in_capacity * 2);
    if (!grown)
        return secret_exhausted("a long answer", why);
    client->in = grown;
    client->in_capacity *= 2;
    return 0;
}

int link_fill(struct client *client, size_t least, struct ice_why *why)
{
    size_t wanted = client->in_end - client->in_start + least;

    while (client->in_end - client->in_start < wanted) {
        struct iovec part;
        ssize_t got;
        int err = make_room(client, why);

        if (err)
            return err;
        part = (struct iovec){client->in + client->in_end, client->in_capacity - client->in_end};
        got = receive_some(client, &part, 1, why);
        if (got < 0)
            return (int)got;
        client->in_end += (size_t)got;
    }
    return 0;
}

int link_read_into(struct client *client, const struct iovec *iov, unsigned n, size_t offset,
                   size_t len, struct ice_why *why)
{
    size_t done = iov_scatter(iov, n, offset, client->in + client->in_start,
                              min_u64(len, client->in_end - client->in_start));

    client->in_start += done;
    while (done < len) {
        struct iovec parts[PARTS_MAX];
        unsigned count = window(iov, n, offset + done, len - done, parts, PARTS_MAX - 1);
        size_t wanted = iov_length(parts, count);
        ssize_t got;

        client->in_start = client->in_end = 0;
        if (wanted == len - done)
            parts[count++] = (struct iovec){client->in, client->in_capacity};
        got = receive_some(client, parts, count, why);
        if (got < 0)
            return (int)got;
        if ((size_t)got > wanted)
            client->in_end = (size_t)got - wanted;
        done += min_u64((size_t)got, wanted);
    }
    return 0;
}

int link_receive(struct client *client, struct ice_why *why)
{
    struct ice_why cause = {0};

    if (client->lost.err)
        return link_break(client, &client->lost, why);
    for (;;) {
        size_t missing;

        switch (answer_take(client, &missing, &cause)) {
        case READ_OK:
            return 0;
        case READ_BAD:
            return link_break(client, &cause, why);
        case READ_MORE:
            break;
        }
        if (link_fill(client, missing, &cause))
            return link_break(client, &cause, why);
    }
}
