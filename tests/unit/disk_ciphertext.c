/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Whatever a disk is made of, what it stores through a key is what OpenSSL's libcrypto makes of the
 * data, and comes back: every algorithm at every data unit size, with requests that are cut at
 * every child and DUNs that carry from limb to limb in the middle. Engines are real ones behind
 * functions; fake disks stand for them where there are many.
 */
#include "base/bytes.h"
#include "base/units.h"
#include "blkcrypto/fallback.h"
#include "blkcrypto/layer.h"
#include "fake_disk.h"
#include "libcrypto_ref.h"
#include "native_bench.h"
#include "tap.h"
#include <errno.h>
#include <stdlib.h>

#define UNITS 8 /* of a request */
#define RUN   (UNITS * (size_t)DATA_UNIT_MAX)

static const struct {
    uint64_t low, high;
} duns[] = {
    {5, 0}, {UINT32_MAX - 2, 0}, {UINT64_MAX - 7, 0}, {UINT64_MAX - 3, 0}, {UINT64_MAX - 2, 1},
};

static uint8_t plain[RUN + 1], want[RUN], got[RUN + 1];

/* ---- disks ---- */

struct stack {
    struct disk *top;
    struct disk *layers[2 * LAYER_CHILDREN_MAX + 3]; /* what to close, the last first */
    unsigned count;
    struct native_bench benches[3];
    unsigned bench_count;
};

static struct disk *push(struct stack *stack, struct disk *disk)
{
    stack->layers[stack->count++] = disk;
    stack->top = disk;
    return disk;
}

/* Supports one unit size alone, so that stripes may be as small; 0: no keys. */
static struct disk *push_fake(struct stack *stack, uint64_t size, uint32_t unit)
{
    struct crypto_caps caps = unit ? caps_of(unit) : no_caps;

    return push(stack, &fake_disk_new(size, &caps)->disk);
}

/* A function that takes keys by slot or inline, or none. */
static struct disk *push_function(struct stack *stack, uint64_t size, uint32_t unit,
                                  struct function_params params)
{
    struct native_bench *bench = &stack->benches[stack->bench_count++];
    struct capability list[ALGORITHM_COUNT];

    for (unsigned i = 0; i < ALGORITHM_COUNT; i++)
        list[i] = (struct capability){algorithms[i].alg, algorithms[i].key_size, unit};
    if (!params.integrity) {
        params.capabilities = list;
        params.capability_count = ALGORITHM_COUNT;
    }
    native_bench_open(bench, 2, size / SECTOR_SIZE, NULL, params);
    stack->top = bench->disk;
    return stack->top;
}

static struct fallback_slots *slots; /* of all fallbacks */

static struct disk *push_fallback(struct stack *stack, enum fallback_policy policy)
{
    struct disk *disk = NULL;

    if (fallback_open(stack->top, slots, policy, &disk, NULL))
        exit(1);
    return push(stack, disk);
}

static struct disk *push_layer(struct stack *stack, enum layer_map map, uint64_t stripe,
                               struct disk **children, unsigned count)
{
    struct ice_why why;
    struct disk *disk = NULL;

    if (layer_open(map, stripe, children, count, &disk, &why)) {
        note("%s", why.text);
        exit(1);
    }
    return push(stack, disk);
}

static void pull_down(struct stack *stack)
{
    while (stack->count) {
        struct disk *last = stack->layers[--stack->count];
        last->ops->close(last);
    }
    while (stack->bench_count)
        native_bench_close(&stack->benches[--stack->bench_count]);
}

/* How a disk is made, for keys of `unit`, over `n` disks where there are several. */
static void native(struct stack *stack, uint32_t unit, unsigned n)
{
    (void)n;
    push_fake(stack, 32 * unit, unit);
}

static void forced(struct stack *stack, uint32_t unit, unsigned n)
{
    (void)n;
    push_fake(stack, 32 * unit, unit);
    push_fallback(stack, FALLBACK_FORCE);
}

static void linear(struct stack *stack, uint32_t unit, unsigned n)
{
    struct disk *children[LAYER_CHILDREN_MAX];

    for (unsigned i = 0; i < n; i++)
        children[i] = push_fake(stack, (i % 3 + 1 + 16 / n) * unit, unit);
    push_layer(stack, LAYER_LINEAR, 0, children, n);
}

static void striped(struct stack *stack, uint32_t unit, unsigned n)
{
    struct disk *children[LAYER_CHILDREN_MAX];

    for (unsigned i = 0; i < n; i++)
        children[i] = push_fake(stack, 32 * unit, unit);
    push_layer(stack, LAYER_STRIPED, (1 + n % 3) * unit, children, n);
}

