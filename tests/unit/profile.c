/* SPDX-License-Identifier: BSD-2-Clause */
/* The rules of a profile, one by one, with operations that end when the test says so. */
#include "blkcrypto/profile.h"
#include "base/bytes.h"
#include "tap.h"
#include <errno.h>

#define SLOTS 3
#define KEYS  5
#define REFS  8

enum { NOTHING = 99 }; /* no result yet */

static struct {
    struct profile_call *call;
    const struct crypto_key *key; /* NULL: an evict */
} calls[SLOTS];
static struct profile_call *acknowledging, *passed;
static const struct crypto_key *passed_key;
static unsigned programs, evicts;

static struct profile *profile;
static struct crypto_key keys[KEYS];
static struct profile_key *opened[KEYS];

static struct getter {
    struct profile_ref ref;
    int result;
    unsigned called;
} getter[REFS];

static void program(void *user, uint32_t slot, const struct crypto_key *key,
                    struct profile_call *call)
{
    (void)user;
    programs++;
    calls[slot].call = call;
    calls[slot].key = key;
}

static void evict(void *user, uint32_t slot, const struct crypto_key *key,
                  struct profile_call *call)
{
    (void)user;
    evicts++;
    if (slot == PROFILE_NO_SLOT) {
        passed = call;
        passed_key = key;
        return;
    }
    calls[slot].call = call;
    calls[slot].key = NULL;
}

static void acknowledge(void *user, struct profile_call *call)
{
    (void)user;
    acknowledging = call;
}

static const struct profile_ops ops = {program, evict, acknowledge};

static void end(unsigned slot, int err)
{
    struct profile_call *call = calls[slot].call;

    calls[slot].call = NULL;
    profile_call_done(call, err);
}

static void end_acknowledge(int err)
{
    struct profile_call *call = acknowledging;

    acknowledging = NULL;
    profile_call_done(call, err);
}

static bool programming(unsigned slot, unsigned key)
{
    return calls[slot].call && calls[slot].key == &keys[key];
}

static bool evicting(unsigned slot)
{
    return calls[slot].call && !calls[slot].key;
}

static void ready(struct profile_ref *ref, int err)
{
    struct getter *of = CONTAINER_OF(ref, struct getter, ref);

    of->result = err;
    of->called++;
}

static int get(unsigned g, unsigned key)
{
    getter[g].ref.ready = ready;
    getter[g].result = NOTHING;
    getter[g].called = 0;
    return profile_get(opened[key], &getter[g].ref);
}

static void again(unsigned g)
{
    getter[g].result = NOTHING;
    getter[g].called = 0;
    profile_again(&getter[g].ref);
}

static void put(unsigned g)
{
    profile_put(&getter[g].ref);
}

/* A reference to a key that was in no slot. */
static void load(unsigned g, unsigned key, unsigned slot)
{
    get(g, key);
    end(slot, 0);
}

static int evict_result;

static void evicted(void *arg, int err)
{
    (void)arg;
    evict_result = err;
}

static int evict_key(unsigned key)
{
    evict_result = NOTHING;
    return profile_evict(opened[key], evicted, NULL);
}

static const struct crypto_caps caps = {
    .units = {[1] = 4096}, .dun_bytes = 8, .key_types = ICE_KEY_TYPE_RAW};

static void begin(unsigned slots)
{
    memset(calls, 0, sizeof(calls));
    programs = evicts = 0;
    profile = profile_new(&ops, NULL, slots, &caps);
    for (unsigned k = 0; k < KEYS; k++) {
        keys[k].config = (struct crypto_config){&algorithms[1], 4096, 8, ICE_KEY_TYPE_RAW};
        profile_key_open(profile, &keys[k], &opened[k], NULL);
    }
    for (unsigned s = 0; s < slots; s++)
        profile_offer(profile, s);
}

/* With no references left. */
static void finish(void)
{
    for (unsigned k = 0; k < KEYS; k++) {
        evict_key(k);
        for (unsigned s = 0; s < SLOTS; s++)
            if (calls[s].call)
                end(s, 0);
        profile_key_close(opened[k]);
    }
    profile_free(profile);
}

