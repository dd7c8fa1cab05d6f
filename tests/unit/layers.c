/* SPDX-License-Identifier: BSD-2-Clause */
/* Layers of a host: their names, what they stand on, where their bytes go. */
#include "base/bytes.h"
#include "base/secret.h"
#include "base/units.h"
#include "cipher/cipher.h"
#include "icesim/views.h"
#include "tap.h"
#include <errno.h>
#include <stdlib.h>

#define SECTORS 4096u
#define STRIPE  65536u

static struct host host;
static struct views *views;
static struct range_lock *locks;
static uint8_t *key_bytes;

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

static int add_function(const char *text, struct ice_why *why)
{
    struct function_spec spec;
    int err = function_spec_parse(text, &spec, why);
    return err ? err : host_add(&host, &spec, why);
}

static void adds_function(const char *text)
{
    struct ice_why why = {.text = ""};
    is_int(add_function(text, &why), 0, "%s %s", text, why.text);
}

static int add_layer(const char *name, enum layer_map map, const char *first, const char *second,
                     struct ice_why *why)
{
    const char *const children[] = {first, second};
    return layer_add(views, name, map, STRIPE, children, 2, why);
}

static void refuses(int err, const char *clause, const char *name, const char *first,
                    const char *second)
{
    struct ice_why why = {.text = ""};
    is_int(add_layer(name, LAYER_LINEAR, first, second, &why), -err, "%s", clause);
    is_str(why.text, clause, "in words");
}

static struct byte_file adds_view(const char *function, const char *name, uint64_t dun)
{
    const struct view_spec spec = {
        .function = function,
        .name = name,
        .config = {.algorithm = algorithm_by_name("aes-256-xts"),
                   .data_unit = 4096,
                   .key_type = ICE_KEY_TYPE_RAW},
        .key = key_bytes,
        .key_len = 64,
        .dun = dun_from_u64(dun),
    };
    struct ice_why why = {.text = ""};
    struct view_file view = {.number = 0};
    is_int(view_add(views, &spec, &why), 0, "view %s of %s %s", name, function, why.text);
    view_named(views, function, name, &view);
    view.file.locks = locks;
    return view.file;
}

/* A layer's watcher that keeps a story, and may refuse. */
static char story[128];
static bool refuse;

static int on_added(struct layers_watcher *watcher, const struct layer_info *layer,
                    struct ice_why *why)
{
    (void)watcher;
    sprintf(story + strlen(story), "+%s:%u ", layer->name, layer->count);
    return refuse ? why_set(why, ENOSPC, "no room for %s", layer->name) : 0;
}

static int on_removing(struct layers_watcher *watcher, const struct layer_info *layer,
                       struct ice_why *why)
{
    (void)watcher;
    sprintf(story + strlen(story), "-%s ", layer->name);
    return refuse ? why_set(why, EBUSY, "%s is in use", layer->name) : 0;
}

static unsigned attachments(const char *name)
{
    struct host_function *f = host_find(&host, name);
    unsigned n = function_attachments(f->function);
    host_let_go(&host, f);
    return n;
}

/* ---- names and lives ---- */

static void test_names(void)
{
    struct layers_watcher watcher = {on_added, on_removing};
    struct ice_why why = {.text = ""};
    open_host();
    layers_watch(views, &watcher);
    adds_function("vm0,slots=0+2,sectors=0+1024");
    adds_function("vm1,slots=2+2,sectors=1024+1024");
    refuses(EEXIST, "there is a function vm0 already", "vm0", "vm0", "vm1");
    refuses(ENOENT, "there is no function \"vm9\"", "l0", "vm0", "vm9");
    refuses(EINVAL, "function vm0 is given twice", "l0", "vm0", "vm0");
    is_int(attachments("vm0"), 0, "what was opened for them is closed");
    is_int(layer_add(views, "l0", LAYER_LINEAR, 0, NULL, 0, &why), -EINVAL, "%s", why.text);
    is_str(story, "", "nobody has been told");
    is_int(add_layer("l0", LAYER_LINEAR, "vm0", "vm1", &why), 0, "a layer");
    refuses(EEXIST, "there is a layer l0 already", "l0", "vm0", "vm1");
    refuses(ENOENT, "l0 is a layer, not a function", "l1", "l0", "vm1");
    is_int(add_function("l0,slots=0+0,sectors=2048+8", &why), -EEXIST, "no function has its name");
    is_str(why.text, "there is a layer l0 already", "in words");
    is_int(host_remove(&host, "vm1", &why), -EBUSY, "its functions stay");
    is_str(why.text, "layer l0 is over it", "in words");
    is_int(host_remove(&host, "l0", &why), -ENOENT, "it is not removed as one");
    adds_view("l0", "a", 0);
    is_int(layer_remove(views, "l0", &why), -EBUSY, "with a view it stays");
    is_str(why.text, "view a is on it", "in words");
    view_remove(views, "l0", "a", false, &why);
    refuse = true;
    is_int(layer_remove(views, "l0", &why), -EBUSY, "who shows it may keep it");
    is_str(why.text, "l0 is in use", "in words");
    is_int(add_layer("l1", LAYER_STRIPED, "vm0", "vm1", &why), -ENOSPC, "or not take one");
    refuse = false;
    is_int(layer_remove(views, "l0", &why), 0, "it is removed");
    is_str(story, "+l0:2 -l0 +l1:2 -l0 ", "what was told");
    story[0] = 0;
    is_int(layer_remove(views, "l0", &why), -ENOENT, "once");
    is_int(layer_remove(views, "vm0", &why), -ENOENT, "a function is no layer");
    is_str(why.text, "there is no layer \"vm0\"", "in words");
    is_int(attachments("vm0"), 0, "nothing is left on its functions");
    adds_function("l0,slots=0+0,sectors=2048+8");
    layers_watch(views, NULL);
    is_int(host_remove(&host, "vm1", &why), 0, "they can go");
    views_close(views);
    host_close(&host);
}

