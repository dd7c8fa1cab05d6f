/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A function on a bench: an engine, a store, a function vm0 with statistics, and attachments that
 * are negotiated as a driver would. Failures of the rig itself end the program.
 */
#ifndef ICESIM_TESTS_RIG_H
#define ICESIM_TESTS_RIG_H

#include "device/device.h"
#include "observe/stats.h"
#include "virtio/ice.h"
#include "virtio/virtio.h"

struct rig {
    struct engine *engine;
    struct store *store;
    struct stats *stats;
    struct observer *observers[3]; /* a test may put one of its own second */
    struct ice_function *function;
};

/* Every bit that vm0 offers. */
#define RIG_ALL UINT64_MAX
/* VERSION_1 alone: no FLUSH, no ICE. */
#define RIG_BARE UINT64_C(0)

/* A rig over `store` (owned by the rig; NULL: RAM of `sectors`). The dialect is ice2. */
void rig_open(struct rig *rig, unsigned slots, uint64_t sectors, struct store *store);
/*
 * The same with a function as `params` has it. The rig fills in name, engine, store, observers; of
 * what is 0: the dialect (ice2), the slots (all, unless it can have none) and the sectors (all).
 */
void rig_open_as(struct rig *rig, unsigned slots, uint64_t sectors, struct store *store,
                 struct function_params params);
void rig_close(struct rig *rig);

/* An attachment with `wanted` & offered | VERSION_1 negotiated, DRIVER_OK. */
struct ice_attachment *rig_attach(struct rig *rig, uint64_t wanted);

/* What came back of a request. */
struct answer {
    size_t written;
    int status; /* -1: none was written */
    struct ice_why why;
};

/*
 * Sends a request and waits for its end. `head`, `out` readable; `in` writable, then the status.
 * Lengths of 0 leave a part out.
 */
struct answer rig_send(struct ice_attachment *attachment, const void *head, size_t head_len,
                       const void *out, size_t out_len, void *in, size_t in_len);

/* The same on a queue. */
struct answer rig_send_on(struct ice_attachment *attachment, uint16_t queue, const void *head,
                          size_t head_len, const void *out, size_t out_len, void *in,
                          size_t in_len);

/* The configuration space, understood. */
struct function_config rig_config(struct ice_attachment *attachment);

/* The queue of a command: the control queue where the dialect sends it there. */
uint16_t rig_queue(struct ice_attachment *attachment, enum command_kind kind);

/* The same for a command, built by the dialect for the attachment's features. */
struct answer rig_run(struct ice_attachment *attachment, const struct command *command,
                      const void *out, size_t out_len, void *in, size_t in_len);

/* KEY_PROGRAM of a raw key. */
struct command rig_key(unsigned slot, const char *algorithm, uint32_t data_unit,
                       const uint8_t *bytes);

/* Programs `slot` with the key bytes first, first + 1, … */
struct answer rig_program(struct ice_attachment *attachment, unsigned slot, const char *algorithm,
                          uint32_t data_unit, uint8_t first);
struct answer rig_evict(struct ice_attachment *attachment, unsigned slot);

struct command rig_read(uint64_t sector);
struct command rig_write(uint64_t sector);
/* `command` through `slot` at `dun`. */
struct command rig_tagged(struct command command, unsigned slot, uint64_t dun);

#endif
