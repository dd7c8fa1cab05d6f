/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hostile drivers and front ends, by a seeded generator: rings, indirect tables, regions and logs
 * of requests in flight that are wrong in each way the list of refusals knows, and in ways that it
 * does not. Half of the cases begin with an honest ring and spoil one thing, which must be refused
 * as just that; the rest are wild. In some a second thread writes into the ring meanwhile. Whatever
 * comes, parts lie in guest memory, and walks end. Given a number, it runs that case alone.
 */
#include "base/bytes.h"
#include "ring_rig.h"
#include "sanitizers.h"
#include "storm.h"
#include "tap.h"
#include "vhost_user/inflight.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define NEXT     VRING_DESC_F_NEXT
#define WRITE    VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

#define NOWHERE (RIG_FAR - 64) /* 64 bytes that are no memory, then memory */
#define PAGE    4096u

static struct ring_rig rig;
static struct chain chain;
static int sealed;      /* a file that cannot be mapped for writing */
static bool scribbling; /* a case whose ring changes under it */

/* ---- invariants ---- */

static bool within_memory(const struct iovec *part)
{
    for (unsigned i = 0; i < rig.memory.count; i++) {
        const struct guest_region *region = &rig.memory.regions[i];
        size_t offset = (size_t)((uint8_t *)part->iov_base - region->bytes);
        if (offset < region->size && part->iov_len <= region->size - offset)
            return true;
    }
    return false;
}

static bool chain_is_sane(void)
{
    unsigned parts = chain.readable + chain.writable;

    if (!parts || parts > CHAIN_PARTS_MAX)
        return false;
    for (unsigned i = 0; i < parts; i++)
        if (!chain.parts[i].iov_len || !within_memory(&chain.parts[i]))
            return false;
    return true;
}

/* What a back end does until the ring is empty or refused; false: an invariant is broken. */
static bool drain(enum vhost_user_refusal *refusal)
{
    uint16_t head;
    bool there;

    for (unsigned taken = 0; taken <= 2 * VRING_SIZE_LIMIT; taken++) {
        *refusal = vring_next(&rig.ring, &head, &there);
        if (*refusal || !there)
            return true;
        *refusal = vring_chain(&rig.ring, head, &chain);
        if (*refusal)
            return true;
        if (!chain_is_sane())
            return false;
        vring_push(&rig.ring, head, 1);
        vring_wants_call(&rig.ring);
    }
    return scribbling; /* only a ring that changes gives more heads than it has entries */
}

/* ---- an honest ring, spoiled in one thing ---- */

static void desc(uint64_t table, unsigned index, uint64_t addr, uint32_t len, unsigned flags,
                 unsigned next)
{
    rig_desc(&rig, table, index, (struct vring_desc){addr, len, (uint16_t)flags, (uint16_t)next});
}

struct plan {
    unsigned size, count; /* of the ring; of the descriptors of the chain */
    uint64_t table;       /* that the chain is in, guest address */
    unsigned entries;     /* of it */
    uint16_t head;        /* its first in the ring */
    uint64_t d, a, u;     /* where the ring is said to be */
};

static unsigned flags_of(const struct plan *plan, unsigned i)
{
    return (i + 1 < plan->count ? NEXT : 0) | (i >= (plan->count + 1) / 2 ? WRITE : 0);
}

/* Descriptor `i` of the chain, of `len` bytes at `addr`; they stand one behind the other. */
static void set(const struct plan *plan, unsigned i, uint64_t addr, uint32_t len, unsigned flags)
{
    desc(plan->table, i, addr, len, flags, i + 1);
}