static int collect(void *user, const struct layer_info *info)
{
    char *text = user;
    sprintf(text + strlen(text), "%s:%s:%llu:%s,%s:%llu:%s ", info->name,
            info->map == LAYER_LINEAR ? "linear" : "striped", (unsigned long long)info->stripe,
            info->children[0], info->children[1], (unsigned long long)info->size / SECTOR_SIZE,
            info->read_only ? "ro" : "rw");
    return 0;
}

static void test_list(void)
{
    struct ice_why why = {.text = ""};
    char text[256] = "";
    open_host();
    adds_function("vm0,slots=0+2,sectors=0+1023");
    adds_function("vm1,slots=2+2,sectors=1023+1024");
    adds_function("vm2,slots=4+2,sectors=2047+128,ro");
    is_int(add_layer("s", LAYER_STRIPED, "vm1", "vm0", &why), 0, "a striped one %s", why.text);
    is_int(add_layer("l", LAYER_LINEAR, "vm0", "vm2", &why), 0, "a linear one %s", why.text);
    layers_each(views, collect, text);
    is_str(text, "l:linear:0:vm0,vm2:1024:ro s:striped:65536:vm1,vm0:1792:rw ", "both");
    views_close(views);
    host_close(&host);
}

/* ---- bytes ---- */

static uint8_t data[3 * STRIPE], back[3 * STRIPE];

static void is_at(const struct byte_file *file, uint64_t at, const uint8_t *want, size_t len,
                  const char *what)
{
    is_int(byte_file_read(file, at, back, len, NULL), (ssize_t)len, "%s: read", what);
    is_mem(back, want, len, "%s: the same", what);
}

/* The layer's key and DUN, on the functions that it is over. */
static void test_bytes(void)
{
    struct ice_why why = {.text = ""};
    open_host();
    adds_function("vm0,slots=0+2,sectors=0+1024");
    adds_function("vm1,slots=2+2,sectors=1024+1024");
    is_int(add_layer("l", LAYER_LINEAR, "vm0", "vm1", &why), 0, "linear %s", why.text);
    is_int(add_layer("s", LAYER_STRIPED, "vm0", "vm1", &why), 0, "striped %s", why.text);
    struct byte_file linear = adds_view("l", "a", 1000), first = adds_view("vm0", "a", 1000),
                     second = adds_view("vm1", "a", 1000 + 128);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * 7 ^ i >> 8);
    is_int((intmax_t)byte_file_size(&linear), 2048 * SECTOR_SIZE, "the size of both");
    is_int(byte_file_write(&linear, (512 << 10) - 5000, data, 10000, NULL), 10000, "over the seam");
    is_at(&first, (512 << 10) - 5000, data, 5000, "the end of the first");
    is_at(&second, 0, data + 5000, 5000, "the beginning of the second");
    struct byte_file striped = adds_view("s", "a", 7);
    is_int(byte_file_write(&striped, STRIPE, data, 3 * STRIPE, NULL), 3 * STRIPE, "stripes 1 to 3");
    struct byte_file stripe1 = adds_view("vm1", "b", 7 + 16);
    is_at(&stripe1, 0, data, STRIPE, "stripe 1 is the second's first");
    struct byte_file stripe2 = adds_view("vm0", "b", 7 + 16);
    is_at(&stripe2, STRIPE, data + STRIPE, STRIPE, "stripe 2 is the first's second");
    is_int(byte_file_sync(&striped, &why), 0, "sync");
    views_close(views);
    host_close(&host);
}

int main(void)
{
    struct ice_why why;
    if (cipher_init(&why) || !(key_bytes = secret_alloc(64)) || !(locks = range_lock_new())) {
        printf("Bail out! no cipher library, or no memory\n");
        return 1;
    }
    for (unsigned i = 0; i < 64; i++)
        key_bytes[i] = (uint8_t)(3 * i + 1);
    test_names();
    test_list();
    test_bytes();
    secret_free(key_bytes);
    range_lock_free(locks);
    return tap_done();
}
