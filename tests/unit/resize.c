/* SPDX-License-Identifier: BSD-2-Clause */
/* Media, functions, views and layers when a function's size changes; what keeps it from changing.
 */
#include "base/bytes.h"
#include "base/secret.h"
#include "base/units.h"
#include "cipher/cipher.h"
#include "icesim/inproc.h"
#include "icesim/views.h"
#include "patience.h"
#include "rig.h"
#include "tap.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTORS 4096u

static struct host host;
static struct views *views;
static uint8_t *key_bytes;
static char folder[64], image[96];

static void open_host(uint64_t sectors, bool unsafe_overlap)
{
    struct host_params params = {
        .slots = 8, .dialect = &dialect_ice2, .unsafe_overlap = unsafe_overlap};
    struct ice_why why = {.text = ""};
    if (store_open_ram(sectors * SECTOR_SIZE, &params.store, &why) ||
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

static void adds(const char *text)
{
    struct ice_why why = {.text = ""};
    struct function_spec spec;
    int err = function_spec_parse(text, &spec, &why);
    is_int(err ? err : host_add(&host, &spec, &why), 0, "%s %s", text, why.text);
}

/* A function on the image, which is made with `sectors`. */
static void adds_image(const char *text, unsigned sectors)
{
    char spec[256];
    unlink(image);
    snprintf(spec, sizeof(spec), "%s,image=%s,size=%u", text, image, sectors * SECTOR_SIZE);
    adds(spec);
}

static void resizes(const char *name, uint64_t sectors)
{
    struct ice_why why = {.text = ""};
    is_int(host_resize(&host, name, sectors * SECTOR_SIZE, NULL, &why), 0, "%s to %llu sectors %s",
           name, (unsigned long long)sectors, why.text);
}

static void refuses(const char *name, uint64_t bytes, int err, const char *clause)
{
    struct ice_why why = {.text = ""};
    is_int(host_resize(&host, name, bytes, NULL, &why), -err, "%s to %llu bytes", name,
           (unsigned long long)bytes);
    is_str(why.text, clause, "in words");
}

static void has(const char *name, uint64_t sectors)
{
    struct host_function *f = host_find(&host, name);
    is_int((intmax_t)function_sectors(f->function), (intmax_t)sectors, "%s has %llu sectors", name,
           (unsigned long long)sectors);
    is_int((intmax_t)function_sectors(f->owner_view), (intmax_t)sectors, "for its owner too");
    host_let_go(&host, f);
}

/* ---- stores ---- */

static bool reads_zeros(struct store *store, uint64_t offset, size_t len)
{
    static uint8_t bytes[SECTORS * SECTOR_SIZE];
    struct iovec iov = {bytes, len};
    bytes[0] = 1;
    if (store->ops->read(store, offset, &iov, 1, NULL))
        return false;
    for (size_t i = 0; i < len; i++) {
        if (bytes[i])
            return false;
    }
    return true;
}

static void test_store(const char *name, struct store *store)
{
    struct ice_why why = {.text = ""};
    uint8_t bytes[1024];
    struct iovec iov = {bytes, sizeof(bytes)};
    memset(bytes, 0x5a, sizeof(bytes));
    ok(!store->fixed, "%s: may be resized", name);
    store->ops->write(store, 0, &iov, 1, &why);
    is_int(store->ops->resize(store, 1024, &why), 0, "%s: longer", name);
    ok(store->size == 1024 && !reads_zeros(store, 0, 512), "%s: the content stays", name);
    is_int(store->ops->resize(store, 512, &why), 0, "%s: shorter", name);
    is_int((intmax_t)store->size, 512, "%s: its size", name);
    is_int(store->ops->resize(store, 8192, &why), 0, "%s: longer again", name);
    ok(reads_zeros(store, 512, 8192 - 512), "%s: what was cut off is zeros", name);
}

static void test_stores(void)
{
    struct store *store;
    struct stat st;
    store_open_ram(1024, &store, NULL);
    test_store("RAM", store);
    store_close(store);
    unlink(image);
    store_open_file(image, 1024, &store, NULL);
    test_store("file", store);
    ok(!stat(image, &st) && st.st_size == 8192, "file: the file has the size");
    store_close(store);
}

/* ---- functions ---- */

static void test_function(void)
{
    open_host(SECTORS, false);
    adds("vm0");
    resizes("vm0", 2 * SECTORS);
    has("vm0", 2 * SECTORS);
    is_int((intmax_t)function_sectors(host.owner), 2 * SECTORS, "and the owner of the media");
    resizes("vm0", 8);
    has("vm0", 8);
    is_int((intmax_t)host.store->size, 4096, "the media too");
    resizes("vm0", 8);
    refuses("vm0", 0, EINVAL, "a size of 0 bytes is no positive multiple of 512");
    refuses("vm0", 513, EINVAL, "a size of 513 bytes is no positive multiple of 512");
    refuses("vm0", UINT64_C(1) << 63, EFBIG, "a size of 9223372036854775808 bytes is too large");
    refuses("vm1", 512, ENOENT, "there is no function \"vm1\"");
    adds_image("vm1,slots=0+0,block-size=4096", 17);
    has("vm1", 16);
    refuses("vm1", 4608, EINVAL,
            "a size of 4608 bytes is no multiple of the logical block of 4096");
    resizes("vm1", 16);
    struct stat st;
    ok(!stat(image, &st) && st.st_size == 8192, "the part of a block at the end is cut off");
    resizes("vm1", 24);
    has("vm1", 24);
    has("vm0", 8);
    is_int((intmax_t)function_sectors(host.owner), 8, "an image is no part of the host's media");
    resizes("vm0", 16);
    has("vm0", 16);
    close_host();
}

static void test_shared(void)
{
    open_host(SECTORS, false);
    adds("vm0,sectors=0+100");
    refuses("vm0", 51200, EINVAL, "it has sectors 0..99 only of the media's 0..4095");
    adds("vm1,slots=0+0,sectors=200+8");
    refuses("vm0", 51200, EBUSY, "vm1 has sectors 200..207 of the media");
    refuses("vm1", 51200, EBUSY, "vm0 has sectors 0..99 of the media");
    has("vm0", 100);
    adds_image("vm2,slots=0+0,sectors=8+8", 16);
    refuses("vm2", 16384, EINVAL, "it has sectors 8..15 only of the image's 0..15");
    close_host();

    open_host(SECTORS, true);
    adds("vm0");
    adds("vm1,slots=0+0,sectors=0+4096");
    refuses("vm0", 512, EBUSY, "vm1 has sectors 0..4095 of the media");
    is_int((intmax_t)host.store->size, (intmax_t)SECTORS * SECTOR_SIZE, "the media is as it was");
    close_host();
}

/* A store that cannot be what it is asked to be. */
static int fails(struct store *store, uint64_t size, struct ice_why *why)
{
    (void)store, (void)size;
    return why_set(why, ENOSPC, "the test is full");
}

static void test_failure(void)
{
    static struct store_ops ops;
    struct rlimit before, limit;
    char clause[160];
    open_host(SECTORS, false);
    adds("vm0");
    ops = *host.store->ops;
    const struct store_ops *real = host.store->ops;
    ops.resize = fails;
    host.store->ops = &ops;
    refuses("vm0", 512, ENOSPC, "the test is full");
    has("vm0", SECTORS);
    is_int((intmax_t)function_sectors(host.owner), SECTORS, "a cut that fails is taken back");
    refuses("vm0", UINT64_C(1) << 30, ENOSPC, "the test is full");
    has("vm0", SECTORS);
    host.store->ops = real;
    host.store->fixed = true;
    refuses("vm0", 512, EOPNOTSUPP, "a block device has the size that it has");
    host.store->fixed = false;

    adds_image("vm1,slots=0+0", 16);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &before);
    limit = (struct rlimit){16384, before.rlim_max};
    setrlimit(RLIMIT_FSIZE, &limit);
    snprintf(clause, sizeof(clause), "cannot make %s 16896 bytes long: File too large", image);
    refuses("vm1", 16896, EFBIG, clause);
    has("vm1", 16);
    setrlimit(RLIMIT_FSIZE, &before);
    resizes("vm1", 33);
    close_host();
}

/* ---- what is told ---- */

struct witness {
    struct host_watcher watcher;
    char name;
    bool refuses;
};

static char story[128];

static int on_change(struct host_watcher *watcher, struct host_function *f, struct ice_why *why)
{
    (void)watcher, (void)f, (void)why;
    return 0;
}

static int on_resizing(struct host_watcher *watcher, struct host_function *f, uint64_t sectors,
                       struct ice_why *why)
{
    struct witness *w = CONTAINER_OF(watcher, struct witness, watcher);
    sprintf(story + strlen(story), "%c?%llu ", w->name, (unsigned long long)sectors);
    return w->refuses ? why_set(why, EBUSY, "%s is dear to me", function_name(f->function)) : 0;
}

static void on_resized(struct host_watcher *watcher, struct host_function *f)
{
    struct witness *w = CONTAINER_OF(watcher, struct witness, watcher);
    sprintf(story + strlen(story), "%c=%llu ", w->name,
            (unsigned long long)function_sectors(f->function));
}

static void test_watchers(void)
{
    struct witness old = {.watcher = {.added = on_change, .removing = on_change}, .name = 'o'};
    struct witness new = old;
    old.watcher.resizing = new.watcher.resizing = on_resizing;
    old.watcher.resized = new.watcher.resized = on_resized;
    new.name = 'n';
    open_host(16, false);
    adds("vm0");
    host_watch(&host, &old.watcher, NULL);
    host_watch(&host, &new.watcher, NULL);
    resizes("vm0", 32);
    is_str(story, "n?32 o?32 n=32 o=32 ", "watchers are asked, and told");
    story[0] = 0;
    old.refuses = true;
    refuses("vm0", 512, EBUSY, "vm0 is dear to me");
    is_str(story, "n?1 o?1 n=32 ", "who had agreed is told that nothing has changed");
    host_unwatch(&host, &new.watcher);
    host_unwatch(&host, &old.watcher);
    close_host();
}

static void test_channels(void)
{
    struct inproc *raw, *slots;
    open_host(SECTORS, false);
    adds("vm0");
    struct host_function *f = host_find(&host, "vm0");
    inproc_open(host.owner, &raw, NULL);
    inproc_open(f->function, &slots, NULL);
    resizes("vm0", 100);
    ok(inproc_channel(raw)->capacity == 100 && inproc_channel(slots)->capacity == 100,
       "channels in the process follow");
    inproc_close(raw);
    inproc_close(slots);
    host_let_go(&host, f);
    close_host();
}

/* ---- views and layers ---- */

static int add_view(const char *function, const char *name, uint64_t sector, uint64_t count,
                    struct ice_why *why)
{
    const struct view_spec spec = {
        .function = function,
        .name = name,
        .config = {.algorithm = algorithm_by_name("aes-256-xts"),
                   .data_unit = 4096,
                   .key_type = ICE_KEY_TYPE_RAW},
        .key = key_bytes,
        .key_len = 64,
        .sector = sector,
        .count = count,
    };
    return view_add(views, &spec, why);
}

static void adds_view(const char *function, const char *name, uint64_t sector, uint64_t count)
{
    struct ice_why why = {.text = ""};
    is_int(add_view(function, name, sector, count, &why), 0, "view %s of %s %s", name, function,
           why.text);
}

static uint64_t size_of_view(const char *function, const char *name)
{
    struct view_file view = {.number = 0};
    view_named(views, function, name, &view);
    return byte_file_size(&view.file);
}

static void test_views(void)
{
    struct ice_why why = {.text = ""};
    open_host(SECTORS, false);
    adds("vm0");
    adds_view("vm0", "part", 80, 16);
    adds_view("vm0", "all", 0, 0);
    refuses("vm0", 4095 * 512, EBUSY, "view all has sectors up to 4095");
    resizes("vm0", 2 * SECTORS);
    is_int((intmax_t)size_of_view("vm0", "all"), (intmax_t)SECTORS * 512, "a view stays as it was");
    adds_view("vm0", "more", 0, 0);
    is_int((intmax_t)size_of_view("vm0", "more"), (intmax_t)2 * SECTORS * 512,
           "a new one goes to the new end");
    is_int(view_remove(views, "vm0", "more", false, &why), 0, "it goes %s", why.text);
    is_int(view_remove(views, "vm0", "all", false, &why), 0, "so does the other %s", why.text);
    refuses("vm0", 95 * 512, EBUSY, "view part has sectors up to 95");
    has("vm0", 2 * SECTORS);
    resizes("vm0", 96);
    is_int(add_view("vm0", "past", 96, 8, &why), -EINVAL, "none past the end");
    is_str(why.text, "sectors 96+8 are outside vm0, which has 96", "in words");
    close_host();
}

static void test_layers(void)
{
    const char *const both[] = {"vm0", "vm1"};
    open_host(SECTORS, false);
    adds("vm0");
    adds_image("vm1,slots=0+0", 2048 + 64);
    struct ice_why why = {.text = ""};
    is_int(layer_add(views, "row", LAYER_STRIPED, 65536, both, 2, &why), 0, "striped %s", why.text);
    refuses("vm0", 2047 * 512, EBUSY, "layer row has sectors up to 2047");
    resizes("vm0", 2048);
    resizes("vm1", 2048);
    resizes("vm1", SECTORS);
    layer_remove(views, "row", &why);
    is_int(layer_add(views, "line", LAYER_LINEAR, 0, both, 2, &why), 0, "linear %s", why.text);
    refuses("vm0", 2047 * 512, EBUSY, "layer line has sectors up to 2047");
    refuses("vm1", 4095 * 512, EBUSY, "layer line has sectors up to 4095");
    resizes("vm1", 2 * SECTORS);
    layer_remove(views, "line", &why);
    resizes("vm1", 8);
    close_host();
}

/* ---- under load ---- */

#define DRIVERS 3u
#define ROUNDS  60u

static atomic_bool stop;
static atomic_uint served, refused;

/* Whatever else a request says is an error: above all that somebody has cut the media short. */
static void *drive(void *user)
{
    struct ice_attachment *a = user;
    static const uint8_t data[65536];
    static _Thread_local uint8_t back[65536];
    unsigned seed = 1;
    while (!atomic_load(&stop)) {
        uint64_t sector = (uint64_t)rand_r(&seed) % (2 * SECTORS);
        bool write = rand_r(&seed) % 2;
        struct command command = write ? rig_write(sector) : rig_read(sector);
        struct answer answer = write ? rig_run(a, &command, data, sizeof(data), NULL, 0)
                                     : rig_run(a, &command, NULL, 0, back, sizeof(back));
        atomic_fetch_add(answer.status ? &refused : &served, 1);
        if (answer.status && !strstr(answer.why.text, "is past the end of vm1"))
            ok(false, "a request: %s", answer.why.text);
    }
    return NULL;
}

static void test_load(void)
{
    struct ice_attachment *attachments[DRIVERS];
    pthread_t threads[DRIVERS];
    unsigned bad = 0;
    open_host(8, false);
    adds_image("vm1", SECTORS);
    struct host_function *f = host_find(&host, "vm1");
    struct rig on = {.function = f->function};
    for (unsigned i = 0; i < DRIVERS; i++) {
        attachments[i] = rig_attach(&on, RIG_ALL);
        pthread_create(&threads[i], NULL, drive, attachments[i]);
    }
    int64_t end = now_ms() + PATIENCE_MS;
    for (unsigned i = 0; i < ROUNDS || (!(served && refused) && now_ms() < end); i++) {
        uint64_t size = (uint64_t)(1 + i * 1237 % (2 * SECTORS)) * SECTOR_SIZE;
        struct stat st;
        bad += host_resize(&host, "vm1", size, NULL, NULL) != 0;
        usleep(1000);
        bad += stat(image, &st) || (uint64_t)st.st_size != size;
    }
    atomic_store(&stop, true);
    for (unsigned i = 0; i < DRIVERS; i++) {
        pthread_join(threads[i], NULL);
        attachment_close(attachments[i]);
    }
    is_int(bad, 0, "%u times and more the image has exactly the size that it was given", ROUNDS);
    ok(served && refused, "while %u requests were served and %u refused", served, refused);
    host_let_go(&host, f);
    close_host();
}

static void *remove_vm1(void *err)
{
    *(int *)err = host_remove(&host, "vm1", NULL);
    return NULL;
}

/* Before whoever had it resized has looked at it. */
static void test_removed_at_once(void)
{
    struct host_function *f, *found;
    pthread_t thread;
    int err = 1;
    open_host(8, false);
    adds_image("vm1", SECTORS);
    is_int(host_resize(&host, "vm1", 8 * SECTOR_SIZE, &f, NULL), 0, "resized");
    pthread_create(&thread, NULL, remove_vm1, &err);
    while ((found = host_find(&host, "vm1"))) {
        host_let_go(&host, found);
        usleep(1000);
    }
    is_int((intmax_t)function_sectors(f->function), 8, "and removed at once: it can be looked at");
    host_let_go(&host, f);
    pthread_join(thread, NULL);
    is_int(err, 0, "then it is gone");
    close_host();
}

int main(void)
{
    strcpy(folder, "/tmp/icesim-resize-XXXXXX");
    if (cipher_init(NULL) || !mkdtemp(folder) || !(key_bytes = secret_alloc(64)))
        return 1;
    for (unsigned i = 0; i < 64; i++)
        key_bytes[i] = (uint8_t)i;
    snprintf(image, sizeof(image), "%s/image", folder);
    test_stores();
    test_function();
    test_shared();
    test_failure();
    test_watchers();
    test_channels();
    test_views();
    test_layers();
    test_load();
    test_removed_at_once();
    secret_free(key_bytes);
    unlink(image);
    rmdir(folder);
    return tap_done();
}
