/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads that touch what a front end has given. No signal comes to them but a SIGBUS, which is
 * their own doing (memory.h), and that of worker_join.
 */
#ifndef ICESIM_VHOST_USER_WORKER_H
#define ICESIM_VHOST_USER_WORKER_H

#include <pthread.h>
#include <stdint.h>

struct worker {
    void (*run)(void *user);
    void *user;
    pthread_t thread;
    _Atomic uint32_t ended;
};

/* 0 or -errno. */
int worker_start(struct worker *worker, void (*run)(void *user), void *user);

/*
 * Waits for the end of a thread that has been told to end. A front end shares the flags of the
 * descriptors that it gives, and can make a call on one wait for ever: such calls are interrupted
 * (EINTR), again and again, until the thread has ended.
 */
void worker_join(struct worker *worker);

#endif
