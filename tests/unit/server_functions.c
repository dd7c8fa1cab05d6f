/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions that come and go under a server: their sockets, their clients, everybody else. */
#include "base/bytes.h"
#include "base/units.h"
#include "patience.h"
#include "server_rig.h"
#include "tap.h"
#include <errno.h>
#include <stdatomic.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static struct server_rig rig;
static char vm1_path[96];

static int add(const char *text, struct ice_why *why)
{
    struct function_spec spec;
    int err = function_spec_parse(text, &spec, why);
    return err ? err : host_add(&rig.host, &spec, why);
}

static void adds(const char *text)
{
    struct ice_why why = {.text = ""};
    is_int(add(text, &why), 0, "%s %s", text, why.text);
}

static void removes(const char *name)
{
    struct ice_why why = {.text = ""};
    is_int(host_remove(&rig.host, name, &why), 0, "%s is removed %s", name, why.text);
}

static bool answers(int fd)
{
    raw_message(fd, MESSAGE_GET_STATUS, 7, 0, NULL);
    return raw_next(fd).message == MESSAGE_GET_STATUS;
}

/* vm0 and vm1 side by side, in the place of the rig's vm0. */
static void open_two(void)
{
    server_rig_open(&rig, (struct server_params){.threads = 3});
    snprintf(vm1_path, sizeof(vm1_path), "%s/vm1.sock", rig.dir);
    removes("vm0");
    ok(access(rig.device, F_OK) < 0, "its socket is gone");
    adds("vm0,slots=0+4,sectors=0+1024");
    adds("vm1,slots=4+4,sectors=1024+1024");
    ok(access(rig.device, F_OK) == 0 && access(vm1_path, F_OK) == 0, "both have sockets");
}

/* ---- removal under clients ---- */

static atomic_bool removed;

static void *remove_vm1(void *user)
{
    (void)user;
    removes("vm1");
    atomic_store(&removed, true);
    return NULL;
}

static void test_removal(void)
{
    pthread_t thread;
    open_two();
    int other = raw_connect(rig.device), idle = raw_connect(vm1_path), busy = raw_connect(vm1_path);
    raw_negotiate(other);
    raw_negotiate(busy);
    ok(answers(idle), "an idle client of vm1");
    gate_close(rig.gate, GATE_READ);
    raw_read(busy, 3, SECTOR_SIZE);
    ok(gate_wait(rig.gate, GATE_READ, 1), "one with a request in flight");
    pthread_create(&thread, NULL, remove_vm1, NULL);
    ok(raw_next(idle).end, "a removal cuts the idle one at once");
    usleep(50000);
    ok(!atomic_load(&removed) && !host_find(&rig.host, "vm1"),
       "it waits for the request, and the function is not found any more");
    ok(access(vm1_path, F_OK) < 0, "nor is its socket");
    ok(answers(other), "the other function goes on");
    gate_open(rig.gate, GATE_READ);
    pthread_join(thread, NULL);
    ok(raw_next(busy).end, "the busy client is cut too");
    raw_read(other, 4, SECTOR_SIZE);
    is_int((intmax_t)raw_next(other).bytes, SECTOR_SIZE + 1, "the other one reads");
    adds("vm1,slots=4+4,sectors=1024+1024");
    int again = raw_connect(vm1_path);
    ok(answers(again), "the name can be used again");
    const int fds[] = {other, idle, busy, again};
    for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
        close(fds[i]);
    server_rig_close(&rig);
}

static void test_refused(void)
{
    struct ice_why why = {.text = ""};
    char path[128];
    open_two();
    snprintf(path, sizeof(path), "%s/vm2.sock", rig.dir);
    ok(mkdir(path, 0700) == 0, "a folder is in the way of a socket");
    is_int(add("vm2,slots=0+0,sectors=4096+1", &why), -EEXIST, "then there is no function: %s",
           why.text);
    ok(!host_find(&rig.host, "vm2"), "not even half of one");
    rmdir(path);
    adds("vm2,slots=0+0,sectors=4096+1");
    server_refuse_new(rig.server);
    is_int(add("vm3,slots=0+0,sectors=5000+1", &why), -ESHUTDOWN, "none comes during a stop: %s",
           why.text);
    removes("vm2");
    server_rig_close(&rig);
}

/* ---- clients that come while the function goes ---- */

static atomic_bool stop;
static atomic_uint greeted, turned_away;

/* Stays until the server ends it; else no removal would ever end. */
static void *knock(void *user)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    static const uint8_t get_status[] = {0x82, MESSAGE_GET_STATUS, 1};
    strcpy(address.sun_path, vm1_path);
    (void)user;
    while (!atomic_load(&stop)) {
        uint8_t reply[64];
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        bool served = connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 &&
                      send(fd, get_status, sizeof(get_status), MSG_NOSIGNAL) > 0 &&
                      recv(fd, reply, sizeof(reply), 0) > 0;
        while (served && recv(fd, reply, sizeof(reply), 0) > 0)
            ;
        atomic_fetch_add(served ? &greeted : &turned_away, 1);
        close(fd);
    }
    return NULL;
}

static void test_storm(void)
{
    pthread_t threads[6];
    struct ice_why why = {.text = ""};
    open_two();
    int other = raw_connect(rig.device);
    unsigned bad = 0;
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_create(&threads[i], NULL, knock, NULL);
    int64_t end = now_ms() + PATIENCE_MS;
    for (unsigned round = 0; round < 400 || (atomic_load(&greeted) <= 100 && now_ms() < end);
         round++) {
        bad += host_remove(&rig.host, "vm1", &why) != 0;
        bad += access(vm1_path, F_OK) == 0;
        bad += add("vm1,slots=4+4,sectors=1024+1024", &why) != 0;
        bad += !answers(other);
        usleep(round % 8 * 100);
    }
    atomic_store(&stop, true);
    removes("vm1");
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    is_int(bad, 0, "a function comes and goes while clients do %s", why.text);
    ok(atomic_load(&greeted) > 100, "%u of them were served", atomic_load(&greeted));
    close(other);
    server_rig_close(&rig);
}

int main(void)
{
    test_removal();
    test_refused();
    test_storm();
    return tap_done();
}
