/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of icestorm share: random numbers, connections, the hostile driver. */
#ifndef ICESIM_TESTS_ICESTORM_H
#define ICESIM_TESTS_ICESTORM_H

#include "client/client.h"
#include <stdint.h>

struct connection {
    char path[108];
    struct client *client;
    struct channel *channel;
    struct function_config config;
};

/* Connects to DIR/NAME.sock and negotiates all that is offered. Ends the program if it cannot. */
void connect_function(struct connection *connection, const char *dir, const char *name);

/* xorshift64*: never seeded with 0. */
static inline uint64_t next_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545F4914F6CDD1D);
}

/* Prints `icestorm: …` and exits with 1. */
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *fmt, ...);

/*
 * Sends `count` requests of all kinds, right and wrong, pipelined, and reads all answers. Returns
 * how many of them were OK.
 */
uint64_t run_hostile(const struct connection *connection, uint64_t count, uint64_t seed);

#endif
