/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One flag is all the state that commas need: a value or a closed container asks for one before
 * its next sibling, an opened container does not. A document that memory ran out for ends as NULL,
 * so callers check once.
 */
#include "base/json.h"
#include "base/utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct json {
    FILE *out; /* a memstream over text */
    char *text;
    size_t len;
    bool comma; /* the next value has an elder sibling */
};

struct json *json_new(void)
{
    struct json *json = calloc(1, sizeof(*json));
    if (!json)
        return NULL;
    json->out = open_memstream(&json->text, &json->len);
    if (!json->out) {
        free(json);
        return NULL;
    }
    return json;
}

char *json_finish(struct json *json)
{
    if (!json)
        return NULL;
    bool failed = ferror(json->out);
    failed |= fclose(json->out) != 0;
    char *text = json->text;
    free(json);
    if (failed) {
        free(text);
        return NULL;
    }
    return text;
}

static void put_text(FILE *out, const char *value, size_t len)
{
    const unsigned char *s = (const unsigned char *)value;
    fputc('"', out);
    while (len) {
        size_t step = utf8_length(s, len);
        if (step == 0) {
            fputs("\\ufffd", out);
            step = 1;
        } else if (*s == '"' || *s == '\\') {
            fprintf(out, "\\%c", *s);
        } else if (*s < 0x20 || *s == 0x7f) {
            fprintf(out, "\\u%04x", *s);
        } else {
            fwrite(s, 1, step, out);
        }
        s += step;
        len -= step;
    }
    fputc('"', out);
}

/* What stands before every value; the stream, or NULL when there is none to write to. */
static FILE *begin_value(struct json *json, const char *key)
{
    if (!json)
        return NULL;
    if (json->comma)
        fputc(',', json->out);
    json->comma = true;
    if (key) {
        put_text(json->out, key, strlen(key));
        fputc(':', json->out);
    }
    return json->out;
}

static void open_container(struct json *json, const char *key, char bracket)
{
    FILE *out = begin_value(json, key);
    if (!out)
        return;
    fputc(bracket, out);
    json->comma = false;
}

static void close_container(struct json *json, char bracket)
{
    if (!json)
        return;
    fputc(bracket, json->out);
    json->comma = true;
}

void json_object_open(struct json *json, const char *key)
{
    open_container(json, key, '{');
}

void json_object_close(struct json *json)
{
    close_container(json, '}');
}

void json_array_open(struct json *json, const char *key)
{
    open_container(json, key, '[');
}

void json_array_close(struct json *json)
{
    close_container(json, ']');
}

void json_string(struct json *json, const char *key, const char *value)
{
    json_string_n(json, key, value, strlen(value));
}

void json_string_n(struct json *json, const char *key, const char *value, size_t len)
{
    FILE *out = begin_value(json, key);
    if (out)
        put_text(out, value, len);
}

void json_number(struct json *json, const char *key, uint64_t value)
{
    FILE *out = begin_value(json, key);
    if (out)
        fprintf(out, "%" PRIu64, value);
}

void json_signed(struct json *json, const char *key, int64_t value)
{
    FILE *out = begin_value(json, key);
    if (out)
        fprintf(out, "%" PRId64, value);
}

void json_hex(struct json *json, const char *key, uint64_t value)
{
    FILE *out = begin_value(json, key);
    if (out)
        fprintf(out, "\"0x%" PRIx64 "\"", value);
}

void json_bool(struct json *json, const char *key, bool value)
{
    FILE *out = begin_value(json, key);
    if (out)
        fputs(value ? "true" : "false", out);
}

void json_null(struct json *json, const char *key)
{
    FILE *out = begin_value(json, key);
    if (out)
        fputs("null", out);
}

void json_document(struct json *json, const char *key, const char *text)
{
    FILE *out = begin_value(json, key);
    if (out)
        fputs(text, out);
}
