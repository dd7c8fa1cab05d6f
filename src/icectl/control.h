/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls on the control socket. All return 0 or -errno. */
#ifndef ICESIM_ICECTL_CONTROL_H
#define ICESIM_ICECTL_CONTROL_H

#include "common.h"

#define NAME_BYTES 33 /* of a function's name, with its terminator */

struct name {
    char text[NAME_BYTES];
};

/*
 * Connects to FILE.sock of the runtime folder: "control", or a function's name. In a batch its
 * waits are the line's.
 */
int connect_socket(const struct icectl *icectl, const char *file, int timeout_ms,
                   struct client **client, struct ice_why *why);

/* Connects to the control socket; the failure is told: STATUS_CONNECTION. */
enum status connect_control(const struct icectl *icectl, struct client **control);

/* One of text, bytes, a flag and a number. */
struct control_argument {
    const char *key;
    const char *text;
    const uint8_t *bytes;
    size_t len; /* of bytes */
    bool is_flag;
    uint64_t number; /* or the flag's value */
};

static inline struct control_argument argument_text(const char *key, const char *text)
{
    return (struct control_argument){.key = key, .text = text};
}

static inline struct control_argument argument_bytes(const char *key, const uint8_t *bytes,
                                                     size_t len)
{
    return (struct control_argument){.key = key, .bytes = bytes, .len = len};
}

static inline struct control_argument argument_number(const char *key, uint64_t number)
{
    return (struct control_argument){.key = key, .number = number};
}

static inline struct control_argument argument_flag(const char *key, bool value)
{
    return (struct control_argument){.key = key, .is_flag = true, .number = value};
}

/* One call; *bytes (free with secret_free) is its result, one item of `len` bytes. */
int control_call(struct client *control, enum message message,
                 const struct control_argument *arguments, unsigned n, uint8_t **bytes, size_t *len,
                 struct ice_why *why);

/* All functions' names, valid as such; to be freed. *count may be 0. */
int list_functions(struct client *control, struct name **names, unsigned *count,
                   struct ice_why *why);

/* -f, or the name of the first function. -ENODEV: there is none. */
int pick_function(const struct icectl *icectl, struct client *control, struct name *name,
                  struct ice_why *why);

/* Shows a command's result, one item. 0 or -errno. */
typedef int control_show(const struct icectl *icectl, struct reader result, struct ice_why *why);

/* Prints the result with --json, else nothing. */
control_show show_document;
/* Prints nothing. */
control_show show_nothing;

/*
 * What a command does that asks one thing: connects, calls with the function (if `of_function`) and
 * the `n` of `more`, at most CONTROL_ARGUMENTS, hands the result to `show` and closes. Failures are
 * told.
 */
#define CONTROL_ARGUMENTS 10
enum status ask_control(const struct icectl *icectl, enum message message, bool of_function,
                        const struct control_argument *more, unsigned n, control_show *show);

#endif
