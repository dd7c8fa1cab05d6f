/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Windows: of slots and of the media's sectors, both are ranges of numbers from 0 up to an end, of
 * which the functions have taken some.
 */
#include "base/units.h"
#include "host_private.h"
#include <errno.h>
#include <inttypes.h>

struct range {
    uint64_t first, count;
};

struct space {
    const struct host *host;
    const char *what, *of; /* "slot", "the engine" */
    bool is_slots;
    uint64_t end;
};

/* What `function` has taken of the space; NULL: the reserve. */
static struct range taken(const struct space *space, const struct host_function *function)
{
    const struct host_params *params = &space->host->params;
    struct range range = {0, 0};
    if (!function && space->is_slots) {
        range = (struct range){params->reserve_first, params->reserve_count};
    } else if (function && space->is_slots) {
        unsigned first, count;
        function_slot_window(function->function, &first, &count);
        range = (struct range){first, count};
    } else if (function && !function->own_store) {
        range = (struct range){function->first_byte / SECTOR_SIZE,
                               function_sectors(function->function)};
    }
    return range;
}

struct walk {
    const struct host_function *by; /* NULL: the reserve */
    struct range range;
    bool begun;
};

/* The reserve first, then every function; false behind the last. */
static bool next_taken(const struct space *space, struct walk *walk)
{
    if (walk->begun)
        walk->by = walk->by ? walk->by->next : space->host->functions;
    if (walk->begun && !walk->by)
        return false;
    walk->begun = true;
    walk->range = taken(space, walk->by);
    return true;
}

static bool skip_taken(const struct space *space, uint64_t *at)
{
    for (struct walk walk = {0}; next_taken(space, &walk);) {
        if (*at >= walk.range.first && *at - walk.range.first < walk.range.count) {
            *at = walk.range.first + walk.range.count;
            return true;
        }
    }
    return false;
}

static struct range lowest_free(const struct space *space)
{
    struct range free = {0, 0};
    while (skip_taken(space, &free.first))
        ;
    if (free.first >= space->end)
        return free;
    free.count = space->end - free.first;
    for (struct walk walk = {0}; next_taken(space, &walk);) {
        uint64_t first = walk.range.first;
        if (walk.range.count && first >= free.first && first - free.first < free.count)
            free.count = first - free.first;
    }
    return free;
}

static bool overlap(struct range a, struct range b)
{
    return a.count && b.count && a.first < b.first + b.count && b.first < a.first + a.count;
}

static int check_free(const struct space *space, struct range range, struct ice_why *why)
{
    for (struct walk walk = {0}; next_taken(space, &walk);) {
        struct range other = walk.range;
        if (!overlap(range, other) || (walk.by && space->host->params.unsafe_overlap))
            continue;
        return why_set(why, EBUSY,
                       "%ss %" PRIu64 "..%" PRIu64 " overlap %s%s %" PRIu64 "..%" PRIu64,
                       space->what, range.first, range.first + range.count - 1,
                       walk.by ? function_name(walk.by->function) : "the reserve",
                       walk.by ? "'s" : "", other.first, other.first + other.count - 1);
    }
    return 0;
}

static int check_inside(const struct space *space, struct range range, struct ice_why *why)
{
    if (range.first <= space->end && range.count <= space->end - range.first)
        return 0;
    return why_set(why, EINVAL, "%ss %" PRIu64 "..%" PRIu64 " are outside %s's 0..%" PRIu64,
                   space->what, range.first, range.first + range.count - 1, space->of,
                   space->end - 1);
}

int host_choose_slots(const struct host *host, const struct function_spec *spec, unsigned *first,
                      unsigned *count, struct ice_why *why)
{
    const struct space space = {host, "slot", "the engine", true, host->params.slots};
    struct range range = {spec->slots ? spec->first_slot : 0, spec->slots};
    if (!spec->has_slots)
        range = lowest_free(&space);
    if (!spec->has_slots && !range.count)
        return why_set(why, EBUSY, "no slot is free; slots=0+0 makes a function without");
    int err = check_inside(&space, range, why);
    if (!err)
        err = check_free(&space, range, why);
    *first = (unsigned)range.first;
    *count = (unsigned)range.count;
    return err;
}

int host_choose_sectors(const struct host *host, const struct function_spec *spec,
                        uint64_t own_bytes, uint64_t *first, uint64_t *count, struct ice_why *why)
{
    const struct space media = {host, "sector", "the media", false,
                                host->store->size / SECTOR_SIZE};
    const struct space image = {host, "sector", "the image", false, own_bytes / SECTOR_SIZE};
    const struct space *space = own_bytes ? &image : &media;
    struct range range = {spec->first_sector, spec->sectors};
    if (!spec->has_sectors) {
        range = own_bytes ? (struct range){0, image.end} : lowest_free(&media);
        range.count -= range.count % (spec->block_size / SECTOR_SIZE);
    }
    if (!range.count)
        return why_set(why, own_bytes ? EINVAL : EBUSY, "no %s of %s is free",
                       spec->block_size == SECTOR_SIZE ? "sector" : "whole block", space->of);
    int err = check_inside(space, range, why);
    if (!err && !own_bytes)
        err = check_free(space, range, why);
    *first = range.first;
    *count = range.count;
    return err;
}
