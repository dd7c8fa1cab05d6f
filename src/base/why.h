/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Why something was refused: Linux's errno and one clause for people.
 *
 * Every fallible function of icesim returns 0 or a negative errno and, given a `why`, says the
 * cause in it, at the point where it is known. The clause names only what its reader may know and
 * never holds key bytes. Success leaves `why` alone: no cost on the I/O path.
 */
#ifndef ICESIM_BASE_WHY_H
#define ICESIM_BASE_WHY_H

#include <stdarg.h>

#define ICE_WHY_TEXT 192 /* bytes of the clause, terminator included; longer ones are cut */

struct ice_why {
    int err; /* positive errno; 0: nothing to say */
    char text[ICE_WHY_TEXT];
};

/*
 * Fill `why` (may be NULL). why_say_errno appends ": " and the text of errno `err`. `err` is
 * positive.
 */
__attribute__((format(printf, 3, 4))) void why_say(struct ice_why *why, int err, const char *fmt,
                                                   ...);
__attribute__((format(printf, 3, 0))) void why_vsay(struct ice_why *why, int err, const char *fmt,
                                                    va_list args);
__attribute__((format(printf, 3, 4))) void why_say_errno(struct ice_why *why, int err,
                                                         const char *fmt, ...);

/*
 * The same, with the value -err, so that `return why_set(why, EINVAL, "…");` reads as one step.
 * Macros, so that compilers and analysers see that the value is negative.
 */
#define why_set(why, err, ...)                                                                     \
    ({                                                                                             \
        int why_err_ = (err);                                                                      \
        why_say((why), why_err_, __VA_ARGS__);                                                     \
        -why_err_;                                                                                 \
    })
#define why_errno(why, err, ...)                                                                   \
    ({                                                                                             \
        int why_err_ = (err);                                                                      \
        why_say_errno((why), why_err_, __VA_ARGS__);                                               \
        -why_err_;                                                                                 \
    })

#endif
