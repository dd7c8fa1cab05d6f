/* SPDX-License-Identifier: BSD-2-Clause */
/* A function as its driver sees it, as JSON. */
#include "describe.h"
#include "base/algorithm.h"
#include "base/bytes.h"
#include "virtio/inline.h"
#include "virtio/virtio.h"
#include <stdio.h>

struct feature {
    uint8_t bit;
    const char *name;
};

static const struct feature common[] = {
    {VIRTIO_BLK_F_SIZE_MAX, "VIRTIO_BLK_F_SIZE_MAX"},
    {VIRTIO_BLK_F_SEG_MAX, "VIRTIO_BLK_F_SEG_MAX"},
    {VIRTIO_BLK_F_GEOMETRY, "VIRTIO_BLK_F_GEOMETRY"},
    {VIRTIO_BLK_F_RO, "VIRTIO_BLK_F_RO"},
    {VIRTIO_BLK_F_BLK_SIZE, "VIRTIO_BLK_F_BLK_SIZE"},
    {VIRTIO_BLK_F_FLUSH, "VIRTIO_BLK_F_FLUSH"},
    {VIRTIO_BLK_F_TOPOLOGY, "VIRTIO_BLK_F_TOPOLOGY"},
    {VIRTIO_BLK_F_CONFIG_WCE, "VIRTIO_BLK_F_CONFIG_WCE"},
    {VIRTIO_BLK_F_MQ, "VIRTIO_BLK_F_MQ"},
    {VIRTIO_BLK_F_DISCARD, "VIRTIO_BLK_F_DISCARD"},
    {VIRTIO_BLK_F_WRITE_ZEROES, "VIRTIO_BLK_F_WRITE_ZEROES"},
    {VIRTIO_BLK_F_LIFETIME, "VIRTIO_BLK_F_LIFETIME"},
    {VIRTIO_BLK_F_SECURE_ERASE, "VIRTIO_BLK_F_SECURE_ERASE"},
    {VIRTIO_BLK_F_ZONED, "VIRTIO_BLK_F_ZONED"},
    {VIRTIO_F_VERSION_1, "VIRTIO_F_VERSION_1"},
};

/* Bit 22 has two meanings. */
static const struct feature of_ice[] = {
    {VIRTIO_BLK_F_ICE, "VIRTIO_BLK_F_ICE"},
    {VIRTIO_BLK_F_ICE_KEY_OPS, "VIRTIO_BLK_F_ICE_KEY_OPS"},
    {VIRTIO_BLK_F_ICE_KEYS_INLINE, "VIRTIO_BLK_F_ICE_KEYS_INLINE"},
};
static const struct feature of_inline[] = {
    {VIRTIO_BLK_F_CTRL_VQ, "VIRTIO_BLK_F_CTRL_VQ"},
    {VIRTIO_BLK_F_INLINE_ENCRYPTION, "VIRTIO_BLK_F_INLINE_ENCRYPTION"},
};

static const char *find_name(const struct feature *table, size_t n, unsigned bit)
{
    for (size_t i = 0; i < n; i++)
        if (table[i].bit == bit)
            return table[i].name;
    return NULL;
}

const char *feature_name(const struct dialect *dialect, unsigned bit)
{
    uint64_t crypto = dialect->features | dialect->own_features | dialect->keys_inline;

    if (!(crypto & VIRTIO_FEATURE(bit)))
        return find_name(common, ARRAY_SIZE(common), bit);
    if (dialect == &dialect_inline)
        return find_name(of_inline, ARRAY_SIZE(of_inline), bit);
    return find_name(of_ice, ARRAY_SIZE(of_ice), bit);
}

/* Bits without a name go by "bit N", so that none is lost. */
static void describe_features(struct json *json, const char *key, const struct dialect *dialect,
                              uint64_t bits)
{
    json_array_open(json, key);
    for (unsigned bit = 0; bit < 64; bit++) {
        const char *name = feature_name(dialect, bit);
        char number[sizeof("bit 63")];

        if (!(bits & VIRTIO_FEATURE(bit)))
            continue;
        snprintf(number, sizeof(number), "bit %u", bit % 64);
        json_string(json, NULL, name ? name : number);
    }
    json_array_close(json);
}

void describe_capabilities(struct json *json, const char *key,
                           const struct capability *capabilities, unsigned count)
{
    json_array_open(json, key);
    for (size_t a = 0; a < ALGORITHM_COUNT; a++) {
        bool open = false;

        for (unsigned i = 0; i < count; i++) {
            if (capabilities[i].alg != algorithms[a].alg ||
                capabilities[i].key_size != algorithms[a].key_size)
                continue;
            if (!open) {
                json_object_open(json, NULL);
                json_string(json, "alg", algorithms[a].name);
                json_number(json, "key_bytes", algorithms[a].key_bytes);
                json_array_open(json, "data_units");
                open = true;
            }
            json_number(json, NULL, capabilities[i].data_unit);
        }
        if (open) {
            json_array_close(json);
            json_object_close(json);
        }
    }
    json_array_close(json);
}

static void describe_key_types(struct json *json, unsigned types)
{
    json_array_open(json, "key_types");
    if (types & ICE_KEY_TYPE_RAW)
        json_string(json, NULL, "raw");
    if (types & ICE_KEY_TYPE_WRAPPED)
        json_string(json, NULL, "wrapped");
    json_array_close(json);
}

/* `capabilities`: how many are known, whether the space has their number or not. */
static void describe_config(struct json *json, const struct function_config *config,
                            unsigned capabilities)
{
    json_object_open(json, "config");
    json_hex(json, "capacity_sectors", config->capacity);
    json_number(json, "size_max", config->size_max);
    json_number(json, "seg_max", config->seg_max);
    json_number(json, "blk_size", config->blk_size);
    json_number(json, "num_queues", config->num_queues);
    json_number(json, "writeback", config->writeback);
    json_number(json, "max_segment_sectors", config->max_segment_sectors);
    json_number(json, "max_segments", config->max_segments);
    json_number(json, "slot_offset", config->slot_offset);
    json_number(json, "max_slots", config->max_slots);
    json_number(json, "capability_num",
                config->capability_count ? config->capability_count : capabilities);
    if (config->dun_bytes)
        json_number(json, "dun_bytes", config->dun_bytes);
    if (config->key_types)
        describe_key_types(json, config->key_types);
    json_object_close(json);
}

void describe_info(struct json *json, const char *key, const struct description *description)
{
    json_object_open(json, key);
    json_string(json, "function", description->function);
    json_string(json, "dialect", description->dialect->name);
    json_hex(json, "size", description->config.capacity << 9);
    json_hex(json, "features_offered", description->offered);
    json_hex(json, "features_negotiated", description->negotiated);
    describe_features(json, "features", description->dialect, description->negotiated);
    json_number(json, "status", description->status);
    describe_config(json, &description->config, description->capability_count);
    describe_capabilities(json, "capabilities", description->capabilities,
                          description->capability_count);
    json_object_close(json);
}
