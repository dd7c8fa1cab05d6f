/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a function has done, its back end for VMMs, and what its keys and keyslots have. A layer has
 * keys alone: the slots are its functions'.
 */
#include "back_ends.h"
#include "control_private.h"
#include "views.h"
#include <errno.h>
#include <stdlib.h>

#define COUNTERS 10

static void answer_counters(const struct stats_counters *counters, struct document *result)
{
    document_text(result, "requests");
    document_map(result, COMMAND_KINDS);
    for (unsigned kind = 0; kind < COMMAND_KINDS; kind++)
        answer_uint(result, command_name(kind), counters->requests[kind]);
    answer_uint(result, "ok", counters->ok);
    answer_uint(result, "ioerr", counters->ioerr);
    answer_uint(result, "unsupp", counters->unsupp);
    answer_uint(result, "bytes_read", counters->bytes_read);
    answer_uint(result, "bytes_written", counters->bytes_written);
    answer_uint(result, "tagged", counters->tagged);
    answer_uint(result, "syncs", counters->syncs);
    document_text(result, "violations");
    document_map(result, RULE_COUNT - 1);
    for (enum rule rule = RULE_NONE + 1; rule < RULE_COUNT; rule++)
        answer_uint(result, rule_name(rule), counters->violations[rule]);
}

static void answer_refused(const struct refusal_counts *counts, struct document *result)
{
    struct document entries = {0};
    size_t count = 0;
    for (enum vhost_user_refusal refusal = REFUSAL_NONE + 1; refusal < REFUSALS; refusal++) {
        if (!counts->of[refusal])
            continue;
        answer_uint(&entries, refusal_name(refusal), counts->of[refusal]);
        count++;
    }
    document_text(result, "refused");
    document_map(result, count);
    document_append(result, &entries);
    document_free(&entries);
}

static void answer_vhost_user(struct back_ends *back_ends, const char *function,
                              struct document *result)
{
    struct vhost_user_counts counts;
    if (!back_ends_count(back_ends, function, &counts)) {
        answer_null(result, "vhost_user");
        return;
    }
    document_text(result, "vhost_user");
    document_map(result, 5);
    answer_bool(result, "connected", counts.connected);
    answer_uint(result, "requests", counts.requests);
    answer_uint(result, "kicks", counts.kicks);
    answer_uint(result, "calls", counts.calls);
    answer_refused(&counts.refused, result);
}

/* The number of keys stands before them. */
struct keys {
    struct document entries;
    size_t count;
};

static int add_key(void *user, const struct view_info *info)
{
    struct keys *keys = user;
    struct document *result = &keys->entries;
    const struct profile_counts *counts = &info->counts.profile;
    keys->count++;
    document_map(result, 8);
    answer_text(result, "view", info->name);
    answer_text(result, "path", disk_path_name(info->path));
    answer_uint(result, "hits", counts->hits);
    answer_uint(result, "misses", counts->misses);
    answer_uint(result, "programs", counts->programs);
    answer_uint(result, "evictions", counts->evictions);
    answer_uint(result, "waits", counts->waits);
    answer_uint(result, "fallbacks", info->counts.fallbacks);
    return 0;
}

static void answer_slot(const struct view_slot *slot, struct document *result)
{
    document_map(result, 8);
    answer_uint(result, "slot", slot->wire_slot);
    answer_uint(result, "hits", slot->counts.hits);
    answer_uint(result, "misses", slot->counts.misses);
    answer_uint(result, "programs", slot->counts.programs);
    answer_uint(result, "evictions", slot->counts.evictions);
    answer_uint(result, "waits", slot->counts.waits);
    answer_uint(result, "references", slot->references);
    answer_key_fingerprint(result, slot->has_fingerprint, slot->fingerprint);
}

static void answer_slots(struct views *views, const char *function, struct document *result)
{
    struct document entries = {0};
    struct view_slot slot;
    uint32_t count = 0;
    for (; views_slot(views, function, count, &slot); count++)
        answer_slot(&slot, &entries);
    document_array(result, count);
    document_append(result, &entries);
    document_free(&entries);
}

/* NULL: a layer, or nothing of that name. */
static const struct stats_counters *read_counters(struct host *host, const char *name,
                                                  struct stats_counters *counters)
{
    struct host_function *function = host_find(host, name);
    if (!function)
        return NULL;
    stats_read(function->stats, counters);
    host_let_go(host, function);
    return counters;
}

int control_stats(const struct control *control, struct reader *args, struct document *result,
                  struct ice_why *why)
{
    struct argument name = ARGUMENT_FUNCTION;
    struct stats_counters memory;
    struct keys keys = {0};
    int err = arguments_read(args, &name, 1, why);
    if (!err)
        err = views_each(control->views, name.text, add_key, &keys, why);
    if (!err) {
        const struct stats_counters *counters = read_counters(control->host, name.text, &memory);
        document_map(result, (counters ? COUNTERS : 0) + 2);
        if (counters) {
            answer_counters(counters, result);
            answer_vhost_user(control->back_ends, name.text, result);
        }
        document_text(result, "keys");
        document_array(result, keys.count);
        document_append(result, &keys.entries);
        document_text(result, "profile_slots");
        answer_slots(control->views, name.text, result);
    }
    document_free(&keys.entries);
    return err;
}
