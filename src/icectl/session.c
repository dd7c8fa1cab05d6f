/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One poll serves all: links are driven from here only, in the order of their answers tasks become
 * ready, and ready tasks run in that order. While a call or a long submission on one link waits for
 * its socket the others are driven too, without any task running: a server that is short of memory
 * reads no further until the answers it holds are taken.
 */
#include "session.h"
#include "base/clock.h"
#include "fiber.h"
#include "session_private.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>

/* ---- tasks ---- */

void task_wake(struct task *task)
{
    struct session *session = task->session;

    if (task->ready || task == session->current)
        return;
    task->ready = true;
    session->ready[(session->ready_first + session->ready_count++) % TASKS_MAX] = task;
}

void task_sleep(struct task *task)
{
    assert(task == task->session->current);
    fiber_pause();
}

static int task_wait(void *user, int fd, short events, int64_t deadline_ms)
{
    struct task *task = user;

    task->wait = (struct pollfd){.fd = fd, .events = events};
    task->deadline_ms = deadline_ms;
    while (task->wait.fd >= 0)
        task_sleep(task);
    return task->came;
}

/* The socket has been heard of, or (0) the deadline has passed. */
static void end_wait(struct task *task, int came)
{
    task->came = came;
    task->wait.fd = -1;
    task_wake(task);
}

void session_adopt(struct session *session, struct client *client)
{
    session->current->used_control = true;
    client_set_wait(client, task_wait, session->current);
}

static void run_task(void *arg)
{
    struct task *task = arg;

    task->run(task->arg);
}

/* What a control call did may have reset any device. */
static void end_task(struct session *session, struct task *task)
{
    for (struct link *link = session->links; link && task->used_control; link = link->next)
        link->uncertain = true;
    for (unsigned i = 0; i < TASKS_MAX; i++)
        if (session->tasks[i] == task)
            session->tasks[i] = NULL;
    session->task_count--;
    fiber_free(task->fiber);
    free(task);
}

static void resume(struct session *session, struct task *task)
{
    bool paused;

    task->ready = false;
    session->current = task;
    paused = fiber_resume(task->fiber);
    session->current = NULL;
    if (!paused)
        end_task(session, task);
}

static void run_ready(struct session *session)
{
    while (session->ready_count) {
        struct task *task = session->ready[session->ready_first];

        session->ready_first = (session->ready_first + 1) % TASKS_MAX;
        session->ready_count--;
        resume(session, task);
    }
}

int session_start(struct session *session, void (*run)(void *arg), void *arg, struct ice_why *why)
{
    struct task *task = calloc(1, sizeof(*task));
    unsigned i = 0;

    if (!task)
        return why_set(why, ENOMEM, "no memory for a task");
    *task = (struct task){.session = session, .run = run, .arg = arg, .wait.fd = -1};
    task->fiber = fiber_new(run_task, task, why);
    if (!task->fiber) {
        free(task);
        return -ENOMEM;
    }
    assert(session->task_count < TASKS_MAX);
    while (session->tasks[i])
        i++;
    session->tasks[i] = task;
    session->task_count++;
    resume(session, task);
    return 0;
}

unsigned session_tasks(const struct session *session)
{
    return session->task_count;
}

/* ---- links ---- */

/* Delivers what has come; answers wake their tasks. */
static void drive(struct link *link)
{
    link->session->driving = true;
    client_run(link->device.client, NULL); /* a failure has ended what was in flight */
    link->heard_ms = now_ms();
    link->overdue = false;
    link->session->driving = false;
}

