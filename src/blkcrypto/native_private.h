/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The insides of a native disk. What a hit reads stands first and seldom changes; what a miss or
 * news writes has lines of its own.
 */
#ifndef ICESIM_BLKCRYPTO_NATIVE_PRIVATE_H
#define ICESIM_BLKCRYPTO_NATIVE_PRIVATE_H

#include "exchange.h"
#include "native.h"
#include <pthread.h>
#include <stdatomic.h>

struct native {
    struct disk disk;
    struct channel *channel;
    struct profile *profile; /* NULL: no inline crypto */
    const char *refusal;     /* why there is none */
    uint32_t first_slot;     /* as the wire names the profile's slot 0 */
    uint32_t slots;          /* 0: keys go along with requests */
    _Atomic uint32_t resets; /* that the profile was or is to be told of */

    _Atomic uint64_t generation __attribute__((aligned(64))); /* of the engine, the newest told */
    _Atomic uint32_t waiting;                                 /* requests, for a slot */
    _Atomic uint32_t news;                                    /* what the listener sleeps on */
    pthread_t listener;
    _Atomic bool stop;

    pthread_mutex_t lock; /* of what follows */
    struct {
        const struct crypto_key *key;
        struct ice_why why;
    } failure;                       /* of the last key operation that failed */
    _Atomic uint32_t given_up_count; /* read without it */
    bool given_up[];                 /* slots that somebody programs directly */
};

struct disk_key {
    const struct crypto_key *key;
    struct profile_key *slot_key;
};

/* native_slots.c: the profile's operations below. */
extern const struct profile_ops native_profile_ops;

/*
 * Runs one exchange. Whatever the device refused since its driver had been reset by the host is
 * repeated, as none of it was run.
 */
int native_exchange(struct native *native, const struct exchange *exchange, struct ice_why *why);

/* DIALECT_HEAD_MAX bytes of secret memory, this thread's. NULL: no memory. */
uint8_t *native_head(void);

/* The key of a command that carries one. */
struct command_key native_key(const struct crypto_key *key);

/* What a key operation for `key` said when it failed with `err`. Returns `err`. */
int native_explain(struct native *native, const struct crypto_key *key, int err,
                   struct ice_why *why);

void native_forget_failure(struct native *native, const struct crypto_key *key);

/* The profile may not use it until native_offer_empty finds it empty. */
void native_give_up(struct native *native, uint32_t slot);
void native_offer_empty(struct native *native);

/* native_listener.c: the thread. 0 or -errno. */
int native_listener_start(struct native *native, struct ice_why *why);
void native_listener_stop(struct native *native); /* or has been stopped */

/* Has it look at what has changed. */
void native_listener_wake(struct native *native);

/*
 * The device says that a slot no longer has this disk's key: its function was reset, or this
 * driver. `seen`: `resets` after the reference was got; one reset serves all who found out.
 */
void native_lost(struct native *native, uint32_t seen);

#endif
