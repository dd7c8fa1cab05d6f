/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which keys a function takes: the same for its drivers, in band, and for the host's owner, out of
 * band.
 */
#include "base/bytes.h"
#include "internal.h"
#include "virtio/ice.h"
#include <errno.h>

int function_check_key_type(const struct ice_function *function, unsigned type, struct ice_why *why)
{
    if (function_key_types(function) & type)
        return 0;
    return why_set(why, EOPNOTSUPP, "%s takes %s keys only", function_name(function),
                   type == ICE_KEY_TYPE_WRAPPED ? "raw" : "wrapped");
}

/* A driver may promise how wide its DUNs are: only what the function and the cipher keep apart. */
static int check_dun_bytes(const struct ice_function *function, const struct function_key *key,
                           struct ice_why *why)
{
    struct cipher_params params = {.algorithm = key->algorithm, .data_unit = key->data_unit};
    unsigned most = (unsigned)min_u64(function->dun_bits, cipher_iv_bits(&params)) / 8;

    if (key->dun_bytes <= most)
        return 0;
    return why_set(why, EINVAL, "DUNs of %u bytes are wider than %u", key->dun_bytes, most);
}

static int check_key(const struct ice_function *function, const struct function_key *key,
                     struct ice_why *why)
{
    const struct algorithm *algorithm = key->algorithm;

    if (key->type != ICE_KEY_TYPE_RAW && key->type != ICE_KEY_TYPE_WRAPPED)
        return why_set(why, EINVAL, "key type %u is neither raw nor wrapped", key->type);
    int r = function_check_key_type(function, key->type, why);
    if (r)
        return r;
    if (!algorithm)
        return why_set(why, EOPNOTSUPP, "an algorithm that is not known");
    if (!function_advertises(function, algorithm, key->data_unit))
        return why_set(why, EOPNOTSUPP, "%s does not advertise %s with data units of %u bytes",
                       function_name(function), algorithm->name, key->data_unit);
    if (key->type == ICE_KEY_TYPE_RAW && key->len != algorithm->key_bytes)
        return why_set(why, EINVAL, "%s takes a key of %u bytes, not %zu", algorithm->name,
                       algorithm->key_bytes, key->len);
    if (!key->len)
        return why_set(why, EBADMSG, "a wrapped key of 0 bytes");
    return check_dun_bytes(function, key, why);
}

static struct engine_key for_engine(const struct function_key *key)
{
    return (struct engine_key){
        .algorithm = key->algorithm,
        .data_unit = key->data_unit,
        .bytes = key->bytes,
        .wrapped_len = key->type == ICE_KEY_TYPE_WRAPPED ? key->len : 0,
    };
}

int function_program(struct ice_function *function, unsigned slot, const struct function_key *key,
                     const struct slot_owner *owner, struct slot_key *now, struct ice_why *why)
{
    const struct engine_key engine_key = for_engine(key);
    int r = check_key(function, key, why);

    return r ? r : engine_program(function_engine(function), slot, &engine_key, owner, now, why);
}

int function_get_inline(struct ice_function *function, const struct function_key *key,
                        unsigned *slot, struct slot_key *now, struct ice_why *why)
{
    const struct engine_key engine_key = for_engine(key);
    int r = check_key(function, key, why);

    return r ? r : engine_get_inline(function->engine, &engine_key, function->id, slot, now, why);
}

int function_forget_inline(struct ice_function *function, const struct function_key *key,
                           struct ice_why *why)
{
    const struct engine_key engine_key = for_engine(key);
    int r = check_key(function, key, why);

    return r ? r : engine_forget_inline(function->engine, &engine_key, function->id, why);
}
