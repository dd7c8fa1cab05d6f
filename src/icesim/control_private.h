/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the control plane share: how answers are written, and who writes which. */
#ifndef ICESIM_ICESIM_CONTROL_PRIVATE_H
#define ICESIM_ICESIM_CONTROL_PRIVATE_H

#include "blkcrypto/disk.h"
#include "control.h"
#include "control_args.h"
#include "virtio/ice.h"

static inline void answer_text(struct document *result, const char *key, const char *value)
{
    document_text(result, key);
    document_text(result, value);
}

static inline void answer_uint(struct document *result, const char *key, uint64_t value)
{
    document_text(result, key);
    document_uint(result, value);
}

static inline void answer_hex(struct document *result, const char *key, uint64_t value)
{
    document_text(result, key);
    document_hex(result, value);
}

static inline void answer_bool(struct document *result, const char *key, bool value)
{
    document_text(result, key);
    document_bool(result, value);
}

static inline void answer_null(struct document *result, const char *key)
{
    document_text(result, key);
    document_null(result);
}

/* A key's bytes, as an argument. */
#define ARGUMENT_KEY                                                                               \
    {                                                                                              \
        .key = "key", .type = ARGUMENT_BYTES, .max = ICE_KEY_FIELD                                 \
    }

/* What the two words stand for, `type` being an ICE_KEY_TYPE_*. 0 or -EINVAL. */
int parse_key_use(const struct argument *alg, const char *key_type,
                  const struct algorithm **algorithm, unsigned *type, struct ice_why *why);

/* In hexadecimal. */
void answer_fingerprint(struct document *result, const uint8_t fingerprint[FINGERPRINT_BYTES]);

/* Null, unless it `has` one. */
void answer_key_fingerprint(struct document *result, bool has, const uint8_t *fingerprint);
const char *disk_path_name(enum disk_path path);

/* Each reads its arguments and, without an error, writes its answer: one item. */
typedef int control_handler(const struct control *control, struct reader *args,
                            struct document *result, struct ice_why *why);

/* control_lists.c */
control_handler control_function_list, control_function_add, control_function_remove;
control_handler control_function_resize;
control_handler control_slots;
/* control_keys.c */
control_handler control_slot_program, control_slot_evict;
control_handler control_key_generate, control_key_import, control_key_prepare, control_key_derive;
/* control_views.c */
control_handler control_view_add, control_view_list, control_view_remove;
control_handler control_layer_add, control_layer_list, control_layer_remove;
/* control_stats.c */
control_handler control_stats;

#endif
