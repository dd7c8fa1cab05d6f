/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A range of bytes is cut into a partial head unit, whole units and a partial tail unit. All its
 * stripes are taken in one step, so that a reader sees no unit half way between two writes of a
 * partial one. Whole units go straight from and to the caller's buffer, partial ones through a unit
 * on the stack. What a file is over matters only in the first part: to read, write, flush and hold.
 */
#include "byte_file.h"
#include "base/bytes.h"
#include "base/units.h"
#include <assert.h>
#include <errno.h>

/* ---- what the file is over; `at` and `len` are whole units ---- */

static int transfer_on_disk(const struct keyed_context *keyed, uint64_t at, uint8_t *buffer,
                            size_t len, bool write, struct ice_why *why)
{
    struct disk_io io = {
        .offset = keyed->first + at,
        .buffer = buffer,
        .len = len,
        .write = write,
        .key = keyed->key,
        .dun = keyed->dun,
    };

    dun_add(&io.dun, at / keyed->data_unit);
    return keyed->disk->ops->transfer(keyed->disk, &io, why);
}

static int read_units(const struct byte_file *file, uint64_t at, uint8_t *to, size_t len,
                      struct ice_why *why)
{
    if (file->on_disk)
        return transfer_on_disk(&file->keyed, at, to, len, false, why);
    return context_read(&file->context, at, to, len, why);
}

static int write_units(const struct byte_file *file, uint64_t at, uint8_t *from, size_t len,
                       struct ice_why *why)
{
    if (file->on_disk)
        return transfer_on_disk(&file->keyed, at, from, len, true, why);
    return context_write(&file->context, at, from, len, why);
}

static bool holds_slot(const struct byte_file *file)
{
    return !file->on_disk && file->context.tagged;
}

static int hold_slot(const struct byte_file *file, struct ice_why *why)
{
    const struct keyless_context *context = &file->context;
    int r = 0;

    if (holds_slot(file))
        r = context->channel->ops->slot_hold(context->channel, context->slot, context->expect);
    return r ? why_set(why, -r, "slot %u no longer has the key that the file was opened with",
                       context->slot)
             : 0;
}

static void release_slot(const struct byte_file *file)
{
    const struct keyless_context *context = &file->context;

    if (holds_slot(file))
        context->channel->ops->slot_release(context->channel, context->slot);
}

int byte_file_flush(const struct byte_file *file, struct ice_why *why)
{
    struct disk *disk = file->keyed.disk;

    return file->on_disk ? disk->ops->flush(disk, why) : context_flush(&file->context, why);
}

/* ---- a range and its parts ---- */

/* [offset, offset + head + middle + tail): only `middle` is whole units; no middle, no boundary
 * inside: head. */
struct cut {
    uint64_t offset;
    size_t head, middle, tail;
};

static struct cut cut_range(uint32_t unit, uint64_t offset, size_t len)
{
    size_t into = (size_t)(offset % unit);
    struct cut cut = {.offset = offset};

    if (into)
        cut.head = (size_t)min_u64(unit - into, len);
    cut.tail = (len - cut.head) % unit;
    cut.middle = len - cut.head - cut.tail;
    return cut;
}

static struct range_hold hold_of(const struct byte_file *file, const struct cut *cut, bool write)
{
    uint32_t unit = byte_file_unit(file);
    uint64_t first = cut->offset - cut->offset % unit;
    uint64_t end = cut->offset + cut->head + cut->middle + cut->tail;

    end += (unit - end % unit) % unit;
    return (struct range_hold){
        .offset = file->lock_base + first,
        .len = end - first,
        .head = write && cut->head ? unit : 0,
        .tail = write && cut->tail ? unit : 0,
    };
}

/* ---- the two ways; `at` is the place of the part in the file ---- */

static int read_partial(const struct byte_file *file, uint64_t at, uint8_t *to, size_t len,
                        struct ice_why *why)
{
    uint32_t unit = byte_file_unit(file);
    uint8_t whole[DATA_UNIT_MAX];
    int r = read_units(file, at - at % unit, whole, unit, why);

    if (!r)
        memcpy(to, whole + at % unit, len);
    return r;
}

static int change_unit(const struct byte_file *file, uint64_t at, const uint8_t *from, size_t len,
                       struct ice_why *why)
{
    uint32_t unit = byte_file_unit(file);
    uint8_t whole[DATA_UNIT_MAX];
    int r = read_units(file, at - at % unit, whole, unit, why);

    if (r)
        return r;
    memcpy(whole + at % unit, from, len);
    return write_units(file, at - at % unit, whole, unit, why);
}

