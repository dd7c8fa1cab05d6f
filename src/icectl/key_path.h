/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The way that keys take to a function: in band, as a driver sends them in the function's dialect;
 * or out of band, over the control socket, which stands for the secure monitor of the drafts that
 * define no key commands. Key bytes stay in secret memory.
 */
#ifndef ICESIM_ICECTL_KEY_PATH_H
#define ICESIM_ICECTL_KEY_PATH_H

#include "args.h"
#include "device.h"

enum via {
    VIA_EITHER, /* in band where the function takes key commands, else out of band */
    VIA_IN_BAND,
    VIA_OUT_OF_BAND,
};

struct key_path {
    bool in_band;
    bool wire_slots; /* slots are named as on the function's wire; else physical */
    struct device device;
    struct client *control;
    struct name name;
};

/* The value of --via, if it was given; else *via stays. */
enum status read_via(const struct icectl *icectl, const struct arg_str *option, enum via *via);

/* The failure is told. Close with key_path_close. */
enum status key_path_open(const struct icectl *icectl, enum via via, struct key_path *path);
void key_path_close(struct key_path *path);

/*
 * The operations. STATUS_DONE, or what tell_key_operation makes the exit status of, with the cause
 * in `why`, untold.
 */

/* Programs `slot`; key->data_unit, type, alg, key_size, len and bytes are set. */
enum status key_path_program(struct key_path *path, uint32_t slot, const struct command_key *key,
                             struct ice_why *why);

enum status key_path_evict(struct key_path *path, uint32_t slot, struct ice_why *why);

/* Evicts all that can be; `why` is the first refusal's, *culprit its slot. */
enum status key_path_evict_all(struct key_path *path, uint32_t *culprit, struct ice_why *why);

/*
 * COMMAND_KEY_GENERATE, _IMPORT, _PREPARE, _DERIVE of a key, none for GENERATE. `answer`, in secret
 * memory, gets *answer_len bytes on success, and may hold some of them after a failure.
 */
enum status key_path_convert(struct key_path *path, enum command_kind kind, const uint8_t *key,
                             size_t len, uint8_t answer[static KEY_BLOB_BYTES], size_t *answer_len,
                             struct ice_why *why);

/* A key operation that was refused is STATUS_REFUSED, whatever the device's word for it. */
enum status tell_key_operation(const struct icectl *icectl, enum status status,
                               const struct ice_why *why);

#endif
