/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every definite head has the form of an unsigned integer under another major type. So libcbor
 * decodes each head as that integer, from a copy: it never sees the lengths that overflow its
 * arithmetic, nor a break or an indefinite length, which are refused before.
 */
#include "base/bytes.h"
#include "base/utf8.h"
#include "frame.h"

#include <cbor.h>
#include <errno.h>
#include <stdio.h>

#define HEAD_MAX    9  /* initial byte and a 64-bit argument */
#define INFO_MAX    27 /* additional information: above are the reserved and the indefinite forms */
#define MAJOR_SHIFT 5
#define INFO_MASK   0x1f

enum major { MAJOR_TAG = 6, MAJOR_SIMPLE = 7 };

enum simple { SIMPLE_FALSE = 20, SIMPLE_TRUE = 21, SIMPLE_NULL = 22 };

static void take_uint8(void *context, uint8_t value)
{
    *(uint64_t *)context = value;
}

static void take_uint16(void *context, uint16_t value)
{
    *(uint64_t *)context = value;
}

static void take_uint32(void *context, uint32_t value)
{
    *(uint64_t *)context = value;
}

static void take_uint64(void *context, uint64_t value)
{
    *(uint64_t *)context = value;
}

/* Only these can be called: an initial byte of major type 0 stands before libcbor. */
static const struct cbor_callbacks take_argument = {
    .uint8 = take_uint8,
    .uint16 = take_uint16,
    .uint32 = take_uint32,
    .uint64 = take_uint64,
};

/* The argument of the head at reader->next, which is consumed. */
static enum read_result read_argument(struct reader *reader, uint64_t *value)
{
    uint8_t head[HEAD_MAX];
    size_t len = min_u64((size_t)(reader->end - reader->next), HEAD_MAX);
    struct cbor_decoder_result result;

    memcpy(head, reader->next, len);
    head[0] &= INFO_MASK;
    result = cbor_stream_decode(head, len, &take_argument, value);
    if (result.status == CBOR_DECODER_NEDATA)
        return READ_MORE;
    if (result.status != CBOR_DECODER_FINISHED)
        return READ_BAD;
    reader->next += result.read;
    return READ_OK;
}

static enum read_result read_simple(struct reader *reader, struct item *item)
{
    unsigned info = *reader->next & INFO_MASK;

    if (info != SIMPLE_FALSE && info != SIMPLE_TRUE && info != SIMPLE_NULL)
        return READ_BAD;
    reader->next++;
    item->type = info == SIMPLE_NULL ? ITEM_NULL : ITEM_BOOL;
    item->value = info == SIMPLE_TRUE;
    return READ_OK;
}

enum read_result reader_next_head(struct reader *reader, struct item *item)
{
    static const enum item_type types[MAJOR_TAG] = {
        ITEM_UINT, ITEM_NEGATIVE, ITEM_BYTES, ITEM_TEXT, ITEM_ARRAY, ITEM_MAP,
    };
    enum read_result result;
    unsigned major;

    *item = (struct item){.type = ITEM_NULL};
    if (reader->next == reader->end)
        return READ_MORE;
    major = *reader->next >> MAJOR_SHIFT;
    if (major == MAJOR_SIMPLE)
        return read_simple(reader, item);
    if (major == MAJOR_TAG || (*reader->next & INFO_MASK) > INFO_MAX)
        return READ_BAD;
    item->type = types[major];
    result = read_argument(reader, &item->value);
    item->bytes = reader->next;
    return result;
}

static bool is_string(const struct item *item)
{
    return item->type == ITEM_BYTES || item->type == ITEM_TEXT;
}

enum read_result reader_next(struct reader *reader, struct item *item)
{
    struct reader r = *reader;
    enum read_result result = reader_next_head(&r, item);

    if (result != READ_OK)
        return result;
    if (is_string(item)) {
        if (item->value > (size_t)(r.end - r.next))
            return READ_MORE;
        if (item->type == ITEM_TEXT && utf8_valid(item->bytes, item->value) < item->value)
            return READ_BAD;
        r.next += item->value;
    }
    *reader = r;
    return READ_OK;
}

/* ---- stepping over ---- */