static void plan_honest(struct plan *plan)
{
    plan->size = 2u << pick(8);
    plan->count = 1 + pick(plan->size < 64 ? plan->size : 64);
    plan->d = RIG_DESC;
    plan->a = RIG_AVAIL;
    plan->u = RIG_USED;
    plan->head = 0;
    ring_rig_again(&rig, plan->size);
    rig.ring.event_idx = chance(50);
    rig.ring.indirect = chance(60);
    plan->table = RIG_DESC;
    plan->entries = plan->size;
    if (rig.ring.indirect && chance(50)) {
        plan->table = chance(70) ? RIG_TABLE + pick(64) : RIG_MIDDLE - 8 - pick(64);
        plan->entries = plan->count;
        plan->head = (uint16_t)pick(plan->size);
        desc(RIG_DESC, plan->head, plan->table, plan->count * 16, INDIRECT, 0);
    }
    for (unsigned i = 0; i < plan->count; i++)
        set(plan, i, (chance(50) ? RIG_FAR : RIG_DATA) + pick(0x8000), 1 + pick(0x8000),
            flags_of(plan, i));
}

/* A table of one good descriptor at RIG_TABLE, and a chain that is just that. */
static void plan_indirect(struct plan *plan, uint32_t len, unsigned flags)
{
    rig.ring.indirect = true;
    plan->head = 0;
    desc(RIG_TABLE, 0, RIG_DATA, 1, WRITE, 0);
    desc(RIG_DESC, 0, RIG_TABLE, len, INDIRECT | flags, 0);
}

static void spoil_ring(struct plan *plan, enum vhost_user_refusal how)
{
    uint64_t *part[] = {&plan->d, &plan->a, &plan->u};
    unsigned which = pick(3);

    if (how == REFUSAL_RING_SIZE)
        rig.ring.size = chance(30) ? 0 : chance(50) ? 65536u << pick(8) : plan->size + 1;
    else if (how == REFUSAL_RING_ADDRESS)
        *part[which] = chance(50) ? RIG_MIDDLE + RIG_REGION_BYTES - 8 : NOWHERE;
    else
        *part[which] += 1 + 2 * pick(8);
}

static void spoil_avail(struct plan *plan, enum vhost_user_refusal how)
{
    struct vring_avail *avail = rig_bytes(&rig, RIG_AVAIL);

    if (how == REFUSAL_RING_AVAIL_INDEX)
        avail->idx = htole16((uint16_t)(plan->size + 1 + pick(65535 - plan->size)));
    else
        avail->ring[0] = htole16((uint16_t)(plan->size + pick(65536 - plan->size)));
}

static void spoil_chain(struct plan *plan, enum vhost_user_refusal how)
{
    unsigned at = pick(plan->count), last = plan->count - 1;

    if (how == REFUSAL_RING_NEXT)
        desc(plan->table, last, RIG_DATA, 1, NEXT | WRITE,
             plan->entries + pick(65536 - plan->entries));
    else if (how == REFUSAL_RING_LOOP)
        desc(plan->table, last, RIG_DATA, 1, NEXT | (plan->count > 1 ? WRITE : 0), last);
    else if (how == REFUSAL_RING_LENGTH)
        set(plan, at, RIG_DATA, 0, flags_of(plan, at));
    else if (how == REFUSAL_RING_MEMORY)
        set(plan, at, chance(50) ? NOWHERE - pick(100) : UINT64_MAX - pick(100), 1 + pick(5000),
            flags_of(plan, at));
    else if (how == REFUSAL_RING_ORDER) {
        desc(RIG_DESC, 0, RIG_DATA, 1, WRITE | NEXT, 1);
        desc(RIG_DESC, 1, RIG_DATA, 1, 0, 0);
        plan->head = 0;
    } else { /* REFUSAL_RING_PARTS */
        plan->size = 512;
        plan->head = 0;
        ring_rig_again(&rig, plan->size);
        for (unsigned i = 0; i < 257; i++)
            desc(RIG_DESC, i, RIG_DATA, 1, i < 256 ? NEXT : 0, i + 1);
    }
}

