/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The insides of a profile. All but the atomics is under profile->lock; functions below that take a
 * list of items are called with the lock held and leave there what is to be done without it.
 */
#ifndef ICESIM_BLKCRYPTO_PROFILE_PRIVATE_H
#define ICESIM_BLKCRYPTO_PROFILE_PRIVATE_H

#include "profile.h"
#include <pthread.h>
#include <stdatomic.h>

/* ---- what is deferred until the lock is dropped, in order ---- */

struct item_list {
    struct profile_item *first, *last;
};

void profile_items_append(struct item_list *list, struct profile_item *item);
struct profile_item *profile_items_pop(struct item_list *list); /* NULL: empty */
void profile_items_move_behind(struct item_list *list,
                               struct item_list *behind); /* empties `behind` */
void profile_items_move_before(struct item_list *list,
                               struct item_list *earlier); /* empties `earlier` */

/* Runs them without a lock; in a call from within such a run, leaves them to that one. */
void profile_items_run(struct item_list *list);

/* ---- slots ---- */

enum slot_state {
    SLOT_ABSENT,      /* not offered */
    SLOT_EMPTY,       /* offered, nothing in it */
    SLOT_CLEANING,    /* an evict runs; if `key` is set, it is programmed next */
    SLOT_PROGRAMMING, /* a program of `key` runs */
    SLOT_STALE,       /* a program runs that began before a reset; then `key` is programmed again */
    SLOT_READY,       /* `key` is in it, the generation not acknowledged yet */
    SLOT_LIVE,        /* `key` is in it */
    SLOT_DIRTY,       /* what was left in it could not be evicted */
};

/*
 * The word: bit 0 live, bits 1..23 references, bits 24..63 version: how often it became live.
 * References come by compare-and-swap while it is live and go by subtraction. Only who holds the
 * lock makes a slot live or ends that, and only a live slot's key is right: who has seen the word
 * and the key, and swaps the same word, has a reference to that key. References to a slot that is
 * not live exist during a reset alone.
 */
#define WORD_LIVE     UINT64_C(1)
#define WORD_REF      UINT64_C(2)
#define WORD_REFS     UINT64_C(0xfffffe)
#define WORD_VERSION  UINT64_C(0x1000000)
#define VERSION_SHIFT 24

enum call_kind { CALL_PROGRAM, CALL_EVICT_SLOT, CALL_EVICT_KEY, CALL_ACKNOWLEDGE };

struct profile_call {
    struct profile_item item;
    enum call_kind kind;
    uint64_t epoch; /* that it acknowledges */
    struct profile *profile;
    struct profile_slot *slot; /* of the kinds that have one */
    struct profile_key *key;
};

struct profile_slot {
    _Atomic uint64_t word;
    struct profile_key *_Atomic key; /* NULL: none */
    _Atomic uint64_t idle_since;     /* ns: the last put */
    _Atomic uint64_t hits;

    enum slot_state state;
    /* Keys that the device may still hold here, though they are unlinked: until a program or an
     * evict succeeds. None while it is ready or live. */
    struct left {
        struct profile_key *key;
        bool awaited; /* by the key's evict, one of its `pending` */
    } left[2];
    struct profile_call call;
    struct profile_counts counts; /* but hits */
} __attribute__((aligned(64)));

struct profile_key {
    struct profile *profile;
    const struct crypto_key *key;
    struct profile_slot *_Atomic slot; /* whose key it is */
    _Atomic uint64_t hits;
    /* Without slots: references, and whether what is below may have it. */
    _Atomic uint64_t references;
    _Atomic bool below;

    struct profile_key *next; /* of the profile's */
    unsigned opens;
    unsigned getters;        /* in the queue, parked or in `joined` */
    struct item_list joined; /* getters for whom `slot` is being made ready */
    struct {
        struct profile_item item;
        void (*done)(void *arg, int err); /* NULL: it is not being evicted */
        void *arg;
        unsigned pending; /* entries of `left` */
        int err;
        struct profile_call call; /* without slots */
    } evict;
    struct profile_counts counts; /* but hits */
} __attribute__((aligned(64)));

struct profile {
    /* Read by every hit, written when somebody begins or ends to queue: get takes the lock. */
    _Atomic bool queued __attribute__((aligned(64)));
    _Atomic uint64_t epoch; /* resets heard of */
    const struct profile_ops *ops;
    void *user;
    uint32_t count;
    struct profile_slot *slots;

    pthread_mutex_t lock __attribute__((aligned(64)));
    struct crypto_caps caps;
    uint32_t offered; /* slots that are not absent */
    struct profile_key *keys;
    struct item_list queue;  /* getters, oldest first */
    struct item_list parked; /* by profile_again, until a reset is heard of */
    bool resetting;          /* nobody gets a slot */
    bool acknowledging;
    int failed; /* nobody ever does; else 0 */
    struct profile_call acknowledge;
};

static inline uint32_t references(uint64_t word)
{
    return (uint32_t)((word & WORD_REFS) / WORD_REF);
}

static inline uint32_t slot_references(struct profile_slot *slot)
{
    return references(atomic_load(&slot->word));
}

/* Nobody waits for a slot then. */
static inline bool profile_is_empty(const struct profile *profile)
{
    return profile->count && !profile->offered && !profile->resetting;
}

static inline uint32_t slot_index(const struct profile *profile, const struct profile_slot *slot)
{
    return (uint32_t)(slot - profile->slots);
}

/* ---- profile.c ---- */

/* Without slots: a reference to the key. */
void profile_pass(struct profile_key *key, struct profile_ref *ref);

/* ---- profile_slots.c ---- */

/* Gives slots to getters as far as there are any, and says so in `queued`. */
void profile_serve(struct profile *profile, struct item_list *items);

/* Ends a getter. */
void profile_ref_finish(struct profile_ref *ref, int err, struct item_list *items);
void profile_refs_fail(struct item_list *refs, int err, struct item_list *items);

/* Ends that the slot is live, unless it has references; false: it has. */
bool profile_slot_retire(struct profile_slot *slot);
/* Unlinks the slot's key, which the device may still hold there. */
void profile_slot_leave(struct profile_slot *slot);
/* Nothing of the keys in `left` is in the slot any more, or (err) that is not known. */
void profile_slot_settle_left(struct profile_slot *slot, int err, struct item_list *items);
void profile_slot_go_live(struct profile *profile, struct profile_slot *slot,
                          struct item_list *items);
void profile_slot_program(struct profile *profile, struct profile_slot *slot,
                          struct item_list *items);
void profile_slot_clean(struct profile *profile, struct profile_slot *slot,
                        struct item_list *items);
/* A program or an evict of the slot has ended. */
void profile_slot_called(struct profile_call *call, int err, struct item_list *items);
/* The last reference was put. */
void profile_slot_released(struct profile *profile, struct profile_slot *slot,
                           struct item_list *items);

/* ---- profile_reset.c ---- */

/* During a reset: acknowledges once all keys that matter are in their slots. */
void profile_reset_settle(struct profile *profile, struct item_list *items);
void profile_reset_acknowledged(struct profile *profile, int err, struct item_list *items);

/* ---- profile_evict.c ---- */

/* One entry of `left` less. */
void profile_evict_ended(struct profile_key *key, int err, struct item_list *items);

#endif
