/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hardware-wrapped keys: a master key leaves the engine only under the device secret. Each
 * operation has it in one block of secret memory, for as long as it takes.
 */
#include "base/secret.h"
#include "cipher/wrap.h"
#include "internal.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

_Static_assert(ENGINE_SECRET_BYTES == WRAP_SECRET_BYTES, "the same secret");
_Static_assert(MASTER_KEY_BYTES == WRAP_MASTER_BYTES, "the same master key");
_Static_assert(WRAP_BLOB_BYTES <= WRAPPED_KEY_MAX, "a blob is a wrapped key");

static int seal(const struct engine *engine, enum wrap_form form, const uint8_t *master,
                struct wrapped_key *key, struct ice_why *why)
{
    key->len = WRAP_BLOB_BYTES;
    return wrap_seal(engine->secret, form, engine->boot, master, key->bytes, why);
}

/* The master key of a blob, into a block for secret_free. */
static int unseal(const struct engine *engine, enum wrap_form form, const uint8_t *blob, size_t len,
                  uint8_t **master, struct ice_why *why)
{
    uint8_t *opened = secret_alloc(MASTER_KEY_BYTES);
    if (!opened)
        return secret_exhausted("a master key", why);
    int r = wrap_open(engine->secret, form, engine->boot, blob, len, opened, why);
    if (r)
        secret_free(opened);
    else
        *master = opened;
    return r;
}

int engine_key_generate(struct engine *engine, struct wrapped_key *key, struct ice_why *why)
{
    uint8_t *master = secret_alloc(MASTER_KEY_BYTES);
    if (!master)
        return secret_exhausted("a master key", why);
    secret_random(master, MASTER_KEY_BYTES);
    int r = seal(engine, WRAP_LONG_TERM, master, key, why);
    secret_free(master);
    return r;
}

int engine_key_import(struct engine *engine, const uint8_t *raw, size_t len,
                      struct wrapped_key *key, struct ice_why *why)
{
    if (len != MASTER_KEY_BYTES)
        return why_set(why, EINVAL, "a key to import has %u bytes, not %zu", MASTER_KEY_BYTES, len);
    return seal(engine, WRAP_LONG_TERM, raw, key, why);
}

int engine_key_prepare(struct engine *engine, const uint8_t *long_term, size_t len,
                       struct wrapped_key *ephemeral, struct ice_why *why)
{
    uint8_t *master = NULL;
    int r = unseal(engine, WRAP_LONG_TERM, long_term, len, &master, why);
    if (r)
        return r;
    r = seal(engine, WRAP_EPHEMERAL, master, ephemeral, why);
    secret_free(master);
    return r;
}

int engine_key_derive(struct engine *engine, const uint8_t *ephemeral, size_t len,
                      uint8_t secret[static 32], struct ice_why *why)
{
    uint8_t *master = NULL;
    int r = unseal(engine, WRAP_EPHEMERAL, ephemeral, len, &master, why);
    if (r)
        return r;
    r = wrap_derive_sw_secret(master, secret, why);
    secret_free(master);
    return r;
}

int engine_unwrap(const struct engine *engine, const struct engine_key *key, uint8_t **inline_key,
                  struct ice_why *why)
{
    uint8_t *master = NULL, *derived;
    if (!algorithm_takes_wrapped(key->algorithm->alg, key->algorithm->key_size))
        return why_set(why, EINVAL, "a wrapped key is for aes-256-xts, not %s",
                       key->algorithm->name);
    int r = unseal(engine, WRAP_EPHEMERAL, key->bytes, key->wrapped_len, &master, why);
    if (r)
        return r;
    derived = secret_alloc(INLINE_KEY_BYTES);
    r = derived ? wrap_derive_inline_key(master, derived, why)
                : secret_exhausted("an inline key", why);
    secret_free(master);
    if (r)
        secret_free(derived);
    else
        *inline_key = derived;
    return r;
}
