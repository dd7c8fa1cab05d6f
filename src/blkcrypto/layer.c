/* SPDX-License-Identifier: BSD-2-Clause */
/* The map says where a byte lies and how many follow it there; all else is a loop over that. */
#include "layer.h"
#include "base/bytes.h"
#include "base/units.h"
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct layer {
    struct disk disk;
    enum layer_map map;
    uint64_t stripe; /* bytes; linear: none */
    uint64_t meet;   /* children meet at multiples of this power of two; 0: there is one alone */
    unsigned count;
    struct disk *children[LAYER_CHILDREN_MAX];
    uint64_t starts[LAYER_CHILDREN_MAX + 1]; /* linear: of the children, and the end */
};

/* A layer's; other disks have their own. */
struct disk_key {
    struct layer *layer;
    const struct crypto_key *key;
    _Atomic uint64_t in_flight; /* between two parts no child knows of the request */
    struct disk_key *at[LAYER_CHILDREN_MAX];
} __attribute__((aligned(64)));

static struct layer *layer_of(struct disk *disk)
{
    return CONTAINER_OF(disk, struct layer, disk);
}

/* ---- the map ---- */

struct place {
    unsigned child;
    uint64_t offset; /* there */
    uint64_t room;   /* bytes that follow one another there */
};

static struct place locate_linear(const struct layer *layer, uint64_t offset)
{
    unsigned i = 0;

    while (offset >= layer->starts[i + 1])
        i++;
    return (struct place){i, offset - layer->starts[i], layer->starts[i + 1] - offset};
}

static struct place locate_striped(const struct layer *layer, uint64_t offset)
{
    uint64_t number = offset / layer->stripe, within = offset % layer->stripe;

    return (struct place){(unsigned)(number % layer->count),
                          number / layer->count * layer->stripe + within, layer->stripe - within};
}

static struct place locate(const struct layer *layer, uint64_t offset)
{
    return layer->map == LAYER_LINEAR ? locate_linear(layer, offset)
                                      : locate_striped(layer, offset);
}

/* ---- requests ---- */

#define NAME_ROOM 16

static const char *name_of(const struct layer *layer, unsigned child, char room[static NAME_ROOM])
{
    if (layer->children[child]->name)
        return layer->children[child]->name;
    snprintf(room, NAME_ROOM, "child %u", child);
    return room;
}

/* Says whose error it is, if the child said any. */
static int blame(const struct layer *layer, unsigned child, int r, const struct ice_why *reason,
                 struct ice_why *why)
{
    char room[NAME_ROOM];
    const char *name = name_of(layer, child, room);

    return reason->err ? why_set(why, -r, "%s: %s", name, reason->text)
                       : why_errno(why, -r, "%s", name);
}

static int check_io(const struct layer *layer, const struct disk_io *io, struct ice_why *why)
{
    const struct disk_key *key = io->key;
    int r;

    if (io->offset > layer->disk.size || io->len > layer->disk.size - io->offset)
        return why_set(why, EIO, "byte %llu + %zu is past the end of the layer (%llu bytes)",
                       (unsigned long long)io->offset, io->len,
                       (unsigned long long)layer->disk.size);
    if (!key)
        return 0;
    r = crypto_context_check(&(struct crypto_context){key->key, io->dun}, io->len, why);
    if (!r && layer->disk.whole_units && io->offset % key->key->config.data_unit)
        return why_set(why, EINVAL, "byte %llu is no multiple of the data unit of %u bytes",
                       (unsigned long long)io->offset, key->key->config.data_unit);
    return r;
}

/* How much of `left` bytes at `offset` one request to a child can carry: the part up to where
 * children meet, and those behind it that lie next to it on the same child, as a lone striped
 * child has them. */
