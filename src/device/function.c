/* SPDX-License-Identifier: BSD-2-Clause */
/* Functions: what a virtual device has and offers, and its list of attachments. */
#include "base/bytes.h"
#include "base/units.h"
#include "internal.h"
#include "virtio/ice.h"
#include "virtio/virtio.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* What every function offers. MQ, so that a ring has queues; CONFIG_WCE demands FLUSH. */
#define BASE_FEATURES                                                                              \
    (VIRTIO_FEATURE(VIRTIO_BLK_F_SIZE_MAX) | VIRTIO_FEATURE(VIRTIO_BLK_F_SEG_MAX) |                \
     VIRTIO_FEATURE(VIRTIO_BLK_F_BLK_SIZE) | VIRTIO_FEATURE(VIRTIO_BLK_F_FLUSH) |                  \
     VIRTIO_FEATURE(VIRTIO_BLK_F_CONFIG_WCE) | VIRTIO_FEATURE(VIRTIO_BLK_F_MQ) |                   \
     VIRTIO_FEATURE(VIRTIO_BLK_F_DISCARD) | VIRTIO_FEATURE(VIRTIO_BLK_F_WRITE_ZEROES) |            \
     VIRTIO_FEATURE(VIRTIO_BLK_F_LIFETIME) | VIRTIO_FEATURE(VIRTIO_BLK_F_SECURE_ERASE) |           \
     VIRTIO_FEATURE(VIRTIO_F_VERSION_1))

static uint64_t offered_features(const struct function_params *params)
{
    uint64_t features = BASE_FEATURES;

    if (params->read_only)
        features |= VIRTIO_FEATURE(VIRTIO_BLK_F_RO);
    if (params->slots || params->keys_inline)
        features |= params->dialect->features;
    if ((params->slots && !params->strict) || params->keys_inline)
        features |= params->dialect->own_features;
    if (params->keys_inline)
        features |= params->dialect->keys_inline;
    return features;
}

static void check_params(const struct function_params *params)
{
    unsigned blocks = params->block_size / SECTOR_SIZE;

    assert(params->name[0] && strlen(params->name) <= NAME_MAX_BYTES);
    assert(params->first_slot + params->slots <= engine_slots(params->engine));
    assert(!params->slots || !(params->keys_inline || params->integrity));
    assert(!params->keys_inline ||
           (params->dialect->keys_inline && !params->strict && !params->integrity));
    assert(params->first_sector <= params->store->size / SECTOR_SIZE &&
           params->sectors <= params->store->size / SECTOR_SIZE - params->first_sector);
    assert(!params->block_size || params->block_size == 512 || params->block_size == 4096);
    assert(!params->block_size || params->sectors % blocks == 0);
    assert(params->dun_bits <= params->dialect->dun_bits && params->dun_bits % 32 == 0);
    assert(params->key_types <= (ICE_KEY_TYPE_RAW | ICE_KEY_TYPE_WRAPPED));
    (void)blocks;
}

static enum slot_addressing addressing_of(const struct function_params *params)
{
    if (params->addressing != SLOTS_AS_DIALECT)
        return params->addressing;
    return params->dialect->virtual_slots ? SLOTS_VIRTUAL : SLOTS_PHYSICAL;
}

int function_new(const struct function_params *params, struct ice_function **result,
                 struct ice_why *why)
{
    static _Atomic uint64_t last_id;
    struct ice_function *function;

    check_params(params);
    int r = params->keys_inline ? engine_accept_inline(params->engine, why) : 0;
    if (r)
        return r;
    function = calloc(1, sizeof(*function));
    if (!function)
        return why_set(why, ENOMEM, "no memory for function %s", params->name);
    function->id = atomic_fetch_add(&last_id, 1) + 1;
    strcpy(function->name, params->name);
    function->dialect = params->dialect;
    function->engine = params->engine;
    function->first_slot = params->first_slot;
    function->slots = params->slots;
    function->addressing = addressing_of(params);
    function->first_wire_slot = function->addressing == SLOTS_VIRTUAL ? 0 : params->first_slot;
    function->store = params->store;
    function->first_byte = params->first_sector * SECTOR_SIZE;
    function->sectors = params->sectors;
    function->block_size = params->block_size ? params->block_size : SECTOR_SIZE;
    function->dun_bits = params->dun_bits ? params->dun_bits : params->dialect->dun_bits;
    function->on_overflow = params->on_overflow;
    function->key_types =
        params->key_types ? params->key_types : ICE_KEY_TYPE_RAW | ICE_KEY_TYPE_WRAPPED;
    function->strict = params->strict;
    function->trimmed_headers = params->trimmed_headers;
    function->read_only = params->read_only;
    function->keep_on_reset = params->keep_on_reset;
    function->keys_inline = params->keys_inline;
    function->integrity = params->integrity;
    function->observers = params->observers;
    function->features = offered_features(params);
    if (params->slots || params->keys_inline)
        function_set_capabilities(function, params);
    pthread_mutex_init(&function->lock, NULL);
    *result = function;
    return 0;
}

