/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Each key operation both ways. Where the path was chosen for the user, a slot keeps its name on
 * the function's wire, and the slot list says which physical one that is: so no choice of path
 * makes a number mean another slot.
 */
#include "key_path.h"
#include "base/algorithm.h"
#include "base/bytes.h"
#include "base/secret.h"
#include "slot_rows.h"
#include "virtio/ice.h"

#include <errno.h>

/* The widest DUN that a cipher of the engine uses, in bytes. */
#define IV_BYTES 16u

enum status read_via(const struct icectl *icectl, const struct arg_str *option, enum via *via)
{
    const char *text = option->sval[0];

    if (!option->count)
        return STATUS_DONE;
    if (strcmp(text, "in-band") && strcmp(text, "out-of-band"))
        return fail(icectl, STATUS_USAGE, "--via \"%.32s\" is none of in-band, out-of-band", text);
    *via = *text == 'i' ? VIA_IN_BAND : VIA_OUT_OF_BAND;
    return STATUS_DONE;
}

/* Leaves the path closed when the function takes no keys in band. */
static enum status open_in_band(const struct icectl *icectl, struct key_path *path)
{
    enum status status = device_open(icectl, &path->device);

    if (status)
        return status;
    path->name = path->device.name;
    path->in_band = channel_has_key_commands(path->device.channel);
    if (!path->in_band)
        device_close(&path->device);
    return STATUS_DONE;
}

static enum status open_out_of_band(const struct icectl *icectl, struct key_path *path)
{
    struct ice_why why;
    enum status status = connect_control(icectl, &path->control);
    int err;

    if (status || *path->name.text)
        return status;
    err = pick_function(icectl, path->control, &path->name, &why);
    if (err) {
        status = fail_call(icectl, path->control, err, &why);
        client_close(path->control);
    }
    return status;
}

enum status key_path_open(const struct icectl *icectl, enum via via, struct key_path *path)
{
    enum status status;

    *path = (struct key_path){.wire_slots = via != VIA_OUT_OF_BAND};
    if (via == VIA_OUT_OF_BAND)
        return open_out_of_band(icectl, path);
    status = open_in_band(icectl, path);
    if (status || path->in_band)
        return status;
    if (via == VIA_IN_BAND)
        return fail(icectl, STATUS_REFUSED, "%s takes no keys in band", path->name.text);
    return open_out_of_band(icectl, path);
}

void key_path_close(struct key_path *path)
{
    if (path->in_band)
        device_close(&path->device);
    else
        client_close(path->control);
}

enum status tell_key_operation(const struct icectl *icectl, enum status status,
                               const struct ice_why *why)
{
    if (!status)
        return STATUS_DONE;
    return fail_why(icectl, status == STATUS_CONNECTION ? STATUS_CONNECTION : STATUS_REFUSED, why);
}

/* ---- out of band ---- */

/* Arguments [0] is the function. *result, to be freed, is NULL after a failure. */
static enum status call(struct key_path *path, enum message message,
                        struct control_argument *arguments, unsigned n, uint8_t **result,
                        size_t *len, struct ice_why *why)
{
    int err;

    arguments[0] = argument_text("function", path->name.text);
    *result = NULL;
    err = control_call(path->control, message, arguments, n, result, len, why);
    return err ? call_status(path->control, err) : STATUS_DONE;
}

static enum status list_slots(struct key_path *path, uint8_t **rows, size_t *len,
                              struct ice_why *why)
{
    struct control_argument arguments[1];

    return call(path, MESSAGE_SLOT_LIST, arguments, 1, rows, len, why);
}

static enum status to_physical(struct key_path *path, uint32_t slot, uint64_t *physical,
                               struct ice_why *why)
{
    struct slot_row row;
    uint8_t *rows;
    size_t len;
    bool found = false;
    enum status status;
    int err;

    *physical = slot;
    if (!path->wire_slots)
        return STATUS_DONE;
    status = list_slots(path, &rows, &len, why);
    if (status)
        return status;
    err = find_slot_row((struct reader){rows, rows + len}, slot, &row, &found, why);
    secret_free(rows);
    if (err)
        return call_status(path->control, err);
    if (!found) {
        why_set(why, EINVAL, "%s has no slot %u", path->name.text, slot);
        return STATUS_REFUSED;
    }
    *physical = row.physical;
    return STATUS_DONE;
}

static enum status program_out_of_band(struct key_path *path, uint64_t physical,
                                       const struct command_key *key, struct ice_why *why)
{
    const char *type = key->type == ICE_KEY_TYPE_WRAPPED ? "wrapped" : "raw";
    struct control_argument arguments[] = {
        {0},
        argument_number("slot", physical),
        argument_text("alg", algorithm_by_id(key->alg, key->key_size)->name),
        argument_number("data_unit", key->data_unit),
        argument_text("key_type", type),
        argument_bytes("key", key->bytes, key->len),
    };
    uint8_t *result;
    size_t len;
    enum status status =
        call(path, MESSAGE_SLOT_PROGRAM, arguments, ARRAY_SIZE(arguments), &result, &len, why);

    secret_free(result);
    return status;
}

static enum status evict_out_of_band(struct key_path *path, uint64_t physical, struct ice_why *why)
{
    struct control_argument arguments[] = {{0}, argument_number("slot", physical)};
    uint8_t *result;
    size_t len;
    enum status status =
        call(path, MESSAGE_SLOT_EVICT, arguments, ARRAY_SIZE(arguments), &result, &len, why);

    secret_free(result);
    return status;
}