static size_t coalesce(const struct layer *layer, uint64_t offset, size_t left,
                       const struct crypto_context *context, const struct place *first)
{
    size_t len = min_u64(left, first->room);

    while (len < left) {
        struct place place = locate(layer, offset + len);
        struct crypto_context next = *context;

        crypto_context_advance(&next, len);
        if (place.child != first->child || place.offset != first->offset + len ||
            !crypto_context_mergeable(context, len, &next))
            break;
        len += min_u64(left - len, place.room);
    }
    return len;
}

static int run_parts(struct layer *layer, const struct disk_io *io, struct ice_why *why)
{
    struct crypto_context context = {io->key ? io->key->key : NULL, io->dun};
    size_t at = 0;
    int r = 0;

    while (!r && at < io->len) {
        struct place place = locate(layer, io->offset + at);
        struct disk *child = layer->children[place.child];
        struct ice_why reason;
        struct disk_io part = {
            .offset = place.offset,
            .buffer = (uint8_t *)io->buffer + at,
            .len = coalesce(layer, io->offset + at, io->len - at, &context, &place),
            .write = io->write,
            .key = io->key ? io->key->at[place.child] : NULL,
            .dun = context.dun,
        };

        reason.err = 0;
        r = child->ops->transfer(child, &part, &reason);
        if (r)
            blame(layer, place.child, r, &reason, why);
        crypto_context_advance(&context, part.len);
        at += part.len;
    }
    return r;
}

static int transfer(struct disk *disk, const struct disk_io *io, struct ice_why *why)
{
    struct layer *layer = layer_of(disk);
    int r = check_io(layer, io, why);

    if (r)
        return r;
    if (io->key)
        atomic_fetch_add(&io->key->in_flight, 1);
    r = run_parts(layer, io, why);
    if (io->key)
        atomic_fetch_sub(&io->key->in_flight, 1);
    return r;
}

/* All are flushed, whatever one says. */
static int flush(struct disk *disk, struct ice_why *why)
{
    struct layer *layer = layer_of(disk);
    int result = 0;

    for (unsigned i = 0; i < layer->count; i++) {
        struct ice_why reason = {.err = 0};
        int r = layer->children[i]->ops->flush(layer->children[i], &reason);

        if (r && !result)
            result = blame(layer, i, r, &reason, why);
    }
    return result;
}

/* ---- keys ---- */

static int check_unit(const struct layer *layer, const struct crypto_config *config,
                      struct ice_why *why)
{
    if (layer->meet && config->data_unit > layer->meet)
        return why_set(why, EOPNOTSUPP,
                       "data units of %u bytes would lie across children, which meet at multiples "
                       "of %llu",
                       config->data_unit, (unsigned long long)layer->meet);
    return 0;
}

static int config_supported(struct disk *disk, const struct crypto_config *config,
                            enum disk_path *path, struct ice_why *why)
{
    struct layer *layer = layer_of(disk);
    int r = check_unit(layer, config, why);

    *path = DISK_NATIVE;
    for (unsigned i = 0; !r && i < layer->count; i++) {
        struct ice_why reason = {.err = 0};
        enum disk_path there;

        r = disk_config_supported(layer->children[i], config, &there, &reason);
        if (r)
            blame(layer, i, r, &reason, why);
        else if (there == DISK_FALLBACK)
            *path = there;
    }
    return r;
}

static void close_children(struct disk_key *key, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct disk *child = key->layer->children[i];
        child->ops->key_close(child, key->at[i]);
    }
}

static int open_children(struct disk_key *key, struct ice_why *why)
{
    struct layer *layer = key->layer;

    for (unsigned i = 0; i < layer->count; i++) {
        struct disk *child = layer->children[i];
        struct ice_why reason = {.err = 0};
        int r = child->ops->key_open(child, key->key, &key->at[i], &reason);

        if (r) {
            close_children(key, i);
            return blame(layer, i, r, &reason, why);
        }
    }
    return 0;
}

