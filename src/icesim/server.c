/* SPDX-License-Identifier: BSD-2-Clause */
/* Start and stop of the server. */
#include "server.h"
#include "base/clock.h"
#include "server_private.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static unsigned default_threads(void)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    return cores < 2 ? 2 : (unsigned)cores;
}

int server_start(const struct server_params *params, struct server **result, struct ice_why *why)
{
    struct server *server = calloc(1, sizeof(*server));
    if (!server)
        return why_set(why, ENOMEM, "no memory for the server");
    *server = (struct server){
        .host = params->host,
        .views = params->views,
        .back_ends = params->back_ends,
        .grace_ms = params->grace_ms ? (int)params->grace_ms : GRACE_MS,
        .threads = params->threads ? params->threads : default_threads(),
        .connections = params->connections ? params->connections : CONNECTIONS_MAX,
        .buffers = params->buffers ? params->buffers : BUFFERS_MAX,
        .dir = strdup(params->dir),
        .listening = true,
    };
    pthread_mutex_init(&server->lock, NULL);
    int err = jobs_start(server, why);
    if (!err && !server->dir)
        err = why_set(why, ENOMEM, "no memory for a path");
    if (!err)
        err = listeners_open(server, why);
    if (err) {
        server_refuse_new(server);
        server_stop(server);
        return err;
    }
    *result = server;
    return 0;
}

void server_refuse_new(struct server *server)
{
    listeners_close(server);
}

static void finish(struct connection *connection, void *user)
{
    (void)user;
    connection_finish(connection);
}

static void finish_lane(struct lane *lane)
{
    table_each(lane, finish, NULL);
}

static void end_lane(struct lane *lane, int64_t deadline)
{
    int64_t left = deadline - now_ms();
    if (!table_wait_empty(lane, left > 0 ? (int)left : 0))
        lane_cut(lane);
}

/* The functions' lanes go first: a control message may wait for one of them. */
static void end_functions(struct server *server, int64_t deadline)
{
    for (struct lane *lane = server->lanes; lane; lane = lane->next)
        end_lane(lane, deadline);
    while (server->lanes) {
        struct lane *lane = server->lanes;
        server->lanes = lane->next;
        lane_free(lane);
    }
}

void server_stop(struct server *server)
{
    host_unwatch(server->host, &server->watcher); /* from now on the lanes are ours alone */
    for (struct lane *lane = server->lanes; lane; lane = lane->next)
        finish_lane(lane);
    if (server->control)
        finish_lane(server->control);
    int64_t deadline = now_ms() + server->grace_ms;
    end_functions(server, deadline);
    if (server->control)
        end_lane(server->control, deadline);
    jobs_stop(server);
    if (server->control)
        lane_free(server->control);
    pthread_mutex_destroy(&server->lock);
    free(server->dir);
    free(server);
}
