/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How a long transfer becomes requests: pieces of one size, a multiple of the data unit, with the
 * DUN advancing by units. Sectors are 64 bits wide, DUNs what the dialect's header has, and a
 * transfer may run past that: whether one request may, the device decides; but a piece that begins
 * there cannot be named at all.
 */
#ifndef ICESIM_ICECTL_PLAN_H
#define ICESIM_ICECTL_PLAN_H

#include "base/dun.h"
#include <stdbool.h>
#include <stdint.h>

struct plan {
    uint64_t bytes;       /* in all, a multiple of 512; UINT64_MAX: until the input ends */
    uint64_t piece_bytes; /* of each piece but the last */
    uint64_t sector;      /* of the first byte */
    bool tagged;
    struct dun dun;     /* of the first byte, within dun_bits; when tagged, as all that follows */
    unsigned dun_bits;  /* 1..256 */
    uint32_t data_unit; /* bytes */
};

struct piece {
    uint64_t offset; /* from the transfer's start */
    uint64_t len;
    uint64_t sector;
    struct dun dun;
};

/* At least 1: a transfer of nothing is one request of nothing, for the device to judge. */
uint64_t plan_pieces(const struct plan *plan);

/* How many of them can be named, from the first on. */
uint64_t plan_named(const struct plan *plan);

/* Piece `index`, below plan_named. */
struct piece plan_piece(const struct plan *plan, uint64_t index);

/* From this byte of the transfer on, sector or DUN is too wide; UINT64_MAX: nowhere. */
uint64_t plan_wrap(const struct plan *plan);

/*
 * The piece that a device refuses if it refuses any for where it lies: the one with plan_wrap in
 * it, else the last. Sent first, it keeps a transfer that cannot end well from beginning. Not below
 * plan_named: nothing is to be sent.
 */
uint64_t plan_probe(const struct plan *plan);

/* What `limit` bytes hold of whole data units; one at least. */
uint64_t plan_piece_bytes(uint64_t limit, uint32_t data_unit);

#endif
