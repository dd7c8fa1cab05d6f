/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the profile asks of the device, each one request: operations wait for it and end before they
 * return. Those on slots are claims, so they touch nothing that somebody else has programmed.
 */
#include "base/secret.h"
#include "base/thread_memory.h"
#include "native_private.h"
#include <errno.h>
#include <sched.h>
#include <time.h>

/* ---- requests ---- */

#define REPEATS_MAX 64 /* the host does not reset the device faster than this for long */

int native_exchange(struct native *native, const struct exchange *exchange, struct ice_why *why)
{
    int r = -EPROTO;

    for (unsigned i = 0; r == -EPROTO && i < REPEATS_MAX; i++)
        r = channel_exchange(native->channel, exchange, why);
    return r;
}

uint8_t *native_head(void)
{
    static __thread struct thread_memory head;

    return thread_secret(&head, DIALECT_HEAD_MAX);
}

struct command_key native_key(const struct crypto_key *key)
{
    return (struct command_key){
        .type = key->config.key_type,
        .alg = key->config.algorithm->alg,
        .key_size = key->config.algorithm->key_size,
        .data_unit = key->config.data_unit,
        .dun_bytes = key->config.dun_bytes,
        .len = (uint16_t)key->len,
        .bytes = key->bytes,
    };
}

static int run(struct native *native, const struct command *command, struct ice_why *why)
{
    struct exchange exchange = {
        .command = command,
        .head = native_head(),
        .expect = EXPECT_ANY,
        .claim = true,
    };
    int r;

    if (!exchange.head)
        return secret_exhausted("a key operation", why);
    r = native_exchange(native, &exchange, why);
    secret_wipe(exchange.head, DIALECT_HEAD_MAX);
    return r;
}

#define PATIENCE_MS 10000

/*
 * The profile operates on slots without requests of its own, so what keeps one busy is about to
 * end: requests that are just being refused, or those that an engine reset waits for.
 */
static int run_patiently(struct native *native, const struct command *command, struct ice_why *why)
{
    static const struct timespec pause = {.tv_nsec = 1000000};
    int r = run(native, command, why);

    for (unsigned i = 0; r == -EBUSY && i < PATIENCE_MS; i++) {
        if (i)
            nanosleep(&pause, NULL);
        else
            sched_yield();
        r = run(native, command, why);
    }
    return r;
}

/* ---- what failed, in words ---- */

static void note_failure(struct native *native, const struct crypto_key *key,
                         const struct ice_why *why)
{
    pthread_mutex_lock(&native->lock);
    native->failure.key = key;
    native->failure.why = *why;
    pthread_mutex_unlock(&native->lock);
}

void native_forget_failure(struct native *native, const struct crypto_key *key)
{
    pthread_mutex_lock(&native->lock);
    if (native->failure.key == key)
        native->failure.key = NULL;
    pthread_mutex_unlock(&native->lock);
}

int native_explain(struct native *native, const struct crypto_key *key, int err,
                   struct ice_why *why)
{
    bool known;

    pthread_mutex_lock(&native->lock);
    known = native->failure.key == key && native->failure.why.err == -err;
    if (known && why)
        *why = native->failure.why;
    pthread_mutex_unlock(&native->lock);
    return known ? err : why_errno(why, -err, "the key cannot be used");
}

/* ---- slots of others ---- */

void native_give_up(struct native *native, uint32_t slot)
{
    pthread_mutex_lock(&native->lock);
    if (!native->given_up[slot])
        atomic_fetch_add(&native->given_up_count, 1);
    native->given_up[slot] = true;
    pthread_mutex_unlock(&native->lock);
    if (atomic_load(&native->waiting))
        native_listener_wake(native);
}

static bool take_back(struct native *native, uint32_t slot)
{
    struct channel *channel = native->channel;
    bool empty;

    pthread_mutex_lock(&native->lock);
    empty = native->given_up[slot] &&
            !channel->ops->slot_programmed(channel, native->first_slot + slot);
    if (empty) {
        native->given_up[slot] = false;
        atomic_fetch_sub(&native->given_up_count, 1);
    }
    pthread_mutex_unlock(&native->lock);
    return empty;
}

void native_offer_empty(struct native *native)
{
    for (uint32_t i = 0; i < native->slots && atomic_load(&native->given_up_count); i++) {
        if (take_back(native, i))
            profile_offer(native->profile, i);
    }
}

/* ---- the operations ---- */

/* A slot is given up once the profile has, or an offer in between would have no effect. */
static void end(struct native *native, uint32_t slot, struct profile_call *call, int r)
{
    profile_call_done(call, r);
    if (r == -EEXIST)
        native_give_up(native, slot);
}

static void program(void *user, uint32_t slot, const struct crypto_key *key,
                    struct profile_call *call)
{
    struct native *native = user;
    const struct command command = {
        .kind = COMMAND_KEY_PROGRAM,
        .slot = native->first_slot + slot,
        .key = native_key(key),
    };
    struct ice_why why;
    int r;

    native_offer_empty(native);
    r = run_patiently(native, &command, &why);
    if (r && r != -EEXIST)
        note_failure(native, key, &why);
    end(native, slot, call, r);
}

static void forget(struct native *native, const struct crypto_key *key, struct profile_call *call)
{
    const struct command command = {.kind = COMMAND_KEY_FORGET, .key = native_key(key)};
    struct ice_why why;
    int r = run(native, &command, &why);

    if (r)
        note_failure(native, key, &why);
    profile_call_done(call, r);
}

static void evict(void *user, uint32_t slot, const struct crypto_key *key,
                  struct profile_call *call)
{
    struct native *native = user;
    const struct command command = {.kind = COMMAND_KEY_EVICT, .slot = native->first_slot + slot};

    if (slot == PROFILE_NO_SLOT)
        forget(native, key, call);
    else
        end(native, slot, call, run_patiently(native, &command, NULL));
}

/*
 * The newest generation may be one whose reset the profile is only about to hear of. That does no
 * harm: its slots are empty or claimed by this disk with the key that the profile knows, so until
 * then requests find no key (ENOKEY), and no foreign one.
 */
static void acknowledge(void *user, struct profile_call *call)
{
    struct native *native = user;
    struct channel *channel = native->channel;
    uint64_t generation = atomic_load(&native->generation);
    int r = generation ? channel->ops->acknowledge(channel, generation, NULL) : 0;

    profile_call_done(call, r);
}

const struct profile_ops native_profile_ops = {program, evict, acknowledge};
