/* SPDX-License-Identifier: BSD-2-Clause */
/* A line of a script, split into words as a shell splits it that expands nothing. */
#ifndef ICESIM_ICECTL_WORDS_H
#define ICESIM_ICECTL_WORDS_H

#include "base/why.h"
#include <stddef.h>

/* As main gets them: words[0], where a program's name stands, is empty. */
struct words {
    int count;
    char **words; /* `count`, then NULL */
    char *text;   /* where they stand */
};

/*
 * Splits `len` bytes without a line break. Blanks part words; 'quotes' keep all, "quotes" all but a
 * backslash before one of "\$`; a backslash elsewhere keeps the next character; # where a word
 * would begin ends the line. 0, -EINVAL (an open quote, a backslash at the end, a zero byte) or
 * -ENOMEM; then there is nothing to free.
 */
int words_split(const char *line, size_t len, struct words *words, struct ice_why *why);
void words_free(struct words *words);

#endif
