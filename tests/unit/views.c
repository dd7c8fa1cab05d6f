/* SPDX-License-Identifier: BSD-2-Clause */
/* Views of a host: what they may be, who keeps them, whom they keep; and views under load. */
#include "icesim/views.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/secret.h"
#include "base/units.h"
#include "cipher/cipher.h"
#include "tap.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define SECTORS 4099u /* no multiple of 8 */

static struct host host;
static struct views *views;
static struct range_lock *locks;
static uint8_t *key_bytes; /* every view's key begins at its own place */

static void open_host(void)
{
    struct host_params params = {.slots = 8, .dialect = &dialect_ice2};
    struct ice_why why = {.text = ""};
    if (store_open_ram(SECTORS * SECTOR_SIZE, &params.store, &why) ||
        host_open(&host, &params, &why) || views_open(&host, &views, &why)) {
        printf("Bail out! %s\n", why.text);
        exit(1);
    }
}

static void close_host(void)
{
    views_close(views);
    host_close(&host);
}

static void adds_function(const char *text)
{
    struct function_spec spec;
    struct ice_why why = {.text = ""};
    int err = function_spec_parse(text, &spec, &why);
    is_int(err ? err : host_add(&host, &spec, &why), 0, "%s %s", text, why.text);
}

/* aes-256-xts at 4096, to the end, with key `n`. */
static struct view_spec spec_of(const char *function, const char *name, unsigned n)
{
    return (struct view_spec){
        .function = function,
        .name = name,
        .config = {.algorithm = algorithm_by_name("aes-256-xts"),
                   .data_unit = 4096,
                   .key_type = ICE_KEY_TYPE_RAW},
        .key = key_bytes + n,
        .key_len = 64,
    };
}

static void adds_spec(const struct view_spec *spec)
{
    struct ice_why why = {.text = ""};
    is_int(view_add(views, spec, &why), 0, "view %s of %s %s", spec->name, spec->function,
           why.text);
}

static void adds(const char *function, const char *name, unsigned n)
{
    const struct view_spec spec = spec_of(function, name, n);
    adds_spec(&spec);
}

static void refuses(const struct view_spec *spec, int err, const char *clause)
{
    struct ice_why why = {.text = ""};
    is_int(view_add(views, spec, &why), -err, "%s", clause);
    is_str(why.text, clause, "in words");
}

static void removes(const char *function, const char *name)
{
    struct ice_why why = {.text = ""};
    is_int(view_remove(views, function, name, false, &why), 0, "%s of %s is removed %s", name,
           function, why.text);
}

static void function_stays(const char *name, const char *clause)
{
    struct ice_why why = {.text = ""};
    is_int(host_remove(&host, name, &why), -EBUSY, "%s stays", name);
    is_str(why.text, clause, "in words");
}

static void function_goes(const char *name)
{
    struct ice_why why = {.text = ""};
    is_int(host_remove(&host, name, &why), 0, "%s goes %s", name, why.text);
}

static unsigned attachments(const char *name)
{
    struct host_function *f = host_find(&host, name);
    unsigned n = function_attachments(f->function);
    host_let_go(&host, f);
    return n;
}

static struct byte_file file_of(const char *function, const char *name)
{
    struct view_file view = {.number = 0};
    ok(view_named(views, function, name, &view), "%s of %s has a file", name, function);
    view.file.locks = locks;
    return view.file;
}

static bool writes(const struct byte_file *file, uint64_t at, const void *bytes, size_t len)
{
    return byte_file_write(file, at, bytes, len, NULL) == (ssize_t)len;
}

