/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Views and layers. What a message says in words becomes a view_spec here; whether it makes sense,
 * the views say. A view's key is read where it arrived, in the connection's secret memory.
 */
#include "base/bytes.h"
#include "base/parse.h"
#include "base/units.h"
#include "control_private.h"
#include "views.h"
#include "virtio/ice.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define DIGITS_MAX     78 /* of 256 bits, decimal */
#define MAP_MAX        32
#define STRIPE_DEFAULT (64u << 10)

static const char *const policies[] = {
    [FALLBACK_AUTO] = "auto",
    [FALLBACK_FORBID] = "forbid",
    [FALLBACK_FORCE] = "force",
};

const char *disk_path_name(enum disk_path path)
{
    return path == DISK_NATIVE ? "native" : "fallback";
}

void answer_key_fingerprint(struct document *result, bool has, const uint8_t *fingerprint)
{
    if (has)
        answer_fingerprint(result, fingerprint);
    else
        answer_null(result, "fingerprint");
}

/* ---- views ---- */

static void list_view(const struct view_info *info, struct document *result)
{
    const struct crypto_config *config = &info->config;
    char dun[DUN_TEXT];
    dun_text(&info->dun, dun);
    document_map(result, 10);
    answer_text(result, "name", info->name);
    answer_text(result, "alg", config->algorithm->name);
    answer_uint(result, "data_unit", config->data_unit);
    answer_text(result, "key_type", config->key_type == ICE_KEY_TYPE_RAW ? "raw" : "wrapped");
    answer_key_fingerprint(result, info->has_fingerprint, info->fingerprint);
    answer_hex(result, "sector", info->sector);
    answer_hex(result, "count", info->count);
    answer_text(result, "dun", dun);
    answer_text(result, "fallback", policies[info->fallback]);
    answer_text(result, "path", disk_path_name(info->path));
}

/* Entries of a list, whose number stands before them. */
struct listing {
    const char *only; /* of this name; NULL: all */
    struct document entries;
    size_t count;
};

static int add_view(void *user, const struct view_info *info)
{
    struct listing *listing = user;
    if (listing->only && strcmp(listing->only, info->name) != 0)
        return 0;
    list_view(info, &listing->entries);
    listing->count++;
    return 0;
}

static void answer_listing(struct listing *listing, struct document *result)
{
    document_array(result, listing->count);
    document_append(result, &listing->entries);
    document_free(&listing->entries);
}

/* The one entry. `what` is gone again when there is none. */
static int answer_entry(struct listing *listing, const char *what, struct document *result,
                        struct ice_why *why)
{
    int err = 0;
    if (listing->count)
        document_append(result, &listing->entries);
    else
        err = why_set(why, ENOENT, "there is no %s \"%s\" any more", what, listing->only);
    document_free(&listing->entries);
    return err;
}

int control_views_of(struct views *views, const char *function, struct document *result,
                     struct ice_why *why)
{
    struct listing listing = {0};
    int err = views_each(views, function, add_view, &listing, why);
    if (err)
        document_free(&listing.entries);
    else
        answer_listing(&listing, result);
    return err;
}

int control_view_list(const struct control *control, struct reader *args, struct document *result,
                      struct ice_why *why)
{
    struct argument name = ARGUMENT_FUNCTION;
    int err = arguments_read(args, &name, 1, why);
    return err ? err : control_views_of(control->views, name.text, result, why);
}

static int parse_policy(const struct argument *argument, enum fallback_policy *policy,
                        struct ice_why *why)
{
    *policy = FALLBACK_AUTO;
    if (!argument->given)
        return 0;
    for (unsigned i = 0; i < ARRAY_SIZE(policies); i++) {
        if (strcmp(argument->text, policies[i]) != 0)
            continue;
        *policy = i;
        return 0;
    }
    return why_set(why, EINVAL, "fallback \"%s\" is none of auto, forbid, force", argument->text);
}

enum { FUNCTION, NAME, ALG, DATA_UNIT, KEY_TYPE, KEY, SECTOR, COUNT, DUN, FALLBACK, ARGUMENTS };

