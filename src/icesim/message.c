/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The small messages of both sockets: hello, status, features, configuration. Each is answered with
 * a frame in small_bytes; a frame that is well formed but wrong gets an ERROR, and the connection
 * stays.
 */
#include "base/bytes.h"
#include "connection.h"
#include "control.h"
#include "dialect/dialect.h"
#include "server_private.h"
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

size_t message_error(uint8_t *to, size_t room, uint64_t tag, const struct ice_why *why)
{
    struct writer writer = {.next = to, .end = to + room};
    write_array(&writer, 4);
    write_uint(&writer, MESSAGE_ERROR);
    write_uint(&writer, tag);
    write_uint(&writer, (uint64_t)why->err);
    write_text(&writer, why->text);
    assert(!writer.full);
    return (size_t)(writer.next - to);
}

size_t message_events(struct connection *c)
{
    struct writer writer = {.next = c->event_bytes, .end = c->event_bytes + EVENTS_MAX};
    for (unsigned event = 0; event < ARRAY_SIZE(c->event_value); event++) {
        if (!(c->events_pending & 1u << event))
            continue;
        write_array(&writer, 4);
        write_uint(&writer, MESSAGE_EVENT);
        write_uint(&writer, 0);
        write_uint(&writer, event);
        write_uint(&writer, c->event_value[event]);
    }
    c->events_pending = 0;
    assert(!writer.full);
    return (size_t)(writer.next - c->event_bytes);
}

_Static_assert((int)EVENT_CONFIG_CHANGED == (int)PROTOCOL_EVENT_CONFIG_CHANGED &&
                   (int)EVENT_DEVICE_RESET == (int)PROTOCOL_EVENT_DEVICE_RESET &&
                   (int)EVENT_ENGINE_GENERATION == (int)PROTOCOL_EVENT_ENGINE_GENERATION,
               "the wire's event numbers are the device's");

/* ---- each message ---- */

/* A handler reads its arguments and writes the reply behind message and tag; its elements are the
 * table's. */
typedef int handler(struct connection *c, struct reader *reader, struct writer *writer,
                    struct ice_why *why);

static void write_key_text(struct writer *writer, const char *key, const char *value)
{
    write_text(writer, key);
    write_text(writer, value);
}

static void write_key_uint(struct writer *writer, const char *key, uint64_t value)
{
    write_text(writer, key);
    write_uint(writer, value);
}

static int hello(struct connection *c, struct reader *reader, struct writer *writer,
                 struct ice_why *why)
{
    const struct lane *lane = c->lane;
    struct ice_function *function = c->attachment ? attachment_function(c->attachment) : NULL;
    char generation[sizeof("0x") + 16];
    uint64_t version;
    int err = read_uint(reader, UINT64_MAX, &version, why);
    if (err)
        return err;
    if (version != PROTOCOL_VERSION)
        return why_set(why, EPROTONOSUPPORT,
                       "protocol version %" PRIu64 " is not known; this is version %u", version,
                       PROTOCOL_VERSION);
    write_uint(writer, PROTOCOL_VERSION);
    write_map(writer, function ? 9 : 5);
    if (function) {
        write_key_text(writer, "function", function_name(function));
        write_key_text(writer, "dialect", function_dialect(function)->name);
        write_key_uint(writer, "slot_offset", function_slot_offset(function));
        write_key_uint(writer, "key_types", function_key_types(function));
    }
    write_key_uint(writer, "frame", FRAME_MAX);
    write_key_uint(writer, "in_flight", IN_FLIGHT_MAX);
    write_key_uint(writer, "connections", lane->limit);
    write_key_uint(writer, "buffers", lane->budget.limit);
    snprintf(generation, sizeof(generation), "0x%" PRIx64, engine_generation(c->host->engine));
    write_key_text(writer, "generation", generation);
    return 0;
}

static int get_features(struct connection *c, struct reader *reader, struct writer *writer,
                        struct ice_why *why)
{
    (void)reader;
    (void)why;
    write_uint(writer, attachment_offered(c->attachment));
    write_uint(writer, attachment_features(c->attachment));
    return 0;
}

static int set_features(struct connection *c, struct reader *reader, struct writer *writer,
                        struct ice_why *why)
{
    (void)writer;
    uint64_t features;
    int err = read_uint(reader, UINT64_MAX, &features, why);
    return err ? err : attachment_set_features(c->attachment, features, why);
}

static int get_status(struct connection *c, struct reader *reader, struct writer *writer,
                      struct ice_why *why)
{
    (void)reader;
    (void)why;
    write_uint(writer, attachment_status(c->attachment));
    return 0;
}

static int set_status(struct connection *c, struct reader *reader, struct writer *writer,
                      struct ice_why *why)
{
    uint64_t status;
    struct ice_why refusal = {0};
    int err = read_uint(reader, UINT8_MAX, &status, why);
    if (err)
        return err;
    err = attachment_set_status(c->attachment, (uint8_t)status, &refusal);
    if (err) {
        *why = refusal;
        return err;
    }
    write_uint(writer, attachment_status(c->attachment));
    write_why(writer, refusal.err ? &refusal : NULL);
    return 0;
}

