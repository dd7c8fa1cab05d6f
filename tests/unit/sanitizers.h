/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * UNDER_SANITIZER is 1 in builds with the address or thread sanitizer: they turn mlock into nothing
 * and map terabytes of shadow. under_valgrind() is true when valgrind runs the program: on one
 * thread at a time, so that a program that uses a mount it serves hangs.
 */
#ifndef ICESIM_TESTS_SANITIZERS_H
#define ICESIM_TESTS_SANITIZERS_H

#include "base/sanitizers.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define UNDER_SANITIZER (UNDER_ASAN || UNDER_TSAN)

static inline bool under_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");
    return preload && strstr(preload, "/vgpreload_");
}

#endif