static void spoil_indirect(struct plan *plan, enum vhost_user_refusal how)
{
    unsigned limit = vring_table_limit(plan->size);

    switch (how) {
    case REFUSAL_RING_INDIRECT:
        plan_indirect(plan, 16, 0);
        rig.ring.indirect = false;
        return;
    case REFUSAL_RING_INDIRECT_NESTED:
        plan_indirect(plan, 16, 0);
        desc(RIG_TABLE, 0, RIG_TABLE + 64 * pick(2), 16, INDIRECT, 0);
        return;
    case REFUSAL_RING_INDIRECT_NEXT:
        plan_indirect(plan, 16, NEXT);
        return;
    case REFUSAL_RING_INDIRECT_LENGTH:
        plan_indirect(plan, chance(20) ? 0 : 16 * pick(1 << 20) + 1 + pick(15), 0);
        return;
    case REFUSAL_RING_INDIRECT_SIZE:
        plan_indirect(plan, 16 * (limit + 1 + pick((1u << 28) - limit - 1)), 0);
        return;
    default: /* REFUSAL_RING_INDIRECT_MEMORY */
        plan_indirect(plan, 16, 0);
        desc(RIG_DESC, 0, NOWHERE - pick(1000), 16 * (1 + pick(4)), INDIRECT, 0);
    }
}

static void spoil(struct plan *plan, enum vhost_user_refusal how)
{
    if (how <= REFUSAL_RING_ALIGNMENT)
        spoil_ring(plan, how);
    else if (how <= REFUSAL_RING_HEAD)
        spoil_avail(plan, how);
    else if (how <= REFUSAL_RING_PARTS)
        spoil_chain(plan, how);
    else
        spoil_indirect(plan, how);
}

/* `how` REFUSAL_NONE: an honest ring. */
static bool spoiled_ring(enum vhost_user_refusal how)
{
    struct plan plan;
    enum vhost_user_refusal got;

    plan_honest(&plan);
    bool late = how && how > REFUSAL_RING_HEAD;
    if (late)
        spoil(&plan, how);
    rig_avail(&rig, plan.head);
    if (how && !late)
        spoil(&plan, how);
    got = vring_map(&rig.ring, RIG_USER + plan.d, RIG_USER + plan.a, RIG_USER + plan.u);
    if (!got && !drain(&got))
        return false;
    return got == how && (how || rig.ring.next_used == 1);
}

/* ---- wild rings ---- */

static uint64_t wild_address(void)
{
    static const uint64_t near[] = {RIG_LOW, RIG_MIDDLE, RIG_FAR, RIG_TABLE, RIG_DATA, 0};
    uint64_t base = near[pick(ARRAY_SIZE(near))];

    if (chance(3))
        return number() << pick(20);
    return base + (chance(80) ? pick(RIG_REGION_BYTES) : (uint64_t)pick(100)) -
           (chance(5) ? 50 : 0);
}

static void wild_desc(uint64_t table, unsigned index, unsigned entries)
{
    unsigned flags = chance(70) ? NEXT : 0;

    flags |= (chance(40) ? WRITE : 0) | (chance(8) ? INDIRECT : 0);
    if (chance(2))
        flags = pick(65536);
    uint32_t len = chance(90) ? 1 + pick(200) : (uint32_t)number() >> pick(32);
    if (flags & INDIRECT && chance(90)) {
        len = 16 * (1 + pick(20));
        flags &= ~(chance(80) ? NEXT : 0u);
    }
    desc(table, index, wild_address(), len, flags, chance(97) ? pick(entries) : pick(65536));
}

static bool wild_ring(void)
{
    enum vhost_user_refusal refusal;
    unsigned size = 1u << pick(9);

    ring_rig_again(&rig, size);
    rig.ring.indirect = chance(80);
    rig.ring.event_idx = chance(50);
    for (unsigned i = 0; i < size; i++)
        wild_desc(RIG_DESC, i, size);
    for (unsigned i = 0; i < 24; i++) {
        wild_desc(RIG_TABLE, i, 24);
        wild_desc(RIG_MIDDLE - 200, i, 24);
    }
    for (unsigned n = 1 + pick(size); n > 0; n--)
        rig_avail(&rig, (uint16_t)(chance(99) ? pick(size) : pick(65536)));
    return drain(&refusal);
}

