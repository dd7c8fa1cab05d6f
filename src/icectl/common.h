/* SPDX-License-Identifier: BSD-2-Clause */
/* What all commands of icectl share: where the server is, and how an end is told. */
#ifndef ICESIM_ICECTL_COMMON_H
#define ICESIM_ICECTL_COMMON_H

#include "base/json.h"
#include "client/client.h"
#include <stdio.h>

enum status {
    STATUS_DONE = 0,
    STATUS_REFUSED = 1, /* refused or failed here, or a key operation refused */
    STATUS_USAGE = 2,
    STATUS_IOERR = 3,  /* the device's word to I/O */
    STATUS_UNSUPP = 4, /* the same */
    STATUS_CONNECTION = 5,
};

/* A failure that is kept for a document. */
struct failure {
    int err;        /* positive errno; 0: the cause has none */
    char text[640]; /* "": none has been told */
};

struct session;

struct icectl {
    const char *dir;
    const char *function; /* NULL: the first */
    bool json;
    int timeout_ms;  /* -1: none was given */
    char action[96]; /* verb and object, for failures: "slot program 40" */
    FILE *out;       /* becomes standard output when the command has succeeded */
    /* In a batch; else NULL. */
    struct session *session;
    struct failure *failure; /* gets the first failure that is told */
};

/* Sets icectl->action. */
__attribute__((format(printf, 2, 3))) void set_action(struct icectl *icectl, const char *fmt, ...);

/*
 * Prints `icectl: ACTION: CAUSE` on stderr, on one line, or keeps it in icectl->failure; returns
 * `status`. `err` is the cause's positive errno; fail, for a cause without one, says 0.
 */
__attribute__((format(printf, 4, 5))) enum status
fail_errno(const struct icectl *icectl, enum status status, int err, const char *fmt, ...);
__attribute__((format(printf, 3, 4))) enum status fail(const struct icectl *icectl,
                                                       enum status status, const char *fmt, ...);

/* With the cause in `why`. */
enum status fail_why(const struct icectl *icectl, enum status status, const struct ice_why *why);

/*
 * What a call of `client` that returned `err`, not 0, ends with: STATUS_CONNECTION when the
 * connection has ended or the answer was none, else STATUS_REFUSED.
 */
enum status call_status(const struct client *client, int err);

/* fail with call_status and the cause. */
enum status fail_call(const struct icectl *icectl, const struct client *client, int err,
                      const struct ice_why *why);

/* The same for a connection that could not be made: STATUS_CONNECTION. */
enum status fail_connect(const struct icectl *icectl, int err, const struct ice_why *why);

/*
 * The default of -d: $ICESIM_DIR, else $XDG_RUNTIME_DIR/icesim, else, for root, /run/icesim; NULL:
 * none of these. The caller frees it.
 */
char *default_dir(void);

/* Prints one CBOR item as a JSON document with a newline. 0 or -errno. */
int print_item(const struct icectl *icectl, struct reader reader, struct ice_why *why);

/* Ends `json` and prints it with a newline. 0 or -ENOMEM. */
int print_json(const struct icectl *icectl, struct json *json, struct ice_why *why);

#endif
