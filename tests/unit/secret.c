/* SPDX-License-Identifier: BSD-2-Clause */
/* The pool of locked memory: alignment, wiping, reuse, threads, and the limit of locked bytes. */
#include "base/secret.h"
#include "base/bytes.h"
#include "base/thread_memory.h"
#include "sanitizers.h"
#include "tap.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Freed blocks are poisoned where the address sanitizer watches; to look at them is the point here.
 */
__attribute__((no_sanitize("address"))) static bool all_zero(const volatile unsigned char *bytes,
                                                             size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (bytes[i])
            return false;
    }
    return true;
}

static void test_sizes(void)
{
    static const size_t sizes[] = {0,    1,    31,   32,   33,    48,    49,    64,    100,    3038,
                                   3072, 3073, 4096, 8192, 12289, 16384, 16385, 65536, 1000000};
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        unsigned char *a = secret_alloc(sizes[i]), *b = secret_alloc(sizes[i]);
        size_t size = sizes[i] ? sizes[i] : 1;
        ok(a && b, "%zu bytes", sizes[i]);
        if (!a || !b)
            continue;
        ok((uintptr_t)a % 16 == 0 && (uintptr_t)b % 16 == 0, "%zu bytes: aligned", sizes[i]);
        ok(all_zero(a, size) && all_zero(b, size), "%zu bytes: zeroed", sizes[i]);
        ok(a + size <= b || b + size <= a, "%zu bytes: apart", sizes[i]);
        memset(a, 0xaa, size);
        memset(b, 0xbb, size);
        ok(a[0] == 0xaa && a[size - 1] == 0xaa, "%zu bytes: the neighbour left it alone", sizes[i]);
        secret_free(a);
        secret_free(b);
    }
    errno = 0;
    ok(!secret_alloc(SIZE_MAX) && errno == ENOMEM, "more than there can be: ENOMEM");
    errno = 0;
    ok(!secret_alloc(SIZE_MAX / 2) && errno == ENOMEM, "more than there is: ENOMEM");
    secret_free(NULL);
}

static void test_wipe(void)
{
    unsigned char *anchor = secret_alloc(200); /* keeps the chunk mapped */
    unsigned char *block = secret_alloc(200);
    memset(block, 0x5a, 200);
    secret_free(block);
    ok(all_zero(block, 200), "a freed block is wiped");
    unsigned char *again = secret_alloc(250);
    ok(again == block, "a freed block serves again");
    memset(again, 0x5a, 150);

    unsigned char *moved = secret_realloc(again, 5000);
    ok(moved && moved != again && moved[0] == 0x5a && moved[149] == 0x5a && !moved[4999],
       "realloc: the content moves");
    ok(all_zero(again, 150), "realloc: the old block is wiped");
    unsigned char *shrunk = secret_realloc(moved, 100);
    ok(shrunk && shrunk[0] == 0x5a && shrunk[99] == 0x5a, "realloc: smaller");
    unsigned char *same = secret_realloc(shrunk, 128);
    ok(same == shrunk, "realloc: stays where there is room");
    ok(!secret_realloc(same, SIZE_MAX / 2) && same && same[0] == 0x5a,
       "realloc: a failure leaves the block as it was");
    unsigned char *large = secret_realloc(same, 100000);
    ok(large && large[0] == 0x5a, "realloc: to a large block");
    large = secret_realloc(large, 300000);
    ok(large && large[0] == 0x5a && !large[299999], "realloc: to a larger one");
    secret_free(large);
    unsigned char *fresh = secret_realloc(NULL, 10);
    ok(fresh != NULL, "realloc: of nothing");
    secret_free(fresh);
    secret_free(anchor);

    char bytes[8] = "secret";
    secret_wipe(bytes, sizeof(bytes));
    ok(all_zero((unsigned char *)bytes, sizeof(bytes)), "secret_wipe");
}

static bool flags_of(const void *address, char *flags, size_t size)
{
    FILE *smaps = fopen("/proc/self/smaps", "re");
    char line[512];
    bool inside = false, found = false;
    while (smaps && !found && fgets(line, sizeof(line), smaps)) {
        unsigned long start, end;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            inside = (uintptr_t)address >= start && (uintptr_t)address < end;
        found = inside && !strncmp(line, "VmFlags:", 8);
    }
    if (smaps)
        fclose(smaps);
    snprintf(flags, size, "%s", found ? line : "");
    return found;
}

static void test_mapping(void)
{
    static const size_t sizes[] = {64, 100000};
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        char flags[512];
        void *block = secret_alloc(sizes[i]);
        if (UNDER_SANITIZER || !flags_of(block, flags, sizeof(flags))) {
            skip("no VmFlags, or mlock is intercepted");
        } else {
            ok(strstr(flags, " lo") && strstr(flags, " dd") && strstr(flags, " dc"),
               "%zu bytes: locked, not dumped, not inherited:%s", sizes[i], flags + 8);
        }
        secret_free(block);
    }
}

