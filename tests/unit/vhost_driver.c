/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's side of a machine: a driver with its rings and requests. */
#include "base/bytes.h"
#include "patience.h"
#include "vhost_rig.h"
#include <poll.h>
#include <sys/eventfd.h>

#define QUIET_MS    50
#define SLOT_BYTES  0x10000u
#define DATA_AT     0x1000u
#define STATUS_AT   0xf000u
#define UNWRITTEN   0xee
#define DESCRIPTORS 3u /* of a request */

/* ---- rings ---- */

void vm_make_available(struct vm *vm, unsigned index, uint16_t head)
{
    struct vm_ring *ring = &vm->rings[index];

    __atomic_store_n(&ring->avail->ring[ring->avail_idx % VM_ENTRIES], htole16(head),
                     __ATOMIC_RELAXED);
    __atomic_store_n(&ring->avail->idx, htole16(++ring->avail_idx), __ATOMIC_RELEASE);
}

void vm_add(struct vm *vm, unsigned index, uint16_t head, const struct vm_part *parts, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct vring_desc *desc = &vm->rings[index].desc[head + i];
        uint16_t flags = (uint16_t)((i + 1 < n ? VRING_DESC_F_NEXT : 0) |
                                    (parts[i].writable ? VRING_DESC_F_WRITE : 0));
        store_le64(&desc->addr, VM_GUEST + parts[i].at);
        store_le32(&desc->len, parts[i].len);
        store_le16(&desc->flags, flags);
        store_le16(&desc->next, (uint16_t)(head + i + 1));
    }
    vm_make_available(vm, index, head);
}

void vm_kick(struct vm *vm, unsigned ring)
{
    eventfd_write(vm->rings[ring].kick, 1);
}

static bool is_used(const struct vm_ring *ring)
{
    return le16toh(__atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE)) != ring->used_idx;
}

bool vm_used(struct vm *vm, unsigned index, struct vring_used_elem *elem)
{
    struct vm_ring *ring = &vm->rings[index];

    if (!soon(is_used(ring)))
        return false;
    const struct vring_used_elem *there = &ring->used->ring[ring->used_idx++ % VM_ENTRIES];
    elem->id = le32toh(__atomic_load_n(&there->id, __ATOMIC_RELAXED));
    elem->len = le32toh(__atomic_load_n(&there->len, __ATOMIC_RELAXED));
    return true;
}

bool vm_is_quiet(struct vm *vm, unsigned ring)
{
    poll(NULL, 0, QUIET_MS);
    return !is_used(&vm->rings[ring]);
}

/* ---- requests ---- */

static uint32_t slot_at(unsigned n)
{
    return VM_DATA + n * SLOT_BYTES;
}

uint8_t *vm_data(struct vm *vm, unsigned n)
{
    return vm->memory + slot_at(n) + DATA_AT;
}

int vm_status(struct vm *vm, unsigned n)
{
    return vm->memory[slot_at(n) + STATUS_AT];
}

void vm_submit(struct vm *vm, unsigned ring, unsigned n, const struct command *command,
               const void *out, size_t len)
{
    uint8_t head[DIALECT_HEAD_MAX];
    size_t head_len = vm->dialect->build(vm->features, command, head);
    uint32_t at = slot_at(n);
    const struct vm_part parts[] = {
        {at, (uint32_t)head_len, false},
        {at + (len ? DATA_AT : STATUS_AT), len ? (uint32_t)len : 1, !out || !len},
        {at + STATUS_AT, 1, true},
    };

    memcpy(vm->memory + at, head, head_len);
    vm->memory[at + STATUS_AT] = UNWRITTEN;
    if (out)
        memcpy(vm->memory + at + DATA_AT, out, len);
    vm_add(vm, ring, (uint16_t)(n * DESCRIPTORS), parts, len ? 3 : 2);
}

int vm_run(struct vm *vm, const struct command *command, void *data, size_t len)
{
    bool write = command->kind == COMMAND_WRITE;
    struct vring_used_elem elem;

    vm_submit(vm, 0, 0, command, write ? data : NULL, len);
    vm_kick(vm, 0);
    if (!vm_used(vm, 0, &elem))
        return -1;
    if (!elem.len)
        return -2;
    if (!write && len && elem.len == len + 1)
        memcpy(data, vm_data(vm, 0), len);
    return vm_status(vm, 0);
}
