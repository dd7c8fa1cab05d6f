/* SPDX-License-Identifier: BSD-2-Clause */
/* Split rings from the device's side: where they are, chains, what goes back, notifications. */
#include "base/bytes.h"
#include "ring_rig.h"
#include "tap.h"

#define NEXT     VRING_DESC_F_NEXT
#define WRITE    VRING_DESC_F_WRITE
#define INDIRECT VRING_DESC_F_INDIRECT

static struct ring_rig rig;
static struct chain chain;

static void is_refusal(enum vhost_user_refusal got, enum vhost_user_refusal want, const char *what)
{
    is_str(refusal_name(got), refusal_name(want), "%s", what);
}

static void desc(unsigned index, uint64_t addr, uint32_t len, unsigned flags, unsigned next)
{
    rig_desc(&rig, RIG_DESC, index,
             (struct vring_desc){addr, len, (uint16_t)flags, (uint16_t)next});
}

static void entry(uint64_t table, unsigned index, uint64_t addr, uint32_t len, unsigned flags,
                  unsigned next)
{
    rig_desc(&rig, table, index, (struct vring_desc){addr, len, (uint16_t)flags, (uint16_t)next});
}

/* Part `i` is `len` bytes of guest memory from `guest` on: told by a byte that the driver writes.
 */
static void is_part(unsigned i, uint64_t guest, size_t len)
{
    uint8_t *first = rig_bytes(&rig, guest), *last = rig_bytes(&rig, guest + len - 1);
    const uint8_t *got = chain.parts[i].iov_base;
    bool same = chain.parts[i].iov_len == len;

    *last = 0x11;
    *first = 0x5a;
    same = same && got[0] == 0x5a && got[len - 1] == *last;
    *first = 0;
    *last = 0;
    ok(same && got[0] == 0, "part %u is %zu bytes at 0x%" PRIx64, i, len, guest);
}

/* ---- where a ring is ---- */

static enum vhost_user_refusal map(unsigned size, uint64_t d, uint64_t a, uint64_t u)
{
    rig.ring.size = size;
    return vring_map(&rig.ring, RIG_USER + d, RIG_USER + a, RIG_USER + u);
}

static void test_map(void)
{
    const uint64_t end = RIG_LOW + RIG_REGION_BYTES;

    ring_rig_again(&rig, 16);
    is_refusal(map(0, RIG_DESC, RIG_AVAIL, RIG_USED), REFUSAL_RING_SIZE, "no entries");
    is_refusal(map(24, RIG_DESC, RIG_AVAIL, RIG_USED), REFUSAL_RING_SIZE, "24 entries");
    is_refusal(map(65536, RIG_DESC, RIG_AVAIL, RIG_USED), REFUSAL_RING_SIZE, "65536 entries");
    is_refusal(map(16, RIG_DESC + 8, RIG_AVAIL, RIG_USED), REFUSAL_RING_ALIGNMENT, "table at 8");
    is_refusal(map(16, RIG_DESC, RIG_AVAIL + 1, RIG_USED), REFUSAL_RING_ALIGNMENT, "avail at 1");
    is_refusal(map(16, RIG_DESC, RIG_AVAIL, RIG_USED + 2), REFUSAL_RING_ALIGNMENT, "used at 2");
    is_refusal(map(16, RIG_LOW - 16, RIG_AVAIL, RIG_USED), REFUSAL_RING_ADDRESS, "table before");
    is_refusal(map(16, end - 240, RIG_AVAIL, RIG_USED), REFUSAL_RING_ADDRESS, "table over the end");
    is_refusal(map(16, end - 256, RIG_AVAIL, RIG_USED), REFUSAL_NONE, "table up to the end");
    is_refusal(map(16, RIG_DESC, end - 36, RIG_USED), REFUSAL_RING_ADDRESS, "used_event outside");
    is_refusal(map(16, RIG_DESC, end - 38, RIG_USED), REFUSAL_NONE, "used_event the last word");
    is_refusal(map(16, RIG_DESC, RIG_AVAIL, end - 132), REFUSAL_RING_ADDRESS,
               "avail_event outside");
    ok(!rig.ring.desc && !rig.ring.avail && !rig.ring.used, "a refused ring is not mapped");
    is_refusal(map(16, RIG_DESC, RIG_AVAIL, end - 136), REFUSAL_NONE, "avail_event within");
    is_int((intmax_t)rig.counts.of[REFUSAL_RING_ALIGNMENT], 3, "refusals are counted");
    is_int((intmax_t)rig.counts.of[REFUSAL_NONE], 0, "and nothing else");

    struct vring_used *used = rig_bytes(&rig, RIG_USED);
    used->idx = htole16(0xfedc);
    map(16, RIG_DESC, RIG_AVAIL, RIG_USED);
    is_int(rig.ring.next_used, 0xfedc, "next_used is what the ring says");
}

