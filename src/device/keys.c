/* SPDX-License-Identifier: BSD-2-Clause */
/* KEY_PROGRAM and KEY_EVICT, in band; and holding a slot, for callers in the process. */
#include "internal.h"
#include "virtio/ice.h"
#include <errno.h>

static uint8_t status_of(int err)
{
    return err == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

/* Checks what the driver says of its key, up to what only the engine knows. */
static uint8_t check_key(struct job *job, struct engine_key *key)
{
    const struct command_key *asked = &job->command.key;

    if (asked->type == ICE_KEY_TYPE_WRAPPED)
        return refuse(job, VIRTIO_BLK_S_UNSUPP, EOPNOTSUPP, "%s takes raw keys only",
                      job->function->name);
    if (asked->type != ICE_KEY_TYPE_RAW)
        return refuse(job, VIRTIO_BLK_S_IOERR, EINVAL, "key type %u is neither raw nor wrapped",
                      asked->type);
    key->algorithm = algorithm_by_id(asked->alg, asked->key_size);
    if (!key->algorithm)
        return refuse(job, VIRTIO_BLK_S_UNSUPP, EOPNOTSUPP,
                      "algorithm %u with key size id %u is not advertised", asked->alg,
                      asked->key_size);
    if (asked->len != key->algorithm->key_bytes)
        return refuse(job, VIRTIO_BLK_S_IOERR, EINVAL, "%s takes a key of %u bytes, not %u",
                      key->algorithm->name, key->algorithm->key_bytes, asked->len);
    key->data_unit = asked->data_unit;
    key->bytes = asked->bytes;
    return VIRTIO_BLK_S_OK;
}

static uint8_t program(struct job *job, unsigned slot)
{
    struct engine_key key;
    uint8_t status = check_key(job, &key);
    int r;

    if (status != VIRTIO_BLK_S_OK)
        return status;
    r = engine_program(job->function->engine, slot, &key, job->attachment->id, &job->seen.key,
                       job->why);
    return r ? status_of(r) : VIRTIO_BLK_S_OK;
}

uint8_t run_key_operation(struct job *job)
{
    const struct ice_function *function = job->function;
    unsigned slot;

    if (!function_slot(function, job->command.slot, &slot))
        return refuse(job, VIRTIO_BLK_S_IOERR, EINVAL, "outside %s's window %u..%u", function->name,
                      function->first_slot, function->first_slot + function->slots - 1);
    job->seen.slot = slot;
    if (job->command.kind == COMMAND_KEY_PROGRAM)
        return program(job, slot);
    return engine_evict(function->engine, slot, &job->seen.key, job->why) ? VIRTIO_BLK_S_IOERR
                                                                          : VIRTIO_BLK_S_OK;
}

int slot_hold(struct ice_attachment *attachment, unsigned slot, uint64_t expect)
{
    struct engine *engine = attachment->function->engine;
    unsigned physical;
    int r;

    if (!function_slot(attachment->function, slot, &physical))
        return -EINVAL;
    r = engine_get(engine, physical, expect, NULL);
    if (!r && atomic_load(&attachment->generation) != engine_generation(engine)) {
        engine_put(engine, physical);
        r = -ENOKEY;
    }
    return r;
}

void slot_release(struct ice_attachment *attachment, unsigned slot)
{
    unsigned physical;

    function_slot(attachment->function, slot, &physical);
    engine_put(attachment->function->engine, physical);
}
