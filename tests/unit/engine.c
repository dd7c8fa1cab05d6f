/* SPDX-License-Identifier: BSD-2-Clause */
/* Keyslots: atomic programming, references, contexts, resets, under threads. */
#include "engine/engine.h"
#include "base/bytes.h"
#include "cipher/pool.h"
#include "tap.h"
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define SLOTS 255

static struct engine *engine;

static int program(unsigned slot, uint8_t first, uint64_t owner, uint64_t *count)
{
    struct slot_key now;
    int r;

    uint8_t bytes[64];
    struct engine_key key = {algorithm_by_name("aes-256-xts"), 512, bytes, 0};

    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(first + i);
    r = engine_program(engine, slot, &key, &(struct slot_owner){.id = owner}, &now, NULL);
    if (count)
        *count = now.program_count;
    return r;
}

static bool programmed(unsigned slot)
{
    struct slot_info info;

    engine_slot_info(engine, slot, &info);
    return info.programmed;
}

static void test_counts(void)
{
    uint64_t first, second, count;
    struct slot_key key;
    struct slot_info info;

    program(0, 1, 0, &first);
    program(0, 2, 0, &second);
    is_int((intmax_t)(second - first), 1, "each program raises the count by one");
    is_int(engine_get(engine, 0, first, NULL), -ENOKEY, "the old count is refused");
    is_int(engine_get(engine, 0, second, &key), 0, "the new one is taken");
    ok(key.data_unit == 512 && key.program_count == second && key.iv_bits == 128,
       "with the slot's data unit, count and width of IV");
    is_int(program(0, 3, 0, NULL), -EBUSY, "no program with a reference out");
    is_int(engine_evict(engine, 0, NULL, NULL, NULL), -EBUSY, "no evict");
    engine_slot_info(engine, 0, &info);
    ok(info.in_flight == 1 && info.program_count == second, "and nothing has changed");
    engine_put(engine, 0);
    is_int(engine_evict(engine, 0, NULL, NULL, NULL), 0, "idle, it is evicted");
    engine_slot_info(engine, 0, &info);
    ok(!info.programmed && !info.algorithm &&
           !memcmp(info.fingerprint, (uint8_t[FINGERPRINT_BYTES]){0}, FINGERPRINT_BYTES),
       "nothing is told of the old key");
    program(0, 1, 0, &count);
    is_int((intmax_t)(count - second), 1, "the count goes on after an eviction");
    engine_evict(engine, 0, NULL, NULL, NULL);
}

static void test_owners(void)
{
    program(1, 1, 7, NULL);
    program(2, 1, 8, NULL);
    program(3, 1, 7, NULL);
    engine_clear(engine, 0, 3, 7);
    ok(!programmed(1) && programmed(2) && programmed(3), "clear: this owner's, in the window");
    engine_clear(engine, 0, SLOTS, ENGINE_ANY_OWNER);
    ok(!programmed(2) && !programmed(3), "clear: everybody's");
}

/* What slots keep their contexts in. */
static void test_pool(void)
{
    struct cipher_params params = {algorithm_by_name("aes-256-xts"), 512, false};
    struct cipher_pool pool, other, empty = {0};
    struct cipher *borrowed[CIPHER_POOL_MAX];
    uint8_t key[64] = {0};
    unsigned count;

    is_int(cipher_pool_open(&pool, &params, key, NULL), -EINVAL, "a weak key opens no pool");
    ok(!pool.count && !pool.contexts[0] && !pool.free, "and leaves it empty");
    cipher_pool_close(&pool);
    key[0] = 1;
    is_int(cipher_pool_open(&pool, &params, key, NULL), 0, "another does");
    count = pool.count;
    ok(count >= 1 && count <= CIPHER_POOL_MAX, "%u contexts", count);
    for (unsigned i = 0; i < count; i++) {
        borrowed[i] = cipher_pool_borrow(&pool);
        for (unsigned k = 0; k < i; k++)
            if (borrowed[k] == borrowed[i])
                ok(false, "a context is borrowed twice");
    }
    ok(!pool.free, "all are out");
    for (unsigned i = count; i--;)
        cipher_pool_return(&pool, borrowed[i]);
    cipher_pool_exchange(&pool, &empty);
    ok(!pool.count && empty.count == count && empty.free == (1u << count) - 1, "exchanged");
    is_int(cipher_pool_open(&other, &params, key, NULL), 0, "a third pool");
    cipher_pool_exchange(&empty, &other);
    cipher_pool_close(&other);
    cipher_pool_close(&empty);
    ok(!empty.count, "closed");
}