/* ---- heads ---- */

/* As if so many chains had been made available and taken. */
static void begin_at(uint16_t idx)
{
    struct vring_avail *avail = rig_bytes(&rig, RIG_AVAIL);

    avail->idx = htole16(idx);
    rig.ring.next_avail = rig.avail_idx = idx;
}

static void test_next(void)
{
    uint16_t head = 0;
    bool there = true;

    ring_rig_again(&rig, 4);
    is_refusal(vring_next(&rig.ring, &head, &there), REFUSAL_NONE, "nothing is available");
    ok(!there, "and none is there");

    begin_at(0xfffe);
    for (unsigned i = 0; i < 4; i++)
        rig_avail(&rig, (uint16_t)(3 - i));
    for (unsigned i = 0; i < 4; i++) {
        vring_next(&rig.ring, &head, &there);
        ok(there && head == 3 - i, "head %u, in order, over the end of the index", 3 - i);
    }
    vring_next(&rig.ring, &head, &there);
    ok(!there && rig.ring.next_avail == 2, "then none");

    rig_avail(&rig, 4);
    is_refusal(vring_next(&rig.ring, &head, &there), REFUSAL_RING_HEAD, "head 4 of 4");
    ok(!there && rig.ring.next_avail == 2, "a refused head is not taken");

    struct vring_avail *avail = rig_bytes(&rig, RIG_AVAIL);
    avail->idx = htole16(2 + 5);
    is_refusal(vring_next(&rig.ring, &head, &there), REFUSAL_RING_AVAIL_INDEX, "5 ahead of 4");
    avail->idx = htole16(1);
    is_refusal(vring_next(&rig.ring, &head, &there), REFUSAL_RING_AVAIL_INDEX, "1 behind");
    avail->idx = htole16(2 + 4);
    avail->ring[2] = htole16(1);
    is_refusal(vring_next(&rig.ring, &head, &there), REFUSAL_NONE, "4 ahead of 4");
    ok(there && head == 1, "and its head");
}

/* ---- chains ---- */

static void test_direct(void)
{
    ring_rig_again(&rig, 8);
    desc(5, RIG_DATA, 16, NEXT, 2);
    desc(2, RIG_FAR + 0x200, 4096, NEXT | WRITE, 7);
    desc(7, RIG_DATA + 64, 1, WRITE, 0xffff);
    is_refusal(vring_chain(&rig.ring, 5, &chain), REFUSAL_NONE, "a chain of three");
    is_int(chain.head, 5, "its head");
    is_int(chain.readable, 1, "readable parts");
    is_int(chain.writable, 2, "writable parts");
    is_part(0, RIG_DATA, 16);
    is_part(1, RIG_FAR + 0x200, 4096);
    is_part(2, RIG_DATA + 64, 1);

    desc(0, RIG_MIDDLE - 100, 300, 0, 0);
    is_refusal(vring_chain(&rig.ring, 0, &chain), REFUSAL_NONE, "over the edge of two regions");
    is_int(chain.readable, 2, "is two parts");
    is_int(chain.writable, 0, "none writable");
    is_part(0, RIG_MIDDLE - 100, 100);
    is_part(1, RIG_MIDDLE, 200);
}

