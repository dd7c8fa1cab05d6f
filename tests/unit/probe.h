/* SPDX-License-Identifier: BSD-2-Clause */
/* Requests that remember how they ended, for tests of the client. */
#ifndef ICESIM_TESTS_PROBE_H
#define ICESIM_TESTS_PROBE_H

#include "client/client.h"
#include "fake_server.h"

#define REQUESTS 4
#define DATA     4096

/* A request of 16 readable bytes in two parts and DATA + 1 writable ones in three. */
struct probe {
    struct ice_request request;
    struct iovec readable[2], writable[3];
    uint8_t out[16];
    uint8_t in[DATA + 1];
    unsigned done; /* times */
    size_t written;
    struct ice_why why;
    unsigned order; /* of done, among all probes */
};

extern struct probe probes[REQUESTS];

void probe_init(struct probe *probe, uint8_t number);

/* Connects to a server that runs `script`. */
struct client *probe_connect(fake_script *script);

/* Prepares and submits the first `n` probes. */
void probe_submit(struct client *client, unsigned n);

/* Runs the client until nothing is in flight or it fails; returns what client_run did. */
int probe_run(struct client *client, struct ice_why *why);

/* Server side: takes the REQUESTS requests and notes their tags by queue. False when they are not
 * right. */
bool probe_take(struct fake_server *server, uint64_t tags[REQUESTS]);

bool is_filled(const uint8_t *bytes, size_t len, uint8_t value);

#endif