static int key_open(struct disk *disk, const struct crypto_key *key, struct disk_key **opened,
                    struct ice_why *why)
{
    struct layer *layer = layer_of(disk);
    int r = check_unit(layer, &key->config, why);

    if (r)
        return r;
    *opened = aligned_alloc(_Alignof(struct disk_key), sizeof(**opened));
    if (!*opened)
        return why_set(why, ENOMEM, "no memory for a key");
    **opened = (struct disk_key){.layer = layer, .key = key};
    r = open_children(*opened, why);
    if (r)
        free(*opened);
    return r;
}

/*
 * A child that has evicted the key when another one finds it busy programs it again at its next
 * use. -EBUSY goes before other errors, as the key lives on.
 */
static int key_evict(struct disk *disk, struct disk_key *key, struct ice_why *why)
{
    struct layer *layer = layer_of(disk);
    int result = 0;

    if (atomic_load(&key->in_flight))
        return why_set(why, EBUSY, "the key has requests in flight");
    for (unsigned i = 0; i < layer->count; i++) {
        struct ice_why reason = {.err = 0};
        int r = layer->children[i]->ops->key_evict(layer->children[i], key->at[i], &reason);

        if (r && result != -EBUSY && (!result || r == -EBUSY))
            result = blame(layer, i, r, &reason, why);
    }
    return result;
}

static void key_close(struct disk *disk, struct disk_key *key)
{
    close_children(key, layer_of(disk)->count);
    free(key);
}

static enum disk_path key_path(const struct disk_key *key)
{
    for (unsigned i = 0; i < key->layer->count; i++) {
        if (key->layer->children[i]->ops->key_path(key->at[i]) == DISK_FALLBACK)
            return DISK_FALLBACK;
    }
    return DISK_NATIVE;
}

static void key_counts(struct disk_key *key, struct disk_key_counts *counts)
{
    *counts = (struct disk_key_counts){.fallbacks = 0};
    for (unsigned i = 0; i < key->layer->count; i++) {
        struct disk_key_counts of = {.fallbacks = 0};

        key->layer->children[i]->ops->key_counts(key->at[i], &of);
        counts->profile.hits += of.profile.hits;
        counts->profile.misses += of.profile.misses;
        counts->profile.programs += of.profile.programs;
        counts->profile.evictions += of.profile.evictions;
        counts->profile.waits += of.profile.waits;
        counts->fallbacks += of.fallbacks;
    }
}

/* ---- life ---- */

static void close_disk(struct disk *disk)
{
    free(layer_of(disk));
}

static const struct disk_ops disk_ops = {
    .transfer = transfer,
    .flush = flush,
    .key_open = key_open,
    .key_evict = key_evict,
    .key_close = key_close,
    .key_path = key_path,
    .key_counts = key_counts,
    .config_supported = config_supported,
    .close = close_disk,
};

static int check_children(struct disk *const *children, unsigned count, struct ice_why *why)
{
    if (!count || count > LAYER_CHILDREN_MAX)
        return why_set(why, EINVAL, "%u children: a layer has 1 to %u", count, LAYER_CHILDREN_MAX);
    for (unsigned i = 0; i < count; i++) {
        for (unsigned j = 0; j < i; j++) {
            if (children[i] == children[j])
                return why_set(why, EINVAL, "child %u is child %u again", i, j);
        }
    }
    return 0;
}

static void intersect(struct disk *disk, struct disk *const *children, unsigned count)
{
    disk->caps = children[0]->caps;
    for (unsigned i = 0; i < count; i++) {
        crypto_caps_intersect(&disk->caps, &children[i]->caps);
        disk->whole_units |= children[i]->whole_units;
        if (disk->block_size < children[i]->block_size)
            disk->block_size = children[i]->block_size;
    }
}

/* The largest of powers of two: what is a multiple of it is one of them all. `name` is its
 * algorithm's, NULL for a block. */
