/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The seam between drivers and the device: one request, exactly what a virtqueue carries, whichever
 * transport brings it.
 */
#ifndef ICESIM_DIALECT_REQUEST_H
#define ICESIM_DIALECT_REQUEST_H

#include "base/why.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define EXPECT_ANY UINT64_MAX

struct ice_request {
    const struct iovec *readable; /* header, payload, key or data; any framing */
    unsigned nreadable;
    const struct iovec *writable; /* data, then the status byte, last */
    unsigned nwritable;
    uint16_t queue;
    /*
     * A tagged request runs only if this is the slot's program count, else IOERR with why ENOKEY.
     * EXPECT_ANY from drivers that cannot know it.
     */
    uint64_t expect;
    /*
     * A KEY_PROGRAM with this set makes the slot the attachment's own (claimed): key operations and
     * tagged I/O of other attachments are EBUSY until it is evicted by its owner, a reset, or the
     * attachment's end. Refused with EEXIST when the slot is programmed already by anybody else, or
     * directly; so is a KEY_EVICT with this set. A tagged request with it runs only through a slot
     * that the attachment has claimed, else IOERR with why ENOKEY. For callers in the process.
     */
    bool claim;
    /*
     * The driver sent it to a process that died with it in flight: a key operation is refused
     * (IOERR, why EINTR), as nobody knows how far it came, and so is a tagged request (why ESTALE),
     * as its key was that process's; all else runs as ever.
     */
    bool replayed;
    /*
     * A KEY_PROGRAM that succeeds acknowledges this generation of the engine, of which the driver
     * was told before it sent it; 0: none. For drivers that have no message for it, as behind a
     * ring.
     */
    uint64_t acknowledges;
    /*
     * Called exactly once, from any thread, perhaps before submit returns. `written` counts bytes
     * of the writable part: all of them when the device filled the data area; 1 when it wrote just
     * the status byte (the data area is untouched); 0 when there was no answer in virtio's terms
     * (device not ready, no room for a status): then the buffers are as they were. `why` is NULL
     * when the status is OK, else valid until done returns. The request and its buffers
     * belong to the device from submit to done.
     */
    void (*done)(struct ice_request *request, size_t written, const struct ice_why *why);
};

#endif
