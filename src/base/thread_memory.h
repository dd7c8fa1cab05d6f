/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory of a thread's own, made at its first use and freed when the thread ends, so that a request
 * neither allocates nor shares. Each user declares one for each purpose, `static __thread struct
 * thread_memory name;`, and asks for the same size every time.
 */
#ifndef ICESIM_BASE_THREAD_MEMORY_H
#define ICESIM_BASE_THREAD_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

struct thread_memory {
    void *bytes; /* NULL: not made yet */
    size_t size;
    bool secret;
    struct thread_memory *next; /* of the thread's */
};

/* Whole pages, zeros at first, of which only those that were written to are there. NULL: no memory.
 */
void *thread_pages(struct thread_memory *memory, size_t size);

/* Secret memory, wiped at the end. NULL: no memory. */
void *thread_secret(struct thread_memory *memory, size_t size);

#endif
