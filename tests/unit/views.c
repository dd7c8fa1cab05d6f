/* SPDX-License-Identifier: BSD-2-Clause */
/* Views of a host: what they may be, what they share; and views under load. */
#include "views_bench.h"
#include <pthread.h>
#include <stdatomic.h>

static void refuses(const struct view_spec *spec, int err, const char *clause)
{
    struct ice_why why = {.text = ""};
    is_int(view_add(views, spec, &why), -err, "%s", clause);
    is_str(why.text, clause, "in words");
}

/* What views_each tells, as a line. */
static char listed[512];

static int list(void *user, const struct view_info *info)
{
    (void)user;
    sprintf(listed + strlen(listed), "%s:%llu+%llu:%u:%s ", info->name,
            (unsigned long long)info->sector, (unsigned long long)info->count,
            info->config.dun_bytes, info->path == DISK_NATIVE ? "native" : "fallback");
    return 0;
}

static void lists(const char *function, const char *want)
{
    listed[0] = 0;
    is_int(views_each(views, function, list, NULL, NULL), 0, "views of %s", function);
    is_str(listed, want, "are %s", want);
}

/* ---- what they may be ---- */

static void test_ranges(void)
{
    open_host();
    adds_function("vm0,slots=0+4,sectors=0+4099");
    struct view_spec spec = spec_of("vm0", "b", 0);
    adds_spec(&spec);
    spec.name = "a";
    spec.sector = 3;
    spec.count = 8;
    spec.dun = (struct dun){{UINT64_MAX, 0, 0, 0}};
    adds_spec(&spec);
    spec.name = "c";
    spec.sector = 4091;
    spec.count = 0;
    spec.dun = (struct dun){{0xff, 1, 0, 0}};
    adds_spec(&spec);
    lists("vm0", "a:3+8:8:native b:0+4096:2:native c:4091+8:9:fallback ");
    spec.name = "d";
    spec.sector = 4092;
    refuses(&spec, EINVAL, "sectors 4092+7 are not whole data units of 4096 bytes");
    spec.sector = 4099;
    refuses(&spec, EINVAL, "sectors 4099+0 are outside vm0, which has 4099");
    spec.sector = 8;
    spec.count = UINT64_MAX - 7;
    refuses(&spec, EINVAL, "sectors 8+18446744073709551608 are outside vm0, which has 4099");
    spec.count = 9;
    refuses(&spec, EINVAL, "sectors 8+9 are not whole data units of 4096 bytes");
    spec.count = 8;
    spec.config.data_unit = 1000;
    refuses(&spec, EINVAL, "a data unit of 1000 bytes is no power of two from 512 to 65536");
    spec.config.data_unit = 4096;
    spec.key_len = 63;
    refuses(&spec, EINVAL, "the key has 63 bytes; aes-256-xts takes 64");
    spec.key_len = 64;
    spec.config.dun_bytes = 1;
    spec.count = 16;
    spec.dun = dun_from_u64(255);
    refuses(&spec, EINVAL, "the last DUN does not fit the key's 8 bits");
    spec.config.dun_bytes = 0;
    spec.dun = (struct dun){{UINT64_MAX, UINT64_MAX, 0, 0}};
    refuses(&spec, EINVAL, "the last DUN does not fit the key's 128 bits");
    spec.name = "a";
    refuses(&spec, EEXIST, "there is a view a of vm0 already");
    spec.function = "vm9";
    refuses(&spec, ENOENT, "there is no function or layer \"vm9\"");
    is_int(views_each(views, "vm9", list, NULL, NULL), -ENOENT, "nor a list of it");
    close_host();
}

