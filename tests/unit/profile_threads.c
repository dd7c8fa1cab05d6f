/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads over one profile: keys fight for fewer slots, operations end on a thread of their own and
 * fail now and then, the engine resets, keys are evicted. Whoever has a reference finds its key in
 * the slot, and everybody is served.
 */
#include "base/bytes.h"
#include "blkcrypto/profile.h"
#include "tap.h"
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

#define THREADS 4
#define SLOTS   3
#define KEYS    6
#define ROUNDS  4000

static struct profile *profile;
static struct crypto_key keys[KEYS];
static struct profile_key *opened[KEYS];

/* The engine. */
static const struct crypto_key *_Atomic holds[SLOTS];
static _Atomic unsigned generation, acknowledged;
static _Atomic unsigned wrong, failed;

/* ---- operations end on a thread of their own ---- */

static struct {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct pending {
        struct profile_call *call;
        uint32_t slot;
        const struct crypto_key *key;
        unsigned acknowledges;
    } pending[SLOTS + 1 + KEYS];
    unsigned count;
    bool stop;
} queue = {.lock = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static void push(struct pending pending)
{
    pthread_mutex_lock(&queue.lock);
    queue.pending[queue.count++] = pending;
    pthread_cond_signal(&queue.more);
    pthread_mutex_unlock(&queue.lock);
}

static void program(void *user, uint32_t slot, const struct crypto_key *key,
                    struct profile_call *call)
{
    (void)user;
    push((struct pending){call, slot, key, 0});
}

static void acknowledge(void *user, struct profile_call *call)
{
    (void)user;
    push((struct pending){call, SLOTS, NULL, atomic_load(&generation)});
}

static const struct profile_ops ops = {program, program, acknowledge};

static void end(const struct pending *pending, unsigned random)
{
    int err = 0;

    if (pending->slot == SLOTS)
        atomic_store(&acknowledged, pending->acknowledges);
    else if (random % 16 == 0)
        err = -EIO;
    else
        atomic_store(&holds[pending->slot], pending->key);
    profile_call_done(pending->call, err);
}

static void *engine(void *arg)
{
    unsigned random = 1;

    (void)arg;
    for (;;) {
        struct pending pending;
        pthread_mutex_lock(&queue.lock);
        while (!queue.count && !queue.stop)
            pthread_cond_wait(&queue.more, &queue.lock);
        if (!queue.count)
            break;
        pending = queue.pending[0];
        memmove(queue.pending, queue.pending + 1, --queue.count * sizeof(pending));
        pthread_mutex_unlock(&queue.lock);
        random = random * 1103515245 + 12345;
        end(&pending, random >> 16);
    }
    pthread_mutex_unlock(&queue.lock);
    return NULL;
}

/* ---- users ---- */

struct user {
    struct profile_ref ref;
    _Atomic int result;
};

enum { NOTHING = 1 };

static void ready(struct profile_ref *ref, int err)
{
    atomic_store(&CONTAINER_OF(ref, struct user, ref)->result, err);
}

static int await(struct user *user)
{
    while (atomic_load(&user->result) == NOTHING)
        sched_yield();
    return user->result;
}

static int get(struct user *user, unsigned key)
{
    int r;

    atomic_store(&user->result, NOTHING);
    r = profile_get(opened[key], &user->ref);
    return r == -EINPROGRESS ? await(user) : r;
}

/* A request: refused, and then repeated, while a reset is not acknowledged. */
static bool use(struct user *user, unsigned key)
{
    for (;;) {
        unsigned current = atomic_load(&generation);
        if (atomic_load(&acknowledged) == current) {
            const struct crypto_key *found = atomic_load(&holds[user->ref.slot]);
            /* a reset may have come in between */
            if (atomic_load(&generation) == current) {
                if (found != &keys[key])
                    atomic_fetch_add(&wrong, 1);
                return true;
            }
        }
        atomic_store(&user->result, NOTHING);
        if (profile_again(&user->ref) != -EINPROGRESS || await(user))
            return false;
    }
}

static void evicted(void *arg, int err)
{
    (void)err;
    atomic_store((_Atomic int *)arg, 0);
}

static int evict(unsigned key)
{
    _Atomic int running = 1;
    int r = profile_evict(opened[key], evicted, &running);

    while (r == -EINPROGRESS && atomic_load(&running))
        sched_yield();
    return r;
}

static void *run(void *arg)
{
    unsigned random = (unsigned)(uintptr_t)arg * 7919 + 1;
    struct user user = {.ref.ready = ready};

    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned key;
        random = random * 1103515245 + 12345;
        key = (random >> 16) % (i % 100 < 50 ? SLOTS - 1 : KEYS);
        if ((random >> 8) % 64 == 0) {
            evict(key);
        } else if (get(&user, key) || !use(&user, key)) {
            atomic_fetch_add(&failed, 1);
        } else {
            profile_put(&user.ref);
        }
    }
    return NULL;
}

static _Atomic bool over;

/* Engine resets: new generation, then all slots empty, then the news of it. */
static void *reset(void *arg)
{
    (void)arg;
    while (!atomic_load(&over)) {
        atomic_fetch_add(&generation, 1);
        for (unsigned s = 0; s < SLOTS; s++)
            atomic_store(&holds[s], NULL);
        profile_reset(profile);
        for (unsigned i = 0; i < 200 && !atomic_load(&over); i++)
            sched_yield();
        while (atomic_load(&acknowledged) != atomic_load(&generation))
            sched_yield();
    }
    return NULL;
}

int main(void)
{
    const struct crypto_caps caps = {
        .units = {[1] = 4096}, .dun_bytes = 8, .key_types = ICE_KEY_TYPE_RAW};
    pthread_t users[THREADS], below, resets;
    struct profile_counts counts, sum = {0};

    profile = profile_new(&ops, NULL, SLOTS, &caps);
    for (unsigned s = 0; s < SLOTS; s++)
        profile_offer(profile, s);
    for (unsigned k = 0; k < KEYS; k++) {
        keys[k].config = (struct crypto_config){&algorithms[1], 4096, 8, ICE_KEY_TYPE_RAW};
        profile_key_open(profile, &keys[k], &opened[k], NULL);
    }
    pthread_create(&below, NULL, engine, NULL);
    pthread_create(&resets, NULL, reset, NULL);
    for (uintptr_t i = 0; i < THREADS; i++)
        pthread_create(&users[i], NULL, run, (void *)i);
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(users[i], NULL);
    atomic_store(&over, true);
    pthread_join(resets, NULL);
    ok(true, "everybody was served");
    is_int(wrong, 0, "no request met another key");
    ok(failed < THREADS * ROUNDS / 2, "%u of %u got an error from below", failed, THREADS * ROUNDS);
    for (unsigned k = 0; k < KEYS; k++) {
        ok(evict(k) != -EBUSY, "key %u is idle", k);
        profile_key_counts(opened[k], &counts);
        ok(counts.programs == counts.evictions, "its programs and evictions add up");
        sum.hits += counts.hits;
        profile_key_close(opened[k]);
    }
    ok(sum.hits, "%" PRIu64 " hits", sum.hits);
    pthread_mutex_lock(&queue.lock);
    queue.stop = true;
    pthread_cond_signal(&queue.more);
    pthread_mutex_unlock(&queue.lock);
    pthread_join(below, NULL);
    profile_free(profile);
    return tap_done();
}
