/* SPDX-License-Identifier: BSD-2-Clause */
#include "fake_disk.h"
#include "base/bytes.h"
#include "base/units.h"
#include <errno.h>
#include <stdlib.h>

#define ALL_UNITS (2 * DATA_UNIT_MAX - DATA_UNIT_MIN)

const struct crypto_caps no_caps;
const struct crypto_caps all_caps = {
    .units = {ALL_UNITS, ALL_UNITS, ALL_UNITS, ALL_UNITS, ALL_UNITS, ALL_UNITS, ALL_UNITS,
              ALL_UNITS, ALL_UNITS, ALL_UNITS, ALL_UNITS},
    .dun_bytes = 16,
    .key_types = ICE_KEY_TYPE_RAW,
};

struct crypto_caps caps_of(uint32_t units)
{
    struct crypto_caps caps = all_caps;

    for (unsigned i = 0; i < ALGORITHM_COUNT; i++)
        caps.units[i] &= units;
    return caps;
}

void make_key(struct crypto_key *key, uint32_t data_unit, unsigned number)
{
    const struct crypto_config config = {algorithm_by_name("aes-256-xts"), data_unit, 8,
                                         ICE_KEY_TYPE_RAW};
    uint8_t bytes[64];

    for (unsigned i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 7 + number);
    if (crypto_key_init(key, &config, bytes, sizeof(bytes), NULL))
        exit(1);
}

struct disk_key {
    struct fake_disk *fake;
    struct cipher *cipher;
    unsigned in_flight;
    uint64_t requests;
};

static struct fake_disk *fake_of(struct disk *disk)
{
    return (struct fake_disk *)disk;
}

/* ---- the gate ---- */

void fake_disk_shut(struct fake_disk *fake)
{
    pthread_mutex_lock(&fake->lock);
    fake->shut = true;
    pthread_mutex_unlock(&fake->lock);
}

void fake_disk_await(struct fake_disk *fake, unsigned n)
{
    pthread_mutex_lock(&fake->lock);
    while (fake->waiting < n)
        pthread_cond_wait(&fake->changed, &fake->lock);
    pthread_mutex_unlock(&fake->lock);
}

void fake_disk_release(struct fake_disk *fake)
{
    pthread_mutex_lock(&fake->lock);
    fake->shut = false;
    pthread_cond_broadcast(&fake->changed);
    pthread_mutex_unlock(&fake->lock);
}

/* The lock is held. */
static void pass_gate(struct fake_disk *fake)
{
    fake->waiting++;
    pthread_cond_broadcast(&fake->changed);
    while (fake->shut)
        pthread_cond_wait(&fake->changed, &fake->lock);
    fake->waiting--;
}

/* ---- the disk ---- */

/* The lock is held: one thread at a time uses the cipher. */
static int move(struct fake_disk *fake, const struct disk_io *io)
{
    uint8_t *stored = fake->bytes + io->offset;
    int r = 0;

    if (io->key && io->write)
        r = cipher_encrypt(io->key->cipher, io->dun, io->buffer, stored, io->len);
    else if (io->key)
        r = cipher_decrypt(io->key->cipher, io->dun, stored, io->buffer, io->len);
    else if (io->write)
        memcpy(stored, io->buffer, io->len);
    else
        memcpy(io->buffer, stored, io->len);
    return r;
}

static int transfer(struct disk *disk, const struct disk_io *io, struct ice_why *why)
{
    struct fake_disk *fake = fake_of(disk);
    int r;

    if (io->offset % SECTOR_SIZE || !io->len || io->len % SECTOR_SIZE || io->len > REQUEST_MAX ||
        io->offset > disk->size || io->len > disk->size - io->offset)
        return why_set(why, EIO, "the fake disk takes no such request");
    fake->requests++;
    fake->keyed += io->key != NULL;
    pthread_mutex_lock(&fake->lock);
    if (io->key)
        io->key->in_flight++;
    pass_gate(fake);
    if (fake->fail_io && io->offset + io->len > fake->fail_from)
        r = why_set(why, -fake->fail_io, "the fake disk fails");
    else
        r = move(fake, io);
    if (io->key) {
        io->key->in_flight--;
        io->key->requests++;
    }
    pthread_mutex_unlock(&fake->lock);
    return r;
}

