/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a hit costs: no lock, no allocation, no write to what belongs to another key. And what a
 * queue costs when no operation takes time: no stack.
 */
#include "blkcrypto/profile.h"
#include "blkcrypto/profile_private.h"
#include "counted.h"
#include "tap.h"
#include <stdlib.h>

static void program(void *user, uint32_t slot, const struct crypto_key *key,
                    struct profile_call *call)
{
    (void)user;
    (void)slot;
    (void)key;
    profile_call_done(call, 0);
}

static void acknowledge(void *user, struct profile_call *call)
{
    (void)user;
    profile_call_done(call, 0);
}

static const struct profile_ops ops = {program, program, acknowledge};

static void ready(struct profile_ref *ref, int err)
{
    (void)ref;
    (void)err;
}

static void evicted(void *arg, int err)
{
    (void)arg;
    (void)err;
}

#define HITS 1000
#define DEEP 10000

static struct profile *profile;
static struct crypto_key keys[2];
static struct profile_key *key[2];

static void begin(unsigned slots)
{
    const struct crypto_caps caps = {
        .units = {[1] = 4096}, .dun_bytes = 8, .key_types = ICE_KEY_TYPE_RAW};

    profile = profile_new(&ops, NULL, slots, &caps);
    for (unsigned s = 0; s < slots; s++)
        profile_offer(profile, s);
    for (unsigned k = 0; k < 2; k++) {
        keys[k].config = (struct crypto_config){&algorithms[1], 4096, 8, ICE_KEY_TYPE_RAW};
        profile_key_open(profile, &keys[k], &key[k], NULL);
    }
}

static void finish(void)
{
    for (unsigned k = 0; k < 2; k++) {
        profile_evict(key[k], evicted, NULL);
        profile_key_close(key[k]);
    }
    profile_free(profile);
}

static void test_hit(void)
{
    struct profile_ref ref[2] = {{.ready = ready}, {.ready = ready}};
    struct profile_key other_key;
    struct profile_slot other_slot;
    struct profile before;
    unsigned hits = 0, locked;

    begin(2);
    ok(counted_allocations, "allocations are counted");
    for (unsigned i = 0; i < 2; i++) {
        profile_get(key[i], &ref[i]);
        profile_put(&ref[i]);
    }
    ok(counted_locks, "locks are counted");

    counted_locks = counted_allocations = 0;
    memcpy(&before, profile, sizeof(before));
    memcpy(&other_slot, &profile->slots[1], sizeof(other_slot));
    memcpy(&other_key, key[1], sizeof(other_key));
    for (unsigned i = 0; i < HITS; i++) {
        hits += profile_get(key[0], &ref[0]) == 0;
        profile_put(&ref[0]);
    }
    locked = counted_locks; /* checks lock too */
    is_int(locked, 0, "no lock");
    is_int(counted_allocations, 0, "no allocation");
    is_int(hits, HITS, "all hits");
    is_mem(profile, &before, sizeof(before), "nothing written to what all share");
    is_mem(&profile->slots[1], &other_slot, sizeof(other_slot), "nor to another key's slot");
    is_mem(key[1], &other_key, sizeof(other_key), "nor to another key");
    ok((uintptr_t)&profile->slots[0] % 64 == 0 && sizeof(struct profile_slot) % 64 == 0 &&
           (uintptr_t)key[0] % 64 == 0 && sizeof(struct profile_key) % 64 == 0,
       "nor to its cache lines");
    finish();
}

/* ---- a queue whose operations end within themselves ---- */

static uintptr_t lowest;
static unsigned served;

static void put_at_once(struct profile_ref *ref, int err)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);

    served += !err;
    if (here < lowest)
        lowest = here;
    profile_put(ref);
}

static void test_stack(void)
{
    static struct profile_ref first = {.ready = ready}, queue[DEEP];
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);

    begin(1);
    profile_get(key[0], &first);
    for (unsigned i = 0; i < DEEP; i++) {
        queue[i].ready = put_at_once;
        profile_get(key[(i + 1) % 2], &queue[i]);
    }
    lowest = here;
    counted_allocations = 0;
    profile_put(&first);
    is_int(served, DEEP, "one put serves the whole queue");
    ok(here - lowest < 8192, "on %zu bytes of stack", (size_t)(here - lowest));
    is_int(counted_allocations, 0, "and no allocation");
    finish();
}

int main(void)
{
    test_hit();
    test_stack();
    return tap_done();
}
