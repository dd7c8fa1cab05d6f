/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages to the back end and from it. The socket has a time limit of its own for both ways. */
#include "base/clock.h"
#include "private.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static const char *connection_text(int err)
{
    if (err == EAGAIN)
        return "no answer in time";
    return err ? strerror(err) : "the back end hung up";
}

static int lost(struct ice_why *why, uint32_t request, int err)
{
    return why_set(why,
                   err == EAGAIN ? ETIMEDOUT
                   : err         ? err
                                 : ECONNRESET,
                   "message %u: %s", request, connection_text(err));
}

static void limit_time(int fd, int ms)
{
    struct timeval limit = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000L};

    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

int socket_connect(struct frontend *frontend, struct ice_why *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int64_t deadline = now_ms() + frontend->options.timeout_ms;
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);
    int fd;

    if (strlen(frontend->options.path) >= sizeof(address.sun_path))
        return why_set(why, ENAMETOOLONG, "\"%s\" is too long a path", frontend->options.path);
    strcpy(address.sun_path, frontend->options.path);
    for (;;) {
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return why_errno(why, errno, "socket");
        if (!connect(fd, (struct sockaddr *)&address, sizeof(address)))
            break;
        int err = errno;
        close(fd);
        if ((err != ENOENT && err != ECONNREFUSED) || now_ms() >= deadline)
            return why_errno(why, err, "connect to %s", frontend->options.path);
        usleep(10000);
    }
    limit_time(fd, frontend->options.timeout_ms);
    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len);
    frontend->peer = peer.pid;
    frontend->fd = fd;
    return 0;
}

/* One sendmsg, so that messages of several threads (in-band kicks) do not mix. */
static int send_message(int socket, uint32_t request, uint32_t flags, const void *payload,
                        uint32_t len, const int *fds, unsigned nfds)
{
    struct vhost_user_header header = {request, flags | VHOST_USER_VERSION, len};
    struct iovec parts[] = {{&header, sizeof(header)}, {(void *)payload, len}};
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int) * VHOST_USER_TABLE_REGIONS)];
    } control = {0};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = len ? 2 : 1};

    if (nfds) {
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * nfds);
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        *c = (struct cmsghdr){CMSG_LEN(sizeof(int) * nfds), SOL_SOCKET, SCM_RIGHTS};
        memcpy(CMSG_DATA(c), fds, sizeof(int) * nfds);
    }
    ssize_t sent = sendmsg(socket, &message, MSG_NOSIGNAL);
    if (sent < 0)
        return -errno;
    return (size_t)sent == sizeof(header) + len ? 0 : -EAGAIN;
}