static void test_whole_ring(void)
{
    ring_rig_again(&rig, 8);
    for (unsigned i = 0; i < 8; i++)
        desc(i, RIG_DATA + 16 * i, 16, i < 7 ? NEXT : 0, i + 1);
    is_refusal(vring_chain(&rig.ring, 0, &chain), REFUSAL_NONE, "a chain as long as the ring");
    is_int(chain.readable, 8, "has 8 parts");
    desc(7, RIG_DATA, 16, NEXT, 3);
    is_refusal(vring_chain(&rig.ring, 0, &chain), REFUSAL_RING_LOOP, "a loop at its end");
    desc(0, RIG_DATA, 16, NEXT, 0);
    is_refusal(vring_chain(&rig.ring, 0, &chain), REFUSAL_RING_LOOP, "a descriptor after itself");
}

/* `table` is where the table of the last two descriptors lies. */
static void indirect_after_direct(uint64_t table, const char *where)
{
    ring_rig_again(&rig, 8);
    rig.ring.indirect = true;
    desc(0, RIG_DATA, 32, NEXT, 1);
    desc(1, table, 48, INDIRECT | WRITE, 0);
    entry(table, 0, RIG_DATA + 0x100, 512, NEXT, 2);
    entry(table, 1, RIG_DATA + 0x700, 1, WRITE, 0);
    entry(table, 2, RIG_DATA + 0x400, 512, NEXT | WRITE, 1);
    is_refusal(vring_chain(&rig.ring, 0, &chain), REFUSAL_NONE, where);
    is_int(chain.readable, 2, "readable parts, WRITE of the indirect one aside");
    is_int(chain.writable, 2, "writable parts");
    is_part(0, RIG_DATA, 32);
    is_part(1, RIG_DATA + 0x100, 512);
    is_part(2, RIG_DATA + 0x400, 512);
    is_part(3, RIG_DATA + 0x700, 1);
}

static void test_indirect(void)
{
    indirect_after_direct(RIG_TABLE, "an indirect table");
    indirect_after_direct(RIG_TABLE + 5, "one that is not aligned");
    indirect_after_direct(RIG_MIDDLE - 24, "one over the edge of two regions");

    ring_rig_again(&rig, 2);
    rig.ring.indirect = true;
    for (unsigned i = 0; i < 257; i++)
        entry(RIG_TABLE, i, RIG_DATA + i, 1, NEXT, i + 1);
    entry(RIG_TABLE, 255, RIG_DATA + 255, 1, WRITE, 0);
    desc(0, RIG_TABLE, 256 * 16, INDIRECT, 0);
    is_refusal(vring_chain(&rig.ring, 0, &chain), REFUSAL_NONE, "256 entries on a ring of 2");
    is_int(chain.readable + chain.writable, 256, "are 256 parts");
    is_part(255, RIG_DATA + 255, 1);
    desc(0, RIG_TABLE, 257 * 16, INDIRECT, 0);
    is_refusal(vring_chain(&rig.ring, 0, &chain), REFUSAL_RING_INDIRECT_SIZE, "257 entries");
    desc(0, RIG_TABLE, 255 * 16, INDIRECT, 0);
    is_refusal(vring_chain(&rig.ring, 0, &chain), REFUSAL_RING_NEXT, "a next behind the table");
    entry(RIG_TABLE, 254, RIG_DATA, 1, NEXT, 0);
    is_refusal(vring_chain(&rig.ring, 0, &chain), REFUSAL_RING_LOOP, "a loop in a table");
}

/* One descriptor on a ring of 8 with indirect tables; a table of one descriptor is at RIG_TABLE. */
static const struct {
    const char *name;
    struct vring_desc desc;
    enum vhost_user_refusal refusal;
} singles[] = {
    {"a next of 8", {RIG_DATA, 1, NEXT, 8}, REFUSAL_RING_NEXT},
    {"a length of 0", {RIG_DATA, 0, 0, 0}, REFUSAL_RING_LENGTH},
    {"an address before memory", {RIG_LOW - 1, 2, 0, 0}, REFUSAL_RING_MEMORY},
    {"one byte past the end", {RIG_FAR + RIG_REGION_BYTES - 1, 2, 0, 0}, REFUSAL_RING_MEMORY},
    {"up to the end", {RIG_FAR + RIG_REGION_BYTES - 1, 1, 0, 0}, REFUSAL_NONE},
    {"a wrapping address", {UINT64_MAX - 1, 16, 0, 0}, REFUSAL_RING_MEMORY},
    {"4 GiB", {RIG_DATA, UINT32_MAX, 0, 0}, REFUSAL_RING_MEMORY},
    {"a table with a next", {RIG_TABLE, 16, INDIRECT | NEXT, 1}, REFUSAL_RING_INDIRECT_NEXT},
    {"a table of 0 bytes", {RIG_TABLE, 0, INDIRECT, 0}, REFUSAL_RING_INDIRECT_LENGTH},
    {"a table of 24 bytes", {RIG_TABLE, 24, INDIRECT, 0}, REFUSAL_RING_INDIRECT_LENGTH},
    {"a table of 4 GiB", {RIG_TABLE, 0xfffffff0u, INDIRECT, 0}, REFUSAL_RING_INDIRECT_SIZE},
    {"a table outside",
     {RIG_FAR + RIG_REGION_BYTES, 16, INDIRECT, 0},
     REFUSAL_RING_INDIRECT_MEMORY},
    {"a table half outside",
     {RIG_FAR + RIG_REGION_BYTES - 16, 32, INDIRECT, 0},
     REFUSAL_RING_INDIRECT_MEMORY},
};

