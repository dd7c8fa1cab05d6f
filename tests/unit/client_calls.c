/* SPDX-License-Identifier: BSD-2-Clause */
/* Connecting, hello, the calls that wait for their answer, and negotiation. */
#include "base/bytes.h"
#include "base/secret.h"
#include "probe.h"
#include "tap.h"
#include "virtio/ice.h"
#include "virtio/virtio.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- connecting ---- */

static const char *hello_bytes;
static size_t hello_len;

/* Sends hello_bytes, whose third byte becomes the tag, as the answer to the first frame. */
static void script_hello(struct fake_server *server)
{
    uint8_t bytes[256];
    struct frame_view view;

    if (!fake_next(server, &view))
        return;
    memcpy(bytes, hello_bytes, hello_len);
    if (hello_len > 2 && bytes[2] == 't') {
        fake_send(server, bytes, 2);
        fake_begin(server, 0, 0, 0);
        server->out.next = server->out_bytes;
        write_uint(&server->out, view.tag);
        fake_end(server);
        fake_send(server, bytes + 3, hello_len - 3);
    } else {
        fake_send(server, bytes, hello_len);
    }
}

static void test_hello(void)
{
    static const struct {
        const char *name;
        const char *bytes;
        size_t len;
        int err;
        const char *text;
    } cases[] = {
#define BYTES(literal) literal, sizeof(literal) - 1
#define PROTO          "the server does not keep to the protocol: "
        {"nothing", BYTES(""), ECONNRESET, "connection lost"},
        {"half an answer", BYTES("\x84\x01t\x01"), ECONNRESET, "connection lost"},
        {"version 2", BYTES("\x84\x01t\x02\xa0"), EPROTO,
         "the server speaks version 2 of the protocol, not 1"},
        {"a text for the version", BYTES("\x84\x01t\x61x\xa0"), EPROTO,
         PROTO "a text string where an unsigned integer was expected"},
        {"no map", BYTES("\x84\x01t\x01\x80"), EPROTO, PROTO "an array where a map was expected"},
        {"one element too few", BYTES("\x83\x01t\x01"), EPROTO,
         PROTO "an answer of 3 elements where 4 were expected"},
        {"another message", BYTES("\x82\x03t"), EPROTO, NULL},
        {"another tag", BYTES("\x84\x01\x18\x64\x01\xa0"), EPROTO,
         PROTO "an answer with number 1 and tag 100, which nobody waits for"},
        {"a number for a name",
         BYTES("\x84\x01t\x01\xa1\x68"
               "function\x05"),
         EPROTO, PROTO "an unsigned integer where a text string was expected"},
        {"a name of 40 bytes",
         BYTES("\x84\x01t\x01\xa1\x68"
               "function\x78\x28"
               "0123456789012345678901234567890123456789"),
         EPROTO, PROTO "a name of 40 bytes"},
        {"a text for a number",
         BYTES("\x84\x01t\x01\xa1\x6b"
               "slot_offset\x61x"),
         EPROTO, PROTO "a text string where an unsigned integer was expected"},
        {"a name with a NUL",
         BYTES("\x84\x01t\x01\xa1\x67"
               "dialect\x62x\0"),
         EPROTO, PROTO "a name of 2 bytes"},
        {"a refusal", BYTES("\x84\x00t\x0d\x62no"), EACCES, "no"},
        {"a refusal of the connection", BYTES("\x84\x00\x00\x0c\x68too many"), ENOMEM, "too many"},
        {"an indefinite array", BYTES("\x9f\x01"), EPROTO,
         PROTO "an answer does not begin as a frame"},
    };

    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct client *client = NULL;
        struct ice_why why = {0};

        hello_bytes = cases[i].bytes;
        hello_len = cases[i].len;
        is_int(client_connect(fake_start(script_hello), 5000, &client, &why), -cases[i].err,
               "hello answered with %s", cases[i].name);
        if (cases[i].text)
            is_str(why.text, cases[i].text, "hello answered with %s: why", cases[i].name);
        client_close(client);
        fake_stop();
    }
}

