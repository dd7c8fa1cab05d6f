/* SPDX-License-Identifier: BSD-2-Clause */
/* Commands of one request, or of one after the other. */
#include "base/bytes.h"
#include "base/parse.h"
#include "base/secret.h"
#include "base/units.h"
#include "blkcrypto/exchange.h"
#include "icectl/key_file.h"
#include "program.h"
#include "virtio/ice.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#define IV_BYTES 16u /* the widest DUN that a cipher of the engine uses */

/* ---- what there is ---- */

int run_features(struct program *program, const struct arguments *arguments, struct json *json,
                 struct ice_why *why)
{
    struct frontend *frontend = program->frontend;

    (void)arguments;
    (void)why;
    json_hex(json, "offered", frontend_offered(frontend));
    json_hex(json, "negotiated", frontend_features(frontend));
    json_hex(json, "protocol_offered", frontend_offered_protocol(frontend));
    json_hex(json, "protocol", frontend_protocol(frontend));
    json_number(json, "queue_limit", frontend_queue_limit(frontend));
    return 0;
}

int run_config(struct program *program, const struct arguments *arguments, struct json *json,
               struct ice_why *why)
{
    struct function_config config;
    int err = frontend_config(program->frontend, &config, why);

    (void)arguments;
    if (err)
        return err;
    program->config = config;
    json_number(json, "capacity", config.capacity);
    json_number(json, "num_queues", config.num_queues);
    json_number(json, "seg_max", config.seg_max);
    json_number(json, "slot_offset", config.slot_offset);
    json_number(json, "max_slots", config.max_slots);
    return 0;
}

int run_await_change(struct program *program, const struct arguments *arguments, struct json *json,
                     struct ice_why *why)
{
    struct frontend_counts counts;

    /* `count`: how many there have to have been. */
    int err =
        frontend_wait_change(program->frontend, arguments->count - 1, program->options.timeout_ms);
    frontend_count(program->frontend, &counts);
    json_number(json, "config_changes", counts.config_changes);
    return err ? why_errno(why, -err, "no CONFIG_CHANGE") : 0;
}

/* Stops the rings and starts them again. */
int run_stop(struct program *program, const struct arguments *arguments, struct json *json,
             struct ice_why *why)
{
    int err = frontend_stop(program->frontend, why);

    (void)arguments;
    (void)json;
    return err ? err : frontend_start(program->frontend, why);
}

/* ---- I/O ---- */

static int exchange(struct program *program, const struct command *command, const void *out,
                    size_t out_len, void *in, size_t in_len, struct ice_why *why)
{
    uint8_t head[DIALECT_HEAD_MAX];
    int err = program->channel->dialect->can_send(program->channel->features, command, why);

    if (err)
        return err;
    return channel_exchange(program->channel,
                            &(struct exchange){
                                .command = command,
                                .head = head,
                                .expect = EXPECT_ANY,
                                .out = out,
                                .out_len = out_len,
                                .in = in,
                                .in_len = in_len,
                            },
                            why);
}

/* One request of the file's bytes; returns how many, 0 at the end of what is to be done. */
static ssize_t step(struct program *program, struct command *command, int fd, uint8_t *data,
                    size_t want, struct ice_why *why)
{
    bool is_read = command->kind == COMMAND_READ;
    ssize_t len = (ssize_t)want;
    int err;

    if (!is_read)
        len = read(fd, data, want);
    if (len < 0)
        return why_errno(why, errno, "the file");
    if (!len)
        return 0;
    if (is_read)
        err = exchange(program, command, NULL, 0, data, want, why);
    else
        err = exchange(program, command, data, (size_t)len, NULL, 0, why);
    if (!err && is_read && write(fd, data, want) != len)
        err = why_errno(why, errno, "the file");
    return err ? err : len;
}

static int transfer(struct program *program, const struct arguments *arguments,
                    enum command_kind kind, struct ice_why *why)
{
    int flags = kind == COMMAND_READ ? O_WRONLY | O_CREAT | O_TRUNC : O_RDONLY;
    int fd = open(arguments->object, flags | O_CLOEXEC, 0600);
    uint64_t left = kind == COMMAND_READ ? arguments->count * SECTOR_SIZE : UINT64_MAX;
    struct command command = {.kind = kind,
                              .sector = arguments->sector,
                              .tagged = arguments->tagged,
                              .slot = arguments->slot,
                              .dun = arguments->dun};
    uint8_t *data = malloc(TRANSFER_MAX);
    ssize_t len = 1;

