/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counts the calls that lock (shared: an rwlock, to read) or allocate, in front of libc's and of
 * secret memory: for programs that Makefile.am links with $(counted).
 */
#ifndef ICESIM_TESTS_COUNTED_H
#define ICESIM_TESTS_COUNTED_H

#include <stdatomic.h>

extern _Atomic unsigned counted_locks, counted_shared, counted_allocations;

#endif