/* ---- hits, misses, choice of a slot ---- */

static void test_share(void)
{
    struct profile_slot_info info;
    struct profile_counts counts;

    begin(2);
    is_int(get(0, 0), -EINPROGRESS, "a miss is programmed");
    ok(programming(0, 0), "into the first slot");
    is_int(get(1, 0), -EINPROGRESS, "who comes meanwhile waits for the same");
    ok(!getter[0].called && !getter[1].called && programs == 1, "once");
    end(0, 0);
    ok(getter[0].called == 1 && getter[1].called == 1, "both are called once");
    ok(getter[0].result == 0 && getter[1].ref.slot == 0, "with the slot");
    is_int(get(2, 0), 0, "then it is a hit");
    profile_slot_describe(profile, 0, &info);
    ok(info.key == &keys[0] && info.references == 3 && info.offered, "three references");
    profile_key_counts(opened[0], &counts);
    ok(counts.hits == 1 && counts.misses == 1 && counts.waits == 2 && counts.programs == 1,
       "counted");
    load(3, 1, 1);
    ok(getter[3].ref.slot == 1, "another key gets the other slot");
    is_int(get(4, 2), -EINPROGRESS, "the third finds none idle");
    put(0);
    put(1);
    ok(!programming(0, 2), "nor while there is a reference");
    put(2);
    ok(programming(0, 2), "the last put makes room");
    end(0, 0);
    ok(getter[4].result == 0 && getter[4].ref.slot == 0, "for it");
    profile_slot_describe(profile, 0, &info);
    ok(info.counts.programs == 2 && info.counts.evictions == 1, "one key replaced another");
    put(3);
    put(4);
    is_int(get(5, 1), 0, "an idle key is a hit");
    put(5);
    get(6, 3);
    ok(programming(0, 3), "the slot that was idle longest is taken, not the last");
    end(0, 0);
    put(6);
    finish();
}

static void test_order(void)
{
    begin(1);
    load(0, 0, 0);
    get(1, 1);
    is_int(get(2, 0), -EINPROGRESS, "no hit past somebody that queues");
    get(3, 1);
    put(0);
    ok(programming(0, 1), "the oldest is first");
    end(0, 0);
    ok(getter[1].called && !getter[2].called && !getter[3].called, "and alone: older ones queue");
    put(1);
    ok(programming(0, 0), "then the next");
    end(0, 0);
    put(2);
    end(0, 0);
    ok(getter[3].result == 0, "and the next");
    is_int(get(4, 1), 0, "hits are back when nobody queues");
    put(3);
    put(4);
    finish();
}

/* ---- failures ---- */

static void test_failed_program(void)
{
    begin(1);
    load(0, 0, 0);
    get(1, 1);
    get(2, 1);
    get(3, 2);
    put(0);
    end(0, -EIO);
    ok(getter[1].result == -EIO && getter[2].result == -EIO && !getter[3].called,
       "who waited for it gets the errno");
    ok(evicting(0), "the slot is evicted before it is used");
    is_int(evict_key(0), -EINPROGRESS, "the old key may still be there");
    end(0, -ETIMEDOUT);
    is_int(evict_result, -ETIMEDOUT, "which its evict is told");
    ok(evicting(0), "for the next waiter it is tried again");
    end(0, 0);
    ok(programming(0, 2), "then that is programmed");
    end(0, 0);
    ok(getter[3].result == 0, "and served");
    is_int(evict_key(0), 0, "nothing is left of the old key");
    put(3);
    finish();
}

static void test_foreign_slot(void)
{
    struct profile_slot_info info;

    begin(2);
    get(0, 0);
    end(0, -EEXIST);
    ok(programming(1, 0) && !getter[0].called, "a slot of somebody else: the next is programmed");
    end(1, 0);
    ok(getter[0].result == 0 && !evicts, "and nothing evicted");
    profile_slot_describe(profile, 0, &info);
    ok(!info.offered, "it is given up");
    get(1, 1);
    ok(!calls[0].call, "a slot that was not offered is not used");
    profile_offer(profile, 0);
    ok(programming(0, 1), "it is when it has been");
    end(0, 0);
    put(0);
    put(1);
    finish();
}

