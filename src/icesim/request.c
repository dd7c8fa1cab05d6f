/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Requests and their memory. The buffer holds the reply as it goes out, so that one sendmsg sends
 * it: room for the frame's head, the writable part, room for `why`; behind that the readable bytes
 * that are too far back to be a key. A reply that has the room for it stands in secret memory
 * instead, behind the readable part there: the answer to a key command may be a secret itself.
 */
#include "base/bytes.h"
#include "base/secret.h"
#include "connection.h"
#include "server_private.h"
#include <assert.h>
#include <stdlib.h>

#define HEAD_ROOM FRAME_HEAD_MAX
#define WHY_ROOM  ERROR_REPLY_MAX
#define PAGE      4096u

/* A key command with a body of KEY_BLOB_BYTES has room for any answer, but not much more. */
#define SECRET_ROOM 768u

/* Bytes of the longest header: a driver that sends more, and takes data, did a key command. */
#define HEADER_MAX 64u

static size_t rest_at(size_t writable_len)
{
    return HEAD_ROOM + writable_len + WHY_ROOM;
}

static size_t capacity_for(const struct frame_view *view)
{
    size_t rest = view->bulk_length - min_u64(view->bulk_length, FRAME_SECRET);
    return (rest_at(view->writable_len) + rest + PAGE - 1) & ~(size_t)(PAGE - 1);
}

static size_t charge(size_t capacity)
{
    return capacity + SECRET_ROOM;
}

static void request_free(struct budget *budget, struct request *request)
{
    budget_give(budget, charge(request->capacity));
    secret_free(request->secret);
    free(request->buffer);
    free(request);
}

void request_free_cache(struct connection *connection)
{
    while (connection->cache) {
        struct request *request = connection->cache;
        connection->cache = request->next;
        request_free(&connection->lane->budget, request);
    }
}

/* The memory is charged already. */
static struct request *request_new(struct connection *connection, size_t capacity)
{
    struct request *request = calloc(1, sizeof(*request));
    if (!request) {
        budget_give(&connection->lane->budget, charge(capacity));
        return NULL;
    }
    request->connection = connection;
    request->capacity = capacity;
    request->secret = secret_alloc(SECRET_ROOM);
    request->buffer = aligned_alloc(HEAD_ROOM, capacity);
    if (!request->secret || !request->buffer) {
        request_free(&connection->lane->budget, request);
        return NULL;
    }
    return request;
}

/* A cached one that is large enough. If there are only others, one of them is freed for the new. */
static struct request *take_cached(struct connection *connection, size_t capacity)
{
    struct request **link = &connection->cache;
    while (*link && (*link)->capacity < capacity)
        link = &(*link)->next;
    struct request *request = *link;
    if (request) {
        *link = request->next;
    } else if (connection->cache) {
        request = connection->cache;
        connection->cache = request->next;
        request_free(&connection->lane->budget, request);
        request = NULL;
    }
    return request;
}

static void reclaim(struct connection *connection, void *user)
{
    (void)user;
    pthread_mutex_lock(&connection->lock);
    request_free_cache(connection);
    pthread_mutex_unlock(&connection->lock);
}

/* A buffer was free before the grant came: what was asked for is not wanted any more. */
static void stop_asking(struct connection *connection)
{
    if (connection->asked)
        budget_cancel(&connection->lane->budget, &connection->waiter);
    connection->asked = false;
}

/*
 * `starving` is set before the budget is asked, so that a grant's news cannot come too early to be
 * noticed.
 */
static bool get_memory(struct connection *connection, size_t size)
{
    struct budget *budget = &connection->lane->budget;
    if (budget_take(budget, &connection->waiter, size)) {
        connection->asked = false;
        return true;
    }
    pthread_mutex_lock(&connection->lock);
    connection->starving = true;
    pthread_mutex_unlock(&connection->lock);
    table_each(connection->lane, reclaim, NULL);
    if (!budget_take(budget, &connection->waiter, size)) {
        connection->asked = true;
        budget_wait(budget, &connection->waiter, size);
        return false;
    }
    connection->asked = false;
    pthread_mutex_lock(&connection->lock);
    connection->starving = false;
    pthread_mutex_unlock(&connection->lock);
    return true;
}

/* Where a reply begins in secret memory; 0: it has no room there. */
static size_t secret_reply_at(const struct frame_view *view)
{
    size_t at = (view->bulk_length + HEAD_ROOM - 1) & ~(size_t)(HEAD_ROOM - 1);
    return view->bulk_length <= FRAME_SECRET && rest_at(view->writable_len) <= SECRET_ROOM - at ? at
                                                                                                : 0;
}

