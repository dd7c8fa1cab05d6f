/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/parse.h"
#include "base/bytes.h"

#include <errno.h>

#define QUOTE_MAX    64 /* bytes of the text that a clause quotes */
#define NAME_MAX_LEN 32

/* How much of `text` to quote: all of it, or what fits without cutting a UTF-8 character. */
static int quote_len(const char *text)
{
    size_t len = strnlen(text, QUOTE_MAX + 1);
    if (len <= QUOTE_MAX)
        return (int)len;
    len = QUOTE_MAX;
    while (len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80)
        len--;
    return (int)len;
}

static int digit_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return 16;
}

/* Reads the digits at `text`; returns where they end, or NULL when there are none. */
static const char *read_digits(const char *text, uint64_t *value, bool *overflow)
{
    unsigned radix = 10;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
        radix = 16;
        text += 2;
    }

    const char *p = text;
    uint64_t sum = 0;
    *overflow = false;
    for (; digit_value(*p) < (int)radix; p++) {
        if (__builtin_mul_overflow(sum, radix, &sum) ||
            __builtin_add_overflow(sum, (unsigned)digit_value(*p), &sum))
            *overflow = true;
    }
    *value = sum;
    return p == text ? NULL : p;
}

int parse_number(const char *text, uint64_t max, uint64_t *value, struct ice_why *why)
{
    uint64_t number;
    bool overflow;
    const char *end = read_digits(text, &number, &overflow);
    if (!end || *end)
        return why_set(why, EINVAL, "\"%.*s\" is not a number", quote_len(text), text);
    if (overflow || number > max)
        return why_set(why, ERANGE, "\"%.*s\" is above %llu", quote_len(text), text,
                       (unsigned long long)max);
    *value = number;
    return 0;
}

/* log2 of the factor, or -1. */
static int suffix_shift(char suffix)
{
    switch (suffix) {
    case 'k':
    case 'K':
        return 10;
    case 'm':
    case 'M':
        return 20;
    case 'g':
    case 'G':
        return 30;
    case 't':
    case 'T':
        return 40;
    default:
        return -1;
    }
}

int parse_size(const char *text, uint64_t *bytes, struct ice_why *why)
{
    uint64_t number;
    bool overflow;
    int shift = 0;
    const char *end = read_digits(text, &number, &overflow);
    if (end && *end)
        shift = end[1] ? -1 : suffix_shift(*end);
    if (!end || shift < 0)
        return why_set(why, EINVAL, "\"%.*s\" is not a size (bytes, or with K, M, G or T)",
                       quote_len(text), text);
    if (overflow || __builtin_mul_overflow(number, UINT64_C(1) << shift, &number))
        return why_set(why, ERANGE, "\"%.*s\" is too large", quote_len(text), text);
    *bytes = number;
    return 0;
}

int parse_name(const char *text, struct ice_why *why)
{
    static const char *const reserved[] = {
        "control", "raw", "slot", "view", "function", "status", "host",
    };
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";

    size_t len = strspn(text, allowed);
    if (text[len] || len > NAME_MAX_LEN || !len || !strchr(letters, text[0]))
        return why_set(why, EINVAL,
                       "\"%.*s\" is not a name (a letter a-z, then up to 31 of a-z, 0-9, _ and -)",
                       quote_len(text), text);
    for (unsigned i = 0; i < ARRAY_SIZE(reserved); i++) {
        if (!strcmp(text, reserved[i]))
            return why_set(why, EINVAL, "\"%s\" is a reserved word", text);
    }
    return 0;
}
