/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions of a host: where they go, how they come and go, who is told, who keeps them. */
#include "icesim/host.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "base/units.h"
#include "cipher/cipher.h"
#include "patience.h"
#include "rig.h"
#include "tap.h"
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define SECTORS 4100u /* no multiple of 8 */
#define SLOTS   32u

static struct host host;

static void open_host(struct host_params params)
{
    struct ice_why why = {.text = ""};
    params.slots = params.slots ? params.slots : SLOTS;
    params.dialect = &dialect_ice2;
    if (store_open_ram(SECTORS * SECTOR_SIZE, &params.store, &why) ||
        host_open(&host, &params, &why)) {
        printf("Bail out! %s\n", why.text);
        exit(1);
    }
}

static int add(const char *text, struct ice_why *why)
{
    struct function_spec spec;
    int err = function_spec_parse(text, &spec, why);
    return err ? err : host_add(&host, &spec, why);
}

static void adds(const char *text)
{
    struct ice_why why = {.text = ""};
    is_int(add(text, &why), 0, "%s %s", text, why.text);
}

static void refuses(int err, const char *text, const char *clause)
{
    struct ice_why why = {.text = ""};
    is_int(add(text, &why), -err, "%s", text);
    is_str(why.text, clause, "%s", clause);
}

static void removes(const char *name)
{
    struct ice_why why = {.text = ""};
    is_int(host_remove(&host, name, &why), 0, "%s is removed %s", name, why.text);
}

/* The windows of a function; slots of none when it is not there. */
static void has(const char *name, unsigned first_slot, unsigned slots, uint64_t first_sector,
                uint64_t sectors)
{
    unsigned first = 0, count = 0;
    struct host_function *f = host_find(&host, name);
    ok(f, "%s is there", name);
    if (!f)
        return;
    function_slot_window(f->function, &first, &count);
    ok(first == first_slot && count == slots, "%s has slots %u+%u", name, first, count);
    ok(f->first_byte == first_sector * SECTOR_SIZE && function_sectors(f->function) == sectors &&
           function_sectors(f->owner_view) == sectors,
       "and sectors %llu+%llu", (unsigned long long)f->first_byte / SECTOR_SIZE,
       (unsigned long long)function_sectors(f->function));
    host_let_go(&host, f);
}

static bool is_found(const char *name)
{
    struct host_function *f = host_find(&host, name);
    if (f)
        host_let_go(&host, f);
    return f;
}

/* ---- windows ---- */

static void test_windows(void)
{
    open_host((struct host_params){0});
    adds("vm0");
    has("vm0", 0, SLOTS, 0, SECTORS);
    refuses(EBUSY, "vm1", "no slot is free; slots=0+0 makes a function without");
    refuses(EBUSY, "vm1,slots=0+0", "no sector of the media is free");
    refuses(EEXIST, "vm0,slots=0+0", "there is a function vm0 already");
    refuses(EBUSY, "vm1,slots=31+1", "slots 31..31 overlap vm0's 0..31");
    refuses(EINVAL, "vm1,slots=31+2", "slots 31..32 are outside the engine's 0..31");
    removes("vm0");
    adds("b,slots=8+8,sectors=1000+100");
    refuses(EBUSY, "c,slots=15+2,sectors=0+1", "slots 15..16 overlap b's 8..15");
    refuses(EBUSY, "c,slots=0+9,sectors=0+1", "slots 0..8 overlap b's 8..15");
    refuses(EBUSY, "c,slots=0+0,sectors=1099+1", "sectors 1099..1099 overlap b's 1000..1099");
    refuses(EINVAL, "c,slots=0+0,sectors=4000+101",
            "sectors 4000..4100 are outside the media's 0..4099");
    adds("c");
    has("c", 0, 8, 0, 1000);
    adds("d,block-size=4096");
    has("d", 16, 16, 1100, 3000);
    refuses(EBUSY, "e,slots=0+0", "no sector of the media is free");
    removes("c");
    adds("e,slots=40+0,sectors=16+8");
    has("e", 0, 0, 16, 8);
    host_close(&host);

    open_host((struct host_params){.slots = 4});
    adds("a,block-size=4096");
    has("a", 0, 4, 0, SECTORS - SECTORS % 8);
    refuses(EBUSY, "b,slots=0+0,block-size=4096", "no whole block of the media is free");
    adds("b,slots=0+0");
    has("b", 0, 0, SECTORS - SECTORS % 8, SECTORS % 8);
    host_close(&host);
}

static void test_reserve(void)
{
    open_host((struct host_params){.reserve_first = 4, .reserve_count = 4, .unsafe_overlap = true});
    adds("a");
    has("a", 0, 4, 0, SECTORS);
    refuses(EBUSY, "b,slots=7+4,sectors=0+8", "slots 7..10 overlap the reserve 4..7");
    adds("b,slots=2+2,sectors=0+8");
    has("b", 2, 2, 0, 8);
    adds("c,sectors=4+8");
    has("c", 8, SLOTS - 8, 4, 8);
    host_close(&host);
}