static int write_partial(const struct byte_file *file, uint64_t at, uint8_t *from, size_t len,
                         struct ice_why *why)
{
    int r = hold_slot(file, why);

    if (r)
        return r;
    r = change_unit(file, at, from, len, why);
    release_slot(file);
    return r;
}

typedef int part_function(const struct byte_file *, uint64_t, uint8_t *, size_t, struct ice_why *);

static const struct way {
    part_function *units, *partial;
} reading = {read_units, read_partial}, writing = {write_units, write_partial};

/* Does the cut's parts in turn; returns the bytes done, or the error if there are none. */
static ssize_t carry_out(const struct byte_file *file, const struct cut *cut, const struct way *way,
                         uint8_t *buffer, struct ice_why *why)
{
    size_t whole_end = cut->head + cut->middle, end = whole_end + cut->tail, done = 0;
    int r = 0;

    while (!r && done < end) {
        uint64_t at = cut->offset + done;
        size_t part;
        if (done < cut->head) {
            part = cut->head;
            r = way->partial(file, at, buffer, part, why);
        } else if (done < whole_end) {
            part = (size_t)min_u64(whole_end - done, REQUEST_MAX);
            r = way->units(file, at, buffer + done, part, why);
        } else {
            part = cut->tail;
            r = way->partial(file, at, buffer + done, part, why);
        }
        if (!r)
            done += part;
    }
    return done ? (ssize_t)done : r;
}

static ssize_t transfer(const struct byte_file *file, uint64_t offset, uint8_t *buffer, size_t len,
                        bool write, struct ice_why *why)
{
    struct cut cut = cut_range(byte_file_unit(file), offset, len);
    struct range_hold hold = hold_of(file, &cut, write);
    ssize_t done;

    range_lock_take(file->locks, &hold);
    done = carry_out(file, &cut, write ? &writing : &reading, buffer, why);
    range_lock_drop(file->locks, &hold);
    return done;
}

ssize_t byte_file_read(const struct byte_file *file, uint64_t offset, void *buffer, size_t len,
                       struct ice_why *why)
{
    uint64_t size = byte_file_size(file);

    if (!len || offset >= size)
        return 0;
    return transfer(file, offset, buffer, (size_t)min_u64(len, size - offset), false, why);
}

ssize_t byte_file_write(const struct byte_file *file, uint64_t offset, const void *buffer,
                        size_t len, struct ice_why *why)
{
    uint64_t size = byte_file_size(file);

    if (!len)
        return 0;
    if (offset >= size)
        return why_set(why, ENOSPC, "byte %llu is past the end of the file (%llu bytes)",
                       (unsigned long long)offset, (unsigned long long)size);
    return transfer(file, offset, (uint8_t *)buffer, (size_t)min_u64(len, size - offset), true,
                    why);
}

static int zero_part(const struct byte_file *file, uint64_t at, uint64_t len, struct ice_why *why)
{
    static const uint8_t zeros[SECTOR_SIZE];
    ssize_t done = byte_file_write(file, at, zeros, len, why);

    return done < 0 ? (int)done : 0;
}

/* Whole sectors take their range shared, as whole units of a write do. */
static int zero_sectors(const struct byte_file *file, uint64_t at, uint64_t len, bool unmap,
                        struct ice_why *why)
{
    struct range_hold hold = {.offset = file->lock_base + at, .len = len};
    int r;

    range_lock_take(file->locks, &hold);
    r = context_zero(&file->context, at, len, unmap, why);
    range_lock_drop(file->locks, &hold);
    return r;
}

int byte_file_zero(const struct byte_file *file, uint64_t offset, uint64_t len, bool unmap,
                   struct ice_why *why)
{
    uint64_t size = byte_file_size(file), into = offset % SECTOR_SIZE, head, tail, middle;
    int r = 0;

    assert(!file->on_disk && !file->context.tagged);
    if (offset >= size)
        return 0;
    len = min_u64(len, size - offset);
    head = into ? min_u64(SECTOR_SIZE - into, len) : 0;
    tail = (len - head) % SECTOR_SIZE;
    middle = len - head - tail;
    if (head)
        r = zero_part(file, offset, head, why);
    if (!r && middle)
        r = zero_sectors(file, offset + head, middle, unmap, why);
    if (!r && tail)
        r = zero_part(file, offset + head + middle, tail, why);
    return r;
}

int byte_file_sync(const struct byte_file *file, struct ice_why *why)
{
    int r = hold_slot(file, why);

    if (r)
        return r;
    r = byte_file_flush(file, why);
    release_slot(file);
    return r;
}
