/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One client, as the files of the server share it.
 *
 * A connection lives in its lane's table, whose entries are never freed while the lane is there, so
 * a late event of a closed one finds an entry of another generation and is dropped. Its state
 * stands under its lock, but for the input, which belongs to whoever holds `reading`. The lock is
 * never held over a call into the device, and nobody holds two.
 *
 * Whoever changes the state ends with connection_settle: that alone decides whether the connection
 * is to be read, written or closed. A function that runs below the device (a request's done, an
 * event) ends with connection_settle_later, which leaves closing to a worker, since closing waits
 * for the device.
 */
#ifndef ICESIM_ICESIM_CONNECTION_H
#define ICESIM_ICESIM_CONNECTION_H

#include "base/why.h"
#include "budget.h"
#include "device/device.h"
#include "frame/frame.h"
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

struct lane;
struct host;
struct connection;

/* Bytes on their way to the client. */
struct output {
    struct output *next;
    const uint8_t *bytes; /* what is left */
    size_t len;
    /* All sent, or given up. The connection's lock is held. */
    void (*release)(struct connection *connection, struct output *output);
};

/* A REQUEST with its buffer, kept by its connection for the next one. */
struct request {
    struct ice_request device;
    struct connection *connection;
    struct request *next; /* in the cache */
    struct output output;
    struct iovec readable[2], writable[1];
    uint64_t tag;
    size_t received, bulk_len; /* of the readable part */
    size_t writable_len;
    /* FRAME_SECRET bytes: the start of the readable part, perhaps a key; or less, and the reply. */
    uint8_t *secret;
    uint8_t *buffer; /* room for the reply's head, the writable part, room for `why`, the rest */
    size_t capacity;
};

#define SMALL_REPLY_MAX 1024u
#define EVENTS_MAX      64u /* bytes: one event of each kind */

struct connection {
    pthread_mutex_t lock;
    struct lane *lane;
    uint32_t index, generation; /* in the table; generation is raised by each close */
    struct connection *next_free;

    int fd; /* -1: the entry is free */
    struct host *host;
    struct ice_attachment *attachment; /* NULL on a control socket */
    bool forbidden;                    /* the peer may not use this control socket */
    uid_t peer;

    /* Input: of the holder of `reading`. */
    uint8_t *in; /* FRAME_INLINE_MAX bytes of secret memory */
    size_t in_len;
    bool wants_more;           /* what is in `in` is not a whole frame */
    struct request *receiving; /* its bulk is coming */
    bool asked;                /* `waiter` is in the budget's hands */
    uint64_t skip;             /* bytes of a bulk that nobody wants */

    /* Under the lock. */
    bool reading; /* somebody reads, or runs a message that others have to wait for */
    bool sending;
    bool starving;   /* waits for memory */
    bool waits_idle; /* the next message waits until nothing runs */
    bool eof;        /* no further frame is read */
    bool failed;     /* a malformed frame came: input is thrown away until `deadline` */
    bool shut;       /* shutdown for writing is done */
    bool dead;       /* nothing can be sent any more, or nothing shall */
    bool hung_up;    /* epoll says so, over and over */
    bool closing;
    uint32_t armed;      /* epoll events, 0: unknown */
    unsigned busy;       /* requests that hold memory, from first byte to last */
    unsigned running;    /* of those: in the device */
    unsigned submitting; /* threads inside device_submit */
    unsigned still;      /* ticks since a frame or reply was begun or ended, or STALL_BYTES moved */
    size_t moved;        /* bytes of STALL_BYTES */
    int64_t deadline;    /* milliseconds, of `failed` */
    struct output *out_first, *out_last;
    struct request *cache;
    struct budget_waiter waiter;

    /* One reply to a small message; the next message waits until it is gone. */
    struct output small;
    uint8_t small_bytes[SMALL_REPLY_MAX];
    /* A control reply of any length. */
    struct output large;
    struct document document;
    /* Events not yet sent: one of a kind is enough. */
    struct output event;
    uint8_t event_bytes[EVENTS_MAX];
    unsigned events_pending; /* mask by enum attachment_event */
    bool events_sending;
    uint64_t event_value[EVENT_ENGINE_GENERATION + 1];
    /* control.c */
    struct connection *next_job;
    uint64_t job_message, job_tag;
    size_t job_at, job_len; /* the map, in `in` */
};

/* ---- connection.c ---- */

/* Makes a free entry the connection of the accepted socket `fd`, which it owns from now on. What
 * fails is told to the client. */
void connection_open(struct connection *connection, int fd);

/* An epoll event for the entry at `generation`. */
void connection_event(struct connection *connection, uint32_t generation, uint32_t events);

/* Both take the lock held, and drop it. */
void connection_settle(struct connection *connection);
void connection_settle_later(struct connection *connection);

/* The lock is held. Queues, and sends what the socket takes (which drops the lock for a while). */
void connection_queue(struct connection *connection, struct output *output, const uint8_t *bytes,
                      size_t len);

/* A frame or reply was begun or ended; `n` bytes of one have come or gone. The lock is held. */
void connection_progress(struct connection *connection);
void connection_moved(struct connection *connection, size_t n);

/* No further frame is read; closed once all replies are out. */
void connection_finish(struct connection *connection);

/* Closed as soon as nothing runs. */
void connection_cut(struct connection *connection);

/* Memory has been granted to it. */
void connection_fed(struct connection *connection);

/* Every TICK_MS. `now` in milliseconds; `scarce`: others wait for memory. */
void connection_tick(struct connection *connection, int64_t now, bool scarce);

/* ---- receive.c ---- */

/* One turn of reading: the caller set `reading`, and does not hold the lock. */
void connection_receive(struct connection *connection);

/* Drops the first `len` bytes of the input, and wipes them: they may have been key bytes. Of the
 * holder of `reading`. */
void connection_consume(struct connection *connection, size_t len);

/* ---- request.c ---- */

enum taken { TAKEN, TAKEN_WAIT, TAKEN_NO_MEMORY };

/*
 * A request with room for `view`'s frame. TAKEN_WAIT: the connection is `starving`, and will be
 * told when memory is there.
 */
enum taken request_take(struct connection *connection, const struct frame_view *view,
                        struct request **request);

/* Fills `iov` (room for 2) with where the bytes of the bulk go that are missing yet; returns how
 * many. */
unsigned request_missing(const struct request *request, struct iovec *iov);

/* All has come: `running` and `submitting` are counted already. */
void request_submit(struct request *request);

/* The lock is held: back to the cache, or freed when memory is short. Key bytes are wiped. */
void request_put(struct request *request);

/* Frees what is cached. The lock is held. */
void request_free_cache(struct connection *connection);

/* ---- message.c ---- */

enum handled {
    HANDLED_REPLY, /* the reply is in connection->small_bytes, `*len` long */
    HANDLED_WAIT,  /* not before nothing runs */
    HANDLED_JOB,   /* the control thread has it, with `reading` */
};

/* A whole frame that is not a REQUEST; `reading` is held, the lock is not. */
enum handled message_handle(struct connection *connection, const struct frame_view *view,
                            size_t *len);

/* Writes [ERROR, tag, errno, text]; returns its length, at most ERROR_REPLY_MAX. */
#define ERROR_REPLY_MAX 256u
size_t message_error(uint8_t *to, size_t room, uint64_t tag, const struct ice_why *why);

/* Encodes the pending events into event_bytes; returns their length. The lock is held. */
size_t message_events(struct connection *connection);

#endif
