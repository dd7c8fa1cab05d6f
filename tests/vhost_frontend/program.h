/* SPDX-License-Identifier: BSD-2-Clause */
/* Inside of the program vhost-frontend: what its commands share. */
#ifndef ICESIM_TESTS_FRONTEND_PROGRAM_H
#define ICESIM_TESTS_FRONTEND_PROGRAM_H

#include "base/algorithm.h"
#include "base/json.h"
#include "frontend.h"

#define TRANSFER_MAX (1u << 20) /* bytes of data in a request of read and write */

struct program {
    struct frontend_options options;
    struct frontend *frontend;
    struct channel *channel;
    struct function_config config;
};

/* Options of a command; each takes those that it needs. */
struct arguments {
    const char *object; /* SLOT or FILE */
    uint64_t sector, count;
    bool tagged;
    uint32_t slot;
    struct dun dun; /* of the first sector */
    const struct algorithm *algorithm;
    uint32_t data_unit;
    const char *key_file;
    uint64_t seed, requests, kills;
    unsigned depth, reads; /* reads: percent */
    uint32_t block;        /* bytes */
    const char *image;     /* file for the plaintext that there should be */
    bool unlimited;        /* until a line comes on standard input */
};

/*
 * A command: 0 or -errno; what it found goes into `json`, an open object. -EIO: the device answered
 * IOERR; -EILSEQ: data are not what they should be.
 */
typedef int command_run(struct program *program, const struct arguments *arguments,
                        struct json *json, struct ice_why *why);

command_run run_features, run_config, run_read, run_write, run_flush, run_discard, run_zero;
command_run run_program, run_evict, run_await_change, run_stop, run_io, run_keys;

/* Programs `slot` with the key of the file, over the channel. */
int program_slot(struct program *program, uint32_t slot, const struct arguments *arguments,
                 struct ice_why *why);

/* The command that does so; the key is secret memory, and the caller's. 0 or -errno. */
int key_command(const struct program *program, uint32_t slot, const struct arguments *arguments,
                struct command *command, uint8_t **key, struct ice_why *why);

/* Connects again after the back end died, and says how much was in flight then. */
struct left_behind {
    unsigned in_ring, in_log;
};

int reconnect(struct program *program, struct left_behind *left, struct ice_why *why);

/* Kills the process that serves us, in the midst of what it was just given. */
void kill_back_end(const struct program *program, uint64_t *random);

/* xorshift64*; the state is never 0. */
static inline uint64_t random_next(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * UINT64_C(0x2545f4914f6cdd1d);
}

#endif
