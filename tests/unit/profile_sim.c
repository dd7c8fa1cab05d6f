/* SPDX-License-Identifier: BSD-2-Clause */
#include "profile_sim.h"
#include "base/bytes.h"
#include <errno.h>

struct sim t;
struct crypto_key keys[KEYS];

unsigned choose(unsigned n)
{
    t.random ^= t.random << 13;
    t.random ^= t.random >> 7;
    t.random ^= t.random << 17;
    return (unsigned)((t.random >> 33) % n);
}

bool chance(unsigned percent)
{
    return choose(100) < percent;
}

/* ---- the model of who waits ---- */

bool has_slot(int key)
{
    for (unsigned s = 0; s < t.slots; s++) {
        if (t.slot[s].key == key)
            return true;
    }
    return false;
}

bool has_any_slot(void)
{
    for (unsigned s = 0; s < t.slots; s++) {
        if (t.slot[s].offered)
            return true;
    }
    return false;
}

struct user *oldest(void)
{
    struct user *found = NULL;

    for (unsigned u = 0; u < t.refs; u++) {
        struct user *user = &t.user[u];
        if (user->state == WAITING && !user->parked && !has_slot(user->key) &&
            (!found || user->order < found->order))
            found = user;
    }
    return found;
}

/* Something is given to one that came at `order`: whom does it pass? */
static void check_passed(long order)
{
    for (unsigned u = 0; u < t.refs && t.strict; u++) {
        struct user *user = &t.user[u];
        MUST(user->state != WAITING || user->parked || has_slot(user->key) || user->order > order,
             "user %u was passed", u);
    }
}

static void waits(struct user *user, bool parked)
{
    user->state = WAITING;
    user->parked = parked;
    user->order = ++t.last_order;
}

/* ---- references ---- */

static void hold(struct user *user)
{
    unsigned s = user->ref.slot;

    MUST(s < t.slots && t.slot[s].offered, "slot %u is not the profile's", s);
    MUST(t.slot[s].key == user->key && t.slot[s].live, "slot %u is not live with key %d", s,
         user->key);
    if (!t.acknowledging &&
        !t.nested) /* that ends what had slots before it: who was parked waits anew */
        check_passed(user->order);
    user->state = HELD;
    user->epoch = t.epoch;
    t.slot[s].refs++;
}

void put(struct user *user)
{
    unsigned s = user->ref.slot;

    SAY("put slot %u\n", s);
    t.slot[s].refs--;
    t.slot[s].idle_since = ++t.clock;
    user->state = IDLE;
    profile_put(&user->ref);
}

static void ready(struct profile_ref *ref, int err)
{
    struct user *user = CONTAINER_OF(ref, struct user, ref);

    MUST(user->state == WAITING, "ready, but nobody waits");
    if (err) {
        SAY("user %td gets %d\n", user - t.user, err);
        MUST(err == t.failed || (err == -ENXIO && !has_any_slot()) ||
                 (!t.strict && (err == -EIO || err == -EBUSY)),
             "error %d", err);
        user->state = IDLE;
        return;
    }
    SAY("user %td has slot %u\n", user - t.user, ref->slot);
    hold(user);
    if (t.strict || !chance(20))
        return;
    put(user);
    if (chance(50))
        get(user);
}

/* What a get may say instead: nobody waits for a slot that will not be had. */
static bool is_refusal(int r)
{
    return r && (r == t.failed || (r == -ENXIO && !has_any_slot() && !t.resetting));
}

void get(struct user *user)
{
    bool miss;
    int r;

    user->key = (int)choose(t.keys);
    user->ref.ready = ready;
    miss = !has_slot(user->key);
    waits(user, false);
    SAY("user %td wants key %d\n", user - t.user, user->key);
    r = profile_get(t.key[user->key], &user->ref);
    if (r == 0)
        hold(user);
    else if (r == -EINPROGRESS || is_refusal(r))
        SAY("  %d\n", r);
    else
        wrong("get: %d", r);
    if (is_refusal(r))
        user->state = IDLE;
    else
        t.gets++;
    t.misses[user->key] += r == -EINPROGRESS && miss;
}

void io(struct user *user)
{
    unsigned s = user->ref.slot;
    int r;

    if (t.acknowledged == t.generation) {
        MUST(t.slot[s].holds == user->key, "slot %u has key %d, not %d", s, t.slot[s].holds,
             user->key);
        return;
    }
    SAY("user %td: ESTALE on slot %u\n", user - t.user, s);
    t.slot[s].refs--;
    t.slot[s].idle_since = ++t.clock;
    waits(user, !t.resetting && user->epoch == t.epoch);
    t.gets++;
    r = profile_again(&user->ref);
    MUST(r == -EINPROGRESS || is_refusal(r), "again: %d", r);
    if (is_refusal(r)) {
        user->state = IDLE;
        t.gets--;
    }
}

/* ---- operations ---- */

/* What the engine does when an operation with this result ends, or has begun. */
static void apply(unsigned s, int err)
{
    int key = t.slot[s].call_key;

    if (!err)
        t.slot[s].holds = key;
    else if (err != -EEXIST && chance(50))
        t.slot[s].holds = chance(50) ? key : NOBODY;
}

