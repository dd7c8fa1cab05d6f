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

uint8_t make_stable(struct job *job)
{
    struct store *store = job->function->store;

    job->seen.synced = true;
    return store->ops->flush(store, job->why) ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK;
}

static uint8_t run_flush(struct job *job)
{
    uint8_t status = VIRTIO_BLK_S_OK;

    if (job->data_in)
        status =
            tolerate(job, RULE_FLUSH_DATA, "flush with a data area of %zu bytes", job->data_in);
    return status == VIRTIO_BLK_S_OK ? make_stable(job) : status;
}

static bool writes(enum command_kind kind)
{
    return kind == COMMAND_WRITE || kind == COMMAND_DISCARD || kind == COMMAND_WRITE_ZEROES ||
           kind == COMMAND_SECURE_ERASE;
}

static uint8_t dispatch(struct job *job)
{
    if (job->request->replayed && job->command.kind >= COMMAND_KEY_PROGRAM)
        return refuse(job, RULE_NONE, VIRTIO_BLK_S_IOERR, EINTR,
                      "%s was interrupted, and is not run a second time",
                      command_name(job->command.kind));
    if (job->function->read_only && writes(job->command.kind))
        return refuse(job, RULE_IO_READ_ONLY, VIRTIO_BLK_S_IOERR, EROFS, "%s is read-only",
                      job->function->name);
    switch (job->command.kind) {
    case COMMAND_READ:
    case COMMAND_WRITE:
        return run_transfer(job);
    case COMMAND_FLUSH:
        return run_flush(job);
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
        return run_slot_operation(job);
    case COMMAND_KEY_DERIVE:
    case COMMAND_KEY_GENERATE:
    case COMMAND_KEY_IMPORT:
    case COMMAND_KEY_PREPARE:
        return run_wrapped_operation(job);
    case COMMAND_KEY_FORGET:
        return run_forget(job);
    case COMMAND_UNKNOWN:
    case COMMAND_KINDS:
        break;
    }
    __builtin_unreachable();
}

static uint8_t refuse_short(struct job *job, size_t readable, size_t head)
{
    return refuse(job, RULE_HEADER_SHORT, VIRTIO_BLK_S_IOERR, EINVAL,
                  "%zu readable bytes are less than the header of %zu", readable, head);
}

static bool answers_by_status(enum command_kind kind)
{
    return kind == COMMAND_WRITE || kind == COMMAND_KEY_PROGRAM || kind == COMMAND_KEY_EVICT ||
           kind == COMMAND_KEY_FORGET;
}

/* What the dialect says of the head; `head` has job->head bytes. */
static uint8_t understand(struct job *job, const struct wire *wire, const uint8_t *head)
{
    uint8_t status = job->function->dialect->parse(wire, head, &job->command, job->why);

    if (status != VIRTIO_BLK_S_OK) {
        job->broken = job->command.broken;
        return status;
    }
    if (job->command.broken) {
        status = tolerate(job, job->command.broken, "%s", rule_text(job->command.broken));
        if (status != VIRTIO_BLK_S_OK)
            return status;
    }
    job->data_out = wire->readable - job->head;
    if (job->data_out && !writes(job->command.kind))
        return refuse(job, RULE_DATA_DIRECTION, VIRTIO_BLK_S_IOERR, EINVAL,
                      "%s takes no readable data, but %zu bytes follow its header",
                      command_name(job->command.kind), job->data_out);
    if (job->data_in && answers_by_status(job->command.kind))
        return tolerate(job, RULE_DATA_UNUSED, "%s with a device-writable data area of %zu bytes",
                        command_name(job->command.kind), job->data_in);
    return VIRTIO_BLK_S_OK;
}

/*
 * Reads the header once, into secret memory of this thread, as a key may be in it, and understands
 * it. The type decides how much more is read; no byte is fetched twice.
 */
static uint8_t parse(struct job *job, uint8_t *head)
{
    const struct ice_request *request = job->request;
    const struct dialect *dialect = job->function->dialect;
    size_t first = sizeof(struct virtio_blk_header);
    struct wire wire = {
        .features = job->attachment->features,
        .control = job->control,
        .strict = job->function->strict,
        .trimmed = job->function->trimmed_headers,
        .readable = iov_length(request->readable, request->nreadable),
    };

    if (iov_gather(request->readable, request->nreadable, 0, head, first) < first)
        return refuse_short(job, wire.readable, first);
    job->command.type = load_le32(head);
    job->head = dialect->head_length(&wire, job->command.type);
    if (!job->head)
        return refuse(job, RULE_TYPE_UNKNOWN, VIRTIO_BLK_S_UNSUPP, EOPNOTSUPP,
                      "request type %u means nothing %s dialect %s", job->command.type,
                      job->control ? "on the control queue of" : "in", dialect->name);
    if (wire.readable < job->head)
        return refuse_short(job, wire.readable, job->head);
    iov_gather(request->readable, request->nreadable, first, head + first, job->head - first);
    return understand(job, &wire, head);
}

static bool carries_key(const struct command *command)
{
    return command->kind >= COMMAND_KEY_PROGRAM || command->keyed;
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

/* Whether there is such a queue; the control queue, where the dialect has one, is the last. */
static bool find_queue(struct job *job)
{
    uint64_t features = job->attachment->features;
    unsigned queue = job->request->queue;
    unsigned count = features & VIRTIO_FEATURE(VIRTIO_BLK_F_MQ) ? FUNCTION_QUEUES : 1;

    if (features & job->function->dialect->control_feature) {
        unsigned control = dialect_control_queue(features, FUNCTION_QUEUES);

        job->control = queue == control;
        count = control + 1;
    }
    if (queue >= count)
        refuse(job, RULE_QUEUE_UNKNOWN, VIRTIO_BLK_S_IOERR, EINVAL, "queue %u is outside 0..%u",
               queue, count - 1);
    return queue < count;
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
    status = find_queue(job) ? parse(job, head) : VIRTIO_BLK_S_IOERR;
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
    if (carries_key(&job->command) || status != VIRTIO_BLK_S_OK)
        secret_wipe(head, DIALECT_HEAD_MAX);
    return status;
}

/* What keeps a request from being answered in virtio's terms. */
static bool answerable(struct job *job, bool ready)
{
    const struct ice_request *request = job->request;

    if (!ready)
        refuse(job, RULE_REQUEST_EARLY, 0, EPROTO, "a request before DRIVER_OK");
    else if (request->nreadable > IOV_PARTS_MAX || request->nwritable > IOV_PARTS_MAX)
        refuse(job, RULE_NONE, 0, EINVAL, "a request in more than %u parts", IOV_PARTS_MAX);
    else if (!iov_length(request->writable, request->nwritable))
        refuse(job, RULE_STATUS_ROOM, 0, EINVAL, "no room for the status byte");
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
    uint32_t counted;
    bool ready = attachment_enter(attachment, &counted);
    size_t written = 0;

    why.err = 0; /* the text is not worth clearing */
    if (answerable(&job, ready)) {
        uint8_t status;

        job.data_in = iov_length(request->writable, request->nwritable) - 1;
        status = run(&job);
        iov_scatter(request->writable, request->nwritable, job.data_in, &status, 1);
        written = status == VIRTIO_BLK_S_OK && job.filled ? job.data_in + 1 : 1;
    }
    if (why.err)
        report_violation(attachment, job.broken, why.text);
    request->done(request, written, why.err ? &why : NULL);
    attachment_leave(attachment, counted);
}
