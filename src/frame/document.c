/* SPDX-License-Identifier: BSD-2-Clause */
/* A writer whose buffer is made large enough before each item. */
#include "frame.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN  512u
#define ITEM_HEAD_MAX 9u

/* A writer with room for an item of `len` bytes beside its head; false when memory is short. */
static bool open_item(struct document *document, size_t len, struct writer *writer)
{
    size_t need = document->len + ITEM_HEAD_MAX + len;

    if (document->failed)
        return false;
    if (need > document->capacity) {
        size_t capacity = need * 2 > CAPACITY_MIN ? need * 2 : CAPACITY_MIN;
        uint8_t *bytes = realloc(document->bytes, capacity);

        if (!bytes) {
            document->failed = true;
            return false;
        }
        document->bytes = bytes;
        document->capacity = capacity;
    }
    *writer = (struct writer){document->bytes + document->len, document->bytes + document->capacity,
                              false};
    return true;
}

static void close_item(struct document *document, const struct writer *writer)
{
    document->len = (size_t)(writer->next - document->bytes);
}

void document_uint(struct document *document, uint64_t value)
{
    struct writer writer;

    if (open_item(document, 0, &writer)) {
        write_uint(&writer, value);
        close_item(document, &writer);
    }
}

void document_hex(struct document *document, uint64_t value)
{
    char text[sizeof("0xffffffffffffffff")];

    snprintf(text, sizeof(text), "0x%" PRIx64, value);
    document_text(document, text);
}

void document_text(struct document *document, const char *text)
{
    struct writer writer;

    if (open_item(document, strlen(text), &writer)) {
        write_text(&writer, text);
        close_item(document, &writer);
    }
}

void document_array(struct document *document, size_t elements)
{
    struct writer writer;

    if (open_item(document, 0, &writer)) {
        write_array(&writer, elements);
        close_item(document, &writer);
    }
}

void document_map(struct document *document, size_t pairs)
{
    struct writer writer;

    if (open_item(document, 0, &writer)) {
        write_map(&writer, pairs);
        close_item(document, &writer);
    }
}

void document_bool(struct document *document, bool value)
{
    struct writer writer;

    if (open_item(document, 0, &writer)) {
        write_bool(&writer, value);
        close_item(document, &writer);
    }
}

void document_null(struct document *document)
{
    struct writer writer;

    if (open_item(document, 0, &writer)) {
        write_null(&writer);
        close_item(document, &writer);
    }
}

void document_free(struct document *document)
{
    free(document->bytes);
    *document = (struct document){0};
}
