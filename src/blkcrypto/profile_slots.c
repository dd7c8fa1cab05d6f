/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The queue and the life of a slot. A getter leaves the queue when its key has a slot: at once with
 * a reference if the slot is live, else into the key's `joined`, which ends with the slot's
 * program. So each key has one slot at most, and one program.
 */
#include "base/bytes.h"
#include "profile_private.h"
#include <assert.h>
#include <errno.h>

/* ---- getters ---- */

static struct profile_ref *ref_of(struct profile_item *item)
{
    return CONTAINER_OF(item, struct profile_ref, item);
}

static void run_ready(struct profile_item *item)
{
    struct profile_ref *ref = ref_of(item);

    ref->ready(ref, ref->err);
}

void profile_ref_finish(struct profile_ref *ref, int err, struct item_list *items)
{
    ref->key->getters--;
    ref->err = err;
    ref->item.run = run_ready;
    profile_items_append(items, &ref->item);
}

void profile_refs_fail(struct item_list *refs, int err, struct item_list *items)
{
    struct profile_item *item;

    while ((item = profile_items_pop(refs)))
        profile_ref_finish(ref_of(item), err, items);
}

/* The slot is live, so that its version stays. */
static void grant(struct profile *profile, struct profile_slot *slot, struct profile_ref *ref,
                  struct item_list *items)
{
    uint64_t word = atomic_fetch_add(&slot->word, WORD_REF);

    assert(word & WORD_LIVE && (word & WORD_REFS) != WORD_REFS);
    slot->counts.waits++;
    ref->slot = slot_index(profile, slot);
    ref->version = word >> VERSION_SHIFT;
    profile_ref_finish(ref, 0, items);
}

/* ---- finding a slot ---- */

bool profile_slot_retire(struct profile_slot *slot)
{
    uint64_t word = atomic_load(&slot->word);

    do {
        if (word & WORD_REFS)
            return false;
    } while (!atomic_compare_exchange_weak(&slot->word, &word, word & ~WORD_LIVE));
    return true;
}

static struct profile_slot *find_state(struct profile *profile, enum slot_state state)
{
    for (uint32_t i = 0; i < profile->count; i++) {
        struct profile_slot *slot = &profile->slots[i];
        if (slot->state == state && !slot_references(slot))
            return slot;
    }
    return NULL;
}

static struct profile_slot *least_recently_used(struct profile *profile)
{
    struct profile_slot *best = NULL;

    for (uint32_t i = 0; i < profile->count; i++) {
        struct profile_slot *slot = &profile->slots[i];
        if (slot->state == SLOT_LIVE && !slot_references(slot) &&
            (!best || atomic_load_explicit(&slot->idle_since, memory_order_relaxed) <
                          atomic_load_explicit(&best->idle_since, memory_order_relaxed)))
            best = slot;
    }
    return best;
}

static struct profile_key *unmap(struct profile_slot *slot)
{
    struct profile_key *key = slot->key;

    if (slot->state == SLOT_READY || slot->state == SLOT_LIVE) {
        slot->counts.evictions++;
        key->counts.evictions++;
    }
    atomic_store(&slot->key, NULL);
    atomic_store(&key->slot, NULL);
    return key;
}

void profile_slot_leave(struct profile_slot *slot)
{
    struct left *left = slot->left[0].key ? &slot->left[1] : &slot->left[0];

    assert(!left->key);
    left->key = unmap(slot);
    left->awaited = left->key->evict.pending;
    left->key->evict.pending += left->awaited;
}

/* A slot to program, without a key, not live; NULL: none is idle. */
static struct profile_slot *claim(struct profile *profile)
{
    struct profile_slot *slot = find_state(profile, SLOT_EMPTY);

    while (!slot && (slot = least_recently_used(profile))) {
        if (profile_slot_retire(slot))
            profile_slot_leave(slot);
        else
            slot = NULL; /* a hit was faster: look again */
    }
    return slot ? slot : find_state(profile, SLOT_DIRTY);
}

/* ---- keys in slots ---- */

static void assign(struct profile *profile, struct profile_slot *slot, struct profile_key *key,
                   struct item_list *items)
{
    slot->counts.misses++;
    atomic_store(&slot->key, key);
    atomic_store(&key->slot, slot);
    if (slot->state == SLOT_DIRTY)
        profile_slot_clean(profile, slot, items);
    else
        profile_slot_program(profile, slot, items);
}

void profile_slot_settle_left(struct profile_slot *slot, int err, struct item_list *items)
{
    for (unsigned i = 0; i < ARRAY_SIZE(slot->left); i++) {
        struct left *left = &slot->left[i];
        struct profile_key *key = left->key;
        bool awaited = left->awaited;

        left->awaited = false;
        if (!err)
            left->key = NULL;
        if (awaited)
            profile_evict_ended(key, err, items);
    }
}

void profile_slot_go_live(struct profile *profile, struct profile_slot *slot,
                          struct item_list *items)
{
    struct profile_key *key = slot->key;
    struct profile_item *item;

    slot->state = SLOT_LIVE;
    atomic_fetch_add(&slot->word, WORD_VERSION | WORD_LIVE);
    while ((item = profile_items_pop(&key->joined)))
        grant(profile, slot, ref_of(item), items);
}

/* ---- the queue ---- */

