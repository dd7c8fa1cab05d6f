/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clauses travel as CBOR and JSON text, which must be UTF-8: a clause that is too long is cut
 * between characters, never inside one.
 */
#include "base/why.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Drops the incomplete character, if any, at the end of a text that was cut. */
static void trim_partial_character(char *text, size_t len)
{
    size_t start = len;
    while (start > 0 && len - start < 3 && ((unsigned char)text[start - 1] & 0xc0) == 0x80)
        start--;
    if (start == 0)
        return;
    unsigned char lead = (unsigned char)text[start - 1];
    size_t need = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    if (len - (start - 1) < need)
        text[start - 1] = '\0';
}

__attribute__((format(printf, 3, 0))) static void fill(struct ice_why *why, int err,
                                                       const char *fmt, va_list ap)
{
    why->err = err;
    int len = vsnprintf(why->text, sizeof(why->text), fmt, ap);
    if (len >= (int)sizeof(why->text))
        trim_partial_character(why->text, sizeof(why->text) - 1);
}

int why_set(struct ice_why *why, int err, const char *fmt, ...)
{
    if (why) {
        va_list ap;
        va_start(ap, fmt);
        fill(why, err, fmt, ap);
        va_end(ap);
    }
    return -err;
}

int why_errno(struct ice_why *why, int err, const char *fmt, ...)
{
    if (why) {
        va_list ap;
        va_start(ap, fmt);
        fill(why, err, fmt, ap);
        va_end(ap);

        char room[128];
        const char *cause = strerror_r(err, room, sizeof(room));
        size_t len = strlen(why->text);
        snprintf(why->text + len, sizeof(why->text) - len, ": %s", cause);
    }
    return -err;
}
