/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * icestorm DIR COUNT SEED SECONDS HOSTILE[,HOSTILE…] FUNCTION…
 *
 * A driver for each FUNCTION writes and reads through its first slot in the first half of its
 * sectors, and knows what has to be there: for SECONDS undisturbed, then while a hostile driver on
 * each HOSTILE function in turn sends its part of COUNT requests. Prints one JSON object; exits
 * with 1 as soon as a byte is not what it has to be or an answer is not OK.
 */
#include "icestorm.h"
#include "base/algorithm.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/secret.h"
#include "base/units.h"
#include "virtio/blk.h"
#include "virtio/ice.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define UNIT        4096u
#define HOSTILE_MAX 8u
#define CONNECTIONS 8u /* to each hostile function */

struct driver {
    const char *name;
    struct connection connection;
    pthread_t thread;
    uint64_t random;
    uint64_t blocks;   /* of UNIT, in the first half */
    uint64_t *written; /* per block: what its content was made from; 0: never written */
    uint8_t data[UNIT], want[UNIT], *head;
    _Atomic uint64_t transfers;
};

static _Atomic bool stop;

void die(const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fputs("icestorm: ", stderr);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
    va_end(args);
    _exit(1);
}

void connect_function(struct connection *connection, const char *dir, const char *name)
{
    uint8_t space[DIALECT_CONFIG_MAX];
    uint64_t offered, negotiated;
    struct ice_why why = {0};

    snprintf(connection->path, sizeof(connection->path), "%s/%s.sock", dir, name);
    if (client_connect(connection->path, 60000, &connection->client, &why) ||
        client_negotiate(connection->client, UINT64_MAX, &connection->channel, &why) ||
        client_get_features(connection->client, &offered, &negotiated, &why) ||
        client_read_config(connection->client, 0, space, sizeof(space), &why))
        die("%s: %s", name, why.text);
    connection->channel->dialect->parse_config(offered, space, sizeof(space), &connection->config);
}

/* ---- one driver ---- */

struct transfer {
    struct ice_request request;
    const char *name;
    bool done;
};

static void on_done(struct ice_request *request, size_t written, const struct ice_why *why)
{
    struct transfer *transfer = CONTAINER_OF(request, struct transfer, request);

    if (!written || why)
        die("%s: %s", transfer->name, why ? why->text : "no answer");
    transfer->done = true;
}

static void run(struct driver *driver, const struct command *command, bool out)
{
    const struct channel *channel = driver->connection.channel;
    uint8_t status = VIRTIO_BLK_S_IOERR;
    bool data = command->kind == COMMAND_READ || command->kind == COMMAND_WRITE;
    struct iovec readable[] = {{driver->head, 0}, {driver->data, out ? UNIT : 0}};
    struct iovec writable[] = {{driver->data, data && !out ? UNIT : 0}, {&status, 1}};
    struct transfer transfer = {
        .request = {.readable = readable,
                    .nreadable = 2,
                    .writable = writable,
                    .nwritable = 2,
                    .queue = channel_queue(channel, command->kind),
                    .expect = EXPECT_ANY,
                    .done = on_done},
        .name = driver->name,
    };
    struct ice_why why;

    readable[0].iov_len = channel->dialect->build(channel->features, command, driver->head);
    if (client_submit(driver->connection.client, &transfer.request, &why))
        die("%s: %s", driver->name, why.text);
    while (!transfer.done)
        if (client_run(driver->connection.client, &why))
            die("%s: %s", driver->name, why.text);
    if (status != VIRTIO_BLK_S_OK)
        die("%s: status %u", driver->name, status);
}

static void program(struct driver *driver)
{
    uint8_t *key = secret_alloc(64);
    struct command command = {
        .kind = COMMAND_KEY_PROGRAM,
        .slot = driver->connection.config.slot_offset,
        .key = {.type = ICE_KEY_TYPE_RAW,
                .alg = ALG_AES_XTS,
                .key_size = KEY_SIZE_256,
                .data_unit = UNIT,
                .dun_bytes = 8,
                .len = 64,
                .bytes = key},
    };

    driver->head = secret_alloc(DIALECT_HEAD_MAX);
    if (!key || !driver->head)
        die("no secret memory");
    for (int i = 0; i < 64; i++)
        key[i] = (uint8_t)next_random(&driver->random);
    run(driver, &command, false);
    secret_free(key);
}

static void make_data(uint64_t from, uint8_t *data)
{
    for (size_t i = 0; i < UNIT; i += 8) {
        uint64_t word = next_random(&from);
        memcpy(data + i, &word, 8);
    }
}

static void transfer(struct driver *driver, uint64_t block, bool write)
{
    const struct command command = {
        .kind = write ? COMMAND_WRITE : COMMAND_READ,
        .sector = block * (UNIT / SECTOR_SIZE),
        .tagged = true,
        .slot = driver->connection.config.slot_offset,
        .dun = dun_from_u64(block + 1),
    };

    if (write) {
        driver->written[block] = next_random(&driver->random) | 1;
        make_data(driver->written[block], driver->data);
    }
    run(driver, &command, write);
    if (!write) {
        make_data(driver->written[block], driver->want);
        if (memcmp(driver->data, driver->want, UNIT))
            die("%s: block %llu is not what was written", driver->name, (unsigned long long)block);
    }
    atomic_fetch_add(&driver->transfers, 1);
}

