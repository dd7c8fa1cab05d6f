/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The order of accesses is the specification's (virtio 1.3, 2.7.13 and 2.7.14), made by atomics on
 * the words that both sides share. A word of a descriptor is loaded atomically as well, so that it
 * is read once, whatever a driver does meanwhile.
 */
#include "vring.h"
#include "base/bytes.h"
#include "base/iov.h"

static enum vhost_user_refusal refuse(const struct vring *ring, enum vhost_user_refusal refusal)
{
    return refusal_count(ring->counts, refusal);
}

static bool aligned(const void *address, uintptr_t to)
{
    return !((uintptr_t)address & (to - 1));
}

static uint16_t load_acquire(const uint16_t *word)
{
    return le16toh(__atomic_load_n(word, __ATOMIC_ACQUIRE));
}

static void store_relaxed(uint16_t *word, uint16_t value)
{
    __atomic_store_n(word, htole16(value), __ATOMIC_RELAXED);
}

/* What was stored before is seen by all before anything is loaded behind. */
static void full_fence(void)
{
    __sync_synchronize();
}

/* ---- the ring's parts ---- */

static const uint16_t *used_event(const struct vring *ring)
{
    return &ring->avail->ring[ring->size];
}

static uint16_t *avail_event(const struct vring *ring)
{
    return (uint16_t *)(void *)&ring->used->ring[ring->size];
}

enum vhost_user_refusal vring_map(struct vring *ring, uint64_t desc, uint64_t avail, uint64_t used)
{
    vring_unmap(ring);
    if (!is_power_of_two(ring->size) || ring->size > VRING_SIZE_LIMIT)
        return refuse(ring, REFUSAL_RING_SIZE);

    void *desc_at = guest_memory_user(ring->memory, desc, vring_desc_bytes(ring->size));
    void *avail_at = guest_memory_user(ring->memory, avail, vring_avail_bytes(ring->size));
    void *used_at = guest_memory_user(ring->memory, used, vring_used_bytes(ring->size));
    if (!desc_at || !avail_at || !used_at)
        return refuse(ring, REFUSAL_RING_ADDRESS);
    if (!aligned(desc_at, VRING_DESC_ALIGN) || !aligned(avail_at, VRING_AVAIL_ALIGN) ||
        !aligned(used_at, VRING_USED_ALIGN))
        return refuse(ring, REFUSAL_RING_ALIGNMENT);

    ring->desc = desc_at;
    ring->avail = avail_at;
    ring->used = used_at;
    ring->next_used = load_acquire(&ring->used->idx);
    ring->called = false;
    return REFUSAL_NONE;
}

void vring_unmap(struct vring *ring)
{
    ring->desc = NULL;
    ring->avail = NULL;
    ring->used = NULL;
}

/* ---- what the driver made available ---- */

enum vhost_user_refusal vring_next(struct vring *ring, uint16_t *head, bool *there)
{
    uint16_t ahead = (uint16_t)(vring_available(ring) - ring->next_avail);

    *there = false;
    if (!ahead)
        return REFUSAL_NONE;
    if (ahead > ring->size)
        return refuse(ring, REFUSAL_RING_AVAIL_INDEX);

    const uint16_t *entry = &ring->avail->ring[ring->next_avail & (ring->size - 1)];
    *head = le16toh(__atomic_load_n(entry, __ATOMIC_RELAXED));
    if (*head >= ring->size)
        return refuse(ring, REFUSAL_RING_HEAD);
    ring->next_avail++;
    *there = true;
    return REFUSAL_NONE;
}

uint16_t vring_available(const struct vring *ring)
{
    return load_acquire(&ring->avail->idx);
}

/* A table of descriptors: the ring's, which is aligned and in one piece, or an indirect one. */
struct table {
    const uint64_t *words; /* two a descriptor; NULL: it is not aligned, or lies across regions */
    uint64_t address;      /* guest-physical, of an indirect one */
    unsigned entries;
    bool indirect;
};

struct walk {
    const struct vring *ring;
    struct chain *chain;
    struct table table;
    const struct guest_region *near;
};

static enum vhost_user_refusal read_desc(struct walk *walk, unsigned index, struct vring_desc *desc)
{
    uint64_t words[2];

    if (walk->table.words) {
        const uint64_t *at = &walk->table.words[2 * (size_t)index];
        words[0] = __atomic_load_n(at, __ATOMIC_RELAXED);
        words[1] = __atomic_load_n(at + 1, __ATOMIC_RELAXED);
    } else {
        struct iovec parts[sizeof(words)]; /* regions of a byte each, at worst */
        int n = guest_memory_parts(walk->ring->memory, &walk->near,
                                   walk->table.address + index * sizeof(words), sizeof(words),
                                   parts, ARRAY_SIZE(parts));
        if (n <= 0)
            return REFUSAL_RING_INDIRECT_MEMORY;
        iov_gather(parts, (unsigned)n, 0, words, sizeof(words));
    }
    uint64_t rest = le64toh(words[1]);
    *desc = (struct vring_desc){
        .addr = le64toh(words[0]),
        .len = (uint32_t)rest,
        .flags = (uint16_t)(rest >> 32),
        .next = (uint16_t)(rest >> 48),
    };
    return REFUSAL_NONE;
}