/* What a burst took goes back, but for a few chunks. */
static void test_return(void)
{
    enum { N = 4000 };
    static void *blocks[N];
    for (unsigned i = 0; i < N; i++)
        blocks[i] = secret_alloc(1024);
    for (unsigned i = 0; i < N; i++)
        secret_free(blocks[i]);
    uintptr_t chunk = 0;
    unsigned chunks = 0, mapped = 0;
    for (unsigned i = 0; i < N; i++) {
        unsigned char resident;
        if (chunk == ((uintptr_t)blocks[i] & ~(uintptr_t)65535))
            continue;
        chunk = (uintptr_t)blocks[i] & ~(uintptr_t)65535;
        chunks++;
        mapped += mincore((void *)chunk, 4096, &resident) == 0;
    }
    ok(chunks > 60 && mapped < 16, "chunks go back to the system (%u of %u are left)", mapped,
       chunks);
}

static void *hammer(void *seed_address)
{
    unsigned seed = *(unsigned *)seed_address;
    unsigned char *blocks[64] = {0};
    unsigned sizes[64] = {0};
    bool good = true;
    for (unsigned i = 0; i < 20000; i++) {
        unsigned k = (unsigned)rand_r(&seed) % 64;
        if (blocks[k]) {
            good &= blocks[k][0] == (unsigned char)k && blocks[k][sizes[k] - 1] == (unsigned char)k;
            secret_free(blocks[k]);
            blocks[k] = NULL;
            continue;
        }
        sizes[k] = 1 + (unsigned)rand_r(&seed) % (i % 100 ? 4000 : 40000);
        blocks[k] = secret_alloc(sizes[k]);
        if (!blocks[k])
            return NULL;
        good &= all_zero(blocks[k], sizes[k]);
        memset(blocks[k], (int)k, sizes[k]);
    }
    for (unsigned k = 0; k < 64; k++)
        secret_free(blocks[k]);
    return good ? seed_address : NULL;
}

static void test_threads(void)
{
    pthread_t threads[4];
    unsigned seeds[4] = {1, 2, 3, 4};
    for (unsigned i = 0; i < 4; i++)
        pthread_create(&threads[i], NULL, hammer, &seeds[i]);
    for (unsigned i = 0; i < 4; i++) {
        void *result;
        pthread_join(threads[i], &result);
        ok(result != NULL, "thread %u found its blocks as it left them", i);
    }
}

/* In a child that may lock nothing. Must come before this process has any chunk. */
static void test_limit(void)
{
    if (UNDER_SANITIZER) {
        skip("the sanitizer intercepts mlock");
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        struct rlimit none = {0, 0};
        if (setrlimit(RLIMIT_MEMLOCK, &none) || (geteuid() == 0 && setuid(65534)))
            _exit(9);
        errno = 0;
        bool small = !secret_alloc(64) && errno == ENOMEM;
        errno = 0;
        bool large = !secret_alloc(100000) && errno == ENOMEM;
        struct ice_why why = {0};
        bool told = secret_lock(true, &why) == -ENOMEM && why.err == ENOMEM &&
                    !strcmp(why.text, "no locked memory for keys: RLIMIT_MEMLOCK is 0 bytes");
        bool unlocked = secret_lock(false, NULL) == 0 && secret_alloc(64) && secret_alloc(100000);
        _exit(small && large && told && unlocked ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    is_int(status, 0,
           "nothing can be locked: ENOMEM that names the limit, but for unlocked blocks");
}

static void test_harden(void)
{
    pid_t child = fork();
    if (child == 0) {
        struct rlimit core;
        secret_harden_process();
        getrlimit(RLIMIT_CORE, &core);
        _exit(prctl(PR_GET_DUMPABLE) == 0 && core.rlim_cur == 0 ? 0 : 1);
    }
    int status = -1;
    waitpid(child, &status, 0);
    is_int(status, 0, "a hardened process is not dumpable and leaves no core");
}

/* ---- memory of threads ---- */

#define PAGES (1u << 20)

static __thread struct thread_memory pages, keys;

static bool is_mapped(const void *at)
{
    unsigned char there;

    return mincore((void *)((uintptr_t)at & ~(uintptr_t)4095), 1, &there) == 0;
}

static void *use_thread_memory(void *argument)
{
    uint8_t **seen = argument, *secret = thread_secret(&keys, 512);

    seen[0] = thread_pages(&pages, PAGES);
    if (seen[0] && secret && !seen[0][PAGES - 1] && !secret[511]) {
        seen[0][PAGES - 1] = secret[511] = 1;
        seen[1] = secret;
    }
    if (thread_pages(&pages, PAGES) != seen[0] || thread_secret(&keys, 512) != seen[1])
        seen[1] = NULL;
    return NULL;
}

static void test_thread_memory(void)
{
    uint8_t *seen[2] = {NULL}, *own[2] = {NULL};
    pthread_t thread;

    use_thread_memory(own);
    pthread_create(&thread, NULL, use_thread_memory, seen);
    pthread_join(thread, NULL);
    ok(own[1] && seen[1], "memory of a thread is zeros, and the same every time");
    ok(own[0] != seen[0] && own[1] != seen[1], "and its own");
    ok(!is_mapped(seen[0]) && is_mapped(own[0]), "until it ends");
}

int main(void)
{
    test_limit();
    test_harden();
    test_sizes();
    test_wipe();
    test_mapping();
    test_return();
    test_threads();
    test_thread_memory();
    return tap_done();
}
