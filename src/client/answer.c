/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the server says, checked as data from outside: answers to requests, to the call under way,
 * and events. Anything that no icesim would send ends the connection with EPROTO.
 */
#include "base/bytes.h"
#include "base/iov.h"
#include "internal.h"
#include "virtio/blk.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define ANSWER_ELEMENTS_MAX 8u

__attribute__((format(printf, 2, 3))) static enum read_result broken(struct ice_why *why,
                                                                     const char *fmt, ...)
{
    char text[ICE_WHY_TEXT];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    why_set(why, EPROTO, "the server does not keep to the protocol: %s", text);
    return READ_BAD;
}

struct head {
    uint64_t elements, message, tag;
};

static enum read_result take_head(struct reader *reader, struct head *head, struct ice_why *why)
{
    static const enum item_type types[] = {ITEM_ARRAY, ITEM_UINT, ITEM_UINT};
    uint64_t *values[] = {&head->elements, &head->message, &head->tag};

    for (unsigned i = 0; i < ARRAY_SIZE(types); i++) {
        struct item item;
        enum read_result result = reader_next_head(reader, &item);

        if (result == READ_MORE)
            return READ_MORE;
        if (result != READ_OK || item.type != types[i])
            return broken(why, "an answer does not begin as a frame");
        *values[i] = item.value;
        if (i == 0 && (item.value < 2 || item.value > ANSWER_ELEMENTS_MAX))
            return broken(why, "an answer of %llu elements", (unsigned long long)item.value);
    }
    return READ_OK;
}

/* The entry that waits for `tag`; NULL when none does. */
static struct entry *find_entry(struct client *client, uint64_t tag)
{
    uint64_t index = tag & ((1u << TAG_INDEX_BITS) - 1);

    if (index >= ENTRIES || !client->entries[index].busy || client->entries[index].tag != tag)
        return NULL;
    return &client->entries[index];
}

static void deliver(struct client *client, struct entry *entry, size_t written,
                    const struct ice_why *why)
{
    struct ice_request *request = entry->request;

    *entry = (struct entry){0};
    client->in_flight--;
    request->done(request, written, why);
}

/* Makes the item behind the data arrive whole. */
static int collect_reason(struct client *client, struct ice_why *why)
{
    for (;;) {
        struct reader reader = {client->in + client->in_start, client->in + client->in_end};
        struct ice_why detail;
        size_t missing;
        int err;

        switch (reader_skip(&reader, FRAME_INLINE_MAX, &missing, &detail)) {
        case READ_OK:
            return 0;
        case READ_BAD:
            broken(why, "%s", detail.text);
            return -EPROTO;
        case READ_MORE:
            break;
        }
        err = link_fill(client, missing, why);
        if (err)
            return err;
    }
}

static int check_status(const struct ice_request *request, size_t written, size_t area,
                        const struct ice_why *reason)
{
    uint8_t status = 0xff;

    iov_gather(request->writable, request->nwritable, area - 1, &status, 1);
    if (status == VIRTIO_BLK_S_OK)
        return reason->err ? -EPROTO : 0;
    return reason->err && written == 1 ? 0 : -EPROTO;
}

/* Data and reason of the answer to `entry`, whose head up to the data is consumed. */
static enum read_result take_written(struct client *client, struct entry *entry, uint64_t written,
                                     struct ice_why *why)
{
    const struct ice_request *request = entry->request;
    size_t area = iov_length(request->writable, request->nwritable);
    struct ice_why reason, detail;
    struct reader reader;

    if (written == 0 || (written != area && written != 1) || area == 0)
        return broken(why, "%llu bytes written of a writable part of %zu",
                      (unsigned long long)written, area);
    if (link_read_into(client, request->writable, request->nwritable, area - written, written, why))
        return READ_BAD;
    if (collect_reason(client, why))
        return READ_BAD;
    reader = (struct reader){client->in + client->in_start, client->in + client->in_end};
    if (read_why(&reader, &reason, &detail))
        return broken(why, "%s", detail.text);
    client->in_start = (size_t)(reader.next - client->in);
    if (check_status(request, written, area, &reason))
        return broken(why, "status, data and reason of an answer contradict each other");
    deliver(client, entry, written, reason.err ? &reason : NULL);
    return READ_OK;
}