static uint32_t largest_unit(const struct disk *disk, const char **name)
{
    uint32_t largest = disk->block_size;

    *name = NULL;
    for (unsigned i = 0; i < ALGORITHM_COUNT; i++) {
        for (uint32_t unit = DATA_UNIT_MAX; unit > largest; unit /= 2) {
            if (disk->caps.units[i] & unit) {
                largest = unit;
                *name = algorithms[i].name;
            }
        }
    }
    return largest;
}

static int check_stripe(const struct layer *layer, struct ice_why *why)
{
    unsigned long long stripe = layer->stripe;
    const char *name;
    uint32_t unit = largest_unit(&layer->disk, &name);

    if (stripe && stripe % unit == 0)
        return 0;
    return name ? why_set(why, EINVAL,
                          "a stripe of %llu bytes is no multiple of the data unit of %u bytes that "
                          "%s has",
                          stripe, unit, name)
                : why_set(why, EINVAL,
                          "a stripe of %llu bytes is no multiple of the logical block of %u bytes",
                          stripe, unit);
}

/* What a child is used for: whole `grain`s, one at least. */
static int use_child(const struct layer *layer, unsigned child, uint64_t grain, uint64_t *use,
                     struct ice_why *why)
{
    uint64_t size = layer->children[child]->size;
    char room[NAME_ROOM];

    *use = size - size % grain;
    return *use ? 0
                : why_set(why, EINVAL, "%s, of %llu bytes, has no room for %llu",
                          name_of(layer, child, room), (unsigned long long)size,
                          (unsigned long long)grain);
}

static int map_linear(struct layer *layer, struct ice_why *why)
{
    const char *name;
    uint64_t grain = largest_unit(&layer->disk, &name), starts = 0, use;
    int r = 0;

    for (unsigned i = 0; !r && i < layer->count; i++) {
        starts |= layer->starts[i];
        r = use_child(layer, i, grain, &use, why);
        if (!r && __builtin_add_overflow(layer->starts[i], use, &layer->starts[i + 1]))
            r = why_set(why, EINVAL, "the children are larger than 2^64 bytes");
    }
    layer->meet = starts & -starts;
    layer->disk.size = layer->starts[layer->count];
    return r;
}

static int map_striped(struct layer *layer, struct ice_why *why)
{
    uint64_t smallest = UINT64_MAX, use;
    int r = check_stripe(layer, why);

    for (unsigned i = 0; !r && i < layer->count; i++) {
        r = use_child(layer, i, layer->stripe, &use, why);
        smallest = min_u64(smallest, use);
    }
    if (!r && __builtin_mul_overflow(smallest, layer->count, &layer->disk.size))
        r = why_set(why, EINVAL, "the children are larger than 2^64 bytes");
    layer->meet = layer->stripe & -layer->stripe;
    return r;
}

int layer_open(enum layer_map map, uint64_t stripe, struct disk *const *children, unsigned count,
               struct disk **disk, struct ice_why *why)
{
    struct layer *layer;
    int r = check_children(children, count, why);

    if (r)
        return r;
    layer = calloc(1, sizeof(*layer));
    if (!layer)
        return why_set(why, ENOMEM, "no memory for a layer");
    *layer = (struct layer){.disk.ops = &disk_ops, .map = map, .stripe = stripe, .count = count};
    memcpy(layer->children, children, count * sizeof(struct disk *));
    intersect(&layer->disk, children, count);
    r = map == LAYER_LINEAR ? map_linear(layer, why) : map_striped(layer, why);
    if (r) {
        free(layer);
        return r;
    }
    layer->disk.whole_units |= layer->meet != 0;
    *disk = &layer->disk;
    return 0;
}

uint64_t layer_uses(const struct disk *disk, unsigned child)
{
    const struct layer *layer = CONTAINER_OF(disk, const struct layer, disk);

    if (layer->map == LAYER_STRIPED)
        return layer->disk.size / layer->count;
    return layer->starts[child + 1] - layer->starts[child];
}
