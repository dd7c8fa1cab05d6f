/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/utf8.h"
#include "frame.h"

#include <cbor.h>
#include <string.h>

static size_t room(const struct writer *writer)
{
    return writer->full ? 0 : (size_t)(writer->end - writer->next);
}

/* libcbor's encoders return the bytes written, 0 when they do not fit. */
static void advance(struct writer *writer, size_t written)
{
    if (written == 0)
        writer->full = true;
    else
        writer->next += written;
}

static void write_content(struct writer *writer, const void *bytes, size_t len)
{
    if (len > room(writer)) {
        writer->full = true;
    } else if (len) {
        memcpy(writer->next, bytes, len);
        writer->next += len;
    }
}

void write_uint(struct writer *writer, uint64_t value)
{
    advance(writer, cbor_encode_uint(value, writer->next, room(writer)));
}

void write_int(struct writer *writer, int64_t value)
{
    if (value >= 0)
        write_uint(writer, (uint64_t)value);
    else
        advance(writer, cbor_encode_negint(~(uint64_t)value, writer->next, room(writer)));
}

void write_bytes_head(struct writer *writer, size_t len)
{
    advance(writer, cbor_encode_bytestring_start(len, writer->next, room(writer)));
}

void write_bytes(struct writer *writer, const void *bytes, size_t len)
{
    write_bytes_head(writer, len);
    write_content(writer, bytes, len);
}

void write_text(struct writer *writer, const char *text)
{
    size_t len = strlen(text);
    uint8_t *content;

    advance(writer, cbor_encode_string_start(len, writer->next, room(writer)));
    content = writer->next;
    write_content(writer, text, len);
    if (writer->full)
        return;
    for (size_t at = 0; (at += utf8_valid(content + at, len - at)) < len;)
        content[at] = '?';
}

void write_array(struct writer *writer, size_t elements)
{
    advance(writer, cbor_encode_array_start(elements, writer->next, room(writer)));
}

void write_map(struct writer *writer, size_t pairs)
{
    advance(writer, cbor_encode_map_start(pairs, writer->next, room(writer)));
}

void write_bool(struct writer *writer, bool value)
{
    advance(writer, cbor_encode_bool(value, writer->next, room(writer)));
}

void write_null(struct writer *writer)
{
    advance(writer, cbor_encode_null(writer->next, room(writer)));
}

void write_why(struct writer *writer, const struct ice_why *why)
{
    if (!why) {
        write_null(writer);
        return;
    }
    write_array(writer, 2);
    write_uint(writer, (uint64_t)why->err);
    write_text(writer, why->text);
}
