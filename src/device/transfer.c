/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * READ and WRITE, plain, through a keyslot, or with a key that comes along. Everything is checked
 * before the media is touched. A tagged write is encrypted whole into this thread's buffer, then
 * stored; a tagged read is fetched into that buffer and decrypted on its way to the data area: one
 * pass over the data each way.
 */
#include "base/bytes.h"
#include "base/iov.h"
#include "base/units.h"
#include "internal.h"
#include "virtio/blk.h"
#include <errno.h>

/* The key's part in a transfer, while a reference to it is held. */
struct crypto {
    unsigned slot; /* physical, or the number of a key that came along */
    uint32_t data_unit;
    struct dun dun;
    size_t to_wrap; /* bytes after which the DUN starts over at 0; SIZE_MAX: it does not */
};

uint8_t check_blocks(struct job *job, uint64_t sector, uint64_t sectors)
{
    uint32_t block = job->function->block_size;

    if ((sector | sectors) & (block / SECTOR_SIZE - 1))
        return refuse(job, RULE_IO_BLOCK, VIRTIO_BLK_S_IOERR, EINVAL,
                      "sector %llu + %llu is no multiple of the logical block of %u bytes",
                      (unsigned long long)sector, (unsigned long long)sectors, block);
    return VIRTIO_BLK_S_OK;
}

static uint8_t check_range(struct job *job, size_t len)
{
    const struct command *command = &job->command;
    uint64_t sectors = function_sectors(job->function);

    if (!len || len % SECTOR_SIZE)
        return refuse(job, RULE_IO_LENGTH, VIRTIO_BLK_S_IOERR, EINVAL,
                      "%zu bytes of data are not a multiple of %u above 0", len, SECTOR_SIZE);
    if (len > REQUEST_MAX)
        return refuse(job, RULE_NONE, VIRTIO_BLK_S_IOERR, EINVAL,
                      "%zu bytes of data are more than %u", len, REQUEST_MAX);
    if (command->sector >= sectors || len / SECTOR_SIZE > sectors - command->sector)
        return refuse(job, RULE_IO_RANGE, VIRTIO_BLK_S_IOERR, EIO,
                      "sector %llu + %zu is past the end of %s (%llu sectors)",
                      (unsigned long long)command->sector, len / SECTOR_SIZE, job->function->name,
                      (unsigned long long)sectors);
    return check_blocks(job, command->sector, len / SECTOR_SIZE);
}

static uint8_t refuse_dun(struct job *job, size_t unit, unsigned bits)
{
    return refuse(job, RULE_DUN_OVERFLOW, VIRTIO_BLK_S_IOERR, EOVERFLOW,
                  "the DUN of data unit %zu overflows %u bits", unit, bits);
}

/* Where the DUN of one of `units` does not fit: what the function's policy makes of it. */
static uint8_t overflow(struct job *job, struct crypto *crypto, size_t units, unsigned bits)
{
    switch (job->function->on_overflow) {
    case OVERFLOW_REJECT:
        return refuse_dun(job, units - 1, bits);
    case OVERFLOW_WRAP:
        if (!dun_fits(&crypto->dun, bits))
            return refuse_dun(job, 0, bits);
        break;
    case OVERFLOW_TRUNCATE:
        dun_mask(&crypto->dun, bits);
        break;
    }
    crypto->to_wrap = dun_left(&crypto->dun, bits, units) * crypto->data_unit;
    return VIRTIO_BLK_S_OK;
}

/* DUNs are as wide as the function has them, but no wider than what the cipher tells apart. */
static uint8_t check_dun(struct job *job, struct crypto *crypto, size_t units)
{
    unsigned bits = (unsigned)min_u64(job->function->dun_bits, job->seen.key.iv_bits);
    struct dun last = crypto->dun;

    crypto->to_wrap = SIZE_MAX;
    if (!dun_add(&last, units - 1) || !dun_fits(&last, bits))
        return overflow(job, crypto, units, bits);
    return VIRTIO_BLK_S_OK;
}

static bool is_stale(const struct job *job)
{
    return atomic_load(&job->attachment->generation) != engine_generation(job->function->engine);
}

