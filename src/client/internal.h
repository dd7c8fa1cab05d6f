/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The connection under client.h: bytes in and out, the table of what is in flight, and the end of
 * it all. Whatever goes wrong with the transport (lost, a malformed answer, no answer in time) ends
 * the connection in link_break and nowhere else; then each request in flight has its done called.
 */
#ifndef ICESIM_CLIENT_INTERNAL_H
#define ICESIM_CLIENT_INTERNAL_H

#include "client.h"

/* Beside the requests there is one call at a time that waits for its answer. */
#define CALL_ENTRY IN_FLIGHT_MAX
#define ENTRIES    (IN_FLIGHT_MAX + 1)

/* The low bits of a tag are the entry's index, the rest counts uses: a late or stray tag matches
 * none. */
#define TAG_INDEX_BITS 7

struct entry {
    bool busy;
    uint64_t tag;
    enum message message;
    struct ice_request *request; /* NULL: the call */
};

struct client {
    int fd;
    int timeout_ms;
    int64_t deadline_ms; /* of the public function under way; -1: none */
    struct ice_why lost; /* err non-zero: the connection has ended */
    client_wait *wait;   /* link_poll, unless the caller has set another */
    void *wait_user;

    uint8_t *in; /* secret memory: answers may hold key bytes */
    size_t in_capacity;
    size_t in_start, in_end; /* arrived and not consumed */

    struct entry entries[ENTRIES];
    unsigned in_flight; /* requests */
    uint64_t uses;
    struct entry *sending; /* a request whose bytes are not all sent */

    bool answered;        /* the call's answer is there: `answer`, or the refusal in `refusal` */
    struct reader answer; /* arguments; valid until the next receive */
    uint64_t answer_args;
    struct ice_why refusal;

    void (*event)(void *user, enum protocol_event event, uint64_t value);
    void *event_user;

    char function[40], dialect[40]; /* from hello */
    unsigned slot_offset, key_types;
    uint64_t generation; /* the newest that hello or an event told */
    struct channel channel;
};

/* The client_wait of one who waits for nothing else. */
int link_poll(void *user, int fd, short events, int64_t deadline_ms);

/* Starts the clock of a public function. */
void link_start_clock(struct client *client);

/*
 * Ends the connection: remembers the cause, calls done for all that is in flight. Later calls keep
 * the first cause. Returns -errno, and fills `why`.
 */
int link_break(struct client *client, const struct ice_why *cause, struct ice_why *why);

/* Takes an entry; `request` NULL: for the call. NULL when none is free. */
struct entry *link_open_entry(struct client *client, enum message message,
                              struct ice_request *request);

/*
 * Sends `head` and then the list, while taking in answers when the socket is full. 0 or -errno with
 * the connection ended; the list's buffers are not touched once the entry's answer is delivered.
 */
int link_send(struct client *client, const uint8_t *head, size_t head_len, const struct iovec *iov,
              unsigned n, struct ice_why *why);

/* Waits for one frame and delivers it. 0 or -errno with the connection ended. */
int link_receive(struct client *client, struct ice_why *why);

/* Makes `least` more bytes arrive, or more than that. 0 or -errno, not yet broken. */
int link_fill(struct client *client, size_t least, struct ice_why *why);

/* Reads `len` bytes from the input into byte `offset` of the list. As link_fill. */
int link_read_into(struct client *client, const struct iovec *iov, unsigned n, size_t offset,
                   size_t len, struct ice_why *why);

/*
 * Handles the frame at the start of the input. READ_MORE: it is not all there, nothing happened;
 * `*missing` bytes more must come at least.
 */
enum read_result answer_take(struct client *client, size_t *missing, struct ice_why *why);

#endif
