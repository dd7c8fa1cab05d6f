/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The profile against a plain model, on one thread: wherever it calls down, wakes somebody or could
 * go on, a seed chooses what happens next. An engine stands below, which resets, forgets, fails and
 * is used by others; what it does with a request through a reference is the last word on whether
 * the profile was right.
 *
 * `profile_seeds SEED` runs one seed and tells what happens.
 */
#include "profile_sim.h"
#include "tap.h"
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#define STEPS 150

/* Time is a count: what was put later is later. */
int clock_gettime(clockid_t clock, struct timespec *now)
{
    static long ticks;

    (void)clock;
    ticks++;
    *now = (struct timespec){.tv_sec = ticks / 1000000000, .tv_nsec = ticks % 1000000000};
    return 0;
}

void wrong(const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    ok(false, "seed %" PRIu64 ": %s", t.seed, text);
    exit(tap_done());
}

/* ---- what the owner of the profile does ---- */

static void evicted(void *arg, int err)
{
    int key = (int)((const struct crypto_key *)arg - keys);

    SAY("key %d evicted: %d\n", key, err);
    MUST(t.evicting[key], "evicted twice");
    t.evicting[key] = false;
    MUST(!err || !t.strict, "evict: %d", err);
    for (unsigned s = 0; s < t.slots && !err; s++)
        MUST(t.slot[s].holds != key || t.slot[s].key == key, /* or it was got again */
             "key %d is evicted, and in slot %u", key, s);
}

static unsigned getters(int key)
{
    unsigned n = 0;

    for (unsigned u = 0; u < t.refs; u++)
        n += t.user[u].key == key && t.user[u].state == WAITING;
    return n;
}

static bool key_busy(int key)
{
    bool busy = t.evicting[key] || getters(key);

    for (unsigned u = 0; u < t.refs; u++)
        busy |= t.user[u].state == HELD && t.user[u].key == key;
    for (unsigned s = 0; s < t.slots; s++)
        busy |= t.slot[s].key == key && t.slot[s].call;
    return busy;
}

static void evict_key(int key)
{
    bool busy = key_busy(key), was = t.evicting[key];
    int r;

    SAY("evict key %d\n", key);
    t.evicting[key] = true;
    r = profile_evict(t.key[key], evicted, &keys[key]);
    if (r == -EBUSY) {
        t.evicting[key] = was;
        MUST(busy, "key %d is not busy", key);
        return;
    }
    MUST(!busy, "key %d is busy, and evicted", key);
    MUST(r == 0 || r == -EINPROGRESS, "evict: %d", r);
    if (r == 0)
        evicted(&keys[key], 0);
}

static void offer(unsigned s)
{
    SAY("offer slot %u\n", s);
    t.slot[s].offered = true;
    profile_offer(t.profile, s);
}

/* Somebody else programs an empty slot, or empties it again. */
static void meddle(unsigned s)
{
    if (t.slot[s].holds == FOREIGN)
        t.slot[s].holds = NOBODY;
    else if (t.slot[s].holds == NOBODY && !t.strict)
        t.slot[s].holds = FOREIGN;
}

static void hear_reset(void)
{
    SAY("the profile hears of generation %d\n", t.generation);
    t.reset = 0;
    t.resetting = true;
    t.epoch = t.generation;
    t.failed = 0;
    for (unsigned s = 0; s < t.slots; s++) {
        t.slot[s].live = false;
        if (!t.slot[s].call)
            t.slot[s].key = NOBODY;
    }
    for (unsigned u = t.refs; u-- > 0;) {
        struct user *last = NULL; /* the parked go in front, in their order */
        for (unsigned v = 0; v < t.refs; v++) {
            if (t.user[v].state == WAITING && t.user[v].parked &&
                (!last || t.user[v].order > last->order))
                last = &t.user[v];
        }
        if (!last)
            break;
        last->parked = false;
        last->order = --t.first_order;
    }
    profile_reset(t.profile);
}

