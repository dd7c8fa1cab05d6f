/* SPDX-License-Identifier: BSD-2-Clause */
/* The server's protocol: order, errors, what one client's doing means for another. */
#include "base/bytes.h"
#include "base/secret.h"
#include "base/units.h"
#include "icesim/server_private.h"
#include "patience.h"
#include "server_rig.h"
#include "tap.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const uint64_t version_1 = PROTOCOL_VERSION;

/* ---- order ---- */

#define FLIGHT 32

struct flight {
    struct ice_request request;
    struct iovec readable, writable[2];
    uint8_t head[DIALECT_HEAD_MAX], data[SECTOR_SIZE], status;
    unsigned index;
};

static unsigned order[FLIGHT], done_count;

static void flight_done(struct ice_request *request, size_t written, const struct ice_why *why)
{
    struct flight *flight = CONTAINER_OF(request, struct flight, request);
    (void)why;
    order[done_count++] = written == SECTOR_SIZE + 1 ? flight->index : UINT32_MAX;
}

static void launch(struct client *client, struct channel *channel, struct flight *flight)
{
    const struct command command = {.kind = COMMAND_READ, .sector = flight->index};
    struct ice_why why;
    flight->readable = (struct iovec){
        flight->head, channel->dialect->build(channel->features, &command, flight->head)};
    flight->writable[0] = (struct iovec){flight->data, SECTOR_SIZE};
    flight->writable[1] = (struct iovec){&flight->status, 1};
    flight->request = (struct ice_request){.readable = &flight->readable,
                                           .nreadable = 1,
                                           .writable = flight->writable,
                                           .nwritable = 2,
                                           .expect = EXPECT_ANY,
                                           .done = flight_done};
    client_submit(client, &flight->request, &why);
}

static void test_reverse_order(void)
{
    static struct flight flights[FLIGHT];
    struct server_rig rig;
    struct channel *channel;
    struct ice_why why;
    server_rig_open(&rig, (struct server_params){.threads = FLIGHT});
    struct client *client = server_rig_client(&rig, &channel);
    unsigned first = gate_count(rig.gate, GATE_READ);
    gate_close(rig.gate, GATE_READ);
    for (unsigned i = 0; i < FLIGHT; i++) {
        flights[i].index = i;
        launch(client, channel, &flights[i]);
        if (!gate_wait(rig.gate, GATE_READ, i + 1)) /* so that they come to the store in order */
            break;
    }
    for (unsigned i = FLIGHT; i--;) {
        gate_pass(rig.gate, GATE_READ, first + i);
        while (done_count < FLIGHT - i && !client_run(client, &why))
            ;
    }
    gate_open(rig.gate, GATE_READ);
    bool reversed = done_count == FLIGHT;
    for (unsigned i = 0; i < done_count; i++)
        reversed = reversed && order[i] == FLIGHT - 1 - i;
    ok(reversed, "replies come in the order of completion, the reverse of the requests'");
    client_close(client);
    server_rig_close(&rig);
}

static void test_status_waits(void)
{
    struct server_rig rig;
    const uint64_t zero = 0;
    server_rig_open(&rig, (struct server_params){.threads = 2});
    int fd = raw_connect(rig.device);
    int other = raw_connect(rig.device);
    raw_negotiate(fd);
    raw_negotiate(other);
    gate_close(rig.gate, GATE_READ);
    raw_read(fd, 1, 512);
    ok(gate_wait(rig.gate, GATE_READ, 1), "a read is in flight");
    raw_message(fd, MESSAGE_SET_STATUS, 2, 1, &zero);
    raw_message(fd, MESSAGE_GET_STATUS, 3, 0, NULL);
    ok(raw_silent(fd), "status 0 waits for it, and what follows waits too");
    raw_message(other, MESSAGE_GET_STATUS, 4, 0, NULL);
    is_int((intmax_t)raw_next(other).value[0], 15, "another client is served meanwhile");
    gate_open(rig.gate, GATE_READ);
    struct raw_reply reply = raw_next(fd);
    ok(reply.tag == 1 && reply.bytes == 513, "then the read is answered");
    reply = raw_next(fd);
    ok(reply.tag == 2 && reply.value[0] == 0, "the status");
    reply = raw_next(fd);
    ok(reply.tag == 3 && reply.value[0] == 0, "and what followed, in order");
    raw_read(fd, 5, 512);
    reply = raw_next(fd);
    is_int((intmax_t)reply.value[0], EPROTO, "a request before DRIVER_OK is an error");
    is_str(reply.text, "a request before DRIVER_OK", "which says so");
    close(fd);
    close(other);
    server_rig_close(&rig);
}

