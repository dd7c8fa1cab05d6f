/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages of both sockets, but REQUEST: a sequence of frames on one connection, in whatever order
 * and state. Each is answered by one well-formed frame with its tag.
 */
#include "cipher/cipher.h"
#include "fuzz.h"
#include "icesim/connection.h"
#include "icesim/control.h"
#include "icesim/server_private.h"

static struct host host;
static struct server server = {.limit = CONNECTIONS_MAX, .budget.limit = BUFFERS_MAX};

static void start(void)
{
    struct ice_why why;
    struct store *store;
    HOLDS(!cipher_init(&why) && !store_open_ram(1 << 20, &store, &why) &&
          !host_open(&host, store, 4, &dialect_ice2, &why));
    server.host = &host;
}

static void check_reply(const uint8_t *bytes, size_t len, const struct frame_view *view)
{
    struct reader reader = {bytes, bytes + len};
    struct ice_why error;
    uint64_t elements, message, tag;
    HOLDS(!read_array(&reader, &elements, NULL) &&
          !read_uint(&reader, UINT64_MAX, &message, NULL) &&
          !read_uint(&reader, UINT64_MAX, &tag, NULL));
    HOLDS(tag == view->tag && (message == view->message || message == MESSAGE_ERROR));
    HOLDS(message != MESSAGE_ERROR || (elements == 4 && !read_error(&reader, &error, NULL)));
    for (; message && elements > 2; elements--)
        HOLDS(!read_skip(&reader, NULL));
    HOLDS(!read_end(&reader, NULL));
}

static void run_job(struct connection *c, const struct frame_view *view)
{
    struct ice_why why = {0};
    struct reader args = {c->in + c->job_at, c->in + c->job_len};
    struct document document = {0};
    document_array(&document, 3);
    document_uint(&document, c->job_message);
    document_uint(&document, c->job_tag);
    if (control_run(&host, c->job_message, &args, &document, &why) == 0)
        check_reply(document.bytes, document.len, view);
    else
        HOLDS(why.err && why.text[0]);
    document_free(&document);
}

static void handle(struct connection *c, const struct frame_view *view)
{
    size_t len = 0;
    switch (message_handle(c, view, &len)) {
    case HANDLED_REPLY:
        check_reply(c->small_bytes, len, view);
        return;
    case HANDLED_JOB:
        run_job(c, view);
        return;
    case HANDLED_WAIT:
        HOLDS(!"nothing runs that could be waited for");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct connection c;
    struct input input = {data, size};
    struct frame_view view;
    struct ice_why why;
    uint8_t kind;
    if (!server.host)
        start();
    memset(&c, 0, sizeof(c));
    c.server = &server;
    c.host = &host;
    kind = input_byte(&input);
    c.forbidden = (kind & 3) == 3;
    pthread_mutex_init(&c.lock, NULL);
    if (kind & 1)
        HOLDS(!attachment_open(host.functions[0].function, NULL, NULL, &c.attachment, &why));
    while (input.left &&
           frame_scan(input.next, input.left < FRAME_INLINE_MAX ? input.left : FRAME_INLINE_MAX,
                      &view, &why) == SCAN_READY) {
        size_t whole = view.length + view.bulk_length;
        if (!view.bulk) {
            c.in = input_copy(&input, view.length);
            handle(&c, &view);
            free(c.in);
            continue;
        }
        if (whole > input.left)
            break;
        input.next += whole;
        input.left -= whole;
    }
    if (c.attachment)
        attachment_close(c.attachment);
    pthread_mutex_destroy(&c.lock);
    return 0;
}
