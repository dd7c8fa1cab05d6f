/* SPDX-License-Identifier: BSD-2-Clause */
/* From the first message to the rings, in QEMU's order; and back. */
#include "base/clock.h"
#include "private.h"
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

static int get_u64(struct frontend *frontend, uint32_t request, uint64_t *value,
                   struct ice_why *why)
{
    return socket_call(frontend, request, NULL, 0, value, sizeof(*value), NULL, why);
}

static int set_u64(struct frontend *frontend, uint32_t request, uint64_t value, struct ice_why *why)
{
    return socket_tell(frontend, request, &value, sizeof(value), NULL, 0, why);
}

/* ---- negotiation ---- */

static int open_channel(struct frontend *frontend, struct ice_why *why)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return why_errno(why, errno, "socketpair");
    frontend->channel_fd = pair[0];
    int err = socket_tell(frontend, VHOST_USER_SET_BACKEND_REQ_FD, NULL, 0, &pair[1], 1, why);
    close(pair[1]);
    return err;
}

static int negotiate_protocol(struct frontend *frontend, struct ice_why *why)
{
    uint64_t limit = 1, slots;
    int err = get_u64(frontend, VHOST_USER_GET_PROTOCOL_FEATURES, &frontend->offered_protocol, why);
    uint64_t wanted = frontend->offered_protocol & frontend->options.protocol;

    if (!err)
        err = set_u64(frontend, VHOST_USER_SET_PROTOCOL_FEATURES, wanted, why);
    frontend->protocol = wanted;
    if (!err && frontend_has(frontend, VHOST_USER_PROTOCOL_F_MQ))
        err = get_u64(frontend, VHOST_USER_GET_QUEUE_NUM, &limit, why);
    frontend->queue_limit = (unsigned)limit;
    if (!err && frontend_has(frontend, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)) {
        err = get_u64(frontend, VHOST_USER_GET_MAX_MEM_SLOTS, &slots, why);
        if (!err && slots < frontend->options.regions)
            err = why_set(why, ENOSPC, "the back end takes %u regions", (unsigned)slots);
    }
    if (!err && frontend_has(frontend, VHOST_USER_PROTOCOL_F_BACKEND_REQ))
        err = open_channel(frontend, why);
    return err;
}

static int negotiate(struct frontend *frontend, struct ice_why *why)
{
    int err = 0;

    frontend->features = frontend->offered & frontend->options.features & frontend_all_features();
    frontend->protocol = 0;
    frontend->queue_limit = 1;
    if (frontend->features & VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES))
        err = negotiate_protocol(frontend, why);
    if (!err)
        err = socket_tell(frontend, VHOST_USER_SET_OWNER, NULL, 0, NULL, 0, why);
    return err;
}

/* The rings: request queues, then the dialect's control queue at its place. */
static int make_queues(struct frontend *frontend, struct ice_why *why)
{
    const struct dialect *dialect = frontend->options.dialect;
    bool control = dialect->control_feature && frontend->features & dialect->control_feature;
    struct function_config config;
    int err = 0;

    if (frontend->queue_count)
        return 0;
    if (frontend->options.queues + control > frontend->queue_limit)
        return why_set(why, ENOSPC, "the back end has %u queues", frontend->queue_limit);
    for (unsigned i = 0; !err && i < frontend->options.queues; i++) {
        err = queue_make(frontend, i, i, why);
        frontend->queue_count = i + 1;
    }
    if (!err && control) {
        err = frontend_config(frontend, &config, why);
        if (err)
            return err;
        err = queue_make(frontend, frontend->queue_count,
                         dialect_control_queue(frontend->features, config.num_queues), why);
        frontend->queue_count++;
    }
    return err;
}

/* ---- status ---- */

int frontend_set_status(struct frontend *frontend, uint8_t status, struct ice_why *why)
{
    return set_u64(frontend, VHOST_USER_SET_STATUS, status, why);
}

int frontend_get_status(struct frontend *frontend, uint8_t *status, struct ice_why *why)
{
    uint64_t value = 0;
    int err = get_u64(frontend, VHOST_USER_GET_STATUS, &value, why);

    *status = (uint8_t)value;
    return err;
}

