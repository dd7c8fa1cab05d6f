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

/* In the order of struct virtio_blk_crypto_cap: alg, data_unit_size_exp, key_size. */
static unsigned list_capabilities(const struct engine *engine, struct capability *list)
{
    unsigned n = 0;

    for (unsigned alg = ALG_AES_XTS; alg <= ALG_ESSIV_AES_CBC; alg++)
        for (uint32_t unit = DATA_UNIT_MIN; unit <= DATA_UNIT_MAX; unit *= 2)
            for (unsigned size = KEY_SIZE_128; size <= KEY_SIZE_256; size++) {
                const struct algorithm *algorithm = algorithm_by_id(alg, size);
                if (algorithm && engine_data_units(engine, algorithm) & unit)
                    list[n++] = (struct capability){(uint8_t)alg, (uint8_t)size, unit};
            }
    assert(n <= CAPABILITIES_MAX);
    return n;
}

int function_new(const struct function_params *params, struct ice_function **result,
                 struct ice_why *why)
{
    struct ice_function *function = calloc(1, sizeof(*function));

    assert(strlen(params->name) <= NAME_MAX_BYTES);
    assert(params->first_slot + params->slots <= engine_slots(params->engine));
    assert((params->first_sector + params->sectors) <= params->store->size / SECTOR_SIZE);
    if (!function)
        return why_set(why, ENOMEM, "no memory for function %s", params->name);
    strcpy(function->name, params->name);
    function->dialect = params->dialect;
    function->engine = params->engine;
    function->first_slot = params->first_slot;
    function->slots = params->slots;
    function->store = params->store;
    function->first_byte = params->first_sector * SECTOR_SIZE;
    function->sectors = params->sectors;
    function->observers = params->observers;
    function->features = BASE_FEATURES;
    if (params->slots) {
        function->features |= params->dialect->features;
        function->capability_count = list_capabilities(params->engine, function->capabilities);
    }
    pthread_mutex_init(&function->lock, NULL);
    *result = function;
    return 0;
}

void function_free(struct ice_function *function)
{
    if (!function)
        return;
    assert(!function->attachments);
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
    return function->sectors;
}

void function_slot_window(const struct ice_function *function, unsigned *first, unsigned *count)
{
    *first = function->first_slot;
    *count = function->slots;
}

bool function_slot(const struct ice_function *function, unsigned slot, unsigned *physical)
{
    *physical = slot;
    return slot >= function->first_slot && slot < function->first_slot + function->slots;
}

size_t function_build_config(const struct ice_attachment *attachment,
                             uint8_t space[static DIALECT_CONFIG_MAX])
{
    const struct ice_function *function = attachment->function;
    struct function_config config = {
        .features = function->features,
        .capacity = function->sectors,
        .size_max = SEGMENT_MAX_BYTES,
        .seg_max = SEGMENT_MAX_COUNT,
        .blk_size = SECTOR_SIZE,
        .num_queues = FUNCTION_QUEUES,
        .max_segment_sectors = RANGE_MAX_SECTORS,
        .max_segments = RANGES_MAX,
        .writeback = attachment->writeback,
        .slot_offset = function->first_slot,
        .max_slots = function->slots,
        .capability_count = function->capability_count,
    };

    return function->dialect->build_config(&config, space);
}

void function_reset(struct ice_function *function)
{
    engine_clear(function->engine, function->first_slot, function->slots, ENGINE_ANY_OWNER);
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

void function_announce_generation(struct ice_function *function, uint64_t generation)
{
    pthread_mutex_lock(&function->lock);
    for (struct ice_attachment *a = function->attachments; a; a = a->next)
        announce(a, EVENT_ENGINE_GENERATION, generation);
    pthread_mutex_unlock(&function->lock);
}