/* Some of the children do it themselves, some have a fallback. */
static void mixed(struct stack *stack, uint32_t unit, unsigned n)
{
    struct disk *children[LAYER_CHILDREN_MAX];

    for (unsigned i = 0; i < n; i++) {
        push_fake(stack, 32 * unit, i % 2 ? 0 : unit);
        children[i] = push_fallback(stack, FALLBACK_AUTO);
    }
    push_layer(stack, LAYER_STRIPED, unit, children, n);
}

/* No child can, and stripes are smaller than units. */
static void above(struct stack *stack, uint32_t unit, unsigned n)
{
    struct disk *children[LAYER_CHILDREN_MAX];

    for (unsigned i = 0; i < n; i++)
        children[i] = push_fake(stack, 32 * unit, 0);
    push_layer(stack, LAYER_STRIPED, 512, children, n);
    push_fallback(stack, FALLBACK_AUTO);
}

/* A linear layer over two striped ones. */
static void nested(struct stack *stack, uint32_t unit, unsigned n)
{
    struct disk *halves[2], *children[LAYER_CHILDREN_MAX];

    for (unsigned half = 0; half < 2; half++) {
        for (unsigned i = 0; i < n; i++)
            children[i] = push_fake(stack, (half ? 32 : 3) * unit, unit);
        halves[half] = push_layer(stack, LAYER_STRIPED, unit, children, n);
    }
    push_layer(stack, LAYER_LINEAR, 0, halves, 2);
}

static void engine(struct stack *stack, uint32_t unit, unsigned n)
{
    (void)n;
    push_function(stack, 32 * unit, unit, (struct function_params){0});
}

static void engine_inline(struct stack *stack, uint32_t unit, unsigned n)
{
    (void)n;
    push_function(stack, 32 * unit, unit, (struct function_params){.keys_inline = true});
}

static void engine_integrity(struct stack *stack, uint32_t unit, unsigned n)
{
    (void)n;
    push_function(stack, 32 * unit, unit, (struct function_params){.integrity = true});
    push_fallback(stack, FALLBACK_AUTO);
}

/* One that has slots, one that takes keys inline, one that has neither. */
static void engines(struct stack *stack, uint32_t unit, unsigned n)
{
    struct disk *children[3];

    (void)n;
    children[0] = push_function(stack, 32 * unit, unit, (struct function_params){0});
    children[1] =
        push_function(stack, 32 * unit, unit, (struct function_params){.keys_inline = true});
    push_function(stack, 32 * unit, unit, (struct function_params){.integrity = true});
    children[2] = push_fallback(stack, FALLBACK_AUTO);
    push_layer(stack, LAYER_STRIPED, unit, children, 3);
}

/* ---- the check ---- */

static int move(struct disk *disk, struct disk_key *key, bool write, struct dun dun,
                uint64_t offset, void *buffer, size_t len)
{
    const struct disk_io io = {offset, buffer, len, write, key, dun};

    return disk->ops->transfer(disk, &io, NULL);
}

/* Whether the DUNs of the request are within what the key promises. */
static bool fits(const struct crypto_config *config, struct dun dun)
{
    return dun_fits(&dun, 8 * config->dun_bytes) && dun_add(&dun, UNITS - 1) &&
           dun_fits(&dun, 8 * config->dun_bytes);
}

static bool round_trip(struct disk *disk, struct disk_key *key, const struct crypto_key *how,
                       unsigned k)
{
    uint32_t unit = how->config.data_unit;
    uint64_t offset = (1 + 2 * k) * (uint64_t)unit;
    size_t len = UNITS * unit;
    struct dun dun = {{duns[k].low, duns[k].high, 0, 0}}, next = dun;
    ref_dun number = (ref_dun)duns[k].high << 64 | duns[k].low;
    uint8_t *in = plain + k % 2, *out = got + k % 2; /* nothing is promised about alignment */

    if (!libcrypto_ref(how->config.algorithm, unit, number, how->bytes, true, in, want, len))
        return false;
    memcpy(out, in, len);
    if (!fits(&how->config, dun))
        return move(disk, key, true, dun, offset, out, len) == -EINVAL;
    if (move(disk, key, true, dun, offset, out, len) || memcmp(out, in, len))
        return false;
    if (move(disk, NULL, false, dun, offset, out, len) || memcmp(out, want, len))
        return false;
    if (move(disk, key, false, dun, offset, out, len) || memcmp(out, in, len))
        return false;
    /* A part alone, as another request may ask for it. */
    dun_add(&next, 3);
    return !move(disk, key, false, next, offset + 3 * unit, out, unit) &&
           !memcmp(out, in + 3 * unit, unit);
}

