/* SPDX-License-Identifier: BSD-2-Clause */
#include "device.h"
#include "args.h"
#include "base/bytes.h"
#include "base/iov.h"
#include "base/secret.h"
#include "dialect/describe.h"
#include "session.h"
#include "virtio/ice.h"
#include "virtio/virtio.h"

#include <errno.h>
#include <stdlib.h>

/* What this program can do something with: what has a name, but for zones and geometry. */
static uint64_t known_features(const struct dialect *dialect)
{
    uint64_t known = 0;

    for (unsigned bit = 0; dialect && bit < 64; bit++)
        if (feature_name(dialect, bit) && bit != VIRTIO_BLK_F_ZONED && bit != VIRTIO_BLK_F_GEOMETRY)
            known |= VIRTIO_FEATURE(bit);
    return known;
}

static int pick(const struct icectl *icectl, struct name *name, struct ice_why *why)
{
    struct client *control;
    int err;

    if (icectl->function)
        return pick_function(icectl, NULL, name, why);
    err = connect_socket(icectl, "control", icectl->timeout_ms, &control, why);
    if (err)
        return err;
    err = pick_function(icectl, control, name, why);
    client_close(control);
    return err;
}

int device_read_config(struct device *device, struct ice_why *why)
{
    int err = client_read_config(device->client, 0, device->space, sizeof(device->space), why);

    if (!err)
        channel_parse_config(device->channel, device->offered, device->space, sizeof(device->space),
                             &device->config);
    return err;
}

int device_negotiate(struct device *device, struct ice_why *why)
{
    const struct dialect *dialect = dialect_by_name(client_dialect(device->client));
    uint64_t negotiated;
    int err = client_negotiate(device->client, known_features(dialect), &device->channel, why);

    if (!err)
        err = client_get_features(device->client, &device->offered, &negotiated, why);
    return err ? err : device_read_config(device, why);
}

enum status device_open(const struct icectl *icectl, struct device *device)
{
    struct ice_why why;
    enum status status;
    int err;

    if (icectl->session)
        return session_open_device(icectl, device);
    *device = (struct device){0};
    err = pick(icectl, &device->name, &why);
    if (!err)
        err = connect_socket(icectl, device->name.text, icectl->timeout_ms, &device->client, &why);
    if (err)
        return fail_connect(icectl, err, &why);
    err = device_negotiate(device, &why);
    if (!err)
        return STATUS_DONE;
    status = fail_call(icectl, device->client, err, &why);
    device_close(device);
    return status;
}

enum status device_command(struct icectl *icectl, const struct command_entry *entry, int argc,
                           char **argv,
                           enum status (*run)(const struct icectl *icectl, struct device *device))
{
    void *table[] = {arg_lit0(NULL, "help", "show this"), arg_end(4)};
    struct device device;
    enum status status;

    if (args_parse(icectl, entry, argc, argv, table, &status)) {
        status = device_open(icectl, &device);
        if (!status) {
            status = run(icectl, &device);
            device_close(&device);
        }
    }
    arg_freetable(table, ARRAY_SIZE(table));
    return status;
}

void device_close(struct device *device)
{
    if (device->link)
        session_close_device(device);
    client_close(device->client);
    device->client = NULL;
}

/* ---- requests ---- */

int exchange_init(struct exchange *exchange, struct ice_why *why)
{
    *exchange = (struct exchange){.head = secret_alloc(DIALECT_HEAD_MAX)};
    return exchange->head ? 0 : secret_exhausted("a request", why);
}

void exchange_free(struct exchange *exchange)
{
    secret_free(exchange->head);
    exchange->head = NULL;
}

static void on_done(struct ice_request *request, size_t written, const struct ice_why *why)
{
    struct exchange *exchange = CONTAINER_OF(request, struct exchange, request);
    struct device *device = exchange->device;

    device->in_flight--;
    if (device->task)
        task_wake(device->task);
    exchange->done = true;
    exchange->written = written;
    if (why)
        exchange->why = *why;
}

void exchange_submit(struct device *device, struct exchange *exchange,
                     const struct command *command, const void *out, size_t out_len, void *in,
                     size_t in_len)
{
    const struct channel *channel = device->channel;
    size_t head_len = channel->dialect->build(channel->features, command, exchange->head);

    exchange->readable[0] = (struct iovec){exchange->head, head_len};
    exchange->readable[1] = (struct iovec){(void *)(uintptr_t)out, out_len};
    exchange->writable[0] = (struct iovec){in, in_len};
    exchange->writable[1] = (struct iovec){&exchange->status, 1};
    exchange->request = (struct ice_request){
        .readable = exchange->readable,
        .nreadable = 2,
        .writable = exchange->writable,
        .nwritable = 2,
        .queue = channel_queue(channel, command->kind),
        .expect = EXPECT_ANY,
        .done = on_done,
    };
    exchange->device = device;
    exchange->done = false;
    exchange->why = (struct ice_why){0};
    if (device->link)
        session_before_submit(device);
    device->in_flight++;
    channel_submit(device->channel, &exchange->request);
}

/* What a request that is done means. */
static enum status judge(const struct device *device, struct exchange *exchange)
{
    size_t data = exchange->writable[0].iov_len;

    if (exchange->written == 0)
        return client_alive(device->client) ? STATUS_REFUSED : STATUS_CONNECTION;
    if (exchange->status == VIRTIO_BLK_S_UNSUPP)
        return STATUS_UNSUPP;
    if (exchange->status != VIRTIO_BLK_S_OK)
        return STATUS_IOERR;
    if (data && exchange->written != data + 1) {
        why_set(&exchange->why, EIO, "the device answered OK and sent no data");
        return STATUS_IOERR;
    }
    return STATUS_DONE;
}

enum status exchange_wait(struct device *device, struct exchange *exchange)
{
    /* A run that fails has ended the connection, and then all is done. */
    while (!exchange->done && !device->task)
        client_run(device->client, NULL);
    while (!exchange->done)
        task_sleep(device->task);
    return judge(device, exchange);
}

enum status exchange_run(struct device *device, const struct command *command, const void *out,
                         size_t out_len, void *in, size_t in_len, struct ice_why *why)
{
    const struct channel *channel = device->channel;
    struct exchange exchange;
    enum status status;

    if (channel->dialect->can_send(channel->features, command, why) ||
        exchange_init(&exchange, why))
        return STATUS_REFUSED;
    exchange_submit(device, &exchange, command, out, out_len, in, in_len);
    status = exchange_wait(device, &exchange);
    if (status)
        *why = exchange.why;
    exchange_free(&exchange);
    return status;
}

enum status read_capabilities(const struct icectl *icectl, struct device *device,
                              struct capability capabilities[static CAPABILITIES_MAX],
                              unsigned *count)
{
    static const struct command command = {.kind = COMMAND_GET_CAPABILITIES};
    const struct dialect *dialect = device->channel->dialect;
    uint8_t reply[CAPABILITY_REPLY_MAX];
    size_t room;
    struct ice_why why;
    enum status status;

    *count = 0;
    if (!channel_has_crypto(device->channel))
        return STATUS_DONE;
    room = min_u64(dialect->capability_room(&device->config), sizeof(reply));
    if (room == 0) {
        *count = dialect->parse_capabilities(device->space, sizeof(device->space), capabilities);
        return STATUS_DONE;
    }
    status = exchange_run(device, &command, NULL, 0, reply, room, &why);
    if (status)
        return fail_why(icectl, status, &why);
    *count = dialect->parse_capabilities(reply, room, capabilities);
    return STATUS_DONE;
}
