/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The scan of a frame as it arrives byte after byte, and the reader over what has arrived: typed
 * reads in the order that the input asks for, and the way to JSON.
 */
#include "frame/frame.h"
#include "base/json.h"
#include "base/utf8.h"
#include "fuzz.h"

#include <errno.h>

static bool same(const struct frame_view *a, const struct frame_view *b)
{
    return a->message == b->message && a->tag == b->tag && a->args == b->args &&
           a->args_at == b->args_at && a->length == b->length && a->bulk == b->bulk &&
           a->bulk_length == b->bulk_length && a->queue == b->queue &&
           a->writable_len == b->writable_len;
}

static enum scan_result scan_copy(const uint8_t *data, size_t len, struct frame_view *view)
{
    struct ice_why why = {0};
    uint8_t *copy = malloc(len ? len : 1);
    enum scan_result result;
    HOLDS(copy);
    memcpy(copy, data, len);
    result = frame_scan(copy, len, view, &why);
    HOLDS((result == SCAN_BAD) == (why.err != 0));
    HOLDS(utf8_valid((const uint8_t *)why.text, strlen(why.text)) == strlen(why.text));
    free(copy);
    return result;
}

/* What has been decided does not change when more arrives. */
static void scan_growing(const uint8_t *data, size_t size)
{
    struct frame_view first = {0}, view;
    enum scan_result decided = SCAN_MORE;
    size_t step = 1;
    for (size_t len = 0; len <= size; len += step) {
        enum scan_result result = scan_copy(data, len, &view);
        if (decided != SCAN_MORE) {
            HOLDS(result == decided);
            HOLDS(result == SCAN_BAD || same(&first, &view));
        } else if (result != SCAN_MORE) {
            decided = result;
            first = view;
        }
        HOLDS(result != SCAN_MORE || len < FRAME_INLINE_MAX);
        if (result == SCAN_READY) {
            HOLDS(view.has_tag && view.length <= len && view.length <= FRAME_INLINE_MAX);
            HOLDS(view.args_at <= view.length && view.bulk_length <= FRAME_DATA_MAX + FRAME_SECRET);
        }
        step = len < 96 ? 1 : 61;
    }
}

static void read_one(struct reader *reader, uint8_t how)
{
    struct ice_why why = {0}, value;
    const uint8_t *bytes, *before = reader->next;
    const char *text;
    uint64_t number;
    size_t len;
    int err;
    switch (how % 8) {
    case 0:
        err = read_uint(reader, how & 0x80 ? 255 : UINT64_MAX, &number, &why);
        break;
    case 1:
        err = read_bytes(reader, &bytes, &len, &why);
        break;
    case 2:
        err = read_text(reader, &text, &len, &why);
        HOLDS(err || utf8_valid((const uint8_t *)text, len) == len);
        break;
    case 3:
        err = read_array(reader, &number, &why);
        HOLDS(err || number <= (size_t)(reader->end - reader->next));
        break;
    case 4:
        err = read_map(reader, &number, &why);
        HOLDS(err || number <= (size_t)(reader->end - reader->next) / 2);
        break;
    case 5:
        err = read_why(reader, &value, &why);
        break;
    case 6:
        err = read_error(reader, &value, &why);
        break;
    default:
        err = read_skip(reader, &why);
    }
    HOLDS(err == 0 || err == -EPROTO);
    HOLDS(err ? reader->next == before : reader->next > before && reader->next <= reader->end);
    HOLDS((err != 0) == (why.err != 0));
}

static void print(const uint8_t *data, size_t size)
{
    struct reader reader = {data, data + size};
    struct json *json = json_new();
    HOLDS(json);
    json_array_open(json, NULL);
    while (reader.next < reader.end && json_from_cbor(json, NULL, &reader) == 0)
        ;
    json_array_close(json);
    free(json_finish(json));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    uint8_t reads[8], *rest;
    struct reader reader;
    if (size > 8192)
        return 0;
    scan_growing(data, size);
    for (unsigned i = 0; i < sizeof(reads); i++)
        reads[i] = input_byte(&input);
    size = input.left;
    rest = input_copy(&input, size);
    reader = (struct reader){rest, rest + size};
    for (unsigned i = 0; i < sizeof(reads); i++)
        read_one(&reader, reads[i]);
    print(rest, size);
    free(rest);
    return 0;
}
