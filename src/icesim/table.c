/* SPDX-License-Identifier: BSD-2-Clause */
/* A lane's table of connections: entries are made at their first use and go from client to client.
 */
#include "base/bytes.h"
#include "server_private.h"
#include <errno.h>
#include <stdlib.h>
#include <time.h>

int table_init(struct lane *lane, unsigned limit)
{
    pthread_condattr_t clock;
    pthread_condattr_init(&clock);
    pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
    pthread_mutex_init(&lane->lock, NULL);
    pthread_cond_init(&lane->none_open, &clock);
    pthread_condattr_destroy(&clock);
    lane->limit = limit;
    lane->table = calloc(limit, sizeof(*lane->table));
    return lane->table ? 0 : -ENOMEM;
}

static struct connection *new_entry(struct lane *lane)
{
    if (lane->table_len == lane->limit)
        return NULL;
    struct connection *connection = &lane->table[lane->table_len];
    connection->lane = lane;
    connection->index = lane->table_len++;
    connection->fd = -1;
    pthread_mutex_init(&connection->lock, NULL);
    return connection;
}

struct connection *table_take(struct lane *lane)
{
    struct connection *connection = lane->free_entries;
    if (connection)
        lane->free_entries = connection->next_free;
    else
        connection = new_entry(lane);
    if (connection)
        lane->open++;
    return connection;
}

void table_put(struct connection *connection)
{
    struct lane *lane = connection->lane;
    pthread_mutex_lock(&lane->lock);
    connection->next_free = lane->free_entries;
    lane->free_entries = connection;
    if (--lane->open == 0)
        pthread_cond_broadcast(&lane->none_open);
    pthread_mutex_unlock(&lane->lock);
}

void table_each(struct lane *lane, void (*each)(struct connection *, void *), void *user)
{
    pthread_mutex_lock(&lane->lock);
    unsigned len = lane->table_len;
    pthread_mutex_unlock(&lane->lock);
    for (unsigned i = 0; i < len; i++)
        each(&lane->table[i], user);
}

bool table_wait_empty(struct lane *lane, int timeout_ms)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    pthread_mutex_lock(&lane->lock);
    int err = 0;
    while (lane->open && !err)
        err = pthread_cond_timedwait(&lane->none_open, &lane->lock, &until);
    bool empty = lane->open == 0;
    pthread_mutex_unlock(&lane->lock);
    return empty;
}

void table_free(struct lane *lane)
{
    for (unsigned i = 0; i < lane->table_len; i++)
        pthread_mutex_destroy(&lane->table[i].lock);
    free(lane->table);
    pthread_cond_destroy(&lane->none_open);
    pthread_mutex_destroy(&lane->lock);
}