static void test_refused_chains(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(singles); i++) {
        ring_rig_again(&rig, 8);
        rig.ring.indirect = true;
        rig_desc(&rig, RIG_DESC, 0, singles[i].desc);
        uint64_t before = rig.counts.of[singles[i].refusal];
        is_refusal(vring_chain(&rig.ring, 0, &chain), singles[i].refusal, singles[i].name);
        is_int((intmax_t)(rig.counts.of[singles[i].refusal] - before), singles[i].refusal ? 1 : 0,
               "counted");
    }

    ring_rig_again(&rig, 8);
    desc(0, RIG_TABLE, 16, INDIRECT, 0);
    is_refusal(vring_chain(&rig.ring, 0, &chain), REFUSAL_RING_INDIRECT, "a table, not negotiated");
    rig.ring.indirect = true;
    entry(RIG_TABLE, 0, RIG_TABLE, 16, INDIRECT, 0);
    is_refusal(vring_chain(&rig.ring, 0, &chain), REFUSAL_RING_INDIRECT_NESTED, "a table in one");

    desc(0, RIG_DATA, 1, NEXT | WRITE, 1);
    desc(1, RIG_DATA, 1, 0, 0);
    is_refusal(vring_chain(&rig.ring, 0, &chain), REFUSAL_RING_ORDER, "readable after writable");

    ring_rig_again(&rig, 512);
    for (unsigned i = 0; i < 257; i++)
        desc(i, RIG_DATA + i, 1, i < 256 ? NEXT : 0, i + 1);
    is_refusal(vring_chain(&rig.ring, 0, &chain), REFUSAL_RING_PARTS, "257 parts");
    is_refusal(vring_chain(&rig.ring, 1, &chain), REFUSAL_NONE, "256 parts");
    desc(256, RIG_MIDDLE - 1, 2, 0, 0);
    is_refusal(vring_chain(&rig.ring, 1, &chain), REFUSAL_RING_PARTS, "the last over an edge");
}

/* ---- what goes back ---- */

static void test_push(void)
{
    static const uint8_t want[] = {
        0, 0, 1, 0,                         /* flags, idx 1 */
        2, 0, 0, 0, 0x44, 0x33, 0x22, 0x11, /* the third, at index 0 */
        0, 0, 0, 0, 0,    0,    0,    0,    /* */
        7, 0, 0, 0, 1,    0,    0,    0,    /* the first, at 0xfffe */
        3, 0, 0, 0, 0,    0,    0,    0,    /* the second */
        0, 0,                               /* avail_event */
    };

    ring_rig_again(&rig, 4);
    rig.ring.next_used = 0xfffe;
    vring_push(&rig.ring, 7, 1);
    vring_push(&rig.ring, 3, 0);
    vring_push(&rig.ring, 2, 0x11223344);
    is_mem(rig_bytes(&rig, RIG_USED), want, sizeof(want),
           "three elements over the end of the ring");
    is_int(rig.ring.next_used, 1, "next_used");
}

/* ---- notifications ---- */

