/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the bytes of a key stand in this process: in locked memory only while a cipher lives, and
 * nowhere when it is closed; what wrapped keys come from and turn into, nowhere after each
 * operation; and a key that the fallback served, nowhere once it was evicted. The test knows the
 * keys masked, so that it does not find itself.
 */
#include "base/bytes.h"
#include "base/secret.h"
#include "blkcrypto/fallback.h"
#include "cipher/cipher.h"
#include "cipher/wrap.h"
#include "engine/engine.h"
#include "fake_disk.h"
#include "sanitizers.h"
#include "tap.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define MASK  0xa5
#define RUN   8 /* bytes of the key in a row that count as a find */
#define STEP  4096
#define FINDS 64

/* What is looked for. */
static uint8_t masked[WRAP_MASTER_BYTES + INLINE_KEY_BYTES + SECRET_SW_BYTES];
static unsigned masked_len;
static uint8_t window[STEP + RUN]; /* the scan goes through here and leaves it out */

struct finds {
    unsigned count;
    uintptr_t at[FINDS];
};

static bool is_key_run(const uint8_t *bytes)
{
    for (unsigned start = 0; start < masked_len; start += RUN) {
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

    const struct cipher_params params = {job->algorithm, sizeof(data), false};
    job->rc = cipher_open(&params, key, &cipher, NULL);
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
    is_int(finds.count, 0, "%s: nothing is left afterwards", name);
    for (unsigned i = 0; i < finds.count; i++)
        note("a run at %#lx", (unsigned long)finds.at[i]);
}

static void check_lifetime(const struct algorithm *algorithm)
{
    struct job job = {.algorithm = algorithm};
    pthread_t thread;
    masked_len = KEY_BYTES_MAX;
    getrandom(masked, masked_len, 0);
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

/* ---- wrapped keys ---- */

static struct engine *engine;
static struct wrapped_key lasting, passing;

enum { MASTER_AT = 0, INLINE_AT = WRAP_MASTER_BYTES, SW_AT = INLINE_AT + INLINE_KEY_BYTES };

static void mask(unsigned at, const uint8_t *bytes, size_t len)
{
    for (size_t i = 0; i < len; i++)
        masked[at + i] = bytes[i] ^ MASK;
}

static int import(void)
{
    uint8_t *master = secret_alloc(WRAP_MASTER_BYTES);
    for (unsigned i = 0; i < WRAP_MASTER_BYTES; i++)
        master[i] = masked[MASTER_AT + i] ^ MASK;
    int rc = engine_key_import(engine, master, WRAP_MASTER_BYTES, &lasting, NULL);
    secret_free(master);
    return rc;
}

static int prepare(void)
{
    return engine_key_prepare(engine, lasting.bytes, lasting.len, &passing, NULL);
}

static int derive(void)
{
    uint8_t *secret = secret_alloc(SECRET_SW_BYTES);
    int rc = engine_key_derive(engine, passing.bytes, passing.len, secret, NULL);
    mask(SW_AT, secret, SECRET_SW_BYTES);
    secret_free(secret);
    return rc;
}

static int program_slot(unsigned slot, const struct wrapped_key *wrapped)
{
    const struct engine_key key = {algorithm_by_name("aes-256-xts"), 512, wrapped->bytes,
                                   wrapped->len};
    return engine_program(engine, slot, &key, NULL, NULL, NULL);
}

static int program_and_evict(void)
{
    int rc = program_slot(0, &passing);
    return rc ? rc : engine_evict(engine, 0, NULL, NULL, NULL);
}

/* The blob decrypts, and only the tag tells that it was changed. */
static int refuse(void)
{
    struct wrapped_key changed = passing;
    changed.bytes[changed.len - 1] ^= 1;
    return program_slot(0, &changed) == -EBADMSG ? 0 : -1;
}

static int refuse_busy(void)
{
    int rc = program_slot(0, &passing);
    engine_get(engine, 0, UINT64_MAX, NULL);
    if (!rc)
        rc = program_slot(0, &passing) == -EBUSY ? 0 : -1;
    engine_put(engine, 0);
    engine_evict(engine, 0, NULL, NULL, NULL);
    return rc;
}

struct operation {
    const char *name;
    int (*run)(void);
    pthread_barrier_t barrier;
    int rc;
};

/* On a stack of its own, which stays as it is until it was scanned. */
static void *operate(void *argument)
{
    struct operation *operation = argument;
    operation->rc = operation->run();
    pthread_barrier_wait(&operation->barrier);
    pthread_barrier_wait(&operation->barrier);
    return NULL;
}

static void check_operation(struct operation *operation)
{
    pthread_t thread;
    pthread_barrier_init(&operation->barrier, NULL, 2);
    pthread_create(&thread, NULL, operate, operation);
    pthread_barrier_wait(&operation->barrier);
    is_int(operation->rc, 0, "%s", operation->name);
    check_dead(operation->name);
    pthread_barrier_wait(&operation->barrier);
    pthread_join(thread, NULL);
    pthread_barrier_destroy(&operation->barrier);
}

/* Fills `masked`: master key, inline key, software secret. */
static void choose_keys(void)
{
    uint8_t *master = secret_alloc(WRAP_MASTER_BYTES), *key = secret_alloc(INLINE_KEY_BYTES);
    secret_random(master, WRAP_MASTER_BYTES);
    mask(MASTER_AT, master, WRAP_MASTER_BYTES);
    wrap_derive_inline_key(master, key, NULL);
    mask(INLINE_AT, key, INLINE_KEY_BYTES);
    wrap_derive_sw_secret(master, key, NULL);
    mask(SW_AT, key, SECRET_SW_BYTES);
    secret_free(key);
    secret_free(master);
    masked_len = sizeof(masked);
}

/* While the slot has its key, only the inline key is anywhere. */
static void check_programmed(void)
{
    is_int(program_slot(0, &passing), 0, "a wrapped key in a slot");
    check_live("a wrapped key");
    memmove(masked + INLINE_AT, masked + SW_AT, SECRET_SW_BYTES);
    masked_len = WRAP_MASTER_BYTES + SECRET_SW_BYTES;
    check_dead("master key and software secret, with the inline key in a slot");
    engine_evict(engine, 0, NULL, NULL, NULL);
}

static void test_wrapped(void)
{
    static struct operation operations[] = {
        {.name = "import", .run = import},
        {.name = "prepare", .run = prepare},
        {.name = "derive", .run = derive},
        {.name = "program and evict", .run = program_and_evict},
        {.name = "program of a changed key", .run = refuse},
        {.name = "program of a busy slot", .run = refuse_busy},
    };
    if (engine_new(1, &engine, NULL))
        exit(1);
    choose_keys();
    check_dead("derivation");
    for (unsigned i = 0; i < ARRAY_SIZE(operations); i++)
        check_operation(&operations[i]);
    check_programmed();
    engine_free(engine);
}

/* ---- the fallback ---- */

static struct disk *fallback;
static struct crypto_key used;
static struct disk_key *opened;

static int use_fallback(void)
{
    static const struct crypto_config config = {&algorithms[1], 512, 8, ICE_KEY_TYPE_RAW};
    uint8_t *key = secret_alloc(KEY_BYTES_MAX), data[1024] = {0};
    struct disk_io io = {.buffer = data, .len = sizeof(data), .write = true};
    int rc;

    for (unsigned i = 0; i < KEY_BYTES_MAX; i++)
        key[i] = masked[i] ^ MASK;
    rc = crypto_key_init(&used, &config, key, KEY_BYTES_MAX, NULL);
    secret_free(key);
    if (!rc)
        rc = fallback->ops->key_open(fallback, &used, &opened, NULL);
    io.key = opened;
    if (!rc)
        rc = fallback->ops->transfer(fallback, &io, NULL);
    io.write = false;
    return rc ? rc : fallback->ops->transfer(fallback, &io, NULL);
}

static int use_and_evict(void)
{
    int rc = use_fallback();

    if (!rc)
        rc = fallback->ops->key_evict(fallback, opened, NULL);
    crypto_key_wipe(&used);
    return rc;
}

/* The slot is blank, though disk and key are open. */
static void test_fallback(void)
{
    static struct operation operation = {.name = "evict from the fallback", .run = use_and_evict};
    struct fake_disk *fake = fake_disk_new(65536, &no_caps);
    struct fallback_slots *slots = fallback_slots_new(false);

    if (!slots || fallback_open(&fake->disk, slots, FALLBACK_FORCE, &fallback, NULL))
        exit(1);
    masked_len = KEY_BYTES_MAX;
    getrandom(masked, masked_len, 0);
    check_operation(&operation);
    fallback->ops->key_close(fallback, opened);
    is_int(use_fallback(), 0, "use again");
    check_live("the fallback");
    fallback->ops->key_evict(fallback, opened, NULL);
    fallback->ops->key_close(fallback, opened);
    crypto_key_wipe(&used);
    fallback->ops->close(fallback);
    fallback_slots_free(slots);
    fake->disk.ops->close(&fake->disk);
}

/* ---- keys that come with requests ---- */

#define OWNER 1

static int use_key(const uint8_t *bytes)
{
    const struct engine_key key = {algorithm_by_name("aes-256-xts"), 512, bytes, 0};
    struct slot_key now;
    unsigned slot;
    int rc = engine_get_inline(engine, &key, OWNER, &slot, &now, NULL);
    if (!rc)
        engine_put(engine, slot);
    return rc;
}

/* Uses the key, as it would come along with a request; then what is said to wipe it. */
static int use_masked(int (*then)(const struct engine_key *key))
{
    uint8_t *bytes = secret_alloc(KEY_BYTES_MAX);
    const struct engine_key key = {algorithm_by_name("aes-256-xts"), 512, bytes, 0};
    for (unsigned i = 0; i < KEY_BYTES_MAX; i++)
        bytes[i] = masked[i] ^ MASK;
    int rc = use_key(bytes);
    if (!rc && then)
        rc = then(&key);
    secret_free(bytes);
    return rc;
}

static int forget_key(const struct engine_key *key)
{
    return engine_forget_inline(engine, key, OWNER, NULL);
}

static int clear_keys(const struct engine_key *key)
{
    (void)key;
    engine_clear_inline(engine, OWNER);
    return 0;
}

static int use_others(const struct engine_key *key)
{
    int rc = 0;
    (void)key;
    for (unsigned n = 0; !rc && n < INLINE_KEYS; n++) {
        uint8_t bytes[KEY_BYTES_MAX] = {(uint8_t)(n + 1)};
        rc = use_key(bytes);
    }
    return rc;
}

static int use_and_forget(void)
{
    return use_masked(forget_key);
}

static int use_and_clear(void)
{
    return use_masked(clear_keys);
}

static int use_and_push_out(void)
{
    return use_masked(use_others);
}

static void test_inline_keys(void)
{
    static struct operation operations[] = {
        {.name = "a key that is forgotten", .run = use_and_forget},
        {.name = "a key that a reset wipes", .run = use_and_clear},
        {.name = "a key that others push out", .run = use_and_push_out},
    };
    if (engine_new(1, &engine, NULL) || engine_accept_inline(engine, NULL))
        exit(1);
    masked_len = KEY_BYTES_MAX;
    getrandom(masked, masked_len, 0);
    for (unsigned i = 0; i < ARRAY_SIZE(operations); i++)
        check_operation(&operations[i]);
    is_int(use_masked(NULL), 0, "a key that came with a request");
    check_live("a key that came with a request");
    engine_free(engine);
    check_dead("the end of the engine");
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
    test_wrapped();
    test_inline_keys();
    test_fallback();
    return tap_done();
}
