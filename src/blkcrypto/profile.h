/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A profile finds keyslots for keys: many keys share few slots. It knows which slot holds which key
 * and how many references each slot has, programs a key that is in none into the least recently
 * used idle slot, and queues who finds none idle.
 *
 * It never waits. What takes time is an operation below that ends in profile_call_done, or a
 * continuation of the caller. Every function may be called from any thread, also from within the
 * operations and continuations, which run with no lock held, on a thread that is in some call of
 * this header; they must not wait for one another. When an operation ends within itself, the work
 * that follows runs behind it, not inside: however many do, the stack does not grow.
 *
 * Fairness: who finds no idle slot queues, and while anybody does, whoever comes later queues
 * behind, though its key may be in a slot (but for a hit that runs at that very moment). Slots are
 * given in this order; a getter that has been given one waits for its program alone, and others do
 * not wait for that. Only who was given a slot that turned out to be another's comes back to the
 * front.
 */
#ifndef ICESIM_BLKCRYPTO_PROFILE_H
#define ICESIM_BLKCRYPTO_PROFILE_H

#include "crypto_caps.h"
#include "key.h"

struct profile;
struct profile_key;  /* a key in use at one profile */
struct profile_call; /* an operation that has not ended */

#define PROFILE_NO_SLOT UINT32_MAX

/* What the profile asks for. Each ends in one profile_call_done, perhaps before it returns. */
struct profile_ops {
    /*
     * Puts `key` into `slot`, which has no references but, after a reset, to that key. An error
     * goes to who waits for the key; the slot is evicted before it is used again, for who knows
     * what it holds. But -EEXIST, of an evict too: somebody else has programmed the slot; the
     * profile gives it up until profile_offer, and programs another.
     */
    void (*program)(void *user, uint32_t slot, const struct crypto_key *key,
                    struct profile_call *call);
    /*
     * Empties `slot`; `key` is NULL. Without slots: `slot` is PROFILE_NO_SLOT, and what is below
     * forgets `key`; not asked while a key that is the same to it may be there.
     */
    void (*evict)(void *user, uint32_t slot, const struct crypto_key *key,
                  struct profile_call *call);
    /*
     * Acknowledges the newest generation: every key in use has been programmed in it. An error
     * ends all waiting, and profile_fail is as if called with it.
     */
    void (*acknowledge)(void *user, struct profile_call *call);
};

/* Ends an operation. `err` is 0 or negative. */
void profile_call_done(struct profile_call *call, int err);

/*
 * `slots` are numbered from 0; the profile may use none of them until profile_offer, and while it
 * may use none nobody waits for one. Without slots it is a passthrough profile: keys go along with
 * each request, references have no slot. NULL: no memory. profile_free: no key is open and no call
 * runs.
 */
struct profile *profile_new(const struct profile_ops *ops, void *user, uint32_t slots,
                            const struct crypto_caps *caps);
void profile_free(struct profile *profile);

/* Replaces the capabilities. They may only grow: -EINVAL, as keys are open that rely on them. */
int profile_update_caps(struct profile *profile, const struct crypto_caps *caps,
                        struct ice_why *why);

/* Lets the profile use `slot`, which is empty; no effect when it may already. */
void profile_offer(struct profile *profile, uint32_t slot);

/*
 * Before a key is used: outside the I/O path. The same key may be opened more than once, and is
 * one. 0, -EOPNOTSUPP with the reason, -ENOMEM. profile_key_close: with no references and no
 * getters; the last one after profile_evict has ended, with whatever result.
 */
int profile_key_open(struct profile *profile, const struct crypto_key *key,
                     struct profile_key **opened, struct ice_why *why);
void profile_key_close(struct profile_key *key);

/* What is deferred; private. */
struct profile_item {
    struct profile_item *next;
    void (*run)(struct profile_item *item);
};

/* One reference to a slot, or the wait for one. The caller's, until put or ready with an error. */
struct profile_ref {
    /* Set by the caller. Called exactly once after -EINPROGRESS: 0, and `slot` is set, or -errno.
     */
    void (*ready)(struct profile_ref *ref, int err);
    uint32_t slot; /* it holds the key until the reference is put */

    /* private */
    struct profile_item item;
    struct profile_key *key;
    uint64_t version;
    int err;
};

/*
 * A slot that holds `key`. 0: the reference is there. -EINPROGRESS: `ready` is called later, or has
 * been. Another -errno, which `ready` may be called with, too: what profile_fail says; -ENXIO, the
 * profile has no slot to use. When the key is in a slot and nobody queues this takes no lock and
 * allocates nothing, and writes to nothing that belongs to another key.
 */
int profile_get(struct profile_key *key, struct profile_ref *ref);

/* When the request that used the slot has ended. Unless somebody queues, as cheap as a hit. */
void profile_put(struct profile_ref *ref);

/*
 * Instead of profile_put, when the device refused the request with ESTALE, to repeat it: puts the
 * reference and gets a new one, after the reset that the device had in mind, whether the profile
 * has heard of it or not. As profile_get, but never 0.
 */
int profile_again(struct profile_ref *ref);

/*
 * Takes the key out of every slot. 0: it was in none. -EINPROGRESS: `done` is called exactly once,
 * perhaps before this returns; with an error the device may still hold the key, though the profile
 * has unlinked it and evicts the slot again before it uses it. -EBUSY: the key has references or
 * getters, is being programmed or evicted; nothing changes. A get before `done` puts the key into a
 * slot anew.
 */
int profile_evict(struct profile_key *key, void (*done)(void *arg, int err), void *arg);

/*
 * The engine has a new generation and has emptied all slots. Keys with references, and those that
 * were being programmed, are programmed into their slots again; then comes acknowledge, and until
 * it has ended nobody gets a slot. May come again before it has.
 */
void profile_reset(struct profile *profile);

/*
 * No slot will be had any more (the device is gone): who waits for one gets `err`, negative, and so
 * does every get, until profile_reset. Operations that run end as they do.
 */
void profile_fail(struct profile *profile, int err);

/*
 * Of a key: every get is a hit or a wait, and a miss when the key was in no slot and none was being
 * programmed. Of a slot: gets that a key in it served at once, keys that were given it, references
 * that somebody waited for. Of both: times that a key came into the slot, and that it left it,
 * whichever way; so `programs` less `evictions` is 1 or 0, whether the key is in the slot.
 */
struct profile_counts {
    uint64_t hits, misses, programs, evictions, waits;
};

struct profile_slot_info {
    bool offered;
    const struct crypto_key *key; /* NULL: none, or not known to be there */
    uint32_t references;
    struct profile_counts counts;
};

void profile_slot_describe(struct profile *profile, uint32_t slot, struct profile_slot_info *info);
void profile_key_counts(struct profile_key *key, struct profile_counts *counts);

#endif
