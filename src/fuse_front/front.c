/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The life of the mount: start, detach, stop. A fixed set of threads reads requests and runs each
 * to its end. Detached, the mount has no name, but the threads go on until the kernel says that
 * nothing holds it any more (ENODEV) or they are stopped.
 */
#include "internal.h"

#include "base/bytes.h"
#include "base/clock.h"
#include "base/log.h"
#include <errno.h>
#include <fuse_log.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define WORKERS_MIN 16u
#define WORKERS_MAX 64u
#define READERS_MAX 4u
#define PAGE_BYTES  4096

/* Sent to a thread, it ends the thread's wait for a request. */
#define WAKE_SIGNAL   SIGUSR2
#define WAKE_EVERY_MS 10

struct worker {
    struct fuse_front *front;
    pthread_t thread;
    struct fuse_buf in; /* libfuse allocates it at the first request */
    uint8_t *out;       /* TRANSFER_MAX bytes */
};

__attribute__((format(printf, 2, 0))) static void log_fuse(enum fuse_log_level level,
                                                           const char *format, va_list args)
{
    char text[256];

    (void)level;
    vsnprintf(text, sizeof(text), format, args);
    text[strcspn(text, "\n")] = '\0';
    log_debug("fuse: %s", text);
}

/* ---- the threads ---- */

static bool too_many_readers(const struct fuse_front *front)
{
    return atomic_load(&front->readers) >= READERS_MAX && !fuse_session_exited(front->session);
}

/*
 * Few threads wait for a request at a time, the others are parked: the kernel wakes those that wait
 * in turn, and if all did, each request would meet buffers that have left the cache. The last
 * reader that gets a request calls a parked one. Who parks says so first and then looks again, so
 * that either it sees that readers are missing, or the last reader sees it.
 */
static void begin_reading(struct fuse_front *front)
{
    while (too_many_readers(front)) {
        atomic_fetch_add(&front->parked, 1);
        if (too_many_readers(front))
            sem_wait(&front->turn);
        atomic_fetch_sub(&front->parked, 1);
    }
    atomic_fetch_add(&front->readers, 1);
}

static void end_reading(struct fuse_front *front)
{
    if (atomic_fetch_sub(&front->readers, 1) == 1 && atomic_load(&front->parked))
        sem_post(&front->turn);
}

/* False: the session is over. */
static bool serve_one(struct worker *worker)
{
    struct fuse_front *front = worker->front;
    int n = 0;

    begin_reading(front);
    if (!fuse_session_exited(front->session))
        n = fuse_session_receive_buf(front->session, &worker->in);
    end_reading(front);
    if (n > 0)
        fuse_session_process_buf(front->session, &worker->in);
    else if (n < 0 && n != -EINTR)
        log_error("FUSE requests cannot be read: %s", strerror(-n));
    return n > 0 || n == -EINTR;
}

static void *serve(void *arg)
{
    struct worker *worker = arg;
    struct fuse_front *front = worker->front;

    read_buffer = worker->out;
    while (!fuse_session_exited(front->session) && serve_one(worker))
        ;
    sem_post(&front->turn); /* each that ends lets a parked one see the end */
    if (atomic_fetch_sub(&front->serving, 1) == 1)
        eventfd_write(front->closed_fd, 1);
    return NULL;
}

static void do_nothing(int number)
{
    (void)number;
}

/* A signal may come just before the wait that it is to end, so it comes until all threads are done.
 */
static void stop_threads(struct fuse_front *front)
{
    struct pollfd closed = {.fd = front->closed_fd, .events = POLLIN};
    eventfd_t before;

    eventfd_read(front->closed_fd, &before);
    fuse_session_exit(front->session);
    while (atomic_load(&front->serving)) {
        for (unsigned i = 0; i < front->worker_count; i++)
            pthread_kill(front->workers[i].thread, WAKE_SIGNAL);
        poll(&closed, 1, WAKE_EVERY_MS);
    }
    for (unsigned i = 0; i < front->worker_count; i++)
        pthread_join(front->workers[i].thread, NULL);
}

/* All signals but one are for the threads of the program that starts us. */
static int start_thread(struct worker *worker)
{
    sigset_t all, before;
    int err;

    sigfillset(&all);
    sigdelset(&all, WAKE_SIGNAL);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    err = pthread_create(&worker->thread, NULL, serve, worker);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return err;
}

static int start_threads(struct fuse_front *front, unsigned wanted, struct ice_why *why)
{
    sigaction(WAKE_SIGNAL, &(struct sigaction){.sa_handler = do_nothing}, NULL);
    front->serving = wanted;
    for (unsigned i = 0; i < wanted; i++) {
        int err = start_thread(&front->workers[i]);
        if (err) {
            atomic_fetch_sub(&front->serving, wanted - i);
            return why_errno(why, err, "cannot start a thread");
        }
        front->worker_count++;
    }
    return 0;
}

/* A thread waits while its request is at the media, so there are more of them than cores. */
static unsigned workers_wanted(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned wanted = cores > 0 ? 2 * (unsigned)cores : 0;

    if (wanted < WORKERS_MIN)
        return WORKERS_MIN;
    return wanted < WORKERS_MAX ? wanted : WORKERS_MAX;
}

