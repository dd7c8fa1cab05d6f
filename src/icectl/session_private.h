/* SPDX-License-Identifier: BSD-2-Clause */
/* What tasks and links are: session.c runs and polls them, links.c opens and ends links. */
#ifndef ICESIM_ICECTL_SESSION_PRIVATE_H
#define ICESIM_ICECTL_SESSION_PRIVATE_H

#include "session.h"

#include <poll.h>

struct link {
    struct link *next;
    struct session *session;
    struct device device;
    unsigned users;
    bool waiting;             /* inside a call of its client, which waits */
    bool readable;            /* as the last poll said */
    bool uncertain;           /* perhaps reset since it was negotiated */
    bool overdue;             /* no answer came in time: its wait ends */
    int timeout_ms;           /* -1: none */
    int64_t heard_ms;         /* last sign of life, or the last submission */
    uint64_t tickets, served; /* of those that wait for room */
};

struct task {
    struct session *session;
    struct fiber *fiber;
    void (*run)(void *arg);
    void *arg;
    bool ready;
    struct pollfd wait; /* fd -1: for no socket */
    int64_t deadline_ms;
    int came;
    struct link *room; /* waits for room there */
    uint64_t ticket;
    bool used_control;
};

struct session {
    struct link *links;
    unsigned link_count;
    struct task *tasks[TASKS_MAX]; /* NULL: free */
    unsigned task_count;
    struct task *ready[TASKS_MAX]; /* a ring */
    unsigned ready_first, ready_count;
    struct task *current;
    bool driving;       /* inside client_run of a link */
    struct pollfd *fds; /* for all there is to poll: links_grow */
    void (*event)(void *user, const char *function, enum protocol_event event, uint64_t value);
    void *user;
};

static inline bool link_is_alive(const struct link *link)
{
    return client_alive(link->device.client);
}

/* The client_wait of links. */
int link_wait(void *user, int fd, short events, int64_t deadline_ms);

/* Makes room for one more link in session->fds. */
bool links_grow(struct session *session);

/* Closes all links. */
void links_free(struct session *session);

#endif
