/* SPDX-License-Identifier: BSD-2-Clause */
/* What a driver sees of a function. */
#include "base/bytes.h"
#include "base/units.h"
#include "commands.h"
#include "device.h"
#include "dialect/describe.h"
#include "virtio/ice.h"
#include "virtio/virtio.h"

#include <inttypes.h>

/* 134217728 as "128 MiB"; sizes that no unit divides are told in bytes only. */
static void print_size(FILE *out, uint64_t bytes)
{
    static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
    int unit = -1;
    uint64_t n = bytes;

    for (; n && n % 1024 == 0 && unit + 1 < (int)ARRAY_SIZE(units); n /= 1024)
        unit++;
    if (unit >= 0)
        fprintf(out, "%" PRIu64 " %s (%" PRIu64 " bytes)\n", n, units[unit], bytes);
    else
        fprintf(out, "%" PRIu64 " bytes\n", bytes);
}

static void print_features(FILE *out, const struct dialect *dialect, uint64_t features)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        const char *name = feature_name(dialect, bit);

        if (!(features & VIRTIO_FEATURE(bit)))
            continue;
        if (name)
            fprintf(out, "  %2u %s\n", bit, name);
        else
            fprintf(out, "  %2u (not known)\n", bit);
    }
}

/* What only some dialects say. */
static void print_keys(FILE *out, const struct function_config *config)
{
    if (config->dun_bytes)
        fprintf(out, "DUN:             %u bits\n", config->dun_bytes * 8);
    if (config->key_types)
        fprintf(out, "key types:      %s%s\n", config->key_types & ICE_KEY_TYPE_RAW ? " raw" : "",
                config->key_types & ICE_KEY_TYPE_WRAPPED ? " wrapped" : "");
}

static void print_text(FILE *out, const struct description *description)
{
    const struct function_config *config = &description->config;

    fprintf(out, "function:        %s\n", description->function);
    fprintf(out, "dialect:         %s\n", description->dialect->name);
    fprintf(out, "size:            ");
    print_size(out, config->capacity * SECTOR_SIZE);
    fprintf(out, "status:          0x%02x\n", description->status);
    fprintf(out, "block size:      %" PRIu32 "\n", config->blk_size);
    fprintf(out, "request queues:  %u\n", config->num_queues);
    fprintf(out, "largest request: %" PRIu32 " segments of %" PRIu32 " bytes\n", config->seg_max,
            config->size_max);
    fprintf(out, "writeback:       %s\n", config->writeback ? "yes" : "no");
    if (config->max_slots)
        fprintf(out, "keyslots:        %u..%u\n", config->slot_offset,
                config->slot_offset + config->max_slots - 1);
    else
        fprintf(out, "keyslots:        none\n");
    print_keys(out, config);
    fprintf(out, "capabilities:    %u\n", description->capability_count);
    fprintf(out, "features:\n");
    print_features(out, description->dialect, description->negotiated);
}

static enum status show(const struct icectl *icectl, struct device *device)
{
    struct capability capabilities[CAPABILITIES_MAX];
    struct description description = {
        .function = client_function(device->client),
        .dialect = device->channel->dialect,
        .offered = device->offered,
        .negotiated = device->channel->features,
        .config = device->config,
        .capabilities = capabilities,
    };
    struct ice_why why;
    struct json *json;
    int err = client_get_status(device->client, &description.status, &why);
    enum status status;

    if (err)
        return fail_call(icectl, device->client, err, &why);
    status = read_capabilities(icectl, device, capabilities, &description.capability_count);
    if (status)
        return status;
    if (!icectl->json) {
        print_text(icectl->out, &description);
        return STATUS_DONE;
    }
    json = json_new();
    describe_info(json, NULL, &description);
    return print_json(icectl, json, &why) ? fail_why(icectl, STATUS_REFUSED, &why) : STATUS_DONE;
}

enum status command_info(struct icectl *icectl, const struct command_entry *entry, int argc,
                         char **argv)
{
    return device_command(icectl, entry, argc, argv, show);
}
