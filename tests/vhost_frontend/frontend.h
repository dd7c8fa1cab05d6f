/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A vhost-user front end with a virtio-blk driver behind it, for tests and benchmarks: it speaks to
 * a back end as a VMM does, and drives split rings in memory of its own as a guest does. It shares
 * no code with src/vhost_user.
 *
 * Threads: a queue belongs to one thread at a time; all else to one thread, while no queue is used.
 * Functions return 0 or -errno and say the cause in `why`, which may be NULL.
 *
 * The memory and the rings outlive a connection: after the back end is gone, frontend_connect finds
 * what is in flight still in the rings, and hands the log of it to the next back end.
 */
#ifndef ICESIM_TESTS_FRONTEND_H
#define ICESIM_TESTS_FRONTEND_H

#include "dialect/channel.h"
#include "virtio/ring.h"
#include "virtio/vhost_user.h"
#include "virtio/virtio.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#define FRONTEND_PARTS_MAX  130u /* parts of one request */
#define FRONTEND_QUEUES_MAX 17u  /* 16 of requests, one of control */

struct frontend;
struct frontend_queue;

struct frontend_options {
    const char *path; /* the back end's socket */
    /* NULL: ice2. Without its feature bits the requests are virtio-blk's own. */
    const struct dialect *dialect;
    /* What is negotiated, as far as it is offered and known here: of the device and the rings
     * (frontend_all_features), and of the protocol; VHOST_USER_F_PROTOCOL_FEATURES is among the
     * former. */
    uint64_t features, protocol;
    unsigned queues;     /* of requests; the dialect's control queue comes in addition */
    unsigned queue_size; /* entries, a power of two */
    unsigned regions;    /* that the memory is shared in, adjacent: a buffer may lie in two */
    size_t memory;       /* bytes for frontend_alloc; rings come in addition */
    int timeout_ms;      /* for the answer to a message, and for a back end to be there */
    bool every_kick;     /* kick though the device asks for none */
    bool every_call;     /* ask for each call, though not waiting */
    bool spin;           /* wait by looking at the ring, and ask for no call at all */
};

/*
 * Features that this driver knows, all of them; and an options struct with the usual: everything
 * negotiated, one queue of 128, two regions, 32 MiB, 60 s.
 */
uint64_t frontend_all_features(void);
struct frontend_options frontend_usual(const char *path);

/* Memory and rings; nothing is connected yet. */
int frontend_new(const struct frontend_options *options, struct frontend **frontend,
                 struct ice_why *why);
/* Hangs up first; NULL is allowed. */
void frontend_free(struct frontend *frontend);

/*
 * Memory that the guest and so the device can see: zeros, aligned to `align`, until frontend_free.
 * NULL when options.memory is used up.
 */
void *frontend_alloc(struct frontend *frontend, size_t len, size_t align);

/*
 * Connects, negotiates, shares memory, starts all rings; with STATUS, up to DRIVER_OK. It tries
 * until timeout_ms while nobody listens. A second time: a back end that died is replaced, the rings
 * go on, and what is in flight is in the log.
 */
int frontend_connect(struct frontend *frontend, struct ice_why *why);

/* Closes the sockets, without a word before. What is in flight stays in the rings. */
void frontend_hang_up(struct frontend *frontend);

/* Stops all rings (GET_VRING_BASE), after which the device has none of their requests; and starts
 * them again where they were. */
int frontend_stop(struct frontend *frontend, struct ice_why *why);
int frontend_start(struct frontend *frontend, struct ice_why *why);

/* ---- what the back end says of the device ---- */

uint64_t frontend_offered(const struct frontend *frontend);
uint64_t frontend_features(const struct frontend *frontend); /* negotiated */
uint64_t frontend_offered_protocol(const struct frontend *frontend);
uint64_t frontend_protocol(const struct frontend *frontend);    /* negotiated */
unsigned frontend_queue_limit(const struct frontend *frontend); /* GET_QUEUE_NUM; 1: no MQ */
pid_t frontend_peer(const struct frontend *frontend);           /* who listened */