/* One that claims slots repeats the request once it has: no rule is broken. */
static uint8_t refuse_stale(struct job *job)
{
    enum rule rule = job->request->claim ? RULE_NONE : RULE_GENERATION;

    return refuse(job, rule, VIRTIO_BLK_S_IOERR, ESTALE,
                  "the engine was reset and the driver has not acknowledged it");
}

/* What can be wrong once the key is known. */
static uint8_t check_crypto(struct job *job, struct crypto *crypto, size_t len)
{
    crypto->data_unit = job->seen.key.data_unit;
    if (len % crypto->data_unit)
        return refuse(job, RULE_UNIT_LENGTH, VIRTIO_BLK_S_IOERR, EINVAL,
                      "%zu bytes of data are not a multiple of the data unit of %u", len,
                      crypto->data_unit);
    return check_dun(job, crypto, len / crypto->data_unit);
}

/* Whatever the driver has acknowledged since: the key in the slot may be one of a later engine. */
static uint8_t refuse_replayed(struct job *job)
{
    return refuse(job, RULE_NONE, VIRTIO_BLK_S_IOERR, ESTALE,
                  "%s was interrupted, and its key may be another now",
                  command_name(job->command.kind));
}

/* A caller in the process that expects a certain key is no driver that breaks a rule. */
static uint8_t refuse_key(struct job *job)
{
    unsigned slot = job->command.slot;
    bool expects = job->request->expect != EXPECT_ANY;

    if (!expects && is_stale(job))
        return refuse_stale(job);
    if (!expects && !job->request->claim)
        return refuse(job, RULE_SLOT_EMPTY, VIRTIO_BLK_S_IOERR, ENOKEY, "slot %u is empty", slot);
    return refuse(job, RULE_NONE, VIRTIO_BLK_S_IOERR, ENOKEY,
                  "slot %u no longer has the key that was expected", slot);
}

/* The reference is held, so that the claimer is the one it met. */
static uint8_t refuse_claimed(struct job *job, unsigned slot)
{
    struct slot_info info;

    engine_slot_info(job->function->engine, slot, &info);
    return refuse(job, RULE_NONE, VIRTIO_BLK_S_IOERR, EBUSY, "slot %u is claimed by %s",
                  job->command.slot, info.claimer_name);
}

/*
 * Takes the slot. The generation is looked at after that: a slot taken before an engine reset still
 * has the old key, one taken later is seen to be of another generation.
 */
static uint8_t take_slot(struct job *job, unsigned *slot)
{
    struct engine *engine = job->function->engine;
    const struct slot_key *key = &job->seen.key;
    uint8_t status = VIRTIO_BLK_S_OK;

    if (!function_slot(job->function, job->command.slot, slot))
        return refuse_slot(job);
    job->seen.slot = *slot;
    if (job->request->replayed)
        return refuse_replayed(job);
    if (engine_get(engine, *slot, job->request->expect, &job->seen.key))
        return refuse_key(job);
    if (job->request->claim && key->claimer != job->attachment->id)
        status = refuse_key(job);
    else if (key->claimer && key->claimer != job->attachment->id)
        status = refuse_claimed(job, *slot);
    else if (is_stale(job))
        status = refuse_stale(job);
    if (status != VIRTIO_BLK_S_OK)
        engine_put(engine, *slot);
    return status;
}

/* A key that comes along is of no generation. */
static uint8_t take_crypto(struct job *job, struct crypto *crypto, size_t len)
{
    uint8_t status =
        job->command.keyed ? take_key(job, &crypto->slot) : take_slot(job, &crypto->slot);

    if (status != VIRTIO_BLK_S_OK)
        return status;
    crypto->dun = job->command.dun;
    status = check_crypto(job, crypto, len);
    if (status != VIRTIO_BLK_S_OK)
        engine_put(job->function->engine, crypto->slot);
    return status;
}

typedef int cipher_function(struct cipher *, struct dun, const void *, void *, size_t);

/*
 * The longest run of whole data units at the front of the list, of `len` bytes at most; 0 when a
 * unit is in two parts.
 */
static size_t whole_units(const struct iovec *iov, size_t len, uint32_t data_unit)
{
    size_t run = min_u64(iov->iov_len, len);

    return run - run % data_unit;
}

/* Counts on; from the last DUN to 0. No run goes past it, as ciphers count by themselves. */
static void advance_dun(struct crypto *at, size_t run)
{
    dun_add(&at->dun, run / at->data_unit);
    at->to_wrap -= run;
    if (!at->to_wrap) {
        at->dun = dun_from_u64(0);
        at->to_wrap = SIZE_MAX;
    }
}

