/* SPDX-License-Identifier: BSD-2-Clause */
/* The client's requests against a scripted server: order, data, and every way to break the
 * protocol. */
#include "base/bytes.h"
#include "probe.h"
#include "tap.h"
#include "virtio/blk.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- answers that are right ---- */

static const struct ice_why refusal = {.err = EINVAL, .text = "slot 9 is outside vm0's window"};

static void script_order(struct fake_server *server)
{
    uint64_t tags[REQUESTS];

    fake_hello(server);
    if (!probe_take(server, tags))
        return;
    fake_written(server, tags[3], DATA + 1, 0x33, VIRTIO_BLK_S_OK, NULL);
    fake_send(server, "\x84\x0f\x00\x02\x18\x2a", 6); /* an engine generation */
    fake_written(server, tags[1], 1, 0, VIRTIO_BLK_S_IOERR, &refusal);
    fake_send(server, "\x84\x0f\x00\x18\x63\x00", 6); /* an event of the future */
    fake_begin(server, MESSAGE_ERROR, tags[2], 2);
    write_uint(&server->out, EBUSY);
    write_text(&server->out, "not ready");
    fake_end(server);
    fake_written(server, tags[0], 1, 0, VIRTIO_BLK_S_OK, NULL);
    fake_next(server, &(struct frame_view){0});
}

static unsigned events;
static uint64_t event_value;

static void on_event(void *user, enum protocol_event event, uint64_t value)
{
    events++;
    event_value = user == &events && event == PROTOCOL_EVENT_ENGINE_GENERATION ? value : 0;
}

static void test_order(void)
{
    struct client *client = probe_connect(script_order);

    is_str(client_function(client), "vm0", "hello tells the function");
    is_str(client_dialect(client), "ice2", "hello tells the dialect");
    client_on_event(client, on_event, &events);
    probe_submit(client, REQUESTS);
    is_int(client_in_flight(client), REQUESTS, "all are in flight");
    probe_run(client, NULL);
    ok(probes[3].order == 0 && probes[1].order == 1 && probes[2].order == 2 && probes[0].order == 3,
       "done comes in the order of the answers");
    ok(probes[3].written == DATA + 1 && is_filled(probes[3].in, DATA, 0x33) &&
           probes[3].in[DATA] == VIRTIO_BLK_S_OK && !probes[3].why.err,
       "data and status are in the writable parts");
    ok(probes[1].written == 1 && is_filled(probes[1].in, DATA, 0xee) &&
           probes[1].in[DATA] == VIRTIO_BLK_S_IOERR,
       "a status alone stands in the last byte, the data area is untouched");
    is_str(probes[1].why.text, refusal.text, "the reason comes along");
    ok(probes[2].written == 0 && probes[2].why.err == EBUSY &&
           is_filled(probes[2].in, DATA + 1, 0xee),
       "an error reply is no answer in virtio's terms");
    ok(probes[0].written == 1 && probes[0].in[DATA] == VIRTIO_BLK_S_OK && !probes[0].why.err,
       "OK without data");
    ok(events == 1 && event_value == 42, "the event came, the unknown one did not");
    ok(client_alive(client), "the connection lives");
    client_close(client);
    fake_stop();
}

/* The same bytes in pieces of any size: nothing depends on what one receive brings. */
static size_t piece;

static void script_pieces(struct fake_server *server)
{
    uint8_t frame[DATA + 32];
    struct writer writer = {frame, frame + sizeof(frame), false};
    uint64_t tags[REQUESTS];

    fake_hello(server);
    if (!probe_take(server, tags))
        return;
    for (unsigned i = 0; i < REQUESTS; i++) {
        uint8_t data[DATA + 1];

        memset(data, (int)i, sizeof(data));
        data[DATA] = 0;
        writer.next = frame;
        write_array(&writer, 4);
        write_uint(&writer, MESSAGE_REQUEST);
        write_uint(&writer, tags[i]);
        write_bytes(&writer, data, sizeof(data));
        write_null(&writer);
        for (uint8_t *next = frame; next < writer.next;) {
            /* Small pieces where heads and tails are, larger ones in the data. */
            size_t len = next - frame < 64 || writer.next - next < 64 ? piece : 1000;

            len = min_u64(len, (size_t)(writer.next - next));
            fake_send(server, next, len);
            next += len;
            usleep(20);
        }
    }
}

static void test_pieces(void)
{
    for (piece = 1; piece < 64; piece += 6) {
        struct client *client = probe_connect(script_pieces);
        bool right = true;

        probe_submit(client, REQUESTS);
        probe_run(client, NULL);
        for (unsigned i = 0; i < REQUESTS; i++)
            right &= probes[i].done == 1 && probes[i].written == DATA + 1 &&
                     is_filled(probes[i].in, DATA, (uint8_t)i);
        ok(right, "answers in pieces of %zu", piece);
        client_close(client);
        fake_stop();
    }
}

/* ---- both directions full ---- */

#define BIG (4u << 20)

static void script_full(struct fake_server *server)
{
    struct frame_view view;
    uint64_t tags[3];

    fake_hello(server);
    for (unsigned i = 0; i < 3; i++) {
        if (!fake_next(server, &view))
            return;
        tags[i] = view.tag;
    }
    /* The client is sending; nothing of that is read before all of this is taken. */
    usleep(50000);
    for (unsigned i = 0; i < 3; i++)
        fake_written(server, tags[i], BIG + 1, (uint8_t)(i + 1), 0, NULL);
    if (fake_next(server, &view) && view.bulk_length == BIG)
        fake_written(server, view.tag, 1, 0, 0, NULL);
    fake_next(server, &view);
}

