/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages about the device: features, status, configuration space. */
#include "base/log.h"
#include "messages.h"
#include "virtio/blk.h"
#include "virtio/virtio.h"

#define WRITEBACK_AT offsetof(struct virtio_blk_config, writeback)

#define PROTOCOL_BIT(name) VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_##name)
#define PROTOCOL_OFFERED                                                                           \
    (PROTOCOL_BIT(MQ) | PROTOCOL_BIT(REPLY_ACK) | PROTOCOL_BIT(BACKEND_REQ) |                      \
     PROTOCOL_BIT(CONFIG) | PROTOCOL_BIT(INFLIGHT_SHMFD) | PROTOCOL_BIT(RESET_DEVICE) |            \
     PROTOCOL_BIT(INBAND_NOTIFICATIONS) | PROTOCOL_BIT(CONFIGURE_MEM_SLOTS) |                      \
     PROTOCOL_BIT(STATUS))

/* ---- features and status ---- */

static uint64_t offered(const struct front_end *front)
{
    return attachment_offered(front->attachment) | front_end_ring_features();
}

enum vhost_user_refusal handle_get_features(struct front_end *front, struct message *message)
{
    (void)message;
    return message_reply_u64(front, offered(front));
}

/* Rings that wait to be enabled are a matter of what is negotiated; others are enabled at once. */
static void take_features(struct front_end *front, uint64_t features)
{
    uint64_t changed = features ^ front->features;
    bool waits = features & VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES);

    front->features = features;
    front->host.event_idx = features & VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX);
    front->host.indirect = features & VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC);
    if (changed & VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES))
        for (unsigned i = 0; i < front->queue_count; i++)
            front->queues[i].enabled = !waits;
}

/* With STATUS it is for the device to refuse features, at FEATURES_OK. */
enum vhost_user_refusal handle_set_features(struct front_end *front, struct message *message)
{
    uint64_t features = message->payload.u64;
    uint64_t own = (features ^ front->features) & ~front_end_ring_features();
    bool has_status = front_end_has(front, VHOST_USER_PROTOCOL_F_STATUS);
    bool settled = attachment_status(front->attachment) & VIRTIO_STATUS_FEATURES_OK;

    if (features == front->features)
        return REFUSAL_NONE;
    if (!has_status && features & ~offered(front))
        return REFUSAL_FEATURES_FOREIGN;
    if (front_end_any_active(front) || (has_status && settled && own))
        return REFUSAL_FEATURES_LATE;
    if (settled && own)
        front_end_set_status(front, 0, NULL);
    if (own)
        front->writeback_set = false;
    take_features(front, features);
    return REFUSAL_NONE;
}

enum vhost_user_refusal handle_get_protocol(struct front_end *front, struct message *message)
{
    (void)message;
    return message_reply_u64(front, PROTOCOL_OFFERED);
}

enum vhost_user_refusal handle_set_protocol(struct front_end *front, struct message *message)
{
    if (message->payload.u64 & ~PROTOCOL_OFFERED)
        return REFUSAL_FEATURES_FOREIGN;
    if (message->payload.u64 == front->protocol)
        return REFUSAL_NONE;
    if (front_end_any_active(front))
        return REFUSAL_FEATURES_LATE;
    front->protocol = message->payload.u64;
    front->host.in_band = front_end_has(front, VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS);
    return REFUSAL_NONE;
}

enum vhost_user_refusal handle_get_status(struct front_end *front, struct message *message)
{
    (void)message;
    return message_reply_u64(front, attachment_status(front->attachment));
}

enum vhost_user_refusal handle_set_status(struct front_end *front, struct message *message)
{
    struct ice_why why = {0};

    if (message->payload.u64 > UINT8_MAX)
        return REFUSAL_STATUS_ORDER;
    if (!front_end_set_status(front, (uint8_t)message->payload.u64, &why))
        return REFUSAL_NONE;
    log_warning("%s: device status 0x%02x: %s", function_name(front->function),
                (unsigned)message->payload.u64, why.text);
    /* Features that are not taken show when the status is read back. */
    return message->payload.u64 & ~(uint64_t)attachment_status(front->attachment) &
                   VIRTIO_STATUS_FEATURES_OK
               ? REFUSAL_NONE
               : REFUSAL_STATUS_ORDER;
}

/* SET_OWNER says nothing that the connection does not; RESET_OWNER is not to be used, says the
 * specification, and best ignored. */
enum vhost_user_refusal handle_ignore(struct front_end *front, struct message *message)
{
    (void)front;
    (void)message;
    return REFUSAL_NONE;
}

enum vhost_user_refusal handle_reset_device(struct front_end *front, struct message *message)
{
    (void)message;
    front_end_halt(front);
    front_end_set_status(front, 0, NULL);
    for (unsigned i = 0; i < front->queue_count; i++) {
        queue_reset(&front->queues[i]);
        front->queues[i].enabled =
            !(front->features & VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES));
    }
    return REFUSAL_NONE;
}

/* ---- configuration space ---- */

static bool window_fits(const struct message *message)
{
    const struct vhost_user_config *config = &message->payload.config;

    return config->size && config->size <= VHOST_USER_CONFIG_MAX &&
           config->offset <= VHOST_USER_CONFIG_MAX - config->size &&
           message->header.size == offsetof(struct vhost_user_config, bytes) + config->size;
}

enum vhost_user_refusal handle_get_config(struct front_end *front, struct message *message)
{
    struct vhost_user_config *config = &message->payload.config;

    if (!window_fits(message)) {
        message_reply(front, NULL, 0, -1); /* how the specification says no */
        return REFUSAL_CONFIG_WINDOW;
    }
    attachment_show_config(front->attachment, config->offset, config->bytes, config->size);
    return message_reply(front, config, message->header.size, -1);
}

/* What the device does not take is the driver's fault, and no reason to hang up. */
enum vhost_user_refusal handle_set_config(struct front_end *front, struct message *message)
{
    const struct vhost_user_config *config = &message->payload.config;
    struct ice_why why;

    if (!window_fits(message))
        return REFUSAL_CONFIG_WINDOW;
    if (attachment_write_config(front->attachment, config->offset, config->bytes, config->size,
                                &why)) {
        log_debug("%s: %s", function_name(front->function), why.text);
        return REFUSAL_NONE;
    }
    if (config->offset <= WRITEBACK_AT && WRITEBACK_AT - config->offset < config->size) {
        uint8_t mode = config->bytes[WRITEBACK_AT - config->offset];
        if (mode > 1) /* before the features are settled the device does not look at it */
            return REFUSAL_NONE;
        front->writeback = mode;
        front->writeback_set = true;
    }
    return REFUSAL_NONE;
}