static bool reads(const struct byte_file *file, uint64_t at, const void *want, size_t len)
{
    uint8_t *got = malloc(len);
    bool same = byte_file_read(file, at, got, len, NULL) == (ssize_t)len && !memcmp(got, want, len);
    free(got);
    return same;
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
    refuses(&spec, ENOENT, "there is no function \"vm9\"");
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

static void test_removal(void)
{
    struct view_file view, other;
    struct ice_why why = {.text = ""};
    open_host();
    adds_function("vm0,sectors=0+4096");
    adds("vm0", "a", 0);
    adds("vm0", "b", 1);
    function_stays("vm0", "view a is on it");
    ok(view_named(views, "vm0", "a", &view) && view_hold(views, "vm0", view.number, &view),
       "a is held");
    is_int(view_remove(views, "vm0", "a", false, &why), -EBUSY, "and stays");
    is_str(why.text, "view a is open", "in words");
    view.file.locks = locks;
    ok(writes(&view.file, 4095, "still", 5) && reads(&view.file, 4095, "still", 5), "and works");
    ok(view_hold(views, "vm0", view.number, &other), "and can be opened");
    view_let_go(views, "vm0", view.number);
    view_let_go(views, "vm0", view.number);
    removes("vm0", "a");
    ok(!view_named(views, "vm0", "a", &other) && !view_hold(views, "vm0", view.number, &other) &&
           view_from(views, "vm0", 1, &other) && !strcmp(other.name, "b"),
       "it is gone");
    is_int(view_remove(views, "vm0", "a", false, &why), -ENOENT, "for good");
    is_str(why.text, "there is no view \"a\" of vm0", "in words");
    is_int(view_remove(views, "vm1", "a", false, &why), -ENOENT, "nor of another");
    is_str(why.text, "there is no function or layer \"vm1\"", "in words");
    adds("vm0", "a", 0);
    ok(view_named(views, "vm0", "a", &other) && other.number > view.number,
       "a name that comes again is another view");
    removes("vm0", "a");
    is_int(attachments("vm0"), 1, "with a view there is an attachment");
    removes("vm0", "b");
    is_int(attachments("vm0"), 0, "without there is none");
    function_goes("vm0");
    close_host();
}

static atomic_int result;

static void *remove_and_wait(void *user)
{
    (void)user;
    atomic_store(&result, view_remove(views, "vm0", "a", true, NULL));
    return NULL;
}

static bool soon_leaves(void)
{
    struct view_file view;
    int64_t deadline = now_ms() + 10000;
    while (view_named(views, "vm0", "a", &view) && now_ms() < deadline)
        usleep(1000);
    return !view_named(views, "vm0", "a", &view);
}

static void test_wait(void)
{
    struct view_file view, other;
    pthread_t thread;
    struct ice_why why = {.text = ""};
    open_host();
    adds_function("vm0,sectors=0+4096");
    adds("vm0", "a", 0);
    view_from(views, "vm0", 1, &view);
    view_hold(views, "vm0", view.number, &view);
    for (int stop = 0; stop < 2; stop++) {
        atomic_store(&result, 1);
        pthread_create(&thread, NULL, remove_and_wait, NULL);
        ok(soon_leaves() && !view_hold(views, "vm0", view.number, &other), "no new opens");
        usleep(600000);
        is_int(atomic_load(&result), 1, "it waits");
        is_int(view_remove(views, "vm0", "a", false, &why), -EBUSY, "another does not");
        is_str(why.text, "view a is being removed", "in words");
        function_stays("vm0", "view a is on it");
        view.file.locks = locks;
        ok(writes(&view.file, 1, "x", 1), "who holds it works on");
        if (!stop) {
            view_let_go(views, "vm0", view.number);
            pthread_join(thread, NULL);
            is_int(atomic_load(&result), 0, "let go of, it is removed");
            adds("vm0", "a", 0);
            view_from(views, "vm0", 1, &view);
            view_hold(views, "vm0", view.number, &view);
        }
    }
    views_end_waits(views);
    pthread_join(thread, NULL);
    is_int(atomic_load(&result), -ECANCELED, "at the end nobody waits");
    is_int(view_remove(views, "vm0", "a", true, &why), -ECANCELED, "nor again");
    view_let_go(views, "vm0", view.number);
    close_host();
}

/* ---- under load ---- */

#define THREADS 4u

static atomic_bool over;

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
        bad += view_remove(views, "vm0", name, i % 2, NULL) != 0;
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
    struct ice_why why;
    if (cipher_init(&why) || !(key_bytes = secret_alloc(128)) || !(locks = range_lock_new())) {
        printf("Bail out! no cipher library, or no memory\n");
        return 1;
    }
    for (unsigned i = 0; i < 128; i++)
        key_bytes[i] = (uint8_t)(3 * i + 1);
    test_ranges();
    test_blocks();
    test_policies();
    test_slots();
    test_removal();
    test_wait();
    test_load();
    secret_free(key_bytes);
    range_lock_free(locks);
    return tap_done();
}
