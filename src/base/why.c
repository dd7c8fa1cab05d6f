/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Clauses travel as CBOR and JSON text, which must be UTF-8: a clause that is too long is cut
 * between characters, never inside one.
 */
#include "base/why.h"

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

void why_vsay(struct ice_why *why, int err, const char *fmt, va_list args)
{
    int len;

    if (!why)
        return;
    why->err = err;
    len = vsnprintf(why->text, sizeof(why->text), fmt, args);
    if (len >= (int)sizeof(why->text))
        trim_partial_character(why->text, sizeof(why->text) - 1);
}

void why_say(struct ice_why *why, int err, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    why_vsay(why, err, fmt, args);
    va_end(args);
}

void why_say_errno(struct ice_why *why, int err, const char *fmt, ...)
{
    char room[128];
    va_list args;
    size_t len;

    if (!why)
        return;
    va_start(args, fmt);
    why_vsay(why, err, fmt, args);
    va_end(args);
    len = strlen(why->text);
    snprintf(why->text + len, sizeof(why->text) - len, ": %s", strerror_r(err, room, sizeof(room)));
}
