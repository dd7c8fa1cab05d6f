/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * DISCARD, WRITE_ZEROES and SECURE_ERASE: lists of sector ranges. They act on the media as stored
 * and carry no crypto: what they zero decrypts to noise. All ranges are checked before the first is
 * carried out.
 */
#include "base/bytes.h"
#include "base/iov.h"
#include "base/units.h"
#include "internal.h"
#include "virtio/blk.h"
#include <errno.h>

#define RANGE_BYTES sizeof(struct virtio_blk_segment)

struct range {
    uint64_t sector;
    uint32_t sectors;
    uint32_t flags;
};

/* Linux sends the ranges of SECURE_ERASE (14, even) in device-writable buffers: both are taken. */
static size_t gather_ranges(const struct job *job, uint8_t *bytes, size_t room)
{
    const struct ice_request *request = job->request;

    if (job->data_out)
        return iov_gather(request->readable, request->nreadable, job->head, bytes,
                          min_u64(job->data_out, room));
    return iov_gather(request->writable, request->nwritable, 0, bytes, min_u64(job->data_in, room));
}

static uint8_t check_range(struct job *job, const struct range *range)
{
    const struct ice_function *function = job->function;
    uint32_t known = job->command.kind == COMMAND_WRITE_ZEROES ? VIRTIO_BLK_SEGMENT_UNMAP : 0;
    uint64_t sectors = function_sectors(function);

    if (range->flags & ~known)
        return refuse(job, RULE_RANGES_FLAGS, VIRTIO_BLK_S_UNSUPP, EOPNOTSUPP,
                      "%s does not know flags 0x%x", command_name(job->command.kind),
                      range->flags & ~known);
    if (range->sectors > RANGE_MAX_SECTORS)
        return refuse(job, RULE_RANGES_COUNT, VIRTIO_BLK_S_IOERR, EINVAL,
                      "a range of %u sectors is more than %u", range->sectors, RANGE_MAX_SECTORS);
    if (range->sector > sectors || range->sectors > sectors - range->sector)
        return refuse(job, RULE_IO_RANGE, VIRTIO_BLK_S_IOERR, EIO,
                      "sector %llu + %u is past the end of %s (%llu sectors)",
                      (unsigned long long)range->sector, range->sectors, function->name,
                      (unsigned long long)sectors);
    return check_blocks(job, range->sector, range->sectors);
}

static struct range load_range(const uint8_t *bytes)
{
    return (struct range){
        .sector = load_le64(bytes),
        .sectors = load_le32(bytes + offsetof(struct virtio_blk_segment, num_sectors)),
        .flags = load_le32(bytes + offsetof(struct virtio_blk_segment, flags)),
    };
}

static uint8_t carry_out(struct job *job, const struct range *range)
{
    struct store *store = job->function->store;
    uint64_t offset = job->function->first_byte + range->sector * SECTOR_SIZE;
    uint64_t len = (uint64_t)range->sectors * SECTOR_SIZE;
    int r;

    if (!len)
        return VIRTIO_BLK_S_OK;
    if (job->command.kind == COMMAND_DISCARD)
        r = store->ops->discard(store, offset, len, job->why);
    else
        r = store->ops->zero(store, offset, len,
                             job->command.kind == COMMAND_SECURE_ERASE ||
                                 range->flags & VIRTIO_BLK_SEGMENT_UNMAP,
                             job->why);
    return r ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static uint8_t check_list(struct job *job, size_t len)
{
    if (job->data_in && job->command.kind != COMMAND_SECURE_ERASE)
        return refuse(job, RULE_DATA_DIRECTION, VIRTIO_BLK_S_IOERR, EINVAL,
                      "%s takes its ranges readable", command_name(job->command.kind));
    if (!len || len % RANGE_BYTES || len > RANGES_MAX * RANGE_BYTES)
        return refuse(job, len % RANGE_BYTES || !len ? RULE_RANGES_LENGTH : RULE_RANGES_COUNT,
                      VIRTIO_BLK_S_IOERR, EINVAL,
                      "%zu bytes of ranges are not 1 to %u ranges of %zu", len, RANGES_MAX,
                      RANGE_BYTES);
    if (!job->data_out)
        return tolerate(job, RULE_ERASE_DIRECTION, "%s has its ranges device-writable",
                        command_name(job->command.kind));
    return VIRTIO_BLK_S_OK;
}

uint8_t run_ranges(struct job *job)
{
    uint8_t bytes[RANGES_MAX * RANGE_BYTES];
    size_t len = job->data_out ? job->data_out : job->data_in;
    uint8_t status = check_list(job, len);

    if (status != VIRTIO_BLK_S_OK)
        return status;
    gather_ranges(job, bytes, sizeof(bytes));
    for (size_t i = 0; i < len && status == VIRTIO_BLK_S_OK; i += RANGE_BYTES) {
        struct range range = load_range(bytes + i);
        status = check_range(job, &range);
    }
    for (size_t i = 0; i < len && status == VIRTIO_BLK_S_OK; i += RANGE_BYTES) {
        struct range range = load_range(bytes + i);
        status = carry_out(job, &range);
    }
    if (status != VIRTIO_BLK_S_OK || job->command.kind == COMMAND_DISCARD)
        return status;
    return attachment_writes_through(job->attachment) ? make_stable(job) : status;
}