static void test_settled_by_host(void)
{
    open_host((struct host_params){.strict = true});
    refuses(EINVAL, "a,dun-bits=128", "dun-bits=128 is above the 64 of dialect ice2");
    adds("a,slots=0+8,sectors=0+8");
    struct host_function *a = host_find(&host, "a");
    ok(function_is_strict(a->function) && a->log && a->observers[1] == a->log && !a->observers[2],
       "strict by default, with a log of violations");
    ok(!function_is_strict(a->owner_view) && function_block_size(a->owner_view) == SECTOR_SIZE,
       "its owner's view is plain");
    host_let_go(&host, a);
    host_close(&host);
}

/* ---- images ---- */

static void test_images(const char *folder)
{
    char text[256], clause[256];
    char path[160];
    snprintf(path, sizeof(path), "%s/own.img", folder);
    open_host((struct host_params){0});
    snprintf(text, sizeof(text), "a,slots=0+2,image=%s", path);
    snprintf(clause, sizeof(clause), "%s does not exist and no size is given to create it with",
             path);
    refuses(ENOENT, text, clause);
    snprintf(text, sizeof(text), "a,slots=0+40,image=%s,size=64K", path);
    refuses(EINVAL, text, "slots 0..39 are outside the engine's 0..31");
    snprintf(text, sizeof(text), "a,slots=0+2,sectors=100+29,image=%s,size=64K", path);
    refuses(EINVAL, text, "sectors 100..128 are outside the image's 0..127");
    ok(access(path, F_OK) < 0, "nothing was made");
    snprintf(text, sizeof(text), "a,slots=0+2,ro,image=%s,size=64K", path);
    adds(text);
    has("a", 0, 2, 0, 128);
    struct host_function *a = host_find(&host, "a");
    is_str(a->image, path, "it knows its image");
    ok(a->own_store && function_is_read_only(a->function) && !function_is_read_only(a->owner_view),
       "read-only, but for its owner");
    host_let_go(&host, a);
    snprintf(text, sizeof(text), "b,slots=2+2,image=%s", path);
    struct ice_why why = {.text = ""};
    is_int(add(text, &why), -EBUSY, "a second function on the image: %s", why.text);
    adds("c");
    has("c", 2, SLOTS - 2, 0, SECTORS);
    is_int(host_flush(&host), 0, "flush of all");
    removes("a");
    snprintf(text, sizeof(text), "b,slots=0+2,sectors=8+120,block-size=4096,image=%s", path);
    adds(text);
    has("b", 0, 2, 8, 120);
    host_close(&host);
    unlink(path);
}

/* ---- holds ---- */

static void test_list(void)
{
    open_host((struct host_params){0});
    adds("a,slots=0+1,sectors=0+1");
    adds("b,slots=1+1,sectors=1+1");
    adds("c,slots=2+1,sectors=2+1");
    unsigned ids[3] = {0}, n = 0;
    char names[8] = "";
    for (struct host_function *f = host_first(&host); f; f = host_next(&host, f)) {
        ids[n++ % 3] = f->id;
        strcat(names, function_name(f->function));
    }
    is_str(names, "abc", "in the order they came");
    ok(ids[0] && ids[0] != ids[1] && ids[1] != ids[2], "each with an id");
    removes("b");
    ok(!is_found("b") && !is_found("d"), "who is gone is not found");
    adds("b,slots=1+1,sectors=1+1");
    struct host_function *b = host_find(&host, "b");
    ok(b->id > ids[2], "a name that comes again is another function");
    host_let_go(&host, b);
    struct ice_why why = {.text = ""};
    is_int(host_remove(&host, "d", &why), -ENOENT, "removing nobody");
    is_str(why.text, "there is no function \"d\"", "says so");
    host_close(&host);
}

static atomic_bool gone;

static void *let_go_later(void *held)
{
    usleep(100000);
    atomic_store(&gone, true);
    host_let_go(&host, held);
    return NULL;
}

static void program(unsigned slot)
{
    struct ice_why why = {.text = ""};
    uint8_t *key = secret_alloc(64);
    for (unsigned i = 0; i < 64; i++)
        key[i] = (uint8_t)(i + slot);
    const struct engine_key with = {
        .algorithm = algorithm_by_name("aes-256-xts"), .data_unit = 4096, .bytes = key};
    is_int(engine_program(host.engine, slot, &with, NULL, NULL, &why), 0, "key in slot %u", slot);
    secret_free(key);
}

