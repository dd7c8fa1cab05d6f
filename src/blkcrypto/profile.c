/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * References: the hit, which is a load of the key's slot and one compare-and-swap on that slot's
 * word, and what stands before the lock on the way to everything else.
 */
#include "profile.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "profile_private.h"
#include <assert.h>
#include <errno.h>

/* ---- get ---- */

static bool hit(struct profile_key *key, struct profile_ref *ref)
{
    struct profile *profile = key->profile;
    struct profile_slot *slot = atomic_load_explicit(&key->slot, memory_order_acquire);
    uint64_t word;

    if (!slot)
        return false;
    word = atomic_load(&slot->word);
    do {
        if (!(word & WORD_LIVE) || atomic_load_explicit(&slot->key, memory_order_relaxed) != key ||
            atomic_load_explicit(&profile->queued, memory_order_relaxed))
            return false;
        assert((word & WORD_REFS) != WORD_REFS);
    } while (!atomic_compare_exchange_weak(&slot->word, &word, word + WORD_REF));
    atomic_fetch_add_explicit(&key->hits, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&slot->hits, 1, memory_order_relaxed);
    ref->key = key;
    ref->slot = slot_index(profile, slot);
    ref->version = word >> VERSION_SHIFT;
    return true;
}

/*
 * Counts itself and then looks at `below`; an evict lowers that and then looks for references: one
 * of the two sees the other.
 */
void profile_pass(struct profile_key *key, struct profile_ref *ref)
{
    atomic_fetch_add(&key->references, 1);
    if (!atomic_load(&key->below))
        atomic_store(&key->below, true);
    ref->key = key;
    ref->slot = PROFILE_NO_SLOT;
    ref->version = atomic_load_explicit(&key->profile->epoch, memory_order_relaxed);
}

static bool pass_through(struct profile_key *key, struct profile_ref *ref)
{
    if (atomic_load_explicit(&key->profile->queued, memory_order_relaxed))
        return false;
    atomic_fetch_add_explicit(&key->hits, 1, memory_order_relaxed);
    profile_pass(key, ref);
    return true;
}

/* The lock is held. -EINPROGRESS, or why it may not even wait. */
static int enqueue(struct profile_ref *ref, struct item_list *list)
{
    struct profile_key *key = ref->key;

    if (key->profile->failed)
        return key->profile->failed;
    if (profile_is_empty(key->profile))
        return -ENXIO;
    key->getters++;
    key->counts.waits++;
    profile_items_append(list, &ref->item);
    return -EINPROGRESS;
}

static int get_slowly(struct profile_key *key, struct profile_ref *ref)
{
    struct profile *profile = key->profile;
    struct item_list items = {.first = NULL};
    int r;

    ref->key = key;
    pthread_mutex_lock(&profile->lock);
    r = enqueue(ref, &profile->queue);
    if (r == -EINPROGRESS && profile->count && !key->slot)
        key->counts.misses++;
    profile_serve(profile, &items);
    pthread_mutex_unlock(&profile->lock);
    profile_items_run(&items);
    return r;
}

int profile_get(struct profile_key *key, struct profile_ref *ref)
{
    if (key->profile->count ? hit(key, ref) : pass_through(key, ref))
        return 0;
    return get_slowly(key, ref);
}

/* ---- put ---- */

/*
 * True when somebody may be waiting for this. profile_serve() raises `queued` and then looks at the
 * words, this lowers a word and then looks at `queued`: one of the two sees the other.
 */
static bool drop(struct profile_ref *ref)
{
    struct profile *profile = ref->key->profile;
    struct profile_slot *slot;
    uint64_t before;

    if (ref->slot == PROFILE_NO_SLOT) {
        atomic_fetch_sub(&ref->key->references, 1);
        return false;
    }
    slot = &profile->slots[ref->slot];
    atomic_store_explicit(&slot->idle_since, now_ns(), memory_order_relaxed);
    before = atomic_fetch_sub(&slot->word, WORD_REF);
    assert(references(before));
    return references(before) == 1 && (!(before & WORD_LIVE) || atomic_load(&profile->queued));
}

void profile_put(struct profile_ref *ref)
{
    struct profile *profile = ref->key->profile;
    struct item_list items = {.first = NULL};

    if (!drop(ref))
        return;
    pthread_mutex_lock(&profile->lock);
    profile_slot_released(profile, &profile->slots[ref->slot], &items);
    pthread_mutex_unlock(&profile->lock);
    profile_items_run(&items);
}

/* ---- again ---- */

/* Whether there has been a reset since the reference was got. */
static bool heard(struct profile *profile, const struct profile_ref *ref)
{
    uint64_t word;

    if (ref->slot == PROFILE_NO_SLOT)
        return ref->version != profile->epoch;
    word = atomic_load(&profile->slots[ref->slot].word);
    return !(word & WORD_LIVE) || word >> VERSION_SHIFT != ref->version;
}

int profile_again(struct profile_ref *ref)
{
    struct profile *profile = ref->key->profile;
    struct item_list items = {.first = NULL};
    int r;

    pthread_mutex_lock(&profile->lock);
    r = enqueue(ref, heard(profile, ref) ? &profile->queue : &profile->parked);
    if (drop(ref))
        profile_slot_released(profile, &profile->slots[ref->slot], &items);
    profile_serve(profile, &items);
    pthread_mutex_unlock(&profile->lock);
    profile_items_run(&items);
    return r;
}

/* ---- operations that ended ---- */

void profile_call_done(struct profile_call *call, int err)
{
    struct profile *profile = call->profile;
    struct item_list items = {.first = NULL};

    assert(err <= 0);
    pthread_mutex_lock(&profile->lock);
    switch (call->kind) {
    case CALL_PROGRAM:
    case CALL_EVICT_SLOT:
        profile_slot_called(call, err, &items);
        break;
    case CALL_EVICT_KEY:
        profile_evict_ended(call->key, err, &items);
        break;
    case CALL_ACKNOWLEDGE:
        profile_reset_acknowledged(profile, err, &items);
        break;
    }
    pthread_mutex_unlock(&profile->lock);
    profile_items_run(&items);
}