static void step_reset(void)
{
    if (t.reset == 0) {
        SAY("engine reset\n");
        t.reset = 1;
        t.generation++;
    } else if (t.reset == 1) {
        SAY("slots emptied\n");
        t.reset = 2;
        for (unsigned s = 0; s < t.slots; s++)
            t.slot[s].holds = NOBODY;
    } else {
        hear_reset();
    }
}

static void fail_all(void)
{
    SAY("fail\n");
    t.failed = -ENODEV;
    t.resetting = false;
    profile_fail(t.profile, -ENODEV);
}

/* ---- one seed ---- */

/* Keys that somebody waits for and that no slot was found for; an evict may be on behalf of one. */
static int keys_without_slot(void)
{
    int n = 0;

    for (int k = 0; k < (int)t.keys; k++) {
        bool wanted = false;
        for (unsigned u = 0; u < t.refs; u++)
            wanted |= t.user[u].state == WAITING && !t.user[u].parked && t.user[u].key == k;
        n += wanted && !has_slot(k);
    }
    for (unsigned s = 0; s < t.slots; s++)
        n -= t.slot[s].call && t.slot[s].call_key == NOBODY && !t.strict;
    return n;
}

static void check_waiter(struct user *user)
{
    struct user *first = oldest();

    MUST(user->parked || has_any_slot(), "user %zu waits, and there is no slot", user - t.user);
    if ((user->parked && t.reset) || (first && (!t.strict || first->order <= user->order)))
        return;
    for (unsigned s = 0; s < t.slots; s++) {
        if (t.slot[s].call && t.slot[s].key == user->key)
            return;
    }
    wrong("user %zu waits for nothing", user - t.user);
}

/* Nothing goes on of itself: whoever waits has something to wait for. */
static void check_rest(void)
{
    bool ready = t.resetting && !t.acknowledge, wanted = keys_without_slot() > 0;

    for (unsigned s = 0; s < t.slots; s++) {
        bool idle = t.slot[s].offered && !t.slot[s].call && !t.slot[s].refs;
        MUST(t.resetting || t.failed || !wanted || !idle, "slot %u is idle, and somebody waits", s);
        ready = ready && !t.slot[s].call && (t.slot[s].key >= 0 || !t.slot[s].refs);
    }
    MUST(!ready, "the reset is not acknowledged");
    for (unsigned u = 0; u < t.refs && !t.resetting && !t.failed; u++) {
        if (t.user[u].state == WAITING)
            check_waiter(&t.user[u]);
    }
}

static void step(void)
{
    struct user *user = &t.user[choose(t.refs)];
    unsigned s = choose(t.slots), dice = choose(100);

    t.nested = false;
    if (dice < 70) {
        if (user->state == IDLE)
            get(user);
        else if (user->state == HELD && chance(50))
            io(user);
        else if (user->state == HELD)
            put(user);
    } else if (dice < 85) {
        if (t.slot[s].call)
            end_call(s, 25);
    } else if (dice < 89) {
        evict_key((int)choose(t.keys));
    } else if (dice < 92) {
        if (!t.slot[s].offered)
            offer(s);
    } else if (dice < 94) {
        meddle(s);
    } else if (dice < 97) {
        if (t.reset || chance(30))
            step_reset();
    } else if (dice < 99) {
        if (t.acknowledge)
            end_acknowledge();
    } else if (!t.strict && !t.failed && chance(20)) {
        fail_all();
    }
    check_rest();
}

