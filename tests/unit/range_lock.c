/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Range locks: who excludes whom, over the table's end and for holds longer than the table, and
 * that threads with holds of every shape neither meet in an exclusive stripe nor stop each other.
 */
#include "blkcrypto/range_lock.h"
#include "tap.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define STRIPE   UINT64_C(65536)
#define THREADS  4
#define ROUNDS   3000
#define MARKERS  600 /* stripes of the store that the threads use */
#define INTO_END 200 /* the first of them: holds go over the table's end */

static struct range_lock *lock;

/* TSan's deadlock detector gives up at 64 locks held by one thread. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "detect_deadlocks=0";
}

/* ---- pairs of holds: may the second be taken while the first is held? ---- */

struct attempt {
    struct range_hold hold;
    atomic_bool taken;
};

static void *take(void *arg)
{
    struct attempt *attempt = arg;

    range_lock_take(lock, &attempt->hold);
    attempt->taken = true;
    range_lock_drop(lock, &attempt->hold);
    return NULL;
}

static void pair(const char *name, struct range_hold first, struct range_hold second, bool together)
{
    struct timespec moment = {.tv_nsec = 20 * 1000 * 1000};
    struct attempt attempt = {.hold = second};
    pthread_t thread;

    range_lock_take(lock, &first);
    pthread_create(&thread, NULL, take, &attempt);
    if (together)
        pthread_join(thread, NULL); /* hangs, and so fails, if they exclude each other */
    else
        nanosleep(&moment, NULL);
    is_int(attempt.taken, together, "%s", name);
    range_lock_drop(lock, &first);
    if (!together)
        pthread_join(thread, NULL);
}

static struct range_hold shared(uint64_t offset, uint64_t len)
{
    return (struct range_hold){.offset = offset, .len = len};
}

static void test_pairs(void)
{
    struct range_hold whole = {.offset = 0, .len = STRIPE, .head = 512};
    struct range_hold ends = {.offset = STRIPE, .len = 4 * STRIPE, .head = 512, .tail = 512};
    struct range_hold over_end = {.offset = 250 * STRIPE, .len = 12 * STRIPE, .tail = 1};
    struct range_hold straddling = {.offset = STRIPE - 512, .len = STRIPE, .head = 4096};

    pair("two shared holds of one stripe", shared(0, 512), shared(0, STRIPE), true);
    pair("an exclusive stripe keeps readers out", whole, shared(512, 512), false);
    pair("a shared stripe keeps a writer out", shared(512, 512), whole, false);
    pair("the next stripe is another", whole, shared(STRIPE, STRIPE), true);
    pair("head is exclusive", ends, shared(STRIPE + 4096, 512), false);
    pair("the middle is shared", ends, shared(2 * STRIPE, 2 * STRIPE), true);
    pair("tail is exclusive", ends, shared(4 * STRIPE, 512), false);
    pair("over the table's end, the tail", over_end, shared(261 * STRIPE, 1), false);
    pair("over the table's end, the middle", over_end, shared(253 * STRIPE, 8 * STRIPE), true);
    pair("a head over two stripes has both", straddling, shared(STRIPE, 512), false);
    pair("longer than the table, shared", shared(0, 300 * STRIPE), shared(7, 3), true);
    pair("longer than the table, before a writer", shared(0, 300 * STRIPE), whole, false);
    pair("all of the table, tail", (struct range_hold){.len = 256 * STRIPE, .tail = 1},
         shared(255 * STRIPE, 1), false);
    pair("all of the table, middle", (struct range_hold){.len = 256 * STRIPE, .tail = 1},
         shared(STRIPE, STRIPE), true);
}

/* ---- many threads ---- */

/* Written only with the stripe exclusive, read with it shared: TSan sees what the counts do not. */
static unsigned markers[MARKERS];
static unsigned added[THREADS][MARKERS];
static atomic_uint torn;

static void touch(unsigned who, const struct range_hold *hold)
{
    uint64_t first = hold->offset / STRIPE, last = (hold->offset + hold->len - 1) / STRIPE;
    unsigned sum = 0, again = 0;

    for (uint64_t s = first; s <= last; s++)
        sum += markers[s - INTO_END];
    for (uint64_t s = first; s <= last; s++)
        again += markers[s - INTO_END];
    torn += sum != again;
    if (hold->head) {
        markers[first - INTO_END]++;
        added[who][first - INTO_END]++;
    }
    if (hold->tail) {
        markers[last - INTO_END]++;
        added[who][last - INTO_END]++;
    }
}

static void *hammer(void *arg)
{
    unsigned who = (unsigned)(uintptr_t)arg, seed = who + 1;

    for (int i = 0; i < ROUNDS; i++) {
        unsigned stripes = rand_r(&seed) % 100 == 0 ? 280 : 1 + (unsigned)rand_r(&seed) % 8;
        unsigned first = (unsigned)rand_r(&seed) % (stripes > 8 ? MARKERS - stripes : 70);
        struct range_hold hold = {
            .offset = (INTO_END + first) * STRIPE + (unsigned)rand_r(&seed) % 512,
            .len = (stripes - 1) * STRIPE + 1,
            .head = rand_r(&seed) % 2,
            .tail = rand_r(&seed) % 2,
        };
        range_lock_take(lock, &hold);
        touch(who, &hold);
        range_lock_drop(lock, &hold);
    }
    return NULL;
}

static void test_threads(void)
{
    pthread_t threads[THREADS];
    unsigned wrong = 0;

    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, hammer, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int s = 0; s < MARKERS; s++) {
        unsigned sum = 0;
        for (int i = 0; i < THREADS; i++)
            sum += added[i][s];
        wrong += sum != markers[s];
    }
    is_int(wrong, 0, "no count of %d threads was lost", THREADS);
    is_int(torn, 0, "no shared stripe changed under a reader");
}

int main(void)
{
    lock = range_lock_new();
    test_pairs();
    test_threads();
    range_lock_free(lock);
    return tap_done();
}
