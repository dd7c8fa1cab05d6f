/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Files over channels in the process: of each function one to it, for its slots, and one to the
 * owner's view of the same sectors; and the views' files, over their disks. All files over one
 * store share one table of range locks, as they show the same bytes: the host's media has one, and
 * each image of a function's own. A layer's bytes lie on several stores, or stripe by stripe on
 * one: its files have a table of their own, so a part of a data unit written there and one written
 * to the same sectors by a function's file do not exclude each other.
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

/* Of a function, or of a layer. */
struct function_files {
    struct fuse_front_function shown;
    struct function_files *next;
    struct views *views;
    const struct host_function *function; /* NULL: of a layer */
    char layer[FUNCTION_NAME_MAX + 1];    /* its name */
    struct inproc *slots, *raw;
    struct range_lock *own_locks; /* of an own image, or a layer; else NULL */
    struct capability capabilities[CAPABILITIES_MAX];
    unsigned capability_count;
};

struct fuse_files {
    struct host *host;
    struct views *views;
    struct host_watcher watcher;
    struct layers_watcher layers_watcher;
    struct fuse_front *front;
    struct inproc *raw;
    struct range_lock *locks; /* of the host's media */
    /* Each its watcher's, which is told of one at a time. */
    struct function_files *functions, *layers;
};

/* ---- status.json ---- */

/* Frees the document. */
static int add_document(struct json *json, const char *key, struct document *document)
{
    struct reader reader = {document->bytes, document->bytes + document->len};
    int err = document->failed ? -ENOMEM : json_from_cbor(json, key, &reader);
    document_free(document);
    return err;
}

static int describe_slots(const struct function_files *files, struct json *json)
{
    struct document document = {0};
    control_slot_list(files->function, &document);
    return add_document(json, "slots", &document);
}

static int describe_views(const struct function_files *files, struct json *json)
{
    struct document document = {0};
    int err = control_views_of(files->views, files->shown.name, &document, NULL);
    return err ? err : add_document(json, "views", &document);
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
    if (!err)
        err = describe_views(files, json);
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
    return (struct byte_file){
        .context = {.channel = inproc_channel(inproc),
                    .data_unit = SECTOR_SIZE,
                    .expect = EXPECT_ANY},
        .locks = locks,
        .lock_base = base,
    };
}

static bool slot_file(void *user, unsigned slot, struct byte_file *file)
{
    const struct function_files *files = user;
    const struct ice_function *function = files->function->function;
    struct slot_info info;
    unsigned first, count;
    function_slot_window(function, &first, &count);
    engine_slot_info(function_engine(function), first + slot - files->shown.first_slot, &info);
    if (!info.programmed || info.claimer)
        return false;
    *file = (struct byte_file){
        .context = {.channel = inproc_channel(files->slots),
                    .tagged = true,
                    .slot = slot,
                    .data_unit = info.data_unit,
                    .expect = info.program_count},
        .locks = files->shown.raw.locks,
        .lock_base = files->shown.raw.lock_base,
    };
    return true;
}

static void show_view(const struct function_files *files, const struct view_file *view,
                      struct fuse_front_view *shown)
{
    _Static_assert(sizeof(shown->name) == sizeof(view->name), "one limit for names");
    memcpy(shown->name, view->name, sizeof(shown->name));
    shown->number = view->number;
    shown->file = view->file;
    shown->file.locks = files->shown.raw.locks;
    shown->file.lock_base += files->shown.raw.lock_base;
}

static bool find_named(void *user, const char *name, struct fuse_front_view *shown)
{
    const struct function_files *files = user;
    struct view_file view;
    bool there = view_named(files->views, files->shown.name, name, &view);
    if (there)
        show_view(files, &view, shown);
    return there;
}

static bool find_from(void *user, unsigned number, struct fuse_front_view *shown)
{
    const struct function_files *files = user;
    struct view_file view;
    bool there = view_from(files->views, files->shown.name, number, &view);
    if (there)
        show_view(files, &view, shown);
    return there;
}

