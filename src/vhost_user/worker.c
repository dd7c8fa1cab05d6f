/* SPDX-License-Identifier: BSD-2-Clause */
#include "worker.h"
#include "base/futex.h"
#include <signal.h>

#define INTERRUPT   (SIGRTMIN + 2) /* of no meaning to anybody else */
#define PATIENCE_MS 100u           /* a request to slow media may well take longer */

static void do_nothing(int signal)
{
    (void)signal;
}

/* Without SA_RESTART. */
static void install(void)
{
    struct sigaction action = {.sa_handler = do_nothing};

    sigemptyset(&action.sa_mask);
    sigaction(INTERRUPT, &action, NULL);
}

static void *worker_main(void *user)
{
    struct worker *worker = user;

    worker->run(worker->user);
    atomic_store(&worker->ended, 1);
    futex_wake_all(&worker->ended);
    return NULL;
}

int worker_start(struct worker *worker, void (*run)(void *user), void *user)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    sigset_t blocked, before;
    int err;

    pthread_once(&once, install);
    worker->run = run;
    worker->user = user;
    atomic_store(&worker->ended, 0);
    sigfillset(&blocked);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, INTERRUPT);
    pthread_sigmask(SIG_SETMASK, &blocked, &before);
    err = pthread_create(&worker->thread, NULL, worker_main, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -err;
}

void worker_join(struct worker *worker)
{
    futex_wait_ms(&worker->ended, 0, PATIENCE_MS);
    while (!atomic_load(&worker->ended)) {
        pthread_kill(worker->thread, INTERRUPT);
        futex_wait_ms(&worker->ended, 0, PATIENCE_MS);
    }
    pthread_join(worker->thread, NULL);
}
