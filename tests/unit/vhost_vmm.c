/* SPDX-License-Identifier: BSD-2-Clause */
/* The host's side of a machine: its memory, and what a VMM says and is told. */
#include "base/bytes.h"
#include "patience.h"
#include "vhost_rig.h"
#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define SOON_MS    50
#define RING_BYTES 0x4000u
#define AVAIL_AT   0x1000u
#define USED_AT    0x2000u
#define NEWS_AFTER 64u /* messages that a back end reads at most before it looks at news */

static bool readable(int fd, int ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    return poll(&poll_fd, 1, ms) > 0;
}

/* ---- life of a front end ---- */

void vm_init(struct vm *vm, const struct dialect *dialect)
{
    *vm = (struct vm){.fd = -1, .channel = -1, .far_end = -1, .dialect = dialect};
    vm->memfd = memfd_create("guest", MFD_CLOEXEC);
    vm_must(vm->memfd >= 0 && !ftruncate(vm->memfd, VM_BYTES), "memfd");
    vm->memory = mmap(NULL, VM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, vm->memfd, 0);
    vm_must(vm->memory != MAP_FAILED, "mmap");
    for (unsigned i = 0; i < VM_RINGS; i++) {
        struct vm_ring *ring = &vm->rings[i];
        uint8_t *at = vm->memory + i * RING_BYTES;
        ring->desc = (void *)at;
        ring->avail = (void *)(at + AVAIL_AT);
        ring->used = (void *)(at + USED_AT);
        ring->kick = eventfd(0, EFD_CLOEXEC);
        ring->call = eventfd(0, EFD_CLOEXEC);
        ring->err = eventfd(0, EFD_CLOEXEC);
        vm_must(ring->kick >= 0 && ring->call >= 0 && ring->err >= 0, "eventfd");
    }
}

void vm_free(struct vm *vm)
{
    vm_hang_up(vm);
    for (unsigned i = 0; i < VM_RINGS; i++) {
        close(vm->rings[i].kick);
        close(vm->rings[i].call);
        close(vm->rings[i].err);
    }
    munmap(vm->memory, VM_BYTES);
    close(vm->memfd);
}

void vm_connect(struct vm *vm, const struct vhost_rig *rig)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    strcpy(address.sun_path, rig->path);
    vm->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    vm_must(vm->fd >= 0 && !connect(vm->fd, (struct sockaddr *)&address, sizeof(address)),
            "connect");
}

void vm_connect_anew(struct vm *vm, const struct vhost_rig *rig)
{
    vm_connect(vm, rig);
    vm_sync(vm);
    for (unsigned i = 0; i < VM_RINGS; i++) {
        vm_clear_ring(vm, i);
        while (vm_is_raised(vm->rings[i].err))
            vm_event(vm->rings[i].err);
        while (vm_is_raised(vm->rings[i].call))
            vm_event(vm->rings[i].call);
    }
}

void vm_start_anew(struct vm *vm, const struct vhost_rig *rig, uint64_t features, uint64_t protocol)
{
    vm_connect_anew(vm, rig);
    vm_start(vm, features, protocol);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void vm_hang_up(struct vm *vm)
{
    close_fd(&vm->fd);
    close_fd(&vm->channel);
    close_fd(&vm->far_end);
}

/* ---- messages ---- */

void vm_send(struct vm *vm, uint32_t request, uint32_t flags, const void *payload, size_t size,
             const int *fds, unsigned n)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(16 * sizeof(int))];
    } control = {0};
    struct vhost_user_header header = {request, VHOST_USER_VERSION | flags, (uint32_t)size};
    struct iovec parts[] = {{&header, sizeof(header)}, {(void *)payload, size}};
    struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};

    if (n) {
        msg.msg_control = &control;
        msg.msg_controllen = CMSG_SPACE(n * sizeof(int));
        struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(n * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n * sizeof(int));
    }
    /* A back end that hung up is noticed by who waits for its answer. */
    if (sendmsg(vm->fd, &msg, MSG_NOSIGNAL) < 0)
        vm_must(errno == EPIPE || errno == ECONNRESET, "sendmsg");
}

static int receive(int socket, struct vhost_user_header *header, void *payload, size_t room,
                   int *fd)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec part = {header, sizeof(*header)};
    struct msghdr msg = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    int passed = -1;

    vm_must(readable(socket, PATIENCE_MS), "no message came");
    if (recvmsg(socket, &msg, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(*header))
        return -1;
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c)
        memcpy(&passed, CMSG_DATA(c), sizeof(passed));
    if (fd)
        *fd = passed;
    else if (passed >= 0)
        close(passed);
    vm_must(header->size <= room, "a payload too long");
    if (header->size)
        vm_must(recv(socket, payload, header->size, MSG_WAITALL) == (ssize_t)header->size,
                "payload");
    return (int)header->size;
}