static int read_config(struct connection *c, struct reader *reader, struct writer *writer,
                       struct ice_why *why)
{
    uint64_t offset, len;
    uint8_t bytes[DIALECT_CONFIG_MAX];
    int err = read_uint(reader, UINT32_MAX, &offset, why);
    if (!err)
        err = read_uint(reader, UINT32_MAX, &len, why);
    if (err)
        return err;
    if (!len || len > sizeof(bytes))
        return why_set(why, EINVAL, "a configuration read is of 1..%zu bytes, not %" PRIu64,
                       sizeof(bytes), len);
    attachment_read_config(c->attachment, (uint32_t)offset, bytes, (uint32_t)len);
    write_bytes(writer, bytes, len);
    return 0;
}

static int write_config(struct connection *c, struct reader *reader, struct writer *writer,
                        struct ice_why *why)
{
    (void)writer;
    uint64_t offset;
    const uint8_t *bytes;
    size_t len;
    int err = read_uint(reader, UINT32_MAX, &offset, why);
    if (!err)
        err = read_bytes(reader, &bytes, &len, why);
    return err ? err
               : attachment_write_config(c->attachment, (uint32_t)offset, bytes, (uint32_t)len,
                                         why);
}

static int acknowledge(struct connection *c, struct reader *reader, struct writer *writer,
                       struct ice_why *why)
{
    (void)writer;
    uint64_t generation;
    int err = read_uint(reader, UINT64_MAX, &generation, why);
    return err ? err : attachment_acknowledge(c->attachment, generation, why);
}

static const struct message_kind {
    handler *handle;
    unsigned args;  /* elements behind the tag, in */
    unsigned reply; /* out */
} kinds[] = {
    [MESSAGE_HELLO] = {hello, 1, 2},
    [MESSAGE_GET_FEATURES] = {get_features, 0, 2},
    [MESSAGE_SET_FEATURES] = {set_features, 1, 0},
    [MESSAGE_GET_STATUS] = {get_status, 0, 1},
    [MESSAGE_SET_STATUS] = {set_status, 1, 2},
    [MESSAGE_READ_CONFIG] = {read_config, 2, 1},
    [MESSAGE_WRITE_CONFIG] = {write_config, 2, 0},
    [MESSAGE_ACKNOWLEDGE] = {acknowledge, 1, 0},
};

/* ---- the way there ---- */

static int check_known(const struct connection *c, const struct frame_view *view,
                       struct ice_why *why)
{
    bool device = view->message < ARRAY_SIZE(kinds) && kinds[view->message].handle;
    bool control = control_knows(view->message);
    if (!device && !control)
        return why_set(why, ENOSYS, "message %" PRIu64 " is not known", view->message);
    if (c->forbidden)
        return why_set(why, EACCES, "user %u may not control this icesim", (unsigned)c->peer);
    if (view->message == MESSAGE_HELLO)
        return 0;
    if (c->attachment && control)
        return why_set(why, EACCES, "only the control socket takes message %" PRIu64,
                       view->message);
    if (!c->attachment && device)
        return why_set(why, EACCES, "only a device socket takes message %" PRIu64, view->message);
    return 0;
}

/* Status 0 waits for the requests in flight; so that no worker does, it is not begun before. */
static bool must_wait(struct connection *c, const struct frame_view *view)
{
    struct reader reader = {c->in + view->args_at, c->in + view->length};
    struct item item;
    if (view->message != MESSAGE_SET_STATUS || view->args != 1 ||
        reader_next(&reader, &item) != READ_OK || item.type != ITEM_UINT || item.value != 0)
        return false;
    pthread_mutex_lock(&c->lock);
    bool wait = c->running > 0;
    pthread_mutex_unlock(&c->lock);
    return wait;
}

static int run_kind(struct connection *c, const struct frame_view *view, struct ice_why *why,
                    size_t *len)
{
    const struct message_kind *kind = &kinds[view->message];
    struct reader reader = {c->in + view->args_at, c->in + view->length};
    struct writer writer = {.next = c->small_bytes, .end = c->small_bytes + SMALL_REPLY_MAX};
    if (view->args != kind->args)
        return why_set(why, EINVAL, "message %" PRIu64 " has %u elements, not %u", view->message,
                       kind->args + 2, view->args + 2);
    write_array(&writer, 2 + kind->reply);
    write_uint(&writer, view->message);
    write_uint(&writer, view->tag);
    int err = kind->handle(c, &reader, &writer, why);
    assert(!writer.full);
    *len = (size_t)(writer.next - c->small_bytes);
    return err;
}

enum handled message_handle(struct connection *c, const struct frame_view *view, size_t *len)
{
    struct ice_why why = {0};
    int err = check_known(c, view, &why);
    if (!err && control_knows(view->message)) {
        c->job_message = view->message;
        c->job_tag = view->tag;
        c->job_at = view->args_at;
        c->job_len = view->length;
        return HANDLED_JOB;
    }
    if (!err && must_wait(c, view))
        return HANDLED_WAIT;
    if (!err)
        err = run_kind(c, view, &why, len);
    if (err)
        *len = message_error(c->small_bytes, SMALL_REPLY_MAX, view->tag, &why);
    return HANDLED_REPLY;
}
