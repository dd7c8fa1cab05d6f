/* SPDX-License-Identifier: BSD-2-Clause */
/* What drivers do wrong: refused or let pass, and reported where a function is strict. */
#include "internal.h"
#include "virtio/blk.h"
#include <errno.h>
#include <stdarg.h>

uint8_t refuse(struct job *job, enum rule rule, uint8_t status, int err, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    why_vsay(job->why, err, fmt, args);
    va_end(args);
    job->broken = rule;
    return status;
}

uint8_t tolerate(struct job *job, enum rule rule, const char *fmt, ...)
{
    va_list args;

    if (!job->function->strict)
        return VIRTIO_BLK_S_OK;
    va_start(args, fmt);
    why_vsay(job->why, EINVAL, fmt, args);
    va_end(args);
    job->broken = rule;
    return VIRTIO_BLK_S_IOERR;
}

void report_violation(const struct ice_attachment *attachment, enum rule rule, const char *text)
{
    const struct ice_function *function = attachment->function;

    if (rule == RULE_NONE || !function->strict || !function->observers)
        return;
    for (struct observer *const *o = function->observers; *o; o++)
        if ((*o)->ops->violation)
            (*o)->ops->violation(*o, attachment, rule, text);
}
