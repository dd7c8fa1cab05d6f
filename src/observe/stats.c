/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counters, raised without a lock. Each thread counts in one of several banks, each on cache lines
 * of its own, so that threads on different cores do not wait for each other's line.
 */
#include "stats.h"
#include "base/bytes.h"
#include "virtio/blk.h"
#include <stdatomic.h>
#include <stdlib.h>

#define BANKS      16
#define CACHE_LINE 64

struct bank {
    _Alignas(CACHE_LINE) _Atomic uint64_t requests[COMMAND_KINDS];
    _Atomic uint64_t ok, ioerr, unsupp, bytes_read, bytes_written, tagged, syncs;
};

struct stats {
    struct bank banks[BANKS];
    _Atomic uint64_t violations[RULE_COUNT];
    struct observer observer;
};

static struct bank *my_bank(struct stats *stats)
{
    static _Atomic unsigned next;
    static __thread unsigned mine; /* 1 + index; 0: none yet */

    if (!mine)
        mine = 1 + atomic_fetch_add(&next, 1) % BANKS;
    return &stats->banks[mine - 1];
}

static void add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

static void count(struct observer *observer, const struct observation *seen)
{
    struct stats *stats = CONTAINER_OF(observer, struct stats, observer);
    struct bank *bank = my_bank(stats);
    bool ok = seen->status == VIRTIO_BLK_S_OK;

    add(&bank->requests[seen->command->kind], 1);
    add(ok ? &bank->ok : seen->status == VIRTIO_BLK_S_IOERR ? &bank->ioerr : &bank->unsupp, 1);
    if (seen->synced)
        add(&bank->syncs, 1);
    if (seen->command->tagged)
        add(&bank->tagged, 1);
    if (ok && seen->command->kind == COMMAND_READ)
        add(&bank->bytes_read, seen->data_len);
    if (ok && seen->command->kind == COMMAND_WRITE)
        add(&bank->bytes_written, seen->data_len);
}

static void count_violation(struct observer *observer, const struct ice_attachment *attachment,
                            enum rule rule, const char *text)
{
    (void)attachment;
    (void)text;
    add(&CONTAINER_OF(observer, struct stats, observer)->violations[rule], 1);
}

static const struct observer_ops ops = {.after = count, .violation = count_violation};

struct stats *stats_new(void)
{
    struct stats *stats = aligned_alloc(CACHE_LINE, sizeof(*stats));

    if (stats) {
        memset(stats, 0, sizeof(*stats));
        stats->observer.ops = &ops;
    }
    return stats;
}

void stats_free(struct stats *stats)
{
    free(stats);
}

struct observer *stats_observer(struct stats *stats)
{
    return &stats->observer;
}

static uint64_t get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

void stats_read(struct stats *stats, struct stats_counters *sum)
{
    *sum = (struct stats_counters){0};
    for (size_t i = 0; i < BANKS; i++) {
        const struct bank *bank = &stats->banks[i];

        for (size_t kind = 0; kind < COMMAND_KINDS; kind++)
            sum->requests[kind] += get(&bank->requests[kind]);
        sum->ok += get(&bank->ok);
        sum->ioerr += get(&bank->ioerr);
        sum->unsupp += get(&bank->unsupp);
        sum->bytes_read += get(&bank->bytes_read);
        sum->bytes_written += get(&bank->bytes_written);
        sum->tagged += get(&bank->tagged);
        sum->syncs += get(&bank->syncs);
    }
    for (size_t rule = 0; rule < RULE_COUNT; rule++)
        sum->violations[rule] = get(&stats->violations[rule]);
}