static int flush(struct disk *disk, struct ice_why *why)
{
    struct fake_disk *fake = fake_of(disk);

    fake->flushes++;
    return fake->fail_flush ? why_set(why, -fake->fail_flush, "the fake disk does not flush") : 0;
}

/* ---- keys ---- */

static int key_open(struct disk *disk, const struct crypto_key *key, struct disk_key **opened,
                    struct ice_why *why)
{
    struct fake_disk *fake = fake_of(disk);
    const struct cipher_params params = {.algorithm = key->config.algorithm,
                                         .data_unit = key->config.data_unit};
    struct cipher *cipher = NULL;
    int r = crypto_caps_support(&disk->caps, &key->config, why);

    if (r)
        return r;
    if (fake->fail_open)
        return why_set(why, -fake->fail_open, "the fake disk opens no key");
    if (key->config.key_type == ICE_KEY_TYPE_RAW) {
        r = cipher_open(&params, key->bytes, &cipher, why);
        if (r)
            return r;
    }
    *opened = calloc(1, sizeof(**opened));
    if (!*opened)
        exit(1);
    **opened = (struct disk_key){.fake = fake, .cipher = cipher};
    fake->opens++;
    return 0;
}

static int key_evict(struct disk *disk, struct disk_key *key, struct ice_why *why)
{
    struct fake_disk *fake = fake_of(disk);
    int r = 0;

    pthread_mutex_lock(&fake->lock);
    fake->evicts++;
    if (key->in_flight)
        r = why_set(why, EBUSY, "the fake disk is busy with the key");
    else if (fake->fail_evict)
        r = why_set(why, -fake->fail_evict, "the fake disk does not evict");
    pthread_mutex_unlock(&fake->lock);
    return r;
}

static void key_close(struct disk *disk, struct disk_key *key)
{
    fake_of(disk)->closes++;
    cipher_close(key->cipher);
    free(key);
}

static enum disk_path key_path(const struct disk_key *key)
{
    (void)key;
    return DISK_NATIVE;
}

static void key_counts(struct disk_key *key, struct disk_key_counts *counts)
{
    pthread_mutex_lock(&key->fake->lock);
    *counts = (struct disk_key_counts){.profile = {.hits = key->requests,
                                                   .misses = 2 * key->requests,
                                                   .programs = 3 * key->requests,
                                                   .evictions = 4 * key->requests,
                                                   .waits = 5 * key->requests}};
    pthread_mutex_unlock(&key->fake->lock);
}

static void close_disk(struct disk *disk)
{
    struct fake_disk *fake = fake_of(disk);

    pthread_cond_destroy(&fake->changed);
    pthread_mutex_destroy(&fake->lock);
    free(fake->bytes);
    free(fake);
}

static const struct disk_ops ops = {
    .transfer = transfer,
    .flush = flush,
    .key_open = key_open,
    .key_evict = key_evict,
    .key_close = key_close,
    .key_path = key_path,
    .key_counts = key_counts,
    .close = close_disk,
};

struct fake_disk *fake_disk_new(uint64_t size, const struct crypto_caps *caps)
{
    struct fake_disk *fake = calloc(1, sizeof(*fake));

    if (!fake)
        exit(1);
    fake->disk = (struct disk){.ops = &ops, .size = size, .caps = *caps, .block_size = 512};
    fake->bytes = calloc(1, size);
    if (!fake->bytes)
        exit(1);
    pthread_mutex_init(&fake->lock, NULL);
    pthread_cond_init(&fake->changed, NULL);
    return fake;
}