/* ---- a ring that changes while it is read ---- */

static _Atomic bool scribble;

/* Writes whole words, by the device's own mapping, so that a thread sanitizer sees all of it. */
static void *scribbler(void *unused)
{
    uint8_t *table = rig.memory.regions[0].bytes + (RIG_TABLE - RIG_LOW);
    uint64_t *words[] = {(uint64_t *)(void *)rig.memory.regions[0].bytes,
                         (uint64_t *)(void *)table};
    uint64_t own = 88172645463325252u;

    (void)unused;
    while (scribble) {
        own ^= own << 13;
        own ^= own >> 7;
        own ^= own << 17;
        uint64_t *word = words[own >> 8 & 1] + (own >> 16) % 64;
        uint64_t addr = RIG_LOW + (own >> 24) % (3u * RIG_REGION_BYTES);
        uint64_t rest = (own >> 32 & 0x1ff) | (own >> 41 & 7) << 32 | (own >> 44 & 0x1f) << 48;
        __atomic_store_n(word, htole64((uintptr_t)word & 8 ? rest : addr), __ATOMIC_RELAXED);
    }
    return NULL;
}

/* The ring's 32 descriptors are the scribbler's; heads come again and again. */
static bool scribbled_ring(void)
{
    struct vring_avail *avail = rig.ring.avail;
    enum vhost_user_refusal refusal = REFUSAL_NONE;

    rig.ring.next_avail = (uint16_t)(le16toh(avail->idx) - 32);
    rig.ring.indirect = true;
    return drain(&refusal);
}

static unsigned test_scribbled(unsigned cases)
{
    pthread_t thread;
    unsigned wrong = 0;

    ring_rig_again(&rig, 32);
    for (uint16_t head = 0; head < 32; head++)
        rig_avail(&rig, head);
    scribbling = true;
    scribble = true;
    pthread_create(&thread, NULL, scribbler, NULL);
    for (unsigned i = 0; i < cases; i++) {
        wrong += !scribbled_ring();
        if (i % 64 == 0)
            sched_yield();
    }
    scribble = false;
    pthread_join(thread, NULL);
    scribbling = false;
    return wrong;
}

/* ---- regions, and logs of requests in flight ---- */

static enum vhost_user_refusal noted(enum vhost_user_refusal refusal)
{
    return refusal ? refusal_count(&rig.counts, refusal) : refusal;
}

static bool spoiled_region(enum vhost_user_refusal how)
{
    static struct guest_memory memory = {.lost_fd = -1};
    struct vhost_user_region region = {number() >> 16, PAGE * (1 + pick(8)), number() >> 16,
                                       pick(4096)};
    struct vhost_user_region first = region;
    int fd = rig.fds[0];

    if (noted(guest_memory_add(&memory, &first, fd)))
        return false;
    region.guest += region.size;
    if (how == REFUSAL_MEMORY_EMPTY)
        region.size = 0;
    else if (how == REFUSAL_MEMORY_WRAP)
        *(chance(33)   ? &region.guest
          : chance(50) ? &region.user
                       : &region.mmap_offset) = UINT64_MAX - pick(PAGE);
    else if (how == REFUSAL_MEMORY_OVERLAP)
        region.guest -= 1 + pick((unsigned)region.size);
    else if (how == REFUSAL_MEMORY_FILE)
        region.mmap_offset = RIG_REGION_BYTES - region.size + 1 + (number() >> 20);
    else if (how == REFUSAL_MEMORY_MAP)
        fd = sealed;
    else if (how == REFUSAL_MEMORY_FULL)
        for (unsigned i = 1; i < GUEST_REGIONS_MAX; i++, region.guest += region.size)
            guest_memory_add(&memory, &region, fd);
    enum vhost_user_refusal got =
        noted(how == REFUSAL_MEMORY_UNKNOWN ? guest_memory_remove(&memory, &region)
                                            : guest_memory_add(&memory, &region, fd));
    guest_memory_clear(&memory);
    return got == how;
}