int vm_receive(struct vm *vm, struct vhost_user_header *header, void *payload, size_t room, int *fd)
{
    return receive(vm->fd, header, payload, room, fd);
}

bool vm_is_cut_off(struct vm *vm)
{
    char byte;

    return readable(vm->fd, PATIENCE_MS) && recv(vm->fd, &byte, 1, 0) <= 0;
}

void vm_u64(struct vm *vm, uint32_t request, uint64_t value)
{
    vm_send(vm, request, 0, &value, sizeof(value), NULL, 0);
}

void vm_state(struct vm *vm, uint32_t request, unsigned index, unsigned num)
{
    struct vhost_user_vring_state state = {index, num};

    vm_send(vm, request, 0, &state, sizeof(state), NULL, 0);
}

void vm_event_fd(struct vm *vm, uint32_t request, unsigned index, int fd)
{
    uint64_t value = index | (fd < 0 ? VHOST_USER_VRING_NO_FD : 0);

    vm_send(vm, request, 0, &value, sizeof(value), &fd, fd >= 0);
}

uint64_t vm_get(struct vm *vm, uint32_t request)
{
    struct vhost_user_header header;
    uint64_t value;

    vm_send(vm, request, 0, NULL, 0, NULL, 0);
    vm_must(vm_receive(vm, &header, &value, sizeof(value), NULL) == sizeof(value) &&
                header.request == request &&
                header.flags == (VHOST_USER_VERSION | VHOST_USER_REPLY),
            "a reply of 8 bytes");
    return value;
}

int64_t vm_ack(struct vm *vm, uint32_t request, const void *payload, size_t size, const int *fds,
               unsigned n)
{
    struct vhost_user_header header;
    uint64_t value;

    vm_send(vm, request, VHOST_USER_NEED_REPLY, payload, size, fds, n);
    if (vm_receive(vm, &header, &value, sizeof(value), NULL) < 0)
        return -1;
    vm_must(header.request == request && header.size == sizeof(value), "the reply to a request");
    return (int64_t)value;
}

void vm_sync(struct vm *vm)
{
    vm_get(vm, VHOST_USER_GET_FEATURES);
}

void vm_sync_news(struct vm *vm)
{
    for (unsigned i = 0; i <= NEWS_AFTER; i++)
        vm_sync(vm);
}

/* ---- what a VMM says ---- */

void vm_negotiate(struct vm *vm, uint64_t features, uint64_t protocol)
{
    uint64_t offered = vm_get(vm, VHOST_USER_GET_FEATURES);

    if (protocol) {
        features |= VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES);
        vm_u64(vm, VHOST_USER_SET_PROTOCOL_FEATURES,
               protocol & vm_get(vm, VHOST_USER_GET_PROTOCOL_FEATURES));
    } else {
        features &= ~VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES);
    }
    vm->features = offered & (features | VIRTIO_FEATURE(VIRTIO_F_VERSION_1));
    vm_send(vm, VHOST_USER_SET_OWNER, 0, NULL, 0, NULL, 0);
    vm_u64(vm, VHOST_USER_SET_FEATURES, vm->features);
}

void vm_share_memory(struct vm *vm)
{
    struct vhost_user_mem_table table = {.count = 1};

    table.regions[0] = (struct vhost_user_region){VM_GUEST, VM_BYTES, VM_USER, 0};
    vm_send(vm, VHOST_USER_SET_MEM_TABLE, 0, &table, 8 + sizeof(table.regions[0]), &vm->memfd, 1);
}

void vm_set_channel(struct vm *vm)
{
    int pair[2];

    vm_must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
    vm_send(vm, VHOST_USER_SET_BACKEND_REQ_FD, 0, NULL, 0, &pair[1], 1);
    vm->channel = pair[0];
    vm->far_end = pair[1];
}

void vm_place_ring(struct vm *vm, unsigned index)
{
    uint64_t at = VM_USER + index * RING_BYTES;
    struct vhost_user_vring_addr addr = {
        .index = index,
        .desc = at,
        .avail = at + AVAIL_AT,
        .used = at + USED_AT,
    };

    vm_state(vm, VHOST_USER_SET_VRING_NUM, index, VM_ENTRIES);
    vm_state(vm, VHOST_USER_SET_VRING_BASE, index, vm->rings[index].used_idx);
    vm_send(vm, VHOST_USER_SET_VRING_ADDR, 0, &addr, sizeof(addr), NULL, 0);
}