/* Goes on in the table that `desc` points to. */
static enum vhost_user_refusal enter(struct walk *walk, const struct vring_desc *desc)
{
    if (!walk->ring->indirect)
        return REFUSAL_RING_INDIRECT;
    if (walk->table.indirect)
        return REFUSAL_RING_INDIRECT_NESTED;
    if (desc->flags & VRING_DESC_F_NEXT)
        return REFUSAL_RING_INDIRECT_NEXT;
    if (!desc->len || desc->len % sizeof(struct vring_desc))
        return REFUSAL_RING_INDIRECT_LENGTH;
    unsigned entries = desc->len / (unsigned)sizeof(struct vring_desc);
    if (entries > vring_table_limit(walk->ring->size))
        return REFUSAL_RING_INDIRECT_SIZE;

    struct iovec parts[GUEST_REGIONS_MAX];
    int n = guest_memory_parts(walk->ring->memory, &walk->near, desc->addr, desc->len, parts,
                               ARRAY_SIZE(parts));
    if (n <= 0)
        return REFUSAL_RING_INDIRECT_MEMORY;
    bool plain = n == 1 && aligned(parts[0].iov_base, sizeof(uint64_t));
    walk->table = (struct table){
        .words = plain ? parts[0].iov_base : NULL,
        .address = desc->addr,
        .entries = entries,
        .indirect = true,
    };
    return REFUSAL_NONE;
}

static enum vhost_user_refusal add(struct walk *walk, const struct vring_desc *desc)
{
    struct chain *chain = walk->chain;
    unsigned have = chain->readable + chain->writable;
    bool writable = desc->flags & VRING_DESC_F_WRITE;

    if (!desc->len)
        return REFUSAL_RING_LENGTH;
    if (!writable && chain->writable)
        return REFUSAL_RING_ORDER;
    int n = guest_memory_parts(walk->ring->memory, &walk->near, desc->addr, desc->len,
                               chain->parts + have, CHAIN_PARTS_MAX - have);
    if (n == 0)
        return REFUSAL_RING_MEMORY;
    if (n < 0)
        return REFUSAL_RING_PARTS;
    if (writable)
        chain->writable += (unsigned)n;
    else
        chain->readable += (unsigned)n;
    return REFUSAL_NONE;
}

static enum vhost_user_refusal follow(struct walk *walk, uint16_t head)
{
    enum vhost_user_refusal refusal;
    unsigned index = head, left = walk->table.entries;

    for (;;) {
        struct vring_desc desc;
        if (!left--)
            return REFUSAL_RING_LOOP;
        refusal = read_desc(walk, index, &desc);
        if (refusal)
            return refusal;
        if (desc.flags & VRING_DESC_F_INDIRECT) {
            refusal = enter(walk, &desc);
            if (refusal)
                return refusal;
            index = 0;
            left = walk->table.entries;
            continue;
        }
        refusal = add(walk, &desc);
        if (refusal || !(desc.flags & VRING_DESC_F_NEXT))
            return refusal;
        if (desc.next >= walk->table.entries)
            return REFUSAL_RING_NEXT;
        index = desc.next;
    }
}

enum vhost_user_refusal vring_chain(const struct vring *ring, uint16_t head, struct chain *chain)
{
    struct walk walk = {
        .ring = ring,
        .chain = chain,
        .table = {.words = (const uint64_t *)(const void *)ring->desc, .entries = ring->size},
    };

    chain->head = head;
    chain->readable = 0;
    chain->writable = 0;
    enum vhost_user_refusal refusal = follow(&walk, head);
    return refusal ? refuse(ring, refusal) : REFUSAL_NONE;
}

/* ---- what goes back ---- */

void vring_push(struct vring *ring, uint16_t head, uint32_t written)
{
    struct vring_used_elem *elem = &ring->used->ring[ring->next_used & (ring->size - 1)];

    __atomic_store_n(&elem->id, htole32(head), __ATOMIC_RELAXED);
    __atomic_store_n(&elem->len, htole32(written), __ATOMIC_RELAXED);
    ring->next_used++;
    if (ring->next_used == ring->called_at)
        ring->called = false; /* once around: called_at looks like now */
    __atomic_store_n(&ring->used->idx, htole16(ring->next_used), __ATOMIC_RELEASE);
}

bool vring_wants_call(struct vring *ring)
{
    uint16_t now = ring->next_used, before = ring->called_at;
    bool owed = !ring->called;

    if (!owed && now == before)
        return false;
    ring->called_at = now;
    ring->called = true;
    full_fence();
    if (ring->event_idx)
        return owed || vring_passes(load_acquire(used_event(ring)), now, before);
    return !(load_acquire(&ring->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
}

/* With event indices the one that was asked for last stays behind: no kick comes until it is new.
 */
void vring_spare_kick(struct vring *ring)
{
    if (!ring->event_idx)
        store_relaxed(&ring->used->flags, VRING_USED_F_NO_NOTIFY);
}

bool vring_ask_kick(struct vring *ring)
{
    if (ring->event_idx)
        store_relaxed(avail_event(ring), ring->next_avail);
    else
        store_relaxed(&ring->used->flags, 0);
    full_fence();
    return vring_available(ring) != ring->next_avail;
}