static void test_call_flag(void)
{
    struct vring_avail *avail = rig_bytes(&rig, RIG_AVAIL);

    ring_rig_again(&rig, 4);
    ok(vring_wants_call(&rig.ring), "a ring just mapped owes a call");
    ok(!vring_wants_call(&rig.ring), "once");
    vring_push(&rig.ring, 0, 1);
    ok(vring_wants_call(&rig.ring), "something new");
    ok(!vring_wants_call(&rig.ring), "nothing new");
    avail->flags = htole16(VRING_AVAIL_F_NO_INTERRUPT);
    vring_push(&rig.ring, 0, 1);
    ok(!vring_wants_call(&rig.ring), "the driver wants none");
}

/* Whether moving from `old` to `now` passes `event`, by walking. */
static bool walks_over(uint16_t event, uint16_t now, uint16_t old)
{
    for (uint16_t at = old; at != now; at++)
        if (at == event)
            return true;
    return false;
}

static void test_call_event(void)
{
    struct vring_avail *avail = rig_bytes(&rig, RIG_AVAIL);
    unsigned wrong = 0, calls = 0, n = 0;

    ring_rig_again(&rig, 8);
    rig.ring.event_idx = true;
    ok(vring_wants_call(&rig.ring), "a ring just mapped owes a call");
    avail->flags = htole16(VRING_AVAIL_F_NO_INTERRUPT); /* means nothing now */
    for (unsigned start = 0xfff0; start < 0x10010; start++)
        for (unsigned pushed = 0; pushed <= 8; pushed++)
            for (int event = -10; event <= 10; event++, n++) {
                uint16_t old = (uint16_t)start;
                rig.ring.next_used = rig.ring.called_at = old;
                rig.ring.called = true;
                for (unsigned i = 0; i < pushed; i++)
                    vring_push(&rig.ring, 0, 1);
                avail->ring[8] = htole16((uint16_t)(start + (unsigned)event));
                bool call = vring_wants_call(&rig.ring);
                calls += call;
                wrong += call != walks_over((uint16_t)(start + (unsigned)event),
                                            (uint16_t)(start + pushed), old);
            }
    is_int(wrong, 0, "used_event is obeyed, %u times", n);
    is_int(calls, 32 * 36, "calls"); /* 0 + 1 + … + 8 events that are passed, at each start */

    rig.ring.next_used = rig.ring.called_at = 5;
    rig.ring.called = true;
    avail->ring[8] = htole16(4);
    for (unsigned i = 0; i < 65536; i++)
        vring_push(&rig.ring, 0, 1);
    ok(vring_wants_call(&rig.ring), "65536 pushes are not none");
}

static void test_kick_flag(void)
{
    const struct vring_used *used = rig_bytes(&rig, RIG_USED);

    ring_rig_again(&rig, 4);
    vring_spare_kick(&rig.ring);
    is_int(le16toh(used->flags), VRING_USED_F_NO_NOTIFY, "no kicks");
    ok(!vring_ask_kick(&rig.ring), "nothing came meanwhile");
    is_int(le16toh(used->flags), 0, "kicks again");
    rig_avail(&rig, 0);
    ok(vring_ask_kick(&rig.ring), "something came");
}

static void test_kick_event(void)
{
    const struct vring_used *used = rig_bytes(&rig, RIG_USED);
    const uint16_t *event = (const uint16_t *)(const void *)&used->ring[4];

    ring_rig_again(&rig, 4);
    rig.ring.event_idx = true;
    begin_at(0xffff);
    vring_spare_kick(&rig.ring);
    is_int(le16toh(used->flags), 0, "flags are left alone");
    ok(!vring_ask_kick(&rig.ring), "nothing came meanwhile");
    is_int(le16toh(*event), 0xffff, "avail_event is the next entry");
    rig_avail(&rig, 0);
    ok(vring_ask_kick(&rig.ring), "something came");
    vring_spare_kick(&rig.ring);
    is_int(le16toh(*event), 0xffff, "and stays behind while none are wanted");
}

int main(void)
{
    ring_rig_start(&rig, 16);
    test_map();
    test_next();
    test_direct();
    test_whole_ring();
    test_indirect();
    test_refused_chains();
    test_push();
    test_call_flag();
    test_call_event();
    test_kick_flag();
    test_kick_event();
    ring_rig_end(&rig);
    return tap_done();
}
