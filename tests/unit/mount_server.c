/* SPDX-License-Identifier: BSD-2-Clause */
/* A mounted FUSE front in a process of its own. */
#include "mount_server.h"
#include "file_bench.h"
#include "fuse_front/fuse_front.h"
#include "patience.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct message {
    enum order order;
    int a, b; /* a: the result, in an answer */
    char text[256];
};

/* ---- the server ---- */

#define FUNCTIONS_MAX 4u

static struct fuse_front *front;

/* vm0 and those that a test adds. */
static struct shown {
    struct fuse_front_function function;
    char name[FUSE_FRONT_NAME_MAX + 1];
} shown[FUNCTIONS_MAX];

static bool slot_file(void *user, unsigned slot, struct byte_file *file)
{
    (void)user;
    return bench_slot(slot, file);
}

static char *status(void *user)
{
    static _Atomic unsigned n;
    char text[32];

    (void)user;
    snprintf(text, sizeof(text), "{\"n\":%04u}\n", ++n);
    return strdup(text);
}

/* ---- every function's views: "a", number 5, and "b", number 9, with what raw has ---- */

static _Atomic int holds;

static bool view_from(void *user, unsigned number, struct fuse_front_view *view)
{
    (void)user;
    strcpy(view->name, number > 5 ? "b" : "a");
    view->number = number > 5 ? 9 : 5;
    view->file = bench_raw();
    return number <= 9;
}

static bool view_named(void *user, const char *name, struct fuse_front_view *view)
{
    return (!strcmp(name, "a") || !strcmp(name, "b")) &&
           view_from(user, *name == 'a' ? 5 : 9, view);
}

static bool view_hold(void *user, unsigned number, struct fuse_front_view *view)
{
    bool there = view_from(user, number, view) && view->number == number;

    holds += there;
    return there;
}

static void view_let_go(void *user, unsigned number)
{
    (void)user, (void)number;
    holds--;
}

static const struct fuse_front_ops ops = {
    .slot_file = slot_file,
    .view_named = view_named,
    .view_from = view_from,
    .view_hold = view_hold,
    .view_let_go = view_let_go,
    .status = status,
};

/* A function with the bench's slots from `first_slot` on, by their numbers there. */
static int add(unsigned id, const char *name, unsigned first_slot, enum order kind)
{
    struct shown *one = shown;

    while (one->function.id)
        one++;
    snprintf(one->name, sizeof(one->name), "%s", name);
    one->function = (struct fuse_front_function){
        .name = one->name,
        .id = id,
        .first_slot = first_slot,
        .slots = MOUNT_SLOTS - first_slot,
        .read_only = kind == ADD_READ_ONLY,
        .is_layer = kind == ADD_LAYER,
        .raw = bench_raw(),
    };
    fuse_front_add(front, &one->function);
    return 0;
}

static int remove_function(unsigned id, struct message *message)
{
    struct shown *one = shown;
    struct ice_why why = {0};
    int r;

    while (one->function.id != id)
        one++;
    r = fuse_front_remove(front, &one->function, &why);
    snprintf(message->text, sizeof(message->text), "%s", why.text);
    if (!r)
        one->function.id = 0;
    return r;
}

static int program(unsigned slot, uint8_t first)
{
    return bench_program(slot, "aes-256-xts", MOUNT_UNIT, first);
}

static void collect(void *user, const char *what)
{
    struct message *message = user;
    size_t used = strlen(message->text);

    snprintf(message->text + used, sizeof(message->text) - used, "%s, ", what);
}

static int start(struct message *message)
{
    struct byte_file raw = bench_raw();
    struct ice_why why = {0};
    int r = fuse_front_new(&ops, &raw, &front, &why);

    memset(shown, 0, sizeof(shown));
    if (!r) {
        add(1, "vm0", 0, ADD);
        r = fuse_front_start(front, message->text, false, &why);
    }
    snprintf(message->text, sizeof(message->text), "%s", why.text);
    return r;
}

/* a: ms; b: whether the wait is broken off from outside. */
static int wait_closed(const struct message *message)
{
    int stop = eventfd((unsigned)message->b, EFD_CLOEXEC);
    int closed = fuse_front_wait_closed(front, message->a, stop);

    close(stop);
    return closed;
}

