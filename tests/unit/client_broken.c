/* SPDX-License-Identifier: BSD-2-Clause */
/* Servers that break the protocol, vanish, talk noise: each request in flight ends exactly once. */
#include "base/bytes.h"
#include "probe.h"
#include "tap.h"
#include "virtio/blk.h"

#include <errno.h>

static const struct ice_why refusal = {.err = EINVAL, .text = "slot 9 is outside vm0's window"};

static const struct broken_case {
    const char *name;
    const char *text;
    enum {
        SHORT,
        LONG,
        EMPTY,
        HUGE,
        OK_REASON,
        IOERR_NONE,
        IOERR_DATA,
        TAG,
        STALE,
        TWICE,
        GARBAGE,
        ELEMENTS,
        NO_BYTES,
        BAD_REASON,
        CALL_ANSWER,
        TAG0_ERROR,
        STRAY_ERROR,
        EVENT_TAG
    } kind;
} broken_cases[] = {
    {"short", "2 bytes written of a writable part of 4097", SHORT},
    {"long", "4098 bytes written of a writable part of 4097", LONG},
    {"empty", "0 bytes written of a writable part of 4097", EMPTY},
    {"2^64-1 bytes", "18446744073709551615 bytes written of a writable part of 4097", HUGE},
    {"OK with a reason", "status, data and reason of an answer contradict each other", OK_REASON},
    {"IOERR without a reason", "status, data and reason of an answer contradict each other",
     IOERR_NONE},
    {"IOERR with data", "status, data and reason of an answer contradict each other", IOERR_DATA},
    {"a tag of nobody", "an answer with tag 9999, which no request waits for", TAG},
    {"a tag of another use", NULL, STALE},
    {"an answer twice", NULL, TWICE},
    {"garbage", "an answer does not begin as a frame", GARBAGE},
    {"5 elements", "the answer to a request has 5 elements", ELEMENTS},
    {"text for data", "the answer to a request holds no byte string", NO_BYTES},
    {"a number for a reason", "an unsigned integer where an array was expected", BAD_REASON},
    {"an answer to no call", NULL, CALL_ANSWER},
    {"an error for the connection", "going away", TAG0_ERROR},
    {"an error for nobody", "an error with tag 777, which nobody waits for: x", STRAY_ERROR},
    {"an event with a tag", "an event is [15, 0, event, value]", EVENT_TAG},
};

static const struct broken_case *broken_case;

static void send_broken(struct fake_server *server, uint64_t tag)
{
    switch (broken_case->kind) {
    case SHORT:
        fake_written(server, tag, 2, 0, 0, NULL);
        return;
    case LONG:
        fake_written(server, tag, DATA + 2, 0, 0, NULL);
        return;
    case EMPTY:
        fake_written(server, tag, 0, 0, 0, NULL);
        return;
    case OK_REASON:
        fake_written(server, tag, 1, 0, VIRTIO_BLK_S_OK, &refusal);
        return;
    case IOERR_NONE:
        fake_written(server, tag, 1, 0, VIRTIO_BLK_S_IOERR, NULL);
        return;
    case IOERR_DATA:
        fake_written(server, tag, DATA + 1, 0, VIRTIO_BLK_S_IOERR, &refusal);
        return;
    case TAG:
        fake_written(server, 9999, 1, 0, 0, NULL);
        return;
    case STALE:
        fake_written(server, tag + 128, 1, 0, 0, NULL);
        return;
    case TWICE:
        fake_written(server, tag, 1, 0, 0, NULL);
        fake_written(server, tag, 1, 0, 0, NULL);
        return;
    case GARBAGE:
        fake_send(server, "HTTP/1.1 400\r\n", 14);
        return;
    case TAG0_ERROR:
        fake_send(server, "\x84\x00\x00\x05\x6agoing away", 15);
        return;
    case STRAY_ERROR:
        fake_send(server, "\x84\x00\x19\x03\x09\x05\x61x", 8);
        return;
    case EVENT_TAG:
        fake_send(server, "\x84\x0f\x01\x00\x00", 5);
        return;
    default:
        break;
    }
    fake_begin(server, broken_case->kind == CALL_ANSWER ? MESSAGE_GET_STATUS : MESSAGE_REQUEST, tag,
               broken_case->kind == ELEMENTS ? 3 : 2);
    if (broken_case->kind == HUGE)
        write_bytes_head(&server->out, SIZE_MAX);
    else if (broken_case->kind == NO_BYTES)
        write_text(&server->out, "x");
    else
        write_bytes(&server->out, "", 1);
    write_uint(&server->out, 7);
    fake_end(server);
}