/* Everything ends well, so everybody is served. */
static void drain(void)
{
    bool busy = true;

    if (t.failed) {
        do
            step_reset();
        while (t.reset);
    }
    for (unsigned s = 0; s < t.slots; s++) {
        if (t.slot[s].holds == FOREIGN)
            t.slot[s].holds = NOBODY;
        if (!t.slot[s].offered)
            offer(s);
    }
    for (unsigned round = 0; busy; round++) {
        MUST(round < 1000, "it never ends");
        busy = t.reset || t.acknowledge;
        if (t.reset)
            step_reset();
        for (unsigned u = 0; u < t.refs; u++) {
            busy |= t.user[u].state != IDLE;
            if (t.user[u].state == HELD)
                io(&t.user[u]);
            if (t.user[u].state == HELD)
                put(&t.user[u]);
        }
        for (unsigned s = 0; s < t.slots; s++) {
            busy |= t.slot[s].call != NULL;
            if (t.slot[s].call)
                end_call(s, 0);
            if (!t.slot[s].offered) /* had been lost */
                offer(s);
        }
        if (t.acknowledge)
            end_acknowledge();
        check_rest();
    }
}

static void check_end(void)
{
    struct profile_counts sum = {0};

    for (int k = 0; k < (int)t.keys; k++) {
        struct profile_counts counts;
        evict_key(k);
        for (unsigned s = 0; s < t.slots; s++)
            if (t.slot[s].call)
                end_call(s, 0);
        MUST(!t.evicting[k], "key %d is never evicted", k);
        profile_key_counts(t.key[k], &counts);
        MUST(counts.programs == counts.evictions, "key %d: programs and evictions differ", k);
        MUST(!t.strict || counts.misses == t.misses[k], "key %d: misses", k);
        sum.hits += counts.hits;
        sum.waits += counts.waits;
        sum.programs += counts.programs;
        profile_key_close(t.key[k]);
    }
    MUST(sum.hits + sum.waits == t.gets, "gets do not add up");
    for (uint32_t s = 0; s < t.slots; s++) {
        struct profile_slot_info info;
        profile_slot_describe(t.profile, s, &info);
        MUST(info.counts.programs == info.counts.evictions, "slot %u: programs and evictions", s);
        MUST(!t.strict || info.counts.misses == t.slot[s].given, "slot %u: misses", s);
        MUST(!info.key && !info.references && info.offered, "slot %u is not empty", s);
        sum.programs -= info.counts.programs;
    }
    MUST(!sum.programs, "programs do not add up");
    profile_free(t.profile);
}

static void run(uint64_t seed, bool loud)
{
    const struct crypto_caps caps = {
        .units = {[1] = 4096}, .dun_bytes = 8, .key_types = ICE_KEY_TYPE_RAW};

    memset(&t, 0, sizeof(t));
    t.seed = seed;
    t.random = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15);
    t.loud = loud;
    t.slots = 1 + choose(SLOTS);
    t.keys = 1 + choose(KEYS);
    t.refs = 2 + choose(REFS - 1);
    t.strict = chance(40);
    t.profile = profile_new(&sim_ops, NULL, t.slots, &caps);
    for (unsigned k = 0; k < t.keys; k++)
        MUST(!profile_key_open(t.profile, &keys[k], &t.key[k], NULL), "key %u", k);
    for (unsigned s = 0; s < t.slots; s++) {
        t.slot[s].key = t.slot[s].holds = NOBODY;
        if (chance(80))
            offer(s);
    }
    for (unsigned i = 0; i < STEPS; i++)
        step();
    drain();
    check_end();
}

int main(int argc, char **argv)
{
    const char *scale = getenv("ICESIM_TEST_SCALE");
    uint64_t seeds = UINT64_C(10000) * (scale ? strtoull(scale, NULL, 10) : 1);

    for (int k = 0; k < KEYS; k++)
        keys[k].config = (struct crypto_config){.algorithm = &algorithms[1],
                                                .data_unit = 4096,
                                                .dun_bytes = 8,
                                                .key_type = ICE_KEY_TYPE_RAW};
    if (argc > 1) {
        run(strtoull(argv[1], NULL, 10), true);
        seeds = 1;
    } else {
        for (uint64_t seed = 0; seed < seeds; seed++)
            run(seed, false);
    }
    ok(true, "%" PRIu64 " seeds", seeds);
    return tap_done();
}
