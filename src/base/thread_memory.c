/* SPDX-License-Identifier: BSD-2-Clause */
/* A list of what the thread has, freed by the destructor of a pthread key. */
#include "thread_memory.h"
#include "secret.h"
#include <pthread.h>
#include <sys/mman.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static pthread_key_t at_thread_end;
static __thread struct thread_memory *list;

static void free_list(void *unused)
{
    (void)unused;
    while (list) {
        struct thread_memory *memory = list;

        list = memory->next;
        if (memory->secret)
            secret_free(memory->bytes);
        else
            munmap(memory->bytes, memory->size);
        *memory = (struct thread_memory){.bytes = NULL};
    }
}

static void make_key(void)
{
    pthread_key_create(&at_thread_end, free_list);
}

static void *keep(struct thread_memory *memory, void *bytes, size_t size, bool secret)
{
    *memory = (struct thread_memory){bytes, size, secret, list};
    list = memory;
    pthread_once(&once, make_key);
    pthread_setspecific(at_thread_end, &list);
    return bytes;
}

void *thread_pages(struct thread_memory *memory, size_t size)
{
    void *bytes = memory->bytes;

    if (bytes)
        return bytes;
    bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                 -1, 0);
    return bytes == MAP_FAILED ? NULL : keep(memory, bytes, size, false);
}

void *thread_secret(struct thread_memory *memory, size_t size)
{
    void *bytes = memory->bytes;

    if (bytes)
        return bytes;
    bytes = secret_alloc(size);
    return bytes ? keep(memory, bytes, size, true) : NULL;
}
