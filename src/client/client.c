/* SPDX-License-Identifier: BSD-2-Clause */
/* Connecting, requests, and the calls that wait for their answer. */
#include "client.h"
#include "base/bytes.h"
#include "base/iov.h"
#include "base/parse.h"
#include "base/secret.h"
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define INPUT_BYTES  16384u
#define WRITABLE_MAX (FRAME_DATA_MAX + 64u)
#define READABLE_MAX (FRAME_DATA_MAX + FRAME_SECRET)

/* ---- calls ---- */

struct call {
    uint8_t bytes[FRAME_INLINE_MAX];
    struct writer writer;
    struct entry *entry;
};

/* Begins [message, tag, …] with `args` elements to come, which the caller writes. */
static void call_begin(struct client *client, struct call *call, enum message message,
                       unsigned args)
{
    link_start_clock(client);
    call->entry = link_open_entry(client, message, NULL);
    call->writer = (struct writer){call->bytes, call->bytes + sizeof(call->bytes), false};
    write_array(&call->writer, 2 + args);
    write_uint(&call->writer, message);
    write_uint(&call->writer, call->entry->tag);
}

/*
 * Sends, with `iov` (may be NULL) behind what was written, and waits. The answer must have `args`
 * elements; they are in client->answer.
 */
static int call_end(struct client *client, struct call *call, const struct iovec *iov,
                    uint64_t args, struct ice_why *why)
{
    size_t len = (size_t)(call->writer.next - call->bytes);
    int err;

    if (call->writer.full) {
        *call->entry = (struct entry){0};
        return why_set(why, EMSGSIZE, "the message is longer than a frame may be");
    }
    client->answered = false;
    err = client->lost.err ? link_break(client, &client->lost, why)
                           : link_send(client, call->bytes, len, iov, iov ? 1 : 0, why);
    while (!err && !client->answered)
        err = link_receive(client, why);
    if (!client->answered)
        return err;
    if (client->refusal.err) {
        if (why)
            *why = client->refusal;
        return -client->refusal.err;
    }
    if (client->answer_args != args) {
        struct ice_why cause;
        why_set(&cause, EPROTO,
                "the server does not keep to the protocol: an answer of %llu "
                "elements where %llu were expected",
                (unsigned long long)client->answer_args + 2, (unsigned long long)args + 2);
        return link_break(client, &cause, why);
    }
    return 0;
}

/* An answer that is not what it must be: ends the connection. */
static int call_broken(struct client *client, const struct ice_why *detail, struct ice_why *why)
{
    struct ice_why cause;

    why_set(&cause, EPROTO, "the server does not keep to the protocol: %.140s", detail->text);
    return link_break(client, &cause, why);
}

static int answer_uint(struct client *client, uint64_t max, uint64_t *value, struct ice_why *why)
{
    struct ice_why detail;

    if (read_uint(&client->answer, max, value, &detail))
        return call_broken(client, &detail, why);
    return 0;
}

/* ---- connecting ---- */

static int open_socket(const char *path, struct sockaddr_un *address, struct ice_why *why)
{
    int fd;

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address->sun_path))
        return why_set(why, ENAMETOOLONG, "%.60s… is longer than the %zu bytes of a socket path",
                       path, sizeof(address->sun_path) - 1);
    memcpy(address->sun_path, path, strlen(path));
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    return fd < 0 ? why_errno(why, errno, "socket") : fd;
}

/* A full backlog is EAGAIN, and nothing tells when it is no more. */
static int connect_socket(struct client *client, const char *path, struct ice_why *why)
{
    static const struct timespec pause = {.tv_nsec = 10000000};
    struct sockaddr_un address;
    int waited_ms = 0;

    client->fd = open_socket(path, &address, why);
    if (client->fd < 0)
        return client->fd;
    while (connect(client->fd, (struct sockaddr *)&address, sizeof(address))) {
        if (errno == EINTR)
            continue;
        if (errno != EAGAIN)
            return why_errno(why, errno, "%s", path);
        if (client->timeout_ms >= 0 && waited_ms >= client->timeout_ms)
            return why_set(why, ETIMEDOUT, "%s: too many are waiting to connect", path);
        nanosleep(&pause, NULL);
        waited_ms += 10;
    }
    return 0;
}

struct hello {
    char function[40], dialect[40], generation[40];
    uint64_t slot_offset, key_types;
};

static bool is_key(const char *key, size_t len, const char *name)
{
    return len == strlen(name) && !memcmp(key, name, len);
}

