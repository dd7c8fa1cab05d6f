/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Range locks: a striped table over the bytes of one store. Whole data units take their range
 * shared, a read-modify-write takes it exclusive, so that threads meet only on the same bytes. A
 * stripe covers 64 KiB, the largest data unit. Not recursive: one hold at a time per thread and
 * table.
 */
#ifndef ICESIM_BLKCRYPTO_RANGE_LOCK_H
#define ICESIM_BLKCRYPTO_RANGE_LOCK_H

#include <stddef.h>
#include <stdint.h>

struct range_lock;

struct range_lock *range_lock_new(void);       /* NULL: no memory */
void range_lock_free(struct range_lock *lock); /* NULL is allowed */

/*
 * Bytes [offset, offset + len), len > 0: the first `head` and the last `tail` of them exclusive,
 * the rest shared; both are at most `len`. A stripe that is in both parts is exclusive.
 */
struct range_hold {
    uint64_t offset;
    uint64_t len;
    uint64_t head, tail;
};

/* Takes all stripes of the hold, in one order for all threads: no deadlock. Drop with the same
 * hold. */
void range_lock_take(struct range_lock *lock, const struct range_hold *hold);
void range_lock_drop(struct range_lock *lock, const struct range_hold *hold);

#endif
