/* SPDX-License-Identifier: BSD-2-Clause */
/* Statistics: an observer that counts what a function did. */
#ifndef ICESIM_OBSERVE_STATS_H
#define ICESIM_OBSERVE_STATS_H

#include "device/observer.h"

struct stats;

struct stats_counters {
    uint64_t requests[COMMAND_KINDS];   /* finished, by kind */
    uint64_t ok, ioerr, unsupp;         /* by status */
    uint64_t bytes_read, bytes_written; /* of requests that were OK */
    uint64_t tagged;                    /* reads and writes through a slot */
    uint64_t syncs;                     /* times the media was made stable */
    uint64_t violations[RULE_COUNT];    /* of a strict function, by rule */
};

struct stats *stats_new(void); /* NULL: no memory */
void stats_free(struct stats *stats);
struct observer *stats_observer(struct stats *stats);
/* A reading; counters of requests in flight may be partly in. */
void stats_read(struct stats *stats, struct stats_counters *counters);

#endif
