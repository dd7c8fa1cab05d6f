/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writes one JSON document into memory, on one line. Commas and escapes are its work; numbers
 * of 64 bits go out as strings ("0x…"), since JavaScript and jq lose their low bits. A key is
 * NULL inside arrays and for the document itself. Not for key bytes. One thread at a time.
 */
#ifndef ICESIM_BASE_JSON_H
#define ICESIM_BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct json;

struct json *json_new(void);

/*
 * Ends the document: the text without a newline, to be freed by the caller; frees `json`. NULL when
 * memory ran out at any step, json_new included: no other call needs a check.
 */
char *json_finish(struct json *json);

void json_object_open(struct json *json, const char *key);
void json_object_close(struct json *json);
void json_array_open(struct json *json, const char *key);
void json_array_close(struct json *json);
void json_string(struct json *json, const char *key, const char *value);
void json_string_n(struct json *json, const char *key, const char *value, size_t len);
void json_number(struct json *json, const char *key, uint64_t value);
void json_signed(struct json *json, const char *key, int64_t value);
void json_hex(struct json *json, const char *key, uint64_t value); /* "0x…" */
void json_bool(struct json *json, const char *key, bool value);
void json_null(struct json *json, const char *key);
void json_document(struct json *json, const char *key, const char *text); /* of json_finish */

#endif
