/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Evicting a key: out of the slot that has it, and out of those where an error has left it,
 * perhaps, or where another key is just replacing it. All must have ended before it has.
 */
#include "base/bytes.h"
#include "base/secret.h"
#include "profile_private.h"
#include <errno.h>

static void run_done(struct profile_item *item)
{
    struct profile_key *key = CONTAINER_OF(item, struct profile_key, evict.item);
    void (*done)(void *, int);
    void *arg;
    int err;

    pthread_mutex_lock(&key->profile->lock);
    done = key->evict.done;
    arg = key->evict.arg;
    err = key->evict.err;
    key->evict.done = NULL;
    pthread_mutex_unlock(&key->profile->lock);
    done(arg, err); /* which may close the key */
}

void profile_evict_ended(struct profile_key *key, int err, struct item_list *items)
{
    if (err)
        key->evict.err = err;
    if (--key->evict.pending)
        return;
    key->evict.item.run = run_done;
    profile_items_append(items, &key->evict.item);
}

static void run_evict(struct profile_item *item)
{
    struct profile_key *key = CONTAINER_OF(item, struct profile_key, evict.call.item);
    struct profile *profile = key->profile;

    profile->ops->evict(profile->user, PROFILE_NO_SLOT, key->key, &key->evict.call);
}

static bool same_below(const struct crypto_key *a, const struct crypto_key *b)
{
    return a->config.algorithm == b->config.algorithm &&
           a->config.data_unit == b->config.data_unit && a->config.key_type == b->config.key_type &&
           a->len == b->len && secret_equal(a->bytes, b->bytes, a->len);
}

/* What is below knows keys by their bytes: it keeps them while another key may need them. */
static bool is_shared(const struct profile_key *key)
{
    for (const struct profile_key *other = key->profile->keys; other; other = other->next) {
        if (other != key && atomic_load(&other->below) && same_below(other->key, key->key))
            return true;
    }
    return false;
}

static void pass_down(struct profile_key *key, struct item_list *items)
{
    if (is_shared(key))
        return;
    key->evict.pending = 1;
    key->evict.call = (struct profile_call){
        .item.run = run_evict, .kind = CALL_EVICT_KEY, .profile = key->profile, .key = key};
    profile_items_append(items, &key->evict.call.item);
}

/* NULL: the slot does not hold it. */
static struct left *find_left(struct profile_slot *slot, const struct profile_key *key)
{
    for (unsigned i = 0; i < ARRAY_SIZE(slot->left); i++) {
        if (slot->left[i].key == key)
            return &slot->left[i];
    }
    return NULL;
}

/* Without slots. False: it has references. */
static bool leave_below(struct profile_key *key)
{
    atomic_store(&key->below, false);
    if (!atomic_load(&key->references))
        return true;
    atomic_store(&key->below, true);
    return false;
}

/* Ends that the key can be hit. False: references or getters forbid it, or a call that puts it in
 * a slot. */
static bool detach(struct profile_key *key)
{
    struct profile *profile = key->profile;
    struct profile_slot *slot = key->slot;

    if (key->evict.done || key->getters)
        return false;
    if (!profile->count && !leave_below(key))
        return false;
    for (uint32_t i = 0; i < profile->count; i++) {
        if (find_left(&profile->slots[i], key) && slot_references(&profile->slots[i]))
            return false;
    }
    return !slot ||
           ((slot->state == SLOT_LIVE || slot->state == SLOT_READY) && profile_slot_retire(slot));
}

static void evict_slots(struct profile_key *key, struct item_list *items)
{
    struct profile *profile = key->profile;

    if (key->slot) {
        struct profile_slot *slot = key->slot;
        profile_slot_leave(slot);
        slot->state = SLOT_DIRTY;
    }
    for (uint32_t i = 0; i < profile->count; i++) {
        struct profile_slot *slot = &profile->slots[i];
        struct left *left = find_left(slot, key);
        if (!left)
            continue;
        left->awaited = true;
        key->evict.pending++;
        if (slot->state == SLOT_DIRTY)
            profile_slot_clean(profile, slot, items);
    }
}

int profile_evict(struct profile_key *key, void (*done)(void *arg, int err), void *arg)
{
    struct profile *profile = key->profile;
    struct item_list items = {.first = NULL};
    int r = -EINPROGRESS;

    pthread_mutex_lock(&profile->lock);
    if (!detach(key)) {
        r = -EBUSY;
    } else {
        key->evict.err = 0;
        if (profile->count)
            evict_slots(key, &items);
        else
            pass_down(key, &items);
        if (key->evict.pending) {
            key->evict.done = done;
            key->evict.arg = arg;
        } else {
            r = 0;
        }
    }
    pthread_mutex_unlock(&profile->lock);
    profile_items_run(&items);
    return r;
}