static bool spoiled_log(enum vhost_user_refusal how)
{
    static int fd = -1;
    static struct vhost_user_inflight made;
    struct inflight log;
    struct inflight_queue queue;
    enum vhost_user_refusal got;

    if (fd < 0 && inflight_make(16, 64, &made, &fd))
        return false;
    struct vhost_user_inflight at = made;
    if (how == REFUSAL_INFLIGHT_SIZE && chance(50))
        at.mmap_size -= 1 + pick(1000);
    else if (how == REFUSAL_INFLIGHT_SIZE)
        at.queue_size = (uint16_t)(65 + pick(60));
    else if (how == REFUSAL_INFLIGHT_FILE)
        at.mmap_offset = 64 * (UINT64_C(1) + pick(1u << 30));
    got = noted(inflight_map(&log, &at, how == REFUSAL_INFLIGHT_MAP ? sealed : fd));
    if (!got) {
        uint8_t *version = log.bytes + 8;
        *version = (uint8_t)(how == REFUSAL_INFLIGHT_LAYOUT ? 2 + pick(250) : chance(50));
        bool far = how == REFUSAL_INFLIGHT_QUEUE;
        bool large = far && chance(50);
        got = noted(inflight_open(&log, far && !large ? 16 + pick(300) : 0,
                                  large ? 128u << pick(8) : 64, &queue));
    }
    inflight_unmap(&log);
    return got == how;
}

/* ---- the storm ---- */

/* Those of rings, then those of memory as well, and none. */
#define X(constant, name, text) RING_##constant,
enum { RING_NONE, RING_REFUSALS(X) RING_KINDS };
#undef X
#define X(constant, name, text) ANY_##constant,
enum { ANY_NONE, RING_REFUSALS(X) MEMORY_REFUSALS(X) KINDS };
#undef X

static bool one_case(uint64_t seed)
{
    storm_seed(seed);
    enum vhost_user_refusal how = (enum vhost_user_refusal)(seed / 2 % KINDS);

    if (seed % 2 == 0)
        return wild_ring();
    if (how < (enum vhost_user_refusal)RING_KINDS)
        return spoiled_ring(how);
    if (how < REFUSAL_INFLIGHT_SIZE)
        return spoiled_region(how);
    return spoiled_log(how);
}

static void sum_up(uint64_t least)
{
    for (unsigned i = 1; i < KINDS; i++) {
        uint64_t times = rig.counts.of[i];
        ok(times >= least, "%s is refused at least %" PRIu64 " times", refusal_name(i), least);
        note("%s: %" PRIu64, refusal_name(i), times);
    }
}

int main(int argc, char **argv)
{
    const char *scale = getenv("ICESIM_TEST_SCALE");
    uint64_t cases = UINT64_C(90000) * (scale ? strtoull(scale, NULL, 10) : 1), wrong = 0;

    if (under_valgrind() || UNDER_TSAN)
        cases /= 10;
    ring_rig_start(&rig, 8);
    sealed = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (sealed < 0 || ftruncate(sealed, 1 << 20) || fcntl(sealed, F_ADD_SEALS, F_SEAL_WRITE))
        abort();
    if (argc > 1) {
        ok(one_case(strtoull(argv[1], NULL, 10)), "case %s", argv[1]);
        return tap_done();
    }
    for (uint64_t seed = 0; seed < cases; seed++)
        if (!one_case(seed) && !wrong++)
            note("the first that is wrong is case %" PRIu64, seed);
    is_int((intmax_t)wrong, 0, "%" PRIu64 " hostile rings, regions and logs", cases);
    sum_up(cases / 900);
    is_int(test_scribbled((unsigned)cases / 9), 0, "%" PRIu64 " rings that change meanwhile",
           cases / 9);
    ring_rig_end(&rig);
    return tap_done();
}
