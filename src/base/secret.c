/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A chunk is aligned to its size, so a block's address alone finds the header of its chunk. Which
 * blocks are free stands in a bitmap in the header, so free blocks hold nothing but zeros. A chunk
 * serves one size class at a time; an empty one becomes spare and may serve any class next.
 */
#include "base/secret.h"
#include "base/bytes.h"
#include "base/sanitizers.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

#define CHUNK_SIZE ((size_t)65536)
#define BLOCKS_MAX (CHUNK_SIZE / 32)
#define SPARES_MAX 4 /* more empty chunks than this go back to the system */
#define MAGIC      UINT64_C(0x6963656368756e6b)

struct chunk {
    uint64_t magic;
    size_t block_size; /* the class; of a large block, what follows the header */
    size_t mapped;     /* bytes of the mapping */
    unsigned nblocks;  /* 0: a large block with a mapping of its own */
    unsigned nfree;
    struct chunk *prev; /* among the chunks of a class with free blocks, or the spares */
    struct chunk *next;
    uint64_t free_map[BLOCKS_MAX / 64]; /* a set bit is a free block */
} __attribute__((aligned(64)));

static const size_t class_sizes[] = {
    32,   48,   64,   96,   128,  192,  256,  384,   512,   768,
    1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384,
};

static struct {
    pthread_mutex_t lock;
    struct chunk *partial[ARRAY_SIZE(class_sizes)]; /* chunks with at least one free block */
    struct chunk *spare;
    unsigned nspare;
    bool unlocked;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void list_push(struct chunk **head, struct chunk *chunk)
{
    chunk->prev = NULL;
    chunk->next = *head;
    if (*head)
        (*head)->prev = chunk;
    *head = chunk;
}

static void list_remove(struct chunk **head, struct chunk *chunk)
{
    if (chunk->prev)
        chunk->prev->next = chunk->next;
    else
        *head = chunk->next;
    if (chunk->next)
        chunk->next->prev = chunk->prev;
}

/* Zeroed memory of `size` bytes, a multiple of the page, aligned to CHUNK_SIZE; NULL with ENOMEM.
 */
static struct chunk *map_aligned(size_t size)
{
    char *raw =
        mmap(NULL, size + CHUNK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) {
        errno = ENOMEM;
        return NULL;
    }

    size_t before = -(uintptr_t)raw & (CHUNK_SIZE - 1);
    char *start = raw + before;
    if (before)
        munmap(raw, before);
    munmap(start + size, CHUNK_SIZE - before);

    if (madvise(start, size, MADV_DONTDUMP) || madvise(start, size, MADV_DONTFORK) ||
        (!pool.unlocked && mlock(start, size))) {
        munmap(start, size);
        errno = ENOMEM;
        return NULL;
    }
    struct chunk *chunk = (struct chunk *)start;
    chunk->magic = MAGIC;
    chunk->mapped = size;
    return chunk;
}

static char *blocks_of(struct chunk *chunk)
{
    return (char *)(chunk + 1);
}

static struct chunk *chunk_of(void *block)
{
    struct chunk *chunk = (struct chunk *)((uintptr_t)block & ~(uintptr_t)(CHUNK_SIZE - 1));
    assert(chunk->magic == MAGIC);
    return chunk;
}

/* Gives an empty chunk to the class of `block_size`. */
static void format_chunk(struct chunk *chunk, size_t block_size)
{
    chunk->block_size = block_size;
    chunk->nblocks = (unsigned)((CHUNK_SIZE - sizeof(*chunk)) / block_size);
    chunk->nfree = chunk->nblocks;
    memset(chunk->free_map, 0, sizeof(chunk->free_map));
    memset(chunk->free_map, 0xff, chunk->nblocks / 64 * sizeof(uint64_t));
    if (chunk->nblocks % 64)
        chunk->free_map[chunk->nblocks / 64] = (UINT64_C(1) << (chunk->nblocks % 64)) - 1;
    ASAN_POISON_MEMORY_REGION(blocks_of(chunk), CHUNK_SIZE - sizeof(*chunk));
}

/* A chunk of the class with a free block; NULL with ENOMEM. */
static struct chunk *find_chunk(unsigned cls)
{
    struct chunk *chunk = pool.partial[cls];
    if (chunk)
        return chunk;

