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

/* 10, or 16 and steps over the 0x. */
static unsigned read_radix(const char **text)
{
    const char *p = *text;
    if (p[0] != '0' || (p[1] != 'x' && p[1] != 'X'))
        return 10;
    *text += 2;
    return 16;
}

/* Reads the digits at `text`; returns where they end, or NULL when there are none. */
static const char *read_digits(const char *text, uint64_t *value, bool *overflow)
{
    unsigned radix = read_radix(&text);
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

/* False when dun x factor + add does not fit. */
static bool dun_multiply_add(struct dun *dun, unsigned factor, unsigned add)
{
    unsigned __int128 carry = add;
    for (unsigned i = 0; i < ARRAY_SIZE(dun->limb); i++) {
        carry += (unsigned __int128)dun->limb[i] * factor;
        dun->limb[i] = (uint64_t)carry;
        carry >>= 64;
    }
    return carry == 0;
}

int parse_dun(const char *text, struct dun *dun, struct ice_why *why)
{
    const char *p = text;
    unsigned radix = read_radix(&p);
    const char *digits = p;
    struct dun sum = {0};
    bool fits = true;
    for (; digit_value(*p) < (int)radix; p++)
        fits &= dun_multiply_add(&sum, radix, (unsigned)digit_value(*p));
    if (*p || p == digits)
        return why_set(why, EINVAL, "\"%.*s\" is not a number", quote_len(text), text);
    if (!fits)
        return why_set(why, ERANGE, "\"%.*s\" has more than 256 bits", quote_len(text), text);
    *dun = sum;
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

int parse_range(const char *text, uint64_t end, uint64_t *first, uint64_t *count,
                struct ice_why *why)
{
    uint64_t from, n;
    bool overflow = false, too_many = false;
    const char *rest = read_digits(text, &from, &overflow);
    rest = rest && *rest == '+' ? read_digits(rest + 1, &n, &too_many) : NULL;
    if (!rest || *rest)
        return why_set(why, EINVAL, "\"%.*s\" is not FIRST+COUNT", quote_len(text), text);
    if (overflow || too_many || from > end || n > end - from)
        return why_set(why, ERANGE, "\"%.*s\" goes past %llu", quote_len(text), text,
                       (unsigned long long)end);
    *first = from;
    *count = n;
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