static void test_own_negotiation(void)
{
    struct server_rig rig;
    struct channel *a_channel, *b_channel;
    struct ice_why why;
    uint8_t status = 0;
    uint64_t offered, features;
    server_rig_open(&rig, (struct server_params){0});
    struct client *a = server_rig_client(&rig, &a_channel), *b;
    client_connect(rig.device, PATIENCE_MS, &b, &why);
    client_negotiate(b, 0, &b_channel, &why);
    ok(a_channel->features & VIRTIO_FEATURE(VIRTIO_BLK_F_ICE), "one client has ICE");
    is_int((intmax_t)b_channel->features, (intmax_t)VIRTIO_FEATURE(VIRTIO_F_VERSION_1),
           "the other does not");
    client_set_status(b, 0, &status, NULL, &why);
    client_get_status(a, &status, &why);
    is_int(status, 15, "a reset of one leaves the other's status");
    client_get_features(a, &offered, &features, &why);
    is_int((intmax_t)features, (intmax_t)a_channel->features, "and its features");
    client_close(a);
    client_close(b);
    server_rig_close(&rig);
}

/* ---- errors ---- */

static void expect_error(int fd, unsigned tag, int err, const char *text)
{
    struct raw_reply reply = raw_next(fd);
    ok(reply.message == MESSAGE_ERROR && reply.tag == tag && reply.value[0] == (uint64_t)err,
       "error %d for tag %u", err, tag);
    is_str(reply.text, text, "which says why");
}

static void test_refusals(void)
{
    struct server_rig rig;
    const uint64_t two = 2, config[] = {0, 257};
    server_rig_open(&rig, (struct server_params){0});
    int fd = raw_connect(rig.device);
    raw_message(fd, MESSAGE_HELLO, 1, 1, &two);
    expect_error(fd, 1, EPROTONOSUPPORT, "protocol version 2 is not known; this is version 1");
    raw_message(fd, 77, 2, 0, NULL);
    expect_error(fd, 2, ENOSYS, "message 77 is not known");
    raw_message(fd, MESSAGE_RESET, 3, 0, NULL);
    expect_error(fd, 3, EACCES, "only the control socket takes message 34");
    raw_message(fd, MESSAGE_GET_STATUS, 4, 1, &two);
    expect_error(fd, 4, EINVAL, "message 4 has 2 elements, not 3");
    raw_message(fd, MESSAGE_READ_CONFIG, 5, 2, config);
    expect_error(fd, 5, EINVAL, "a configuration read is of 1..256 bytes, not 257");
    raw_message(fd, MESSAGE_HELLO, 6, 1, &version_1);
    is_int(raw_next(fd).message, MESSAGE_HELLO, "the connection lives on");
    close(fd);
    fd = raw_connect(rig.control);
    raw_read(fd, 1, 512);
    raw_message(fd, MESSAGE_GET_STATUS, 2, 0, NULL);
    expect_error(fd, 1, EACCES, "only a device socket takes message 8");
    expect_error(fd, 2, EACCES, "only a device socket takes message 4");
    close(fd);
    server_rig_close(&rig);
}

static bool is_closed(int fd)
{
    return send(fd, "x", 1, MSG_NOSIGNAL) < 0;
}

