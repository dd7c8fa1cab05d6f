/* SPDX-License-Identifier: BSD-2-Clause */
/* What the clients of one function do to the sockets of the others, and to control.sock: nothing.
 */
#include "base/bytes.h"
#include "base/units.h"
#include "icesim/server_private.h"
#include "patience.h"
#include "server_rig.h"
#include "tap.h"
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#define MIB (1u << 20)

static struct server_rig rig;
static char bad[96], good[96]; /* sockets of two functions */

static void add(const char *text)
{
    struct function_spec spec;
    struct ice_why why = {.text = ""};
    ok(!function_spec_parse(text, &spec, &why) && !host_add(&rig.host, &spec, &why), "%s %s", text,
       why.text);
}

static void open_two(struct server_params params)
{
    struct ice_why why;
    server_rig_open(&rig, params);
    snprintf(bad, sizeof(bad), "%s/bad.sock", rig.dir);
    snprintf(good, sizeof(good), "%s/good.sock", rig.dir);
    host_remove(&rig.host, "vm0", &why);
    add("bad,slots=0+0,sectors=0+8192");
    add("good,slots=0+0,sectors=8192+8192");
}

static struct lane *lane_of_bad(void)
{
    struct lane *lane = rig.server->lanes;
    while (strcmp(function_name(lane->function->function), "bad") != 0)
        lane = lane->next;
    return lane;
}

static int driver(const char *path)
{
    int fd = raw_connect(path);
    raw_negotiate(fd);
    return fd;
}

/* One sector; without FLUSH negotiated the device makes it stable before it answers. */
static void send_write(int fd, unsigned tag)
{
    uint8_t bytes[FRAME_HEAD_MAX + 16 + SECTOR_SIZE];
    const uint8_t readable[16 + SECTOR_SIZE] = {VIRTIO_BLK_T_OUT};
    struct writer writer = {.next = bytes, .end = bytes + sizeof(bytes)};
    write_array(&writer, 5);
    write_uint(&writer, MESSAGE_REQUEST);
    write_uint(&writer, tag);
    write_uint(&writer, 0);
    write_uint(&writer, 1);
    write_bytes(&writer, readable, sizeof(readable));
    raw_send(fd, bytes, (size_t)(writer.next - bytes));
}

static void send_read(int fd, unsigned tag)
{
    raw_read(fd, tag, SECTOR_SIZE);
}

static void expect_control(void)
{
    int fd = raw_connect(rig.control);
    raw_message(fd, MESSAGE_STATS, 1, 0, NULL);
    is_int(raw_next(fd).tag, 1, "so is the control socket");
    close(fd);
}

/* ---- threads ---- */

#define THREADS 2
#define DRIVERS 4
#define EACH    8u

/* Many ready connections of one function, all of whose threads are held up by the media. */
static void test_threads(const char *what, enum gate_kind gate, void (*stuck)(int, unsigned),
                         void (*other)(int, unsigned))
{
    int fds[DRIVERS];
    open_two((struct server_params){.threads = THREADS});
    int fd = driver(good);
    for (int i = 0; i < DRIVERS; i++)
        fds[i] = driver(bad);
    gate_close(rig.gate, gate);
    for (int i = 0; i < DRIVERS; i++) {
        for (unsigned tag = 1; tag <= EACH; tag++)
            stuck(fds[i], tag);
    }
    ok(gate_wait(rig.gate, gate, THREADS), "%s: a function's threads are all held up", what);
    for (unsigned tag = 1; tag <= 10; tag++) {
        other(fd, tag);
        is_int(raw_next(fd).tag, tag, "another function is served");
    }
    expect_control();
    is_int(gate_most(rig.gate, gate), THREADS, "no more threads than it may have are at work");
    gate_open(rig.gate, gate);
    unsigned answers = 0;
    for (int i = 0; i < DRIVERS; i++) {
        for (unsigned n = 0; n < EACH; n++)
            answers += raw_next(fds[i]).message == MESSAGE_REQUEST;
        close(fds[i]);
    }
    is_int(answers, DRIVERS * EACH, "in the end they are answered");
    close(fd);
    server_rig_close(&rig);
}

/* ---- memory ---- */

#define HOARDERS 3

static void test_memory(void)
{
    int fds[HOARDERS];
    open_two((struct server_params){.buffers = 9 * MIB});
    int fd = driver(good);
    for (int i = 0; i < HOARDERS; i++) {
        fds[i] = raw_connect(bad);
        raw_begin_write(fds[i], 1, 16 + REQUEST_MAX);
    }
    ok(soon(budget_short(&lane_of_bad()->budget)), "a function's clients wait for memory");
    for (unsigned tag = 1; tag <= 4; tag++) {
        for (int i = 0; i < HOARDERS; i++)
            raw_send(fds[i], "", 1);
        raw_read(fd, tag, 4 * MIB);
        is_int((intmax_t)raw_next(fd).bytes, 4 * MIB + 1, "another function has its own");
    }
    ok(budget_short(&lane_of_bad()->budget), "they still wait");
    for (int i = 0; i < HOARDERS; i++)
        close(fds[i]);
    close(fd);
    server_rig_close(&rig);
}

/* ---- connections ---- */

#define CONNECTIONS 3

static void test_connections(void)
{
    int fds[CONNECTIONS];
    open_two((struct server_params){.connections = CONNECTIONS});
    for (int i = 0; i < CONNECTIONS; i++)
        fds[i] = driver(bad);
    int more = raw_connect(bad);
    is_str(raw_next(more).text, "3 connections to bad are open, and no more are served",
           "a function has all its connections");
    ok(raw_next(more).end, "who comes then is closed");
    int fd = driver(good);
    raw_read(fd, 1, SECTOR_SIZE);
    is_int((intmax_t)raw_next(fd).bytes, SECTOR_SIZE + 1, "another function is served");
    expect_control();
    for (int i = 0; i < CONNECTIONS; i++)
        close(fds[i]);
    close(more);
    close(fd);
    server_rig_close(&rig);
}

int main(void)
{
    test_threads("reads", GATE_READ, send_read, send_write);
    test_threads("flushes", GATE_FLUSH, send_write, send_read);
    test_memory();
    test_connections();
    return tap_done();
}
