/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files over channels in the process: of each function one to it, for its slots, and one to the
 * owner's view of the same sectors. All files over one store share one table of range locks, as
 * they show the same bytes: the host's media has one, and each image of a function's own.
 */
#include "fuse_files.h"
#include "base/bytes.h"
#include "base/json.h"
#include "base/units.h"
#include "control.h"
#include "dialect/describe.h"
#include "inproc.h"
#include <errno.h>
#include <stdlib.h>

struct function_files {
    struct fuse_front_function shown;
    struct function_files *next;
    const struct host_function *function;
    struct inproc *slots, *raw;
    struct range_lock *own_locks; /* of an own image; else NULL */
    struct capability capabilities[CAPABILITIES_MAX];
    unsigned capability_count;
};

struct fuse_files {
    struct host *host;
    struct host_watcher watcher;
    struct fuse_front *front;
    struct inproc *raw;
    struct range_lock *locks;         /* of the host's media */
    struct function_files *functions; /* the watcher's, which is told of one at a time */
};

/* ---- status.json ---- */

static int describe_slots(const struct function_files *files, struct json *json)
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
    const struct function_files *files = user;
    const struct ice_attachment *attachment = inproc_attachment(files->slots);
    const struct ice_function *function = files->function->function;
    struct description description = {
        .function = function_name(function),
        .dialect = function_dialect(function),
        .offered = attachment_offered(attachment),
        .negotiated = attachment_features(attachment),
        .status = attachment_status(attachment),
        .capabilities = files->capabilities,
        .capability_count = files->capability_count,
    };
    channel_config(inproc_channel(files->slots), &description.config, NULL);
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

static struct byte_file raw_file(struct inproc *inproc, struct range_lock *locks, uint64_t base)
{
    struct channel *channel = inproc_channel(inproc);
    return (struct byte_file){
        .context = {.channel = channel, .data_unit = SECTOR_SIZE, .expect = EXPECT_ANY},
        .locks = locks,
        .lock_base = base,
        .size = channel->capacity * SECTOR_SIZE,
    };
}

static bool slot_file(void *user, unsigned slot, struct byte_file *file)
{
    const struct function_files *files = user;
    struct channel *channel = inproc_channel(files->slots);
    const struct ice_function *function = files->function->function;
    struct slot_info info;
    unsigned first, count;
    function_slot_window(function, &first, &count);
    engine_slot_info(function_engine(function), first + slot - files->shown.first_slot, &info);
    if (!info.programmed)
        return false;
    uint64_t bytes = channel->capacity * SECTOR_SIZE;
    *file = (struct byte_file){
        .context = {.channel = channel,
                    .tagged = true,
                    .slot = slot,
                    .data_unit = info.data_unit,
                    .expect = info.program_count},
        .locks = files->shown.raw.locks,
        .lock_base = files->shown.raw.lock_base,
        .size = bytes - bytes % info.data_unit,
    };
    return true;
}

static const struct fuse_front_ops ops = {.slot_file = slot_file, .status = status};

/* ---- functions ---- */

static void show(struct fuse_files *files, struct function_files *one)
{
    const struct host_function *function = one->function;
    unsigned first, count;
    function_slot_window(function->function, &first, &count);
    one->shown = (struct fuse_front_function){
        .name = function_name(function->function),
        .id = function->id,
        .first_slot = count ? function_wire_slot(function->function, first) : 0,
        .slots = count,
        .read_only = function_is_read_only(function->function),
        .raw = raw_file(one->raw, one->own_locks ? one->own_locks : files->locks,
                        function->first_byte),
        .user = one,
    };
    one->next = files->functions;
    files->functions = one;
    fuse_front_add(files->front, &one->shown);
}

static void free_function(struct function_files *one)
{
    inproc_close(one->slots);
    inproc_close(one->raw);
    range_lock_free(one->own_locks);
    free(one);
}

static int open_function(const struct host_function *function, struct function_files *one,
                         struct ice_why *why)
{
    one->function = function;
    if (function->own_store && !(one->own_locks = range_lock_new()))
        return why_set(why, ENOMEM, "no memory for range locks");
    int err = inproc_open(function->owner_view, &one->raw, why);
    if (!err)
        err = inproc_open(function->function, &one->slots, why);
    if (!err)
        err = channel_capabilities(inproc_channel(one->slots), one->capabilities,
                                   &one->capability_count, why);
    return err;
}

static int added(struct host_watcher *watcher, struct host_function *function, struct ice_why *why)
{
    struct fuse_files *files = CONTAINER_OF(watcher, struct fuse_files, watcher);
    struct function_files *one = calloc(1, sizeof(*one));
    if (!one)
        return why_set(why, ENOMEM, "no memory for the files of a function");
    int err = open_function(function, one, why);
    if (err)
        free_function(one);
    else
        show(files, one);
    return err;
}

static int removing(struct host_watcher *watcher, struct host_function *function,
                    struct ice_why *why)
{
    struct fuse_files *files = CONTAINER_OF(watcher, struct fuse_files, watcher);
    struct function_files **link = &files->functions, *one;
    while ((one = *link)->function != function)
        link = &one->next;
    int err = fuse_front_remove(files->front, &one->shown, why);
    if (err)
        return err;
    *link = one->next;
    free_function(one);
    return 0;
}

/* ---- life ---- */

static int open_media(struct fuse_files *files, struct ice_why *why)
{
    files->locks = range_lock_new();
    if (!files->locks)
        return why_set(why, ENOMEM, "no memory for range locks");
    int err = inproc_open(files->host->owner, &files->raw, why);
    if (err)
        return err;
    struct byte_file raw = raw_file(files->raw, files->locks, 0);
    return fuse_front_new(&ops, &raw, &files->front, why);
}

int fuse_files_open(struct host *host, struct fuse_files **result, struct ice_why *why)
{
    struct fuse_files *files = calloc(1, sizeof(*files));
    if (!files)
        return why_set(why, ENOMEM, "no memory for the FUSE tree");
    files->host = host;
    int err = open_media(files, why);
    if (!err) {
        files->watcher = (struct host_watcher){.added = added, .removing = removing};
        err = host_watch(host, &files->watcher, why);
        if (err)
            files->watcher.added = NULL;
    }
    if (err) {
        fuse_files_close(files);
        return err;
    }
    *result = files;
    return 0;
}

struct fuse_front *fuse_files_front(struct fuse_files *files)
{
    return files->front;
}

void fuse_files_close(struct fuse_files *files)
{
    if (!files)
        return;
    if (files->watcher.added)
        host_unwatch(files->host, &files->watcher);
    if (files->front)
        fuse_front_stop(files->front);
    while (files->functions) {
        struct function_files *one = files->functions;
        files->functions = one->next;
        free_function(one);
    }
    inproc_close(files->raw);
    range_lock_free(files->locks);
    free(files);
}
