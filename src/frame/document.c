/* SPDX-License-Identifier: BSD-2-Clause */
/* A writer whose buffer is made large enough before each item. */
#include "base/secret.h"
#include "frame.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN  512u
#define ITEM_HEAD_MAX 9u

/* Makes the capacity at least `need`. False: no memory. */
static bool grow(struct document *document, size_t need)
{
    size_t capacity = need * 2 > CAPACITY_MIN ? need * 2 : CAPACITY_MIN;
    uint8_t *bytes;

    if (document->failed || need <= document->capacity)
        return !document->failed;
    bytes = document->secret ? secret_realloc(document->bytes, capacity)
                             : realloc(document->bytes, capacity);
    if (!bytes) {
        document->failed = true;
        return false;
    }
    document->bytes = bytes;
    document->capacity = capacity;
    return true;
}

/* A writer with room for an item of `len` bytes beside its head; false when memory is short. */
static bool open_item(struct document *document, size_t len, struct writer *writer)
{
    if (!grow(document, document->len + ITEM_HEAD_MAX + len))
        return false;
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

static void make_secret(struct document *document)
{
    uint8_t *bytes;

    if (document->failed || document->secret)
        return;
    bytes = secret_alloc(document->capacity);
    if (!bytes) {
        document->failed = true;
        return;
    }
    if (document->len)
        memcpy(bytes, document->bytes, document->len);
    free(document->bytes);
    document->bytes = bytes;
    document->secret = true;
}

void document_bytes(struct document *document, const void *bytes, size_t len)
{
    struct writer writer;

    make_secret(document);
    if (open_item(document, len, &writer)) {
        write_bytes(&writer, bytes, len);
        close_item(document, &writer);
    }
}

void document_append(struct document *document, const struct document *part)
{
    if (part->failed)
        document->failed = true;
    if (part->secret)
        make_secret(document);
    if (!grow(document, document->len + part->len) || !part->len)
        return;
    memcpy(document->bytes + document->len, part->bytes, part->len);
    document->len += part->len;
}

void document_free(struct document *document)
{
    if (document->secret)
        secret_free(document->bytes);
    else
        free(document->bytes);
    *document = (struct document){0};
}
