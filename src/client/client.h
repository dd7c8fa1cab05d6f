/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client of icesim's sockets: connect, hello, negotiate, requests, control calls. One thread at a
 * time. Everything the server says is checked as data from outside. SIGPIPE never rises.
 *
 * Whatever goes wrong with the connection (lost, no answer in time, an answer that no icesim would
 * send) ends it for good: client_alive is false, each request in flight gets its done with written
 * 0 (parts of its buffers may have been filled), and later calls fail with the same cause. `done`
 * and event functions must not call the client.
 */
#ifndef ICESIM_CLIENT_CLIENT_H
#define ICESIM_CLIENT_CLIENT_H

#include "dialect/channel.h"
#include "frame/frame.h"

struct client;

/*
 * Connects to socket `path` and says hello. `timeout_ms` holds for each later call too; -1: none. 0
 * or -errno: -ENOENT and -ECONNREFUSED when no server is there, -ENAMETOOLONG (107 bytes),
 * -ETIMEDOUT, -EPROTO. NULL is allowed in client_close; requests in flight get their done.
 */
int client_connect(const char *path, int timeout_ms, struct client **client, struct ice_why *why);
void client_close(struct client *client);

/* False once the connection has ended. A call that failed while it lives was refused. */
bool client_alive(const struct client *client);

/* From hello. Valid until close. */
const char *client_function(const struct client *client); /* "" on a control socket */
const char *client_dialect(const struct client *client);

/* The engine's newest generation that hello or an event has told. */
uint64_t client_generation(const struct client *client);

/* Device socket: one message and its answer. 0 or -errno; an ERROR reply is its errno and text. */
int client_get_features(struct client *client, uint64_t *offered, uint64_t *negotiated,
                        struct ice_why *why);
int client_set_features(struct client *client, uint64_t features, struct ice_why *why);
int client_get_status(struct client *client, uint8_t *status, struct ice_why *why);
/* `refusal` (may be NULL): why FEATURES_OK did not stick. */
int client_set_status(struct client *client, uint8_t status, uint8_t *now, struct ice_why *refusal,
                      struct ice_why *why);
int client_read_config(struct client *client, uint32_t offset, void *buffer, uint32_t len,
                       struct ice_why *why);
int client_write_config(struct client *client, uint32_t offset, const void *buffer, uint32_t len,
                        struct ice_why *why);
int client_acknowledge(struct client *client, uint64_t generation, struct ice_why *why);

/*
 * Resets the device, negotiates `wanted` & offered (VERSION_1 always), sets DRIVER_OK. The channel
 * is the client's; its requests end in client_run, or while another call waits. When IN_FLIGHT_MAX
 * are under way its submit waits for one of them. -EPROTO: the dialect is unknown here.
 */
int client_negotiate(struct client *client, uint64_t wanted, struct channel **channel,
                     struct ice_why *why);

/*
 * Sends; done is called from a later client_run, or at once when the connection is lost: then too 0
 * is returned. -EAGAIN: IN_FLIGHT_MAX are under way; -EMSGSIZE: more than a frame holds; then done
 * is never called.
 */
int client_submit(struct client *client, struct ice_request *request, struct ice_why *why);
/* Waits for at least one answer or event, delivers all that have come. 0 or -errno. */
int client_run(struct client *client, struct ice_why *why);
unsigned client_in_flight(const struct client *client);

/* Called from client_run, or while another call waits. */
void client_on_event(struct client *client,
                     void (*event)(void *user, enum protocol_event event, uint64_t value),
                     void *user);

/*
 * Replaces poll(2) for a client that one caller alone uses: `wait` waits for `events` on `fd` until
 * `deadline_ms` (of now_ms; -1: none) and returns those that came, 0 at the deadline, or -errno.
 */
typedef int client_wait(void *user, int fd, short events, int64_t deadline_ms);
void client_set_wait(struct client *client, client_wait *wait, void *user);

/*
 * For a caller that polls several clients itself before client_run. client_has_input: something has
 * come in that client_run has not delivered; then it is called without a poll.
 */
int client_fd(const struct client *client);
bool client_has_input(const struct client *client);

/*
 * Control socket: sends [message, tag, map]; `map` is a CBOR map that the caller wrote, sent from
 * where it stands. The result, one item, is in secret memory that the caller frees (secret_free). 0
 * or -errno.
 */
int client_control(struct client *client, enum message message, const uint8_t *map, size_t len,
                   uint8_t **result, size_t *result_len, struct ice_why *why);

#endif