/* When the link's requests in flight have gone unanswered for too long; -1: never. */
static int64_t link_deadline(const struct link *link)
{
    if (link->timeout_ms < 0 || client_in_flight(link->device.client) == 0)
        return -1;
    return link->heard_ms + link->timeout_ms;
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

static bool is_listening(const struct link *link)
{
    return link_is_alive(link) && !link->waiting;
}

/* Fills session->fds; returns their number and when to stop waiting (-1: never). */
static unsigned gather(struct session *session, struct pollfd own, bool tasks, int64_t *deadline_ms)
{
    unsigned n = 0;

    session->fds[n++] = own;
    for (struct link *link = session->links; link; link = link->next) {
        if (!is_listening(link))
            continue;
        session->fds[n++] = (struct pollfd){.fd = client_fd(link->device.client), .events = POLLIN};
        *deadline_ms =
            sooner(*deadline_ms, client_has_input(link->device.client) ? 0 : link_deadline(link));
    }
    for (unsigned i = 0; tasks && i < TASKS_MAX; i++) {
        struct task *task = session->tasks[i];

        if (!task || task->wait.fd < 0)
            continue;
        session->fds[n++] = task->wait;
        *deadline_ms = sooner(*deadline_ms, task->deadline_ms);
    }
    return n;
}

/* What poll said, in gather's order. */
static void note(struct session *session, bool tasks)
{
    const struct pollfd *fd = session->fds + 1;
    int64_t now = now_ms();

    for (struct link *link = session->links; link; link = link->next) {
        int64_t deadline_ms;

        if (!is_listening(link))
            continue;
        deadline_ms = link_deadline(link);
        link->readable = fd++->revents || client_has_input(link->device.client);
        link->overdue = !link->readable && deadline_ms >= 0 && now >= deadline_ms;
    }
    for (unsigned i = 0; tasks && i < TASKS_MAX; i++) {
        struct task *task = session->tasks[i];

        if (!task || task->wait.fd < 0)
            continue;
        if (fd->revents || (task->deadline_ms >= 0 && now >= task->deadline_ms))
            end_wait(task, fd->revents);
        fd++;
    }
}

/*
 * Waits once, for `own` too, and drives the links that heard something. Returns what came for
 * `own`; 0 may mean anything else. A poll that fails (EINTR, ENOMEM) is as good as one in vain.
 */
static int poll_once(struct session *session, struct pollfd own, int64_t deadline_ms, bool tasks)
{
    unsigned n = gather(session, own, tasks, &deadline_ms);
    int64_t left = deadline_ms < 0 ? -1 : deadline_ms - now_ms();

    if (poll(session->fds, n, deadline_ms >= 0 && left < 0 ? 0 : (int)left) < 0)
        return 0;
    own = session->fds[0];
    note(session, tasks);
    for (struct link *link = session->links; link; link = link->next) {
        if (!is_listening(link) || !(link->readable || link->overdue))
            continue;
        link->readable = false;
        drive(link);
    }
    return own.revents;
}

/* In drive the rest of a frame is waited for, which is on its way. */
int link_wait(void *user, int fd, short events, int64_t deadline_ms)
{
    struct link *link = user;
    struct pollfd own = {.fd = fd, .events = events};
    int came;

    if (link->overdue)
        return 0;
    link->waiting = true;
    do {
        if (link->session->driving)
            came = poll(&own, 1, link->timeout_ms) > 0 ? own.revents : 0;
        else
            came = poll_once(link->session, own, deadline_ms, false);
    } while (!came && (deadline_ms < 0 || now_ms() < deadline_ms));
    link->waiting = false;
    return came;
}

/* The first of those that wait for room may have it. */
static void offer_room(struct session *session)
{
    for (unsigned i = 0; i < TASKS_MAX; i++) {
        struct task *task = session->tasks[i];
        const struct link *link = task ? task->room : NULL;

        if (link && task->ticket == link->served &&
            client_in_flight(link->device.client) < IN_FLIGHT_MAX)
            task_wake(task);
    }
}

bool session_round(struct session *session, int input)
{
    struct pollfd own = {.fd = input, .events = POLLIN};
    int came = 0;

    offer_room(session);
    if (session->ready_count == 0)
        came = poll_once(session, own, -1, true);
    run_ready(session);
    return came;
}

/* ---- the session ---- */

struct session *session_new(void (*event)(void *user, const char *function,
                                          enum protocol_event event, uint64_t value),
                            void *user, struct ice_why *why)
{
    struct session *session = calloc(1, sizeof(*session));

    if (session) {
        session->event = event;
        session->user = user;
    }
    if (!session || !links_grow(session)) {
        session_free(session);
        why_set(why, ENOMEM, "no memory for a session");
        return NULL;
    }
    return session;
}

void session_free(struct session *session)
{
    if (!session)
        return;
    assert(session->task_count == 0);
    links_free(session);
    free(session->fds);
    free(session);
}
