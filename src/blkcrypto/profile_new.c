/* SPDX-License-Identifier: BSD-2-Clause */
/* What is done to a profile outside the I/O path: made, given slots and keys, looked at. */
#include "base/bytes.h"
#include "profile_private.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

struct profile *profile_new(const struct profile_ops *ops, void *user, uint32_t slots,
                            const struct crypto_caps *caps)
{
    struct profile *profile = aligned_alloc(_Alignof(struct profile), sizeof(*profile));
    size_t size = (slots ? slots : 1) * sizeof(struct profile_slot);

    if (!profile)
        return NULL;
    *profile = (struct profile){.ops = ops, .user = user, .count = slots, .caps = *caps};
    profile->slots = aligned_alloc(_Alignof(struct profile_slot), size);
    if (!profile->slots) {
        free(profile);
        return NULL;
    }
    memset(profile->slots, 0, size);
    pthread_mutex_init(&profile->lock, NULL);
    return profile;
}

void profile_free(struct profile *profile)
{
    if (!profile)
        return;
    assert(!profile->keys && !profile->acknowledging);
    pthread_mutex_destroy(&profile->lock);
    free(profile->slots);
    free(profile);
}

int profile_update_caps(struct profile *profile, const struct crypto_caps *caps,
                        struct ice_why *why)
{
    int r = 0;

    pthread_mutex_lock(&profile->lock);
    if (crypto_caps_include(caps, &profile->caps))
        profile->caps = *caps;
    else
        r = why_set(why, EINVAL, "capabilities that keys may rely on would be lost");
    pthread_mutex_unlock(&profile->lock);
    return r;
}

/* ---- slots ---- */

void profile_offer(struct profile *profile, uint32_t slot)
{
    struct item_list items = {.first = NULL};

    assert(slot < profile->count);
    pthread_mutex_lock(&profile->lock);
    if (profile->slots[slot].state == SLOT_ABSENT) {
        profile->slots[slot].state = SLOT_EMPTY;
        profile->offered++;
    }
    profile_serve(profile, &items);
    pthread_mutex_unlock(&profile->lock);
    profile_items_run(&items);
}

void profile_slot_describe(struct profile *profile, uint32_t index, struct profile_slot_info *info)
{
    struct profile_slot *slot = &profile->slots[index];

    assert(index < profile->count);
    pthread_mutex_lock(&profile->lock);
    *info = (struct profile_slot_info){
        .offered = slot->state != SLOT_ABSENT,
        .references = slot_references(slot),
        .counts = slot->counts,
    };
    info->counts.hits = slot->hits;
    if (slot->state == SLOT_LIVE || slot->state == SLOT_READY)
        info->key = atomic_load(&slot->key)->key;
    pthread_mutex_unlock(&profile->lock);
}

/* ---- keys ---- */

static struct profile_key *find_key(struct profile *profile, const struct crypto_key *key)
{
    struct profile_key *known = profile->keys;

    while (known && known->key != key)
        known = known->next;
    return known;
}

static struct profile_key *add_key(struct profile *profile, const struct crypto_key *key)
{
    struct profile_key *added = aligned_alloc(_Alignof(struct profile_key), sizeof(*added));

    if (!added)
        return NULL;
    *added = (struct profile_key){.profile = profile, .key = key, .next = profile->keys};
    profile->keys = added;
    return added;
}

int profile_key_open(struct profile *profile, const struct crypto_key *key,
                     struct profile_key **opened, struct ice_why *why)
{
    int r;

    *opened = NULL;
    pthread_mutex_lock(&profile->lock);
    r = crypto_caps_support(&profile->caps, &key->config, why);
    if (!r) {
        *opened = find_key(profile, key);
        if (!*opened)
            *opened = add_key(profile, key);
        if (*opened)
            (*opened)->opens++;
        else
            r = why_set(why, ENOMEM, "no memory for a key");
    }
    pthread_mutex_unlock(&profile->lock);
    return r;
}

/* Unlinks a key that is in no slot; where it may be left it stays unknown whose key that is. */
static void remove_key(struct profile_key *key)
{
    struct profile *profile = key->profile;
    struct profile_key **at = &profile->keys;

    assert(!key->slot && !key->references && !key->getters && !key->evict.pending);
    for (uint32_t i = 0; i < profile->count; i++) {
        for (unsigned j = 0; j < ARRAY_SIZE(profile->slots[i].left); j++) {
            if (profile->slots[i].left[j].key == key)
                profile->slots[i].left[j].key = NULL;
        }
    }
    while (*at != key)
        at = &(*at)->next;
    *at = key->next;
}

void profile_key_close(struct profile_key *key)
{
    struct profile *profile = key->profile;
    bool last;

    pthread_mutex_lock(&profile->lock);
    last = !--key->opens;
    if (last)
        remove_key(key);
    pthread_mutex_unlock(&profile->lock);
    if (last)
        free(key);
}

void profile_key_counts(struct profile_key *key, struct profile_counts *counts)
{
    pthread_mutex_lock(&key->profile->lock);
    *counts = key->counts;
    counts->hits = key->hits;
    pthread_mutex_unlock(&key->profile->lock);
}
