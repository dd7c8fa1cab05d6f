/* SPDX-License-Identifier: BSD-2-Clause */
/* The functions there are, adding and removing them, and their slots. */
#include "base/bytes.h"
#include "base/units.h"
#include "control.h"
#include "control_private.h"
#include "virtio/ice.h"
#include <errno.h>
#include <stdio.h>

static void list_key_types(unsigned types, struct document *result)
{
    bool raw = types & ICE_KEY_TYPE_RAW, wrapped = types & ICE_KEY_TYPE_WRAPPED;
    document_text(result, "key_types");
    document_array(result, (size_t)raw + wrapped);
    if (raw)
        document_text(result, "raw");
    if (wrapped)
        document_text(result, "wrapped");
}

static void list_function(const struct host_function *entry, struct document *result)
{
    struct ice_function *function = entry->function;
    unsigned first, count;
    function_slot_window(function, &first, &count);
    document_map(result, 13);
    answer_text(result, "name", function_name(function));
    answer_text(result, "dialect", function_dialect(function)->name);
    answer_bool(result, "strict", function_is_strict(function));
    answer_text(result, "addressing",
                function_addressing(function) == SLOTS_VIRTUAL ? "virtual" : "physical");
    document_text(result, "slots");
    document_map(result, 2);
    answer_uint(result, "first", first);
    answer_uint(result, "count", count);
    answer_hex(result, "first_sector", entry->first_byte / SECTOR_SIZE);
    answer_hex(result, "sectors", function_sectors(function));
    if (entry->image)
        answer_text(result, "image", entry->image);
    else
        answer_null(result, "image");
    answer_bool(result, "read_only", function_is_read_only(function));
    answer_text(result, "keys", function_keys_inline(function) ? "inline" : "slots");
    list_key_types(function_key_types(function), result);
    answer_bool(result, "integrity", function_has_integrity(function));
    answer_uint(result, "clients", function_attachments(function));
}

/* Functions come and go meanwhile, and their number stands before them: so it is counted first. */
int control_function_list(const struct control *control, struct reader *args,
                          struct document *result, struct ice_why *why)
{
    struct document entries = {0};
    size_t n = 0;
    int err = arguments_read(args, NULL, 0, why);
    if (err)
        return err;
    for (struct host_function *f = host_first(control->host); f;
         f = host_next(control->host, f), n++)
        list_function(f, &entries);
    document_array(result, n);
    document_append(result, &entries);
    document_free(&entries);
    return 0;
}

int control_function_add(const struct control *control, struct reader *args,
                         struct document *result, struct ice_why *why)
{
    struct argument spec_text = {.key = "function", .max = FUNCTION_SPEC_MAX};
    struct argument name = ARGUMENT_FUNCTION;
    struct function_spec spec;
    struct host_function *function;
    int err = arguments_read(args, &spec_text, 1, why);
    if (!err)
        err = function_spec_parse(spec_text.text, &spec, why);
    if (!err)
        err = host_add(control->host, &spec, why);
    if (err)
        return err;
    snprintf(name.text, sizeof(name.text), "%s", spec.name);
    err = argument_function(control->host, &name, &function, why);
    if (err)
        return err; /* it is gone already */
    list_function(function, result);
    host_let_go(control->host, function);
    return 0;
}

int control_function_remove(const struct control *control, struct reader *args,
                            struct document *result, struct ice_why *why)
{
    struct argument name = ARGUMENT_FUNCTION;
    int err = arguments_read(args, &name, 1, why);
    if (!err)
        err = host_remove(control->host, name.text, why);
    if (!err)
        document_map(result, 0);
    return err;
}

int control_function_resize(const struct control *control, struct reader *args,
                            struct document *result, struct ice_why *why)
{
    struct argument arguments[] = {ARGUMENT_FUNCTION, {.key = "size", .max = 32}};
    struct host_function *function;
    uint64_t size = 0;
    int err = arguments_read(args, arguments, ARRAY_SIZE(arguments), why);
    if (!err)
        err = argument_hex(&arguments[1], &size, why);
    if (!err)
        err = host_resize(control->host, arguments[0].text, size, &function, why);
    if (err)
        return err;
    list_function(function, result);
    host_let_go(control->host, function);
    return 0;
}

/* ---- slots ---- */

void answer_fingerprint(struct document *result, const uint8_t fingerprint[FINGERPRINT_BYTES])
{
    char text[2 * FINGERPRINT_BYTES + 1];
    for (size_t i = 0; i < FINGERPRINT_BYTES; i++)
        snprintf(text + 2 * i, 3, "%02x", fingerprint[i]);
    answer_text(result, "fingerprint", text);
}

static void list_slot(unsigned wire, unsigned physical, const struct slot_info *info,
                      struct document *result)
{
    document_map(result, 9);
    answer_uint(result, "slot", wire);
    answer_bool(result, "programmed", info->programmed);
    if (info->programmed) {
        answer_text(result, "alg", info->algorithm->name);
        answer_uint(result, "data_unit", info->data_unit);
        answer_text(result, "key_type", info->wrapped ? "wrapped" : "raw");
        answer_fingerprint(result, info->fingerprint);
    } else {
        answer_null(result, "alg");
        answer_null(result, "data_unit");
        answer_null(result, "key_type");
        answer_null(result, "fingerprint");
    }
    if (info->claimer)
        answer_text(result, "owner", info->claimer_name);
    else
        answer_null(result, "owner");
    answer_uint(result, "in_flight", info->in_flight);
    answer_uint(result, "physical", physical);
}

void control_slot_list(const struct host_function *entry, struct document *result)
{
    const struct ice_function *function = entry->function;
    unsigned first, count;
    function_slot_window(function, &first, &count);
    document_array(result, count);
    for (unsigned slot = first; slot < first + count; slot++) {
        struct slot_info info;
        engine_slot_info(function_engine(function), slot, &info);
        list_slot(function_wire_slot(function, slot), slot, &info, result);
    }
}

int control_slots(const struct control *control, struct reader *args, struct document *result,
                  struct ice_why *why)
{
    struct argument name = ARGUMENT_FUNCTION;
    struct host_function *function;
    int err = arguments_read(args, &name, 1, why);
    if (!err)
        err = argument_function(control->host, &name, &function, why);
    if (err)
        return err;
    control_slot_list(function, result);
    host_let_go(control->host, function);
    return 0;
}
