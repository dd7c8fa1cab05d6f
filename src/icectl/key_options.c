/* SPDX-License-Identifier: BSD-2-Clause */
#include "key_options.h"
#include "key_file.h"
#include "virtio/ice.h"

#define DATA_UNIT_DEFAULT 4096u

enum status read_key_options(const struct icectl *icectl, const struct key_options *options,
                             const struct algorithm **algorithm, uint32_t *data_unit)
{
    const char *name = options->alg->sval[0];

    *data_unit = DATA_UNIT_DEFAULT;
    *algorithm = algorithm_by_name(name);
    if (!*algorithm)
        return fail(icectl, STATUS_USAGE, "--alg \"%.32s\" is no algorithm; icectl caps lists them",
                    name);
    return args_data_unit(icectl, options->data_unit, data_unit);
}

uint8_t *read_key(const struct key_options *options, const struct algorithm *algorithm, size_t *len,
                  struct ice_why *why)
{
    const char *path = options->key_file->sval[0];

    if (options->wrapped->count)
        return read_key_file(path, 1, ICE_KEY_FIELD, "a wrapped key", len, why);
    return read_key_file(path, algorithm->key_bytes, algorithm->key_bytes, algorithm->name, len,
                         why);
}
