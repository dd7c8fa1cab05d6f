/* SPDX-License-Identifier: BSD-2-Clause */
/* One physical keyslot; slot.h has the rules. */
#include "slot.h"
#include "base/futex.h"
#include <assert.h>
#include <errno.h>
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

static void close_contexts(struct cipher **contexts, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        cipher_close(contexts[i]);
}

void slot_destroy(struct slot *slot)
{
    assert(!in_flight(slot->word));
    close_contexts(slot->contexts, slot->context_count);
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

/* ---- contexts ---- */

struct cipher *slot_borrow(struct slot *slot)
{
    for (;;) {
        uint32_t bits = atomic_load(&slot->free_contexts);

        while (bits) {
            unsigned lowest = (unsigned)__builtin_ctz(bits);
            if (atomic_compare_exchange_weak(&slot->free_contexts, &bits, bits & (bits - 1)))
                return slot->contexts[lowest];
        }
        atomic_fetch_add(&slot->borrowers, 1);
        futex_wait(&slot->free_contexts, 0);
        atomic_fetch_sub(&slot->borrowers, 1);
    }
}

void slot_return(struct slot *slot, struct cipher *cipher)
{
    unsigned i = 0;

    while (i < slot->context_count && slot->contexts[i] != cipher)
        i++;
    assert(i < slot->context_count);
    atomic_fetch_or(&slot->free_contexts, UINT32_C(1) << i);
    if (atomic_load(&slot->borrowers))
        futex_wake_one(&slot->free_contexts);
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
    close_contexts(slot->contexts, slot->context_count);
    memset(slot->contexts, 0, sizeof(slot->contexts));
    slot->context_count = 0;
    slot->algorithm = NULL;
    slot->wrapped = false;
    slot->key = (struct slot_key){.program_count = program_count(slot)};
    slot->owner = 0;
    atomic_store(&slot->free_contexts, 0);
    disown(slot, program_count(slot), false);
}

static int open_contexts(struct cipher **contexts, unsigned n, const struct slot_load *load,
                         struct ice_why *why)
{
    for (unsigned i = 0; i < n; i++) {
        int r = cipher_open(&load->params, load->key, &contexts[i], why);
        if (r) {
            close_contexts(contexts, i);
            return r;
        }
    }
    return 0;
}

/* The slot is owned, and its contexts are those of `load`. */
static void describe_key(struct slot *slot, const struct slot_load *load)
{
    slot->algorithm = load->params.algorithm;
    slot->wrapped = load->wrapped;
    slot->owner = load->owner;
    slot->key.data_unit = load->params.data_unit;
    slot->key.iv_bits = (uint16_t)cipher_iv_bits(&load->params);
    slot->key.program_count = program_count(slot) + 1;
    cipher_fingerprint(load->key, load->params.algorithm->key_bytes, slot->key.fingerprint);
}

/* The new contexts are ready before the slot is touched: a failure leaves the old key. */
int slot_program(struct slot *slot, unsigned context_count, const struct slot_load *load,
                 struct slot_key *now, struct ice_why *why)
{
    struct cipher *fresh[CONTEXTS_MAX] = {NULL}, *old[CONTEXTS_MAX];
    unsigned old_count;
    int r;

    assert(context_count && context_count <= CONTEXTS_MAX);
    r = open_contexts(fresh, context_count, load, why);
    if (r)
        return r;
    pthread_mutex_lock(&slot->lock);
    r = own(slot, why);
    if (r) {
        pthread_mutex_unlock(&slot->lock);
        close_contexts(fresh, context_count);
        return r;
    }
    old_count = slot->context_count;
    memcpy(old, slot->contexts, sizeof(old));
    memcpy(slot->contexts, fresh, sizeof(fresh));
    slot->context_count = context_count;
    describe_key(slot, load);
    atomic_store(&slot->free_contexts, (UINT32_C(1) << context_count) - 1);
    if (now)
        *now = slot->key;
    disown(slot, slot->key.program_count, true);
    pthread_mutex_unlock(&slot->lock);
    close_contexts(old, old_count);
    return 0;
}

int slot_evict(struct slot *slot, struct slot_key *was, struct ice_why *why)
{
    int r;

    pthread_mutex_lock(&slot->lock);
    if (was)
        *was = slot->key;
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
void slot_clear(struct slot *slot, uint64_t owner)
{
    pthread_mutex_lock(&slot->lock);
    if (slot->algorithm && (owner == ENGINE_ANY_OWNER || owner == slot->owner)) {
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
    };
    memcpy(info->fingerprint, slot->key.fingerprint, FINGERPRINT_BYTES);
    pthread_mutex_unlock(&slot->lock);
}
