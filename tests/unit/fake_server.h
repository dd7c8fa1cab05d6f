/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A server that does what a test's script says, on a thread of its own, over a real socket. It
 * serves one connection.
 */
#ifndef ICESIM_TESTS_FAKE_SERVER_H
#define ICESIM_TESTS_FAKE_SERVER_H

#include "frame/frame.h"

struct fake_server {
    int fd;      /* of the connection */
    uint8_t *in; /* the frame under way, then what follows */
    size_t in_len;
    size_t frame_len; /* bytes of the frame that fake_next returned */
    uint64_t status;  /* of the device, as fake_setup was told */
    struct writer out;
    uint8_t out_bytes[1024];
};

typedef void fake_script(struct fake_server *server);

/* Listens on vm0.sock in a folder of its own; returns the path, valid until fake_stop. */
const char *fake_start(fake_script *script);

/* Waits for the script's end and removes the socket. */
void fake_stop(void);

/* The next frame, whole; its bulk begins at fake_bulk. False at the end of the connection. */
bool fake_next(struct fake_server *server, struct frame_view *view);
const uint8_t *fake_bulk(const struct fake_server *server, const struct frame_view *view);

/* The frame's arguments. */
struct reader fake_args(const struct fake_server *server, const struct frame_view *view);

/* Begins [message, tag, …] with `args` elements to come; write them to server->out. */
void fake_begin(struct fake_server *server, uint64_t message, uint64_t tag, unsigned args);
/* Sends what was begun. */
void fake_end(struct fake_server *server);
void fake_send(struct fake_server *server, const void *bytes, size_t len);

/* [8, tag, written, why]: `len` bytes, the last of them `status`, the others `fill`. */
void fake_written(struct fake_server *server, uint64_t tag, size_t len, uint8_t fill,
                  uint8_t status, const struct ice_why *why);

/*
 * Answers a message on features (all are offered), status, configuration (zeros) or an
 * acknowledgement, which goes well. False: it is a request.
 */
bool fake_setup(struct fake_server *server, const struct frame_view *view);

/* Answers hello as function vm0 with dialect ice2. */
void fake_hello(struct fake_server *server);

#endif
