/* SPDX-License-Identifier: BSD-2-Clause */
/* One line per rule, so that a driver cannot flood the log; statistics count the rest. */
#include "violations.h"
#include "base/bytes.h"
#include "base/log.h"
#include <stdatomic.h>
#include <stdlib.h>

struct violations_log {
    struct observer observer;
    _Atomic uint64_t logged; /* bit: enum rule */
};

_Static_assert(RULE_COUNT <= 64, "a bit for each rule");

static void log_violation(struct observer *observer, const struct ice_attachment *attachment,
                          enum rule rule, const char *text)
{
    struct violations_log *log = CONTAINER_OF(observer, struct violations_log, observer);
    uint64_t bit = UINT64_C(1) << rule;

    if (atomic_load_explicit(&log->logged, memory_order_relaxed) & bit ||
        atomic_fetch_or(&log->logged, bit) & bit)
        return;
    log_warning("%s: the driver broke rule %s: %s", function_name(attachment_function(attachment)),
                rule_name(rule), text);
}

static const struct observer_ops ops = {.violation = log_violation};

struct observer *violations_log_new(void)
{
    struct violations_log *log = calloc(1, sizeof(*log));

    if (!log)
        return NULL;
    log->observer.ops = &ops;
    return &log->observer;
}

void violations_log_free(struct observer *log)
{
    if (log)
        free(CONTAINER_OF(log, struct violations_log, observer));
}
