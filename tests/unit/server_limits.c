/* SPDX-License-Identifier: BSD-2-Clause */
/* The server's limits: what a client may hold, and what others still get. */
#include "base/log.h"
#include "base/units.h"
#include "icesim/server_private.h"
#include "patience.h"
#include "sanitizers.h"
#include "server_rig.h"
#include "tap.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define MIB (1u << 20)

static void test_in_flight(void)
{
    struct server_rig rig;
    server_rig_open(&rig, (struct server_params){.threads = IN_FLIGHT_MAX + 8});
    int fd = raw_connect(rig.device);
    raw_negotiate(fd);
    gate_close(rig.gate, GATE_READ);
    for (unsigned i = 1; i <= IN_FLIGHT_MAX + 4; i++)
        raw_read(fd, i, 512);
    ok(gate_wait(rig.gate, GATE_READ, IN_FLIGHT_MAX), "%u requests run at once", IN_FLIGHT_MAX);
    usleep(100 * 1000);
    is_int(gate_count(rig.gate, GATE_READ), IN_FLIGHT_MAX, "further ones are not read");
    gate_open(rig.gate, GATE_READ);
    uint64_t seen[2] = {0};
    for (unsigned i = 1; i <= IN_FLIGHT_MAX + 4; i++) {
        struct raw_reply reply = raw_next(fd);
        if (reply.bytes == 513)
            seen[reply.tag / 64] |= UINT64_C(1) << reply.tag % 64;
    }
    ok(seen[0] == ~UINT64_C(1) && seen[1] == 0x1f, "in the end each has its reply");
    close(fd);
    server_rig_close(&rig);
}

/* Fills the socket with reads of 64 KiB without taking an answer; returns how many went out. */
static unsigned flood(int fd)
{
    unsigned sent = 0;
    uint8_t frame[FRAME_HEAD_MAX + 16];
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (int quiet = 0; quiet < 5;) {
        size_t len = raw_read_frame(frame, sizeof(frame), sent + 1, 65536);
        ssize_t n = send(fd, frame, len, MSG_NOSIGNAL);
        if (n == (ssize_t)len) {
            sent++;
            quiet = 0;
        } else {
            usleep(20 * 1000);
            quiet++;
        }
    }
    fcntl(fd, F_SETFL, 0);
    return sent;
}

static void test_slow_reader(void)
{
    struct server_rig rig;
    server_rig_open(&rig, (struct server_params){.threads = 2});
    int fd = raw_connect(rig.device), other = raw_connect(rig.device);
    raw_negotiate(fd);
    unsigned sent = flood(fd);
    unsigned run = gate_count(rig.gate, GATE_READ);
    ok(run < sent && run <= IN_FLIGHT_MAX, "a client that reads nothing has %u of %u run", run,
       sent);
    raw_message(other, MESSAGE_GET_STATUS, 1, 0, NULL);
    is_int(raw_next(other).message, MESSAGE_GET_STATUS, "others are served");
    unsigned good = 0;
    for (unsigned i = 0; i < sent; i++)
        good += raw_next(fd).bytes == 65537;
    is_int(good, sent, "when it reads, all its replies come");
    close(fd);
    close(other);
    server_rig_close(&rig);
}

static bool waits_for_memory(struct server_rig *rig)
{
    return budget_short(&rig->server->lanes->budget);
}

static size_t memory_used(struct server_rig *rig)
{
    struct budget *budget = &rig->server->lanes->budget;
    pthread_mutex_lock(&budget->lock);
    size_t used = budget->used;
    pthread_mutex_unlock(&budget->lock);
    return used;
}

static void test_buffers(void)
{
    struct server_rig rig;
    server_rig_open(&rig, (struct server_params){.threads = 8, .buffers = 9 * MIB});
    int a = raw_connect(rig.device), b = raw_connect(rig.device), c = raw_connect(rig.device);
    raw_negotiate(a);
    raw_negotiate(b);
    raw_negotiate(c);
    gate_close(rig.gate, GATE_READ);
    raw_read(a, 1, 4 * MIB);
    raw_read(a, 2, 4 * MIB);
    gate_wait(rig.gate, GATE_READ, 2);
    raw_read(b, 1, 4 * MIB);
    ok(soon(waits_for_memory(&rig)), "two requests fill the buffers");
    raw_read(c, 1, 512);
    usleep(50 * 1000);
    raw_message(b, MESSAGE_GET_STATUS, 2, 0, NULL);
    ok(raw_silent(b), "a connection that waits is not read");
    is_int(gate_count(rig.gate, GATE_READ), 2, "nor is a request run that would fit");
    gate_open(rig.gate, GATE_READ);
    ok(raw_next(a).bytes + raw_next(a).bytes == 8 * MIB + 2, "the two are answered");
    struct raw_reply first = raw_next(b), second = raw_next(b);
    ok((first.tag == 1 && second.tag == 2) || (first.tag == 2 && second.tag == 1),
       "then the large one that waited, and what followed");
    is_int((intmax_t)raw_next(c).bytes, 513, "and the small one behind it");
    unsigned whole = 0;
    for (unsigned i = 0; i < 20; i++) {
        raw_read(i % 2 ? a : b, i, 4 * MIB);
        raw_read(c, i, 4 * MIB);
        whole += raw_next(i % 2 ? a : b).bytes == 4 * MIB + 1;
        whole += raw_next(c).bytes == 4 * MIB + 1;
    }
    is_int(whole, 40, "three that have room for two take turns");
    close(a);
    close(b);
    close(c);
    server_rig_close(&rig);
}

