/* SPDX-License-Identifier: BSD-2-Clause */
#include "plan.h"
#include "base/bytes.h"
#include "base/units.h"

/* Without overflow at any `bytes`. */
static uint64_t divide_up(uint64_t bytes, uint64_t by)
{
    return bytes / by + (bytes % by != 0);
}

uint64_t plan_pieces(const struct plan *plan)
{
    return plan->bytes ? divide_up(plan->bytes, plan->piece_bytes) : 1;
}

uint64_t plan_named(const struct plan *plan)
{
    uint64_t wrap = plan_wrap(plan);

    return wrap == UINT64_MAX ? plan_pieces(plan) : divide_up(wrap, plan->piece_bytes);
}

struct piece plan_piece(const struct plan *plan, uint64_t index)
{
    uint64_t offset = index * plan->piece_bytes;
    struct piece piece = {
        .offset = offset,
        .len = min_u64(plan->piece_bytes, plan->bytes - offset),
        .sector = plan->sector + offset / SECTOR_SIZE,
    };

    if (plan->tagged) {
        piece.dun = plan->dun;
        dun_add(&piece.dun, offset / plan->data_unit);
    }
    return piece;
}

/* The byte where units of `unit` bytes, counted from `first`, need more than `bits` bits. */
static uint64_t wrap_of(struct dun first, unsigned bits, uint64_t unit)
{
    uint64_t offset;

    if (__builtin_mul_overflow(dun_left(&first, bits, UINT64_MAX), unit, &offset))
        return UINT64_MAX;
    return offset;
}

uint64_t plan_wrap(const struct plan *plan)
{
    uint64_t wrap = wrap_of(dun_from_u64(plan->sector), 64, SECTOR_SIZE);

    if (plan->tagged)
        wrap = min_u64(wrap, wrap_of(plan->dun, plan->dun_bits, plan->data_unit));
    return wrap < plan->bytes ? wrap : UINT64_MAX;
}

uint64_t plan_probe(const struct plan *plan)
{
    uint64_t wrap = plan_wrap(plan);

    return wrap == UINT64_MAX ? plan_pieces(plan) - 1 : wrap / plan->piece_bytes;
}

uint64_t plan_piece_bytes(uint64_t limit, uint32_t data_unit)
{
    return limit > data_unit ? limit / data_unit * data_unit : data_unit;
}