static void test_malformed(void)
{
    static const struct {
        const char *what;
        size_t len;
        uint8_t bytes[16];
        unsigned tag; /* 0: none to be told by */
    } cases[] = {
        {"an indefinite array", 3, {0x9f, 0x04, 0x01}, 0},
        {"an integer", 1, {0x04}, 0},
        {"a break", 1, {0xff}, 0},
        {"a float for an argument", 6, {0x83, 0x05, 0x09, 0xf9, 0x00, 0x00}, 9},
        {"a bulk of 2^64 - 1 bytes",
         14,
         {0x85, 0x08, 0x07, 0x00, 0x01, 0x5b, 255, 255, 255, 255, 255, 255, 255, 255},
         7},
    };
    struct server_rig rig;
    server_rig_open(&rig, (struct server_params){0});
    int other = raw_connect(rig.device);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int fd = raw_connect(rig.device);
        int64_t start = now_ms();
        raw_send(fd, cases[i].bytes, cases[i].len);
        struct raw_reply reply = raw_next(fd);
        if (cases[i].tag)
            ok(reply.message == MESSAGE_ERROR && reply.tag == cases[i].tag, "%s: %s", cases[i].what,
               reply.text);
        if (cases[i].tag)
            reply = raw_next(fd);
        ok(reply.end, "%s: the server writes no more", cases[i].what);
        if (i == 0) {
            raw_send(fd, "more", 4);
            ok(soon(is_closed(fd)) && now_ms() - start >= DISCARD_MS, "and closes some time later");
        }
        close(fd);
    }
    int fd = raw_connect(rig.device);
    raw_send(fd, "\x85\x08\x05\x00\x19\x02\x01\x58\x40short", 14);
    shutdown(fd, SHUT_WR);
    expect_error(fd, 5, EPROTO, "the connection ended inside a frame");
    ok(raw_next(fd).end, "then it ends");
    close(fd);
    raw_message(other, MESSAGE_GET_STATUS, 1, 0, NULL);
    is_int(raw_next(other).message, MESSAGE_GET_STATUS, "another client saw nothing of it");
    close(other);
    server_rig_close(&rig);
}

/* ---- input in all portions ---- */

static void test_portions(void)
{
    static uint8_t data[REQUEST_MAX];
    uint8_t head[FRAME_HEAD_MAX + 16];
    struct server_rig rig;
    server_rig_open(&rig, (struct server_params){0});
    int fd = raw_connect(rig.device);
    raw_negotiate(fd);
    size_t len = raw_read_frame(head, sizeof(head), 1, 512);
    for (size_t i = 0; i < len; i++) {
        raw_send(fd, head + i, 1);
        usleep(200);
    }
    is_int((intmax_t)raw_next(fd).bytes, 513, "a frame that comes byte by byte");
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i >> 9);
    raw_begin_write(fd, 2, 16 + sizeof(data));
    memset(head, 0, 16);
    head[0] = VIRTIO_BLK_T_OUT;
    raw_send(fd, head, 16);
    raw_send(fd, data, sizeof(data));
    raw_message(fd, MESSAGE_GET_STATUS, 3, 0, NULL);
    struct raw_reply first = raw_next(fd), second = raw_next(fd);
    ok((first.tag == 2 && second.tag == 3) || (first.tag == 3 && second.tag == 2),
       "4 MiB and the frame behind them");
    raw_read(fd, 4, REQUEST_MAX);
    is_int((intmax_t)raw_next(fd).bytes, REQUEST_MAX + 1, "4 MiB come back");
    struct iovec part = {head, 16};
    struct ice_why why;
    rig.host.store->ops->read(rig.host.store, REQUEST_MAX - 512, &part, 1, &why);
    ok(head[0] == 0xff && head[15] == 0xff, "and were stored to the end");
    close(fd);
    server_rig_close(&rig);
}

/* ---- control ---- */

static int control(struct client *client, enum message message, const char *scope,
                   const char *function, struct ice_why *why)
{
    uint8_t map[128], *result = NULL;
    size_t len;
    struct writer writer = {.next = map, .end = map + sizeof(map)};
    write_map(&writer, (scope != NULL) + (function != NULL));
    if (scope) {
        write_text(&writer, "scope");
        write_text(&writer, scope);
    }
    if (function) {
        write_text(&writer, "function");
        write_text(&writer, function);
    }
    int err = client_control(client, message, map, (size_t)(writer.next - map), &result, &len, why);
    secret_free(result);
    return err;
}

