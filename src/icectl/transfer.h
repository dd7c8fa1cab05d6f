/* SPDX-License-Identifier: BSD-2-Clause */
/* What `io read` and `io write` share: their options, how they split, requests in a ring. */
#ifndef ICESIM_ICECTL_TRANSFER_H
#define ICESIM_ICECTL_TRANSFER_H

#include "args.h"
#include "device.h"
#include "plan.h"

/* Requests in flight: enough to keep the device busy while a file is read or written. */
#define RING_SIZE 4

struct lane {
    struct exchange exchange;
    struct piece piece;
    uint8_t *buffer; /* plan.piece_bytes */
    bool busy;       /* submitted, and its end not looked at */
};

struct transfer {
    struct icectl *icectl;
    struct device device;
    enum command_kind kind;
    uint32_t slot;
    struct plan plan;
    struct lane ring[RING_SIZE];
};

/* The options that tell where and through what. */
struct transfer_options {
    const struct arg_str *sector, *slot, *dun, *data_unit;
};

/*
 * Reads the options, connects, and plans `bytes` (see struct plan). Failures are told. Close with
 * transfer_close, also after a failure, if `transfer` was zeroed.
 */
enum status transfer_open(struct transfer *transfer, const struct transfer_options *options,
                          uint64_t bytes);
void transfer_close(struct transfer *transfer);

/* Tells that the rest of the plan cannot be named; STATUS_REFUSED. */
enum status fail_wrap(const struct icectl *icectl, const struct plan *plan);

/* Submits the lane's piece. */
void lane_submit(struct transfer *transfer, struct lane *lane);

/* Waits for a busy lane; an idle one is STATUS_DONE. The failure is told, by sector. */
enum status lane_wait(struct transfer *transfer, struct lane *lane);

#endif
