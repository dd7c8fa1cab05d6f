/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A split ring in guest memory, from the device's side: no threads, no descriptors of files, no
 * device. All that is in it is hostile: each byte is read once, and checked.
 *
 * vring_next, vring_chain: one thread at a time. vring_push, vring_wants_call: one thread at a
 * time, which may be another.
 */
#ifndef ICESIM_VHOST_USER_VRING_H
#define ICESIM_VHOST_USER_VRING_H

#include "memory.h"
#include "virtio/ring.h"

/*
 * Parts that a chain may come in. A conforming driver's has SEG_MAX + 2 at most, and a few more
 * where buffers lie across regions.
 */
#define CHAIN_PARTS_MAX 256u

/*
 * Entries of an indirect table of a ring of `size`. The specification lets no chain be longer than
 * the ring, but Linux fills tables of SEG_MAX + 2 entries however small the ring is.
 */
static inline unsigned vring_table_limit(unsigned size)
{
    return size > CHAIN_PARTS_MAX ? size : CHAIN_PARTS_MAX;
}

/* A request as the driver laid it out, readable parts first. */
struct chain {
    uint16_t head;
    unsigned readable, writable; /* parts */
    struct iovec parts[CHAIN_PARTS_MAX];
};

struct vring {
    const struct guest_memory *memory;
    struct refusal_counts *counts; /* what is refused below is counted here */
    unsigned size;                 /* entries, a power of two; 0: not set */
    bool event_idx, indirect;      /* negotiated */
    struct vring_desc *desc;       /* NULL: not mapped */
    struct vring_avail *avail;
    struct vring_used *used;
    uint16_t next_avail; /* the entry to look at next; free-running */
    uint16_t next_used;  /* as published in used->idx */
    uint16_t called_at;  /* next_used when the driver was last considered for a call */
    bool called;         /* called_at means something; else the driver is owed a call */
};

/*
 * Finds the parts of a ring of `size` at the front end's addresses, and reads next_used from it;
 * next_avail is the caller's, at any time. The next vring_wants_call says yes if the driver does. A
 * refusal: no size, an address outside memory, or not aligned; then nothing is mapped.
 */
enum vhost_user_refusal vring_map(struct vring *ring, uint64_t desc, uint64_t avail, uint64_t used);
void vring_unmap(struct vring *ring);

/*
 * The head of the next chain that the driver made available. REFUSAL_NONE with *there false when
 * there is none; a refusal: avail->idx is more than the ring's size ahead, the head is outside it.
 */
enum vhost_user_refusal vring_next(struct vring *ring, uint16_t *head, bool *there);

/* Walks the chain of `head`, below the ring's size, into `chain`. */
enum vhost_user_refusal vring_chain(const struct vring *ring, uint16_t head, struct chain *chain);

/* Where the driver is: the entry that it makes available next. */
uint16_t vring_available(const struct vring *ring);

/* Hands `head` back, `written` bytes of its writable part filled. */
void vring_push(struct vring *ring, uint16_t head, uint32_t written);

/* Whether what was pushed since the last call of this is worth an interrupt, as the driver asked.
 */
bool vring_wants_call(struct vring *ring);

/*
 * Asks for no kicks while we look by ourselves; asks for one again. vring_ask_kick returns true
 * when something was made available meanwhile: look again.
 */
void vring_spare_kick(struct vring *ring);
bool vring_ask_kick(struct vring *ring);

#endif
