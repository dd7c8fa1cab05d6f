/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A driver's side of a split ring, in guest memory of three regions: two that touch and one far
 * away, which begins at an odd offset of its file. The driver writes through mappings of its own.
 */
#ifndef ICESIM_TESTS_RING_RIG_H
#define ICESIM_TESTS_RING_RIG_H

#include "vhost_user/vring.h"

#define RIG_REGIONS      3u
#define RIG_REGION_BYTES 0x20000u
#define RIG_LOW          UINT64_C(0x10000) /* guest addresses; LOW and MIDDLE touch */
#define RIG_MIDDLE       (RIG_LOW + RIG_REGION_BYTES)
#define RIG_FAR          UINT64_C(0x500000000)
#define RIG_USER         UINT64_C(0x7f0000000000) /* user address = this + guest address */

/* Where the ring's parts are, and where the tests put tables and data. */
#define RIG_DESC  (RIG_LOW)
#define RIG_AVAIL (RIG_LOW + 0x8000)
#define RIG_USED  (RIG_LOW + 0xa000)
#define RIG_TABLE (RIG_LOW + 0x10000)
#define RIG_DATA  (RIG_MIDDLE + 0x8000)

struct ring_rig {
    int fds[RIG_REGIONS];
    uint8_t *mine[RIG_REGIONS]; /* the driver's mapping of each region */
    struct vhost_user_region regions[RIG_REGIONS];
    struct guest_memory memory;
    struct refusal_counts counts;
    struct vring ring;
    uint16_t avail_idx; /* as the driver published it */
};

/* A mapped ring of `size` entries, all bytes zero; the rig is too large for a stack. */
void ring_rig_start(struct ring_rig *rig, unsigned size);
/* The same memory, zeroed where the ring is, and a new ring of `size` in it. */
void ring_rig_again(struct ring_rig *rig, unsigned size);
void ring_rig_end(struct ring_rig *rig);

/* The driver's own view of a guest address. */
void *rig_bytes(struct ring_rig *rig, uint64_t guest);

/* Writes descriptor `index` of the table at guest address `table`. */
void rig_desc(struct ring_rig *rig, uint64_t table, unsigned index, struct vring_desc desc);

/* Makes `head` available. */
void rig_avail(struct ring_rig *rig, uint16_t head);

#endif
