/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest's memory, and what is asked of a front end besides requests. */
#include "frontend.h"
#include "base/bytes.h"
#include "private.h"
#include "virtio/blk.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/*
 * virtio-blk's own and a dialect's (0 to 23), the rings', the protocol's, VERSION_1, and those of
 * device types from 50 on. Not among them: what a driver must act upon and this does not, as a
 * packed ring.
 */
uint64_t frontend_all_features(void)
{
    return (VIRTIO_FEATURE(24) - 1) | VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) |
           VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX) | VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES) |
           VIRTIO_FEATURE(VIRTIO_F_VERSION_1) | ~(VIRTIO_FEATURE(50) - 1);
}

struct frontend_options frontend_usual(const char *path)
{
    uint64_t known = VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_MQ) |
                     VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_REPLY_ACK) |
                     VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_BACKEND_REQ) |
                     VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_CONFIG) |
                     VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_INFLIGHT_SHMFD) |
                     VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_RESET_DEVICE) |
                     VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS) |
                     VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_STATUS);

    return (struct frontend_options){
        .path = path,
        .features = frontend_all_features(),
        .protocol = known,
        .queues = 1,
        .queue_size = 128,
        .regions = 2,
        .memory = 32u << 20,
        .timeout_ms = 60000,
    };
}

/* ---- memory ---- */

static size_t round_up(size_t n, size_t to)
{
    return (n + to - 1) / to * to;
}

/* The rings come first, in a region that holds them all: none may lie in two. */
static int make_memory(struct frontend *frontend, struct ice_why *why)
{
    const struct frontend_options *options = &frontend->options;
    size_t rings = (options->queues + 1) * queue_bytes(options->queue_size);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t region = (rings + options->memory) / options->regions;

    if (region < rings)
        region = rings;
    frontend->region_bytes = round_up(region, page);
    frontend->memory_bytes = frontend->region_bytes * options->regions;
    frontend->memory_fd = memfd_create("guest", MFD_CLOEXEC);
    if (frontend->memory_fd < 0 ||
        ftruncate(frontend->memory_fd, (off_t)frontend->memory_bytes) < 0)
        return why_errno(why, errno, "memfd of %zu bytes", frontend->memory_bytes);
    void *map = mmap(NULL, frontend->memory_bytes, PROT_READ | PROT_WRITE, MAP_SHARED,
                     frontend->memory_fd, 0);
    if (map == MAP_FAILED)
        return why_errno(why, errno, "mmap of %zu bytes", frontend->memory_bytes);
    madvise(map, frontend->memory_bytes, MADV_DONTDUMP);
    frontend->memory = map;
    frontend->allocated = 0;
    return 0;
}

void *frontend_alloc(struct frontend *frontend, size_t len, size_t align)
{
    size_t at = round_up(frontend->allocated, align);

    if (at > frontend->memory_bytes || len > frontend->memory_bytes - at)
        return NULL;
    frontend->allocated = at + len;
    return frontend->memory + at;
}

/* ---- life ---- */

static int check(const struct frontend_options *options, struct ice_why *why)
{
    if (!options->queues || options->queues >= FRONTEND_QUEUES_MAX)
        return why_set(why, EINVAL, "%u queues, not 1 to %u", options->queues,
                       FRONTEND_QUEUES_MAX - 1);
    if (!is_power_of_two(options->queue_size) || options->queue_size > VRING_SIZE_LIMIT)
        return why_set(why, EINVAL, "a ring of %u entries", options->queue_size);
    if (!options->regions || options->regions > VHOST_USER_TABLE_REGIONS)
        return why_set(why, EINVAL, "%u regions, not 1 to %u", options->regions,
                       VHOST_USER_TABLE_REGIONS);
    return 0;
}

int frontend_new(const struct frontend_options *options, struct frontend **result,
                 struct ice_why *why)
{
    int err = check(options, why);