static void test_control(void)
{
    static const char twice[] = "\x83\x18\x23\x05\xa2\x68"
                                "function\x63vm0\x68"
                                "function\x63vm0";
    struct server_rig rig;
    struct client *client;
    struct ice_why why = {.text = ""};
    server_rig_open(&rig, (struct server_params){0});
    client_connect(rig.control, PATIENCE_MS, &client, &why);
    is_int(control(client, MESSAGE_FUNCTION_LIST, NULL, NULL, &why), 0, "function list");
    is_int(control(client, MESSAGE_SLOT_LIST, NULL, "vm0", &why), 0, "slot list");
    is_int(control(client, MESSAGE_STATS, NULL, "vm0", &why), 0, "statistics");
    is_int(control(client, MESSAGE_STATS, NULL, NULL, &why), -EINVAL, "a key that is missing");
    is_str(why.text, "key \"function\" is missing", "is named");
    is_int(control(client, MESSAGE_STATS, "x", "vm0", &why), -EINVAL, "one that is not known");
    is_str(why.text, "key \"scope\" is not known", "is named");
    is_int(control(client, MESSAGE_SLOT_LIST, NULL, "vm9", &why), -ENOENT, "no such function");
    is_str(why.text, "there is no function \"vm9\"", "is named");
    is_int(control(client, MESSAGE_RESET, "power", "vm0", &why), -EINVAL, "an unknown scope");
    is_str(why.text, "scope \"power\" is none of device, function, engine", "is named");
    int fd = raw_connect(rig.control);
    raw_send(fd, twice, sizeof(twice) - 1);
    expect_error(fd, 5, EINVAL, "key \"function\" is given twice");
    close(fd);
    fd = raw_connect(rig.device);
    raw_negotiate(fd);
    is_int(control(client, MESSAGE_RESET, "engine", NULL, &why), 0, "engine reset");
    struct raw_reply event = raw_next(fd);
    ok(event.message == MESSAGE_EVENT && event.value[0] == PROTOCOL_EVENT_ENGINE_GENERATION,
       "is an event on a device socket");
    is_int((intmax_t)event.value[1], (intmax_t)engine_generation(rig.host.engine),
           "with its value");
    is_int(control(client, MESSAGE_RESET, "device", "vm0", &why), 0, "device reset");
    is_int((intmax_t)raw_next(fd).value[0], PROTOCOL_EVENT_DEVICE_RESET, "is one too");
    raw_message(fd, MESSAGE_GET_STATUS, 1, 0, NULL);
    is_int((intmax_t)raw_next(fd).value[0], 0, "and the status is 0");
    close(fd);
    client_close(client);
    server_rig_close(&rig);
}

/* A reset waits for the gate; the rest of the control plane and the device go on. */
static void test_control_waits(void)
{
    struct server_rig rig;
    static const uint8_t reset[] = "\x83\x18\x22\x01\xa2\x65scope\x66"
                                   "device\x68"
                                   "function\x63vm0";
    server_rig_open(&rig, (struct server_params){.threads = 2});
    int fd = raw_connect(rig.device), admin = raw_connect(rig.control);
    raw_negotiate(fd);
    gate_close(rig.gate, GATE_READ);
    raw_read(fd, 1, 512);
    gate_wait(rig.gate, GATE_READ, 1);
    raw_send(admin, reset, sizeof(reset) - 1);
    ok(raw_silent(admin), "a device reset waits for requests in flight");
    struct client *client;
    struct ice_why why = {.text = ""};
    client_connect(rig.control, PATIENCE_MS, &client, &why);
    is_int(control(client, MESSAGE_STATS, NULL, "vm0", &why), 0, "others are served meanwhile");
    client_close(client);
    gate_open(rig.gate, GATE_READ);
    is_int((intmax_t)raw_next(fd).bytes, 513, "the read ends");
    is_int((intmax_t)raw_next(fd).value[0], PROTOCOL_EVENT_DEVICE_RESET, "the event");
    is_int(raw_next(admin).message, MESSAGE_RESET, "the reset is answered");
    close(fd);
    close(admin);
    server_rig_close(&rig);
}

static void test_foreign_user(void)
{
    struct server_rig rig;
    struct stat st;
    server_rig_open(&rig, (struct server_params){0});
    ok(!stat(rig.control, &st) && (st.st_mode & 07777) == 0600, "control.sock has mode 0600");
    if (geteuid() != 0) {
        skip("another user's connection needs root");
        server_rig_close(&rig);
        return;
    }
    ok(!chmod(rig.dir, 0755) && !chmod(rig.control, 0666), "let others in");
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        if (setuid(65534))
            _exit(2);
        int fd = raw_connect(rig.control);
        raw_message(fd, MESSAGE_HELLO, 1, 1, &version_1);
        struct raw_reply reply = raw_next(fd);
        _exit(reply.value[0] == EACCES &&
                      !strcmp(reply.text, "user 65534 may not control this icesim")
                  ? 0
                  : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    is_int(status, 0, "another user is refused by name");
    server_rig_close(&rig);
}

int main(void)
{
    test_reverse_order();
    test_status_waits();
    test_own_negotiation();
    test_refusals();
    test_malformed();
    test_portions();
    test_control();
    test_control_waits();
    test_foreign_user();
    return tap_done();
}
