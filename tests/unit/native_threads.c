/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads over one native disk: 32 keys fight for few slots, under resets of every kind and beside
 * a driver that programs slots directly. Every read has what was written, no request fails, and
 * nothing is left.
 */
#include "base/bytes.h"
#include "native_bench.h"
#include "patience.h"
#include "tap.h"
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define THREADS 8
#define KEYS    32
#define UNIT    512u
#define SPAN    (4 * UNIT) /* bytes of each thread and key */

static struct native_bench bench;
static struct bench_key keys[KEYS];
static unsigned rounds;
static _Atomic unsigned failed, wrong, direct, resets;
static _Atomic bool over;

static unsigned next(unsigned *random)
{
    *random = *random * 1103515245 + 12345;
    return *random >> 16;
}

/* DUNs as the place on the disk has them. */
static struct dun dun_at(uint64_t offset)
{
    return dun_from_u64(offset / UNIT);
}

static void check(int r)
{
    if (r)
        atomic_fetch_add(&failed, 1);
}

static void *use(void *arg)
{
    unsigned thread = (unsigned)(uintptr_t)arg, random = thread * 7919 + 1;
    uint8_t values[KEYS] = {0}, data[SPAN], back[SPAN];

    for (unsigned i = 0; i < rounds; i++) {
        unsigned k = next(&random) % KEYS;
        uint64_t offset = (uint64_t)(thread * KEYS + k) * SPAN;
        bool again = values[k];
        memset(data, values[k], SPAN);
        if (again) {
            check(bench_read(&bench, &keys[k], offset, dun_at(offset), back, SPAN, NULL));
            if (memcmp(back, data, SPAN))
                atomic_fetch_add(&wrong, 1);
        }
        values[k] = (uint8_t)(1 + next(&random) % 255);
        memset(data, values[k], SPAN);
        check(bench_write(&bench, &keys[k], offset, dun_at(offset), data, SPAN, NULL));
        if (next(&random) % 16 == 0) {
            int r = bench.disk->ops->key_evict(bench.disk, keys[k].opened, NULL);
            check(r == -EBUSY ? 0 : r);
        }
    }
    return NULL;
}

/* ---- who disturbs ---- */

static void pause_ms(unsigned ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

static void *reset_engine(void *arg)
{
    (void)arg;
    while (!atomic_load(&over)) {
        native_bench_reset(&bench);
        atomic_fetch_add(&resets, 1);
        pause_ms(3);
    }
    return NULL;
}

static void *reset_others(void *arg)
{
    (void)arg;
    for (unsigned i = 0; !atomic_load(&over); i++) {
        if (i % 2)
            function_reset_attachments(bench.rig.function);
        else
            function_reset(bench.rig.function);
        pause_ms(2);
    }
    return NULL;
}

/* Takes slots that it finds empty, all but the last, for a while. */
static void *program_directly(void *arg)
{
    static const struct slot_owner nobody;
    static uint8_t bytes[KEY_BYTES_MAX] = {1};
    const struct engine_key key = {
        .algorithm = algorithm_by_name("aes-128-xts"), .data_unit = 4096, .bytes = bytes};
    struct engine *engine = bench.rig.engine;

    (void)arg;
    for (unsigned i = 0; !atomic_load(&over); i++) {
        unsigned slot = i % (engine_slots(engine) - 1);
        if (engine_program(engine, slot, &key, &nobody, NULL, NULL) == 0) {
            atomic_fetch_add(&direct, 1);
            pause_ms(1);
            engine_evict(engine, slot, &nobody, NULL, NULL);
        }
        sched_yield();
    }
    /* What a request that was just being refused has kept. */
    for (unsigned slot = 0; slot < engine_slots(engine); slot++)
        engine_evict(engine, slot, &nobody, NULL, NULL);
    return NULL;
}

static void run(const char *name, unsigned slots, struct function_params params,
                void *(*const disturb[])(void *))
{
    pthread_t users[THREADS], disturbers[3];
    unsigned n = 0;

    native_bench_open(&bench, slots ? slots : 1, THREADS * KEYS * SPAN / 512, NULL, params);
    for (unsigned k = 0; k < KEYS; k++)
        bench_key_open(&bench, &keys[k], "aes-256-xts", UNIT, (uint8_t)(1 + k));
    atomic_store(&over, false);
    failed = wrong = direct = resets = 0;
    for (; disturb && disturb[n]; n++)
        pthread_create(&disturbers[n], NULL, disturb[n], NULL);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&users[i], NULL, use, (void *)i);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(users[i], NULL);
    atomic_store(&over, true);
    for (unsigned i = 0; i < n; i++)
        pthread_join(disturbers[i], NULL);
    note("%s: %u engine resets, %u times a slot was another's", name, resets, direct);
    is_int(wrong, 0, "%s: no read is wrong", name);
    is_int(failed, 0, "%s: no request fails", name);
    for (unsigned k = 0; k < KEYS; k++) {
        struct profile_counts counts = bench_counts(&bench, &keys[k]);
        int r; /* busy: the disk programs it yet, after a reset */
        soon((r = bench.disk->ops->key_evict(bench.disk, keys[k].opened, NULL)) != -EBUSY);
        struct profile_counts after = bench_counts(&bench, &keys[k]);
        if (r || after.programs != after.evictions || counts.programs - counts.evictions > 1)
            ok(false, "%s: key %u: %d, %" PRIu64 " programs", name, k, r, after.programs);
        bench.disk->ops->key_close(bench.disk, keys[k].opened);
        crypto_key_wipe(&keys[k].key);
    }
    is_int(bench_slots_used(&bench), 0, "%s: nothing is left", name);
    native_bench_close(&bench);
}

int main(void)
{
    static void *(*const engine[])(void *) = {reset_engine, NULL};
    static void *(*const every_reset[])(void *) = {reset_engine, reset_others, NULL};
    static void *(*const all[])(void *) = {reset_engine, reset_others, program_directly, NULL};
    static void *(*const other[])(void *) = {program_directly, NULL};
    const char *scale = getenv("ICESIM_TEST_SCALE");

    rounds = 400 * (scale && atoi(scale) > 1 ? (unsigned)atoi(scale) : 1);
    alarm(PROGRAM_S + rounds / 4); /* who sleeps for good fails */
    run("4 slots", 4, (struct function_params){0}, NULL);
    run("1 slot", 1, (struct function_params){0}, NULL);
    run("4 slots, engine resets", 4, (struct function_params){0}, engine);
    run("1 slot, engine resets", 1, (struct function_params){.dialect = &dialect_inline}, engine);
    run("3 slots, all resets", 3, (struct function_params){.dialect = &dialect_ice1}, every_reset);
    run("4 slots, another driver", 4, (struct function_params){0}, other);
    run("4 slots, all of it", 4, (struct function_params){0}, all);
    run("keys inline, all resets", 0, (struct function_params){.keys_inline = true}, every_reset);
    return tap_done();
}