static void test_blocks(void)
{
    open_host();
    adds_function("vm0,block-size=4096,sectors=3+4096");
    struct view_spec spec = spec_of("vm0", "a", 0);
    spec.config.data_unit = 512;
    spec.fallback = FALLBACK_FORCE;
    spec.sector = 4;
    refuses(&spec, EINVAL, "sector 4 is not on a logical block of 4096 bytes");
    spec.sector = 8;
    spec.count = 9;
    refuses(&spec, EINVAL, "sectors 8+9 are not whole data units of 4096 bytes");
    spec.count = 0;
    adds_spec(&spec);
    struct byte_file file = file_of("vm0", "a");
    is_int(byte_file_unit(&file), 4096, "small data units go by whole blocks");
    ok(writes(&file, 1000, "abc", 3) && reads(&file, 1000, "abc", 3), "and are read and written");
    close_host();
}

static void test_policies(void)
{
    uint8_t bytes[10000];
    open_host();
    adds_function("vm0,slots=0+2,sectors=0+2048,caps=aes-128-cbc-essiv:4096");
    adds_function("vm1,slots=0+0,sectors=2048+2048");
    struct view_spec spec = spec_of("vm0", "xts", 0);
    spec.fallback = FALLBACK_FORBID;
    struct ice_why why = {.text = ""};
    is_int(view_add(views, &spec, &why), -EOPNOTSUPP, "natively or not at all: %s", why.text);
    is_int(attachments("vm0"), 0, "what was opened for it is closed");
    spec.fallback = FALLBACK_AUTO;
    adds_spec(&spec);
    spec.name = "essiv";
    spec.config.algorithm = algorithm_by_name("aes-128-cbc-essiv");
    spec.key_len = 16;
    adds_spec(&spec);
    spec.name = "forced";
    spec.fallback = FALLBACK_FORCE;
    adds_spec(&spec);
    lists("vm0", "essiv:0+2048:1:native forced:0+2048:1:fallback xts:0+2048:1:fallback ");
    is_int(attachments("vm0"), 1, "all by one attachment");
    struct byte_file native = file_of("vm0", "essiv"), forced = file_of("vm0", "forced");
    memset(bytes, 0x5a, sizeof(bytes));
    ok(writes(&native, 777, bytes, sizeof(bytes)) && reads(&forced, 777, bytes, sizeof(bytes)),
       "what one path writes");
    memset(bytes, 0xa5, 100);
    ok(writes(&forced, 5000, bytes, 100) && reads(&native, 5000, bytes, 100), "the other reads");
    adds("vm1", "any", 0);
    lists("vm1", "any:0+2048:1:fallback ");
    close_host();
}

/* ---- who keeps them ---- */

static void test_slots(void)
{
    struct view_slot slot = {.references = 9};
    uint8_t want[FINGERPRINT_BYTES];
    open_host();
    adds_function("vm0,slots=2+3,sectors=0+4096");
    ok(!views_slot(views, "vm0", 0, &slot), "no views, no profile");
    adds("vm0", "a", 0);
    struct byte_file file = file_of("vm0", "a");
    ok(writes(&file, 0, "x", 1), "one write");
    unsigned holding = 0;
    cipher_fingerprint(key_bytes, 64, want);
    for (unsigned i = 0; i < 3; i++) {
        ok(views_slot(views, "vm0", i, &slot) && slot.wire_slot == 2 + i && !slot.references,
           "slot %u is the profile's", 2 + i);
        holding += slot.has_fingerprint && !memcmp(slot.fingerprint, want, sizeof(want));
    }
    is_int(holding, 1, "one holds the key");
    ok(!views_slot(views, "vm0", 3, &slot), "there are no more");
    removes("vm0", "a");
    for (unsigned i = 2; i < 5; i++) {
        struct slot_info info;
        engine_slot_info(host.engine, i, &info);
        ok(!info.programmed, "slot %u is empty", i);
    }
    close_host();
}

/* ---- the fallback ---- */

static unsigned in_fallback;

static int count_programmed(void *user, const struct view_info *info)
{
    (void)user;
    in_fallback += (unsigned)(info->counts.profile.programs - info->counts.profile.evictions);
    return info->counts.fallbacks != 1;
}

