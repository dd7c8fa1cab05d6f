/* SPDX-License-Identifier: BSD-2-Clause */
/* What the device tells of itself: GET_ID, GET_LIFETIME, GET_CAPABILITIES. */
#include "base/bytes.h"
#include "base/iov.h"
#include "internal.h"
#include "virtio/blk.h"
#include <errno.h>

uint8_t check_room(struct job *job, size_t len)
{
    if (job->data_in >= len)
        return VIRTIO_BLK_S_OK;
    return refuse(job, RULE_ANSWER_ROOM, VIRTIO_BLK_S_IOERR, EOVERFLOW,
                  "the data area of %zu bytes is shorter than the answer of %zu", job->data_in,
                  len);
}

uint8_t answer(struct job *job, const void *bytes, size_t len)
{
    const struct ice_request *request = job->request;
    uint8_t status = check_room(job, len);

    if (status != VIRTIO_BLK_S_OK)
        return status;
    iov_scatter(request->writable, request->nwritable, 0, bytes, len);
    iov_zero(request->writable, request->nwritable, len, job->data_in - len);
    job->filled = true;
    return VIRTIO_BLK_S_OK;
}

/* Not NUL-terminated when it is 20 long (virtio 1.3, 5.2.6). */
uint8_t run_get_id(struct job *job)
{
    char id[sizeof("icesim-") + NAME_MAX_BYTES + VIRTIO_BLK_ID_BYTES] = "icesim-";
    uint8_t status;

    if (job->data_in > VIRTIO_BLK_ID_BYTES) {
        status = tolerate(job, RULE_ID_LENGTH, "the data area of GET_ID is %zu bytes, not %u",
                          job->data_in, VIRTIO_BLK_ID_BYTES);
        if (status != VIRTIO_BLK_S_OK)
            return status;
    }
    strcat(id, job->function->name);
    return answer(job, id, VIRTIO_BLK_ID_BYTES);
}

uint8_t run_get_lifetime(struct job *job)
{
    uint8_t lifetime[sizeof(struct virtio_blk_lifetime)];

    store_le16(lifetime, VIRTIO_BLK_PRE_EOL_NORMAL);
    store_le16(lifetime + offsetof(struct virtio_blk_lifetime, device_lifetime_est_typ_a), 1);
    store_le16(lifetime + offsetof(struct virtio_blk_lifetime, device_lifetime_est_typ_b), 1);
    return answer(job, lifetime, sizeof(lifetime));
}

uint8_t run_get_capabilities(struct job *job)
{
    const struct ice_function *function = job->function;
    uint8_t reply[CAPABILITY_REPLY_MAX];
    size_t len = function->dialect->build_capabilities(function->capabilities,
                                                       function->capability_count, reply);

    return answer(job, reply, len);
}