/* How many items must still come, in all and at each depth; an item is a byte at least. */
struct walk {
    uint64_t pending;
    uint64_t left[FRAME_NESTING + 1];
    unsigned depth;
};

/*
 * Accounts for an item whose head has been read, with `room` bytes left for all that follows.
 * False: it is too deep or too long, as `why` says.
 */
static bool walk_step(struct walk *walk, const struct item *item, uint64_t room,
                      struct ice_why *why)
{
    uint64_t weight = item->type == ITEM_MAP ? 2 : 1;
    bool container = item->type == ITEM_ARRAY || item->type == ITEM_MAP;

    walk->pending--;
    walk->left[walk->depth]--;
    if (walk->pending > room ||
        ((container || is_string(item)) && item->value > (room - walk->pending) / weight)) {
        why_set(why, EPROTO, "the head of an item promises more than the frame may hold");
        return false;
    }
    if (container) {
        if (walk->depth == FRAME_NESTING) {
            why_set(why, EPROTO, "maps and arrays are nested more than %u deep", FRAME_NESTING);
            return false;
        }
        walk->left[++walk->depth] = item->value * weight;
        walk->pending += item->value * weight;
    }
    while (walk->depth && !walk->left[walk->depth])
        walk->depth--;
    return true;
}

/* An item that is cut off: `rest` bytes of its own, and the items behind it. */
static enum read_result cut_off(const struct walk *walk, uint64_t rest, size_t *missing)
{
    if (missing)
        *missing = rest + walk->pending;
    return READ_MORE;
}

enum read_result reader_skip(struct reader *reader, size_t limit, size_t *missing,
                             struct ice_why *why)
{
    struct walk walk = {.pending = 1, .left = {1}};
    struct reader r = *reader;
    size_t arrived = (size_t)(r.end - r.next);

    while (walk.pending) {
        struct item item;
        enum read_result result = reader_next_head(&r, &item);
        size_t used = (size_t)(r.next - reader->next);

        if (result == READ_BAD) {
            why_set(why, EPROTO, "byte 0x%02x begins no item that may stand in a frame", *r.next);
            return READ_BAD;
        }
        if (used > limit || (result == READ_MORE && arrived >= limit)) {
            why_set(why, EPROTO, "an item is longer than the frame may be");
            return READ_BAD;
        }
        if (result == READ_MORE)
            return cut_off(&walk, 0, missing);
        if (!walk_step(&walk, &item, limit - used, why))
            return READ_BAD;
        if (is_string(&item)) {
            uint64_t there = (uint64_t)(r.end - r.next);

            if (item.value > there)
                return cut_off(&walk, item.value - there, missing);
            r.next += item.value;
        }
    }
    *reader = r;
    return READ_OK;
}

int read_skip(struct reader *reader, struct ice_why *why)
{
    size_t rest = (size_t)(reader->end - reader->next);

    if (rest == 0)
        return why_set(why, EPROTO, "the message ends too early");
    return reader_skip(reader, rest, NULL, why) == READ_OK ? 0 : -EPROTO;
}

/* ---- typed reads ---- */

static const char *type_name(enum item_type type)
{
    static const char *const names[] = {
        [ITEM_UINT] = "an unsigned integer", [ITEM_NEGATIVE] = "a negative integer",
        [ITEM_BYTES] = "a byte string",      [ITEM_TEXT] = "a text string",
        [ITEM_ARRAY] = "an array",           [ITEM_MAP] = "a map",
        [ITEM_BOOL] = "a boolean",           [ITEM_NULL] = "null",
    };
    return names[type];
}

/* The next item, of a message that is whole. */
static int read_item(struct reader *reader, struct item *item, struct ice_why *why)
{
    switch (reader_next(reader, item)) {
    case READ_OK:
        return 0;
    case READ_MORE:
        return why_set(why, EPROTO, "the message ends too early");
    case READ_BAD:
        break;
    }
    if (item->type == ITEM_TEXT)
        return why_set(why, EPROTO, "a text string is not UTF-8");
    return why_set(why, EPROTO, "byte 0x%02x begins no item that may stand in a frame",
                   *reader->next);
}

