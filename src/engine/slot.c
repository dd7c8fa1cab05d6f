/* SPDX-License-Identifier: BSD-2-Clause */
/* One physical keyslot; slot.h has the rules. */
#include "slot.h"
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PROGRAMMED  UINT64_C(1)
#define OWNED       UINT64_C(2)
#define CLOSING     UINT64_C(4)
#define FLIGHT_ONE  UINT64_C(8)
#define FLIGHT_MASK UINT64_C(0xfffff8)
#define COUNT_SHIFT 24

static unsigned in_flight(uint64_t word)
{
    return (unsigned)((word & FLIGHT_MASK) / FLIGHT_ONE);
}

void slot_init(struct slot *slot)
{
    memset(slot, 0, sizeof(*slot));
    pthread_mutex_init(&slot->lock, NULL);
    pthread_cond_init(&slot->idle, NULL);
}

void slot_destroy(struct slot *slot)
{
    assert(!in_flight(slot->word));
    cipher_pool_close(&slot->pool);
    pthread_cond_destroy(&slot->idle);
    pthread_mutex_destroy(&slot->lock);
}

/* ---- references ---- */

int slot_get(struct slot *slot, uint64_t expect, struct slot_key *key)
{
    uint64_t word = atomic_load(&slot->word);

    for (;;) {
        if (word & OWNED) { /* wait for the key operation */
            pthread_mutex_lock(&slot->lock);
            pthread_mutex_unlock(&slot->lock);
            word = atomic_load(&slot->word);
            continue;
        }
        if (!(word & PROGRAMMED) || word & CLOSING ||
            (expect != UINT64_MAX && expect != word >> COUNT_SHIFT))
            return -ENOKEY;
        assert((word & FLIGHT_MASK) != FLIGHT_MASK);
        if (atomic_compare_exchange_weak(&slot->word, &word, word + FLIGHT_ONE))
            break;
    }
    if (key)
        *key = slot->key;
    return 0;
}

void slot_put(struct slot *slot)
{
    uint64_t before = atomic_fetch_sub(&slot->word, FLIGHT_ONE);

    assert(in_flight(before));
    if (before & CLOSING && in_flight(before) == 1) {
        pthread_mutex_lock(&slot->lock);
        pthread_cond_broadcast(&slot->idle);
        pthread_mutex_unlock(&slot->lock);
    }
}

/* ---- key operations: the caller holds slot->lock ---- */

/* 0, or -EBUSY with references in flight. Afterwards slot_get waits on the lock. */
static int own(struct slot *slot, struct ice_why *why)
{
    uint64_t word = atomic_load(&slot->word);

    do {
        assert(!(word & OWNED));
        if (word & CLOSING)
            return why_set(why, EBUSY, "the slot is being emptied by a reset");
        if (in_flight(word))
            return why_set(why, EBUSY, "the slot has %u requests in flight", in_flight(word));
    } while (!atomic_compare_exchange_weak(&slot->word, &word, word | OWNED));
    return 0;
}

/* Ends own(): the slot holds what the arguments say. */
static void disown(struct slot *slot, uint64_t count, bool programmed)
{
    atomic_store(&slot->word, count << COUNT_SHIFT | (programmed ? PROGRAMMED : 0));
}

static uint64_t program_count(const struct slot *slot)
{
    return atomic_load(&slot->word) >> COUNT_SHIFT;
}

/* Wipes the key; the slot is owned, or closing with nothing in flight. */
static void empty(struct slot *slot)
{
    cipher_pool_close(&slot->pool);
    slot->algorithm = NULL;
    slot->wrapped = false;
    slot->key = (struct slot_key){.program_count = program_count(slot)};
    slot->owner = 0;
    disown(slot, program_count(slot), false);
}

static int refuse_claimed(const struct slot *slot, struct ice_why *why)
{
    return why_set(why, EBUSY, "the slot is claimed by %s", slot->claimer_name);
}

