/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory.h"

#include <errno.h>
#include <linux/magic.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

/* ---- the table ---- */

static bool wraps(uint64_t start, uint64_t size)
{
    return start + size < start;
}

static bool overlaps(const struct guest_memory *memory, const struct vhost_user_region *region)
{
    for (unsigned i = 0; i < memory->count; i++) {
        const struct guest_region *other = &memory->regions[i];
        if (region->guest < other->guest + other->size &&
            other->guest < region->guest + region->size)
            return true;
    }
    return false;
}

/* What a mapping of `bytes` of this file takes: whole pages of it, which may be huge ones. */
static size_t mapped_bytes(int fd, size_t bytes)
{
    struct statfs fs;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    if (!fstatfs(fd, &fs) && fs.f_type == HUGETLBFS_MAGIC)
        page = (size_t)fs.f_bsize;
    return (bytes + page - 1) / page * page;
}

enum vhost_user_refusal guest_memory_add(struct guest_memory *memory,
                                         const struct vhost_user_region *region, int fd)
{
    uint64_t end = region->mmap_offset + region->size;
    struct stat file;

    if (!region->size)
        return REFUSAL_MEMORY_EMPTY;
    if (wraps(region->guest, region->size) || wraps(region->user, region->size) ||
        wraps(region->mmap_offset, region->size))
        return REFUSAL_MEMORY_WRAP;
    if (overlaps(memory, region))
        return REFUSAL_MEMORY_OVERLAP;
    if (memory->count == GUEST_REGIONS_MAX)
        return REFUSAL_MEMORY_FULL;
    if (fstat(fd, &file) || file.st_size < 0 || (uint64_t)file.st_size < end)
        return REFUSAL_MEMORY_FILE;
    if (end > SIZE_MAX / 2)
        return REFUSAL_MEMORY_MAP; /* no room in an address space of 32 bits */

    /* From the file's start: mmap_offset need not be a multiple of the page. */
    size_t bytes = mapped_bytes(fd, (size_t)end);
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (map == MAP_FAILED)
        return REFUSAL_MEMORY_MAP;
    if (madvise(map, bytes, MADV_DONTDUMP)) {
        munmap(map, bytes);
        return REFUSAL_MEMORY_MAP;
    }
    memory->regions[memory->count++] = (struct guest_region){
        .guest = region->guest,
        .size = region->size,
        .user = region->user,
        .bytes = (uint8_t *)map + region->mmap_offset,
        .map = map,
        .map_bytes = bytes,
    };
    return REFUSAL_NONE;
}

enum vhost_user_refusal guest_memory_remove(struct guest_memory *memory,
                                            const struct vhost_user_region *region)
{
    for (unsigned i = 0; i < memory->count; i++) {
        struct guest_region *known = &memory->regions[i];
        if (known->guest != region->guest || known->size != region->size ||
            known->user != region->user)
            continue;
        munmap(known->map, known->map_bytes);
        *known = memory->regions[--memory->count];
        return REFUSAL_NONE;
    }
    return REFUSAL_MEMORY_UNKNOWN;
}

void guest_memory_clear(struct guest_memory *memory)
{
    while (memory->count) {
        struct guest_region *last = &memory->regions[--memory->count];
        munmap(last->map, last->map_bytes);
    }
}

/* ---- translation ---- */

static const struct guest_region *find(const struct guest_memory *memory,
                                       const struct guest_region *near, uint64_t address)
{
    if (near && address - near->guest < near->size)
        return near;
    for (unsigned i = 0; i < memory->count; i++)
        if (address - memory->regions[i].guest < memory->regions[i].size)
            return &memory->regions[i];
    return NULL;
}

int guest_memory_parts(const struct guest_memory *memory, const struct guest_region **near,
                       uint64_t address, uint64_t len, struct iovec *parts, unsigned room)
{
    unsigned n = 0;

    if (wraps(address, len))
        return 0;
    while (len) {
        const struct guest_region *region = find(memory, *near, address);
        if (!region)
            return 0;
        if (n == room)
            return -1;
        uint64_t offset = address - region->guest;
        uint64_t here = region->size - offset < len ? region->size - offset : len;
        parts[n++] = (struct iovec){region->bytes + offset, (size_t)here};
        *near = region;
        address += here;
        len -= here;
    }
    return (int)n;
}

void *guest_memory_user(const struct guest_memory *memory, uint64_t user, size_t len)
{
    for (unsigned i = 0; i < memory->count; i++) {
        const struct guest_region *region = &memory->regions[i];
        uint64_t offset = user - region->user;
        if (offset < region->size && len <= region->size - offset)
            return region->bytes + offset;
    }
    return NULL;
}

/* ---- memory that goes away ---- */

/* What this thread touches; read by the handler, on the same thread. */
static __thread struct {
    struct guest_memory *memory;
    uint8_t *also;
    size_t extra;
} guarded;

static struct sigaction before_us;

/* Puts private zeros in the place of what is mapped from `start`. Also called in the handler. */
static bool replace(void *start, size_t bytes)
{
    return mmap(start, bytes, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

static bool replace_at(const uint8_t *address)
{
    struct guest_memory *memory = guarded.memory;
    uintptr_t at = (uintptr_t)address;

    if (at - (uintptr_t)guarded.also < guarded.extra)
        return replace(guarded.also, guarded.extra);
    for (unsigned i = 0; i < memory->count; i++) {
        struct guest_region *region = &memory->regions[i];
        if (at - (uintptr_t)region->map < region->map_bytes)
            return replace(region->map, region->map_bytes);
    }
    return false;
}

/* Calls only what is safe in handlers; mmap and eventfd_write are bare system calls. */
static void on_sigbus(int signal, siginfo_t *info, void *context)
{
    struct guest_memory *memory = guarded.memory;
    bool fault = info->si_code > 0; /* the kernel's, not sent by somebody */
    int err = errno;

    (void)context;
    if (memory && fault && replace_at(info->si_addr)) {
        memory->lost = true;
        if (memory->lost_fd >= 0)
            eventfd_write(memory->lost_fd, 1);
    } else { /* as if we were not there: the touch is made again */
        sigaction(signal, &before_us, NULL);
        if (!fault)
            raise(signal);
    }
    errno = err;
}

void guest_memory_touch(const struct iovec *parts, unsigned n)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    for (unsigned i = 0; i < n; i++) {
        const volatile uint8_t *bytes = parts[i].iov_base;
        for (size_t at = 0; at < parts[i].iov_len; at += page)
            (void)bytes[at];
        (void)bytes[parts[i].iov_len - 1];
    }
}

static void install(void)
{
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK};

    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &before_us);
}

void guest_memory_guard(struct guest_memory *memory, void *also, size_t extra)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    pthread_once(&once, install);
    guarded.memory = memory;
    guarded.also = also;
    guarded.extra = extra;
}
