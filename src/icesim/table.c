/* SPDX-License-Identifier: BSD-2-Clause */
/* The table of connections: entries are made at their first use and go from client to client. */
#include "base/bytes.h"
#include "server_private.h"
#include <errno.h>
#include <stdlib.h>
#include <time.h>

int table_init(struct server *server, unsigned limit)
{
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&server->lock, NULL);
    pthread_cond_init(&server->none_open, &clock);
    pthread_condattr_destroy(&clock);
    server->limit = limit;
    server->table = calloc(limit, sizeof(*server->table));
    return server->table ? 0 : -ENOMEM;
}

static struct connection *new_entry(struct server *server)
{
    if (server->table_len == server->limit)
        return NULL;
    struct connection *connection = &server->table[server->table_len];
    connection->server = server;
    connection->index = server->table_len++;
    connection->fd = -1;
    pthread_mutex_init(&connection->lock, NULL);
    return connection;
}

struct connection *table_take(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    struct connection *connection = server->free_entries;
    if (connection)
        server->free_entries = connection->next_free;
    else
        connection = new_entry(server);
    if (connection)
        server->open++;
    pthread_mutex_unlock(&server->lock);
    return connection;
}

void table_put(struct server *server, struct connection *connection)
{
    pthread_mutex_lock(&server->lock);
    connection->next_free = server->free_entries;
    server->free_entries = connection;
    if (--server->open == 0)
        pthread_cond_broadcast(&server->none_open);
    pthread_mutex_unlock(&server->lock);
}

void table_each(struct server *server, void (*each)(struct connection *, void *), void *user)
{
    pthread_mutex_lock(&server->lock);
    unsigned len = server->table_len;
    pthread_mutex_unlock(&server->lock);
    for (unsigned i = 0; i < len; i++)
        each(&server->table[i], user);
}

bool table_wait_empty(struct server *server, int timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&server->lock);
    int err = 0;
    while (server->open && !err)
        err = pthread_cond_timedwait(&server->none_open, &server->lock, &until);
    bool empty = server->open == 0;
    pthread_mutex_unlock(&server->lock);
    return empty;
}

void table_free(struct server *server)
{
    for (unsigned i = 0; i < server->table_len; i++)
        pthread_mutex_destroy(&server->table[i].lock);
    free(server->table);
    pthread_cond_destroy(&server->none_open);
    pthread_mutex_destroy(&server->lock);
}
