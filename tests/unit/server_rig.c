/* SPDX-License-Identifier: BSD-2-Clause */
/* A whole server on a bench. */
#include "server_rig.h"
#include "base/bytes.h"
#include "base/units.h"
#include "cipher/cipher.h"
#include "patience.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define BUFFER (FRAME_MAX + 65536u)

static void must(bool good, const char *what)
{
    if (good)
        return;
    printf("Bail out! %s: %s\n", what, strerror(errno));
    exit(1);
}

void server_rig_open(struct server_rig *rig, struct server_params params)
{
    static bool initialised;
    struct ice_why why = {.text = ""};
    struct store *ram;
    must(initialised || !cipher_init(&why), why.text);
    initialised = true;
    strcpy(rig->dir, "/tmp/icesim-server-XXXXXX");
    must(mkdtemp(rig->dir), "mkdtemp");
    snprintf(rig->device, sizeof(rig->device), "%s/vm0.sock", rig->dir);
    snprintf(rig->control, sizeof(rig->control), "%s/control.sock", rig->dir);
    must(!store_open_ram((uint64_t)RIG_SECTORS * SECTOR_SIZE, &ram, &why), why.text);
    rig->gate = gate_store_new(ram);
    const struct host_params host = {
        .store = gate_store(rig->gate), .slots = 8, .dialect = &dialect_ice2};
    struct function_spec vm0;
    must(!host_open(&rig->host, &host, &why), why.text);
    must(!function_spec_parse("vm0", &vm0, &why) && !host_add(&rig->host, &vm0, &why), why.text);
    must(!views_open(&rig->host, &rig->views, &why), why.text);
    params.host = &rig->host;
    params.views = rig->views;
    params.dir = rig->dir;
    must(!server_start(&params, &rig->server, &why), why.text);
}

void server_rig_close(struct server_rig *rig)
{
    if (rig->server) {
        server_refuse_new(rig->server);
        server_stop(rig->server);
    }
    views_close(rig->views);
    host_close(&rig->host);
    must(rmdir(rig->dir) == 0, "the server left something behind");
}

struct client *server_rig_client(struct server_rig *rig, struct channel **channel)
{
    struct client *client;
    struct ice_why why = {.text = ""};
    must(!client_connect(rig->device, PATIENCE_MS, &client, &why), why.text);
    must(!client_negotiate(client, UINT64_MAX, channel, &why), why.text);
    return client;
}

/* ---- raw frames ---- */

/* What has been read of a connection and not looked at yet; one connection at a time. */
static struct {
    int fd;
    size_t len;
    uint8_t bytes[BUFFER];
} input;

int raw_socket(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    must(fd >= 0, "socket");
    strcpy(address.sun_path, path);
    must(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0, path);
    return fd;
}

int raw_connect(const char *path)
{
    int fd = raw_socket(path);
    if (input.fd == fd)
        input.len = 0; /* left by an earlier one of the same number */
    return fd;
}

void raw_send(int fd, const void *bytes, size_t len)
{
    for (const char *at = bytes; len;) {
        ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
        if (n < 0 && (errno == EPIPE || errno == ECONNRESET))
            return; /* a server that has had enough */
        must(n > 0, "send");
        at += n;
        len -= (size_t)n;
    }
}

void raw_begin_write(int fd, uint64_t tag, size_t readable)
{
    uint8_t head[FRAME_HEAD_MAX];
    struct writer writer = {.next = head, .end = head + sizeof(head)};
    write_array(&writer, 5);
    write_uint(&writer, MESSAGE_REQUEST);
    write_uint(&writer, tag);
    write_uint(&writer, 0);
    write_uint(&writer, 1);
    write_bytes_head(&writer, readable);
    raw_send(fd, head, (size_t)(writer.next - head));
}

void raw_message(int fd, unsigned message, unsigned tag, unsigned n, const uint64_t *args)
{
    uint8_t bytes[128];
    struct writer writer = {.next = bytes, .end = bytes + sizeof(bytes)};
    write_array(&writer, 2 + n);
    write_uint(&writer, message);
    write_uint(&writer, tag);
    for (unsigned i = 0; i < n; i++)
        write_uint(&writer, args[i]);
    raw_send(fd, bytes, (size_t)(writer.next - bytes));
}

