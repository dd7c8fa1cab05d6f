/* SPDX-License-Identifier: BSD-2-Clause */
/* What of an AES key counts as a find: 16 bytes in a row, of it or of its expanded schedules. */
#ifndef ICESIM_TESTS_KEYSCAN_H
#define ICESIM_TESTS_KEYSCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define RUN          16
#define PATTERNS_MAX 4096

/* Reads the key; false with a message on standard error. 16 to 64 bytes. */
bool patterns_load(const char *path);

/* Which kind of pattern begins here, of which RUN bytes can be read; NULL: none. */
const char *patterns_match(const uint8_t *bytes);

/* Scans a process; prints each find with its mapping if `list`. The number, or -1. */
long scan_process(pid_t pid, bool list);

#endif
