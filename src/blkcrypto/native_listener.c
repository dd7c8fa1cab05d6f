/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * News. Who brings it may not call the device, and who would have to act on it may be asleep: a
 * request that was refused with ESTALE waits until the profile has heard of the reset, and a key
 * for which there is no slot until one is empty. Were news left to whoever calls next, and nobody
 * did, all would sleep for good. So a disk with keys has a thread that sleeps on the count of
 * resets wanted, tells the profile of them, and runs what follows; nobody else resets the profile.
 *
 * It never waits for a request: what it runs are key operations, which the device ends by itself.
 * A reset that is wanted while it runs changes the count, so it does not go to sleep on it. A
 * request that learns of a loss wants a reset only if none has been wanted since it got its slot:
 * that one is still to come, or came after, and either way it takes the slot from the key.
 *
 * Nothing tells when a slot of another becomes empty. As long as somebody waits and there are such
 * slots, it looks at them now and then.
 */
#include "base/bytes.h"
#include "base/futex.h"
#include "native_private.h"

#define LOOK_MS 10

/* Until `news` is no longer what it was. */
static void sleep_on(struct native *native, uint32_t news)
{
    if (atomic_load(&native->waiting) && atomic_load(&native->given_up_count))
        futex_wait_ms(&native->news, news, LOOK_MS);
    else
        futex_wait(&native->news, news);
}

/* `news` is read first: what changes behind it, the end too, is not slept on. */
static void *listen(void *arg)
{
    struct native *native = arg;
    uint32_t told = 0;

    for (;;) {
        uint32_t news = atomic_load(&native->news), resets = atomic_load(&native->resets);

        if (atomic_load(&native->stop))
            return NULL;
        if (resets != told)
            profile_reset(native->profile);
        told = resets;
        if (atomic_load(&native->waiting))
            native_offer_empty(native);
        sleep_on(native, news);
    }
}

int native_listener_start(struct native *native, struct ice_why *why)
{
    int err = pthread_create(&native->listener, NULL, listen, native);

    return err ? why_errno(why, err, "a thread for engine resets") : 0;
}

void native_listener_stop(struct native *native)
{
    if (atomic_exchange(&native->stop, true))
        return;
    native_listener_wake(native);
    pthread_join(native->listener, NULL);
}

void native_listener_wake(struct native *native)
{
    atomic_fetch_add(&native->news, 1);
    futex_wake_all(&native->news);
}

void native_lost(struct native *native, uint32_t seen)
{
    if (atomic_compare_exchange_strong(&native->resets, &seen, seen + 1))
        native_listener_wake(native);
}

void native_generation(struct disk *disk, uint64_t generation)
{
    struct native *native = CONTAINER_OF(disk, struct native, disk);
    uint64_t newest = atomic_load(&native->generation);

    while (newest < generation)
        if (atomic_compare_exchange_weak(&native->generation, &newest, generation))
            break;
    atomic_fetch_add(&native->resets, 1);
    native_listener_wake(native);
}
