/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The split virtqueue (virtio 1.3, 2.7). All integers are little-endian; fields are declared by
 * width. Other threads and processes change these bytes at any time: read each once, by the
 * functions of base/bytes.h or atomically.
 */
#ifndef ICESIM_VIRTIO_RING_H
#define ICESIM_VIRTIO_RING_H

#include <stddef.h>
#include <stdint.h>

#define VRING_SIZE_LIMIT 32768u /* entries; a power of two */

#define VRING_DESC_F_NEXT     1u
#define VRING_DESC_F_WRITE    2u
#define VRING_DESC_F_INDIRECT 4u

#define VRING_AVAIL_F_NO_INTERRUPT 1u
#define VRING_USED_F_NO_NOTIFY     1u

#define VRING_DESC_ALIGN  16u
#define VRING_AVAIL_ALIGN 2u
#define VRING_USED_ALIGN  4u

struct vring_desc {
    uint64_t addr; /* guest-physical */
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};

_Static_assert(offsetof(struct vring_desc, len) == 8, "len");
_Static_assert(offsetof(struct vring_desc, flags) == 12, "flags");
_Static_assert(offsetof(struct vring_desc, next) == 14, "next");
_Static_assert(sizeof(struct vring_desc) == 16, "vring_desc");

/* used_event stands behind ring[size]. */
struct vring_avail {
    uint16_t flags;
    uint16_t idx;
    uint16_t ring[];
};

_Static_assert(offsetof(struct vring_avail, ring) == 4, "avail");

struct vring_used_elem {
    uint32_t id; /* head of the chain */
    uint32_t len;
};

_Static_assert(sizeof(struct vring_used_elem) == 8, "vring_used_elem");

/* avail_event stands behind ring[size]. */
struct vring_used {
    uint16_t flags;
    uint16_t idx;
    struct vring_used_elem ring[];
};

_Static_assert(offsetof(struct vring_used, ring) == 4, "used");

/* Bytes of each part of a ring of `size` entries, the event field included. */
static inline size_t vring_desc_bytes(unsigned size)
{
    return size * sizeof(struct vring_desc);
}

static inline size_t vring_avail_bytes(unsigned size)
{
    return sizeof(struct vring_avail) + size * sizeof(uint16_t) + sizeof(uint16_t);
}

static inline size_t vring_used_bytes(unsigned size)
{
    return sizeof(struct vring_used) + size * sizeof(struct vring_used_elem) + sizeof(uint16_t);
}

/* Whether moving an index from `old` to `now` passes `event` (virtio 1.3, 2.7.7.2). */
static inline int vring_passes(uint16_t event, uint16_t now, uint16_t old)
{
    return (uint16_t)(now - event - 1) < (uint16_t)(now - old);
}

#endif
