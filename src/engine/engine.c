/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine: an array of slots, a generation, and the secret of its wrapped keys. */
#include "engine.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "base/units.h"
#include "internal.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

int engine_new(unsigned slots, struct engine **result, struct ice_why *why)
{
    struct engine *engine = calloc(1, sizeof(*engine) + slots * sizeof(struct slot));

    assert(slots >= 1 && slots <= SLOTS_MAX);
    if (!engine)
        return why_set(why, ENOMEM, "no memory for %u keyslots", slots);
    engine->secret = secret_alloc(ENGINE_SECRET_BYTES);
    if (!engine->secret) {
        free(engine);
        return secret_exhausted("the device secret", why);
    }
    secret_random(engine->secret, ENGINE_SECRET_BYTES);
    engine->slot_count = slots;
    engine->generation = 1;
    for (unsigned i = 0; i < slots; i++)
        slot_init(&engine->slots[i]);
    *result = engine;
    return 0;
}

void engine_free(struct engine *engine)
{
    if (!engine)
        return;
    for (unsigned i = 0; i < engine->slot_count; i++)
        slot_destroy(&engine->slots[i]);
    inline_keys_free(engine->inline_keys);
    secret_free(engine->secret);
    free(engine);
}

void engine_set_secret(struct engine *engine, const uint8_t secret[static ENGINE_SECRET_BYTES],
                       uint64_t boot)
{
    memcpy(engine->secret, secret, ENGINE_SECRET_BYTES);
    engine->boot = boot;
}

void engine_set_bitlocker_iv(struct engine *engine, bool from_dun)
{
    engine->bitlocker_iv_from_dun = from_dun;
}

unsigned engine_slots(const struct engine *engine)
{
    return engine->slot_count;
}

static struct slot *at(struct engine *engine, unsigned slot)
{
    assert(slot < engine->slot_count);
    return &engine->slots[slot];
}

static const struct slot_owner nobody;

int engine_load(const struct engine *engine, const struct engine_key *key,
                const struct slot_owner *owner, struct slot_load *load, uint8_t **unwrapped,
                struct ice_why *why)
{
    int r = 0;

    *unwrapped = NULL;
    *load = (struct slot_load){
        .params = {key->algorithm, key->data_unit, engine->bitlocker_iv_from_dun},
        .key = key->bytes,
        .wrapped = key->wrapped_len != 0,
        .owner = owner ? *owner : nobody,
    };
    if (load->wrapped) {
        r = engine_unwrap(engine, key, unwrapped, why);
        load->key = *unwrapped;
    }
    return r;
}

int engine_program(struct engine *engine, unsigned slot, const struct engine_key *key,
                   const struct slot_owner *owner, struct slot_key *now, struct ice_why *why)
{
    struct slot_load load;
    uint8_t *unwrapped;
    int r = engine_load(engine, key, owner, &load, &unwrapped, why);

    if (!r)
        r = slot_program(at(engine, slot), &load, now, why);
    secret_free(unwrapped);
    return r;
}

int engine_evict(struct engine *engine, unsigned slot, const struct slot_owner *by,
                 struct slot_key *was, struct ice_why *why)
{
    return slot_evict(at(engine, slot), by ? by : &nobody, was, why);
}

void engine_clear(struct engine *engine, unsigned first, unsigned n, uint64_t owner)
{
    for (unsigned i = 0; i < n; i++)
        slot_clear(at(engine, first + i), owner, false);
}

void engine_clear_claimed(struct engine *engine, unsigned first, unsigned n, uint64_t owner)
{
    for (unsigned i = 0; i < n; i++)
        slot_clear(at(engine, first + i), owner, true);
}

uint64_t engine_reset(struct engine *engine)
{
    uint64_t generation = atomic_fetch_add(&engine->generation, 1) + 1;

    engine_clear(engine, 0, engine->slot_count, ENGINE_ANY_OWNER);
    engine_clear_inline(engine, ENGINE_ANY_OWNER);
    return generation;
}

uint64_t engine_generation(const struct engine *engine)
{
    return atomic_load(&engine->generation);
}

void engine_slot_info(struct engine *engine, unsigned slot, struct slot_info *info)
{
    slot_describe(at(engine, slot), info);
}

int engine_get(struct engine *engine, unsigned slot, uint64_t expect, struct slot_key *key)
{
    return slot_get(at(engine, slot), expect, key);
}

/* Behind the slots come the keys that came with requests. */
static struct slot *in_use(struct engine *engine, unsigned slot)
{
    if (slot < engine->slot_count)
        return &engine->slots[slot];
    return inline_slot(engine->inline_keys, slot - engine->slot_count);
}

void engine_put(struct engine *engine, unsigned slot)
{
    if (slot < engine->slot_count)
        slot_put(&engine->slots[slot]);
    else
        inline_put(engine->inline_keys, slot - engine->slot_count);
}

struct cipher *engine_borrow(struct engine *engine, unsigned slot)
{
    return cipher_pool_borrow(&in_use(engine, slot)->pool);
}

void engine_return(struct engine *engine, unsigned slot, struct cipher *cipher)
{
    cipher_pool_return(&in_use(engine, slot)->pool, cipher);
}
