/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the lines of a batch share. Each runs as a task: until it waits, then the others run. They
 * share one connection per function, a link, which is opened and negotiated when a line first needs
 * it, and again after its end or a device reset; a control connection is one task's own.
 *
 * A submission is sent whole before another task runs, so the first requests of tasks go out in
 * the order they were started, but for one: on a link with IN_FLIGHT_MAX requests under way a
 * submission waits, behind those that wait already. Everything happens on one thread.
 */
#ifndef ICESIM_ICECTL_SESSION_H
#define ICESIM_ICECTL_SESSION_H

#include "device.h"

#define TASKS_MAX 128u /* at once */

struct session;
struct task;

/* `event` is told of every link's events, by the function's name. NULL: `why` says why. */
struct session *session_new(void (*event)(void *user, const char *function,
                                          enum protocol_event event, uint64_t value),
                            void *user, struct ice_why *why);
/* No task is left. NULL is allowed. */
void session_free(struct session *session);

/* ---- for the batch, outside tasks ---- */

/* Runs run(arg) as a task until it first waits. There are fewer than TASKS_MAX. 0 or -ENOMEM. */
int session_start(struct session *session, void (*run)(void *arg), void *arg, struct ice_why *why);
unsigned session_tasks(const struct session *session);

/*
 * Runs the tasks that can run; if there is none, first waits for sockets and for `input` (-1:
 * none). True: `input` can be read. There is a task, or an input.
 */
bool session_round(struct session *session, int input);

/* ---- for commands, in a task ---- */

/* As device_open, on the function's link; device_close gives it back. */
enum status session_open_device(const struct icectl *icectl, struct device *device);
/* Waits for the device's requests in flight first. */
void session_close_device(struct device *device);

/* Waits until a request may be submitted. */
void session_before_submit(struct device *device);

/* Makes the waits of a client that this task alone uses waits of the task. */
void session_adopt(struct session *session, struct client *client);

/*
 * The task that runs waits until it is woken, perhaps for another reason than it thinks. Waking one
 * that runs does nothing: it looks before it sleeps.
 */
void task_sleep(struct task *task);
void task_wake(struct task *task);

#endif
