/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Start and stop. The order of the start is the order of `struct life`, and the stop undoes what
 * there is of it backwards, so one function ends both a full life and a start that failed half way.
 */
#include "life.h"
#include "back_ends.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/secret.h"
#include "child.h"
#include "cipher/cipher.h"
#include "frame/frame.h"
#include "fuse_files.h"
#include "runtime.h"
#include "server.h"
#include "state.h"
#include "views.h"
#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

struct life {
    const struct options *options;
    int stop_fd, child_fd; /* signalfds: SIGINT, SIGTERM, SIGHUP; SIGCHLD */
    struct runtime runtime;
    char *mount; /* absolute, NULL: none */
    struct state state;
    struct host host;
    struct views *views;
    struct fuse_files *files;
    struct fuse_front *front; /* of files, once mounted */
    struct back_ends *back_ends;
    struct server *server;
    bool pidfile;
    pid_t child; /* 0: none, or ended */
    int status;  /* the exit status so far */
};

/* ---- signals ---- */

static int signal_fd(const int *signals, unsigned n)
{
    sigset_t set;
    sigemptyset(&set);
    for (unsigned i = 0; i < n; i++)
        sigaddset(&set, signals[i]);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int take_signals(struct life *life, struct ice_why *why)
{
    static const int stop[] = {SIGINT, SIGTERM, SIGHUP}, child[] = {SIGCHLD};
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* an image above RLIMIT_FSIZE: the write fails with EFBIG */
    life->stop_fd = signal_fd(stop, 3);
    life->child_fd = signal_fd(child, 1);
    if (life->stop_fd < 0 || life->child_fd < 0)
        return why_errno(why, errno, "signalfd");
    return 0;
}

static bool signal_came(int fd)
{
    struct signalfd_siginfo info;
    return read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info);
}

static int left_ms(int64_t deadline)
{
    int64_t left = deadline - now_ms();
    return left > 0 ? (int)left : 0;
}

/* Waits for a signal to stop or the end of the command, until `deadline` (-1: no limit). */
enum woken { WOKEN_STOP, WOKEN_CHILD, WOKEN_TIMEOUT };

static enum woken wait_signal(struct life *life, int64_t deadline)
{
    for (;;) {
        struct pollfd fds[] = {{.fd = life->stop_fd, .events = POLLIN},
                               {.fd = life->child_fd, .events = POLLIN}};
        int n = poll(fds, 2, deadline < 0 ? -1 : left_ms(deadline));
        if (n == 0)
            return WOKEN_TIMEOUT;
        if (signal_came(life->stop_fd))
            return WOKEN_STOP;
        if (signal_came(life->child_fd) && life->child && child_ended(life->child, &life->status)) {
            life->child = 0;
            return WOKEN_CHILD;
        }
    }
}

/* ---- start ---- */

static int lock_memory(const struct options *options, struct ice_why *why)
{
    struct ice_why cause;
    if (secret_lock(!options->no_mlock, &cause))
        return why_set(why, cause.err, "%s; %u are needed, or --no-mlock", cause.text,
                       SECRET_LEAST);
    if (options->no_mlock)
        log_warning("--no-mlock: keys may be swapped out to disk");
    return 0;
}