static void test_no_slot(void)
{
    begin(1);
    load(0, 0, 0);
    get(1, 1);
    get(2, 0);
    put(0);
    end(0, -EEXIST);
    ok(getter[1].result == -ENXIO && getter[2].result == -ENXIO, "the last slot is lost: no waits");
    is_int(get(3, 1), -ENXIO, "nor later");
    profile_offer(profile, 0);
    is_int(get(3, 1), -EINPROGRESS, "a slot again");
    end(0, 0);
    put(3);
    finish();
}

static void test_evict(void)
{
    begin(2);
    is_int(evict_key(0), 0, "a key in no slot is gone");
    get(0, 0);
    is_int(evict_key(0), -EBUSY, "not while it is programmed");
    end(0, 0);
    is_int(evict_key(0), -EBUSY, "nor with a reference");
    is_int(get(1, 0), 0, "and the key still works");
    put(0);
    put(1);
    is_int(evict_key(0), -EINPROGRESS, "an idle one is evicted");
    ok(evicting(0) && evict_result == NOTHING, "below");
    is_int(evict_key(0), -EBUSY, "once");
    end(0, 0);
    is_int(evict_result, 0, "done");
    load(0, 0, 0);
    put(0);
    evict_key(0);
    end(0, -EIO);
    is_int(evict_result, -EIO, "failed");
    load(1, 0, 1);
    ok(getter[1].ref.slot == 1, "unlinked anyway: it is programmed anew, in an empty slot");
    get(2, 1);
    ok(evicting(0), "its slot is evicted again");
    end(0, -EIO);
    ok(getter[2].result == -EIO && !calls[0].call, "or whom it was for gets the errno");
    put(1);
    finish();
}

/* ---- resets ---- */

static void test_reset(void)
{
    begin(3);
    load(0, 0, 0);
    load(1, 1, 1);
    load(2, 2, 2);
    put(1);
    again(2);
    ok(!getter[2].called && !calls[2].call, "ESTALE before the reset is heard of: wait for that");
    profile_reset(profile);
    ok(programming(0, 0) && evicting(1), "keys in use are programmed again, idle ones are not");
    ok(evicting(2), "one whose request is to be repeated is not in use");
    is_int(get(3, 0), -EINPROGRESS, "nobody gets a slot");
    end(1, 0);
    end(2, 0);
    ok(!acknowledging, "not acknowledged before the keys are there");
    end(0, 0);
    ok(acknowledging && !getter[3].called, "nor is a slot given before that is done");
    end_acknowledge(0);
    ok(getter[3].result == 0 && getter[3].ref.slot == 0, "then it is");
    ok(programming(1, 2), "and the repeated one is first");
    end(1, 0);
    ok(getter[2].called == 1 && getter[2].result == 0, "served");
    again(0);
    ok(getter[0].called == 1 && getter[0].result == 0, "ESTALE heard of late: again at once");
    for (unsigned g = 0; g < 4; g++)
        if (g != 1)
            put(g);
    finish();
}

static void test_reset_while_programming(void)
{
    begin(2);
    get(0, 0);
    profile_reset(profile);
    ok(programming(0, 0) && programs == 1, "a program that runs goes on");
    end(0, 0);
    ok(programming(0, 0) && programs == 2, "and is made once more, whatever came of it");
    profile_reset(profile);
    end(0, -EIO);
    ok(programming(0, 0) && programs == 3, "and again");
    end(0, 0);
    profile_reset(profile);
    end_acknowledge(0);
    ok(!acknowledging && programming(0, 0), "an acknowledgement that came late does not count");
    end(0, 0);
    end_acknowledge(0);
    is_int(getter[0].result, 0, "in the end it has its slot");
    profile_reset(profile);
    end(0, -EIO);
    ok(!acknowledging, "a key in use that is lost: not acknowledged while it has references");
    get(1, 0);
    again(0);
    ok(acknowledging && evicting(0), "then it is");
    end(0, 0);
    end_acknowledge(-EPIPE);
    ok(getter[0].result == -EPIPE && getter[1].result == -EPIPE, "an error there ends all waiting");
    is_int(get(0, 0), -EPIPE, "and every get");
    profile_reset(profile);
    end_acknowledge(0);
    is_int(get(0, 0), -EINPROGRESS, "until the next reset");
    end(0, 0);
    profile_fail(profile, -ENODEV);
    is_int(get(1, 0), -ENODEV, "no hit on a device that is gone");
    put(0);
    finish();
}