/* Exactly `len` bytes; *fd is set when a descriptor comes with them. 0, -errno, or 1 at the end. */
static int receive(int socket, void *buffer, size_t len, int *fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    uint8_t *at = buffer;

    while (len) {
        struct iovec part = {at, len};
        struct msghdr message = {.msg_iov = &part,
                                 .msg_iovlen = 1,
                                 .msg_control = &control,
                                 .msg_controllen = sizeof(control)};
        ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got ? -errno : 1;
        struct cmsghdr *c = CMSG_FIRSTHDR(&message);
        if (c && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
            memcpy(fd, CMSG_DATA(c), sizeof(*fd));
        at += got;
        len -= (size_t)got;
    }
    return 0;
}

static int await_reply(struct frontend *frontend, uint32_t request, void *reply, uint32_t len,
                       int *fd, struct ice_why *why)
{
    struct vhost_user_header header;
    int err = receive(frontend->fd, &header, sizeof(header), fd);

    if (err)
        return lost(why, request, err < 0 ? -err : 0);
    if (header.request != request || header.flags != (VHOST_USER_VERSION | VHOST_USER_REPLY) ||
        header.size != len)
        return why_set(why, EPROTO,
                       "message %u of %u bytes: the answer is %u, flags 0x%x, %u bytes", request,
                       len, header.request, header.flags, header.size);
    err = receive(frontend->fd, reply, len, fd);
    return err ? lost(why, request, err < 0 ? -err : 0) : 0;
}

int socket_call(struct frontend *frontend, uint32_t request, const void *payload, uint32_t len,
                void *reply, uint32_t reply_len, int *fd, struct ice_why *why)
{
    int none = -1, err = send_message(frontend->fd, request, 0, payload, len, NULL, 0);

    if (err)
        return lost(why, request, -err);
    err = await_reply(frontend, request, reply, reply_len, fd ? fd : &none, why);
    if (none >= 0)
        close(none);
    return err;
}

int socket_tell(struct frontend *frontend, uint32_t request, const void *payload, uint32_t len,
                const int *fds, unsigned nfds, struct ice_why *why)
{
    bool acked = frontend_has(frontend, VHOST_USER_PROTOCOL_F_REPLY_ACK);
    uint64_t result = 0;
    int none = -1, err = send_message(frontend->fd, request, acked ? VHOST_USER_NEED_REPLY : 0,
                                      payload, len, fds, nfds);

    if (err)
        return lost(why, request, -err);
    if (acked)
        err = await_reply(frontend, request, &result, sizeof(result), &none, why);
    if (none >= 0)
        close(none);
    if (!err && result)
        return why_set(why, EIO, "message %u is refused", request);
    return err;
}

int socket_notify(struct frontend *frontend, uint32_t request, const void *payload, uint32_t len)
{
    return send_message(frontend->fd, request, 0, payload, len, NULL, 0);
}

/* ---- the back end's own messages ---- */

static void raise_fd(int fd)
{
    eventfd_write(fd, 1);
}

static void for_ring(struct frontend *frontend, uint32_t request, uint32_t index)
{
    for (unsigned i = 0; i < frontend->queue_count; i++) {
        struct frontend_queue *queue = &frontend->queues[i];
        if (queue->index == index)
            raise_fd(request == VHOST_USER_BACKEND_VRING_CALL ? queue->call_fd : queue->err_fd);
    }
}

static void take(struct frontend *frontend, const struct vhost_user_header *header,
                 const uint8_t *payload)
{
    uint64_t done = 0;
    uint32_t index;

    if (header->request == VHOST_USER_BACKEND_CONFIG_CHANGE)
        frontend->config_changes++;
    else if (header->size >= sizeof(index)) {
        memcpy(&index, payload, sizeof(index));
        for_ring(frontend, header->request, index);
    }
    if (header->flags & VHOST_USER_NEED_REPLY)
        send_message(frontend->channel_fd, header->request, VHOST_USER_REPLY, &done, sizeof(done),
                     NULL, 0);
}

void frontend_listen(struct frontend *frontend)
{
    struct vhost_user_header header;
    uint8_t payload[64];
    int none = -1;

    if (frontend->channel_fd < 0)
        return;
    pthread_mutex_lock(&frontend->listening);
    while (recv(frontend->channel_fd, &header, sizeof(header), MSG_DONTWAIT | MSG_PEEK) ==
           sizeof(header)) {
        if (receive(frontend->channel_fd, &header, sizeof(header), &none) ||
            header.size > sizeof(payload) ||
            receive(frontend->channel_fd, payload, header.size, &none))
            break;
        take(frontend, &header, payload);
    }
    pthread_mutex_unlock(&frontend->listening);
}

int frontend_wait_change(struct frontend *frontend, uint64_t seen, int timeout_ms)
{
    int64_t deadline = now_ms() + timeout_ms;

    for (;;) {
        struct pollfd fds[] = {
            {.fd = frontend->channel_fd, .events = POLLIN},
            {.fd = frontend->fd, .events = POLLRDHUP},
        };
        int64_t left = deadline - now_ms();

        frontend_listen(frontend);
        if (frontend->config_changes > seen)
            return 0;
        if (frontend->fd < 0)
            return -ECONNRESET;
        if (left < 0)
            return -ETIMEDOUT;
        if (poll(fds, 2, (int)left) < 0 && errno != EINTR)
            return -errno;
        if (fds[1].revents & POLLRDHUP)
            return -ECONNRESET;
    }
}
