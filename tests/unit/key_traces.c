/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the bytes of a key stand in this process: in locked memory only while a cipher lives, and
 * nowhere when it is closed. The test knows the key masked, so that it does not find itself.
 */
#include "base/bytes.h"
#include "base/secret.h"
#include "cipher/cipher.h"
#include "sanitizers.h"
#include "tap.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define MASK  0xa5
#define RUN   8 /* bytes of the key in a row that count as a find */
#define STEP  4096
#define FINDS 64

static uint8_t masked[KEY_BYTES_MAX];
static uint8_t window[STEP + RUN]; /* the scan goes through here and leaves it out */

struct finds {
    unsigned count;
    uintptr_t at[FINDS];
};

static bool is_key_run(const uint8_t *bytes)
{
    for (unsigned start = 0; start < KEY_BYTES_MAX; start += RUN) {
        unsigned i = 0;
        while (i < RUN && (bytes[i] ^ MASK) == masked[start + i])
            i++;
        if (i == RUN)
            return true;
    }
    return false;
}

static void scan_range(int memory, uintptr_t start, uintptr_t end, struct finds *finds)
{
    for (uintptr_t at = start; at < end; at += STEP) {
        if (at + STEP > (uintptr_t)window && at < (uintptr_t)window + sizeof(window))
            continue;
        ssize_t len = pread(memory, window, sizeof(window), (off_t)at);
        for (ssize_t i = 0; i < STEP && i + RUN <= len; i++) {
            if (is_key_run(window + i) && finds->count < FINDS)
                finds->at[finds->count++] = at + (uintptr_t)i;
        }
    }
    memset(window, 0, sizeof(window));
}

/* Every writable mapping of the process. */
static struct finds scan(void)
{
    struct finds finds = {0};
    FILE *maps = fopen("/proc/self/maps", "re");
    int memory = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
    char line[512], access[5];
    unsigned long start, end;
    while (maps && memory >= 0 && fgets(line, sizeof(line), maps)) {
        if (sscanf(line, "%lx-%lx %4s", &start, &end, access) == 3 && access[1] == 'w')
            scan_range(memory, start, end, &finds);
    }
    if (maps)
        fclose(maps);
    close(memory);
    return finds;
}

static bool is_locked(uintptr_t address)
{
    FILE *smaps = fopen("/proc/self/smaps", "re");
    char line[512];
    bool inside = false, locked = false;
    while (smaps && fgets(line, sizeof(line), smaps)) {
        unsigned long start, end;
        if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
            inside = address >= start && address < end;
        if (inside && !strncmp(line, "VmFlags:", 8))
            locked = strstr(line, " lo") && strstr(line, " dd");
    }
    if (smaps)
        fclose(smaps);
    return locked;
}

struct job {
    const struct algorithm *algorithm;
    pthread_barrier_t barrier;
    int rc; /* of cipher_open */
};

/*
 * The whole life of a cipher, on a stack of its own that stays as it is while the other thread
 * scans. The fingerprint comes last: nothing covers what it may leave.
 */
static void *live(void *argument)
{
    struct job *job = argument;
    struct cipher *cipher;
    uint8_t data[512] = {0}, fingerprint[FINGERPRINT_BYTES];
    uint8_t *key = secret_alloc(KEY_BYTES_MAX);
    for (unsigned i = 0; i < KEY_BYTES_MAX; i++)
        key[i] = masked[i] ^ MASK;

    job->rc = cipher_open(job->algorithm, sizeof(data), key, &cipher, NULL);
    if (job->rc == 0) {
        cipher_encrypt(cipher, dun_from_u64(7), data, data, sizeof(data));
        cipher_decrypt(cipher, dun_from_u64(7), data, data, sizeof(data));
    }
    pthread_barrier_wait(&job->barrier);
    pthread_barrier_wait(&job->barrier);
    if (job->rc == 0)
        cipher_close(cipher);
    cipher_fingerprint(key, job->algorithm->key_bytes, fingerprint);
    secret_free(key);
    pthread_barrier_wait(&job->barrier);
    pthread_barrier_wait(&job->barrier);
    return NULL;
}

static void check_live(const char *name)
{
    struct finds finds = scan();
    unsigned unlocked = 0;
    for (unsigned i = 0; i < finds.count; i++)
        unlocked += !is_locked(finds.at[i]);
    ok(finds.count > KEY_BYTES_MAX / RUN, "%s: the scan finds a live key (%u runs)", name,
       finds.count);
    is_int(unlocked, 0, "%s: all of them in locked memory that is not dumped", name);
}

static void check_dead(const char *name)
{
    struct finds finds = scan();
    is_int(finds.count, 0, "%s: nothing is left after close", name);
    for (unsigned i = 0; i < finds.count; i++)
        note("a run at %#lx", (unsigned long)finds.at[i]);
}

static void check_lifetime(const struct algorithm *algorithm)
{
    struct job job = {.algorithm = algorithm};
    pthread_t thread;
    getrandom(masked, sizeof(masked), 0);
    pthread_barrier_init(&job.barrier, NULL, 2);
    pthread_create(&thread, NULL, live, &job);
    pthread_barrier_wait(&job.barrier);
    is_int(job.rc, 0, "%s: open", algorithm->name);
    check_live(algorithm->name);
    pthread_barrier_wait(&job.barrier);
    pthread_barrier_wait(&job.barrier);
    check_dead(algorithm->name);
    pthread_barrier_wait(&job.barrier);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&job.barrier);
}

int main(void)
{
    struct ice_why why = {0};
    if (UNDER_SANITIZER || under_valgrind()) {
        skip("sanitizers and valgrind keep copies of their own, and lock nothing");
        return tap_done();
    }
    if (!is_int(cipher_init(&why), 0, "cipher_init"))
        return tap_done();
    for (unsigned i = 0; i < ALGORITHM_COUNT; i++)
        check_lifetime(&algorithms[i]);
    return tap_done();
}
