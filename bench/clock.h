/* SPDX-License-Identifier: BSD-2-Clause */
/* What the benchmark programs share: run something for a while, print bytes per second. */
#ifndef ICESIM_BENCH_CLOCK_H
#define ICESIM_BENCH_CLOCK_H

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static inline double seconds_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* A number on the command line; ends the program when it is none above 0. */
static inline double argument(const char *text)
{
    char *end;
    double value;

    errno = 0;
    value = strtod(text, &end);
    if (errno || end == text || *end || !(value > 0)) {
        fprintf(stderr, "%s: not a number above 0\n", text);
        exit(2);
    }
    return value;
}

/* All that a measurement says. */
static inline void print_rate(uint64_t bytes, double seconds)
{
    printf("%.0f\n", (double)bytes / seconds);
}

#endif