    if (err)
        return err;
    struct frontend *frontend = calloc(1, sizeof(*frontend));
    if (!frontend)
        return why_set(why, ENOMEM, "no memory for a front end");
    frontend->options = *options;
    if (!frontend->options.dialect)
        frontend->options.dialect = &dialect_ice2;
    frontend->fd = frontend->channel_fd = frontend->log_fd = frontend->memory_fd = -1;
    pthread_mutex_init(&frontend->listening, NULL);
    err = make_memory(frontend, why);
    if (err) {
        frontend_free(frontend);
        return err;
    }
    *result = frontend;
    return 0;
}

void frontend_free(struct frontend *frontend)
{
    if (!frontend)
        return;
    frontend_hang_up(frontend);
    sync_channel_free(frontend->sync);
    for (unsigned i = 0; i < frontend->queue_count; i++)
        queue_free(&frontend->queues[i]);
    log_unmap(frontend);
    if (frontend->log_fd >= 0)
        close(frontend->log_fd);
    if (frontend->memory)
        munmap(frontend->memory, frontend->memory_bytes);
    if (frontend->memory_fd >= 0)
        close(frontend->memory_fd);
    pthread_mutex_destroy(&frontend->listening);
    free(frontend);
}

/* ---- what the back end says ---- */

uint64_t frontend_offered(const struct frontend *frontend)
{
    return frontend->offered;
}

uint64_t frontend_features(const struct frontend *frontend)
{
    return frontend->features;
}

uint64_t frontend_offered_protocol(const struct frontend *frontend)
{
    return frontend->offered_protocol;
}

uint64_t frontend_protocol(const struct frontend *frontend)
{
    return frontend->protocol;
}

unsigned frontend_queue_limit(const struct frontend *frontend)
{
    return frontend->queue_limit;
}

pid_t frontend_peer(const struct frontend *frontend)
{
    return frontend->peer;
}

/* A message's payload is as long as the bytes it is about, in both directions. */
static uint32_t config_length(uint32_t len)
{
    return (uint32_t)offsetof(struct vhost_user_config, bytes) + len;
}

int frontend_read_config(struct frontend *frontend, uint32_t offset, void *buffer, uint32_t len,
                         struct ice_why *why)
{
    struct vhost_user_config ask = {.offset = offset, .size = len}, answer;

    if (len > VHOST_USER_CONFIG_MAX)
        return why_set(why, EINVAL, "%u bytes of configuration", len);
    int err = socket_call(frontend, VHOST_USER_GET_CONFIG, &ask, config_length(len), &answer,
                          config_length(len), NULL, why);
    if (!err)
        memcpy(buffer, answer.bytes, len);
    return err;
}

/* qemu-storage-daemon has no more than virtio-blk's 60 or 96 bytes; a dialect needs more. */
int frontend_config(struct frontend *frontend, struct function_config *config, struct ice_why *why)
{
    const struct dialect *dialect = frontend->options.dialect;
    bool extended = frontend->offered & dialect->features;
    uint32_t len = extended ? DIALECT_CONFIG_MAX : 60;
    uint8_t space[DIALECT_CONFIG_MAX] = {0};
    int err = frontend_read_config(frontend, 0, space, len, why);

    if (!err)
        dialect->parse_config(frontend->offered, space, len, config);
    return err;
}

/* ---- queues and counts ---- */

struct frontend_queue *frontend_queue(struct frontend *frontend, unsigned index)
{
    return &frontend->queues[index];
}

unsigned frontend_queues(const struct frontend *frontend)
{
    return frontend->queue_count;
}

void frontend_count(struct frontend *frontend, struct frontend_counts *counts)
{
    *counts = (struct frontend_counts){
        .config_changes = frontend->config_changes,
        .ring_errors = frontend->ring_errors,
        .connects = frontend->connects,
    };
    for (unsigned i = 0; i < frontend->queue_count; i++) {
        counts->requests += frontend->queues[i].requests;
        counts->kicks += frontend->queues[i].kicks;
        counts->calls += frontend->queues[i].calls;
    }
}

size_t frontend_build(struct frontend *frontend, const struct command *command,
                      uint8_t head[static DIALECT_HEAD_MAX])
{
    return frontend->options.dialect->build(frontend->features, command, head);
}

unsigned frontend_command_queue(struct frontend *frontend, const struct command *command)
{
    bool control = frontend->options.dialect->on_control_queue(command->kind);

    return control ? frontend->queue_count - 1 : 0;
}
