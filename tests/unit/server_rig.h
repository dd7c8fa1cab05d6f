/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A whole server on a bench: its sockets in a temporary folder, its store behind gates; and a
 * client that writes the bytes of each frame itself, to say what no good client would.
 */
#ifndef ICESIM_TESTS_SERVER_RIG_H
#define ICESIM_TESTS_SERVER_RIG_H

#include "client/client.h"
#include "gate_store.h"
#include "icesim/server.h"
#include "icesim/views.h"
#include "virtio/ice.h"
#include "virtio/virtio.h"

#define RIG_SECTORS 65536u

struct server_rig {
    struct gate_store *gate;
    struct host host;
    struct views *views;
    struct server *server;
    char dir[64];
    char device[96], control[96]; /* socket paths */
};

/* `params` says what differs from the defaults; host and dir are filled in. Failures end the
 * program. */
void server_rig_open(struct server_rig *rig, struct server_params params);
void server_rig_close(struct server_rig *rig);

/* A client of the library, negotiated with all that is offered. */
struct client *server_rig_client(struct server_rig *rig, struct channel **channel);

/* ---- raw frames ---- */

/* A connected socket: raw_socket from any thread, but not for raw_next. */
int raw_socket(const char *path);
int raw_connect(const char *path);
void raw_send(int fd, const void *bytes, size_t len);

/* A REQUEST up to its readable part, of which `readable` bytes are to follow; one writable byte. */
void raw_begin_write(int fd, uint64_t tag, size_t readable);

/* [message, tag, args…], `n` args, all unsigned. */
void raw_message(int fd, unsigned message, unsigned tag, unsigned n, const uint64_t *args);

/* A plain read of `bytes` at sector 0 (16 bytes of header, as ICE is not negotiated). */
void raw_read(int fd, unsigned tag, uint32_t bytes);
size_t raw_read_frame(uint8_t *to, size_t room, unsigned tag, uint32_t bytes);

/* VERSION_1 and DRIVER_OK. */
void raw_negotiate(int fd);

/* What came next: a frame's number, tag and first two further elements. */
struct raw_reply {
    bool end; /* the server closed */
    unsigned message, tag;
    uint64_t value[2];
    size_t bytes;   /* length of the byte string of a REQUEST's reply */
    char text[256]; /* of an ERROR */
};

/* Waits for it; a server that does not answer ends the program. One reader at a time, one
 * connection after the other. */
struct raw_reply raw_next(int fd);

/* For a moment nothing comes. */
bool raw_silent(int fd);

#endif
