/* SPDX-License-Identifier: BSD-2-Clause */
#include "ring_rig.h"
#include "base/bytes.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define FAR_OFFSET 0x1230u /* of the far region in its file */

static void must(bool done)
{
    if (!done)
        abort();
}

void ring_rig_start(struct ring_rig *rig, unsigned size)
{
    static const uint64_t guests[RIG_REGIONS] = {RIG_LOW, RIG_MIDDLE, RIG_FAR};

    *rig = (struct ring_rig){.memory.lost_fd = -1};
    for (unsigned i = 0; i < RIG_REGIONS; i++) {
        uint32_t offset = guests[i] == RIG_FAR ? FAR_OFFSET : 0;
        size_t bytes = RIG_REGION_BYTES + offset;
        rig->fds[i] = memfd_create("guest", MFD_CLOEXEC);
        must(rig->fds[i] >= 0 && !ftruncate(rig->fds[i], (off_t)bytes));
        uint8_t *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, rig->fds[i], 0);
        must(map != MAP_FAILED);
        rig->mine[i] = map + offset;
        rig->regions[i] = (struct vhost_user_region){
            .guest = guests[i],
            .size = RIG_REGION_BYTES,
            .user = RIG_USER + guests[i],
            .mmap_offset = offset,
        };
        must(!guest_memory_add(&rig->memory, &rig->regions[i], rig->fds[i]));
    }
    ring_rig_again(rig, size);
}

void ring_rig_again(struct ring_rig *rig, unsigned size)
{
    memset(rig_bytes(rig, RIG_DESC), 0, vring_desc_bytes(size));
    memset(rig_bytes(rig, RIG_AVAIL), 0, vring_avail_bytes(size));
    memset(rig_bytes(rig, RIG_USED), 0, vring_used_bytes(size));
    rig->avail_idx = 0;
    rig->ring = (struct vring){.memory = &rig->memory, .counts = &rig->counts, .size = size};
    must(!vring_map(&rig->ring, RIG_USER + RIG_DESC, RIG_USER + RIG_AVAIL, RIG_USER + RIG_USED));
}

void ring_rig_end(struct ring_rig *rig)
{
    guest_memory_clear(&rig->memory);
    for (unsigned i = 0; i < RIG_REGIONS; i++) {
        uint64_t offset = rig->regions[i].mmap_offset;
        munmap(rig->mine[i] - offset, RIG_REGION_BYTES + offset);
        close(rig->fds[i]);
    }
}

void *rig_bytes(struct ring_rig *rig, uint64_t guest)
{
    for (unsigned i = 0; i < RIG_REGIONS; i++)
        if (guest - rig->regions[i].guest < RIG_REGION_BYTES)
            return rig->mine[i] + (guest - rig->regions[i].guest);
    abort();
}

void rig_desc(struct ring_rig *rig, uint64_t table, unsigned index, struct vring_desc desc)
{
    uint8_t bytes[sizeof(desc)];

    store_le64(bytes, desc.addr);
    store_le32(bytes + 8, desc.len);
    store_le16(bytes + 12, desc.flags);
    store_le16(bytes + 14, desc.next);
    for (unsigned i = 0; i < sizeof(bytes); i++) /* the table may lie across regions */
        *(uint8_t *)rig_bytes(rig, table + index * sizeof(bytes) + i) = bytes[i];
}

void rig_avail(struct ring_rig *rig, uint16_t head)
{
    struct vring_avail *avail = rig_bytes(rig, RIG_AVAIL);

    avail->ring[rig->avail_idx % rig->ring.size] = htole16(head);
    __atomic_store_n(&avail->idx, htole16(++rig->avail_idx), __ATOMIC_RELEASE);
}