static void test_full(void)
{
    struct client *client = probe_connect(script_full);
    uint8_t *areas = calloc(3, BIG + 1);
    uint8_t *out = calloc(1, BIG);
    bool right = true;

    for (unsigned i = 0; i < 4; i++) {
        probe_init(&probes[i], (uint8_t)i);
        if (i < 3)
            probes[i].writable[0] = (struct iovec){areas + i * (BIG + 1), BIG + 1};
        else
            probes[i].readable[0] = (struct iovec){out, BIG};
        probes[i].request.nwritable = 1;
        probes[i].request.nreadable = 1;
        client_submit(client, &probes[i].request, NULL);
    }
    probe_run(client, NULL);
    for (unsigned i = 0; i < 3; i++)
        right &=
            probes[i].written == BIG + 1 && is_filled(areas + i * (BIG + 1), BIG, (uint8_t)(i + 1));
    ok(right && probes[3].written == 1, "12 MiB of answers arrive while 4 MiB are being sent");
    free(areas);
    free(out);
    client_close(client);
    fake_stop();
}

/* The server refuses a frame, says so, and closes without having read it all. */
static void script_refuse(struct fake_server *server)
{
    struct frame_view view;

    fake_hello(server);
    while (frame_scan(server->in + server->frame_len, server->in_len - server->frame_len, &view,
                      NULL) == SCAN_MORE)
        server->in_len += (size_t)read(server->fd, server->in + server->in_len, 64);
    fake_begin(server, MESSAGE_ERROR, view.tag, 2);
    write_uint(&server->out, EMSGSIZE);
    write_text(&server->out, "no such size here");
    fake_end(server);
}

static void test_refused_while_sending(void)
{
    struct client *client = probe_connect(script_refuse);
    uint8_t *out = calloc(1, BIG);

    probe_init(&probes[0], 0);
    probes[0].readable[0] = (struct iovec){out, BIG};
    is_int(client_submit(client, &probes[0].request, NULL), 0, "submit of a refused request");
    ok(probes[0].done == 1 && probes[0].written == 0, "its done was called before submit returned");
    is_str(probes[0].why.text, "no such size here", "with what the server said, not with EPIPE");
    ok(!client_alive(client), "and the connection has ended");
    free(out);
    client_close(client);
    fake_stop();
}

/* The same when the server is gone before the first byte is sent. */
static void script_turn_away(struct fake_server *server)
{
    fake_hello(server);
    fake_begin(server, MESSAGE_ERROR, 0, 2);
    write_uint(&server->out, ESHUTDOWN);
    write_text(&server->out, "closing time");
    fake_end(server);
}

static void test_refused_before_sending(void)
{
    struct client *client = probe_connect(script_turn_away);

    fake_stop(); /* the server has closed */
    probe_init(&probes[0], 0);
    is_int(client_submit(client, &probes[0].request, NULL), 0, "submit to a closed connection");
    ok(probes[0].done == 1 && probes[0].why.err == ESHUTDOWN, "is done at once");
    is_str(probes[0].why.text, "closing time", "with what the server said before it closed");
    client_close(client);
}

/* ---- limits ---- */

static void script_silent(struct fake_server *server)
{
    struct frame_view view;

    fake_hello(server);
    while (fake_next(server, &view))
        ;
}

static void test_limits(void)
{
    static struct probe many[IN_FLIGHT_MAX + 1];
    struct client *client = probe_connect(script_silent);
    struct ice_why why = {0};
    bool once = true;
    int err = 0;

    for (unsigned i = 0; i <= IN_FLIGHT_MAX; i++) {
        probe_init(&many[i], 0);
        err = client_submit(client, &many[i].request, &why);
        once &= !err == (i < IN_FLIGHT_MAX);
    }
    ok(once && err == -EAGAIN, "one request more than IN_FLIGHT_MAX is EAGAIN");
    is_str(why.text, "64 requests are in flight", "it says why");
    many[64].readable[0].iov_len = FRAME_DATA_MAX + FRAME_SECRET;
    is_int(client_submit(client, &many[64].request, &why), -EMSGSIZE, "too many readable bytes");
    is_str(why.text, "a request of 4194825 bytes out and 4097 in is too large", "it says why");
    client_close(client);
    for (unsigned i = 0; i < IN_FLIGHT_MAX; i++)
        once &= many[i].done == 1 && many[i].why.err == ECANCELED;
    ok(once && !many[64].done, "close ends each request once");
    fake_stop();
}

/* Again where hello alone has taken longer than there is time: the machine is busy. */
static struct client *connect_impatiently(void)
{
    struct client *client = NULL;
    struct ice_why why = {0};
    int err = -ETIMEDOUT;

    for (unsigned tries = 0; tries < 100 && err == -ETIMEDOUT; tries++) {
        err = client_connect(fake_start(script_silent), 100, &client, &why);
        if (err)
            fake_stop();
    }
    return is_int(err, 0, "connect: %s", why.text) ? client : NULL;
}

static void test_timeout(void)
{
    struct client *client = connect_impatiently();
    struct ice_why why = {0};

    if (!client)
        return;
    probe_submit(client, 1);
    is_int(client_run(client, &why), -ETIMEDOUT, "no answer in time");
    is_str(why.text, "no answer within 0.1 s", "it says how long");
    ok(probes[0].done == 1 && !client_alive(client), "the connection has ended");
    client_close(client);
    fake_stop();
}

int main(void)
{
    test_order();
    test_pieces();
    test_full();
    test_refused_while_sending();
    test_refused_before_sending();
    test_limits();
    test_timeout();
    return tap_done();
}