void vm_start_ring(struct vm *vm, unsigned index)
{
    const struct vm_ring *ring = &vm->rings[index];

    vm_place_ring(vm, index);
    vm_event_fd(vm, VHOST_USER_SET_VRING_ERR, index, ring->err);
    vm_event_fd(vm, VHOST_USER_SET_VRING_KICK, index, ring->kick);
    vm_event_fd(vm, VHOST_USER_SET_VRING_CALL, index, ring->call);
    if (vm->features & VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES))
        vm_state(vm, VHOST_USER_SET_VRING_ENABLE, index, 1);
}

void vm_start(struct vm *vm, uint64_t features, uint64_t protocol)
{
    vm_negotiate(vm, features, protocol);
    if (protocol & VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_BACKEND_REQ))
        vm_set_channel(vm);
    vm_share_memory(vm);
    vm_start_ring(vm, 0);
}

uint16_t vm_stop_ring(struct vm *vm, unsigned ring)
{
    vm_state(vm, VHOST_USER_GET_VRING_BASE, ring, 0);
    return vm_ring_base(vm, ring);
}

uint16_t vm_ring_base(struct vm *vm, unsigned ring)
{
    struct vhost_user_vring_state state;
    struct vhost_user_header header;

    vm_must(vm_receive(vm, &header, &state, sizeof(state), NULL) == sizeof(state) &&
                header.request == VHOST_USER_GET_VRING_BASE && state.index == ring,
            "the base of a ring");
    return (uint16_t)state.num;
}

void vm_clear_ring(struct vm *vm, unsigned index)
{
    struct vm_ring *ring = &vm->rings[index];

    memset(ring->desc, 0, RING_BYTES);
    ring->avail_idx = ring->used_idx = 0;
}

/* ---- what the back end tells ---- */

uint64_t vm_event(int fd)
{
    uint64_t count;

    return readable(fd, PATIENCE_MS) && read(fd, &count, sizeof(count)) == sizeof(count) ? count
                                                                                         : 0;
}

uint32_t vm_notice(struct vm *vm, struct vhost_user_vring_state *state)
{
    struct vhost_user_header header;

    if (!readable(vm->channel, PATIENCE_MS) ||
        receive(vm->channel, &header, state, sizeof(*state), NULL) < 0)
        return 0;
    return header.request;
}

bool vm_is_raised(int fd)
{
    return readable(fd, 0);
}

bool vm_is_raised_soon(int fd)
{
    return readable(fd, SOON_MS);
}

bool vm_told_of_config(struct vm *vm)
{
    struct vhost_user_vring_state state;

    return vm_notice(vm, &state) == VHOST_USER_BACKEND_CONFIG_CHANGE;
}

static const struct vhost_user_header filler = {VHOST_USER_BACKEND_CONFIG_CHANGE,
                                                VHOST_USER_VERSION, 0};

void vm_fill_channel(struct vm *vm)
{
    vm->fillers = 0;
    while (send(vm->far_end, &filler, sizeof(filler), MSG_DONTWAIT) == sizeof(filler))
        vm->fillers++;
    vm_must(errno == EAGAIN && vm->fillers, "the channel is full");
}

void vm_empty_channel(struct vm *vm)
{
    for (; vm->fillers; vm->fillers--)
        vm_must(vm_told_of_config(vm), "what the channel was filled with");
}

/* ---- the log of requests in flight ---- */

void vm_log_make(struct vm *vm, struct vm_log *log)
{
    struct vhost_user_inflight ask = {.num_queues = 1, .queue_size = VM_ENTRIES};
    struct vhost_user_header header;

    vm_send(vm, VHOST_USER_GET_INFLIGHT_FD, 0, &ask, sizeof(ask), NULL, 0);
    vm_must(vm_receive(vm, &header, &log->at, sizeof(log->at), &log->fd) == sizeof(log->at) &&
                log->fd >= 0 && log->at.mmap_size >= sizeof(*log->part),
            "GET_INFLIGHT_FD");
    log->part = mmap(NULL, log->at.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, log->fd, 0);
    vm_must(log->part != MAP_FAILED, "mmap");
}

int64_t vm_log_share(struct vm *vm, const struct vm_log *log)
{
    return vm_ack(vm, VHOST_USER_SET_INFLIGHT_FD, &log->at, sizeof(log->at), &log->fd, 1);
}

void vm_log_free(struct vm_log *log)
{
    munmap(log->part, log->at.mmap_size);
    close(log->fd);
}
