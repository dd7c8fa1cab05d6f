/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A ring with its thread. Messages change a queue while its thread does not run; the thread owns
 * the ring while it does. Halting waits for requests in flight and loses none: what the device did
 * not take, as it was reset, is handed in again when the ring runs next.
 *
 * All but queue_poke and queue_count is for the thread of messages alone.
 */
#ifndef ICESIM_VHOST_USER_QUEUE_H
#define ICESIM_VHOST_USER_QUEUE_H

#include "back_channel.h"
#include "device/device.h"
#include "inflight.h"
#include "vring.h"
#include "worker.h"
#include <pthread.h>

/* What the rings of a front end share. All but `announced` changes only while none runs. */
struct queue_host {
    const char *name; /* of the function */
    struct ice_attachment *attachment;
    struct guest_memory *memory;
    struct inflight *log;
    struct back_channel *channel;
    struct refusal_counts *refused;
    bool in_band;             /* kicks, calls and errors without a descriptor go by messages */
    bool event_idx, indirect; /* negotiated */
    /* The engine's generation that the driver was told of, for what is behind the marks; 0: none */
    _Atomic uint64_t announced;
};

/* A chain to submit. */
struct turn {
    uint16_t head;
    bool taken;    /* it is in the log already: the ring was asked for it before */
    bool replayed; /* a process that is no more had it */
};

/* A request from the ring, while the device has it. */
struct ring_request {
    struct ice_request request;
    struct queue *queue;
    struct ring_request *next; /* of the spare ones */
    struct chain chain;
};

#define MARKED     (UINT32_C(1) << 16)
#define MARK_LATER (UINT32_C(1) << 17) /* the ring is not mapped */

struct queue {
    const struct queue_host *host;
    unsigned index;

    /* As the front end said. The base is vring.next_avail. */
    unsigned size;
    bool addressed; /* the addresses are known: its own, of desc, avail, used */
    uint64_t desc, avail, used;
    int kick, call, err; /* -1: none */
    bool started, enabled;

    /* What was replayed, and put back before its turn came, stands in the ring from … */
    uint16_t replayed_at;
    unsigned replayed; /* … on, so many entries */

    bool running;  /* there is a thread */
    bool prepared; /* since it was started: there are requests, the log was looked into */
    struct worker worker;
    int wake; /* an eventfd that the thread looks at beside the kick */
    atomic_bool stop;
    atomic_bool broken;    /* until queue_rewind */
    _Atomic uint32_t mark; /* MARKED | an available index; MARK_LATER; 0: none */

    /* The thread's. */
    struct vring vring;
    struct ring_request *current; /* for the next chain; NULL: see `spare` */
    uint64_t idle_since;          /* when the ring was found empty; 0: it is not */
    unsigned misses;              /* spins that ended with nothing, lately; MISSES_MOST at most */
    unsigned unspun;              /* times since that it was empty, and no spin was tried */
    unsigned untold;              /* requests done since the driver was considered for a call … */
    size_t untold_bytes;          /* … and what they carried */

    /* Of what is in flight; done may come on any thread. */
    pthread_mutex_t lock;
    pthread_cond_t returned;
    struct inflight_queue log;
    unsigned in_flight;
    struct ring_request *requests; /* one for each entry; touched as they are needed */
    size_t requests_bytes;
    unsigned made; /* of them so far */
    struct ring_request *spare;
    struct turn *again; /* the next one last; room for twice the ring */
    atomic_uint again_count;

    _Atomic uint64_t taken, kicks, calls; /* since queue_init */
};

/* 0 or -errno. queue_free: when it does not run. */
int queue_init(struct queue *queue, unsigned index, const struct queue_host *host);
void queue_free(struct queue *queue);

/* Whether the front end wants the ring to run, and has said all that it takes. */
bool queue_is_active(const struct queue *queue);
bool queue_should_run(const struct queue *queue); /* and it is not broken */

/*
 * Starts the thread of a ring that should run and does not, if the ring is in memory that is
 * shared. Another failure breaks it. True: it is marked only now, so the driver is to be told
 * again.
 */
bool queue_run(struct queue *queue);

/*
 * Requests that are available by now were sent by a driver that is unaware of what comes. Those of
 * a ring that is not mapped are looked for when it runs.
 */
void queue_mark(struct queue *queue);

/* Waits until the ring's thread has ended, and all that was in flight. */
void queue_halt(struct queue *queue);

/*
 * Halts, and puts back into the ring what was taken and not run: that is what was taken last, as a
 * ring's requests are done in the order they came. The ring may be set up anew, or go on.
 */
void queue_rewind(struct queue *queue);

/* GET_VRING_BASE: rewinds, forgets start, kick and call. */
void queue_end(struct queue *queue);

/* RESET_DEVICE: the same, and who drives it next is another driver. */
void queue_reset(struct queue *queue);

/* Hang-up: halts and forgets everything; what is in the ring and in the log stays there. */
void queue_forget(struct queue *queue);

/* Makes the thread look at its ring and at what has changed. */
void queue_poke(struct queue *queue);

#endif
