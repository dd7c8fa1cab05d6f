/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Buffers of a thread's own, so that a request neither allocates nor shares. The data buffer is
 * mapped whole but only the pages that requests have used are there.
 */
#include "base/secret.h"
#include "base/units.h"
#include "internal.h"
#include <sys/mman.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_thread_end;

static __thread struct scratch {
    uint8_t *head;
    uint8_t *data;
} scratch;

static void free_scratch(void *unused)
{
    (void)unused;
    secret_free(scratch.head);
    if (scratch.data)
        munmap(scratch.data, REQUEST_MAX);
    scratch = (struct scratch){0};
}

static void make_key(void)
{
    pthread_key_create(&at_thread_end, free_scratch);
}

static void free_at_thread_end(void)
{
    pthread_once(&once, make_key);
    pthread_setspecific(at_thread_end, &scratch);
}

uint8_t *scratch_head(void)
{
    if (!scratch.head) {
        scratch.head = secret_alloc(DIALECT_HEAD_MAX);
        free_at_thread_end();
    }
    return scratch.head;
}

uint8_t *scratch_data(void)
{
    if (!scratch.data) {
        void *data = mmap(NULL, REQUEST_MAX, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (data == MAP_FAILED)
            return NULL;
        scratch.data = data;
        free_at_thread_end();
    }
    return scratch.data;
}