/* Nothing where STATUS is not negotiated. */
static int status_to(struct frontend *frontend, uint8_t status, struct ice_why *why)
{
    uint8_t now;
    int err;

    if (!frontend_has(frontend, VHOST_USER_PROTOCOL_F_STATUS))
        return 0;
    err = frontend_set_status(frontend, status, why);
    if (!err)
        err = frontend_get_status(frontend, &now, why);
    if (!err && now != status)
        err = why_set(why, EIO, "the device did not take status 0x%02x, it is 0x%02x", status, now);
    return err;
}

/* A driver that goes on after a back end died does not reset the device. */
static int status_begin(struct frontend *frontend, struct ice_why *why)
{
    int err = frontend->was_connected ? 0 : status_to(frontend, 0, why);

    if (!err)
        err = status_to(frontend, VIRTIO_STATUS_ACKNOWLEDGE, why);
    if (!err)
        err = status_to(frontend, VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER, why);
    return err;
}

#define STATUS_FEATURES                                                                            \
    (VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK)

/* ---- memory ---- */

static struct vhost_user_region region_at(const struct frontend *frontend, unsigned i)
{
    uint64_t offset = i * frontend->region_bytes;

    return (struct vhost_user_region){
        .guest = GUEST_BASE + offset,
        .size = frontend->region_bytes,
        .user = (uint64_t)(uintptr_t)(frontend->memory + offset),
        .mmap_offset = offset,
    };
}

static int share_memory(struct frontend *frontend, struct ice_why *why)
{
    unsigned count = frontend->options.regions;
    struct vhost_user_mem_table table = {.count = count};
    int fds[VHOST_USER_TABLE_REGIONS], err = 0;

    if (frontend_has(frontend, VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS)) {
        for (unsigned i = 0; !err && i < count; i++) {
            struct vhost_user_mem_reg reg = {.region = region_at(frontend, i)};
            err = socket_tell(frontend, VHOST_USER_ADD_MEM_REG, &reg, sizeof(reg),
                              &frontend->memory_fd, 1, why);
        }
        return err;
    }
    for (unsigned i = 0; i < count; i++) {
        table.regions[i] = region_at(frontend, i);
        fds[i] = frontend->memory_fd;
    }
    return socket_tell(frontend, VHOST_USER_SET_MEM_TABLE, &table,
                       (uint32_t)(offsetof(struct vhost_user_mem_table, regions) +
                                  count * sizeof(table.regions[0])),
                       fds, count, why);
}

/* ---- rings ---- */

static int set_state(struct frontend_queue *queue, uint32_t request, uint32_t value,
                     struct ice_why *why)
{
    struct vhost_user_vring_state state = {queue->index, value};

    return socket_tell(queue->frontend, request, &state, sizeof(state), NULL, 0, why);
}

static int set_address(struct frontend_queue *queue, struct ice_why *why)
{
    struct vhost_user_vring_addr address = {
        .index = queue->index,
        .desc = (uint64_t)(uintptr_t)queue->desc,
        .used = (uint64_t)(uintptr_t)queue->used,
        .avail = (uint64_t)(uintptr_t)queue->avail,
    };

    return socket_tell(queue->frontend, VHOST_USER_SET_VRING_ADDR, &address, sizeof(address), NULL,
                       0, why);
}

static int set_fd(struct frontend_queue *queue, uint32_t request, int fd, struct ice_why *why)
{
    struct frontend *frontend = queue->frontend;
    bool in_band = frontend_has(frontend, VHOST_USER_PROTOCOL_F_INBAND_NOTIFICATIONS);
    uint64_t value = queue->index | (in_band ? VHOST_USER_VRING_NO_FD : 0);

    return socket_tell(frontend, request, &value, sizeof(value), &fd, in_band ? 0 : 1, why);
}

/* Where the device goes on: where it stopped; if it died, what it has not handed back is open. */
static uint16_t base_of(const struct frontend_queue *queue)
{
    if (queue->stopped)
        return queue->base;
    return le16toh(__atomic_load_n(&queue->used->idx, __ATOMIC_ACQUIRE));
}

