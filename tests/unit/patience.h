/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long a test waits for what must come. Only a hang takes as long, so it is much more than any
 * machine needs, loaded or under valgrind.
 */
#ifndef ICESIM_TESTS_PATIENCE_H
#define ICESIM_TESTS_PATIENCE_H

#include "base/clock.h"
#include <stdbool.h>
#include <unistd.h>

#define PATIENCE_S  60
#define PATIENCE_MS (PATIENCE_S * 1000)
#define PROGRAM_S   (10 * PATIENCE_S) /* for alarm(2): a whole test program */

/* Waits until `condition` holds; false: it does not come to that. */
#define soon(condition)                                                                            \
    ({                                                                                             \
        int64_t soon_end = now_ms() + PATIENCE_MS;                                                 \
        bool soon_met;                                                                             \
        while (!(soon_met = (condition)) && now_ms() < soon_end)                                   \
            usleep(1000);                                                                          \
        soon_met;                                                                                  \
    })

#endif
