/* SPDX-License-Identifier: BSD-2-Clause */
#include "socket.h"
#include "base/bytes.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#define CONTROL_BYTES CMSG_SPACE(sizeof(int) * VHOST_USER_TABLE_REGIONS)

/* Keeps what fits, closes the rest. False: there were too many. */
static bool keep_fds(struct message *message, const struct cmsghdr *control)
{
    unsigned count = (unsigned)((control->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    bool all = true;

    for (unsigned i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(control) + i * sizeof(fd), sizeof(fd));
        if (message->fd_count < VHOST_USER_TABLE_REGIONS) {
            message->fds[message->fd_count++] = fd;
        } else {
            close(fd);
            all = false;
        }
    }
    return all;
}

/* Returns as recvmsg; *many: more descriptors came than any message has. */
static ssize_t receive_some(struct message *message, int fd, void *to, size_t len, bool *many)
{
    union {
        struct cmsghdr align;
        char bytes[CONTROL_BYTES];
    } control;
    struct iovec part = {to, len};
    struct msghdr msg = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n;

    do
        n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return n;
    *many = msg.msg_flags & MSG_CTRUNC;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && !keep_fds(message, c))
            *many = true;
    return n;
}

static enum vhost_user_refusal check_header(const struct vhost_user_header *header)
{
    if ((header->flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION ||
        header->flags & VHOST_USER_REPLY)
        return REFUSAL_MESSAGE_FLAGS;
    if (header->size > sizeof(union vhost_user_payload))
        return REFUSAL_MESSAGE_SIZE;
    return REFUSAL_NONE;
}

/* Bytes that the message has at least, as far as is known. */
static size_t wanted(const struct message *message)
{
    size_t header = sizeof(message->header);

    return message->have < header ? header : header + message->header.size;
}

static void *next_byte(struct message *message)
{
    size_t header = sizeof(message->header);

    if (message->have < header)
        return (uint8_t *)&message->header + message->have;
    return (uint8_t *)&message->payload + (message->have - header);
}

/* Nothing is read past the message's end: the next one's descriptors are not this one's. */
enum receipt message_receive(struct message *message, int fd, enum vhost_user_refusal *refusal)
{
    while (message->have < wanted(message)) {
        bool many = false;
        ssize_t n =
            receive_some(message, fd, next_byte(message), wanted(message) - message->have, &many);
        if (n < 0 && errno == EAGAIN)
            return RECEIPT_NOTHING;
        if (n <= 0 && !message->have)
            return RECEIPT_END;
        *refusal = n <= 0 ? REFUSAL_MESSAGE_CUT : many ? REFUSAL_MESSAGE_FDS : REFUSAL_NONE;
        if (*refusal)
            return RECEIPT_REFUSED;
        message->have += (size_t)n;
        if (message->have == sizeof(message->header))
            *refusal = check_header(&message->header);
        if (*refusal)
            return RECEIPT_REFUSED;
    }
    return RECEIPT_MESSAGE;
}

void message_clear(struct message *message)
{
    for (unsigned i = 0; i < message->fd_count; i++)
        if (message->fds[i] >= 0)
            close(message->fds[i]);
    message->fd_count = 0;
    message->have = 0;
}

int message_take_fd(struct message *message)
{
    int fd = message->fd_count ? message->fds[0] : -1;

    if (message->fd_count)
        message->fds[0] = -1;
    return fd;
}

int message_send(int fd, const struct vhost_user_header *header, const void *payload, int passed)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec parts[] = {
        {(void *)header, sizeof(*header)},
        {(void *)payload, header->size},
    };
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = header->size ? 2 : 1};
    ssize_t n;

    if (passed >= 0) {
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &passed, sizeof(passed));
    }
    do
        n = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : 0; /* so small a message goes whole or not at all */
}