/* A third request waits for memory, and perhaps gets a buffer of one of the two before a grant. */
static void test_buffer_before_grant(void)
{
    struct server_rig rig;
    unsigned whole = 0;
    server_rig_open(&rig, (struct server_params){.threads = 4, .buffers = 9 * MIB});
    int fd = raw_connect(rig.device);
    raw_negotiate(fd);
    for (unsigned i = 0; i < 100; i++) {
        gate_close(rig.gate, GATE_READ);
        raw_read(fd, 1, 4 * MIB);
        raw_read(fd, 2, 4 * MIB);
        gate_wait(rig.gate, GATE_READ, 2);
        raw_read(fd, 3, 4 * MIB);
        whole += soon(waits_for_memory(&rig));
        gate_open(rig.gate, GATE_READ);
        for (unsigned k = 0; k < 3; k++)
            whole += raw_next(fd).bytes == 4 * MIB + 1;
    }
    is_int(whole, 400, "one waits while two are in flight, and all are answered");
    ok(soon(memory_used(&rig) == 0), "a client at rest holds no memory, nor a grant of some");
    close(fd);
    server_rig_close(&rig);
}

/* Sends a byte on each of `dripping`, and looks for an answer on `fd`. */
static bool is_answered_while(int fd, const int dripping[2])
{
    raw_send(dripping[0], "", 1);
    raw_send(dripping[1], "", 1);
    return !raw_silent(fd);
}

/* Two clients that hold all memory and go on byte by byte; a third that wants some. */
static void test_hoarders(void)
{
    struct server_rig rig;
    int hoarders[2];
    server_rig_open(&rig, (struct server_params){.threads = 2, .buffers = 9 * MIB});
    for (int i = 0; i < 2; i++) {
        hoarders[i] = raw_connect(rig.device);
        raw_begin_write(hoarders[i], 1, 16 + REQUEST_MAX);
    }
    ok(soon(memory_used(&rig) >= 8 * MIB), "two clients hold all there is");
    int fd = raw_connect(rig.device);
    raw_negotiate(fd);
    raw_read(fd, 1, 4 * MIB);
    ok(soon(waits_for_memory(&rig)), "a third one waits");
    ok(soon(is_answered_while(fd, hoarders)), "clients that hold it and hardly move are cut off");
    is_int((intmax_t)raw_next(fd).bytes, 4 * MIB + 1, "in favour of it");
    for (int i = 0; i < 2; i++)
        close(hoarders[i]);
    close(fd);
    server_rig_close(&rig);
}

static bool is_served(struct server_rig *rig)
{
    int fd = raw_connect(rig->device);
    raw_message(fd, MESSAGE_GET_STATUS, 1, 0, NULL);
    unsigned tag = raw_next(fd).tag;
    close(fd);
    return tag == 1;
}

static void test_connections(void)
{
    struct server_rig rig;
    int fds[4];
    server_rig_open(&rig, (struct server_params){.connections = 4});
    for (int i = 0; i < 4; i++) {
        fds[i] = raw_connect(rig.device);
        raw_message(fds[i], MESSAGE_GET_STATUS, 1, 0, NULL);
        is_int(raw_next(fds[i]).message, MESSAGE_GET_STATUS, "connection %d", i);
    }
    int fd = raw_connect(rig.device);
    struct raw_reply reply = raw_next(fd);
    ok(reply.message == MESSAGE_ERROR && reply.tag == 0 && reply.value[0] == EUSERS,
       "one too many is told");
    is_str(reply.text, "4 connections to vm0 are open, and no more are served", "why");
    ok(raw_next(fd).end, "and closed");
    close(fd);
    close(fds[0]);
    ok(soon(is_served(&rig)), "when one leaves there is room again");
    for (int i = 1; i < 4; i++)
        close(fds[i]);
    server_rig_close(&rig);
}

static double cpu_seconds(void)
{
    struct timespec spent;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return (double)spent.tv_sec + (double)spent.tv_nsec / 1e9;
}