/* The configuration space as parsed by the dialect, read anew. */
int frontend_config(struct frontend *frontend, struct function_config *config, struct ice_why *why);
int frontend_read_config(struct frontend *frontend, uint32_t offset, void *buffer, uint32_t len,
                         struct ice_why *why);
int frontend_get_status(struct frontend *frontend, uint8_t *status, struct ice_why *why);
int frontend_set_status(struct frontend *frontend, uint8_t status, struct ice_why *why);

/* Reads what has come on the back end's channel, without waiting. */
void frontend_listen(struct frontend *frontend);
/* Waits until there were more than `seen` CONFIG_CHANGE; -ETIMEDOUT, -ECONNRESET. */
int frontend_wait_change(struct frontend *frontend, uint64_t seen, int timeout_ms);

/* ---- requests ---- */

/*
 * The caller's, with its parts, until done. All parts lie in memory of frontend_alloc; the head of
 * a request is what frontend_build writes or what the test wants.
 */
struct frontend_request {
    const struct iovec *readable, *writable;
    unsigned nreadable, nwritable; /* FRONTEND_PARTS_MAX in all, and the ring's size at most */
    /* From frontend_poll. `written` as the device said. May submit. */
    void (*done)(struct frontend_request *request, uint32_t written);
    uint16_t head; /* in the ring, while in flight */
};

/* Of requests; then the control queue, where there is one. */
struct frontend_queue *frontend_queue(struct frontend *frontend, unsigned index);
unsigned frontend_queues(const struct frontend *frontend);

/* Makes it available; 0, or -EAGAIN when the ring has no room. Nothing is allocated. */
int frontend_submit(struct frontend_queue *queue, struct frontend_request *request);

/* Kicks for what was submitted since, if the device wants to know. */
void frontend_kick(struct frontend_queue *queue);

/* Calls done of what the device has handed back; returns their number. */
unsigned frontend_poll(struct frontend_queue *queue);

/*
 * Sleeps until there is something to poll; looks at frontend_listen too. 0; -ETIMEDOUT; -ECONNRESET
 * when the back end has hung up and nothing is left to poll; -EPIPE when it gave the ring up
 * (VRING_ERR). timeout_ms -1: none.
 */
int frontend_wait(struct frontend_queue *queue, int timeout_ms);
/* The same for all queues, which are the caller's thread's then. */
int frontend_wait_any(struct frontend *frontend, int timeout_ms);

unsigned frontend_in_flight(const struct frontend_queue *queue);

/*
 * Heads of requests that a dead back end had taken and not handed back, by the log; `heads` has
 * room for a ring's size. Returns their number; 0 without a log.
 */
unsigned frontend_taken(const struct frontend_queue *queue, uint16_t *heads);

/* ---- what happened ---- */

struct frontend_counts {
    uint64_t requests, kicks, calls; /* over all queues; calls got, by descriptor or message */
    uint64_t config_changes, ring_errors;
    uint64_t connects;
};

/* Any thread. */
void frontend_count(struct frontend *frontend, struct frontend_counts *counts);

/* ---- as a driver ---- */

/* The head of `command` in the dialect, as negotiated, into `head`; and the queue it goes to. */
size_t frontend_build(struct frontend *frontend, const struct command *command,
                      uint8_t head[static DIALECT_HEAD_MAX]);
unsigned frontend_command_queue(struct frontend *frontend, const struct command *command);

/*
 * A channel whose submit waits for the answer, while it polls the queue; buffers are copied to and
 * from the guest's memory, at most `room` bytes of data (the first call allocates). After
 * frontend_connect; frontend_free ends it. One thread at a time on a queue, as ever.
 */
int frontend_channel(struct frontend *frontend, size_t room, struct channel **channel,
                     struct ice_why *why);

#endif