    chunk = pool.spare;
    if (chunk) {
        list_remove(&pool.spare, chunk);
        pool.nspare--;
    } else {
        chunk = map_aligned(CHUNK_SIZE);
        if (!chunk)
            return NULL;
    }
    format_chunk(chunk, class_sizes[cls]);
    list_push(&pool.partial[cls], chunk);
    return chunk;
}

static void *take_block(unsigned cls)
{
    struct chunk *chunk = find_chunk(cls);
    if (!chunk)
        return NULL;

    unsigned word = 0;
    while (!chunk->free_map[word])
        word++;
    unsigned bit = (unsigned)__builtin_ctzll(chunk->free_map[word]);
    chunk->free_map[word] &= ~(UINT64_C(1) << bit);
    if (--chunk->nfree == 0)
        list_remove(&pool.partial[cls], chunk);
    return blocks_of(chunk) + (word * 64 + bit) * chunk->block_size;
}

static void retire_chunk(struct chunk *chunk)
{
    if (pool.nspare < SPARES_MAX) {
        list_push(&pool.spare, chunk);
        pool.nspare++;
    } else {
        ASAN_UNPOISON_MEMORY_REGION(chunk, chunk->mapped);
        munmap(chunk, chunk->mapped);
    }
}

/* The smallest class for `size`; ARRAY_SIZE(class_sizes) when it is too large for all. */
static unsigned class_for(size_t size)
{
    unsigned cls = 0;
    while (cls < ARRAY_SIZE(class_sizes) && class_sizes[cls] < size)
        cls++;
    return cls;
}

static void give_back(struct chunk *chunk, const char *block)
{
    size_t index = (size_t)(block - blocks_of(chunk)) / chunk->block_size;
    uint64_t bit = UINT64_C(1) << (index % 64);
    assert(block == blocks_of(chunk) + index * chunk->block_size);
    assert(!(chunk->free_map[index / 64] & bit));

    unsigned cls = class_for(chunk->block_size);
    chunk->free_map[index / 64] |= bit;
    if (chunk->nfree++ == 0)
        list_push(&pool.partial[cls], chunk);
    if (chunk->nfree == chunk->nblocks) {
        list_remove(&pool.partial[cls], chunk);
        retire_chunk(chunk);
    }
}

static void *alloc_large(size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    if (size > SIZE_MAX / 2) {
        errno = ENOMEM;
        return NULL;
    }
    size_t mapped = (sizeof(struct chunk) + size + page - 1) & ~(page - 1);
    struct chunk *chunk = map_aligned(mapped);
    if (!chunk)
        return NULL;
    chunk->block_size = mapped - sizeof(*chunk);
    return blocks_of(chunk);
}

void *secret_alloc(size_t size)
{
    unsigned cls = class_for(size);
    if (cls == ARRAY_SIZE(class_sizes))
        return alloc_large(size);

    pthread_mutex_lock(&pool.lock);
    void *block = take_block(cls);
    pthread_mutex_unlock(&pool.lock);
    if (block)
        ASAN_UNPOISON_MEMORY_REGION(block, size ? size : 1);
    return block;
}

void secret_free(void *block)
{
    if (!block)
        return;

    struct chunk *chunk = chunk_of(block);
    ASAN_UNPOISON_MEMORY_REGION(block, chunk->block_size);
    secret_wipe(block, chunk->block_size);
    if (!chunk->nblocks) {
        munmap(chunk, chunk->mapped);
        return;
    }
    ASAN_POISON_MEMORY_REGION(block, chunk->block_size);
    pthread_mutex_lock(&pool.lock);
    give_back(chunk, block);
    pthread_mutex_unlock(&pool.lock);
}

void *secret_realloc(void *block, size_t size)
{
    if (!block)
        return secret_alloc(size);

    size_t have = chunk_of(block)->block_size;
    if (size <= have && size >= have / 2) {
        ASAN_UNPOISON_MEMORY_REGION(block, size);
        return block;
    }
    void *moved = secret_alloc(size);
    if (!moved)
        return NULL;
    ASAN_UNPOISON_MEMORY_REGION(block, have);
    memcpy(moved, block, min_u64(have, size));
    secret_free(block);
    return moved;
}

void secret_wipe(void *bytes, size_t size)
{
    explicit_bzero(bytes, size);
}

bool secret_equal(const void *a, const void *b, size_t size)
{
    const volatile uint8_t *x = a, *y = b;
    uint8_t difference = 0;
    for (size_t i = 0; i < size; i++)
        difference |= x[i] ^ y[i];
    return !difference;
}

/* So few bytes come whole, once the kernel's pool is ready: until then a signal may cut the wait.
 */
void secret_random(void *bytes, size_t size)
{
    assert(size <= 256);
    while (getrandom(bytes, size, 0) != (ssize_t)size)
        continue;
}

int secret_lock(bool lock, struct ice_why *why)
{
    pool.unlocked = !lock;
    if (!lock)
        return 0;
    struct chunk *trial = map_aligned(SECRET_LEAST);
    if (!trial)
        return secret_exhausted("keys", why);
    munmap(trial, SECRET_LEAST);
    return 0;
}

int secret_exhausted(const char *what, struct ice_why *why)
{
    struct rlimit limit;
    if (pool.unlocked || getrlimit(RLIMIT_MEMLOCK, &limit) || limit.rlim_cur == RLIM_INFINITY)
        return why_set(why, ENOMEM, "no memory for %s", what);
    return why_set(why, ENOMEM, "no locked memory for %s: RLIMIT_MEMLOCK is %llu bytes", what,
                   (unsigned long long)limit.rlim_cur);
}

void secret_harden_process(void)
{
    struct rlimit core;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (getrlimit(RLIMIT_CORE, &core) == 0) {
        core.rlim_cur = 0;
        setrlimit(RLIMIT_CORE, &core);
    }
}
