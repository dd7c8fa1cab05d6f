/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The drafts' out-of-band key path: a secure monitor that a function's VM calls, which hands keys
 * to physical slots and holds each VM to its window, unless it was told to trust. What it programs
 * belongs to no attachment, so a device reset leaves it.
 *
 * Key bytes are read where they arrived, in the connection's secret memory.
 */
#include "base/bytes.h"
#include "base/secret.h"
#include "control_private.h"
#include "virtio/ice.h"
#include <errno.h>

/* Whether the monitor lets `function`'s VM have this slot. */
static int check_slot(const struct host *host, const struct ice_function *function, unsigned slot,
                      struct ice_why *why)
{
    unsigned first, count, slots = engine_slots(host->engine);
    function_slot_window(function, &first, &count);
    if (slot >= first && slot - first < count)
        return 0;
    if (host->params.unsafe_monitor)
        return slot < slots ? 0
                            : why_set(why, EINVAL, "slot %u is outside the engine's slots 0..%u",
                                      slot, slots - 1);
    if (!count)
        return why_set(why, EPERM, "the secure monitor holds %s to no slot",
                       function_name(function));
    return why_set(why, EPERM, "the secure monitor holds %s to slots %u..%u",
                   function_name(function), first, first + count - 1);
}

int parse_key_use(const struct argument *alg, const char *key_type,
                  const struct algorithm **algorithm, unsigned *type, struct ice_why *why)
{
    *algorithm = algorithm_by_name(alg->text);
    if (!*algorithm)
        return why_set(why, EINVAL, "alg \"%s\" is not known", alg->text);
    if (!strcmp(key_type, "raw"))
        *type = ICE_KEY_TYPE_RAW;
    else if (!strcmp(key_type, "wrapped"))
        *type = ICE_KEY_TYPE_WRAPPED;
    else
        return why_set(why, EINVAL, "key_type \"%s\" is neither raw nor wrapped", key_type);
    return 0;
}

int control_slot_program(const struct control *control, struct reader *args,
                         struct document *result, struct ice_why *why)
{
    enum { FUNCTION, SLOT, ALG, DATA_UNIT, KEY_TYPE, KEY, COUNT };
    struct argument arguments[COUNT] = {
        [FUNCTION] = ARGUMENT_FUNCTION,
        [SLOT] = {.key = "slot", .type = ARGUMENT_UINT, .max = UINT32_MAX},
        [ALG] = {.key = "alg", .max = 32},
        [DATA_UNIT] = {.key = "data_unit", .type = ARGUMENT_UINT, .max = UINT32_MAX},
        [KEY_TYPE] = {.key = "key_type", .max = 32},
        [KEY] = ARGUMENT_KEY,
    };
    struct host_function *function;
    struct slot_key now;
    int err = arguments_read(args, arguments, COUNT, why);
    if (!err)
        err = argument_function(control->host, &arguments[FUNCTION], &function, why);
    if (err)
        return err;
    struct function_key key = {.data_unit = (uint32_t)arguments[DATA_UNIT].number,
                               .bytes = arguments[KEY].bytes,
                               .len = arguments[KEY].len};
    unsigned slot = (unsigned)arguments[SLOT].number;
    err = check_slot(control->host, function->function, slot, why);
    if (!err)
        err = parse_key_use(&arguments[ALG], arguments[KEY_TYPE].text, &key.algorithm, &key.type,
                            why);
    if (!err)
        err = function_program(function->function, slot, &key, NULL, &now, why);
    host_let_go(control->host, function);
    if (err)
        return err;
    document_map(result, 1);
    answer_fingerprint(result, now.fingerprint);
    return 0;
}

int control_slot_evict(const struct control *control, struct reader *args, struct document *result,
                       struct ice_why *why)
{
    struct argument arguments[] = {
        ARGUMENT_FUNCTION,
        {.key = "slot", .type = ARGUMENT_UINT, .max = UINT32_MAX},
    };
    struct host_function *function;
    int err = arguments_read(args, arguments, ARRAY_SIZE(arguments), why);
    if (!err)
        err = argument_function(control->host, &arguments[0], &function, why);
    if (err)
        return err;
    unsigned slot = (unsigned)arguments[1].number;
    err = check_slot(control->host, function->function, slot, why);
    if (!err)
        err = engine_evict(control->host->engine, slot, NULL, NULL, why);
    host_let_go(control->host, function);
    if (!err)
        document_map(result, 0);
    return err;
}

/* ---- hardware-wrapped keys ---- */

/* `key`: room for a key, or NULL for a message without one. */
static int read_key_message(struct host *host, struct reader *args, struct argument *key,
                            struct ice_why *why)
{
    struct argument arguments[] = {ARGUMENT_FUNCTION, ARGUMENT_KEY};
    struct host_function *function;
    int err = arguments_read(args, arguments, key ? 2 : 1, why);
    if (!err)
        err = argument_function(host, &arguments[0], &function, why);
    if (err)
        return err;
    err = function_check_key_type(function->function, ICE_KEY_TYPE_WRAPPED, why);
    host_let_go(host, function);
    if (key)
        *key = arguments[1];
    return err;
}

static void answer_key(struct document *result, const uint8_t *key, size_t len)
{
    document_map(result, 1);
    document_text(result, "key");
    document_bytes(result, key, len);
}

int control_key_generate(const struct control *control, struct reader *args,
                         struct document *result, struct ice_why *why)
{
    struct wrapped_key key = {.len = 0};
    int err = read_key_message(control->host, args, NULL, why);
    if (!err)
        err = engine_key_generate(control->host->engine, &key, why);
    if (!err)
        answer_key(result, key.bytes, key.len);
    return err;
}

int control_key_import(const struct control *control, struct reader *args, struct document *result,
                       struct ice_why *why)
{
    struct argument raw;
    struct wrapped_key key = {.len = 0};
    int err = read_key_message(control->host, args, &raw, why);
    if (!err)
        err = engine_key_import(control->host->engine, raw.bytes, raw.len, &key, why);
    if (!err)
        answer_key(result, key.bytes, key.len);
    return err;
}

int control_key_prepare(const struct control *control, struct reader *args, struct document *result,
                        struct ice_why *why)
{
    struct argument long_term;
    struct wrapped_key key = {.len = 0};
    int err = read_key_message(control->host, args, &long_term, why);
    if (!err)
        err = engine_key_prepare(control->host->engine, long_term.bytes, long_term.len, &key, why);
    if (!err)
        answer_key(result, key.bytes, key.len);
    return err;
}

int control_key_derive(const struct control *control, struct reader *args, struct document *result,
                       struct ice_why *why)
{
    struct argument ephemeral;
    int err = read_key_message(control->host, args, &ephemeral, why);
    if (err)
        return err;
    uint8_t *secret = secret_alloc(SW_SECRET_BYTES);
    if (!secret)
        return secret_exhausted("a software secret", why);
    err = engine_key_derive(control->host->engine, ephemeral.bytes, ephemeral.len, secret, why);
    if (!err)
        answer_key(result, secret, SW_SECRET_BYTES);
    secret_free(secret);
    return err;
}
