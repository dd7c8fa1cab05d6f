/* SPDX-License-Identifier: BSD-2-Clause */
/* How icectl splits transfers: pieces, DUNs, and the edges of numbers. */
#include "base/bytes.h"
#include "icectl/plan.h"
#include "tap.h"

#define MIB (UINT64_C(1) << 20)

/* The pieces cover the transfer, in order, each where the one before ends. */
static bool is_whole(const struct plan *plan)
{
    uint64_t offset = 0;

    for (uint64_t i = 0; i < plan_pieces(plan); i++) {
        struct piece piece = plan_piece(plan, i);

        if (piece.offset != offset || piece.len > plan->piece_bytes ||
            piece.sector != plan->sector + offset / 512)
            return false;
        if (plan->tagged &&
            (piece.dun.limb[0] != plan->dun.limb[0] + offset / plan->data_unit ||
             memcmp(piece.dun.limb + 1, plan->dun.limb + 1, 3 * sizeof(uint64_t)) != 0))
            return false;
        offset += piece.len;
    }
    return offset == plan->bytes;
}

static void test_pieces(void)
{
    static const uint64_t sizes[] = {0,       512,           4 * MIB - 512, 4 * MIB, 4 * MIB + 512,
                                     8 * MIB, 9 * MIB + 1536};

    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        struct plan plan = {
            .bytes = sizes[i],
            .piece_bytes = 4 * MIB,
            .sector = 1000,
            .tagged = true,
            .dun = {{7}},
            .dun_bits = 64,
            .data_unit = 4096,
        };

        ok(is_whole(&plan), "%llu bytes are covered", (unsigned long long)sizes[i]);
        is_int((intmax_t)plan_pieces(&plan),
               sizes[i] ? (intmax_t)((sizes[i] - 1) / (4 * MIB)) + 1 : 1,
               "%llu bytes: number of pieces", (unsigned long long)sizes[i]);
        ok(plan_wrap(&plan) == UINT64_MAX && plan_named(&plan) == plan_pieces(&plan),
           "%llu bytes: all can be named", (unsigned long long)sizes[i]);
        ok(plan_probe(&plan) == plan_pieces(&plan) - 1, "%llu bytes: the last piece goes first",
           (unsigned long long)sizes[i]);
    }
}

static void test_piece_bytes(void)
{
    ok(plan_piece_bytes(4 * MIB, 65536) == 4 * MIB, "whole units fill the limit");
    ok(plan_piece_bytes(100000, 4096) == 24 * 4096, "a limit that is no multiple of the unit");
    ok(plan_piece_bytes(1000, 4096) == 4096, "one unit at least");
}

static const struct {
    const char *name;
    struct plan plan;
    uint64_t wrap, named, probe;
} cases[] = {
    {"the last DUN is 2^64-1",
     {8 * MIB, 4 * MIB, 0, true, {{UINT64_MAX - 2047}}, 64, 4096},
     UINT64_MAX,
     2,
     1},
    {"the last DUN is 2^64, in the second piece",
     {8 * MIB, 4 * MIB, 0, true, {{UINT64_MAX - 2046}}, 64, 4096},
     2047 * 4096,
     2,
     1},
    {"the DUN ends in the first piece",
     {12 * MIB, 4 * MIB, 0, true, {{UINT64_MAX}}, 64, 4096},
     4096,
     1,
     0},
    {"the DUN ends between two pieces",
     {12 * MIB, 4 * MIB, 0, true, {{UINT64_MAX - 1023}}, 64, 4096},
     4 * MIB,
     1,
     1},
    {"a DUN that is not used",
     {12 * MIB, 4 * MIB, 0, false, {{UINT64_MAX}}, 64, 512},
     UINT64_MAX,
     3,
     2},
    {"DUN 0", {12 * MIB, 4 * MIB, 0, true, {{0}}, 64, 512}, UINT64_MAX, 3, 2},
    {"the sectors end",
     {12 * MIB, 4 * MIB, UINT64_MAX - 8192, false, {{0}}, 64, 512},
     8193 * 512,
     2,
     1},
    {"the sectors end before the DUN",
     {12 * MIB, 4 * MIB, UINT64_MAX, true, {{UINT64_MAX}}, 64, 4096},
     512,
     1,
     0},
    {"a DUN of 32 bits ends in the second piece",
     {12 * MIB, 4 * MIB, 0, true, {{UINT32_MAX - 1024}}, 32, 4096},
     1025 * 4096,
     2,
     1},
    {"a DUN of 256 bits has room where its low half ends",
     {12 * MIB, 4 * MIB, 0, true, {{UINT64_MAX, UINT64_MAX, 0, 1}}, 256, 4096},
     UINT64_MAX,
     3,
     2},
    {"a DUN of 256 bits ends",
     {12 * MIB, 4 * MIB, 0, true, {{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX}}, 256, 512},
     512,
     1,
     0},
    {"a pipe", {UINT64_MAX, 4 * MIB, 0, true, {{UINT64_MAX - 1023}}, 64, 4096}, 4 * MIB, 1, 1},
    {"one piece with all of it",
     {512, 4 * MIB, UINT64_MAX, true, {{UINT64_MAX}}, 64, 512},
     UINT64_MAX,
     1,
     0},
};

static void test_wrap(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct plan *plan = &cases[i].plan;

        ok(plan_wrap(plan) == cases[i].wrap, "%s: where the edge is", cases[i].name);
        ok(plan_named(plan) == cases[i].named, "%s: what can be named", cases[i].name);
        ok(plan_probe(plan) == cases[i].probe, "%s: what goes first", cases[i].name);
    }
}

static void test_carry(void)
{
    struct plan plan = {8 * MIB, 4 * MIB, 0, true, {{UINT64_MAX - 1, 7, 0, 0}}, 256, 4096};
    struct piece piece = plan_piece(&plan, 1);

    ok(piece.dun.limb[0] == 1022 && piece.dun.limb[1] == 8, "the DUN carries into the next limb");
}

int main(void)
{
    test_pieces();
    test_carry();
    test_piece_bytes();
    test_wrap();
    return tap_done();
}