/* However many views there are, and of whichever function, no more of their keys are set up. */
static void test_fallback_slots(void)
{
    unsigned failed = 0;
    char name[8] = "";
    struct view_spec spec = spec_of("vm0", name, 0);
    open_host();
    adds_function("vm0,slots=0+0,sectors=0+2048");
    adds_function("vm1,slots=0+0,sectors=2048+2048");
    spec.fallback = FALLBACK_FORCE;
    for (unsigned i = 0; i < FALLBACK_SLOTS + 10; i++) {
        struct view_file view = {.number = 0};
        uint8_t byte;
        snprintf(name, sizeof(name), "v%u", i);
        spec.function = i % 2 ? "vm0" : "vm1";
        failed +=
            view_add(views, &spec, NULL) != 0 || !view_named(views, spec.function, name, &view);
        view.file.locks = locks;
        failed += byte_file_read(&view.file, 0, &byte, 1, NULL) != 1;
    }
    is_int(failed, 0, "more views than the fallback has slots");
    is_int(views_each(views, "vm0", count_programmed, NULL, NULL), 0, "each used it");
    is_int(views_each(views, "vm1", count_programmed, NULL, NULL), 0, "once");
    is_int(in_fallback, FALLBACK_SLOTS, "as many keys as slots are in it");
    close_host();
}

/* ---- under load ---- */

#define THREADS 4u

static atomic_bool over;

/* Again while the profile is at work with the key, which without `wait` has half a second. */
static int remove_own(const char *name, bool wait)
{
    int err;
    soon((err = view_remove(views, "vm0", name, wait, NULL)) != -EBUSY);
    return err;
}

/* Adds, uses and removes views of its own; keys are more than slots. */
static void *come_and_go(void *user)
{
    unsigned n = *(unsigned *)user;
    char name[8] = "";
    uint8_t bytes[6000];
    struct view_file view;
    struct view_spec spec = spec_of("vm0", name, n);
    intptr_t bad = 0;
    snprintf(name, sizeof(name), "v%u", n);
    memset(bytes, (int)n, sizeof(bytes));
    spec.sector = 1024 * n;
    spec.count = 1024;
    for (unsigned i = 0; i < 20; i++) {
        bad += view_add(views, &spec, NULL) != 0;
        bad +=
            !view_named(views, "vm0", name, &view) || !view_hold(views, "vm0", view.number, &view);
        view.file.locks = locks;
        for (unsigned j = 0; j < 8; j++)
            bad += !writes(&view.file, 7777 * j + i, bytes, sizeof(bytes)) ||
                   !reads(&view.file, 7777 * j + i, bytes, sizeof(bytes));
        view_let_go(views, "vm0", view.number);
        bad += remove_own(name, i % 2) != 0;
    }
    return (void *)bad;
}

static int nothing(void *user, const struct view_info *info)
{
    (void)user, (void)info;
    return 0;
}

static void *look_on(void *user)
{
    struct view_slot slot;
    (void)user;
    while (!atomic_load(&over)) {
        views_each(views, "vm0", nothing, NULL, NULL);
        for (unsigned i = 0; views_slot(views, "vm0", i, &slot); i++)
            ;
        host_reset_engine(&host);
        usleep(3000);
    }
    return NULL;
}

static void test_load(void)
{
    pthread_t threads[THREADS], looker;
    unsigned numbers[THREADS];
    void *bad;
    open_host();
    adds_function("vm0,slots=0+2,sectors=0+4096");
    pthread_create(&looker, NULL, look_on, NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], NULL, come_and_go, &numbers[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(threads[i], &bad);
        is_int((intptr_t)bad, 0, "thread %u: every call and every byte is right", i);
    }
    atomic_store(&over, true);
    pthread_join(looker, NULL);
    function_goes("vm0");
    close_host();
}

int main(void)
{
    begin();
    test_ranges();
    test_blocks();
    test_policies();
    test_slots();
    test_fallback_slots();
    test_load();
    return end();
}