static const struct kind {
    const char *name;
    void (*make)(struct stack *stack, uint32_t unit, unsigned n);
    bool several;
    enum disk_path path;
} kinds[] = {
    {"one disk", native, false, DISK_NATIVE},
    {"fallback", forced, false, DISK_FALLBACK},
    {"linear", linear, true, DISK_NATIVE},
    {"striped", striped, true, DISK_NATIVE},
    {"mixed", mixed, true, DISK_FALLBACK},
    {"fallback above", above, true, DISK_FALLBACK},
    {"linear striped", nested, true, DISK_NATIVE},
    {"engine", engine, false, DISK_NATIVE},
    {"engine, keys inline", engine_inline, false, DISK_NATIVE},
    {"engine, integrity", engine_integrity, false, DISK_FALLBACK},
    {"engines striped", engines, false, DISK_FALLBACK},
};

static void check(const struct kind *kind, const struct algorithm *algorithm, uint32_t unit,
                  unsigned n)
{
    struct crypto_config config = {algorithm, unit, 16, ICE_KEY_TYPE_RAW};
    uint8_t bytes[KEY_BYTES_MAX];
    static struct stack stack;
    struct crypto_key key;
    struct disk_key *opened;
    struct ice_why why = {0};
    enum disk_path path;
    unsigned right = 0;

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 31 + unit / 512 + algorithm->key_bytes);
    kind->make(&stack, unit, n);
    if (disk_config_supported(stack.top, &config, &path, NULL))
        config.dun_bytes = 8; /* as ice2 carries */
    if (crypto_key_init(&key, &config, bytes, algorithm->key_bytes, NULL))
        exit(1);
    if (!is_int(stack.top->ops->key_open(stack.top, &key, &opened, &why), 0,
                "%s, %u, %s, unit %u: open %s", kind->name, n, algorithm->name, unit, why.text))
        exit(1);
    for (unsigned k = 0; k < ARRAY_SIZE(duns); k++)
        right += round_trip(stack.top, opened, &key, k);
    is_int(right, ARRAY_SIZE(duns), "%s, %u, %s, unit %u: as libcrypto at every DUN", kind->name, n,
           algorithm->name, unit);
    if (stack.top->ops->key_path(opened) != kind->path && !(kind->make == mixed && n == 1))
        ok(false, "%s, %u: its path", kind->name, n);
    if (stack.top->ops->key_evict(stack.top, opened, NULL))
        ok(false, "%s, %u: evict", kind->name, n);
    stack.top->ops->key_close(stack.top, opened);
    crypto_key_wipe(&key);
    pull_down(&stack);
}

/* Parts that lie next to each other on one child are one request to it. */
static void test_coalesced(void)
{
    static uint8_t bytes[11 * 65536];
    struct fake_disk *child = fake_disk_new(1 << 20, &all_caps);
    struct disk *children[] = {&child->disk}, *disk;
    struct disk_io io = {.offset = 65536 - 4096, .buffer = bytes, .len = 655360, .write = true};
    struct crypto_key key;

    if (!is_int(layer_open(LAYER_STRIPED, 65536, children, 1, &disk, NULL), 0, "a lone child"))
        return;
    make_key(&key, 4096, 0);
    disk->ops->key_open(disk, &key, &io.key, NULL);
    is_int(disk->ops->transfer(disk, &io, NULL), 0, "a write over 11 stripes");
    is_int(child->requests, 1, "is one request");
    is_int(disk->ops->key_evict(disk, io.key, NULL), 0, "evict");
    disk->ops->key_close(disk, io.key);
    io.key = NULL;
    io.write = false;
    is_int(disk->ops->transfer(disk, &io, NULL), 0, "a read without a key");
    is_int(child->requests, 2, "is one, too");
    crypto_key_wipe(&key);
    disk->ops->close(disk);
    child->disk.ops->close(&child->disk);
}

int main(void)
{
    uint32_t noise = 1;

    if (!is_int(cipher_init(NULL), 0, "cipher_init") || !(slots = fallback_slots_new(false)))
        return tap_done();
    for (size_t i = 0; i < sizeof(plain); i++) {
        noise = noise * 1664525 + 1013904223;
        plain[i] = (uint8_t)(noise >> 24);
    }
    for (unsigned kind = 0; kind < ARRAY_SIZE(kinds); kind++) {
        unsigned n = 0;

        for (unsigned i = 0; i < ALGORITHM_COUNT; i++) {
            for (uint32_t unit = DATA_UNIT_MIN; unit <= DATA_UNIT_MAX; unit *= 2) {
                n = kinds[kind].several ? n % LAYER_CHILDREN_MAX + 1 : 1;
                check(&kinds[kind], &algorithms[i], unit, n);
            }
        }
    }
    test_coalesced();
    fallback_slots_free(slots);
    return tap_done();
}
