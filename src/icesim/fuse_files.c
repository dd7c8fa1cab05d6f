/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files over channels in the process. All files share one table of range locks, as they show the
 * same bytes.
 */
#include "fuse_files.h"
#include "base/bytes.h"
#include "base/json.h"
#include "base/units.h"
#include "control.h"
#include "dialect/describe.h"
#include "inproc.h"
#include "virtio/blk.h"
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>

struct fuse_files {
    struct host_function *function;
    struct inproc *slots, *raw;
    struct range_lock *locks;
    struct capability capabilities[CAPABILITIES_MAX];
    unsigned capability_count;
};

/* ---- status.json ---- */

struct query {
    struct ice_request request;
    sem_t done;
};

static void query_done(struct ice_request *request, size_t written, const struct ice_why *why)
{
    (void)written;
    (void)why;
    sem_post(&CONTAINER_OF(request, struct query, request)->done);
}

static void read_config(struct fuse_files *files, struct function_config *config)
{
    struct channel *channel = inproc_channel(files->slots);
    uint8_t space[DIALECT_CONFIG_MAX];
    channel->ops->config_read(channel, 0, space, sizeof(space), NULL);
    uint64_t offered = attachment_offered(inproc_attachment(files->slots));
    channel->dialect->parse_config(offered, space, sizeof(space), config);
}

/* Asks the device, as a driver would. */
static int query_capabilities(struct fuse_files *files, struct ice_why *why)
{
    struct channel *channel = inproc_channel(files->slots);
    const struct dialect *dialect = channel->dialect;
    const struct command command = {.kind = COMMAND_GET_CAPABILITIES};
    uint8_t head[DIALECT_HEAD_MAX], status = VIRTIO_BLK_S_IOERR;
    uint8_t entries[CAPABILITIES_MAX * 16];
    struct function_config config;
    read_config(files, &config);
    size_t count = min_u64(config.capability_count, CAPABILITIES_MAX);
    struct iovec readable = {head, dialect->build(channel->features, &command, head)};
    struct iovec writable[] = {{entries, count * dialect->capability_entry}, {&status, 1}};
    struct query query = {.request = {.readable = &readable,
                                      .nreadable = 1,
                                      .writable = writable,
                                      .nwritable = 2,
                                      .expect = EXPECT_ANY,
                                      .done = query_done}};
    sem_init(&query.done, 0, 0);
    channel_submit(channel, &query.request);
    while (sem_wait(&query.done) < 0)
        ;
    sem_destroy(&query.done);
    if (status != VIRTIO_BLK_S_OK)
        return why_set(why, EIO, "the device did not tell its capabilities");
    for (size_t i = 0; i < count; i++) {
        const uint8_t *entry = entries + i * dialect->capability_entry;
        if (dialect->parse_capability(entry, &files->capabilities[files->capability_count]))
            files->capability_count++;
    }
    return 0;
}

static int describe_slots(struct fuse_files *files, struct json *json)
{
    struct document document = {0};
    control_slot_list(files->function, &document);
    struct reader reader = {document.bytes, document.bytes + document.len};
    int err = document.failed ? -ENOMEM : json_from_cbor(json, "slots", &reader);
    document_free(&document);
    return err;
}

static char *with_newline(char *text)
{
    size_t len = text ? strlen(text) : 0;
    char *line = text ? realloc(text, len + 2) : NULL;
    if (!line) {
        free(text);
        return NULL;
    }
    strcpy(line + len, "\n");
    return line;
}

static char *status(void *user)
{
    struct fuse_files *files = user;
    const struct ice_attachment *attachment = inproc_attachment(files->slots);
    const struct ice_function *function = files->function->function;
    struct description description = {
        .function = function_name(function),
        .dialect = function_dialect(function)->name,
        .offered = attachment_offered(attachment),
        .negotiated = attachment_features(attachment),
        .status = attachment_status(attachment),
        .capabilities = files->capabilities,
        .capability_count = files->capability_count,
    };
    read_config(files, &description.config);
    struct json *json = json_new();
    if (!json)
        return NULL;
    json_object_open(json, NULL);
    describe_info(json, "info", &description);
    int err = describe_slots(files, json);
    json_object_close(json);
    char *text = json_finish(json);
    if (err) {
        free(text);
        return NULL;
    }
    return with_newline(text);
}

/* ---- files ---- */

static void raw_file(void *user, struct byte_file *file)
{
    struct fuse_files *files = user;
    struct channel *channel = inproc_channel(files->raw);
    *file = (struct byte_file){
        .context = {.channel = channel, .data_unit = SECTOR_SIZE, .expect = EXPECT_ANY},
        .locks = files->locks,
        .size = channel->capacity * SECTOR_SIZE,
    };
}

/* Numbers are the wire's, which are the engine's. */
static unsigned slot_count(void *user)
{
    struct fuse_files *files = user;
    unsigned first, count;
    function_slot_window(files->function->function, &first, &count);
    return first + count;
}

static bool slot_file(void *user, unsigned slot, struct byte_file *file)
{
    struct fuse_files *files = user;
    struct channel *channel = inproc_channel(files->slots);
    const struct ice_function *function = files->function->function;
    struct slot_info info;
    unsigned first, count;
    function_slot_window(function, &first, &count);
    if (slot < first || slot >= first + count)
        return false;
    engine_slot_info(function_engine(function), slot, &info);
    if (!info.programmed)
        return false;
    uint64_t bytes = channel->capacity * SECTOR_SIZE;
    *file = (struct byte_file){
        .context = {.channel = channel,
                    .tagged = true,
                    .slot = slot,
                    .data_unit = info.data_unit,
                    .expect = info.program_count},
        .locks = files->locks,
        .size = bytes - bytes % info.data_unit,
    };
    return true;
}

const struct fuse_front_ops fuse_files_ops = {
    .raw_file = raw_file,
    .slot_count = slot_count,
    .slot_file = slot_file,
    .status = status,
};

/* ---- life ---- */

int fuse_files_open(struct host *host, struct fuse_files **result, struct ice_why *why)
{
    struct fuse_files *files = calloc(1, sizeof(*files));
    if (!files)
        return why_set(why, ENOMEM, "no memory for the FUSE tree");
    files->function = &host->functions[0];
    files->locks = range_lock_new();
    int err = files->locks ? 0 : why_set(why, ENOMEM, "no memory for range locks");
    if (!err)
        err = inproc_open(host->owner.function, &files->raw, why);
    if (!err)
        err = inproc_open(host->functions[0].function, &files->slots, why);
    if (!err)
        err = query_capabilities(files, why);
    if (err) {
        fuse_files_close(files);
        return err;
    }
    *result = files;
    return 0;
}

void fuse_files_close(struct fuse_files *files)
{
    if (!files)
        return;
    inproc_close(files->slots);
    inproc_close(files->raw);
    if (files->locks)
        range_lock_free(files->locks);
    free(files);
}
