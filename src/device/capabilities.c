/* SPDX-License-Identifier: BSD-2-Clause */
/* What a function advertises: the model of one engine among those that there are. */
#include "base/bytes.h"
#include "internal.h"
#include "virtio/ice.h"
#include <assert.h>

/* Of a default: no request would be whole blocks, or no key is one of it. */
static bool is_useless(const struct ice_function *function, const struct capability *capability)
{
    return capability->data_unit < function->block_size ||
           (!(function->key_types & ICE_KEY_TYPE_RAW) &&
            !algorithm_takes_wrapped(capability->alg, capability->key_size));
}

void function_set_capabilities(struct ice_function *function, const struct function_params *params)
{
    struct capability all[CAPABILITIES_MAX];
    const struct capability *list = params->capabilities;
    unsigned count = params->capability_count;

    if (!count) {
        list = all;
        count = function->dialect->default_capabilities(all);
    }
    assert(count <= CAPABILITIES_MAX);
    for (unsigned i = 0; i < count; i++) {
        assert(!params->capability_count || !is_useless(function, &list[i]));
        if (!is_useless(function, &list[i]))
            function->capabilities[function->capability_count++] = list[i];
    }
    assert(!function->dialect->check_capabilities(function->capabilities,
                                                  function->capability_count, NULL));
}

bool function_advertises(const struct ice_function *function, const struct algorithm *algorithm,
                         uint32_t data_unit)
{
    for (unsigned i = 0; i < function->capability_count; i++) {
        const struct capability *c = &function->capabilities[i];

        if (c->alg == algorithm->alg && c->key_size == algorithm->key_size &&
            c->data_unit == data_unit)
            return true;
    }
    return false;
}