static bool hold(void *user, unsigned number, struct fuse_front_view *shown)
{
    const struct function_files *files = user;
    struct view_file view;
    bool there = view_hold(files->views, files->shown.name, number, &view);
    if (there)
        show_view(files, &view, shown);
    return there;
}

static void let_go(void *user, unsigned number)
{
    const struct function_files *files = user;
    view_let_go(files->views, files->shown.name, number);
}

static const struct fuse_front_ops ops = {
    .slot_file = slot_file,
    .view_named = find_named,
    .view_from = find_from,
    .view_hold = hold,
    .view_let_go = let_go,
    .status = status,
};

/* ---- functions ---- */

static void show(struct fuse_files *files, struct function_files *one)
{
    const struct host_function *function = one->function;
    unsigned first, count;
    function_slot_window(function->function, &first, &count);
    one->shown = (struct fuse_front_function){
        .name = function_name(function->function),
        .id = function->id,
        .first_slot = inproc_channel(one->slots)->slot_offset,
        .slots = count,
        .read_only = function_is_read_only(function->function),
        .raw = raw_file(one->raw, one->own_locks ? one->own_locks : files->locks,
                        function->first_byte),
        .user = one,
    };
    one->views = files->views;
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

static void free_functions(struct function_files *one)
{
    while (one) {
        struct function_files *next = one->next;
        free_function(one);
        one = next;
    }
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

/* Takes the one at `link` away. */
static int hide(struct fuse_files *files, struct function_files **link, struct ice_why *why)
{
    struct function_files *one = *link;
    int err = fuse_front_remove(files->front, &one->shown, why);
    if (err)
        return err;
    *link = one->next;
    free_function(one);
    return 0;
}

static int removing(struct host_watcher *watcher, struct host_function *function,
                    struct ice_why *why)
{
    struct fuse_files *files = CONTAINER_OF(watcher, struct fuse_files, watcher);
    struct function_files **link = &files->functions;
    while ((*link)->function != function)
        link = &(*link)->next;
    return hide(files, link, why);
}

/* ---- layers ---- */

static int layer_added(struct layers_watcher *watcher, const struct layer_info *layer,
                       struct ice_why *why)
{
    struct fuse_files *files = CONTAINER_OF(watcher, struct fuse_files, layers_watcher);
    struct function_files *one = calloc(1, sizeof(*one));
    struct range_lock *locks = range_lock_new();
    if (!one || !locks) {
        range_lock_free(locks);
        free(one);
        return why_set(why, ENOMEM, "no memory for the files of a layer");
    }
    strcpy(one->layer, layer->name);
    one->views = files->views;
    one->own_locks = locks;
    one->shown = (struct fuse_front_function){
        .name = one->layer,
        .id = layer->id,
        .is_layer = true,
        .read_only = layer->read_only,
        .raw = layer->raw,
        .user = one,
    };
    one->shown.raw.locks = locks;
    one->next = files->layers;
    files->layers = one;
    fuse_front_add(files->front, &one->shown);
    return 0;
}

static int layer_removing(struct layers_watcher *watcher, const struct layer_info *layer,
                          struct ice_why *why)
{
    struct fuse_files *files = CONTAINER_OF(watcher, struct fuse_files, layers_watcher);
    struct function_files **link = &files->layers;
    while ((*link)->shown.id != layer->id)
        link = &(*link)->next;
    return hide(files, link, why);
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

int fuse_files_open(struct host *host, struct views *views, struct fuse_files **result,
                    struct ice_why *why)
{
    struct fuse_files *files = calloc(1, sizeof(*files));
    if (!files)
        return why_set(why, ENOMEM, "no memory for the FUSE tree");
    files->host = host;
    files->views = views;
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
    files->layers_watcher =
        (struct layers_watcher){.added = layer_added, .removing = layer_removing};
    layers_watch(views, &files->layers_watcher);
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
    if (files->layers_watcher.added)
        layers_watch(files->views, NULL);
    if (files->watcher.added)
        host_unwatch(files->host, &files->watcher);
    if (files->front)
        fuse_front_stop(files->front);
    free_functions(files->functions);
    free_functions(files->layers);
    inproc_close(files->raw);
    range_lock_free(files->locks);
    free(files);
}
