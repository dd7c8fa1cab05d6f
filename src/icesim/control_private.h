/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the control plane share: how answers are written, and who writes which. */
#ifndef ICESIM_ICESIM_CONTROL_PRIVATE_H
#define ICESIM_ICESIM_CONTROL_PRIVATE_H

#include "control_args.h"

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

/* In hexadecimal. */
void answer_fingerprint(struct document *result, const uint8_t fingerprint[FINGERPRINT_BYTES]);

/* Each reads its arguments and, without an error, writes its answer: one item. */
typedef int control_handler(struct host *host, struct reader *args, struct document *result,
                            struct ice_why *why);

/* control_lists.c */
control_handler control_function_list, control_function_add, control_function_remove;
control_handler control_slots;
/* control_keys.c */
control_handler control_slot_program, control_slot_evict;
control_handler control_key_generate, control_key_import, control_key_prepare, control_key_derive;

#endif