static void script_broken(struct fake_server *server)
{
    uint64_t tags[REQUESTS];

    fake_hello(server);
    if (!probe_take(server, tags))
        return;
    send_broken(server, tags[1]);
    fake_next(server, &(struct frame_view){0});
}

static void test_broken(const struct broken_case *this)
{
    struct client *client;
    struct ice_why why = {0};
    bool once = true;
    int err;

    broken_case = this;
    client = probe_connect(script_broken);
    probe_submit(client, REQUESTS);
    err = probe_run(client, &why);
    is_int(err, this->kind == TAG0_ERROR ? -EIO : -EPROTO, "%s ends the connection", this->name);
    if (this->text)
        ok(strlen(why.text) >= strlen(this->text) &&
               !strcmp(why.text + strlen(why.text) - strlen(this->text), this->text),
           "%s: %s", this->name, why.text);
    for (unsigned i = 0; i < REQUESTS; i++)
        once &= probes[i].done == 1 && (probes[i].written == 0 || (i == 1 && this->kind == TWICE));
    ok(once && !client_alive(client), "%s: all that was in flight is told, once", this->name);
    is_int(client_get_status(client, &(uint8_t){0}, &why), err, "%s: later calls fail alike",
           this->name);
    probe_init(&probes[0], 0);
    ok(!client_submit(client, &probes[0].request, NULL) && probes[0].done == 1 &&
           probes[0].written == 0,
       "%s: a later request is done at once", this->name);
    client_close(client);
    fake_stop();
}

/* The connection is lost after each byte of an answer. */
static size_t cut;

static void script_cut(struct fake_server *server)
{
    static const uint8_t why[] = "\x82\x05\x61x";
    uint8_t frame[64];
    struct writer writer = {frame, frame + sizeof(frame), false};
    uint64_t tags[REQUESTS];

    fake_hello(server);
    if (!probe_take(server, tags))
        return;
    write_array(&writer, 4);
    write_uint(&writer, MESSAGE_REQUEST);
    write_uint(&writer, tags[2]);
    write_bytes(&writer, "\x01", 1);
    memcpy(writer.next, why, sizeof(why) - 1);
    fake_send(server, frame, cut);
}

static void test_lost(void)
{
    for (cut = 0; cut < 11; cut++) {
        struct client *client = probe_connect(script_cut);
        struct ice_why why = {0};
        bool once = true;
        int err;

        probe_submit(client, REQUESTS);
        err = probe_run(client, &why);
        for (unsigned i = 0; i < REQUESTS; i++)
            once &=
                probes[i].done == 1 && probes[i].written == 0 && probes[i].why.err == ECONNRESET;
        ok(err == -ECONNRESET && once && !strcmp(why.text, "connection lost"),
           "lost after %zu bytes of an answer", cut);
        client_close(client);
        fake_stop();
    }
}

/* ---- a hostile server ---- */

static uint64_t seed = 20260210;

static uint32_t random32(void)
{
    seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)(seed >> 33);
}

static void script_random(struct fake_server *server)
{
    static const uint8_t likely[] = {0x84, 0x83, 0x08, 0x00, 0x0f, 0x18, 0x19, 0x41, 0x59, 0x10,
                                     0x01, 0x5b, 0x9b, 0x82, 0xf6, 0x61, 0xa1, 0x02, 0x81, 0x7b};
    uint64_t tags[REQUESTS];
    uint8_t bytes[96];
    struct writer writer = {bytes, bytes + sizeof(bytes), false};
    size_t len = random32() % 32;

    fake_hello(server);
    if (!probe_take(server, tags))
        return;
    if (random32() % 4) {
        write_array(&writer, 4);
        write_uint(&writer, random32() % 2 ? MESSAGE_REQUEST : MESSAGE_ERROR);
        write_uint(&writer, tags[random32() % REQUESTS]);
    }
    for (; len; len--)
        *writer.next++ = random32() % 3 ? likely[random32() % sizeof(likely)] : (uint8_t)random32();
    fake_send(server, bytes, (size_t)(writer.next - bytes));
}

static void test_random(void)
{
    unsigned wrong = 0;

    for (unsigned i = 0; i < 1000; i++) {
        struct client *client = probe_connect(script_random);

        probe_submit(client, REQUESTS);
        probe_run(client, NULL);
        for (unsigned p = 0; p < REQUESTS; p++)
            wrong += probes[p].done != 1;
        client_close(client);
        fake_stop();
    }
    is_int(wrong, 0, "1000 hostile servers: each request is done exactly once");
}

int main(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(broken_cases); i++)
        test_broken(&broken_cases[i]);
    test_lost();
    test_random();
    return tap_done();
}
