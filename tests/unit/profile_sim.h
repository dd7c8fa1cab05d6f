/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A plain model of a profile, its users, and the engine below it, for profile_seeds: who waits
 * since when, which key is in which slot, what has not ended. It is told by what it asks of the
 * profile and what the profile asks of it, and says where that is wrong.
 */
#ifndef ICESIM_TESTS_PROFILE_SIM_H
#define ICESIM_TESTS_PROFILE_SIM_H

#include "blkcrypto/profile.h"
#include <stdio.h>

#define SLOTS 4
#define KEYS  6
#define REFS  12

enum { NOBODY = -1, FOREIGN = -2 };

enum ref_state { IDLE, WAITING, HELD };

struct sim {
    uint64_t seed, random;
    bool loud;
    unsigned slots, keys, refs;
    bool strict; /* nothing fails, nothing nests: order and choice of slots are exact */

    struct profile *profile;
    struct profile_key *key[KEYS];
    struct user {
        struct profile_ref ref;
        enum ref_state state;
        int key;
        long order; /* of waiting */
        bool parked;
        int epoch; /* when it was held */
    } user[REFS];
    long last_order, first_order;

    struct {
        bool offered;
        int key; /* NOBODY, or the one that the profile has put or is putting there */
        bool live;
        unsigned refs;
        long idle_since;
        uint64_t given; /* to a key: a program that is no repetition */
        /* the engine */
        int holds;
        struct profile_call *call;
        int call_key; /* NOBODY: an evict */
        int call_epoch;
    } slot[SLOTS];
    int epoch;      /* resets that the profile has heard of */
    bool resetting; /* it has not acknowledged that yet */
    int reset;      /* of the engine, unheard: 1 generation raised, 2 slots emptied; else 0 */
    int generation; /* the engine's */
    int acknowledged;
    struct profile_call *acknowledge;
    bool acknowledging; /* it ends now */
    bool nested; /* an operation of this step ended within itself: others were decided before */
    int acknowledge_generation;
    int failed; /* profile_fail */

    bool evicting[KEYS];
    uint64_t gets, misses[KEYS]; /* misses: as exact as the order */
    long clock;
};
extern struct sim t;
extern struct crypto_key keys[KEYS];

/* Ends the program: the seed has found something. */
__attribute__((format(printf, 1, 2), noreturn)) void wrong(const char *format, ...);

#define MUST(condition, ...)                                                                       \
    do {                                                                                           \
        if (!(condition))                                                                          \
            wrong(__VA_ARGS__);                                                                    \
    } while (0)
#define SAY(...)                                                                                   \
    do {                                                                                           \
        if (t.loud)                                                                                \
            printf("# " __VA_ARGS__);                                                              \
    } while (0)

/* What the seed chooses. */
unsigned choose(unsigned n);
bool chance(unsigned percent);

/* Whether a slot has `key`, or is being programmed with it. */
bool has_slot(int key);
/* Whether the profile may use any. */
bool has_any_slot(void);
/* The oldest that waits for a key without a slot; NULL: none. */
struct user *oldest(void);

/* What a user does. io: a request, for which the engine uses the slot's key, or refuses it. */
void get(struct user *user);
void put(struct user *user);
void io(struct user *user);

/* What is below the profile; its operations end when told so, or at once. */
extern const struct profile_ops sim_ops;
void end_call(unsigned s, unsigned fail_percent);
void end_acknowledge(void);

#endif