static void test_no_server(void)
{
    struct client *client = NULL;
    struct ice_why why = {0};
    char path[109];

    is_int(client_connect("/nonexistent/s", 100, &client, &why), -ENOENT, "no socket");
    is_str(why.text, "/nonexistent/s: No such file or directory", "it says which");
    is_int(client_connect("/dev/null", 100, &client, &why), -ECONNREFUSED, "not a socket");
    memset(path, 'a', sizeof(path) - 1);
    path[108] = '\0';
    is_int(client_connect(path, 100, &client, &why), -ENAMETOOLONG, "a path of 108 bytes");
    ok(strstr(why.text, "longer than the 107 bytes of a socket path"), "it says the limit");
    ok(!client, "no client is made");
    client_close(NULL);
}

/* ---- calls ---- */

static void script_calls(struct fake_server *server)
{
    struct frame_view view;

    fake_hello(server);
    while (fake_next(server, &view)) {
        struct reader args = fake_args(server, &view);
        uint64_t value = 0;

        if (view.args)
            read_uint(&args, UINT64_MAX, &value, NULL);
        switch ((enum message)view.message) {
        case MESSAGE_GET_FEATURES:
            fake_begin(server, view.message, view.tag, 2);
            write_uint(&server->out, UINT64_MAX);
            write_uint(&server->out, 5);
            break;
        case MESSAGE_SET_FEATURES:
            fake_begin(server, MESSAGE_ERROR, view.tag, 2);
            write_uint(&server->out, EBUSY);
            write_text(&server->out, value == UINT64_MAX ? "all\x1b[2J" : "?");
            break;
        case MESSAGE_SET_STATUS:
            fake_begin(server, view.message, view.tag, 2);
            write_uint(&server->out, value & 3);
            write_why(&server->out, value & 8 ? &(struct ice_why){EINVAL, "bits unknown"} : NULL);
            break;
        case MESSAGE_GET_STATUS:
            fake_begin(server, view.message, view.tag, 1);
            write_uint(&server->out, 128);
            break;
        case MESSAGE_READ_CONFIG:
            fake_begin(server, view.message, view.tag, 1);
            write_bytes(&server->out, "\x01\x02\x03", value == 98 ? 2 : 3);
            break;
        default:
            fake_begin(server, view.message, view.tag, 0);
            break;
        }
        fake_end(server);
    }
}

static void test_calls(void)
{
    struct client *client = probe_connect(script_calls);
    struct ice_why why = {0}, reason = {0};
    uint64_t offered, negotiated;
    uint8_t status, bytes[3];

    ok(!client_get_features(client, &offered, &negotiated, NULL) && offered == UINT64_MAX &&
           negotiated == 5,
       "get_features");
    is_int(client_set_features(client, UINT64_MAX, &why), -EBUSY, "an error reply is its errno");
    is_str(why.text, "all?[2J", "and its text, fit for a terminal");
    ok(client_alive(client), "a refusal leaves the connection alone");
    ok(!client_set_status(client, 11, &status, &reason, NULL) && status == 3 &&
           reason.err == EINVAL,
       "a status that did not stick");
    is_str(reason.text, "bits unknown", "and why");
    ok(!client_set_status(client, 3, &status, &reason, NULL) && status == 3 && !reason.err,
       "a status that did");
    ok(!client_get_status(client, &status, NULL) && status == 128, "get_status");
    ok(!client_read_config(client, 0, bytes, 3, NULL) && !memcmp(bytes, "\x01\x02\x03", 3),
       "read_config");
    is_int(client_write_config(client, 32, "\x01", 1, NULL), 0, "write_config");
    is_int(client_acknowledge(client, 7, NULL), 0, "acknowledge");
    is_int(client_read_config(client, 98, bytes, 3, &why), -EPROTO, "too few configuration bytes");
    ok(!client_alive(client), "end the connection");
    is_int(client_acknowledge(client, 7, NULL), -EPROTO, "for good");
    client_close(client);
    fake_stop();
}

/* ---- negotiation ---- */

static uint64_t offer, taken;
static uint8_t sticky;