static int make_workers(struct fuse_front *front, unsigned n, struct ice_why *why)
{
    front->workers = calloc(n, sizeof(*front->workers));
    front->worker_room = n;
    for (unsigned i = 0; front->workers && i < n; i++) {
        front->workers[i].front = front;
        front->workers[i].out = aligned_alloc(PAGE_BYTES, TRANSFER_MAX);
        if (!front->workers[i].out)
            return why_set(why, ENOMEM, "no memory for buffers");
    }
    return front->workers ? 0 : why_set(why, ENOMEM, "no memory for buffers");
}

static void free_workers(struct fuse_front *front)
{
    for (unsigned i = 0; front->workers && i < front->worker_room; i++) {
        free(front->workers[i].in.mem);
        free(front->workers[i].out);
    }
    free(front->workers);
}

/* ---- start ---- */

static void init_functions_lock(pthread_rwlock_t *lock)
{
    pthread_rwlockattr_t attr;

    pthread_rwlockattr_init(&attr);
    pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(lock, &attr);
    pthread_rwlockattr_destroy(&attr);
}

int fuse_front_new(const struct fuse_front_ops *ops, const struct byte_file *raw,
                   struct fuse_front **result, struct ice_why *why)
{
    struct fuse_front *front = calloc(1, sizeof(*front));

    if (!front)
        return why_set(why, ENOMEM, "no memory for a mount");
    front->ops = *ops;
    front->raw = *raw;
    clock_gettime(CLOCK_REALTIME, &front->started);
    init_functions_lock(&front->functions_lock);
    pthread_mutex_init(&front->lock, NULL);
    sem_init(&front->turn, 0, 0);
    front->closed_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (front->closed_fd < 0) {
        why_errno(why, errno, "cannot make an eventfd");
        fuse_front_stop(front);
        return -why->err;
    }
    *result = front;
    return 0;
}

static int make_session(struct fuse_front *front, bool allow_root, struct ice_why *why)
{
    char *argv[] = {(char *)"icesim", (char *)"-oallow_root", NULL};
    struct fuse_args args = FUSE_ARGS_INIT(allow_root ? 2 : 1, argv);

    fuse_set_log_func(log_fuse);
    front->session = fuse_session_new(&args, &front_ops, sizeof(front_ops), front);
    fuse_opt_free_args(&args);
    return front->session ? 0 : why_set(why, ENOMEM, "libfuse made no session");
}

/* Mounts, and answers the kernel's first request, which settles what all others look like. */
static int connect_session(struct fuse_front *front, bool allow_root, struct ice_why *why)
{
    struct fuse_session *session = front->session;
    char name[32];
    int fd, r = mount_fuse(front->mountpoint, allow_root, &fd, why);

    if (r)
        return r;
    front->mounted = true;
    snprintf(name, sizeof(name), "/dev/fd/%d", fd);
    if (fuse_session_mount(session, name)) {
        close(fd);
        return why_set(why, EIO, "libfuse does not take the connection");
    }
    do
        r = fuse_session_receive_buf(session, &front->workers[0].in);
    while (r == -EINTR);
    if (r > 0)
        fuse_session_process_buf(session, &front->workers[0].in);
    if (r <= 0 || fuse_session_exited(session))
        return why_set(why, EPROTO, "the kernel and libfuse do not agree");
    return 0;
}

int fuse_front_start(struct fuse_front *front, const char *mountpoint, bool allow_root,
                     struct ice_why *why)
{
    unsigned wanted = workers_wanted();
    int r = mountpoint_claim(mountpoint, &front->mountpoint, why);

    if (!r)
        r = make_workers(front, wanted, why);
    if (!r)
        r = make_session(front, allow_root, why);
    if (!r)
        r = connect_session(front, allow_root, why);
    return r ? r : start_threads(front, wanted, why);
}

/* ---- end ---- */

void fuse_front_detach(struct fuse_front *front)
{
    struct ice_why why;

    open_files_note_loops(front);
    if (mount_detach(front->mountpoint, &why))
        log_warning("unmount %s: %s", front->mountpoint, why.text);
    open_files_close_door(front);
}

bool fuse_front_wait_closed(struct fuse_front *front, int timeout_ms, int stop_fd)
{
    struct pollfd fds[] = {{.fd = front->closed_fd, .events = POLLIN},
                           {.fd = stop_fd, .events = POLLIN}};
    int64_t end = now_ms() + timeout_ms, left = timeout_ms;

    while (poll(fds, 2, (int)left) < 0 && errno == EINTR) {
        left = end - now_ms();
        if (left < 0)
            left = 0;
    }
    return fds[0].revents & POLLIN;
}

/* The kernel ends the connection when its descriptor closes: whoever still waits is answered. */
void fuse_front_stop(struct fuse_front *front)
{
    if (front->mounted && !front->detached)
        fuse_front_detach(front);
    if (front->session) {
        stop_threads(front);
        fuse_session_destroy(front->session);
    }
    open_files_free(front);
    free_workers(front);
    if (front->closed_fd >= 0)
        close(front->closed_fd);
    sem_destroy(&front->turn);
    pthread_mutex_destroy(&front->lock);
    pthread_rwlock_destroy(&front->functions_lock);
    free(front->mountpoint);
    free(front);
}