static void test_hold(void)
{
    struct slot_info info;
    pthread_t thread;
    open_host((struct host_params){0});
    adds("a,slots=0+4");
    program(3);
    program(4);
    struct host_function *f = host_find(&host, "a");
    pthread_create(&thread, NULL, let_go_later, host_find(&host, "a"));
    host_let_go(&host, f);
    removes("a");
    ok(atomic_load(&gone), "a removal waits until all have let go");
    pthread_join(thread, NULL);
    engine_slot_info(host.engine, 3, &info);
    ok(!info.programmed, "it empties the function's slots");
    engine_slot_info(host.engine, 4, &info);
    ok(info.programmed, "and no other");
    host_close(&host);
}

/* ---- watchers ---- */

struct witness {
    struct host_watcher watcher;
    char name;
    const char *refuses; /* an addition of this function */
    bool keeps;          /* refuses removals */
    bool looks;          /* whether it can be found */
};

static char story[256];

static int on_added(struct host_watcher *watcher, struct host_function *f, struct ice_why *why)
{
    struct witness *w = CONTAINER_OF(watcher, struct witness, watcher);
    const char *name = function_name(f->function);
    sprintf(story + strlen(story), "%c+%s ", w->name, name);
    if (w->looks)
        ok(!is_found(name), "a new one is not found yet");
    if (w->refuses && !strcmp(w->refuses, name))
        return why_set(why, ENOSPC, "no room for %s", name);
    return 0;
}

static int on_removing(struct host_watcher *watcher, struct host_function *f, struct ice_why *why)
{
    struct witness *w = CONTAINER_OF(watcher, struct witness, watcher);
    const char *name = function_name(f->function);
    sprintf(story + strlen(story), "%c-%s ", w->name, name);
    if (w->looks)
        ok(!is_found(name), "one that goes is not found any more");
    return w->keeps ? why_set(why, EBUSY, "%s is in use", name) : 0;
}

static void tells(const char *want, const char *what)
{
    is_str(story, want, "%s", what);
    story[0] = 0;
}

static void test_watchers(void)
{
    struct ice_why why = {.text = ""};
    struct witness old = {{.added = on_added, .removing = on_removing}, 'o', NULL, false, true};
    struct witness new = {{.added = on_added, .removing = on_removing}, 'n', NULL, false, false};
    struct witness third = {{.added = on_added, .removing = on_removing}, 't', "b", false, false};
    open_host((struct host_params){0});
    is_int(host_watch(&host, &old.watcher, &why), 0, "one watches");
    adds("b,slots=0+1,sectors=0+1");
    tells("o+b ", "it is told");
    host_remove(&host, "b", &why);
    story[0] = 0;
    adds("a,slots=0+1,sectors=0+1");
    story[0] = 0;
    is_int(host_watch(&host, &new.watcher, &why), 0, "another watches");
    tells("n+a ", "it is told of those there are");
    new.looks = true;
    adds("b,slots=1+1,sectors=1+1");
    tells("n+b o+b ", "the oldest is told of additions last");
    is_int(host_watch(&host, &third.watcher, &why), -ENOSPC, "a third cannot");
    tells("t+a t+b t-a ", "and is done with what it had taken");
    old.refuses = "c";
    refuses(ENOSPC, "c,slots=2+1,sectors=2+1", "no room for c");
    tells("n+c o+c n-c ", "what one refuses is taken away from the others");
    adds("d,slots=2+1,sectors=2+1");
    story[0] = 0;
    old.keeps = true;
    is_int(host_remove(&host, "d", &why), -EBUSY, "the oldest refuses a removal");
    is_str(why.text, "d is in use", "in words");
    tells("o-d ", "before another is told");
    has("d", 2, 1, 2, 1);
    old.keeps = false;
    new.keeps = true;
    is_int(host_remove(&host, "d", &why), -EBUSY, "a younger one refuses it");
    tells("o-d n-d o+d ", "the older hears that it stays");
    has("d", 2, 1, 2, 1);
    new.keeps = false;
    removes("d");
    tells("o-d n-d ", "the oldest lets go first");
    host_unwatch(&host, &old.watcher);
    removes("b");
    tells("n-b ", "one that left is told no more");
    host_close(&host);
}

/* ---- generation ---- */

static void test_engine_reset(void)
{
    struct rig on;
    open_host((struct host_params){0});
    adds("a,slots=0+1,sectors=0+1");
    adds("b,slots=1+1,sectors=1+1");
    program(0);
    program(1);
    struct host_function *b = host_find(&host, "b");
    on.function = b->function;
    struct ice_attachment *attachment = rig_attach(&on, RIG_ALL);
    uint64_t before = engine_generation(host.engine);
    is_int((intmax_t)host_reset_engine(&host), (intmax_t)before + 1, "a new generation");
    for (unsigned slot = 0; slot < 2; slot++) {
        struct slot_info info;
        engine_slot_info(host.engine, slot, &info);
        ok(!info.programmed, "slot %u is empty", slot);
    }
    attachment_close(attachment);
    host_let_go(&host, b);
    host_close(&host);
}

