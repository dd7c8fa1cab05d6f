/* SPDX-License-Identifier: BSD-2-Clause */
/* The arguments of control messages: a map with text keys, whose values have types and limits. */
#ifndef ICESIM_ICESIM_CONTROL_ARGS_H
#define ICESIM_ICESIM_CONTROL_ARGS_H

#include "frame/frame.h"
#include "host.h"

enum argument_type { ARGUMENT_TEXT, ARGUMENT_UINT, ARGUMENT_BYTES, ARGUMENT_BOOL };

#define ARGUMENT_TEXT_MAX 528u /* a function, or the names of as many as a layer has */

struct argument {
    const char *key;
    enum argument_type type;
    uint64_t max; /* the number, or the length of the text (ARGUMENT_TEXT_MAX at most) or bytes */
    bool optional;
    /* Filled in; `bytes` stand in the frame, which is secret memory. */
    bool given;
    char text[ARGUMENT_TEXT_MAX + 1];
    uint64_t number;
    bool flag;
    const uint8_t *bytes;
    size_t len;
};

/* A function's name; alone, and as the first of several. */
#define ARGUMENT_FUNCTION                                                                          \
    {                                                                                              \
        .key = "function", .max = FUNCTION_NAME_MAX                                                \
    }

/*
 * Reads the map, with which the frame ends. 0; -EPROTO: a value of another type; -EINVAL: a key
 * that is unknown, given twice or missing, a value past its limit, a control character in a text.
 */
int arguments_read(struct reader *reader, struct argument *arguments, unsigned n,
                   struct ice_why *why);

/* The number that a text stands for; one that is not given changes nothing. 0, -EINVAL, -ERANGE. */
int argument_hex(const struct argument *argument, uint64_t *value, struct ice_why *why);

/* Holds the function of that name. 0 or -ENOENT. */
int argument_function(struct host *host, const struct argument *name,
                      struct host_function **function, struct ice_why *why);

#endif