static void *drive(void *user)
{
    struct driver *driver = user;

    while (!atomic_load(&stop)) {
        uint64_t block = next_random(&driver->random) % driver->blocks;
        transfer(driver, block, !driver->written[block] || next_random(&driver->random) % 2);
    }
    for (uint64_t block = 0; block < driver->blocks; block++)
        if (driver->written[block])
            transfer(driver, block, false);
    return NULL;
}

static void start(struct driver *driver, const char *dir, const char *name, uint64_t seed)
{
    driver->name = name;
    driver->random = seed;
    connect_function(&driver->connection, dir, name);
    driver->blocks = driver->connection.config.capacity / 2 / (UNIT / SECTOR_SIZE);
    driver->written = calloc(driver->blocks, sizeof(*driver->written));
    if (!driver->written)
        die("no memory");
    program(driver);
    if (pthread_create(&driver->thread, NULL, drive, driver))
        die("no thread");
}

static void end(struct driver *driver)
{
    pthread_join(driver->thread, NULL);
    client_close(driver->connection.client);
    secret_free(driver->head);
    free(driver->written);
}

/* ---- all of them ---- */

static void read_transfers(struct driver *drivers, unsigned n, uint64_t *transfers)
{
    for (unsigned i = 0; i < n; i++)
        transfers[i] = atomic_load(&drivers[i].transfers);
}

struct hostile {
    const char *dir, *name;
    uint64_t count, seed, ok;
    pthread_t thread;
};

static void *assail(void *user)
{
    struct hostile *hostile = user;
    struct connection connection;

    connect_function(&connection, hostile->dir, hostile->name);
    hostile->ok = run_hostile(&connection, hostile->count, hostile->seed);
    client_close(connection.client); /* which never saw the answers */
    return NULL;
}

/* Each named function from several connections, all at once. Returns how many requests were OK. */
static uint64_t storm(const char *dir, char *list, uint64_t count, uint64_t seed)
{
    struct hostile all[HOSTILE_MAX * CONNECTIONS];
    unsigned n = 0;
    uint64_t ok = 0;

    for (char *name = strtok(list, ","); name && n < ARRAY_SIZE(all); name = strtok(NULL, ","))
        for (unsigned i = 0; i < CONNECTIONS; i++)
            all[n++] = (struct hostile){.dir = dir, .name = name};
    for (unsigned i = 0; i < n; i++) {
        all[i].count = (count + n - 1) / n;
        all[i].seed = seed * 31 + i + 1;
        if (pthread_create(&all[i].thread, NULL, assail, &all[i]))
            die("no thread");
    }
    for (unsigned i = 0; i < n; i++) {
        pthread_join(all[i].thread, NULL);
        ok += all[i].ok;
    }
    return ok;
}

/* How each did in the two phases: the slowest per second, and the worst in proportion. */
static void report(unsigned n, const uint64_t *counts, double quiet, double stormy)
{
    const uint64_t *before = counts, *between = counts + n, *after = counts + 2 * n;
    double alone = 1e12, beside = 1e12, least = 1e12;
    uint64_t fewest = UINT64_MAX;

    for (unsigned i = 0; i < n; i++) {
        double rate = (double)(between[i] - before[i]) / quiet;
        double stormed = (double)(after[i] - between[i]) / stormy;

        alone = rate < alone ? rate : alone;
        beside = stormed < beside ? stormed : beside;
        least = stormed < least * rate ? stormed / rate : least;
        fewest = after[i] - between[i] < fewest ? after[i] - between[i] : fewest;
    }
    printf(",\"functions\":%u,\"fewest_transfers\":%llu,\"slowest_alone\":%.0f,"
           "\"slowest_beside\":%.0f,\"least_ratio\":%.3f}\n",
           n, (unsigned long long)fewest, alone, beside, least);
}

int main(int argc, char **argv)
{
    struct driver *drivers;
    uint64_t *counts, count, seed, ok;
    int64_t began, middle, ended;
    double seconds;
    unsigned n;

    if (argc < 7) {
        fputs("usage: icestorm DIR COUNT SEED SECONDS HOSTILE[,HOSTILE...] FUNCTION...\n", stderr);
        return 2;
    }
    n = (unsigned)(argc - 6);
    drivers = calloc(n, sizeof(*drivers));
    counts = calloc(n, 3 * sizeof(*counts));
    if (!drivers || !counts)
        die("no memory");
    count = strtoull(argv[2], NULL, 10);
    seed = strtoull(argv[3], NULL, 10);
    seconds = strtod(argv[4], NULL);
    for (unsigned i = 0; i < n; i++)
        start(&drivers[i], argv[1], argv[6 + i], seed * 7919 + i + 1);
    read_transfers(drivers, n, counts);
    began = now_ms();
    usleep((useconds_t)(seconds * 1e6));
    read_transfers(drivers, n, counts + n);
    middle = now_ms();
    ok = storm(argv[1], argv[5], count, seed);
    read_transfers(drivers, n, counts + 2 * n);
    ended = now_ms();
    atomic_store(&stop, true);
    for (unsigned i = 0; i < n; i++)
        end(&drivers[i]);
    printf("{\"requests\":%llu,\"ok\":%llu,\"per_second\":%.0f", (unsigned long long)count,
           (unsigned long long)ok, (double)count * 1000 / (double)(ended - middle + 1));
    report(n, counts, (double)(middle - began) / 1000, (double)(ended - middle + 1) / 1000);
    free(counts);
    free(drivers);
    return 0;
}