/* One pair of hello's map: keeps what is known, steps over the rest. */
static int read_hello_pair(struct reader *reader, struct hello *hello, struct ice_why *detail)
{
    const struct {
        const char *key;
        char *to;
    } known[] = {
        {"function", hello->function},
        {"dialect", hello->dialect},
        {"generation", hello->generation},
    };
    const char *key, *text;
    size_t key_len, len;
    char *to = NULL;
    int err = read_text(reader, &key, &key_len, detail);

    if (err)
        return err;
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (is_key(key, key_len, known[i].key))
            to = known[i].to;
    if (is_key(key, key_len, "slot_offset"))
        return read_uint(reader, UINT32_MAX, &hello->slot_offset, detail);
    if (is_key(key, key_len, "key_types"))
        return read_uint(reader, UINT8_MAX, &hello->key_types, detail);
    if (!to)
        return read_skip(reader, detail);
    err = read_text(reader, &text, &len, detail);
    if (err)
        return err;
    if (len >= sizeof(hello->function) || memchr(text, 0, len))
        return why_set(detail, EPROTO, "a name of %zu bytes", len);
    memcpy(to, text, len);
    to[len] = '\0';
    return 0;
}

static int read_hello(struct client *client, struct ice_why *detail)
{
    struct hello hello = {.generation = "0"};
    uint64_t pairs, generation = 0;
    int err = read_map(&client->answer, &pairs, detail);

    for (; !err && pairs; pairs--)
        err = read_hello_pair(&client->answer, &hello, detail);
    if (!err)
        err = parse_number(hello.generation, UINT64_MAX, &generation, detail);
    /* An event may have come before. */
    if (generation > client->generation)
        client->generation = generation;
    memcpy(client->function, hello.function, sizeof(client->function));
    memcpy(client->dialect, hello.dialect, sizeof(client->dialect));
    client->slot_offset = (unsigned)hello.slot_offset;
    client->key_types = (unsigned)hello.key_types;
    return err;
}

static int say_hello(struct client *client, struct ice_why *why)
{
    struct ice_why detail;
    struct call call;
    uint64_t version;
    int err;

    call_begin(client, &call, MESSAGE_HELLO, 1);
    write_uint(&call.writer, PROTOCOL_VERSION);
    err = call_end(client, &call, NULL, 2, why);
    if (!err)
        err = answer_uint(client, UINT64_MAX, &version, why);
    if (err)
        return err;
    if (version != PROTOCOL_VERSION)
        return why_set(why, EPROTO, "the server speaks version %llu of the protocol, not %d",
                       (unsigned long long)version, PROTOCOL_VERSION);
    return read_hello(client, &detail) ? call_broken(client, &detail, why) : 0;
}

int client_connect(const char *path, int timeout_ms, struct client **client, struct ice_why *why)
{
    struct client *new = calloc(1, sizeof(*new));
    int err;

    if (!new)
        return why_set(why, ENOMEM, "no memory for a connection");
    new->fd = -1;
    new->timeout_ms = timeout_ms;
    new->wait = link_poll;
    new->in_capacity = INPUT_BYTES;
    new->in = secret_alloc(INPUT_BYTES);
    if (!new->in)
        err = secret_exhausted("a connection", why);
    else
        err = connect_socket(new, path, why);
    if (!err)
        err = say_hello(new, why);
    if (err) {
        client_close(new);
        return err;
    }
    *client = new;
    return 0;
}

void client_close(struct client *client)
{
    struct ice_why cause;

    if (!client)
        return;
    why_set(&cause, ECANCELED, "the connection was closed");
    link_break(client, &cause, NULL);
    if (client->fd >= 0)
        close(client->fd);
    secret_free(client->in);
    free(client);
}

bool client_alive(const struct client *client)
{
    return !client->lost.err;
}

const char *client_function(const struct client *client)
{
    return client->function;
}

const char *client_dialect(const struct client *client)
{
    return client->dialect;
}

uint64_t client_generation(const struct client *client)
{
    return client->generation;
}

void client_set_wait(struct client *client, client_wait *wait, void *user)
{
    client->wait = wait;
    client->wait_user = user;
}

int client_fd(const struct client *client)
{
    return client->fd;
}

bool client_has_input(const struct client *client)
{
    return client->in_start < client->in_end;
}

void client_on_event(struct client *client,
                     void (*event)(void *user, enum protocol_event event, uint64_t value),
                     void *user)
{
    client->event = event;
    client->event_user = user;
}

/* ---- device socket ---- */

int client_get_features(struct client *client, uint64_t *offered, uint64_t *negotiated,
                        struct ice_why *why)
{
    struct call call;
    int err;

    call_begin(client, &call, MESSAGE_GET_FEATURES, 0);
    err = call_end(client, &call, NULL, 2, why);
    if (!err)
        err = answer_uint(client, UINT64_MAX, offered, why);
    return err ? err : answer_uint(client, UINT64_MAX, negotiated, why);
}

int client_set_features(struct client *client, uint64_t features, struct ice_why *why)
{
    struct call call;

    call_begin(client, &call, MESSAGE_SET_FEATURES, 1);
    write_uint(&call.writer, features);
    return call_end(client, &call, NULL, 0, why);
}

