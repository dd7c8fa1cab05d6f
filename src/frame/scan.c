/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Finding a frame's end before its content has arrived. The scan starts over with each call: a
 * frame but for its bulk is at most FRAME_INLINE_MAX bytes, so that is cheaper than remembering.
 */
#include "frame.h"

#include <errno.h>

#define ELEMENTS_MIN     2u
#define ELEMENTS_MAX     8u
#define REQUEST_ELEMENTS 5u
#define WRITABLE_MAX     (FRAME_DATA_MAX + 64u) /* data area and status */
#define BULK_MAX         (FRAME_DATA_MAX + FRAME_SECRET)

struct scan {
    struct reader reader;
    const uint8_t *start;
    struct frame_view *view;
    struct ice_why *why;
};

static enum scan_result refuse(struct scan *scan, int err, const char *text)
{
    why_set(scan->why, err, "%s", text);
    return SCAN_BAD;
}

/* The head of the next item, which must be of `type`; `what` names it. */
static enum scan_result take(struct scan *scan, enum item_type type, const char *what,
                             uint64_t *value)
{
    struct item item;

    switch (reader_next_head(&scan->reader, &item)) {
    case READ_MORE:
        return SCAN_MORE;
    case READ_OK:
        if (item.type == type) {
            *value = item.value;
            return SCAN_READY;
        }
        break;
    case READ_BAD:
        break;
    }
    return refuse(scan, EPROTO, what);
}

static enum scan_result take_limited(struct scan *scan, enum item_type type, const char *what,
                                     uint64_t max, uint64_t *value)
{
    enum scan_result result = take(scan, type, what, value);

    if (result != SCAN_READY || *value <= max)
        return result;
    why_set(scan->why, EMSGSIZE, "%s, not above %llu", what, (unsigned long long)max);
    return SCAN_BAD;
}

static enum scan_result scan_request(struct scan *scan)
{
    struct frame_view *view = scan->view;
    enum scan_result result;
    uint64_t queue, writable_len, bulk;

    if (view->args + 2 != REQUEST_ELEMENTS)
        return refuse(scan, EPROTO, "a REQUEST has 5 elements");
    result = take_limited(scan, ITEM_UINT, "queue must be an unsigned integer", UINT16_MAX, &queue);
    if (result == SCAN_READY)
        result = take_limited(scan, ITEM_UINT, "writable_len must be an unsigned integer",
                              WRITABLE_MAX, &writable_len);
    if (result == SCAN_READY)
        result = take_limited(scan, ITEM_BYTES, "readable must be a byte string of known length",
                              BULK_MAX, &bulk);
    if (result != SCAN_READY)
        return result;
    view->bulk = true;
    view->bulk_length = bulk;
    view->queue = (uint16_t)queue;
    view->writable_len = (uint32_t)writable_len;
    return SCAN_READY;
}

/* The arguments of all other messages; those not reached yet take a byte each at least. */
static enum scan_result scan_arguments(struct scan *scan)
{
    for (unsigned left = scan->view->args; left; left--) {
        size_t used = (size_t)(scan->reader.next - scan->start);

        switch (reader_skip(&scan->reader, FRAME_INLINE_MAX - used - (left - 1), NULL, scan->why)) {
        case READ_MORE:
            return SCAN_MORE;
        case READ_BAD:
            return SCAN_BAD;
        case READ_OK:
            break;
        }
    }
    return SCAN_READY;
}

enum scan_result frame_scan(const uint8_t *bytes, size_t len, struct frame_view *view,
                            struct ice_why *why)
{
    struct scan scan = {.reader = {bytes, bytes + len}, .start = bytes, .view = view, .why = why};
    enum scan_result result;
    uint64_t elements;

    *view = (struct frame_view){0};
    result = take(&scan, ITEM_ARRAY, "a frame must be an array of known length", &elements);
    if (result != SCAN_READY)
        return result;
    if (elements < ELEMENTS_MIN || elements > ELEMENTS_MAX)
        return refuse(&scan, EPROTO, "a frame must have 2 to 8 elements");
    result =
        take(&scan, ITEM_UINT, "the message number must be an unsigned integer", &view->message);
    if (result == SCAN_READY)
        result = take(&scan, ITEM_UINT, "the tag must be an unsigned integer", &view->tag);
    if (result != SCAN_READY)
        return result;
    view->has_tag = true;
    view->args = (unsigned)elements - 2;
    view->args_at = (size_t)(scan.reader.next - bytes);
    result = view->message == MESSAGE_REQUEST ? scan_request(&scan) : scan_arguments(&scan);
    view->length = (size_t)(scan.reader.next - bytes);
    return result;
}
