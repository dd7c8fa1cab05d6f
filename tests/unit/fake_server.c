/* SPDX-License-Identifier: BSD-2-Clause */
#include "fake_server.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define IN_BYTES (FRAME_MAX + 65536u)

static struct {
    pthread_t thread;
    fake_script *script;
    char dir[32], path[48];
    int listener;
} fake;

static void must(bool done, const char *what)
{
    if (!done) {
        printf("Bail out! fake server: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static void *serve(void *unused)
{
    struct fake_server server = {.fd = accept(fake.listener, NULL, NULL)};

    (void)unused;
    must(server.fd >= 0, "accept");
    server.in = malloc(IN_BYTES);
    fake.script(&server);
    close(server.fd);
    free(server.in);
    return NULL;
}

const char *fake_start(fake_script *script)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    fake.script = script;
    strcpy(fake.dir, "/tmp/icesim-fake-XXXXXX");
    must(mkdtemp(fake.dir), "mkdtemp");
    snprintf(fake.path, sizeof(fake.path), "%s/vm0.sock", fake.dir);
    strcpy(address.sun_path, fake.path);
    fake.listener = socket(AF_UNIX, SOCK_STREAM, 0);
    must(!bind(fake.listener, (struct sockaddr *)&address, sizeof(address)), "bind");
    must(!listen(fake.listener, 1), "listen");
    must(!pthread_create(&fake.thread, NULL, serve, NULL), "thread");
    return fake.path;
}

void fake_stop(void)
{
    pthread_join(fake.thread, NULL);
    close(fake.listener);
    unlink(fake.path);
    rmdir(fake.dir);
}

static bool receive(struct fake_server *server)
{
    ssize_t got = recv(server->fd, server->in + server->in_len, IN_BYTES - server->in_len, 0);

    if (got <= 0)
        return false;
    server->in_len += (size_t)got;
    return true;
}

bool fake_next(struct fake_server *server, struct frame_view *view)
{
    memmove(server->in, server->in + server->frame_len, server->in_len - server->frame_len);
    server->in_len -= server->frame_len;
    server->frame_len = 0;
    for (;;) {
        struct ice_why why;
        enum scan_result result = frame_scan(server->in, server->in_len, view, &why);

        must(result != SCAN_BAD, "the client sent a frame that is none");
        if (result == SCAN_READY && server->in_len >= view->length + view->bulk_length) {
            server->frame_len = view->length + view->bulk_length;
            return true;
        }
        if (!receive(server))
            return false;
    }
}

const uint8_t *fake_bulk(const struct fake_server *server, const struct frame_view *view)
{
    return server->in + view->length;
}

struct reader fake_args(const struct fake_server *server, const struct frame_view *view)
{
    return (struct reader){server->in + view->args_at, server->in + view->length};
}

void fake_begin(struct fake_server *server, uint64_t message, uint64_t tag, unsigned args)
{
    server->out =
        (struct writer){server->out_bytes, server->out_bytes + sizeof(server->out_bytes), false};
    write_array(&server->out, 2 + args);
    write_uint(&server->out, message);
    write_uint(&server->out, tag);
}

void fake_end(struct fake_server *server)
{
    must(!server->out.full, "a frame is too long for it");
    fake_send(server, server->out_bytes, (size_t)(server->out.next - server->out_bytes));
}

void fake_send(struct fake_server *server, const void *bytes, size_t len)
{
    const uint8_t *next = bytes;

    while (len) {
        ssize_t sent = send(server->fd, next, len, MSG_NOSIGNAL);

        if (sent < 0)
            return; /* the client has had enough */
        next += sent;
        len -= (size_t)sent;
    }
}

void fake_written(struct fake_server *server, uint64_t tag, size_t len, uint8_t fill,
                  uint8_t status, const struct ice_why *why)
{
    uint8_t *data = malloc(len + 1);

    memset(data, fill, len + 1);
    if (len)
        data[len - 1] = status;
    fake_begin(server, MESSAGE_REQUEST, tag, 2);
    write_bytes_head(&server->out, len);
    fake_end(server);
    fake_send(server, data, len);
    free(data);
    server->out =
        (struct writer){server->out_bytes, server->out_bytes + sizeof(server->out_bytes), false};
    write_why(&server->out, why);
    fake_end(server);
}

void fake_hello(struct fake_server *server)
{
    struct frame_view view;

    must(fake_next(server, &view) && view.message == MESSAGE_HELLO, "no hello");
    fake_begin(server, MESSAGE_HELLO, view.tag, 2);
    write_uint(&server->out, PROTOCOL_VERSION);
    write_map(&server->out, 4);
    write_text(&server->out, "function");
    write_text(&server->out, "vm0");
    write_text(&server->out, "frame");
    write_uint(&server->out, FRAME_MAX);
    write_text(&server->out, "future");
    write_map(&server->out, 1);
    write_text(&server->out, "function");
    write_array(&server->out, 0);
    write_text(&server->out, "dialect");
    write_text(&server->out, "ice2");
    fake_end(server);
}

bool fake_setup(struct fake_server *server, const struct frame_view *view)
{
    static const uint8_t space[256];
    struct reader args = fake_args(server, view);
    uint64_t first = 0, second = 0;

    if (view->message == MESSAGE_REQUEST)
        return false;
    fake_begin(server, view->message, view->tag,
               view->message == MESSAGE_READ_CONFIG                                            ? 1
               : view->message == MESSAGE_GET_STATUS                                           ? 1
               : view->message == MESSAGE_SET_FEATURES || view->message == MESSAGE_ACKNOWLEDGE ? 0
                                                                                               : 2);
    read_uint(&args, UINT64_MAX, &first, NULL);
    switch (view->message) {
    case MESSAGE_GET_FEATURES:
        write_uint(&server->out, UINT64_MAX);
        write_uint(&server->out, 0);
        break;
    case MESSAGE_GET_STATUS:
        write_uint(&server->out, server->status);
        break;
    case MESSAGE_SET_STATUS:
        server->status = first;
        write_uint(&server->out, first);
        write_null(&server->out);
        break;
    case MESSAGE_READ_CONFIG:
        read_uint(&args, sizeof(space), &second, NULL);
        write_bytes(&server->out, space, second);
        break;
    default:
        break;
    }
    fake_end(server);
    return true;
}