int client_get_status(struct client *client, uint8_t *status, struct ice_why *why)
{
    struct call call;
    uint64_t value = 0;
    int err;

    call_begin(client, &call, MESSAGE_GET_STATUS, 0);
    err = call_end(client, &call, NULL, 1, why);
    if (!err)
        err = answer_uint(client, UINT8_MAX, &value, why);
    if (!err)
        *status = (uint8_t)value;
    return err;
}

int client_set_status(struct client *client, uint8_t status, uint8_t *now, struct ice_why *refusal,
                      struct ice_why *why)
{
    struct ice_why detail, reason;
    struct call call;
    uint64_t value = 0;
    int err;

    call_begin(client, &call, MESSAGE_SET_STATUS, 1);
    write_uint(&call.writer, status);
    err = call_end(client, &call, NULL, 2, why);
    if (!err)
        err = answer_uint(client, UINT8_MAX, &value, why);
    if (err)
        return err;
    if (read_why(&client->answer, &reason, &detail))
        return call_broken(client, &detail, why);
    *now = (uint8_t)value;
    if (refusal)
        *refusal = reason;
    return 0;
}

int client_read_config(struct client *client, uint32_t offset, void *buffer, uint32_t len,
                       struct ice_why *why)
{
    struct ice_why detail;
    struct call call;
    const uint8_t *bytes;
    size_t got;
    int err;

    call_begin(client, &call, MESSAGE_READ_CONFIG, 2);
    write_uint(&call.writer, offset);
    write_uint(&call.writer, len);
    err = call_end(client, &call, NULL, 1, why);
    if (err)
        return err;
    if (read_bytes(&client->answer, &bytes, &got, &detail))
        return call_broken(client, &detail, why);
    if (got != len) {
        why_set(&detail, EPROTO, "%zu bytes of the configuration space, not %u", got, len);
        return call_broken(client, &detail, why);
    }
    memcpy(buffer, bytes, len);
    return 0;
}

int client_write_config(struct client *client, uint32_t offset, const void *buffer, uint32_t len,
                        struct ice_why *why)
{
    struct call call;

    call_begin(client, &call, MESSAGE_WRITE_CONFIG, 2);
    write_uint(&call.writer, offset);
    write_bytes(&call.writer, buffer, len);
    return call_end(client, &call, NULL, 0, why);
}

int client_acknowledge(struct client *client, uint64_t generation, struct ice_why *why)
{
    struct call call;

    call_begin(client, &call, MESSAGE_ACKNOWLEDGE, 1);
    write_uint(&call.writer, generation);
    return call_end(client, &call, NULL, 0, why);
}

/* ---- requests ---- */

int client_submit(struct client *client, struct ice_request *request, struct ice_why *why)
{
    size_t readable = iov_length(request->readable, request->nreadable);
    size_t writable = iov_length(request->writable, request->nwritable);
    uint8_t head[FRAME_HEAD_MAX];
    struct writer writer = {head, head + sizeof(head), false};
    struct entry *entry;

    if (readable > READABLE_MAX || writable > WRITABLE_MAX)
        return why_set(why, EMSGSIZE, "a request of %zu bytes out and %zu in is too large",
                       readable, writable);
    if (client->lost.err) {
        request->done(request, 0, &client->lost);
        return 0;
    }
    entry = link_open_entry(client, MESSAGE_REQUEST, request);
    if (!entry)
        return why_set(why, EAGAIN, "%u requests are in flight", IN_FLIGHT_MAX);
    link_start_clock(client);
    write_array(&writer, 5);
    write_uint(&writer, MESSAGE_REQUEST);
    write_uint(&writer, entry->tag);
    write_uint(&writer, request->queue);
    write_uint(&writer, writable);
    write_bytes_head(&writer, readable);
    client->sending = entry;
    link_send(client, head, (size_t)(writer.next - head), request->readable, request->nreadable,
              NULL); /* a failure has called done */
    client->sending = NULL;
    return 0;
}

int client_run(struct client *client, struct ice_why *why)
{
    int err;

    link_start_clock(client);
    do
        err = link_receive(client, why);
    while (!err && client->in_start < client->in_end);
    return err;
}

unsigned client_in_flight(const struct client *client)
{
    return client->in_flight;
}

/* ---- control socket ---- */

int client_control(struct client *client, enum message message, const uint8_t *map, size_t len,
                   uint8_t **result, size_t *result_len, struct ice_why *why)
{
    struct iovec iov = {(void *)(uintptr_t)map, len};
    struct call call;
    size_t got;
    int err;

    call_begin(client, &call, message, 1);
    err = call_end(client, &call, &iov, 1, why);
    if (err)
        return err;
    got = (size_t)(client->answer.end - client->answer.next);
    *result = secret_alloc(got);
    if (!*result)
        return secret_exhausted("an answer", why);
    memcpy(*result, client->answer.next, got);
    *result_len = got;
    return 0;
}