static enum read_result take_request_answer(struct client *client, struct reader *reader,
                                            const struct head *head, struct ice_why *why)
{
    struct entry *entry = find_entry(client, head->tag);
    struct item item;
    enum read_result result;

    if (!entry || !entry->request || entry == client->sending)
        return broken(why, "an answer with tag %llu, which no request waits for",
                      (unsigned long long)head->tag);
    if (head->elements != 4)
        return broken(why, "the answer to a request has %llu elements",
                      (unsigned long long)head->elements);
    result = reader_next_head(reader, &item);
    if (result == READ_MORE)
        return READ_MORE;
    if (result == READ_BAD || item.type != ITEM_BYTES)
        return broken(why, "the answer to a request holds no byte string");
    client->in_start = (size_t)(reader->next - client->in);
    return take_written(client, entry, item.value, why);
}

static enum read_result take_error(struct client *client, struct reader *reader,
                                   const struct head *head, struct ice_why *why)
{
    struct entry *entry = find_entry(client, head->tag);
    struct ice_why reason, detail;

    if (head->elements != 4)
        return broken(why, "an error is [0, tag, errno, text]");
    if (read_error(reader, &reason, &detail))
        return broken(why, "%s", detail.text);
    if (head->tag == 0) {
        *why = reason;
        return READ_BAD;
    }
    if (!entry)
        return broken(why, "an error with tag %llu, which nobody waits for: %s",
                      (unsigned long long)head->tag, reason.text);
    if (entry == client->sending) {
        /* The rest of the request would be taken for frames. */
        *why = reason;
        return READ_BAD;
    }
    if (entry->request) {
        deliver(client, entry, 0, &reason);
        return READ_OK;
    }
    *entry = (struct entry){0};
    client->refusal = reason;
    client->answered = true;
    return READ_OK;
}

static enum read_result take_event(struct client *client, struct reader *reader,
                                   const struct head *head, struct ice_why *why)
{
    struct ice_why detail;
    uint64_t event, value;

    if (head->elements != 4 || head->tag)
        return broken(why, "an event is [15, 0, event, value]");
    if (read_uint(reader, UINT64_MAX, &event, &detail) ||
        read_uint(reader, UINT64_MAX, &value, &detail))
        return broken(why, "%s", detail.text);
    if (event == PROTOCOL_EVENT_ENGINE_GENERATION && value > client->generation)
        client->generation = value;
    if (client->event && event <= PROTOCOL_EVENT_ENGINE_GENERATION)
        client->event(client->event_user, (enum protocol_event)event, value);
    return READ_OK;
}

static enum read_result take_call_answer(struct client *client, const struct reader *reader,
                                         const struct head *head, struct ice_why *why)
{
    struct entry *entry = find_entry(client, head->tag);

    if (!entry || entry->request || entry->message != head->message)
        return broken(why, "an answer with number %llu and tag %llu, which nobody waits for",
                      (unsigned long long)head->message, (unsigned long long)head->tag);
    *entry = (struct entry){0};
    client->answer = *reader;
    client->answer_args = head->elements - 2;
    client->refusal.err = 0;
    client->answered = true;
    return READ_OK;
}

/* A frame but for the answer to a request: it is all in the input before it is looked at. */
static enum read_result take_small(struct client *client, struct reader *reader,
                                   const struct head *head, size_t *missing, struct ice_why *why)
{
    struct reader end = *reader;
    struct ice_why detail;

    for (uint64_t left = head->elements - 2; left; left--) {
        switch (reader_skip(&end, FRAME_MAX, missing, &detail)) {
        case READ_MORE:
            *missing += left - 1;
            return READ_MORE;
        case READ_BAD:
            return broken(why, "%s", detail.text);
        case READ_OK:
            break;
        }
    }
    reader->end = end.next;
    client->in_start = (size_t)(end.next - client->in);
    if (head->message == MESSAGE_ERROR)
        return take_error(client, reader, head, why);
    if (head->message == MESSAGE_EVENT)
        return take_event(client, reader, head, why);
    return take_call_answer(client, reader, head, why);
}

enum read_result answer_take(struct client *client, size_t *missing, struct ice_why *why)
{
    struct reader reader = {client->in + client->in_start, client->in + client->in_end};
    struct head head = {0};
    enum read_result result = take_head(&reader, &head, why);

    *missing = 1;
    if (result != READ_OK)
        return result;
    if (head.message == MESSAGE_REQUEST)
        return take_request_answer(client, &reader, &head, why);
    return take_small(client, &reader, &head, missing, why);
}