static int read_range(const struct argument *arguments, struct view_spec *spec, struct ice_why *why)
{
    struct ice_why cause;
    int err = argument_hex(&arguments[SECTOR], &spec->sector, why);
    if (!err)
        err = argument_hex(&arguments[COUNT], &spec->count, why);
    if (!err && arguments[COUNT].given && !spec->count)
        err = why_set(why, EINVAL, "a view has at least one data unit, not 0 sectors");
    if (!err && arguments[DUN].given && parse_dun(arguments[DUN].text, &spec->dun, &cause))
        err = why_set(why, cause.err, "key \"dun\": %s", cause.text);
    return err;
}

/* What no slot and no fallback would take. Other lengths than the algorithm's, the views refuse. */
static int check_key(const struct view_spec *spec, struct ice_why *why)
{
    const struct algorithm *algorithm = spec->config.algorithm;
    if (spec->config.key_type != ICE_KEY_TYPE_RAW || spec->key_len != algorithm->key_bytes)
        return 0;
    return cipher_check_key(algorithm, spec->key, why);
}

static int parse_view(const struct argument *arguments, struct view_spec *spec, struct ice_why *why)
{
    const struct argument *type = &arguments[KEY_TYPE];
    *spec = (struct view_spec){
        .function = arguments[FUNCTION].text,
        .name = arguments[NAME].text,
        .key = arguments[KEY].bytes,
        .key_len = arguments[KEY].len,
        .config.data_unit = (uint32_t)arguments[DATA_UNIT].number,
    };
    int err = parse_name(spec->name, why);
    if (!err)
        err = parse_key_use(&arguments[ALG], type->given ? type->text : "raw",
                            &spec->config.algorithm, &spec->config.key_type, why);
    if (!err)
        err = check_key(spec, why);
    if (!err)
        err = read_range(arguments, spec, why);
    if (!err)
        err = parse_policy(&arguments[FALLBACK], &spec->fallback, why);
    return err;
}

int control_view_add(const struct control *control, struct reader *args, struct document *result,
                     struct ice_why *why)
{
    struct argument arguments[ARGUMENTS] = {
        [FUNCTION] = ARGUMENT_FUNCTION,
        [NAME] = {.key = "name", .max = ARGUMENT_TEXT_MAX},
        [ALG] = {.key = "alg", .max = 32},
        [DATA_UNIT] = {.key = "data_unit", .type = ARGUMENT_UINT, .max = UINT32_MAX},
        [KEY_TYPE] = {.key = "key_type", .max = 32, .optional = true},
        [KEY] = ARGUMENT_KEY,
        [SECTOR] = {.key = "sector", .max = DIGITS_MAX, .optional = true},
        [COUNT] = {.key = "count", .max = DIGITS_MAX, .optional = true},
        [DUN] = {.key = "dun", .max = DIGITS_MAX, .optional = true},
        [FALLBACK] = {.key = "fallback", .max = 32, .optional = true},
    };
    struct view_spec spec;
    struct listing listing = {.only = arguments[NAME].text};
    int err = arguments_read(args, arguments, ARGUMENTS, why);
    if (!err)
        err = parse_view(arguments, &spec, why);
    if (!err)
        err = view_add(control->views, &spec, why);
    if (!err)
        err = views_each(control->views, spec.function, add_view, &listing, why);
    if (err) {
        document_free(&listing.entries);
        return err;
    }
    return answer_entry(&listing, "view", result, why);
}

int control_view_remove(const struct control *control, struct reader *args, struct document *result,
                        struct ice_why *why)
{
    struct argument arguments[] = {
        ARGUMENT_FUNCTION,
        {.key = "name", .max = ARGUMENT_TEXT_MAX},
        {.key = "wait", .type = ARGUMENT_BOOL},
    };
    int err = arguments_read(args, arguments, ARRAY_SIZE(arguments), why);
    if (!err)
        err = view_remove(control->views, arguments[0].text, arguments[1].text, arguments[2].flag,
                          why);
    if (!err)
        document_map(result, 0);
    return err;
}

/* ---- layers ---- */

/* As `info` has those of a function. */
static void list_capability(const struct algorithm *algorithm, uint32_t units,
                            struct document *result)
{
    document_map(result, 3);
    answer_text(result, "alg", algorithm->name);
    answer_uint(result, "key_bytes", algorithm->key_bytes);
    document_text(result, "data_units");
    document_array(result, (size_t)__builtin_popcount(units));
    for (uint32_t unit = DATA_UNIT_MIN; unit <= DATA_UNIT_MAX; unit *= 2) {
        if (units & unit)
            document_uint(result, unit);
    }
}

