/* SPDX-License-Identifier: BSD-2-Clause */
/* Key operations, in band; and holding a slot, for callers in the process. */
#include "base/secret.h"
#include "internal.h"
#include "virtio/ice.h"
#include <errno.h>

static enum rule rule_of(const struct job *job, int err)
{
    switch (err) {
    case -EBUSY:
        return RULE_KEY_BUSY;
    case -EBADMSG:
        return RULE_KEY_BLOB;
    case -EINVAL:
        return RULE_KEY_INVALID;
    case -EOPNOTSUPP:
        return job->function->key_types & job->command.key.type ? RULE_KEY_CAPABILITY
                                                                : RULE_KEY_INVALID;
    default: /* no memory, a failed library: not the driver's fault */
        return RULE_NONE;
    }
}

/* The answer to a key operation that returned `err`, with why set. */
static uint8_t status_of(struct job *job, int err)
{
    if (!err)
        return VIRTIO_BLK_S_OK;
    job->broken = rule_of(job, err);
    return err == -EOPNOTSUPP ? VIRTIO_BLK_S_UNSUPP : VIRTIO_BLK_S_IOERR;
}

static uint8_t program(struct job *job, unsigned slot)
{
    const struct command_key *asked = &job->command.key;
    struct function_key key = {
        .type = asked->type,
        .algorithm = algorithm_by_id(asked->alg, asked->key_size),
        .data_unit = asked->data_unit,
        .dun_bytes = asked->dun_bytes,
        .len = asked->len,
        .bytes = asked->bytes,
    };

    return status_of(job, function_program(job->function, slot, &key, job->attachment->id,
                                           &job->seen.key, job->why));
}

uint8_t run_slot_operation(struct job *job)
{
    const struct ice_function *function = job->function;
    unsigned slot;

    if (!function_slot(function, job->command.slot, &slot))
        return refuse(job, RULE_SLOT_WINDOW, VIRTIO_BLK_S_IOERR, EINVAL,
                      "outside %s's window %u..%u", function->name, function->first_wire_slot,
                      function->first_wire_slot + function->slots - 1);
    job->seen.slot = slot;
    if (job->command.kind == COMMAND_KEY_PROGRAM)
        return program(job, slot);
    return status_of(job, engine_evict(function->engine, slot, &job->seen.key, job->why));
}

/* A software secret goes from secret memory straight into the driver's buffer. */
static uint8_t derive(struct job *job)
{
    const struct command_key *key = &job->command.key;
    uint8_t *secret = secret_alloc(SW_SECRET_BYTES);
    uint8_t status;

    if (!secret) {
        secret_exhausted("a software secret", job->why);
        return VIRTIO_BLK_S_IOERR;
    }
    status = status_of(
        job, engine_key_derive(job->function->engine, key->bytes, key->len, secret, job->why));
    if (status == VIRTIO_BLK_S_OK)
        status = answer(job, secret, SW_SECRET_BYTES);
    secret_free(secret);
    return status;
}

static uint8_t make_wrapped(struct job *job)
{
    const struct command_key *key = &job->command.key;
    struct engine *engine = job->function->engine;
    uint8_t blob[KEY_BLOB_BYTES];
    struct wrapped_key made;
    int r;

    if (job->command.kind == COMMAND_KEY_GENERATE)
        r = engine_key_generate(engine, &made, job->why);
    else if (job->command.kind == COMMAND_KEY_IMPORT)
        r = engine_key_import(engine, key->bytes, key->len, &made, job->why);
    else
        r = engine_key_prepare(engine, key->bytes, key->len, &made, job->why);
    if (r)
        return status_of(job, r);
    key_blob_store(made.bytes, made.len, blob);
    return answer(job, blob, sizeof(blob));
}

uint8_t run_wrapped_operation(struct job *job)
{
    bool secret = job->command.kind == COMMAND_KEY_DERIVE;
    uint8_t status =
        status_of(job, function_check_key_type(job->function, ICE_KEY_TYPE_WRAPPED, job->why));

    if (status == VIRTIO_BLK_S_OK)
        status = check_room(job, secret ? SW_SECRET_BYTES : KEY_BLOB_BYTES);
    if (status != VIRTIO_BLK_S_OK)
        return status;
    return secret ? derive(job) : make_wrapped(job);
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