/*
 * Encrypts `len` bytes of the list into `to`, or decrypts `to` into the list. A data unit in
 * several parts goes through its place in `to`.
 */
static int crypt_list(struct cipher *cipher, struct crypto crypto, bool encrypt, struct iovec *iov,
                      unsigned n, uint8_t *to, size_t len)
{
    unsigned at = iov_advance(iov, n, 0);
    int r = 0;

    for (size_t run; len && !r; len -= run, to += run) {
        run = whole_units(&iov[at], min_u64(len, crypto.to_wrap), crypto.data_unit);
        if (run && encrypt) {
            r = cipher_encrypt(cipher, crypto.dun, iov[at].iov_base, to, run);
        } else if (run) {
            r = cipher_decrypt(cipher, crypto.dun, to, iov[at].iov_base, run);
        } else if (run = crypto.data_unit, encrypt) {
            iov_gather(iov + at, n - at, 0, to, run);
            r = cipher_encrypt(cipher, crypto.dun, to, to, run);
        } else {
            r = cipher_decrypt(cipher, crypto.dun, to, to, run);
            iov_scatter(iov + at, n - at, 0, to, run);
        }
        at += iov_advance(iov + at, n - at, run);
        advance_dun(&crypto, run);
    }
    return r;
}

static uint8_t crypt_data(struct job *job, const struct crypto *crypto, struct iovec *iov,
                          unsigned n, uint8_t *buffer, size_t len)
{
    struct engine *engine = job->function->engine;
    struct cipher *cipher = engine_borrow(engine, crypto->slot);
    int r = crypt_list(cipher, *crypto, job->command.kind == COMMAND_WRITE, iov, n, buffer, len);

    engine_return(engine, crypto->slot, cipher);
    return r ? refuse(job, RULE_NONE, VIRTIO_BLK_S_IOERR, EIO, "the cipher failed")
             : VIRTIO_BLK_S_OK;
}

static uint8_t store_transfer(struct job *job, struct iovec *iov, unsigned n)
{
    struct store *store = job->function->store;
    uint64_t offset = job->function->first_byte + job->command.sector * SECTOR_SIZE;
    int r = job->command.kind == COMMAND_WRITE ? store->ops->write(store, offset, iov, n, job->why)
                                               : store->ops->read(store, offset, iov, n, job->why);

    return r ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static uint8_t run_tagged(struct job *job, struct iovec *data, unsigned n, size_t len)
{
    struct crypto crypto;
    uint8_t *buffer = scratch_data();
    struct iovec stored = {buffer, len};
    uint8_t status;

    if (!buffer)
        return refuse(job, RULE_NONE, VIRTIO_BLK_S_IOERR, ENOMEM,
                      "no memory for the private buffer");
    status = take_crypto(job, &crypto, len);
    if (status != VIRTIO_BLK_S_OK)
        return status;
    if (job->command.kind == COMMAND_WRITE) {
        status = crypt_data(job, &crypto, data, n, buffer, len);
        if (status == VIRTIO_BLK_S_OK)
            status = store_transfer(job, &stored, 1);
    } else {
        status = store_transfer(job, &stored, 1);
        if (status == VIRTIO_BLK_S_OK)
            status = crypt_data(job, &crypto, data, n, buffer, len);
    }
    engine_put(job->function->engine, crypto.slot);
    return status;
}

uint8_t run_transfer(struct job *job)
{
    const struct ice_request *request = job->request;
    bool write = job->command.kind == COMMAND_WRITE;
    size_t len = write ? job->data_out : job->data_in;
    struct iovec data[IOV_PARTS_MAX];
    unsigned n;
    uint8_t status = check_range(job, len);

    if (status != VIRTIO_BLK_S_OK)
        return status;
    if (write)
        n = iov_slice(request->readable, request->nreadable, job->head, len, data);
    else
        n = iov_slice(request->writable, request->nwritable, 0, len, data);
    status = job->command.tagged ? run_tagged(job, data, n, len) : store_transfer(job, data, n);
    if (status != VIRTIO_BLK_S_OK)
        return status;
    job->filled = !write;
    return write && attachment_writes_through(job->attachment) ? make_stable(job) : status;
}
