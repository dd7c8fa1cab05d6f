/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * CBOR to JSON. The tree that people read and the tree on the wire are the same, so there is one
 * way only, and no table of fields.
 */
#include "base/bytes.h"
#include "base/json.h"
#include "frame.h"

#include <errno.h>

static int print_item(struct json *json, const char *key, struct reader *reader, unsigned depth);

/* A map key as a C string. -EPROTO: no text, too long, or with a NUL in it. */
static int read_key(struct reader *reader, char key[static FRAME_KEY_MAX + 1])
{
    const char *text;
    size_t len;

    if (read_text(reader, &text, &len, NULL) || len > FRAME_KEY_MAX || memchr(text, 0, len))
        return -EPROTO;
    memcpy(key, text, len);
    key[len] = '\0';
    return 0;
}

static int print_map(struct json *json, const char *key, struct reader *reader, uint64_t pairs,
                     unsigned depth)
{
    int err = 0;

    json_object_open(json, key);
    for (; pairs && !err; pairs--) {
        char name[FRAME_KEY_MAX + 1];

        err = read_key(reader, name);
        if (!err)
            err = print_item(json, name, reader, depth);
    }
    json_object_close(json);
    return err;
}

static int print_array(struct json *json, const char *key, struct reader *reader, uint64_t elements,
                       unsigned depth)
{
    int err = 0;

    json_array_open(json, key);
    for (; elements && !err; elements--)
        err = print_item(json, NULL, reader, depth);
    json_array_close(json);
    return err;
}

static int print_item(struct json *json, const char *key, struct reader *reader, unsigned depth)
{
    struct item item;

    if (reader_next(reader, &item) != READ_OK)
        return -EPROTO;
    switch (item.type) {
    case ITEM_UINT:
        json_number(json, key, item.value);
        return 0;
    case ITEM_NEGATIVE:
        if (item.value > INT64_MAX)
            return -EPROTO;
        json_signed(json, key, -1 - (int64_t)item.value);
        return 0;
    case ITEM_TEXT:
        json_string_n(json, key, (const char *)item.bytes, item.value);
        return 0;
    case ITEM_ARRAY:
        return depth ? print_array(json, key, reader, item.value, depth - 1) : -EPROTO;
    case ITEM_MAP:
        return depth ? print_map(json, key, reader, item.value, depth - 1) : -EPROTO;
    case ITEM_BOOL:
        json_bool(json, key, item.value);
        return 0;
    case ITEM_NULL:
        json_null(json, key);
        return 0;
    case ITEM_BYTES:
        break; /* JSON has no such thing, and keys must not end up there */
    }
    return -EPROTO;
}

int json_from_cbor(struct json *json, const char *key, struct reader *reader)
{
    return print_item(json, key, reader, FRAME_NESTING);
}
