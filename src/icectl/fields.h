/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The maps of a control result, as rows of a table for people. Values that are null, of another
 * type than is wanted, or of keys that are not wanted leave a row as it is.
 */
#ifndef ICESIM_ICECTL_FIELDS_H
#define ICESIM_ICECTL_FIELDS_H

#include "frame/frame.h"

#define CELL 80 /* bytes: enough for all but lists; the longest is a DUN */

/* A key that is wanted, and where its value goes: one of the two. */
struct field {
    const char *key;
    char *text; /* `room` bytes; an array of texts goes in with commas. Cut where it is too long. */
    size_t room;
    uint64_t *number;
};

#define FIELD_TEXT(key_, array)                                                                    \
    {                                                                                              \
        .key = (key_), .text = (array), .room = sizeof(array)                                      \
    }
#define FIELD_NUMBER(key_, variable)                                                               \
    {                                                                                              \
        .key = (key_), .number = &(variable)                                                       \
    }

/* Reads one map. 0 or -EPROTO. */
int read_fields(struct reader *reader, const struct field *fields, unsigned n, struct ice_why *why);

/* A number that goes as text, "0x…". */
uint64_t hex_cell(const char *text);

#endif