/* False: the oldest getter stays where it is, for want of a slot. */
static bool serve_first(struct profile *profile, struct item_list *items)
{
    struct profile_ref *ref = ref_of(profile->queue.first);
    struct profile_slot *slot = ref->key->slot;

    if (!profile->count) {
        profile_items_pop(&profile->queue);
        profile_pass(ref->key, ref);
        profile_ref_finish(ref, 0, items);
        return true;
    }
    if (!slot) {
        slot = claim(profile);
        if (!slot)
            return false;
        assign(profile, slot, ref->key, items);
    }
    profile_items_pop(&profile->queue);
    if (slot->state == SLOT_LIVE)
        grant(profile, slot, ref, items);
    else
        profile_items_append(&ref->key->joined, &ref->item);
    return true;
}

void profile_serve(struct profile *profile, struct item_list *items)
{
    if (profile->resetting || profile->failed)
        return;
    if (profile_is_empty(profile))
        profile_refs_fail(&profile->queue, -ENXIO, items);
    while (profile->queue.first) {
        if (serve_first(profile, items))
            continue;
        if (profile->queued)
            return;
        /* Who puts from now on sees it; who has put just before is found by another look. */
        atomic_store(&profile->queued, true);
    }
    if (profile->queued)
        atomic_store(&profile->queued, false);
}

/* ---- operations ---- */

static void run_call(struct profile_item *item)
{
    struct profile_call *call = CONTAINER_OF(item, struct profile_call, item);
    struct profile *profile = call->profile;
    uint32_t index = slot_index(profile, call->slot);

    if (call->kind == CALL_PROGRAM)
        profile->ops->program(profile->user, index, call->key->key, call);
    else
        profile->ops->evict(profile->user, index, NULL, call);
}

static void begin(struct profile *profile, struct profile_slot *slot, enum call_kind kind,
                  struct item_list *items)
{
    slot->call = (struct profile_call){
        .item.run = run_call, .kind = kind, .profile = profile, .slot = slot, .key = slot->key};
    profile_items_append(items, &slot->call.item);
}

void profile_slot_program(struct profile *profile, struct profile_slot *slot,
                          struct item_list *items)
{
    slot->state = SLOT_PROGRAMMING;
    begin(profile, slot, CALL_PROGRAM, items);
}

void profile_slot_clean(struct profile *profile, struct profile_slot *slot, struct item_list *items)
{
    slot->state = SLOT_CLEANING;
    begin(profile, slot, CALL_EVICT_SLOT, items);
}

/*
 * Somebody else has it: whoever was to use it goes back to the queue, in front. References keep the
 * key busy until they are put.
 */
static void give_up(struct profile *profile, struct profile_slot *slot, struct item_list *items)
{
    struct profile_key *key = slot->key;

    profile_slot_settle_left(slot, 0, items);
    if (key) {
        if (profile->failed)
            profile_refs_fail(&key->joined, profile->failed, items);
        else
            profile_items_move_before(&profile->queue, &key->joined);
        if (slot_references(slot))
            profile_slot_leave(slot);
        else
            unmap(slot);
    }
    slot->state = SLOT_ABSENT;
    profile->offered--;
}

static void programmed(struct profile *profile, struct profile_slot *slot, int err,
                       struct item_list *items)
{
    struct profile_key *key = slot->key;

    if (err) {
        profile_slot_leave(slot);
        profile_refs_fail(&key->joined, err, items);
        slot->state = SLOT_DIRTY;
        if (!slot_references(slot))
            profile_slot_clean(profile, slot, items);
    } else {
        profile_slot_settle_left(slot, 0, items);
        slot->counts.programs++;
        key->counts.programs++;
        if (profile->resetting)
            slot->state = SLOT_READY;
        else
            profile_slot_go_live(profile, slot, items);
    }
}

static void cleaned(struct profile *profile, struct profile_slot *slot, int err,
                    struct item_list *items)
{
    struct profile_key *key = slot->key;

    profile_slot_settle_left(slot, err, items);
    if (err) {
        slot->state = SLOT_DIRTY;
        if (key) {
            unmap(slot);
            profile_refs_fail(&key->joined, err, items);
        }
    } else if (key) {
        profile_slot_program(profile, slot, items);
    } else {
        slot->state = SLOT_EMPTY;
    }
}

void profile_slot_called(struct profile_call *call, int err, struct item_list *items)
{
    struct profile *profile = call->profile;
    struct profile_slot *slot = call->slot;

    if (slot->state == SLOT_STALE)
        profile_slot_program(profile, slot, items);
    else if (err == -EEXIST)
        give_up(profile, slot, items);
    else if (slot->state == SLOT_PROGRAMMING)
        programmed(profile, slot, err, items);
    else
        cleaned(profile, slot, err, items);
    profile_reset_settle(profile, items);
    profile_serve(profile, items);
}

void profile_slot_released(struct profile *profile, struct profile_slot *slot,
                           struct item_list *items)
{
    bool idle = !slot_references(slot);

    if (idle && slot->state == SLOT_DIRTY)
        profile_slot_clean(profile, slot, items);
    else if (idle && (slot->state == SLOT_ABSENT || slot->state == SLOT_EMPTY))
        profile_slot_settle_left(slot, 0, items); /* of a slot given up */
    profile_reset_settle(profile, items);
    profile_serve(profile, items);
}
