/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/thread_memory.h"
#include "base/units.h"
#include "internal.h"

static __thread struct thread_memory head, data;

uint8_t *scratch_head(void)
{
    return thread_secret(&head, DIALECT_HEAD_MAX);
}

uint8_t *scratch_data(void)
{
    return thread_pages(&data, REQUEST_MAX);
}