/* The key in {"key": bytes}. */
static int read_key(struct reader result, uint8_t *key, size_t *len, struct ice_why *why)
{
    uint64_t pairs;
    const char *name = NULL;
    const uint8_t *bytes;
    size_t name_len = 0;
    int err = read_map(&result, &pairs, why);

    if (!err)
        err = read_text(&result, &name, &name_len, why);
    if (!err)
        err = read_bytes(&result, &bytes, len, why);
    if (!err &&
        (pairs != 1 || name_len != 3 || memcmp(name, "key", 3) != 0 || *len > ICE_KEY_FIELD))
        err = why_set(why, EPROTO, "the server's answer is no key");
    if (!err)
        memcpy(key, bytes, *len);
    return err;
}

static enum status convert_out_of_band(struct key_path *path, enum command_kind kind,
                                       const uint8_t *key, size_t len, uint8_t *answer,
                                       size_t *answer_len, struct ice_why *why)
{
    enum message message = kind == COMMAND_KEY_GENERATE  ? MESSAGE_KEY_GENERATE
                           : kind == COMMAND_KEY_IMPORT  ? MESSAGE_KEY_IMPORT
                           : kind == COMMAND_KEY_PREPARE ? MESSAGE_KEY_PREPARE
                                                         : MESSAGE_KEY_DERIVE;
    struct control_argument arguments[] = {{0}, argument_bytes("key", key, len)};
    uint8_t *result;
    size_t result_len;
    enum status status = call(path, message, arguments, key ? 2 : 1, &result, &result_len, why);
    int err;

    if (status)
        return status;
    err = read_key((struct reader){result, result + result_len}, answer, answer_len, why);
    secret_free(result);
    return err ? call_status(path->control, err) : STATUS_DONE;
}

/* ---- either ---- */

static enum status run(struct key_path *path, const struct command *command, uint8_t *answer,
                       size_t answer_len, struct ice_why *why)
{
    return exchange_run(&path->device, command, NULL, 0, answer, answer_len, why);
}

enum status key_path_program(struct key_path *path, uint32_t slot, const struct command_key *key,
                             struct ice_why *why)
{
    struct command command = {.kind = COMMAND_KEY_PROGRAM, .slot = slot, .key = *key};
    uint64_t physical;
    enum status status;

    if (path->in_band) {
        command.key.dun_bytes = (unsigned)min_u64(path->device.config.dun_bytes, IV_BYTES);
        return run(path, &command, NULL, 0, why);
    }
    status = to_physical(path, slot, &physical, why);
    return status ? status : program_out_of_band(path, physical, key, why);
}

enum status key_path_evict(struct key_path *path, uint32_t slot, struct ice_why *why)
{
    const struct command command = {.kind = COMMAND_KEY_EVICT, .slot = slot};
    uint64_t physical;
    enum status status;

    if (path->in_band)
        return run(path, &command, NULL, 0, why);
    status = to_physical(path, slot, &physical, why);
    return status ? status : evict_out_of_band(path, physical, why);
}

/* What came of several evicts. */
struct outcome {
    enum status status;
    uint32_t culprit;
    struct ice_why why;
};

static void evict_one(struct key_path *path, uint32_t slot, struct outcome *outcome)
{
    struct ice_why why;
    enum status status = key_path_evict(path, slot, &why);

    if (status == STATUS_CONNECTION || (status && !outcome->status))
        *outcome = (struct outcome){status, slot, why};
}

static void evict_listed(struct key_path *path, struct outcome *outcome)
{
    struct slot_row row;
    struct reader reader;
    uint64_t rows;
    uint8_t *bytes;
    size_t len;
    int err;

    outcome->status = list_slots(path, &bytes, &len, &outcome->why);
    if (outcome->status)
        return;
    reader = (struct reader){bytes, bytes + len};
    err = read_array(&reader, &rows, &outcome->why);
    for (; !err && rows && outcome->status != STATUS_CONNECTION; rows--) {
        err = read_slot_row(&reader, &row, &outcome->why);
        if (!err)
            evict_one(path, (uint32_t)(path->wire_slots ? row.slot : row.physical), outcome);
    }
    if (err)
        outcome->status = call_status(path->control, err);
    secret_free(bytes);
}

enum status key_path_evict_all(struct key_path *path, uint32_t *culprit, struct ice_why *why)
{
    const struct function_config *config = &path->device.config;
    struct outcome outcome = {0};

    if (!path->in_band)
        evict_listed(path, &outcome);
    else
        for (unsigned i = 0; outcome.status != STATUS_CONNECTION && i < config->max_slots; i++)
            evict_one(path, config->slot_offset + i, &outcome);
    *culprit = outcome.culprit;
    *why = outcome.why;
    return outcome.status;
}

/* The blob that came from the device, as the key alone. */
static enum status unpack(uint8_t *answer, size_t *len, struct ice_why *why)
{
    const uint8_t *key;
    int loaded = key_blob_load(answer, &key);

    if (loaded < 0) {
        why_set(why, -loaded, "the device's answer is no key");
        return STATUS_REFUSED;
    }
    *len = (size_t)loaded;
    memmove(answer, key, *len);
    return STATUS_DONE;
}

enum status key_path_convert(struct key_path *path, enum command_kind kind, const uint8_t *key,
                             size_t len, uint8_t answer[static KEY_BLOB_BYTES], size_t *answer_len,
                             struct ice_why *why)
{
    const struct command command = {.kind = kind, .key = {.len = (uint16_t)len, .bytes = key}};
    bool secret = kind == COMMAND_KEY_DERIVE;
    enum status status;

    if (!path->in_band)
        return convert_out_of_band(path, kind, key, len, answer, answer_len, why);
    *answer_len = secret ? SW_SECRET_BYTES : KEY_BLOB_BYTES;
    status = run(path, &command, answer, *answer_len, why);
    return status || secret ? status : unpack(answer, answer_len, why);
}