/* A device that keeps only the bits `sticky` of its status. */
static void script_device(struct fake_server *server)
{
    struct frame_view view;

    fake_hello(server);
    while (fake_next(server, &view)) {
        struct reader args = fake_args(server, &view);
        uint8_t space[DIALECT_CONFIG_MAX] = {0x34, 0x12};
        uint64_t value = 0;

        if (view.args)
            read_uint(&args, UINT64_MAX, &value, NULL);
        fake_begin(server, view.message, view.tag,
                   view.message == MESSAGE_READ_CONFIG    ? 1
                   : view.message == MESSAGE_SET_FEATURES ? 0
                                                          : 2);
        if (view.message == MESSAGE_GET_FEATURES) {
            write_uint(&server->out, offer);
            write_uint(&server->out, 0);
        } else if (view.message == MESSAGE_SET_STATUS) {
            bool stays = (value & sticky) == value;
            write_uint(&server->out, value & sticky);
            write_why(&server->out, stays ? NULL : &(struct ice_why){EINVAL, "bit 9 is needed"});
        } else if (view.message == MESSAGE_READ_CONFIG) {
            write_bytes(&server->out, space, sizeof(space));
        } else {
            taken = value;
        }
        fake_end(server);
    }
}

static void test_negotiate(void)
{
    const uint64_t version_1 = VIRTIO_FEATURE(VIRTIO_F_VERSION_1);
    const uint64_t ice = VIRTIO_FEATURE(VIRTIO_BLK_F_ICE);
    struct client *client = probe_connect(script_device);
    struct channel *channel = NULL;
    struct ice_why why = {0};

    offer = version_1 | ice | VIRTIO_FEATURE(VIRTIO_BLK_F_RO);
    sticky = 0xff;
    is_int(client_negotiate(client, ice | VIRTIO_FEATURE(VIRTIO_BLK_F_MQ), &channel, &why), 0,
           "negotiate");
    ok(taken == (version_1 | ice) && channel->features == taken,
       "what is wanted and offered is taken, and VERSION_1");
    ok(channel->capacity == 0x1234 && channel->dialect == &dialect_ice2,
       "capacity and dialect are known");
    sticky = (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
    is_int(client_negotiate(client, ice, &channel, &why), -EINVAL,
           "FEATURES_OK that does not stick");
    is_str(why.text, "bit 9 is needed", "the device's reason");
    offer = ice;
    sticky = 0xff;
    is_int(client_negotiate(client, ice, &channel, &why), -EOPNOTSUPP, "a legacy device");
    is_str(why.text, "the device does not offer VIRTIO_F_VERSION_1", "it says why");
    ok(client_alive(client), "none of that ends the connection");
    client_close(client);
    fake_stop();
}

/* The channel waits for room instead of failing. */
static void script_slow(struct fake_server *server)
{
    struct frame_view views[IN_FLIGHT_MAX + 1], setup;
    unsigned n = 0;

    fake_hello(server);
    while (n < IN_FLIGHT_MAX && fake_next(server, &setup))
        if (!fake_setup(server, &setup))
            views[n++] = setup;
    while (n--)
        fake_written(server, views[n].tag, 1, 0, 0, NULL);
    if (fake_next(server, &setup))
        fake_written(server, setup.tag, 1, 0, 0, NULL);
    fake_next(server, &setup);
}

static void test_channel(void)
{
    static struct probe many[IN_FLIGHT_MAX + 1];
    struct client *client = probe_connect(script_slow);
    struct channel *channel = NULL;
    bool right = true;

    is_int(client_negotiate(client, 0, &channel, NULL), 0, "negotiate");
    for (unsigned i = 0; i <= IN_FLIGHT_MAX; i++) {
        probe_init(&many[i], 0);
        channel_submit(channel, &many[i].request);
    }
    is_int(probe_run(client, NULL), 0, "65 requests by a channel that takes 64 at once");
    for (unsigned i = 0; i <= IN_FLIGHT_MAX; i++)
        right &= many[i].done == 1 && many[i].written == 1;
    ok(right, "each is done once");
    probe_init(&many[0], 0);
    many[0].readable[0].iov_len = FRAME_MAX;
    channel_submit(channel, &many[0].request);
    ok(many[0].done == 1 && many[0].written == 0 && many[0].why.err == EMSGSIZE,
       "a request that no frame holds is done with the cause");
    client_close(client);
    fake_stop();
}

/* ---- another way to wait ---- */

#define HELLO_7 "\x84\x01t\x01\xa1\x6ageneration\x63"

static void script_generation(struct fake_server *server)
{
    struct frame_view view;

    hello_bytes = HELLO_7 "0x7";
    hello_len = sizeof(HELLO_7) - 1 + 3;
    fake_send(server, "\x84\x0f\x00\x02\x05", 5); /* generation 5, before hello is answered */
    script_hello(server);
    fake_next(server, &view);
    usleep(50000); /* so that it is waited for */
    fake_send(server, "\x84\x0f\x00\x02\x09", 5);
    fake_send(server, "\x84\x0f\x00\x02\x08", 5);
    fake_setup(server, &view);
    fake_next(server, &view);
}

struct waits {
    int fd, result;
    unsigned times;
    int64_t deadline_ms;
};

static int wait_counted(void *user, int fd, short events, int64_t deadline_ms)
{
    struct waits *waits = user;
    struct pollfd pollfd = {.fd = fd, .events = events};

    waits->times++;
    waits->fd = fd;
    waits->deadline_ms = deadline_ms;
    if (waits->result <= 0)
        return waits->result;
    poll(&pollfd, 1, 5000);
    return pollfd.revents;
}

static void test_wait(void)
{
    struct waits waits = {.result = 1};
    struct client *client = probe_connect(script_generation);
    struct ice_why why = {0};
    uint8_t status;

    ok(client_generation(client) == 7, "the newest generation: of hello");
    client_set_wait(client, wait_counted, &waits);
    is_int(client_get_status(client, &status, NULL), 0, "a call that waits in another way");
    ok(waits.times > 0 && waits.fd == client_fd(client) && waits.deadline_ms > 0,
       "for the client's descriptor, until its deadline");
    ok(client_generation(client) == 9, "the newest generation: of an event");
    ok(!client_has_input(client), "nothing has been left");
    waits.result = 0;
    is_int(client_run(client, &why), -ETIMEDOUT, "0 is the deadline");
    ok(!client_alive(client), "which ends the connection");
    client_close(client);
    fake_stop();
    client = probe_connect(script_generation);
    waits.result = -EBADF;
    client_set_wait(client, wait_counted, &waits);
    is_int(client_run(client, &why), -EBADF, "an errno of its own");
    is_str(why.text, "waiting for the server: Bad file descriptor", "is told");
    client_close(client);
    fake_stop();
}

/* ---- control ---- */

static void script_control(struct fake_server *server)
{
    static const char map[] = "\xa1\x65"
                              "scope\x66"
                              "engine";
    struct frame_view view;

    fake_hello(server);
    while (fake_next(server, &view)) {
        if (view.message == MESSAGE_RESET) {
            bool same = view.length - view.args_at == sizeof(map) - 1 &&
                        !memcmp(server->in + view.args_at, map, sizeof(map) - 1);
            fake_begin(server, view.message, view.tag, 1);
            write_bool(&server->out, same);
            fake_end(server);
        } else if (view.message == MESSAGE_STATS) {
            fake_begin(server, MESSAGE_ERROR, view.tag, 2);
            write_uint(&server->out, ENOENT);
            write_text(&server->out, "there is no function vm7");
            fake_end(server);
        } else {
            fake_begin(server, view.message, view.tag, 1);
            write_array(&server->out, 20000);
            fake_end(server);
            for (unsigned i = 0; i < 20000; i++)
                fake_send(server, "\x64slot", 5);
        }
    }
}

static void test_control(void)
{
    struct client *client = probe_connect(script_control);
    struct ice_why why = {0};
    uint8_t *result;
    size_t len;

    is_int(client_control(client, MESSAGE_RESET,
                          (const uint8_t *)"\xa1\x65scope\x66"
                                           "engine",
                          14, &result, &len, NULL),
           0, "control");
    ok(len == 1 && result[0] == 0xf5, "the map went out as it was, the result is one item");
    secret_free(result);
    is_int(client_control(client, MESSAGE_STATS, (const uint8_t *)"\xa0", 1, &result, &len, &why),
           -ENOENT, "a refusal");
    is_str(why.text, "there is no function vm7", "its text");
    is_int(
        client_control(client, MESSAGE_SLOT_LIST, (const uint8_t *)"\xa0", 1, &result, &len, &why),
        0, "an answer of 100 kB");
    ok(len == 100003 && !memcmp(result, "\x99\x4e\x20\x64slot", 8) &&
           !memcmp(result + len - 5, "\x64slot", 5),
       "is whole");
    secret_free(result);
    client_close(client);
    fake_stop();
}

int main(void)
{
    test_hello();
    test_no_server();
    test_calls();
    test_negotiate();
    test_channel();
    test_wait();
    test_control();
    return tap_done();
}
