/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Secret memory: the only place, beside cipher contexts (which are allocated from it too), where
 * key bytes may stand.
 *
 * Blocks come from 64 KiB chunks that are locked (mlock, unless secret_lock said no), left out of
 * core dumps (MADV_DONTDUMP) and not inherited by children (MADV_DONTFORK: a forked child must exec
 * before it touches any of this). Size classes are the powers of two from 32 bytes to 16 KiB and
 * the middle between each two; a larger block gets a mapping of its own. Allocation cost does not
 * depend on how many blocks live. All functions may be called from any thread.
 */
#ifndef ICESIM_BASE_SECRET_H
#define ICESIM_BASE_SECRET_H

#include "why.h"
#include <stdbool.h>
#include <stddef.h>

#define SECRET_LEAST (1u << 20) /* bytes: with less icesim would soon refuse clients or keys */

/*
 * Whether secret memory is locked. Call at most once, before the first secret_alloc. With `lock` it
 * tries whether SECRET_LEAST bytes can be: 0 or -ENOMEM, and `why` names RLIMIT_MEMLOCK.
 */
int secret_lock(bool lock, struct ice_why *why);

/* After secret_alloc failed: returns -ENOMEM, and says for `what` there is no memory and why. */
int secret_exhausted(const char *what, struct ice_why *why);

/*
 * A zeroed block of `size` bytes (0 is treated as 1), aligned to 16. NULL with errno ENOMEM when
 * memory is short or cannot be locked (RLIMIT_MEMLOCK). Free with secret_free.
 */
void *secret_alloc(size_t size);

/* As realloc: moves the content, wipes the old block. NULL leaves the old block as it was. */
void *secret_realloc(void *block, size_t size);

/* Wipes the whole block and frees it; NULL is allowed. */
void secret_free(void *block);

/* Wipes `size` bytes in a way that no compiler drops. */
void secret_wipe(void *bytes, size_t size);

/* Whether `size` bytes are the same, in time that does not depend on them. */
bool secret_equal(const void *a, const void *b, size_t size);

/* Fills `size` bytes, at most 256, from getrandom(2). */
void secret_random(void *bytes, size_t size);

/*
 * Makes the process safe to hold keys: not dumpable (PR_SET_DUMPABLE 0), no core files. Call once,
 * first thing in main.
 */
void secret_harden_process(void);

#endif
