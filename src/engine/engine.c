/* SPDX-License-Identifier: BSD-2-Clause */
/* The engine: an array of slots, a capability table, a generation. */
#include "engine.h"
#include "base/bytes.h"
#include "base/units.h"
#include "slot.h"
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define ALL_DATA_UNITS (DATA_UNIT_MAX * 2 - DATA_UNIT_MIN) /* the sum of 512, 1024 … 65536 */

struct engine {
    unsigned slot_count;
    unsigned contexts_per_slot;
    _Atomic uint64_t generation;
    struct slot slots[];
};

int engine_new(unsigned slots, struct engine **result, struct ice_why *why)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct engine *engine = calloc(1, sizeof(*engine) + slots * sizeof(struct slot));

    assert(slots >= 1 && slots <= SLOTS_MAX);
    if (!engine)
        return why_set(why, ENOMEM, "no memory for %u keyslots", slots);
    engine->slot_count = slots;
    engine->contexts_per_slot = cores < 1 ? 1 : (unsigned)min_u64((uint64_t)cores, CONTEXTS_MAX);
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
    free(engine);
}

unsigned engine_slots(const struct engine *engine)
{
    return engine->slot_count;
}

uint32_t engine_data_units(const struct engine *engine, const struct algorithm *algorithm)
{
    (void)engine;
    (void)algorithm;
    return ALL_DATA_UNITS;
}

unsigned engine_dun_bits(const struct engine *engine)
{
    (void)engine;
    return 64;
}

static struct slot *at(struct engine *engine, unsigned slot)
{
    assert(slot < engine->slot_count);
    return &engine->slots[slot];
}

int engine_program(struct engine *engine, unsigned slot, const struct engine_key *key,
                   uint64_t owner, struct slot_key *now, struct ice_why *why)
{
    if (!is_power_of_two(key->data_unit) ||
        !(engine_data_units(engine, key->algorithm) & key->data_unit))
        return why_set(why, EOPNOTSUPP, "%s with data units of %u bytes is not advertised",
                       key->algorithm->name, key->data_unit);
    return slot_program(at(engine, slot), engine->contexts_per_slot, key, owner, now, why);
}

int engine_evict(struct engine *engine, unsigned slot, struct slot_key *was, struct ice_why *why)
{
    return slot_evict(at(engine, slot), was, why);
}

void engine_clear(struct engine *engine, unsigned first, unsigned n, uint64_t owner)
{
    for (unsigned i = 0; i < n; i++)
        slot_clear(at(engine, first + i), owner);
}

uint64_t engine_reset(struct engine *engine)
{
    uint64_t generation = atomic_fetch_add(&engine->generation, 1) + 1;

    engine_clear(engine, 0, engine->slot_count, ENGINE_ANY_OWNER);
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

void engine_put(struct engine *engine, unsigned slot)
{
    slot_put(at(engine, slot));
}

struct cipher *engine_borrow(struct engine *engine, unsigned slot)
{
    return slot_borrow(at(engine, slot));
}

void engine_return(struct engine *engine, unsigned slot, struct cipher *cipher)
{
    slot_return(at(engine, slot), cipher);
}
