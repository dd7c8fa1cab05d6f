/* SPDX-License-Identifier: BSD-2-Clause */
/* A function on a bench. */
#include "rig.h"
#include "base/secret.h"
#include "base/units.h"
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must(int r, const struct ice_why *why)
{
    if (r) {
        printf("Bail out! the rig: %s\n", why->text);
        exit(1);
    }
}

void rig_open_as(struct rig *rig, unsigned slots, uint64_t sectors, struct store *store,
                 struct function_params params)
{
    static bool initialised;
    struct ice_why why = {0};

    memset(rig, 0, sizeof(*rig));
    if (!initialised)
        must(cipher_init(&why), &why);
    initialised = true;
    must(engine_new(slots, &rig->engine, &why), &why);
    rig->store = store;
    if (!store)
        must(store_open_ram(sectors * SECTOR_SIZE, &rig->store, &why), &why);
    rig->stats = stats_new();
    rig->observers[0] = stats_observer(rig->stats);
    params.name = "vm0";
    params.engine = rig->engine;
    params.store = rig->store;
    params.observers = rig->observers;
    if (!params.dialect)
        params.dialect = &dialect_ice2;
    if (!params.slots && !params.keys_inline && !params.integrity)
        params.slots = slots - params.first_slot;
    if (!params.sectors)
        params.sectors = sectors - params.first_sector;
    must(function_new(&params, &rig->function, &why), &why);
}

void rig_open(struct rig *rig, unsigned slots, uint64_t sectors, struct store *store)
{
    rig_open_as(rig, slots, sectors, store, (struct function_params){0});
}

void rig_close(struct rig *rig)
{
    function_free(rig->function);
    engine_free(rig->engine);
    stats_free(rig->stats);
    store_close(rig->store);
}

struct ice_attachment *rig_attach(struct rig *rig, uint64_t wanted)
{
    static const uint8_t steps[] = {
        VIRTIO_STATUS_ACKNOWLEDGE,
        VIRTIO_STATUS_DRIVER,
        VIRTIO_STATUS_FEATURES_OK,
        VIRTIO_STATUS_DRIVER_OK,
    };
    struct ice_attachment *a;
    struct ice_why why = {0};
    uint8_t status = 0;

    must(attachment_open(rig->function, NULL, NULL, &a, &why), &why);
    for (size_t i = 0; i < sizeof(steps); i++) {
        status |= steps[i];
        if (steps[i] == VIRTIO_STATUS_FEATURES_OK)
            must(
                attachment_set_features(
                    a, (wanted & attachment_offered(a)) | VIRTIO_FEATURE(VIRTIO_F_VERSION_1), &why),
                &why);
        must(attachment_set_status(a, status, &why), &why);
    }
    must(attachment_status(a) != status, &why);
    return a;
}

struct waiting {
    struct ice_request request;
    struct answer answer;
    sem_t done;
};

static void done(struct ice_request *request, size_t written, const struct ice_why *why)
{
    struct waiting *waiting = (struct waiting *)request;

    waiting->answer.written = written;
    if (why)
        waiting->answer.why = *why;
    sem_post(&waiting->done);
}

struct answer rig_send_on(struct ice_attachment *attachment, uint16_t queue, const void *head,
                          size_t head_len, const void *out, size_t out_len, void *in, size_t in_len)
{
    uint8_t status = 0xee;
    struct iovec readable[] = {{(void *)head, head_len}, {(void *)out, out_len}};
    struct iovec writable[] = {{in, in_len}, {&status, 1}};
    struct waiting waiting = {
        .request = {.readable = readable,
                    .nreadable = 2,
                    .writable = writable,
                    .nwritable = 2,
                    .queue = queue,
                    .expect = EXPECT_ANY,
                    .done = done},
    };

    sem_init(&waiting.done, 0, 0);
    device_submit(attachment, &waiting.request);
    sem_wait(&waiting.done);
    sem_destroy(&waiting.done);
    waiting.answer.status = waiting.answer.written ? status : -1;
    return waiting.answer;
}

struct answer rig_send(struct ice_attachment *attachment, const void *head, size_t head_len,
                       const void *out, size_t out_len, void *in, size_t in_len)
{
    return rig_send_on(attachment, 0, head, head_len, out, out_len, in, in_len);
}

static const struct dialect *dialect_of(const struct ice_attachment *attachment)
{
    return function_dialect(attachment_function(attachment));
}

struct function_config rig_config(struct ice_attachment *attachment)
{
    uint8_t space[DIALECT_CONFIG_MAX];
    struct function_config config;

    attachment_read_config(attachment, 0, space, sizeof(space));
    dialect_of(attachment)
        ->parse_config(attachment_offered(attachment), space, sizeof(space), &config);
    return config;
}

uint16_t rig_queue(struct ice_attachment *attachment, enum command_kind kind)
{
    if (!dialect_of(attachment)->on_control_queue(kind))
        return 0;
    return dialect_control_queue(attachment_features(attachment),
                                 rig_config(attachment).num_queues);
}

struct answer rig_run(struct ice_attachment *attachment, const struct command *command,
                      const void *out, size_t out_len, void *in, size_t in_len)
{
    uint8_t *head = secret_alloc(DIALECT_HEAD_MAX);
    size_t len = dialect_of(attachment)->build(attachment_features(attachment), command, head);
    struct answer answer = rig_send_on(attachment, rig_queue(attachment, command->kind), head, len,
                                       out, out_len, in, in_len);

    secret_free(head);
    return answer;
}

struct command rig_key(unsigned slot, const char *name, uint32_t data_unit, const uint8_t *bytes)
{
    const struct algorithm *algorithm = algorithm_by_name(name);

    return (struct command){
        .kind = COMMAND_KEY_PROGRAM,
        .slot = slot,
        .key = {.type = ICE_KEY_TYPE_RAW,
                .alg = algorithm->alg,
                .key_size = algorithm->key_size,
                .data_unit = data_unit,
                .dun_bytes = 4, /* every function can keep as many apart */
                .len = algorithm->key_bytes,
                .bytes = bytes},
    };
}

struct answer rig_program(struct ice_attachment *attachment, unsigned slot, const char *name,
                          uint32_t data_unit, uint8_t first)
{
    uint8_t key[KEY_BYTES_MAX] = {0};
    struct command command = rig_key(slot, name, data_unit, key);

    for (size_t i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(first + i);
    return rig_run(attachment, &command, NULL, 0, NULL, 0);
}

struct answer rig_evict(struct ice_attachment *attachment, unsigned slot)
{
    struct command command = {.kind = COMMAND_KEY_EVICT, .slot = slot};

    return rig_run(attachment, &command, NULL, 0, NULL, 0);
}

struct command rig_read(uint64_t sector)
{
    return (struct command){.kind = COMMAND_READ, .sector = sector};
}

struct command rig_write(uint64_t sector)
{
    return (struct command){.kind = COMMAND_WRITE, .sector = sector};
}

struct command rig_tagged(struct command command, unsigned slot, uint64_t dun)
{
    command.tagged = true;
    command.slot = slot;
    command.dun = dun_from_u64(dun);
    return command;
}
