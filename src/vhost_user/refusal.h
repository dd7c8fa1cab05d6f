/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a front end, or the driver behind it, does wrong at the level of vhost-user and of rings.
 * One list feeds the checks, the counters, the log, the man page and the tests.
 *
 * A refusal of a message is answered where the front end asked for a reply, and ends the
 * connection. A refusal in a ring stops that ring: its front end is told by VRING_ERR, other rings
 * go on.
 */
#ifndef ICESIM_VHOST_USER_REFUSAL_H
#define ICESIM_VHOST_USER_REFUSAL_H

#include <stdatomic.h>
#include <stdint.h>

/*
 * X(constant, "stable-name", "text"). In a ring; found by vring.c, which counts them.
 */
#define RING_REFUSALS(X)                                                                           \
    X(RING_SIZE, "ring-size", "a ring of no entries, or of a number that is not a power of two")   \
    X(RING_ADDRESS, "ring-address", "a part of a ring is outside the shared memory")               \
    X(RING_ALIGNMENT, "ring-alignment", "a part of a ring is not aligned")                         \
    X(RING_AVAIL_INDEX, "ring-avail-index", "the available index is ahead by more than the ring")  \
    X(RING_HEAD, "ring-head", "the head of a chain is outside the descriptor table")               \
    X(RING_NEXT, "ring-next", "a descriptor's next is outside its table")                          \
    X(RING_LOOP, "ring-loop", "a chain is longer than its table")                                  \
    X(RING_LENGTH, "ring-length", "a descriptor of length zero")                                   \
    X(RING_MEMORY, "ring-memory", "a descriptor is outside the shared memory")                     \
    X(RING_ORDER, "ring-order", "a readable descriptor comes after a writable one")                \
    X(RING_PARTS, "ring-parts", "a chain is of too many parts")                                    \
    X(RING_INDIRECT, "ring-indirect", "an indirect table, which was not negotiated")               \
    X(RING_INDIRECT_NESTED, "ring-indirect-nested", "an indirect table inside another")            \
    X(RING_INDIRECT_NEXT, "ring-indirect-next", "a descriptor of an indirect table has a next")    \
    X(RING_INDIRECT_LENGTH, "ring-indirect-length",                                                \
      "an indirect table's length is zero or no multiple of 16")                                   \
    X(RING_INDIRECT_SIZE, "ring-indirect-size", "an indirect table has too many entries")          \
    X(RING_INDIRECT_MEMORY, "ring-indirect-memory",                                                \
      "an indirect table is outside the shared memory")

/* In what a front end shares; found by memory.c and inflight.c, counted by their caller. */
#define MEMORY_REFUSALS(X)                                                                         \
    X(MEMORY_EMPTY, "memory-empty", "a region of no bytes")                                        \
    X(MEMORY_WRAP, "memory-wrap", "a region that wraps around the address space")                  \
    X(MEMORY_OVERLAP, "memory-overlap", "a region that overlaps another")                          \
    X(MEMORY_FULL, "memory-full", "more regions than there are slots")                             \
    X(MEMORY_FILE, "memory-file", "a region that is longer than its file")                         \
    X(MEMORY_MAP, "memory-map", "a region that cannot be mapped")                                  \
    X(MEMORY_UNKNOWN, "memory-unknown", "a region to remove that was not added")                   \
    X(INFLIGHT_SIZE, "inflight-size",                                                              \
      "a log of requests in flight whose sizes are not those of one")                              \
    X(INFLIGHT_FILE, "inflight-file", "a log of requests in flight that is longer than its file")  \
    X(INFLIGHT_MAP, "inflight-map", "a log of requests in flight that cannot be mapped")           \
    X(INFLIGHT_QUEUE, "inflight-queue", "a ring that the log of requests in flight cannot hold")   \
    X(INFLIGHT_LAYOUT, "inflight-layout", "a log of requests in flight of another layout")

/* In messages; but the first ends the connection at any time, and the last breaks a ring. */
#define MESSAGE_REFUSALS(X)                                                                        \
    X(MEMORY_LOST, "memory-lost", "the file of a region was cut short")                            \
    X(MESSAGE_FLAGS, "message-flags", "a message that is not of version 1, or is a reply")         \
    X(MESSAGE_UNKNOWN, "message-unknown", "a message that means nothing here")                     \
    X(MESSAGE_SIZE, "message-size", "a payload of another size than the message has")              \
    X(MESSAGE_FDS, "message-fds", "more or fewer descriptors than the message takes")              \
    X(MESSAGE_CUT, "message-cut", "the connection ended within a message")                         \
    X(MESSAGE_PROTOCOL, "message-protocol", "its protocol feature was not negotiated")             \
    X(REPLY_UNREAD, "reply-unread", "the front end does not read its replies")                     \
    X(FEATURES_FOREIGN, "features-foreign", "features that were not offered")                      \
    X(FEATURES_LATE, "features-late",                                                              \
      "other features, while rings run or once FEATURES_OK is set")                                \
    X(FEATURES_REFUSED, "features-refused", "the device does not take the features")               \
    X(STATUS_ORDER, "status-order", "a device status that is none, or comes out of order")         \
    X(CONFIG_WINDOW, "config-window", "a window that is not within the configuration space")       \
    X(QUEUE_INDEX, "queue-index", "there is no such ring")                                         \
    X(QUEUE_SIZE, "queue-size", "a ring size that is no power of two up to 32768")                 \
    X(QUEUE_BASE, "queue-base", "an index into a ring that is above 65535")                        \
    X(QUEUE_ENABLE, "queue-enable", "a ring is enabled by neither 0 nor 1")                        \
    X(QUEUE_STARTED, "queue-started", "what is settled when a ring is started")                    \
    X(QUEUE_UNREADY, "queue-unready", "a ring is started without size, addresses or memory")       \
    X(EVENT_FD, "event-fd", "a descriptor that is no eventfd, pipe or socket")                     \
    X(CHANNEL_FD, "channel-fd", "a descriptor that is no socket")                                  \
    X(KICK_END, "kick-end", "its descriptor of kicks cannot be read any more")

#define VHOST_USER_REFUSALS(X)                                                                     \
    RING_REFUSALS(X)                                                                               \
    MEMORY_REFUSALS(X)                                                                             \
    MESSAGE_REFUSALS(X)

enum vhost_user_refusal {
    REFUSAL_NONE,
#define X(constant, name, text) REFUSAL_##constant,
    VHOST_USER_REFUSALS(X)
#undef X
        REFUSALS
};

const char *refusal_name(enum vhost_user_refusal refusal);
const char *refusal_text(enum vhost_user_refusal refusal);

/* How often each was met, over the life of a back end. */
struct refusal_counts {
    _Atomic uint64_t of[REFUSALS];
};

static inline enum vhost_user_refusal refusal_count(struct refusal_counts *counts,
                                                    enum vhost_user_refusal refusal)
{
    atomic_fetch_add_explicit(&counts->of[refusal], 1, memory_order_relaxed);
    return refusal;
}

#endif