void end_call(unsigned s, unsigned fail_percent)
{
    struct profile_call *call = t.slot[s].call;
    int key = t.slot[s].call_key;
    int err = 0;

    if (t.slot[s].holds == FOREIGN)
        err = -EEXIST;
    else if (!t.strict && chance(fail_percent))
        err = chance(50) ? -EIO : -EBUSY;
    apply(s, err);
    SAY("slot %u: %s ends with %d\n", s, key < 0 ? "evict" : "program", err);
    t.slot[s].call = NULL;
    if (t.slot[s].call_epoch == t.epoch || key == NOBODY) {
        t.slot[s].live = !err && key >= 0 && !t.resetting;
        if (err)
            t.slot[s].key = NOBODY;
        if (err == -EEXIST)
            t.slot[s].offered = false;
    } else {
        t.slot[s].key = NOBODY;
    }
    profile_call_done(call, err);
}

static void begin_call(unsigned s, int key, struct profile_call *call)
{
    MUST(s < t.slots && t.slot[s].offered, "a call for slot %u, which is not the profile's", s);
    MUST(!t.slot[s].call, "two calls for slot %u", s);
    t.slot[s].call = call;
    t.slot[s].call_key = key;
    t.slot[s].call_epoch = t.epoch;
    if (chance(20)) {
        t.nested = true;
        end_call(s, 20);
    }
}

/* On demand: for the oldest, in an empty slot, or in the one that has been idle longest. */
static void check_choice(unsigned s, int key)
{
    struct user *first = oldest();
    int was = t.slot[s].key;

    MUST(first && first->key == key, "key %d is programmed, but not the oldest waits for it", key);
    for (unsigned i = 0; i < t.slots && !t.nested; i++) {
        if (i == s || !t.slot[i].offered || t.slot[i].refs || t.slot[i].call)
            continue;
        MUST(was == NOBODY || t.slot[i].key != NOBODY, "slot %u was empty", i);
        MUST(was == NOBODY || t.slot[i].idle_since > t.slot[s].idle_since,
             "slot %u was idle longer", i);
    }
}

static void program(void *user, uint32_t s, const struct crypto_key *key, struct profile_call *call)
{
    int id = (int)(key - keys);
    struct user *first;

    (void)user;
    SAY("program key %d into slot %u\n", id, s);
    for (unsigned i = 0; i < t.slots; i++) {
        MUST(i == s || t.slot[i].key != id, "key %d is programmed twice", id);
        MUST(i != s || !t.slot[i].refs || t.resetting || t.failed, "slot %u is in use", s);
    }
    if (t.strict && !t.resetting && t.slot[s].key != id)
        check_choice(s, id);
    for (unsigned u = 0; u < t.refs; u++)
        MUST(t.user[u].state != HELD || t.user[u].ref.slot != s || t.user[u].key == id,
             "slot %u is in use", s);
    t.slot[s].key = NOBODY;
    first = NULL;
    for (unsigned u = 0; u < t.refs; u++) {
        if (t.user[u].state == WAITING && t.user[u].key == id &&
            (!first || t.user[u].order < first->order))
            first = &t.user[u];
    }
    t.slot[s].key = id;
    t.slot[s].live = false;
    t.slot[s].given += !t.resetting;
    if (first && !t.resetting)
        check_passed(first->order);
    begin_call(s, id, call);
}

static void evict(void *user, uint32_t s, const struct crypto_key *key, struct profile_call *call)
{
    (void)user;
    SAY("evict slot %u\n", s);
    MUST(!key, "a key to evict");
    MUST(!t.slot[s].refs, "slot %u is in use", s);
    t.slot[s].key = NOBODY;
    t.slot[s].live = false;
    begin_call(s, NOBODY, call);
}

void end_acknowledge(void)
{
    struct profile_call *call = t.acknowledge;
    bool current = t.acknowledge_generation == t.epoch;

    SAY("acknowledged%s\n", current ? "" : ", too early");
    t.acknowledge = NULL;
    t.acknowledged = t.acknowledge_generation;
    if (current) {
        t.resetting = false;
        for (unsigned s = 0; s < t.slots; s++)
            t.slot[s].live = t.slot[s].key >= 0 && !t.slot[s].call;
    }
    t.acknowledging = true;
    profile_call_done(call, 0);
    t.acknowledging = false;
}

static void acknowledge(void *user, struct profile_call *call)
{
    (void)user;
    SAY("acknowledge\n");
    MUST(!t.acknowledge, "acknowledged twice");
    t.acknowledge = call;
    t.acknowledge_generation = t.epoch;
    for (unsigned u = 0; u < t.refs && t.epoch == t.generation; u++)
        MUST(t.user[u].state != HELD || t.slot[t.user[u].ref.slot].holds == t.user[u].key,
             "acknowledged before key %d was there", t.user[u].key);
    if (chance(30)) {
        t.nested = true;
        end_acknowledge();
    }
}

const struct profile_ops sim_ops = {program, evict, acknowledge};
