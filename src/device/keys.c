/* SPDX-License-Identifier: BSD-2-Clause */
/* Key operations, in band; keys that come along; holding a slot, for callers in the process. */
#include "base/secret.h"
#include "internal.h"
#include "virtio/ice.h"
#include <errno.h>
#include <stdio.h>

static enum rule rule_of(const struct job *job, int err)
{
    switch (err) {
    case -EBUSY: /* a profile finds its slot busy while what a reset refuses is on its way out */
        return job->request->claim ? RULE_NONE : RULE_KEY_BUSY;
    case -EBADMSG:
        return RULE_KEY_BLOB;
    case -EINVAL:
        return RULE_KEY_INVALID;
    case -EOPNOTSUPP:
        return job->function->key_types & job->command.key.type ? RULE_KEY_CAPABILITY
                                                                : RULE_KEY_INVALID;
    default: /* no memory, a failed library, a claim that comes late: not the driver's fault */
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

static struct function_key asked_key(const struct job *job)
{
    const struct command_key *asked = &job->command.key;

    return (struct function_key){
        .type = asked->type,
        .algorithm = algorithm_by_id(asked->alg, asked->key_size),
        .data_unit = asked->data_unit,
        .dun_bytes = asked->dun_bytes,
        .len = asked->len,
        .bytes = asked->bytes,
    };
}

uint8_t refuse_slot(struct job *job)
{
    const struct ice_function *function = job->function;
    char subject[sizeof("slot 4294967295 is ")] = ""; /* key operations name it themselves */

    if (!function->slots)
        return refuse(job, RULE_SLOT_WINDOW, VIRTIO_BLK_S_IOERR, EINVAL,
                      "%s has no slots: its keys come with each request", function->name);
    if (job->command.tagged)
        snprintf(subject, sizeof(subject), "slot %u is ", job->command.slot);
    return refuse(job, RULE_SLOT_WINDOW, VIRTIO_BLK_S_IOERR, EINVAL, "%soutside %s's window %u..%u",
                  subject, function->name, function->first_wire_slot,
                  function->first_wire_slot + function->slots - 1);
}

/* No driver can know what another one claims. */
static uint8_t slot_status(struct job *job, int err, const struct slot_key *key)
{
    uint8_t status = status_of(job, err);

    if (err == -EBUSY && key->claimer && key->claimer != job->attachment->id)
        job->broken = RULE_NONE;
    if (!err)
        job->seen.key = *key;
    return status;
}

uint8_t run_slot_operation(struct job *job)
{
    const struct ice_function *function = job->function;
    struct ice_attachment *attachment = job->attachment;
    const struct slot_owner owner = {attachment->id, job->request->claim, attachment->name};
    struct function_key key;
    struct slot_key held;
    unsigned slot;
    int r;

    if (!function_slot(function, job->command.slot, &slot))
        return refuse_slot(job);
    job->seen.slot = slot;
    if (job->command.kind == COMMAND_KEY_EVICT) {
        r = engine_evict(function->engine, slot, &owner, &held, job->why);
    } else {
        key = asked_key(job);
        r = function_program(job->function, slot, &key, &owner, &held, job->why);
        if (!r)
            attachment_programmed(attachment, job->request->acknowledges);
    }
    return slot_status(job, r, &held);
}

/* ---- keys that come with each request ---- */

uint8_t take_key(struct job *job, unsigned *slot)
{
    struct function_key key = asked_key(job);

    return status_of(job, function_get_inline(job->function, &key, slot, &job->seen.key, job->why));
}

uint8_t run_forget(struct job *job)
{
    struct function_key key = asked_key(job);

    return status_of(job, function_forget_inline(job->function, &key, job->why));
}

/* ---- wrapped keys ---- */

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
    struct slot_key key;
    unsigned physical;
    int r;

    if (!function_slot(attachment->function, slot, &physical))
        return -EINVAL;
    if (engine_get(engine, physical, expect, &key))
        return -ENOKEY;
    if (key.claimer && key.claimer != attachment->id)
        r = -EBUSY;
    else
        r = atomic_load(&attachment->generation) == engine_generation(engine) ? 0 : -ENOKEY;
    if (r)
        engine_put(engine, physical);
    return r;
}

void slot_release(struct ice_attachment *attachment, unsigned slot)
{
    unsigned physical;

    function_slot(attachment->function, slot, &physical);
    engine_put(attachment->function->engine, physical);
}

bool slot_programmed(const struct ice_attachment *attachment, unsigned slot)
{
    struct slot_info info = {0};
    unsigned physical;

    if (function_slot(attachment->function, slot, &physical))
        engine_slot_info(attachment->function->engine, physical, &info);
    return info.programmed;
}
