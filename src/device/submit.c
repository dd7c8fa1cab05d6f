/* SPDX-License-Identifier: BSD-2-Clause */
/* device_submit: takes a request apart, runs it, answers it. */
#include "base/bytes.h"
#include "base/iov.h"
#include "base/secret.h"
#include "base/units.h"
#include "internal.h"
#include "virtio/ice.h"
#include "virtio/virtio.h"
#include <errno.h>
#include <stdarg.h>

uint8_t refuse(struct job *job, uint8_t status, int err, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    why_vsay(job->why, err, fmt, args);
    va_end(args);
    return status;
}

uint8_t make_stable(struct job *job)
{
    struct store *store = job->function->store;

    job->seen.synced = true;
    return store->ops->flush(store, job->why) ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

/*
 * Fills the data area with `len` bytes, then zeros to its end, so that what was written is a true
 * prefix of the writable part.
 */
static uint8_t answer(struct job *job, const void *bytes, size_t len)
{
    const struct ice_request *request = job->request;

    if (job->data_in < len)
        return refuse(job, VIRTIO_BLK_S_IOERR, EOVERFLOW,
                      "the data area of %zu bytes is shorter than the answer of %zu", job->data_in,
                      len);
    iov_scatter(request->writable, request->nwritable, 0, bytes, len);
    iov_zero(request->writable, request->nwritable, len, job->data_in - len);
    job->filled = true;
    return VIRTIO_BLK_S_OK;
}

/* Not NUL-terminated when it is 20 long (virtio 1.3, 5.2.6). */
static uint8_t run_get_id(struct job *job)
{
    char id[sizeof("icesim-") + NAME_MAX_BYTES + VIRTIO_BLK_ID_BYTES] = "icesim-";

    strcat(id, job->function->name);
    return answer(job, id, VIRTIO_BLK_ID_BYTES);
}

static uint8_t run_get_lifetime(struct job *job)
{
    uint8_t lifetime[sizeof(struct virtio_blk_lifetime)];

    store_le16(lifetime, VIRTIO_BLK_PRE_EOL_NORMAL);
    store_le16(lifetime + offsetof(struct virtio_blk_lifetime, device_lifetime_est_typ_a), 1);
    store_le16(lifetime + offsetof(struct virtio_blk_lifetime, device_lifetime_est_typ_b), 1);
    return answer(job, lifetime, sizeof(lifetime));
}

static uint8_t run_get_capabilities(struct job *job)
{
    const struct ice_function *function = job->function;
    const struct dialect *dialect = function->dialect;
    uint8_t entries[CAPABILITIES_MAX * 16];

    for (unsigned i = 0; i < function->capability_count; i++)
        dialect->build_capability(&function->capabilities[i],
                                  entries + i * dialect->capability_entry);
    return answer(job, entries, function->capability_count * dialect->capability_entry);
}

static uint8_t dispatch(struct job *job)
{
    switch (job->command.kind) {
    case COMMAND_READ:
    case COMMAND_WRITE:
        return run_transfer(job);
    case COMMAND_FLUSH:
        return make_stable(job);
    case COMMAND_GET_ID:
        return run_get_id(job);
    case COMMAND_GET_LIFETIME:
        return run_get_lifetime(job);
    case COMMAND_DISCARD:
    case COMMAND_WRITE_ZEROES:
    case COMMAND_SECURE_ERASE:
        return run_ranges(job);
    case COMMAND_GET_CAPABILITIES:
        return run_get_capabilities(job);
    case COMMAND_KEY_PROGRAM:
    case COMMAND_KEY_EVICT:
        return run_key_operation(job);
    case COMMAND_UNKNOWN:
    case COMMAND_KINDS:
        break;
    }
    __builtin_unreachable();
}

static bool takes_readable_data(enum command_kind kind)
{
    return kind == COMMAND_WRITE || kind == COMMAND_DISCARD || kind == COMMAND_WRITE_ZEROES ||
           kind == COMMAND_SECURE_ERASE;
}

/*
 * Reads the header once, into secret memory of this thread, as a key may be in it, and understands
 * it. The type decides how much more is read; no byte is fetched twice.
 */
static uint8_t parse(struct job *job, uint8_t *head)
{
    const struct ice_request *request = job->request;
    const struct dialect *dialect = job->function->dialect;
    uint64_t features = job->attachment->features;
    size_t first = sizeof(struct virtio_blk_header);
    size_t readable = iov_length(request->readable, request->nreadable);
    uint8_t status;

    if (iov_gather(request->readable, request->nreadable, 0, head, first) < first)
        return refuse(job, VIRTIO_BLK_S_IOERR, EINVAL,
                      "%zu readable bytes are less than the header of %zu", readable, first);
    job->command.type = load_le32(head);
    job->head = dialect->head_length(features, job->command.type);
    if (!job->head)
        return refuse(job, VIRTIO_BLK_S_UNSUPP, EOPNOTSUPP,
                      "request type %u means nothing in dialect %s", job->command.type,
                      dialect->name);
    if (readable < job->head)
        return refuse(job, VIRTIO_BLK_S_IOERR, EINVAL,
                      "%zu readable bytes are less than the header of %zu", readable, job->head);
    iov_gather(request->readable, request->nreadable, first, head + first, job->head - first);
    status = dialect->parse(features, head, &job->command, job->why);
    if (status != VIRTIO_BLK_S_OK)
        return status;
    job->data_out = readable - job->head;
    if (job->data_out && !takes_readable_data(job->command.kind))
        return refuse(job, VIRTIO_BLK_S_IOERR, EINVAL,
                      "%s takes no readable data, but %zu bytes follow its header",
                      command_name(job->command.kind), job->data_out);
    return VIRTIO_BLK_S_OK;
}

static bool is_key_operation(enum command_kind kind)
{
    return kind == COMMAND_KEY_PROGRAM || kind == COMMAND_KEY_EVICT;
}

/* What observers may see: no key bytes. */
static void show(struct job *job, bool before)
{
    struct observer *const *observers = job->function->observers;

    for (; observers && *observers; observers++) {
        const struct observer_ops *ops = (*observers)->ops;
        void (*tell)(struct observer *, const struct observation *) =
            before ? ops->before : ops->after;
        if (tell)
            tell(*observers, &job->seen);
    }
}

/* Runs the request and returns its status byte. */
static uint8_t run(struct job *job)
{
    uint8_t *head = scratch_head();
    uint8_t status;

    if (!head) {
        secret_exhausted("a request", job->why);
        return VIRTIO_BLK_S_IOERR;
    }
    status = parse(job, head);
    job->shown = job->command;
    job->shown.key.bytes = NULL;
    job->seen.attachment = job->attachment;
    job->seen.command = &job->shown;
    job->seen.data_len = job->data_in ? job->data_in : job->data_out;
    show(job, true);
    if (status == VIRTIO_BLK_S_OK)
        status = dispatch(job);
    job->seen.status = status;
    job->seen.why = job->why->err ? job->why : NULL;
    show(job, false);
    if (is_key_operation(job->command.kind) || status != VIRTIO_BLK_S_OK)
        secret_wipe(head, DIALECT_HEAD_MAX);
    return status;
}

static unsigned queues(const struct ice_attachment *attachment)
{
    return attachment->features & VIRTIO_FEATURE(VIRTIO_BLK_F_MQ) ? FUNCTION_QUEUES : 1;
}

/* What keeps a request from being answered in virtio's terms. */
static bool answerable(struct job *job, bool ready)
{
    const struct ice_request *request = job->request;

    if (!ready)
        refuse(job, 0, EPROTO, "a request before DRIVER_OK");
    else if (request->queue >= queues(job->attachment))
        refuse(job, 0, EINVAL, "queue %u is outside 0..%u", request->queue,
               queues(job->attachment) - 1);
    else if (request->nreadable > IOV_PARTS_MAX || request->nwritable > IOV_PARTS_MAX)
        refuse(job, 0, EINVAL, "a request in more than %u parts", IOV_PARTS_MAX);
    else if (!iov_length(request->writable, request->nwritable))
        refuse(job, 0, EINVAL, "no room for the status byte");
    else
        return true;
    return false;
}

void device_submit(struct ice_attachment *attachment, struct ice_request *request)
{
    struct ice_why why;
    struct job job = {
        .attachment = attachment,
        .function = attachment->function,
        .request = request,
        .command = {.kind = COMMAND_UNKNOWN},
        .why = &why,
    };
    bool ready = attachment_enter(attachment);
    size_t written = 0;

    why.err = 0; /* the text is not worth clearing */
    if (answerable(&job, ready)) {
        uint8_t status;

        job.data_in = iov_length(request->writable, request->nwritable) - 1;
        status = run(&job);
        iov_scatter(request->writable, request->nwritable, job.data_in, &status, 1);
        written = status == VIRTIO_BLK_S_OK && job.filled ? job.data_in + 1 : 1;
    }
    request->done(request, written, why.err ? &why : NULL);
    attachment_leave(attachment);
}
