/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * READ and WRITE, plain or through a keyslot. Everything is checked before the media is touched. A
 * tagged write is encrypted whole into this thread's buffer, then stored; a tagged read is fetched
 * into that buffer and decrypted on its way to the data area: one pass over the data each way.
 */
#include "base/bytes.h"
#include "base/iov.h"
#include "base/units.h"
#include "internal.h"
#include "virtio/blk.h"
#include <errno.h>

/* The slot's part in a transfer, while a reference to it is held. */
struct crypto {
    unsigned slot; /* physical */
    uint32_t data_unit;
    struct dun dun;
};

static uint8_t check_range(struct job *job, size_t len)
{
    const struct command *command = &job->command;
    uint64_t sectors = job->function->sectors;

    if (!len || len % SECTOR_SIZE)
        return refuse(job, VIRTIO_BLK_S_IOERR, EINVAL,
                      "%zu bytes of data are not a multiple of %u above 0", len, SECTOR_SIZE);
    if (len > REQUEST_MAX)
        return refuse(job, VIRTIO_BLK_S_IOERR, EINVAL, "%zu bytes of data are more than %u", len,
                      REQUEST_MAX);
    if (command->sector >= sectors || len / SECTOR_SIZE > sectors - command->sector)
        return refuse(job, VIRTIO_BLK_S_IOERR, EIO,
                      "sector %llu + %zu is past the end of %s (%llu sectors)",
                      (unsigned long long)command->sector, len / SECTOR_SIZE, job->function->name,
                      (unsigned long long)sectors);
    return VIRTIO_BLK_S_OK;
}

static uint8_t refuse_slot(struct job *job)
{
    const struct ice_function *function = job->function;

    return refuse(job, VIRTIO_BLK_S_IOERR, EINVAL, "slot %u is outside %s's window %u..%u",
                  job->command.slot, function->name, function->first_slot,
                  function->first_slot + function->slots - 1);
}

/* What can be wrong once the slot's key is known. */
static uint8_t check_crypto(struct job *job, const struct crypto *crypto, size_t len)
{
    struct engine *engine = job->function->engine;
    struct dun last = crypto->dun;

    if (atomic_load(&job->attachment->generation) != engine_generation(engine))
        return refuse(job, VIRTIO_BLK_S_IOERR, ESTALE,
                      "the engine was reset and the driver has not acknowledged it");
    if (len % crypto->data_unit)
        return refuse(job, VIRTIO_BLK_S_IOERR, EINVAL,
                      "%zu bytes of data are not a multiple of the data unit of %u", len,
                      crypto->data_unit);
    if (!dun_add(&last, len / crypto->data_unit - 1) || !dun_fits(&last, engine_dun_bits(engine)))
        return refuse(job, VIRTIO_BLK_S_IOERR, EOVERFLOW,
                      "the DUN of data unit %zu overflows %u bits", len / crypto->data_unit - 1,
                      engine_dun_bits(engine));
    return VIRTIO_BLK_S_OK;
}

/*
 * Takes the slot. The generation is looked at after that: a slot taken before an engine reset still
 * has the old key, one taken later is seen to be of another generation.
 */
static uint8_t take_slot(struct job *job, struct crypto *crypto, size_t len)
{
    struct engine *engine = job->function->engine;
    uint8_t status;

    if (!function_slot(job->function, job->command.slot, &crypto->slot))
        return refuse_slot(job);
    crypto->dun = job->command.dun;
    job->seen.slot = crypto->slot;
    if (engine_get(engine, crypto->slot, job->request->expect, &job->seen.key))
        return job->request->expect == EXPECT_ANY
                   ? refuse(job, VIRTIO_BLK_S_IOERR, ENOKEY, "slot %u is empty", job->command.slot)
                   : refuse(job, VIRTIO_BLK_S_IOERR, ENOKEY,
                            "slot %u no longer has the key that was expected", job->command.slot);
    crypto->data_unit = job->seen.key.data_unit;
    status = check_crypto(job, crypto, len);
    if (status != VIRTIO_BLK_S_OK)
        engine_put(engine, crypto->slot);
    return status;
}

typedef int cipher_function(struct cipher *, struct dun, const void *, void *, size_t);

/* The longest run of whole data units at the front of the list; 0 when a unit is in two parts. */
static size_t whole_units(const struct iovec *iov, size_t len, uint32_t data_unit)
{
    size_t run = min_u64(iov->iov_len, len);

    return run - run % data_unit;
}

/*
 * Encrypts `len` bytes of the list into `to`, or decrypts `to` into the list. A data unit in
 * several parts goes through its place in `to`.
 */
static int crypt_list(struct cipher *cipher, const struct crypto *crypto, bool encrypt,
                      struct iovec *iov, unsigned n, uint8_t *to, size_t len)
{
    struct dun dun = crypto->dun;
    unsigned at = iov_advance(iov, n, 0);
    int r = 0;

    for (size_t run; len && !r; len -= run, to += run) {
        run = whole_units(&iov[at], len, crypto->data_unit);
        if (run && encrypt) {
            r = cipher_encrypt(cipher, dun, iov[at].iov_base, to, run);
        } else if (run) {
            r = cipher_decrypt(cipher, dun, to, iov[at].iov_base, run);
        } else if (run = crypto->data_unit, encrypt) {
            iov_gather(iov + at, n - at, 0, to, run);
            r = cipher_encrypt(cipher, dun, to, to, run);
        } else {
            r = cipher_decrypt(cipher, dun, to, to, run);
            iov_scatter(iov + at, n - at, 0, to, run);
        }
        at += iov_advance(iov + at, n - at, run);
        dun_add(&dun, run / crypto->data_unit);
    }
    return r;
}

static uint8_t crypt_data(struct job *job, const struct crypto *crypto, struct iovec *iov,
                          unsigned n, uint8_t *buffer, size_t len)
{
    struct engine *engine = job->function->engine;
    struct cipher *cipher = engine_borrow(engine, crypto->slot);
    int r = crypt_list(cipher, crypto, job->command.kind == COMMAND_WRITE, iov, n, buffer, len);

    engine_return(engine, crypto->slot, cipher);
    return r ? refuse(job, VIRTIO_BLK_S_IOERR, EIO, "the cipher failed") : VIRTIO_BLK_S_OK;
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
        return refuse(job, VIRTIO_BLK_S_IOERR, ENOMEM, "no memory for the private buffer");
    status = take_slot(job, &crypto, len);
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
