/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * After an engine reset every slot is empty, but for what calls have put there that the engine got
 * behind it: before the profile heard, or while. So an idle key is evicted rather than forgotten,
 * and where a program runs the slot is stale, and programmed once more when it has ended.
 *
 * The generation is acknowledged when each slot with references has its key again. Where that
 * failed, first the references have to go: their requests are refused as long, and meet no
 * other key.
 */
#include "base/bytes.h"
#include "profile_private.h"
#include <assert.h>
#include <errno.h>

static bool settled(struct profile_slot *slot)
{
    switch (slot->state) {
    case SLOT_PROGRAMMING:
    case SLOT_STALE:
        return false;
    case SLOT_READY:
        return true;
    default:
        return !slot_references(slot);
    }
}

static void run_acknowledge(struct profile_item *item)
{
    struct profile *profile = CONTAINER_OF(item, struct profile, acknowledge.item);

    profile->ops->acknowledge(profile->user, &profile->acknowledge);
}

void profile_reset_settle(struct profile *profile, struct item_list *items)
{
    if (!profile->resetting || profile->acknowledging)
        return;
    for (uint32_t i = 0; i < profile->count; i++) {
        if (!settled(&profile->slots[i]))
            return;
    }
    profile->acknowledging = true;
    profile->acknowledge = (struct profile_call){.item.run = run_acknowledge,
                                                 .kind = CALL_ACKNOWLEDGE,
                                                 .epoch = profile->epoch,
                                                 .profile = profile};
    profile_items_append(items, &profile->acknowledge.item);
}

static void fail(struct profile *profile, int err, struct item_list *items)
{
    profile->failed = err;
    profile->resetting = false;
    atomic_store(&profile->queued, true); /* no hit any more */
    profile_refs_fail(&profile->parked, err, items);
    profile_refs_fail(&profile->queue, err, items);
    for (uint32_t i = 0; i < profile->count; i++) {
        if (profile->slots[i].state == SLOT_READY)
            profile_refs_fail(&profile->slots[i].key->joined, err, items);
    }
}

void profile_reset_acknowledged(struct profile *profile, int err, struct item_list *items)
{
    bool current = profile->acknowledge.epoch == profile->epoch;

    profile->acknowledging = false;
    if (!profile->resetting)
        return;
    if (!current) {
        profile_reset_settle(profile, items);
    } else if (err) {
        fail(profile, err, items);
    } else {
        profile->resetting = false;
        for (uint32_t i = 0; i < profile->count; i++) {
            if (profile->slots[i].state == SLOT_READY)
                profile_slot_go_live(profile, &profile->slots[i], items);
        }
        profile_serve(profile, items);
    }
}

/* A key may have come into the slot behind the reset but before it was heard of. */
static void lose(struct profile *profile, struct profile_slot *slot, struct item_list *items)
{
    uint64_t word = atomic_fetch_and(&slot->word, ~WORD_LIVE);
    struct profile_key *key = slot->key;

    if (references(word) || key->joined.first) {
        slot->counts.evictions++;
        key->counts.evictions++;
        profile_slot_program(profile, slot, items);
    } else {
        profile_slot_leave(slot);
        profile_slot_clean(profile, slot, items);
    }
}

static void reset_slot(struct profile *profile, struct profile_slot *slot, struct item_list *items)
{
    switch (slot->state) {
    case SLOT_ABSENT:
    case SLOT_EMPTY:
    case SLOT_CLEANING: /* what it tells is true, and a program comes only then */
    case SLOT_STALE:
        return;
    case SLOT_PROGRAMMING:
        slot->state = SLOT_STALE;
        return;
    case SLOT_READY:
    case SLOT_LIVE:
        lose(profile, slot, items);
        return;
    case SLOT_DIRTY:
        if (!slot_references(slot))
            profile_slot_clean(profile, slot, items);
        return;
    }
}

void profile_reset(struct profile *profile)
{
    struct item_list items = {.first = NULL};

    pthread_mutex_lock(&profile->lock);
    profile->epoch++;
    profile->failed = 0;
    profile->resetting = true;
    atomic_store(&profile->queued, true);
    profile_items_move_before(&profile->queue, &profile->parked);
    for (uint32_t i = 0; i < profile->count; i++)
        reset_slot(profile, &profile->slots[i], &items);
    profile_reset_settle(profile, &items);
    pthread_mutex_unlock(&profile->lock);
    profile_items_run(&items);
}

void profile_fail(struct profile *profile, int err)
{
    struct item_list items = {.first = NULL};

    assert(err < 0);
    pthread_mutex_lock(&profile->lock);
    fail(profile, err, &items);
    pthread_mutex_unlock(&profile->lock);
    profile_items_run(&items);
}
