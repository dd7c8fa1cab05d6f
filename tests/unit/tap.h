/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * TAP for unit tests: each check prints one line, tap_done the plan. To be included by one file of
 * a test program; checks may be made from several threads. Names are printf formats.
 */
#ifndef ICESIM_TESTS_TAP_H
#define ICESIM_TESTS_TAP_H

#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static struct {
    pthread_mutex_t lock;
    unsigned count, failed;
} tap = {.lock = PTHREAD_MUTEX_INITIALIZER};

#define TAP_FORMAT(n) __attribute__((format(printf, n, n + 1), unused))

/* `#` would begin a directive, a line break would end the line. */
__attribute__((format(printf, 1, 0))) static inline void tap_name(const char *format, va_list args)
{
    char name[512];
    vsnprintf(name, sizeof(name), format, args);
    for (char *c = name; *c; c++)
        if (*c == '#' || *c == '\n')
            *c = ' ';
    fputs(name, stdout);
}

__attribute__((format(printf, 3, 0))) static inline void
tap_line(bool passed, const char *directive, const char *format, va_list args)
{
    tap.count++;
    tap.failed += !passed;
    printf("%s %u - ", passed ? "ok" : "not ok", tap.count);
    tap_name(format, args);
    printf("%s\n", directive);
}

/* A line that TAP readers show and do not judge. */
TAP_FORMAT(1) static void note(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("# ", stdout);
    tap_name(format, args);
    putchar('\n');
    fflush(stdout);
    va_end(args);
}

TAP_FORMAT(2) static bool ok(bool passed, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&tap.lock);
    tap_line(passed, "", format, args);
    fflush(stdout);
    pthread_mutex_unlock(&tap.lock);
    va_end(args);
    return passed;
}

TAP_FORMAT(3) static bool is_int(intmax_t got, intmax_t want, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&tap.lock);
    tap_line(got == want, "", format, args);
    if (got != want)
        printf("#   got %jd (0x%jx)\n#  want %jd (0x%jx)\n", got, (uintmax_t)got, want,
               (uintmax_t)want);
    fflush(stdout);
    pthread_mutex_unlock(&tap.lock);
    va_end(args);
    return got == want;
}

/* NULL equals only NULL. */
TAP_FORMAT(3) static bool is_str(const char *got, const char *want, const char *format, ...)
{
    bool same = got && want ? strcmp(got, want) == 0 : got == want;
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&tap.lock);
    tap_line(same, "", format, args);
    if (!same)
        printf("#   got '%s'\n#  want '%s'\n", got ? got : "(null)", want ? want : "(null)");
    fflush(stdout);
    pthread_mutex_unlock(&tap.lock);
    va_end(args);
    return same;
}

static inline void tap_hex(const char *label, const uint8_t *bytes, size_t len)
{
    printf("# %s", label);
    for (size_t i = 0; i < len; i++)
        printf(" %02x", bytes[i]);
    putchar('\n');
}

TAP_FORMAT(4)
static bool is_mem(const void *got, const void *want, size_t len, const char *format, ...)
{
    const uint8_t *a = got, *b = want;
    size_t at = 0;
    while (at < len && a[at] == b[at])
        at++;
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&tap.lock);
    tap_line(at == len, "", format, args);
    if (at < len) {
        size_t shown = len - at < 16 ? len - at : 16;
        printf("# first difference at byte %zu of %zu\n", at, len);
        tap_hex("  got", a + at, shown);
        tap_hex(" want", b + at, shown);
    }
    fflush(stdout);
    pthread_mutex_unlock(&tap.lock);
    va_end(args);
    return at == len;
}

/* Counts one test that could not be made here. */
TAP_FORMAT(1) static void skip(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    pthread_mutex_lock(&tap.lock);
    printf("ok %u # SKIP ", ++tap.count);
    tap_name(format, args);
    putchar('\n');
    fflush(stdout);
    pthread_mutex_unlock(&tap.lock);
    va_end(args);
}

/* For the end of main: `return tap_done();` */
static inline int tap_done(void)
{
    printf("1..%u\n", tap.count);
    fflush(stdout);
    return tap.failed ? 1 : 0;
}

#endif
