/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest's memory, as its front end shares it: regions of files, mapped here, kept out of cores.
 *
 * Changes (add, remove, clear) are made while nobody else uses the table; translation is for any
 * number of threads between changes.
 *
 * A front end may cut a file short under our feet. A thread that touches guest memory is on guard:
 * the SIGBUS of such a touch puts private zeros in the place of that whole region and marks the
 * memory as lost, and the touch goes on. So no code between has to be left half way; who owns the
 * memory looks at guest_memory_lost afterwards and ends the connection.
 */
#ifndef ICESIM_VHOST_USER_MEMORY_H
#define ICESIM_VHOST_USER_MEMORY_H

#include "base/why.h"
#include "refusal.h"
#include "virtio/vhost_user.h"
#include <stdbool.h>
#include <stddef.h>
#include <sys/uio.h>

#define GUEST_REGIONS_MAX 64u /* what GET_MAX_MEM_SLOTS answers */

struct guest_region {
    uint64_t guest, size, user; /* as in struct vhost_user_region */
    uint8_t *bytes;             /* of address `guest` */
    void *map;                  /* what was mapped, from the file's start … */
    size_t map_bytes;           /* … so mmap_offset + size bytes */
};

struct guest_memory {
    struct guest_region regions[GUEST_REGIONS_MAX];
    unsigned count;
    _Atomic bool lost;
    int lost_fd; /* an eventfd that is raised then; -1: none */
};

/*
 * Maps a region; `fd` stays the caller's, who may close it at once. REFUSAL_NONE, or: it is empty,
 * wraps around, overlaps another, there are too many, the file is shorter, mmap fails.
 */
enum vhost_user_refusal guest_memory_add(struct guest_memory *memory,
                                         const struct vhost_user_region *region, int fd);

/* Unmaps the region that is just this, mmap_offset aside; a refusal when there is none. */
enum vhost_user_refusal guest_memory_remove(struct guest_memory *memory,
                                            const struct vhost_user_region *region);

void guest_memory_clear(struct guest_memory *memory);

/*
 * Guest-physical `address`, `len` bytes (not 0), as parts of our address space. Returns the number
 * of parts: 0 when a byte is outside every region, -1 when `room` is too small. *near is the region
 * of the last translation, where this one begins to look, or NULL; it is good until the next
 * change.
 */
int guest_memory_parts(const struct guest_memory *memory, const struct guest_region **near,
                       uint64_t address, uint64_t len, struct iovec *parts, unsigned room);

/* Where the front end's address `user` is here, `len` bytes in one region; NULL: nowhere. */
void *guest_memory_user(const struct guest_memory *memory, uint64_t user, size_t len);

/*
 * A system call could not reach these parts (EFAULT), and raises no SIGBUS: this thread, on guard,
 * looks at each page of them, which does.
 */
void guest_memory_touch(const struct iovec *parts, unsigned n);

static inline bool guest_memory_lost(const struct guest_memory *memory)
{
    return memory->lost;
}

/*
 * This thread touches `memory` from now on, until it says NULL. `extra` bytes at `also` are guarded
 * with it (a log of requests in flight); may be NULL and 0. The first call in the process installs
 * the handler; a SIGBUS elsewhere ends the process as ever.
 */
void guest_memory_guard(struct guest_memory *memory, void *also, size_t extra);

#endif