static void list_capabilities(const struct crypto_caps *caps, struct document *result)
{
    size_t count = 0;
    for (unsigned i = 0; i < ALGORITHM_COUNT; i++)
        count += caps->units[i] != 0;
    document_text(result, "capabilities");
    document_array(result, count);
    for (unsigned i = 0; i < ALGORITHM_COUNT; i++) {
        if (caps->units[i])
            list_capability(&algorithms[i], caps->units[i], result);
    }
}

static void list_layer(const struct layer_info *info, struct document *result)
{
    char map[MAP_MAX] = "linear";
    if (info->map == LAYER_STRIPED)
        snprintf(map, sizeof(map), "striped:%llu", (unsigned long long)info->stripe);
    document_map(result, 5);
    answer_text(result, "name", info->name);
    answer_text(result, "map", map);
    document_text(result, "functions");
    document_array(result, info->count);
    for (unsigned i = 0; i < info->count; i++)
        document_text(result, info->children[i]);
    answer_hex(result, "sectors", info->size / SECTOR_SIZE);
    list_capabilities(info->caps, result);
}

static int add_layer(void *user, const struct layer_info *info)
{
    struct listing *listing = user;
    if (listing->only && strcmp(listing->only, info->name) != 0)
        return 0;
    list_layer(info, &listing->entries);
    listing->count++;
    return 0;
}

int control_layer_list(const struct control *control, struct reader *args, struct document *result,
                       struct ice_why *why)
{
    struct listing listing = {0};
    int err = arguments_read(args, NULL, 0, why);
    if (err)
        return err;
    layers_each(control->views, add_layer, &listing);
    answer_listing(&listing, result);
    return 0;
}

/* "linear", "striped" or "striped:BYTES" */
static int parse_map(const char *text, enum layer_map *map, uint64_t *stripe, struct ice_why *why)
{
    static const char striped[] = "striped:";
    struct ice_why cause;
    *map = *text == 'l' ? LAYER_LINEAR : LAYER_STRIPED;
    *stripe = *map == LAYER_LINEAR ? 0 : STRIPE_DEFAULT;
    if (!strcmp(text, "linear") || !strcmp(text, "striped"))
        return 0;
    if (strncmp(text, striped, strlen(striped)) != 0)
        return why_set(why, EINVAL, "map \"%s\" is none of linear, striped, striped:BYTES", text);
    if (parse_size(text + strlen(striped), stripe, &cause))
        return why_set(why, cause.err, "map \"%s\": %s", text, cause.text);
    return 0;
}

/* Cuts `text` at its commas. */
static int parse_children(char *text, const char *children[static LAYER_CHILDREN_MAX],
                          unsigned *count, struct ice_why *why)
{
    char *rest = text;
    for (*count = 0; rest; (*count)++) {
        if (*count == LAYER_CHILDREN_MAX)
            return why_set(why, EINVAL, "a layer has at most %u functions", LAYER_CHILDREN_MAX);
        children[*count] = strsep(&rest, ",");
    }
    return 0;
}

int control_layer_add(const struct control *control, struct reader *args, struct document *result,
                      struct ice_why *why)
{
    struct argument arguments[] = {
        {.key = "name", .max = ARGUMENT_TEXT_MAX},
        {.key = "map", .max = MAP_MAX},
        {.key = "functions", .max = ARGUMENT_TEXT_MAX},
    };
    const char *children[LAYER_CHILDREN_MAX];
    struct listing listing = {.only = arguments[0].text};
    enum layer_map map;
    uint64_t stripe;
    unsigned count;
    int err = arguments_read(args, arguments, ARRAY_SIZE(arguments), why);
    if (!err)
        err = parse_name(arguments[0].text, why);
    if (!err)
        err = parse_map(arguments[1].text, &map, &stripe, why);
    if (!err)
        err = parse_children(arguments[2].text, children, &count, why);
    if (!err)
        err = layer_add(control->views, arguments[0].text, map, stripe, children, count, why);
    if (err)
        return err;
    layers_each(control->views, add_layer, &listing);
    return answer_entry(&listing, "layer", result, why);
}

int control_layer_remove(const struct control *control, struct reader *args,
                         struct document *result, struct ice_why *why)
{
    struct argument name = {.key = "name", .max = ARGUMENT_TEXT_MAX};
    int err = arguments_read(args, &name, 1, why);
    if (!err)
        err = layer_remove(control->views, name.text, why);
    if (!err)
        document_map(result, 0);
    return err;
}