/* ---- under load ---- */

#define ROUNDS  60u
#define CLIENTS 3u

static atomic_bool stop;
static atomic_uint served;

static void use(struct host_function *f, const uint8_t *tag)
{
    struct rig on = {.function = f->function};
    struct ice_attachment *attachment = rig_attach(&on, RIG_ALL);
    uint8_t back[SECTOR_SIZE];
    struct command write = rig_write(0), read = rig_read(0);
    struct answer answer = rig_run(attachment, &write, tag, SECTOR_SIZE, NULL, 0);
    if (answer.status)
        ok(false, "a write: %s", answer.why.text);
    answer = rig_run(attachment, &read, NULL, 0, back, sizeof(back));
    if (answer.status || memcmp(back, tag, sizeof(back)) != 0)
        ok(false, "a sector of one's own reads back");
    attachment_close(attachment);
    atomic_fetch_add(&served, 1);
}

/* Each has a function that stays, and looks for one that comes and goes. */
static void *client(void *user)
{
    unsigned n = *(unsigned *)user;
    char name[8];
    uint8_t tag[SECTOR_SIZE];
    memset(tag, (int)n + 1, sizeof(tag));
    snprintf(name, sizeof(name), "stay%u", n);
    while (!atomic_load(&stop)) {
        struct host_function *mine = host_find(&host, name);
        use(mine, tag);
        host_let_go(&host, mine);
        unsigned seen = 0;
        for (struct host_function *f = host_first(&host); f; f = host_next(&host, f))
            seen++;
        if (seen < CLIENTS)
            ok(false, "all that stay are listed");
    }
    return NULL;
}

static void *visitor(void *user)
{
    uint8_t tag[SECTOR_SIZE] = {0x77};
    (void)user;
    while (!atomic_load(&stop)) {
        struct host_function *f = host_find(&host, "guest");
        if (!f)
            continue;
        use(f, tag);
        host_let_go(&host, f);
    }
    return NULL;
}

static void test_load(void)
{
    pthread_t threads[CLIENTS + 1];
    unsigned numbers[CLIENTS];
    struct ice_why why = {.text = ""};
    open_host((struct host_params){0});
    for (unsigned i = 0; i < CLIENTS; i++) {
        char text[48];
        snprintf(text, sizeof(text), "stay%u,slots=%u+1,sectors=%u+8", i, i, 8 * i);
        adds(text);
        numbers[i] = i;
    }
    for (unsigned i = 0; i < CLIENTS; i++)
        pthread_create(&threads[i], NULL, client, &numbers[i]);
    pthread_create(&threads[CLIENTS], NULL, visitor, NULL);
    unsigned bad = 0;
    int64_t end = now_ms() + PATIENCE_MS;
    for (unsigned i = 0; i < ROUNDS || (atomic_load(&served) <= ROUNDS && now_ms() < end); i++) {
        bad += add("guest", &why) != 0;
        if (i % 8 == 0)
            host_reset_engine(&host);
        usleep(1000);
        bad += host_remove(&host, "guest", &why) != 0;
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i <= CLIENTS; i++)
        pthread_join(threads[i], NULL);
    is_int(bad, 0, "a function comes and goes %u times and more: %s", ROUNDS, why.text);
    ok(atomic_load(&served) > ROUNDS, "while %u uses were served", atomic_load(&served));
    host_close(&host);
}

/* No bound that anybody would meet. */
static void test_many(void)
{
    unsigned bad = 0;
    struct ice_why why = {.text = ""};
    open_host((struct host_params){0});
    for (unsigned i = 0; i < 2000; i++) {
        char text[48];
        snprintf(text, sizeof(text), "f%u,slots=%u+%u,sectors=%u+2", i, i % SLOTS, i < SLOTS,
                 2 * i);
        bad += add(text, &why) != 0;
    }
    is_int(bad, 0, "2000 functions %s", why.text);
    has("f31", 31, 1, 62, 2);
    has("f1999", 0, 0, 3998, 2);
    host_close(&host);
}

int main(void)
{
    char folder[] = "/tmp/icesim-host-XXXXXX";
    struct ice_why why = {.text = ""};
    if (cipher_init(&why) || !mkdtemp(folder)) {
        printf("Bail out! %s\n", why.text);
        return 1;
    }
    test_windows();
    test_reserve();
    test_settled_by_host();
    test_images(folder);
    test_list();
    test_hold();
    test_watchers();
    test_engine_reset();
    test_load();
    test_many();
    ok(rmdir(folder) == 0, "nothing is left behind");
    return tap_done();
}