    if (fd < 0 || !data) {
        free(data);
        return why_errno(why, errno, "%.100s", arguments->object);
    }
    while (left && len > 0) {
        len = step(program, &command, fd, data, min_u64(left, TRANSFER_MAX), why);
        if (len <= 0)
            break;
        command.sector += (uint64_t)len / SECTOR_SIZE;
        dun_add(&command.dun, (uint64_t)len / arguments->data_unit);
        left -= (uint64_t)len;
    }
    free(data);
    close(fd);
    return len < 0 ? (int)len : 0;
}

int run_read(struct program *program, const struct arguments *arguments, struct json *json,
             struct ice_why *why)
{
    (void)json;
    return transfer(program, arguments, COMMAND_READ, why);
}

int run_write(struct program *program, const struct arguments *arguments, struct json *json,
              struct ice_why *why)
{
    (void)json;
    return transfer(program, arguments, COMMAND_WRITE, why);
}

int run_flush(struct program *program, const struct arguments *arguments, struct json *json,
              struct ice_why *why)
{
    (void)arguments;
    (void)json;
    return exchange(program, &(struct command){.kind = COMMAND_FLUSH}, NULL, 0, NULL, 0, why);
}

static int range(struct program *program, const struct arguments *arguments, enum command_kind kind,
                 struct ice_why *why)
{
    struct virtio_blk_segment segment = {
        .sector = htole64(arguments->sector),
        .num_sectors = htole32((uint32_t)arguments->count),
    };

    return exchange(program, &(struct command){.kind = kind}, &segment, sizeof(segment), NULL, 0,
                    why);
}

int run_discard(struct program *program, const struct arguments *arguments, struct json *json,
                struct ice_why *why)
{
    (void)json;
    return range(program, arguments, COMMAND_DISCARD, why);
}

int run_zero(struct program *program, const struct arguments *arguments, struct json *json,
             struct ice_why *why)
{
    (void)json;
    return range(program, arguments, COMMAND_WRITE_ZEROES, why);
}

/* ---- keys ---- */

int key_command(const struct program *program, uint32_t slot, const struct arguments *arguments,
                struct command *command, uint8_t **key, struct ice_why *why)
{
    const struct algorithm *algorithm = arguments->algorithm;
    size_t len;

    *key = NULL;
    if (!algorithm || !arguments->key_file)
        return why_set(why, EINVAL, "--key-file is missing");
    *key = read_key_file(arguments->key_file, algorithm->key_bytes, algorithm->key_bytes,
                         algorithm->name, &len, why);
    if (!*key)
        return -EINVAL;
    *command = (struct command){
        .kind = COMMAND_KEY_PROGRAM,
        .slot = slot,
        .key = {.type = ICE_KEY_TYPE_RAW,
                .alg = algorithm->alg,
                .key_size = algorithm->key_size,
                .data_unit = arguments->data_unit,
                .dun_bytes = (unsigned)min_u64(program->config.dun_bytes, IV_BYTES),
                .len = (uint16_t)len,
                .bytes = *key},
    };
    return program->channel->dialect->can_send(program->channel->features, command, why);
}

int program_slot(struct program *program, uint32_t slot, const struct arguments *arguments,
                 struct ice_why *why)
{
    uint8_t *head = secret_alloc(DIALECT_HEAD_MAX), *key = NULL;
    struct command command;
    int err = head ? key_command(program, slot, arguments, &command, &key, why)
                   : secret_exhausted("a key", why);

    if (!err)
        err = channel_exchange(
            program->channel,
            &(struct exchange){.command = &command, .head = head, .expect = EXPECT_ANY}, why);
    secret_free(key);
    secret_free(head);
    return err;
}

static int slot_of(const struct arguments *arguments, uint32_t *slot, struct ice_why *why)
{
    uint64_t value = 0;
    int err = parse_number(arguments->object, UINT32_MAX, &value, why);

    *slot = (uint32_t)value;
    return err;
}

int run_program(struct program *program, const struct arguments *arguments, struct json *json,
                struct ice_why *why)
{
    uint32_t slot;
    int err = slot_of(arguments, &slot, why);

    (void)json;
    return err ? err : program_slot(program, slot, arguments, why);
}

int run_evict(struct program *program, const struct arguments *arguments, struct json *json,
              struct ice_why *why)
{
    struct command command = {.kind = COMMAND_KEY_EVICT};
    int err = slot_of(arguments, &command.slot, why);

    (void)json;
    return err ? err : exchange(program, &command, NULL, 0, NULL, 0, why);
}