/* A claim takes what is empty, or claimed by the same already. */
static int check_claim(const struct slot *slot, const struct slot_owner *by, struct ice_why *why)
{
    if (!slot->algorithm || slot->key.claimer == by->id)
        return 0;
    if (slot->key.claimer)
        return why_set(why, EEXIST, "the slot is claimed by %s", slot->claimer_name);
    return why_set(why, EEXIST, "the slot is programmed directly");
}

/* The slot is owned, and its contexts are those of `load`. */
static void describe_key(struct slot *slot, const struct slot_load *load)
{
    const struct slot_owner *owner = &load->owner;

    slot->algorithm = load->params.algorithm;
    slot->wrapped = load->wrapped;
    slot->owner = owner->id;
    slot->key.data_unit = load->params.data_unit;
    slot->key.iv_bits = (uint16_t)cipher_iv_bits(&load->params);
    slot->key.claimer = owner->claim ? owner->id : 0;
    slot->key.program_count = program_count(slot) + 1;
    cipher_fingerprint(load->key, load->params.algorithm->key_bytes, slot->key.fingerprint);
    if (owner->claim)
        snprintf(slot->claimer_name, sizeof(slot->claimer_name), "%s", owner->name);
}

/* The new contexts are ready before the slot is touched: a failure leaves the old key. */
int slot_program(struct slot *slot, const struct slot_load *load, struct slot_key *now,
                 struct ice_why *why)
{
    struct cipher_pool pool;
    int r = cipher_pool_open(&pool, &load->params, load->key, why);

    if (r)
        return r;
    pthread_mutex_lock(&slot->lock);
    if (load->owner.claim)
        r = check_claim(slot, &load->owner, why);
    else if (slot->key.claimer)
        r = refuse_claimed(slot, why);
    if (!r)
        r = own(slot, why);
    if (!r) {
        cipher_pool_exchange(&slot->pool, &pool);
        describe_key(slot, load);
        disown(slot, slot->key.program_count, true);
    }
    if (now)
        *now = slot->key;
    pthread_mutex_unlock(&slot->lock);
    cipher_pool_close(&pool);
    return r;
}

int slot_evict(struct slot *slot, const struct slot_owner *by, struct slot_key *was,
               struct ice_why *why)
{
    int r = 0;

    pthread_mutex_lock(&slot->lock);
    if (was)
        *was = slot->key;
    if (by->claim)
        r = check_claim(slot, by, why);
    else if (slot->key.claimer && slot->key.claimer != by->id)
        r = refuse_claimed(slot, why);
    if (!r)
        r = own(slot, why);
    if (!r)
        empty(slot);
    pthread_mutex_unlock(&slot->lock);
    return r;
}

/*
 * CLOSING keeps new references away, so that the wait ends even under load. Of several that clear
 * at once the first to find the slot idle empties it; the others see CLOSING gone.
 */
void slot_clear(struct slot *slot, uint64_t owner, bool claimed_only)
{
    pthread_mutex_lock(&slot->lock);
    if (slot->algorithm && (owner == ENGINE_ANY_OWNER || owner == slot->owner) &&
        (slot->key.claimer || !claimed_only)) {
        uint64_t word = atomic_fetch_or(&slot->word, CLOSING) | CLOSING;

        while (word & CLOSING && in_flight(word)) {
            pthread_cond_wait(&slot->idle, &slot->lock);
            word = atomic_load(&slot->word);
        }
        if (word & CLOSING)
            empty(slot);
    }
    pthread_mutex_unlock(&slot->lock);
}

void slot_describe(struct slot *slot, struct slot_info *info)
{
    uint64_t word;

    pthread_mutex_lock(&slot->lock);
    word = atomic_load(&slot->word);
    *info = (struct slot_info){
        .programmed = slot->algorithm != NULL,
        .wrapped = slot->wrapped,
        .algorithm = slot->algorithm,
        .data_unit = slot->key.data_unit,
        .program_count = word >> COUNT_SHIFT,
        .in_flight = in_flight(word),
        .claimer = slot->key.claimer,
    };
    memcpy(info->fingerprint, slot->key.fingerprint, FINGERPRINT_BYTES);
    if (info->claimer)
        memcpy(info->claimer_name, slot->claimer_name, sizeof(info->claimer_name));
    pthread_mutex_unlock(&slot->lock);
}