/* ---- without slots; capabilities ---- */

static void test_passthrough(void)
{
    struct crypto_caps more = caps;

    begin(0);
    is_int(get(0, 0), 0, "no slot to wait for");
    ok(getter[0].ref.slot == PROFILE_NO_SLOT && !programs, "and none to program");
    is_int(evict_key(0), -EBUSY, "no evict of a key in use");
    put(0);
    is_int(evict_key(0), -EINPROGRESS, "else it is passed down");
    ok(evicts == 1 && passed_key == &keys[0], "with the key");
    profile_call_done(passed, -EIO);
    is_int(evict_result, -EIO, "and its result up");
    get(0, 0);
    again(0);
    ok(!getter[0].called, "ESTALE: wait for the reset");
    profile_reset(profile);
    is_int(get(1, 1), -EINPROGRESS, "so does every get");
    ok(!getter[0].called && acknowledging, "which is acknowledged");
    end_acknowledge(0);
    ok(getter[0].called == 1 && getter[1].called == 1, "and over");
    put(0);
    put(1);
    more.dun_bytes = 7;
    is_int(profile_update_caps(profile, &more, NULL), -EINVAL, "capabilities do not shrink");
    more.dun_bytes = 9;
    is_int(profile_update_caps(profile, &more, NULL), 0, "they grow");
    for (unsigned k = 0; k < KEYS; k++)
        profile_key_close(opened[k]);
    profile_free(profile);
}

static void forgets(unsigned key)
{
    ok(evict_key(key) == -EINPROGRESS && passed_key == &keys[key], "key %u is forgotten", key);
    profile_call_done(passed, 0);
}

/* Keys 0 and 1 are equal, 2 has another byte and 3 another use. */
static void test_same_bytes(void)
{
    static const uint8_t bytes[] = {1, 1, 2, 1, 3};

    begin(0);
    keys[3].config.algorithm = &algorithms[0];
    for (unsigned k = 0; k < KEYS; k++) {
        keys[k].bytes = bytes + k;
        keys[k].len = 1;
        get(k, k);
        put(k);
    }
    is_int(evict_key(1), 0, "not one whose equal was used");
    forgets(0);
    forgets(2);
    forgets(3);
    get(1, 1);
    put(1);
    is_int(evict_key(0), 0, "one that was used again: its equal");
    forgets(1);
    for (unsigned k = 0; k < KEYS; k++)
        profile_key_close(opened[k]);
    profile_free(profile);
}

static void test_keys(void)
{
    struct crypto_key other = {.config = {&algorithms[0], 4096, 8, ICE_KEY_TYPE_RAW}};
    struct profile_key *same, *none;
    struct ice_why why = {0};

    begin(1);
    is_int(profile_key_open(profile, &keys[0], &same, NULL), 0, "a key is opened again");
    ok(same == opened[0], "and is one");
    profile_key_close(same);
    load(0, 0, 0);
    put(0);
    is_int(profile_key_open(profile, &other, &none, &why), -EOPNOTSUPP, "an unsupported one");
    is_str(why.text, "aes-128-xts is not supported", "with the reason");
    ok(!none, "is not opened");
    finish();
}

int main(void)
{
    test_share();
    test_order();
    test_failed_program();
    test_foreign_slot();
    test_no_slot();
    test_evict();
    test_reset();
    test_reset_while_programming();
    test_passthrough();
    test_keys();
    test_same_bytes();
    return tap_done();
}