static int read_typed(struct reader *reader, enum item_type type, struct item *item,
                      struct ice_why *why)
{
    struct reader r = *reader;
    int err = read_item(&r, item, why);

    if (err)
        return err;
    if (item->type != type)
        return why_set(why, EPROTO, "%s where %s was expected", type_name(item->type),
                       type_name(type));
    *reader = r;
    return 0;
}

int read_uint(struct reader *reader, uint64_t max, uint64_t *value, struct ice_why *why)
{
    struct reader r = *reader;
    struct item item;
    int err = read_typed(&r, ITEM_UINT, &item, why);

    if (err)
        return err;
    if (item.value > max)
        return why_set(why, EPROTO, "%llu where at most %llu was expected",
                       (unsigned long long)item.value, (unsigned long long)max);
    *value = item.value;
    *reader = r;
    return 0;
}

int read_bool(struct reader *reader, bool *value, struct ice_why *why)
{
    struct item item;
    int err = read_typed(reader, ITEM_BOOL, &item, why);

    if (!err)
        *value = item.value;
    return err;
}

static int read_string(struct reader *reader, enum item_type type, const uint8_t **bytes,
                       size_t *len, struct ice_why *why)
{
    struct item item;
    int err = read_typed(reader, type, &item, why);

    if (err)
        return err;
    *bytes = item.bytes;
    *len = item.value;
    return 0;
}

int read_bytes(struct reader *reader, const uint8_t **bytes, size_t *len, struct ice_why *why)
{
    return read_string(reader, ITEM_BYTES, bytes, len, why);
}

int read_text(struct reader *reader, const char **text, size_t *len, struct ice_why *why)
{
    return read_string(reader, ITEM_TEXT, (const uint8_t **)text, len, why);
}

static int read_container(struct reader *reader, enum item_type type, size_t item_bytes,
                          uint64_t *count, struct ice_why *why)
{
    struct reader r = *reader;
    struct item item;
    int err = read_typed(&r, type, &item, why);

    if (err)
        return err;
    if (item.value > (size_t)(r.end - r.next) / item_bytes)
        return why_set(why, EPROTO, "the message ends too early");
    *count = item.value;
    *reader = r;
    return 0;
}

int read_array(struct reader *reader, uint64_t *elements, struct ice_why *why)
{
    return read_container(reader, ITEM_ARRAY, 1, elements, why);
}

int read_map(struct reader *reader, uint64_t *pairs, struct ice_why *why)
{
    return read_container(reader, ITEM_MAP, 2, pairs, why);
}

static void copy_line(const char *text, size_t len, struct ice_why *value)
{
    snprintf(value->text, sizeof(value->text), "%.*s", (int)min_u64(len, ICE_WHY_TEXT), text);
    for (char *c = value->text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
}

int read_error(struct reader *reader, struct ice_why *value, struct ice_why *why)
{
    struct reader r = *reader;
    uint64_t number;
    const char *text;
    size_t len;
    int err = read_uint(&r, 4095, &number, why);

    if (!err)
        err = read_text(&r, &text, &len, why);
    if (err)
        return err;
    if (number == 0)
        return why_set(why, EPROTO, "a reason has the errno 0");
    value->err = (int)number;
    copy_line(text, len, value);
    *reader = r;
    return 0;
}

int read_why(struct reader *reader, struct ice_why *value, struct ice_why *why)
{
    struct reader r = *reader;
    struct item item;
    uint64_t elements = 0;
    int err = read_item(&r, &item, why);

    value->err = 0;
    if (err)
        return err;
    if (item.type == ITEM_NULL) {
        *reader = r;
        return 0;
    }
    r = *reader;
    err = read_array(&r, &elements, why);
    if (err)
        return err;
    if (elements != 2)
        return why_set(why, EPROTO, "a reason is null or [errno, text]");
    err = read_error(&r, value, why);
    if (!err)
        *reader = r;
    return err;
}

int read_end(const struct reader *reader, struct ice_why *why)
{
    if (reader->next != reader->end)
        return why_set(why, EPROTO, "%zu bytes follow the end of the message",
                       (size_t)(reader->end - reader->next));
    return 0;
}
