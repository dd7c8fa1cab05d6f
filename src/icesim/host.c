/* SPDX-License-Identifier: BSD-2-Clause */
/* Puts engine, media and functions together. */
#include "host.h"
#include "base/units.h"
#include <errno.h>
#include <string.h>

static int open_function(struct host *host, struct host_function *function, const char *name,
                         unsigned slots, const struct dialect *dialect, struct ice_why *why)
{
    function->stats = stats_new();
    if (!function->stats)
        return why_set(why, ENOMEM, "no memory for the statistics");
    function->observers[0] = stats_observer(function->stats);
    function->observers[1] = NULL;
    struct function_params params = {
        .name = name,
        .dialect = dialect,
        .engine = host->engine,
        .slots = slots,
        .store = host->store,
        .sectors = host->store->size / SECTOR_SIZE,
        .observers = function->observers,
    };
    return function_new(&params, &function->function, why);
}

static void close_function(struct host_function *function)
{
    if (function->function)
        function_free(function->function);
    if (function->stats)
        stats_free(function->stats);
    *function = (struct host_function){0};
}

int host_open(struct host *host, struct store *store, unsigned slots, const struct dialect *dialect,
              struct ice_why *why)
{
    *host = (struct host){.store = store};
    int err = engine_new(slots, &host->engine, why);
    if (!err) {
        host->function_count = 1;
        err = open_function(host, &host->functions[0], "vm0", slots, dialect, why);
    }
    if (!err)
        err = open_function(host, &host->owner, "host", 0, dialect, why);
    if (err)
        host_close(host);
    return err;
}

void host_close(struct host *host)
{
    close_function(&host->owner);
    for (unsigned i = 0; i < host->function_count; i++)
        close_function(&host->functions[i]);
    if (host->engine)
        engine_free(host->engine);
    store_close(host->store);
    *host = (struct host){0};
}

struct host_function *host_find(struct host *host, const char *name)
{
    for (unsigned i = 0; i < host->function_count; i++) {
        if (!strcmp(function_name(host->functions[i].function), name))
            return &host->functions[i];
    }
    return NULL;
}

uint64_t host_reset_engine(struct host *host)
{
    uint64_t generation = engine_reset(host->engine);
    for (unsigned i = 0; i < host->function_count; i++)
        function_announce_generation(host->functions[i].function, generation);
    function_announce_generation(host->owner.function, generation);
    return generation;
}
