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

#define ICE_WHY_TEXT 192 /* bytes of the clause, terminator included; longer ones are cut */

struct ice_why {
    int err; /* positive errno; 0: nothing to say */
    char text[ICE_WHY_TEXT];
};

/*
 * Fills `why` (may be NULL) and returns -err, so that `return why_set(why, EINVAL, "…");` reads as
 * one step. `err` is positive.
 */
__attribute__((format(printf, 3, 4))) int why_set(struct ice_why *why, int err, const char *fmt,
                                                  ...);

/* As why_set, with ": " and the text of errno `err` appended. */
__attribute__((format(printf, 3, 4))) int why_errno(struct ice_why *why, int err, const char *fmt,
                                                    ...);

#endif