static void prepare(struct request *request, const struct frame_view *view)
{
    size_t head = min_u64(view->bulk_length, FRAME_SECRET);
    size_t rest = view->bulk_length - head;
    size_t secret_at = secret_reply_at(view);
    uint8_t *reply = secret_at ? request->secret + secret_at : request->buffer;
    request->tag = view->tag;
    request->received = 0;
    request->bulk_len = view->bulk_length;
    request->writable_len = view->writable_len;
    request->readable[0] = (struct iovec){request->secret, head};
    request->readable[1] = (struct iovec){request->buffer + rest_at(view->writable_len), rest};
    request->writable[0] = (struct iovec){reply + HEAD_ROOM, view->writable_len};
    request->device.readable = request->readable;
    request->device.nreadable = (head > 0) + (rest > 0);
    request->device.writable = request->writable;
    request->device.nwritable = view->writable_len > 0;
    request->device.queue = view->queue;
    request->device.expect = EXPECT_ANY;
}

enum taken request_take(struct connection *connection, const struct frame_view *view,
                        struct request **result)
{
    size_t capacity = capacity_for(view);
    pthread_mutex_lock(&connection->lock);
    struct request *request = take_cached(connection, capacity);
    if (request)
        connection->busy++;
    pthread_mutex_unlock(&connection->lock);
    if (request) {
        stop_asking(connection);
    } else {
        if (!get_memory(connection, charge(capacity)))
            return TAKEN_WAIT;
        request = request_new(connection, capacity);
        if (!request)
            return TAKEN_NO_MEMORY;
        pthread_mutex_lock(&connection->lock);
        connection->busy++;
        pthread_mutex_unlock(&connection->lock);
    }
    prepare(request, view);
    *result = request;
    return TAKEN;
}

unsigned request_missing(const struct request *request, struct iovec *iov)
{
    size_t skip = request->received;
    unsigned n = 0;
    for (unsigned i = 0; i < request->device.nreadable; i++) {
        const struct iovec *part = &request->readable[i];
        size_t done = min_u64(skip, part->iov_len);
        skip -= done;
        if (part->iov_len > done)
            iov[n++] = (struct iovec){(uint8_t *)part->iov_base + done, part->iov_len - done};
    }
    return n;
}

static void forget_key(struct request *request)
{
    secret_wipe(request->secret, min_u64(request->received, FRAME_SECRET));
    request->received = 0;
}

/* What a key command wrote stands at the start of the data area. */
static void forget_answer(struct request *request)
{
    uint8_t *bytes = request->writable[0].iov_base;
    bool in_secret = bytes != request->buffer + HEAD_ROOM;
    bool by_command = request->bulk_len > HEADER_MAX && request->writable_len > 1;
    if (in_secret || by_command)
        secret_wipe(bytes, min_u64(request->writable_len, FRAME_SECRET));
}

void request_put(struct request *request)
{
    struct connection *connection = request->connection;
    struct budget *budget = &connection->lane->budget;
    assert(connection->busy > 0);
    connection->busy--;
    forget_key(request);
    forget_answer(request);
    if (budget_short(budget)) {
        request_free(budget, request);
        return;
    }
    request->next = connection->cache;
    connection->cache = request;
}

static void release(struct connection *connection, struct output *output)
{
    (void)connection;
    request_put(CONTAINER_OF(output, struct request, output));
}

/* Where the writable part ends, and room for `why` begins. */
static uint8_t *reply_end(const struct request *request)
{
    return (uint8_t *)request->writable[0].iov_base + request->writable_len;
}

/* [REQUEST, tag, written, why] around the bytes where they are; returns where it begins. */
static uint8_t *encode_reply(struct request *request, size_t written, const struct ice_why *why,
                             size_t *len)
{
    uint8_t head[HEAD_ROOM];
    uint8_t *end = reply_end(request);
    uint8_t *bytes = end - written;
    struct writer writer = {.next = head, .end = head + sizeof(head)};
    struct writer tail = {.next = end, .end = end + WHY_ROOM};
    write_array(&writer, 4);
    write_uint(&writer, MESSAGE_REQUEST);
    write_uint(&writer, request->tag);
    write_bytes_head(&writer, written);
    write_why(&tail, why);
    assert(!writer.full && !tail.full);
    size_t head_len = (size_t)(writer.next - head);
    memcpy(bytes - head_len, head, head_len); // cppcheck-suppress uninitvar ; `writer` fills it
    *len = (size_t)(tail.next - bytes) + head_len;
    return bytes - head_len;
}

static void on_done(struct ice_request *device, size_t written, const struct ice_why *why)
{
    struct request *request = CONTAINER_OF(device, struct request, device);
    struct connection *connection = request->connection;
    uint8_t *bytes = reply_end(request);
    size_t len;
    assert(written == 0 || written == 1 || written == request->writable_len);
    forget_key(request);
    if (written)
        bytes = encode_reply(request, written, why, &len);
    else
        len = message_error(bytes, WHY_ROOM, request->tag, why);
    request->output.release = release;
    pthread_mutex_lock(&connection->lock);
    connection->running--;
    connection_queue(connection, &request->output, bytes, len);
    connection_settle_later(connection);
}

void request_submit(struct request *request)
{
    struct connection *connection = request->connection;
    request->device.done = on_done;
    device_submit(connection->attachment, &request->device);
    pthread_mutex_lock(&connection->lock);
    connection->submitting--;
    connection_settle(connection);
}
