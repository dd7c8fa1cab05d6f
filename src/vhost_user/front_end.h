/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The front end that is connected: what it negotiated and shared, and the attachment that is its
 * guest's driver. All is for the thread of messages, but for on_event in front_end.c.
 */
#ifndef ICESIM_VHOST_USER_FRONT_END_H
#define ICESIM_VHOST_USER_FRONT_END_H

#include "queue.h"
#include "socket.h"
#include <sys/types.h>

struct front_end {
    /* Of the back end, whoever is connected. */
    struct ice_function *function;
    int events; /* an eventfd, raised when front_end_attend has something to do */
    struct refusal_counts *refused;
    struct queue *queues;
    unsigned queue_count;

    int fd; /* of the connection; -1: nobody is connected, and what follows means nothing */
    struct message in;
    struct ice_attachment *attachment;
    struct guest_memory memory;
    struct inflight log;
    dev_t made_dev; /* the log that was made on this connection … */
    ino_t made_ino; /* … 0: none */
    struct back_channel channel;
    struct queue_host host;
    uint64_t protocol; /* features negotiated */
    uint64_t features; /* as set, bits of rings and of vhost-user included */
    uint8_t status;    /* as the driver set it, whatever the host resets meanwhile */
    uint8_t writeback; /* as set last … */
    bool writeback_set;
    bool untold;          /* of the engine's generation, when its rings run next */
    uint64_t to_announce; /* a generation that the driver is to be told of; 0: none */
    atomic_uint news;     /* of the attachment, by enum attachment_event */
    atomic_uint resets;   /* of the device, by the host */
};

/* Serves connection `fd`, which it takes over; false: it is closed, the log says why. */
bool front_end_open(struct front_end *front, int fd);

/* Halts the rings and lets go of everything. */
void front_end_close(struct front_end *front);

/* Reads messages, as many as are there, within reason. False: it is to be closed. */
bool front_end_receive(struct front_end *front);

/* There is room in the channel: sends what is owed. */
void front_end_pay(struct front_end *front);

/* After `events` was raised. False: it is to be closed. */
bool front_end_attend(struct front_end *front);

/* ---- for messages.c ---- */

/* Whether a ring is started and enabled. */
bool front_end_any_active(const struct front_end *front);

/* All rings, until front_end_settle. */
void front_end_halt(struct front_end *front);

/* Unmaps the rings, all halted: the memory is about to change. */
void front_end_unmap(struct front_end *front);

/* Runs what should run, and nothing else. A refusal: the device does not take the features. */
enum vhost_user_refusal front_end_settle(struct front_end *front);

/* What a ring's features are made of; the device's own. */
uint64_t front_end_ring_features(void);

bool front_end_has(const struct front_end *front, unsigned protocol_feature);

/* The driver writes the device status. -EINVAL: out of order; features that the device does not
 * take are no error, but the bit does not stick. */
int front_end_set_status(struct front_end *front, uint8_t status, struct ice_why *why);

/* A new log is mapped, or none: the thread that touches it is on guard. */
void front_end_guard(struct front_end *front);

/* The driver may have keys of an engine before this one, as the log tells. */
void front_end_recall_generation(struct front_end *front);

/* messages.c: what became of a message. */
enum verdict { VERDICT_GO_ON, VERDICT_CUT_OFF };
enum verdict front_end_message(struct front_end *front);
/* The message that is coming in is refused, before it is understood. */
void message_refuse(struct front_end *front, enum vhost_user_refusal refusal);

#endif