size_t raw_read_frame(uint8_t *to, size_t room, unsigned tag, uint32_t bytes)
{
    struct writer writer = {.next = to, .end = to + room};
    const uint8_t head[sizeof(struct virtio_blk_header)] = {VIRTIO_BLK_T_IN};
    write_array(&writer, 5);
    write_uint(&writer, MESSAGE_REQUEST);
    write_uint(&writer, tag);
    write_uint(&writer, 0);
    write_uint(&writer, bytes + 1);
    write_bytes(&writer, head, sizeof(head));
    return (size_t)(writer.next - to);
}

void raw_read(int fd, unsigned tag, uint32_t bytes)
{
    uint8_t frame[FRAME_HEAD_MAX + sizeof(struct virtio_blk_header)];
    raw_send(fd, frame, raw_read_frame(frame, sizeof(frame), tag, bytes));
}

void raw_negotiate(int fd)
{
    static const uint64_t steps[] = {3, 3 | 8, 3 | 8 | 4};
    const uint64_t features = VIRTIO_FEATURE(VIRTIO_F_VERSION_1);
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        raw_message(fd, MESSAGE_SET_STATUS, 100, 1, &steps[i]);
        must(raw_next(fd).message == MESSAGE_SET_STATUS, "raw negotiation");
        if (i == 0) {
            raw_message(fd, MESSAGE_SET_FEATURES, 100, 1, &features);
            must(raw_next(fd).message == MESSAGE_SET_FEATURES, "raw features");
        }
    }
}

static bool parse_element(struct reader *reader, struct raw_reply *reply, unsigned index)
{
    struct item item;
    if (reader_next(reader, &item) != READ_OK)
        return false;
    if (item.type == ITEM_BYTES)
        reply->bytes = item.value;
    else if (item.type == ITEM_TEXT)
        snprintf(reply->text, sizeof(reply->text), "%.*s", (int)item.value,
                 (const char *)item.bytes);
    else if (index < 2)
        reply->value[index] = item.value;
    else
        return false;
    return true;
}

/* Enough of a frame to know what it is; maps and arrays inside are stepped over. */
static bool parse(struct raw_reply *reply)
{
    struct reader reader = {input.bytes, input.bytes + input.len};
    struct reader whole = reader;
    struct item item, message, tag;
    struct ice_why why;
    if (read_skip(&whole, &why) || reader_next(&reader, &item) != READ_OK ||
        reader_next(&reader, &message) != READ_OK || reader_next(&reader, &tag) != READ_OK)
        return false;
    reply->message = (unsigned)message.value;
    reply->tag = (unsigned)tag.value;
    for (unsigned i = 0; i + 2 < item.value && parse_element(&reader, reply, i); i++)
        ;
    input.len = (size_t)(input.bytes + input.len - whole.next);
    memmove(input.bytes, whole.next, input.len);
    return true;
}

static bool is_readable(int fd, int timeout_ms)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    return poll(&wait, 1, timeout_ms) != 0;
}

/* Turns to a connection: nothing may be left of another. */
static void turn_to(int fd)
{
    if (input.fd == fd)
        return;
    must(input.len == 0, "a reply of another connection was left unread");
    input.fd = fd;
}

bool raw_silent(int fd)
{
    turn_to(fd);
    return !input.len && !is_readable(fd, 100);
}

struct raw_reply raw_next(int fd)
{
    struct raw_reply reply = {0};
    turn_to(fd);
    while (!input.len || !parse(&reply)) {
        must(is_readable(fd, PATIENCE_MS), "no reply comes");
        ssize_t n = recv(fd, input.bytes + input.len, sizeof(input.bytes) - input.len, 0);
        if (n <= 0) {
            reply.end = true;
            input.len = 0;
            return reply;
        }
        input.len += (size_t)n;
    }
    return reply;
}
