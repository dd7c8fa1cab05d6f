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
#include "icesim/views.h"

static struct host host;
static struct control control = {.host = &host};
static struct lane lane = {.limit = CONNECTIONS_MAX, .budget.limit = BUFFERS_MAX};
static bool started;

static void start(void)
{
    struct ice_why why;
    struct host_params params = {.slots = 4, .dialect = &dialect_ice2};
    HOLDS(!cipher_init(&why) && !store_open_ram(1 << 20, &params.store, &why) &&
          !host_open(&host, &params, &why));
    started = true;
}

/* vm0 with everything, and no other; no view, no layer. */
static struct ice_function *only_vm0(void)
{
    struct function_spec spec;
    struct ice_why why;
    views_close(control.views);
    while (host.functions)
        HOLDS(!host_remove(&host, function_name(host.functions->function), &why));
    HOLDS(!views_open(&host, &control.views, &why));
    HOLDS(!function_spec_parse("vm0", &spec, &why) && !host_add(&host, &spec, &why));
    return host.functions->function;
}

/* A function with an image of its own would make files where the input says. */
static bool is_harmless(const struct connection *c)
{
    return c->job_message != MESSAGE_FUNCTION_ADD ||
           !memmem(c->in + c->job_at, c->job_len - c->job_at, "image", 5);
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
    if (control_run(&control, c->job_message, &args, &document, &why) == 0)
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
        if (is_harmless(c))
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
    struct ice_function *vm0;
    if (!started)
        start();
    vm0 = only_vm0();
    memset(&c, 0, sizeof(c));
    c.lane = &lane;
    c.host = &host;
    kind = input_byte(&input);
    c.forbidden = (kind & 3) == 3;
    pthread_mutex_init(&c.lock, NULL);
    if (kind & 1)
        HOLDS(!attachment_open(vm0, NULL, NULL, &c.attachment, &why));
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
