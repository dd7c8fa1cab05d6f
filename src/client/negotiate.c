/* SPDX-License-Identifier: BSD-2-Clause */
/* A driver's way to DRIVER_OK (virtio 3.1.1), and the channel that it ends in. */
#include "base/bytes.h"
#include "internal.h"
#include "virtio/virtio.h"

#include <errno.h>

static struct client *client_of(struct channel *channel)
{
    return CONTAINER_OF(channel, struct client, channel);
}

static void submit(struct channel *channel, struct ice_request *request)
{
    struct client *client = client_of(channel);
    struct ice_why why;
    int err;

    /* A run that fails has ended the connection; the next submit then calls done. */
    while ((err = client_submit(client, request, &why)) == -EAGAIN)
        client_run(client, NULL);
    if (err)
        request->done(request, 0, &why);
}

static int config_read(struct channel *channel, uint32_t offset, void *buffer, uint32_t len,
                       struct ice_why *why)
{
    return client_read_config(client_of(channel), offset, buffer, len, why);
}

static const struct channel_ops ops = {
    .submit = submit,
    .config_read = config_read,
};

static int add_status(struct client *client, uint8_t *status, uint8_t bit, struct ice_why *why)
{
    struct ice_why refusal;
    uint8_t wanted = *status | bit;
    int err = client_set_status(client, wanted, status, &refusal, why);

    if (err)
        return err;
    if (*status & bit)
        return 0;
    if (refusal.err) {
        if (why)
            *why = refusal;
        return -refusal.err;
    }
    return why_set(why, EIO, "the device did not take status 0x%02x, it is 0x%02x", wanted,
                   *status);
}

static int negotiate_features(struct client *client, uint64_t wanted, uint64_t *offered,
                              struct ice_why *why)
{
    uint64_t negotiated;
    int err = client_get_features(client, offered, &negotiated, why);

    if (err)
        return err;
    if (!(*offered & VIRTIO_FEATURE(VIRTIO_F_VERSION_1)))
        return why_set(why, EOPNOTSUPP, "the device does not offer VIRTIO_F_VERSION_1");
    client->channel.features = *offered & (wanted | VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
    return client_set_features(client, client->channel.features, why);
}

static int read_shape(struct client *client, uint64_t offered, struct ice_why *why)
{
    struct channel *channel = &client->channel;
    uint8_t space[DIALECT_CONFIG_MAX];
    struct function_config config;
    int err = client_read_config(client, 0, space, sizeof(space), why);

    if (err)
        return err;
    channel->dialect->parse_config(offered, space, sizeof(space), &config);
    channel->capacity = config.capacity;
    channel->control_queue = dialect_control_queue(channel->features, config.num_queues);
    return 0;
}

int client_negotiate(struct client *client, uint64_t wanted, struct channel **channel,
                     struct ice_why *why)
{
    uint64_t offered;
    uint8_t status;
    int err;

    client->channel = (struct channel){
        .ops = &ops,
        .dialect = dialect_by_name(client->dialect),
        .key_types = client->key_types,
        .slot_offset = client->slot_offset,
    };
    if (!client->channel.dialect)
        return why_set(why, EPROTO, "\"%s\" is no dialect that this program knows",
                       client->dialect);
    err = client_set_status(client, 0, &status, NULL, why);
    if (!err)
        err = add_status(client, &status, VIRTIO_STATUS_ACKNOWLEDGE, why);
    if (!err)
        err = add_status(client, &status, VIRTIO_STATUS_DRIVER, why);
    if (!err)
        err = negotiate_features(client, wanted, &offered, why);
    if (!err)
        err = add_status(client, &status, VIRTIO_STATUS_FEATURES_OK, why);
    if (!err)
        err = read_shape(client, offered, why);
    if (!err)
        err = add_status(client, &status, VIRTIO_STATUS_DRIVER_OK, why);
    if (err)
        return err;
    *channel = &client->channel;
    return 0;
}