static void test_all_slots(void)
{
    for (unsigned i = 0; i < SLOTS; i++)
        if (program(i, (uint8_t)i, 0, NULL))
            ok(false, "slot %u is programmed", i);
    ok(programmed(0) && programmed(SLOTS - 1), "255 slots are programmed");
    engine_reset(engine);
    for (unsigned i = 0; i < SLOTS; i++)
        if (programmed(i))
            ok(false, "slot %u is empty after a reset", i);
}

/* ---- threads ---- */

static _Atomic bool stop;
static _Atomic unsigned long served, mixed, refused;

/*
 * Encrypts zeros through slot 9 for ever: each result must be that of one of the two keys, whole.
 * `known[k]` is the ciphertext under key k.
 */
static uint8_t known[2][2048];

static void *use_slot(void *unused)
{
    static const uint8_t zeros[2048];

    (void)unused;
    while (!stop) {
        uint8_t out[2048];
        struct cipher *cipher;

        if (engine_get(engine, 9, UINT64_MAX, NULL)) {
            refused++;
            sched_yield(); /* the slot is empty until somebody else runs */
            continue;
        }
        cipher = engine_borrow(engine, 9);
        cipher_encrypt(cipher, dun_from_u64(1), zeros, out, sizeof(out));
        engine_return(engine, 9, cipher);
        engine_put(engine, 9);
        served++;
        if (memcmp(out, known[0], sizeof(out)) && memcmp(out, known[1], sizeof(out)))
            mixed++;
    }
    return NULL;
}

static void learn(unsigned k)
{
    static const uint8_t zeros[2048];
    struct cipher *cipher;

    program(9, (uint8_t)(100 * k + 1), 0, NULL);
    engine_get(engine, 9, UINT64_MAX, NULL);
    cipher = engine_borrow(engine, 9);
    cipher_encrypt(cipher, dun_from_u64(1), zeros, known[k], sizeof(known[k]));
    engine_return(engine, 9, cipher);
    engine_put(engine, 9);
}

static void test_threads(void)
{
    pthread_t threads[12];
    unsigned long changes = 0;
    const char *scale = getenv("ICESIM_TEST_SCALE");
    unsigned long wanted = 300 * (scale ? strtoul(scale, NULL, 10) : 1);

    learn(0);
    learn(1);
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_create(&threads[i], NULL, use_slot, NULL);
    for (unsigned i = 0; changes < wanted || served <= wanted; i++) {
        changes += program(9, (uint8_t)(100 * (i % 2) + 1), 0, NULL) == 0;
        if (i % 16 == 0)
            engine_evict(engine, 9, NULL, NULL, NULL);
        if (i % 8 == 0)
            engine_clear(engine, 9, 1, ENGINE_ANY_OWNER);
        if (i % 4 == 0)
            usleep(50);
    }
    stop = true;
    for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
        pthread_join(threads[i], NULL);
    note("%lu encryptions, %lu key changes, %lu refusals", served, changes, refused);
    is_int((intmax_t)mixed, 0, "with keys changing under load no output is of half a key");
    ok(served > wanted, "more threads than contexts are all served");
}

static void *hold_a_while(void *unused)
{
    (void)unused;
    usleep(50000);
    engine_put(engine, 5);
    return NULL;
}

static void test_clear_waits(void)
{
    pthread_t thread;
    struct slot_info info;

    program(5, 1, 0, NULL);
    engine_get(engine, 5, UINT64_MAX, NULL);
    pthread_create(&thread, NULL, hold_a_while, NULL);
    engine_clear(engine, 5, 1, ENGINE_ANY_OWNER);
    engine_slot_info(engine, 5, &info);
    ok(!info.programmed && !info.in_flight, "a reset waits for the reference in flight");
    pthread_join(thread, NULL);
}

int main(void)
{
    uint64_t generation;

    if (cipher_init(NULL) || engine_new(SLOTS, &engine, NULL))
        return 1;
    test_counts();
    test_owners();
    test_pool();
    test_all_slots();
    test_clear_waits();
    test_threads();
    generation = engine_generation(engine);
    is_int((intmax_t)engine_reset(engine), (intmax_t)generation + 1, "a reset is a new generation");
    engine_free(engine);
    return tap_done();
}
