/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Linked into icesim it is icesim-counted: heap and secret memory count the calls that allocate, by
 * who calls, in the file ICESIM_COUNTS, which another process may read at any time: five native
 * 64-bit numbers in the order of `enum counter`.
 *
 * An executable's malloc takes precedence over libc's, for libraries too; the caller's address
 * tells whose call it is. secret_alloc is ours and cannot be interposed: the linker wraps it
 * (-Wl,--wrap). Built with a sanitizer, which has a malloc of its own, this file counts nothing.
 */
#include "base/secret.h"
#include "unit/sanitizers.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void *__real_secret_alloc(size_t size);
void *__real_secret_realloc(void *block, size_t size);
void *__wrap_secret_alloc(size_t size);
void *__wrap_secret_realloc(void *block, size_t size);

#if UNDER_SANITIZER
void *__wrap_secret_alloc(size_t size)
{
    return __real_secret_alloc(size);
}

void *__wrap_secret_realloc(void *block, size_t size)
{
    return __real_secret_realloc(block, size);
}
#else
enum counter { COUNT_OURS, COUNT_SECRET, COUNT_LIBFUSE, COUNT_OTHERS, COUNT_FREES, COUNTERS };

struct range {
    uintptr_t start, end;
};

static _Atomic uint64_t before_main[COUNTERS];
static _Atomic uint64_t *counts = before_main;
static struct range ours, libfuse;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *block);

static bool within(const struct range *range, const void *address)
{
    return (uintptr_t)address >= range->start && (uintptr_t)address < range->end;
}

static void count(enum counter counter)
{
    atomic_fetch_add_explicit(&counts[counter], 1, memory_order_relaxed);
}

static void count_heap(const void *caller)
{
    if (within(&ours, caller))
        count(COUNT_OURS);
    else
        count(within(&libfuse, caller) ? COUNT_LIBFUSE : COUNT_OTHERS);
}

/* The code of one loaded object. The first is the program, which has no name. */
static int find_code(struct dl_phdr_info *info, size_t size, void *user)
{
    (void)size;
    (void)user;
    struct range *range = NULL;
    if (!ours.end)
        range = &ours;
    else if (strstr(info->dlpi_name, "/libfuse3.so"))
        range = &libfuse;
    for (unsigned i = 0; range && i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type == PT_LOAD && (part->p_flags & PF_X)) {
            range->start = info->dlpi_addr + part->p_vaddr;
            range->end = range->start + part->p_memsz;
        }
    }
    return 0;
}

__attribute__((constructor)) static void start_counting(void)
{
    const char *path = getenv("ICESIM_COUNTS");
    if (!path)
        return;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(before_main)))
        abort();
    void *shared = mmap(NULL, sizeof(before_main), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (shared == MAP_FAILED)
        abort();
    close(fd);
    dl_iterate_phdr(find_code, NULL);
    counts = shared;
}

void *malloc(size_t size)
{
    count_heap(__builtin_return_address(0));
    return __libc_malloc(size);
}

void *calloc(size_t n, size_t size)
{
    count_heap(__builtin_return_address(0));
    return __libc_calloc(n, size);
}

void *realloc(void *block, size_t size)
{
    count_heap(__builtin_return_address(0));
    return __libc_realloc(block, size);
}

void *memalign(size_t alignment, size_t size)
{
    count_heap(__builtin_return_address(0));
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    count_heap(__builtin_return_address(0));
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
    count_heap(__builtin_return_address(0));
    *block = __libc_memalign(alignment, size);
    return *block ? 0 : ENOMEM;
}

void free(void *block)
{
    if (block)
        count(COUNT_FREES);
    __libc_free(block);
}

void *__wrap_secret_alloc(size_t size)
{
    count(COUNT_SECRET);
    return __real_secret_alloc(size);
}

void *__wrap_secret_realloc(void *block, size_t size)
{
    count(COUNT_SECRET);
    return __real_secret_realloc(block, size);
}
#endif