static int start_queue(struct frontend_queue *queue, struct ice_why *why)
{
    int err = set_state(queue, VHOST_USER_SET_VRING_NUM, queue->size, why);

    if (!err)
        err = set_state(queue, VHOST_USER_SET_VRING_BASE, base_of(queue), why);
    if (!err)
        err = set_address(queue, why);
    if (!err)
        err = set_fd(queue, VHOST_USER_SET_VRING_KICK, queue->kick_fd, why);
    if (!err)
        err = set_fd(queue, VHOST_USER_SET_VRING_CALL, queue->call_fd, why);
    if (!err)
        err = set_fd(queue, VHOST_USER_SET_VRING_ERR, queue->err_fd, why);
    queue->stopped = false;
    queue->kicked_idx = queue->avail_idx;
    return err;
}

int frontend_start(struct frontend *frontend, struct ice_why *why)
{
    bool enable = frontend->features & VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES);
    int err = 0;

    for (unsigned i = 0; !err && i < frontend->queue_count; i++)
        err = start_queue(&frontend->queues[i], why);
    for (unsigned i = 0; !err && enable && i < frontend->queue_count; i++)
        err = set_state(&frontend->queues[i], VHOST_USER_SET_VRING_ENABLE, 1, why);
    return err;
}

int frontend_stop(struct frontend *frontend, struct ice_why *why)
{
    for (unsigned i = 0; i < frontend->queue_count; i++) {
        struct frontend_queue *queue = &frontend->queues[i];
        struct vhost_user_vring_state state = {queue->index, 0}, answer;
        int err = socket_call(frontend, VHOST_USER_GET_VRING_BASE, &state, sizeof(state), &answer,
                              sizeof(answer), NULL, why);
        if (err)
            return err;
        if (answer.index != queue->index)
            return why_set(why, EPROTO, "GET_VRING_BASE of %u answers %u", queue->index,
                           answer.index);
        queue->base = (uint16_t)answer.num;
        queue->stopped = true;
    }
    return 0;
}

/* ---- all of it ---- */

static int start_device(struct frontend *frontend, struct ice_why *why)
{
    int err = status_begin(frontend, why);

    if (!err)
        err = set_u64(frontend, VHOST_USER_SET_FEATURES, frontend->features, why);
    if (!err && frontend_has(frontend, VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD))
        err = log_share(frontend, why);
    if (!err)
        err = status_to(frontend, STATUS_FEATURES, why);
    if (!err)
        err = share_memory(frontend, why);
    if (!err)
        err = frontend_start(frontend, why);
    if (!err)
        err = status_to(frontend, STATUS_FEATURES | VIRTIO_STATUS_DRIVER_OK, why);
    return err;
}

/* A back end that has just died may still take connections, for a moment, and never answers. */
static int find_back_end(struct frontend *frontend, struct ice_why *why)
{
    int64_t deadline = now_ms() + frontend->options.timeout_ms;
    int err;

    do {
        frontend_hang_up(frontend);
        err = socket_connect(frontend, why);
        if (!err)
            err = get_u64(frontend, VHOST_USER_GET_FEATURES, &frontend->offered, why);
    } while ((err == -EPIPE || err == -ECONNRESET) && now_ms() < deadline);
    return err;
}

int frontend_connect(struct frontend *frontend, struct ice_why *why)
{
    int err = find_back_end(frontend, why);
    if (!err)
        err = negotiate(frontend, why);
    if (!err)
        err = make_queues(frontend, why);
    if (!err)
        err = start_device(frontend, why);
    if (err) {
        frontend_hang_up(frontend);
        return err;
    }
    frontend->was_connected = true;
    frontend->connects++;
    return 0;
}

void frontend_hang_up(struct frontend *frontend)
{
    if (frontend->fd >= 0)
        close(frontend->fd);
    if (frontend->channel_fd >= 0)
        close(frontend->channel_fd);
    frontend->fd = -1;
    frontend->channel_fd = -1;
}
