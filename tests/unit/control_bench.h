/* SPDX-License-Identifier: BSD-2-Clause */
/* A bench for the control plane: a host with four functions, and messages without a socket. */
#ifndef ICESIM_TESTS_CONTROL_BENCH_H
#define ICESIM_TESTS_CONTROL_BENCH_H

#include "icesim/control.h"
#include "icesim/views.h"
#include "tap.h"

/*
 * vm1: slots 0+8, sectors 0+1024; vm2: slots 8+8 virtual, sectors 1024+512, strict, ro, raw keys;
 * vm3: slots 16+2, sectors 1536+256, inline, wrapped keys; vm4: no slots, sectors 1792+256.
 * Failures end the program.
 */
extern struct control control;
extern uint8_t *key;       /* 64 bytes of secret memory, 0 to 63 */
extern struct ice_why why; /* of the last message */
void open_host(bool unsafe_monitor);
void close_host(void);

/* One of text, bytes, a flag and a number. */
struct pair {
    const char *key, *text;
    const uint8_t *bytes;
    size_t len;
    bool is_flag;
    uint64_t number;
};

#define TEXT(k, t)     ((struct pair){.key = (k), .text = (t)})
#define NUMBER(k, n)   ((struct pair){.key = (k), .number = (n)})
#define FLAG(k, f)     ((struct pair){.key = (k), .is_flag = true, .number = (f)})
#define BYTES(k, b, l) ((struct pair){.key = (k), .bytes = (b), .len = (l)})

/* The answer is the caller's to free. */
int run(enum message message, const struct pair *pairs, size_t n, struct document *answer);

#define RUN(message, answer, ...)                                                                  \
    run(message, (const struct pair[]){__VA_ARGS__},                                               \
        sizeof((const struct pair[]){__VA_ARGS__}) / sizeof(struct pair), answer)

/*
 * What came of a message that answers with no byte string: the JSON, until the next call, or the
 * reason. Frees the answer.
 */
const char *said(int err, struct document *answer);

#define SAYS(want, name, message, ...)                                                             \
    do {                                                                                           \
        struct document answer_;                                                                   \
        int err_ = RUN(message, &answer_, __VA_ARGS__);                                            \
        is_str(said(err_, &answer_), want, name);                                                  \
    } while (0)

#define REFUSES(number, want, name, message, ...)                                                  \
    do {                                                                                           \
        struct document answer_;                                                                   \
        is_int(RUN(message, &answer_, __VA_ARGS__), -(number), name);                              \
        is_str(said(-1, &answer_), want, "which says why");                                        \
    } while (0)

static const struct pair vm1 __attribute__((unused)) = {.key = "function", .text = "vm1"};
static const struct pair vm2 __attribute__((unused)) = {.key = "function", .text = "vm2"};
static const struct pair vm3 __attribute__((unused)) = {.key = "function", .text = "vm3"};
static const struct pair vm4 __attribute__((unused)) = {.key = "function", .text = "vm4"};

#endif