static bool is_block_device(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

/*
 * IMAGE.secret, but of a device no file next to it: that would be in /dev. Next to an image that
 * may only be read none is made.
 */
static int start_state(struct life *life, const struct store *store, struct ice_why *why)
{
    const struct options *options = life->options;
    char *beside = NULL;
    if (options->state)
        return state_open(options->state, &life->state, why);
    if (!options->image || is_block_device(options->image))
        return 0;
    if (asprintf(&beside, "%s.secret", options->image) < 0)
        return why_set(why, ENOMEM, "no memory for a path");
    int err = 0;
    if (!store->read_only || access(beside, F_OK) == 0)
        err = state_open(beside, &life->state, why);
    free(beside);
    return err;
}

static int start_host(struct life *life, struct store *store, struct ice_why *why)
{
    const struct options *options = life->options;
    const struct host_params params = {
        .store = store,
        .slots = options->slots,
        .reserve_first = options->reserve_first,
        .reserve_count = options->reserve_count,
        .unsafe_overlap = options->unsafe_overlap,
        .unsafe_monitor = options->unsafe_monitor,
        .bitlocker_iv_from_dun = options->bitlocker_iv_from_dun,
        .secret = life->state.secret,
        .boot = life->state.boot,
        .dialect = options->dialect,
        .strict = options->strict,
    };
    return host_open(&life->host, &params, why);
}

/* Whether no function writes to the image. */
static bool only_reads(const struct options *options)
{
    const struct function_spec *spec = options->functions, *end = spec + options->function_count;
    while (spec != end && (spec->read_only || spec->image[0]))
        spec++;
    return spec == end;
}

static int open_media(const struct options *options, struct store **store, struct ice_why *why)
{
    if (!options->image)
        return store_open_ram(options->size, store, why);
    if (only_reads(options))
        return store_open_file_to_read(options->image, options->size, store, why);
    return store_open_file(options->image, options->size, store, why);
}

static int start_media(struct life *life, struct ice_why *why)
{
    struct store *store;
    int err = cipher_init(why);
    if (!err)
        err = open_media(life->options, &store, why);
    if (err)
        return err;
    err = start_state(life, store, why);
    if (!err)
        return start_host(life, store, why);
    store_close(store);
    return err;
}

static int start_functions(struct life *life, struct ice_why *why)
{
    const struct options *options = life->options;
    struct ice_why cause;
    for (unsigned i = 0; i < options->function_count; i++) {
        const struct function_spec *spec = &options->functions[i];
        int err = host_add(&life->host, spec, &cause);
        if (err)
            return why_set(why, -err, "function %s: %s", spec->name, cause.text);
    }
    if (options->unsafe_overlap)
        log_warning("--unsafe-overlap: windows of functions may overlap");
    if (options->unsafe_monitor)
        log_warning("--unsafe-monitor: the out-of-band key path reaches every slot");
    return 0;
}

/* realpath fails on the dead mount of a killed icesim, which fuse_front is about to replace. */
static int find_mount(struct life *life, struct ice_why *why)
{
    const char *mount = life->options->mount;
    char here[PATH_MAX];
    if (!mount)
        return 0;
    life->mount = realpath(mount, NULL);
    if (!life->mount && errno == ENOTCONN && getcwd(here, sizeof(here)) &&
        asprintf(&life->mount, "%s/%s", *mount == '/' ? "" : here, mount) < 0)
        life->mount = NULL;
    return life->mount ? 0 : why_errno(why, errno, "mountpoint %s", mount);
}

static int start_mount(struct life *life, struct ice_why *why)
{
    struct ice_why cause = {0};
    if (!life->mount)
        return 0;
    int err = fuse_files_open(&life->host, life->views, &life->files, why);
    if (err)
        return err;
    struct fuse_front *front = fuse_files_front(life->files);
    err = fuse_front_start(front, life->mount, life->options->allow_root, &cause);
    if (err)
        return why_set(why, -err, "mountpoint %.100s: %s", life->options->mount, cause.text);
    life->front = front;
    if (geteuid() != 0 && !life->options->allow_root)
        log_info("root, and so losetup, cannot use this mount: --allow-root lets it");
    return 0;
}

static int start_server(struct life *life, struct ice_why *why)
{
    struct server_params params = {
        .host = &life->host,
        .views = life->views,
        .back_ends = life->back_ends,
        .dir = life->runtime.dir,
    };
    return server_start(&params, &life->server, why);
}

static int start_pidfile(struct life *life, struct ice_why *why)
{
    if (!life->options->pidfile)
        return 0;
    int err = pidfile_write(life->options->pidfile, why);
    life->pidfile = !err;
    return err;
}

static int start(struct life *life, struct ice_why *why)
{
    int err = back_ends_take(life->options, &life->back_ends, why);
    if (!err)
        err = take_signals(life, why);
    frame_bind();
    if (!err)
        err = lock_memory(life->options, why);
    if (!err)
        err = runtime_open(&life->runtime, life->options->dir, why);
    if (!err)
        err = find_mount(life, why);
    if (!err)
        err = child_environment(life->runtime.dir, life->mount, why);
    if (!err)
        err = start_media(life, why);
    if (!err)
        err = start_functions(life, why);
    if (!err)
        err = views_open(&life->host, &life->views, why);
    if (!err)
        err = start_mount(life, why);
    if (!err)
        err = back_ends_open(life->back_ends, &life->host, why);
    if (!err)
        err = start_server(life, why);
    if (!err)
        err = start_pidfile(life, why);
    return err;
}

static int start_child(struct life *life, mode_t mask, struct ice_why *why)
{
    if (!life->options->run)
        return 0;
    umask(mask); /* what is made from now on, for new functions, says its mode itself */
    return child_start(life->options->run, &life->child, why);
}

/* ---- stop ---- */

static void flush(struct life *life)
{
    if (life->host.store && host_flush(&life->host) && !life->status)
        life->status = 1;
}

struct names {
    FILE *to;
    const char *comma;
};

static void add_name(void *user, const char *what)
{
    struct names *names = user;
    fprintf(names->to, "%s%s", names->comma, what);
    names->comma = ", ";
}

static void report_cut_off(struct life *life, bool closed)
{
    char *text = NULL;
    size_t len;
    struct names names = {.to = open_memstream(&text, &len), .comma = ""};
    if (!names.to)
        return;
    if (!closed)
        fuse_front_each_open(life->front, add_name, &names);
    if (life->child)
        add_name(&names, "the command of --run");
    if (fclose(names.to) == 0 && len)
        fprintf(stderr, "icesim: stop: cut off: %s\n", text);
    free(text);
}

/* Serves what is open until it is closed, --stop-timeout, or another signal. */
static void serve_to_the_end(struct life *life)
{
    int64_t deadline = now_ms() + (int64_t)life->options->stop_timeout * 1000;
    if (life->child) {
        kill(life->child, SIGTERM);
        if (wait_signal(life, deadline) == WOKEN_STOP)
            deadline = now_ms();
    }
    bool closed =
        !life->front || fuse_front_wait_closed(life->front, left_ms(deadline), life->stop_fd);
    if (closed && !life->child)
        return;
    report_cut_off(life, closed);
    if (!life->status)
        life->status = 1;
}

static void refuse_new(struct life *life)
{
    if (life->server)
        server_refuse_new(life->server);
    back_ends_refuse_new(life->back_ends);
    if (life->front)
        fuse_front_detach(life->front);
}

static void stop(struct life *life)
{
    refuse_new(life);
    flush(life);
    serve_to_the_end(life);
}

static void end(struct life *life)
{
    if (life->views)
        views_end_waits(life->views);
    if (life->server)
        server_stop(life->server);
    back_ends_close(life->back_ends);
    if (life->views)
        views_cut_off(life->views);
    fuse_files_close(life->files);
    views_close(life->views);
    flush(life);
    if (life->host.store)
        host_close(&life->host);
    state_close(&life->state);
    if (life->pidfile)
        unlink(life->options->pidfile);
    free(life->mount);
    runtime_close(&life->runtime);
}

static int fail(struct life *life, const struct ice_why *why)
{
    fprintf(stderr, "icesim: %s\n", why->text);
    refuse_new(life);
    end(life);
    return 1;
}

int life_run(const struct options *options, mode_t mask)
{
    struct life life = {.options = options, .runtime = {.lock = -1}};
    struct ice_why why = {0};
    /* Left alone, glibc raises it with each large buffer freed, and keeps the memory of the next.
     */
    mallopt(M_MMAP_THRESHOLD, 128 << 10);
    int err = start(&life, &why);
    if (!err) {
        log_info("ready: sockets in %s%s%s", life.runtime.dir, life.mount ? ", mounted on " : "",
                 life.mount ? life.mount : "");
        err = start_child(&life, mask, &why);
    }
    if (err)
        return fail(&life, &why);
    wait_signal(&life, -1);
    stop(&life);
    end(&life);
    return life.status;
}