/* accept fails for want of descriptors: no spinning, and all is well when there are some again. */
static void test_no_descriptors(void)
{
    struct server_rig rig;
    struct rlimit limit, none = {0};
    server_rig_open(&rig, (struct server_params){0});
    int first = raw_connect(rig.device);
    raw_message(first, MESSAGE_GET_STATUS, 1, 0, NULL);
    raw_next(first);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, rig.device);
    getrlimit(RLIMIT_NOFILE, &limit);
    none.rlim_max = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &none);
    log_set_level(LOG_ERROR); /* the warning is no part of a test's output */
    double before = cpu_seconds();
    is_int(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0, "a client comes");
    usleep(500 * 1000);
    ok(cpu_seconds() - before < 0.2,
       "that cannot be accepted: the server waits, and does not spin");
    raw_message(first, MESSAGE_GET_STATUS, 2, 0, NULL);
    is_int(raw_next(first).message, MESSAGE_GET_STATUS, "others are served");
    setrlimit(RLIMIT_NOFILE, &limit);
    raw_message(fd, MESSAGE_GET_STATUS, 1, 0, NULL);
    is_int(raw_next(fd).message, MESSAGE_GET_STATUS, "in the end it is accepted");
    close(first);
    close(fd);
    server_rig_close(&rig);
}

static void *stop_server(void *user)
{
    struct server_rig *rig = user;
    server_stop(rig->server);
    rig->server = NULL;
    return NULL;
}

static void test_stop(void)
{
    struct server_rig rig;
    pthread_t stopper;
    server_rig_open(&rig, (struct server_params){.grace_ms = PATIENCE_MS});
    /* Both are accepted (one in the listener's backlog would go with it), and fd is the first to
     * hear of the stop. */
    int fd = raw_connect(rig.device);
    raw_negotiate(fd);
    int idle = raw_connect(rig.device);
    raw_negotiate(idle);
    gate_close(rig.gate, GATE_READ);
    raw_read(fd, 1, 512);
    gate_wait(rig.gate, GATE_READ, 1);
    server_refuse_new(rig.server);
    ok(access(rig.device, F_OK) < 0 && access(rig.control, F_OK) < 0, "the sockets are removed");
    raw_message(idle, MESSAGE_GET_STATUS, 1, 0, NULL);
    is_int(raw_next(idle).message, MESSAGE_GET_STATUS, "who is there is served");
    pthread_create(&stopper, NULL, stop_server, &rig);
    ok(raw_next(idle).end, "at the stop, who waits for nothing is closed");
    raw_message(fd, MESSAGE_GET_STATUS, 2, 0, NULL);
    gate_open(rig.gate, GATE_READ);
    is_int((intmax_t)raw_next(fd).bytes, 513, "who waits for a reply gets it");
    ok(raw_next(fd).end, "and is closed then");
    pthread_join(stopper, NULL);
    close(fd);
    close(idle);
    server_rig_close(&rig);
}

/* ---- many at once ---- */

#define CHURNERS 8

static unsigned turns(void)
{
    const char *scale = getenv("ICESIM_TEST_SCALE");
    return 20 * (unsigned)(scale ? atoi(scale) : 1);
}

/* Connects, reads, and hangs up at a bad moment, again and again. Counts wrong answers. */
static void *churn(void *user)
{
    const struct server_rig *rig = user;
    uintptr_t wrong = 0;
    for (unsigned turn = 0; turn < turns(); turn++) {
        struct client *client;
        struct channel *channel;
        struct ice_why why;
        uint8_t status;
        if (client_connect(rig->device, PATIENCE_MS, &client, &why)) {
            wrong++;
            continue;
        }
        wrong += client_negotiate(client, UINT64_MAX, &channel, &why) != 0;
        wrong += client_get_status(client, &status, &why) || status != 15;
        client_close(client);
        int fd = raw_socket(rig->device);
        for (unsigned i = 0; i < turn % 8; i++)
            raw_read(fd, i + 1, 65536);
        if (turn % 3 == 0)
            shutdown(fd, SHUT_WR);
        close(fd);
    }
    return (void *)wrong;
}

static void test_churn(void)
{
    struct server_rig rig;
    pthread_t threads[CHURNERS];
    uintptr_t wrong = 0;
    server_rig_open(&rig, (struct server_params){.threads = 4});
    for (int i = 0; i < CHURNERS; i++)
        pthread_create(&threads[i], NULL, churn, &rig);
    for (int i = 0; i < CHURNERS; i++) {
        void *result;
        pthread_join(threads[i], &result);
        wrong += (uintptr_t)result;
    }
    is_int((intmax_t)wrong, 0, "clients that come and go disturb no one");
    server_rig_close(&rig);
}

int main(void)
{
    test_in_flight();
    test_slow_reader();
    test_buffers();
    test_buffer_before_grant();
    test_hoarders();
    test_connections();
    if (under_valgrind())
        skip("valgrind has limits of its own on descriptors");
    else
        test_no_descriptors();
    test_stop();
    test_churn();
    return tap_done();
}