void function_free(struct ice_function *function)
{
    if (!function)
        return;
    assert(!function->attachments);
    engine_clear_inline(function->engine, function->id);
    pthread_mutex_destroy(&function->lock);
    free(function);
}

const char *function_name(const struct ice_function *function)
{
    return function->name;
}

const struct dialect *function_dialect(const struct ice_function *function)
{
    return function->dialect;
}

struct engine *function_engine(const struct ice_function *function)
{
    return function->engine;
}

uint64_t function_sectors(const struct ice_function *function)
{
    return atomic_load(&function->sectors);
}

void function_slot_window(const struct ice_function *function, unsigned *first, unsigned *count)
{
    *first = function->first_slot;
    *count = function->slots;
}

unsigned function_wire_slot(const struct ice_function *function, unsigned physical)
{
    return physical - function->first_slot + function->first_wire_slot;
}

unsigned function_slot_offset(const struct ice_function *function)
{
    return function->first_wire_slot;
}

enum slot_addressing function_addressing(const struct ice_function *function)
{
    return function->addressing;
}

unsigned function_key_types(const struct ice_function *function)
{
    return function->key_types;
}

unsigned function_dun_bits(const struct ice_function *function)
{
    return function->dun_bits;
}

bool function_is_strict(const struct ice_function *function)
{
    return function->strict;
}

bool function_is_read_only(const struct ice_function *function)
{
    return function->read_only;
}

bool function_keys_inline(const struct ice_function *function)
{
    return function->keys_inline;
}

bool function_has_integrity(const struct ice_function *function)
{
    return function->integrity;
}

unsigned function_rings(const struct ice_function *function)
{
    return FUNCTION_QUEUES + !!(function->features & function->dialect->control_feature);
}

unsigned function_block_size(const struct ice_function *function)
{
    return function->block_size;
}

unsigned function_attachments(struct ice_function *function)
{
    unsigned n = 0;

    pthread_mutex_lock(&function->lock);
    for (struct ice_attachment *a = function->attachments; a; a = a->next)
        n++;
    pthread_mutex_unlock(&function->lock);
    return n;
}

bool function_slot(const struct ice_function *function, unsigned slot, unsigned *physical)
{
    unsigned index = slot - function->first_wire_slot;

    *physical = function->first_slot + index;
    return index < function->slots;
}

size_t function_build_config(const struct ice_attachment *attachment,
                             uint8_t space[static DIALECT_CONFIG_MAX])
{
    const struct ice_function *function = attachment->function;
    struct function_config config = {
        .features = function->features,
        .capacity = function_sectors(function),
        .size_max = SEGMENT_MAX_BYTES,
        .seg_max = SEGMENT_MAX_COUNT,
        .blk_size = function->block_size,
        .num_queues = FUNCTION_QUEUES,
        .max_segment_sectors = RANGE_MAX_SECTORS,
        .max_segments = RANGES_MAX,
        .writeback = attachment->writeback,
        .slot_offset = function->first_wire_slot,
        .max_slots = function->slots,
        .dun_bytes = function->dun_bits / 8,
        .key_types = function->key_types,
        .capability_count = function->capability_count,
        .capabilities = function->capabilities,
    };

    return function->dialect->build_config(&config, space);
}

void function_reset(struct ice_function *function)
{
    engine_clear(function->engine, function->first_slot, function->slots, ENGINE_ANY_OWNER);
    engine_clear_inline(function->engine, function->id);
}

static void announce(struct ice_attachment *attachment, enum attachment_event event, uint64_t value)
{
    if (attachment->ops)
        attachment->ops->event(attachment->user, event, value);
}

void function_reset_attachments(struct ice_function *function)
{
    pthread_mutex_lock(&function->lock);
    for (struct ice_attachment *a = function->attachments; a; a = a->next) {
        attachment_set_status(a, 0, NULL);
        announce(a, EVENT_DEVICE_RESET, 0);
    }
    pthread_mutex_unlock(&function->lock);
}

static void announce_to_all(struct ice_function *function, enum attachment_event event,
                            uint64_t value)
{
    pthread_mutex_lock(&function->lock);
    for (struct ice_attachment *a = function->attachments; a; a = a->next)
        announce(a, event, value);
    pthread_mutex_unlock(&function->lock);
}

void function_announce_generation(struct ice_function *function, uint64_t generation)
{
    announce_to_all(function, EVENT_ENGINE_GENERATION, generation);
}

void function_announce_config(struct ice_function *function)
{
    announce_to_all(function, EVENT_CONFIG_CHANGED, 0);
}

void function_set_sectors(struct ice_function *function, uint64_t sectors)
{
    assert(sectors % (function->block_size / SECTOR_SIZE) == 0);
    atomic_store(&function->sectors, sectors);
    pthread_mutex_lock(&function->lock);
    for (struct ice_attachment *a = function->attachments; a; a = a->next)
        attachment_pass(a);
    pthread_mutex_unlock(&function->lock);
}
