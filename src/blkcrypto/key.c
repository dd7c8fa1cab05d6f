/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys are checked here, once; a key that exists is well formed, though an engine may lack it. */
#include "key.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "base/units.h"
#include <assert.h>
#include <errno.h>

/* The DUNs that the IV of the mode tells apart. */
static unsigned iv_bits(const struct crypto_config *config)
{
    const struct cipher_params params = {.algorithm = config->algorithm,
                                         .data_unit = config->data_unit};

    return cipher_iv_bits(&params);
}

/* The IV of every mode is a block of AES. */
#define IV_BYTES 16

static int check_config(const struct crypto_config *config, struct ice_why *why)
{
    if (!config->algorithm)
        return why_set(why, EINVAL, "there is no such algorithm");
    if (!is_power_of_two(config->data_unit) || config->data_unit < DATA_UNIT_MIN ||
        config->data_unit > DATA_UNIT_MAX)
        return why_set(why, EINVAL, "a data unit of %u bytes is no power of two from %u to %u",
                       config->data_unit, DATA_UNIT_MIN, DATA_UNIT_MAX);
    if (!config->dun_bytes || config->dun_bytes > DUN_BYTES_MAX)
        return why_set(why, EINVAL, "DUNs have 1 to %u bytes, not %u", DUN_BYTES_MAX,
                       config->dun_bytes);
    if (config->dun_bytes > IV_BYTES)
        return why_set(why, EINVAL, "DUNs of %u bytes are more than the %u of the IV of %s",
                       config->dun_bytes, IV_BYTES, config->algorithm->name);
    return 0;
}

static int check_size(const struct crypto_config *config, size_t len, struct ice_why *why)
{
    const struct algorithm *algorithm = config->algorithm;

    switch (config->key_type) {
    case ICE_KEY_TYPE_RAW:
        if (len != algorithm->key_bytes)
            return why_set(why, EINVAL, "the key has %zu bytes; %s takes %u", len, algorithm->name,
                           algorithm->key_bytes);
        return 0;
    case ICE_KEY_TYPE_WRAPPED:
        if (!algorithm_takes_wrapped(algorithm->alg, algorithm->key_size))
            return why_set(why, EINVAL, "a wrapped key is for aes-256-xts, not for %s",
                           algorithm->name);
        if (len < WRAPPED_KEY_MIN || len > ICE_KEY_FIELD)
            return why_set(why, EINVAL, "the wrapped key has %zu bytes, not %u to %u", len,
                           WRAPPED_KEY_MIN, ICE_KEY_FIELD);
        return 0;
    default:
        return why_set(why, EINVAL, "key type %u is neither raw nor wrapped", config->key_type);
    }
}

int crypto_key_init(struct crypto_key *key, const struct crypto_config *config,
                    const uint8_t *bytes, size_t len, struct ice_why *why)
{
    uint8_t *copy;
    int r = check_config(config, why);

    if (!r)
        r = check_size(config, len, why);
    if (r)
        return r;
    copy = secret_alloc(len);
    if (!copy)
        return secret_exhausted("a key", why);
    memcpy(copy, bytes, len);
    *key = (struct crypto_key){.config = *config, .len = (unsigned)len, .bytes = copy};
    return 0;
}

void crypto_key_wipe(struct crypto_key *key)
{
    secret_free((uint8_t *)key->bytes);
    *key = (struct crypto_key){.bytes = NULL};
}

bool crypto_key_fingerprint(const struct crypto_key *key,
                            uint8_t fingerprint[static FINGERPRINT_BYTES])
{
    if (key->config.key_type != ICE_KEY_TYPE_RAW)
        return false;
    cipher_fingerprint(key->bytes, key->len, fingerprint);
    return true;
}

int crypto_context_check(const struct crypto_context *context, uint64_t len, struct ice_why *why)
{
    const struct crypto_config *config = &context->key->config;
    unsigned bits = (unsigned)min_u64(UINT64_C(8) * config->dun_bytes, iv_bits(config));
    struct dun last = context->dun;

    if (!len || len % config->data_unit)
        return why_set(why, EINVAL, "%llu bytes are not whole data units of %u bytes, at least one",
                       (unsigned long long)len, config->data_unit);
    if (!dun_fits(&context->dun, bits))
        return why_set(why, EINVAL, "the first DUN does not fit the key's %u bits", bits);
    if (!dun_add(&last, len / config->data_unit - 1) || !dun_fits(&last, bits))
        return why_set(why, EINVAL, "the last DUN does not fit the key's %u bits", bits);
    return 0;
}

void crypto_context_advance(struct crypto_context *context, uint64_t len)
{
    if (!context->key)
        return;
    assert(len % context->key->config.data_unit == 0);
    dun_add(&context->dun, len / context->key->config.data_unit);
}

bool crypto_context_mergeable(const struct crypto_context *context, uint64_t len,
                              const struct crypto_context *next)
{
    uint32_t data_unit;

    if (context->key != next->key)
        return false;
    if (!context->key)
        return true;
    data_unit = context->key->config.data_unit;
    return len % data_unit == 0 && dun_contiguous(context->dun, len / data_unit, next->dun);
}