static int obey(struct message *message)
{
    int a = message->a, b = message->b;

    switch (message->order) {
    case START:
        return start(message);
    case STOP:
        return fuse_front_stop(front), 0;
    case DETACH:
        return fuse_front_detach(front), 0;
    case WAIT_CLOSED:
        return wait_closed(message);
    case EACH_OPEN:
        return message->text[0] = 0, fuse_front_each_open(front, collect, message), 0;
    case ADD:
    case ADD_READ_ONLY:
    case ADD_LAYER:
        return add((unsigned)a, message->text, (unsigned)b, message->order);
    case REMOVE:
        return remove_function((unsigned)a, message);
    case HOLDS:
        return holds;
    case PROGRAM:
        return program((unsigned)a, (uint8_t)b);
    case EVICT:
        return bench_evict((unsigned)a);
    case CLOSE:
        return gate_close(bench.gate, (enum gate_kind)a), 0;
    case OPEN:
        return gate_open(bench.gate, (enum gate_kind)a), 0;
    case WAIT:
        return gate_wait(bench.gate, (enum gate_kind)a, (unsigned)b);
    case COUNT:
        return (int)gate_count(bench.gate, (enum gate_kind)a);
    case FAIL:
        return gate_fail(bench.gate, (enum gate_kind)a, 0, b), 0;
    }
    return -EINVAL;
}

static int run_server(int sock)
{
    struct message message;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    bench_open(MOUNT_SLOTS, MOUNT_SECTORS);
    program(0, 1);
    program(10, 2);
    while (recv(sock, &message, sizeof(message), 0) == sizeof(message)) {
        message.a = obey(&message);
        send(sock, &message, sizeof(message), 0);
    }
    bench_close();
    return 0;
}

/* ---- its user ---- */

static char folder[] = "/tmp/icesim-fuse-XXXXXX";
static volatile pid_t server;
static int sock = -1;
char mount_text[256];

const char *mount_path(const char *name)
{
    static _Thread_local char path[128];

    snprintf(path, sizeof(path), "%s/m/%s", folder, name);
    return path;
}

int mount_open_at(const char *name, int flags)
{
    return open(mount_path(name), flags | O_CLOEXEC);
}

int mount_tell(enum order order, int a, int b)
{
    struct message message = {.order = order, .a = a, .b = b};

    memcpy(message.text, mount_text, sizeof(mount_text));
    if (send(sock, &message, sizeof(message), MSG_NOSIGNAL) < 0 ||
        recv(sock, &message, sizeof(message), 0) != sizeof(message))
        return -EPIPE;
    memcpy(mount_text, message.text, sizeof(mount_text));
    return message.a;
}

static void start_server(void)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        exit(1);
    fflush(stdout);
    server = fork();
    if (!server) {
        close(pair[1]);
        exit(run_server(pair[0]));
    }
    close(pair[0]);
    sock = pair[1];
}

static int end_server(void)
{
    int state;

    close(sock);
    waitpid(server, &state, 0);
    return WIFEXITED(state) ? WEXITSTATUS(state) : -1;
}

static void kill_server(int number)
{
    (void)number;
    kill(server, SIGKILL);
}

bool mount_open(void)
{
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return false;
    close(fd);
    if (!mkdtemp(folder) || mkdir(mount_path(""), 0700))
        exit(1);
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = kill_server}, NULL);
    alarm(PROGRAM_S);
    start_server();
    return true;
}

static void remove_folder(void)
{
    char name[sizeof(folder) + 2];

    snprintf(name, sizeof(name), "%s/m", folder);
    while (!umount2(name, MNT_DETACH))
        ;
    rmdir(name);
    rmdir(folder);
}

int mount_close(void)
{
    int status = end_server();

    remove_folder();
    return status;
}

void mount_kill(void)
{
    kill_server(0);
    end_server();
}

void mount_restart(void)
{
    start_server();
}

bool mount_has_open(const char *files)
{
    return soon((mount_tell(EACH_OPEN, 0, 0), !strcmp(mount_text, files)));
}

void mount_start(void)
{
    snprintf(mount_text, sizeof(mount_text), "%s", mount_path(""));
    if (mount_tell(START, 0, 0)) {
        printf("Bail out! no mount: %s\n", mount_text);
        mount_close();
        exit(1);
    }
}
