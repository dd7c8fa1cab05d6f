/* SPDX-License-Identifier: BSD-2-Clause */
#include "vhost_rig.h"
#include "base/bytes.h"
#include "base/clock.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define WAIT_MS     20000
#define QUIET_MS    50
#define RING_BYTES  0x4000u
#define AVAIL_AT    0x1000u
#define USED_AT     0x2000u
#define SLOT_BYTES  0x10000u
#define DATA_AT     0x1000u
#define STATUS_AT   0xf000u
#define UNWRITTEN   0xee
#define DESCRIPTORS 3u /* of a request */

static void must(bool good, const char *what)
{
    if (!good) {
        printf("Bail out! the rig: %s: %s\n", what, strerror(errno));
        exit(1);
    }
}

static bool readable(int fd, int ms)
{
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};

    return poll(&poll_fd, 1, ms) > 0;
}

/* ---- the back end ---- */

static int listen_at(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    strcpy(address.sun_path, path);
    unlink(path);
    must(fd >= 0 && !bind(fd, (struct sockaddr *)&address, sizeof(address)) && !listen(fd, 8),
         path);
    return fd;
}

static void open_back_end(struct vhost_rig *rig)
{
    struct ice_why why = {0};

    must(!vhost_user_open(rig->rig.function, VHOST_USER_LISTENING, listen_at(rig->path),
                          &rig->back_end, &why),
         why.text);
}

void vhost_rig_open(struct vhost_rig *rig, struct store *store, struct function_params params)
{
    memset(rig, 0, sizeof(*rig));
    snprintf(rig->path, sizeof(rig->path), "/tmp/icesim-vhost-%d.sock", (int)getpid());
    rig_open_as(&rig->rig, 4, 2048, store, params);
    open_back_end(rig);
}

void vhost_rig_close(struct vhost_rig *rig)
{
    vhost_user_close(rig->back_end);
    unlink(rig->path);
    rig_close(&rig->rig);
}

void vhost_rig_restart(struct vhost_rig *rig)
{
    vhost_user_close(rig->back_end);
    open_back_end(rig);
}

const struct vhost_user_counts *vhost_rig_count(struct vhost_rig *rig)
{
    vhost_user_count(rig->back_end, &rig->counts);
    return &rig->counts;
}

uint64_t vhost_rig_refused(struct vhost_rig *rig, enum vhost_user_refusal refusal)
{
    return vhost_rig_count(rig)->refused.of[refusal];
}

/* ---- life of a front end ---- */

void vm_init(struct vm *vm, const struct dialect *dialect)
{
    *vm = (struct vm){.fd = -1, .channel = -1, .dialect = dialect};
    vm->memfd = memfd_create("guest", MFD_CLOEXEC);
    must(vm->memfd >= 0 && !ftruncate(vm->memfd, VM_BYTES), "memfd");
    vm->memory = mmap(NULL, VM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, vm->memfd, 0);
    must(vm->memory != MAP_FAILED, "mmap");
    for (unsigned i = 0; i < VM_RINGS; i++) {
        struct vm_ring *ring = &vm->rings[i];
        uint8_t *at = vm->memory + i * RING_BYTES;
        ring->desc = (void *)at;
        ring->avail = (void *)(at + AVAIL_AT);
        ring->used = (void *)(at + USED_AT);
        ring->kick = eventfd(0, EFD_CLOEXEC);
        ring->call = eventfd(0, EFD_CLOEXEC);
        ring->err = eventfd(0, EFD_CLOEXEC);
        must(ring->kick >= 0 && ring->call >= 0 && ring->err >= 0, "eventfd");
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
    must(vm->fd >= 0 && !connect(vm->fd, (struct sockaddr *)&address, sizeof(address)), "connect");
}

void vm_connect_anew(struct vm *vm, const struct vhost_rig *rig)
{
    vm_connect(vm, rig);
    vm_sync(vm);
    for (unsigned i = 0; i < VM_RINGS; i++) {
        vm_clear_ring(vm, i);
        while (readable(vm->rings[i].err, 0))
            vm_event(vm->rings[i].err);
        while (readable(vm->rings[i].call, 0))
            vm_event(vm->rings[i].call);
    }
}

void vm_hang_up(struct vm *vm)
{
    if (vm->fd >= 0)
        close(vm->fd);
    if (vm->channel >= 0)
        close(vm->channel);
    vm->fd = vm->channel = -1;
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
        must(errno == EPIPE || errno == ECONNRESET, "sendmsg");
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

    must(readable(socket, WAIT_MS), "no message came");
    if (recvmsg(socket, &msg, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(*header))
        return -1;
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    if (c)
        memcpy(&passed, CMSG_DATA(c), sizeof(passed));
    if (fd)
        *fd = passed;
    else if (passed >= 0)
        close(passed);
    must(header->size <= room, "a payload too long");
    if (header->size)
        must(recv(socket, payload, header->size, MSG_WAITALL) == (ssize_t)header->size, "payload");
    return (int)header->size;
}

int vm_receive(struct vm *vm, struct vhost_user_header *header, void *payload, size_t room, int *fd)
{
    return receive(vm->fd, header, payload, room, fd);
}

bool vm_is_cut_off(struct vm *vm)
{
    char byte;

    return readable(vm->fd, WAIT_MS) && recv(vm->fd, &byte, 1, 0) <= 0;
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
    must(vm_receive(vm, &header, &value, sizeof(value), NULL) == sizeof(value) &&
             header.request == request && header.flags == (VHOST_USER_VERSION | VHOST_USER_REPLY),
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
    must(header.request == request && header.size == sizeof(value), "the reply to a request");
    return (int64_t)value;
}

void vm_sync(struct vm *vm)
{
    vm_get(vm, VHOST_USER_GET_FEATURES);
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

    must(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), "socketpair");
    vm_send(vm, VHOST_USER_SET_BACKEND_REQ_FD, 0, NULL, 0, &pair[1], 1);
    close(pair[1]);
    vm->channel = pair[0];
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
    struct vhost_user_vring_state state;
    struct vhost_user_header header;

    vm_state(vm, VHOST_USER_GET_VRING_BASE, ring, 0);
    must(vm_receive(vm, &header, &state, sizeof(state), NULL) == sizeof(state) &&
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

/* ---- rings ---- */

void vm_make_available(struct vm *vm, unsigned index, uint16_t head)
{
    struct vm_ring *ring = &vm->rings[index];

    __atomic_store_n(&ring->avail->ring[ring->avail_idx % VM_ENTRIES], htole16(head),
                     __ATOMIC_RELAXED);
    __atomic_store_n(&ring->avail->idx, htole16(++ring->avail_idx), __ATOMIC_RELEASE);
}

void vm_add(struct vm *vm, unsigned index, uint16_t head, const struct vm_part *parts, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        struct vring_desc *desc = &vm->rings[index].desc[head + i];
        uint16_t flags = (uint16_t)((i + 1 < n ? VRING_DESC_F_NEXT : 0) |
                                    (parts[i].writable ? VRING_DESC_F_WRITE : 0));
        store_le64(&desc->addr, VM_GUEST + parts[i].at);
        store_le32(&desc->len, parts[i].len);
        store_le16(&desc->flags, flags);
        store_le16(&desc->next, (uint16_t)(head + i + 1));
    }
    vm_make_available(vm, index, head);
}

void vm_kick(struct vm *vm, unsigned ring)
{
    const uint64_t one = 1;

    must(write(vm->rings[ring].kick, &one, sizeof(one)) == sizeof(one), "kick");
}

static bool is_used(const struct vm_ring *ring)
{
    return le16toh(__atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE)) != ring->used_idx;
}

bool vm_used(struct vm *vm, unsigned index, struct vring_used_elem *elem)
{
    struct vm_ring *ring = &vm->rings[index];
    int64_t limit = now_ms() + WAIT_MS;

    while (!is_used(ring)) {
        if (now_ms() > limit)
            return false;
        poll(NULL, 0, 1);
    }
    const struct vring_used_elem *there = &ring->used->ring[ring->used_idx++ % VM_ENTRIES];
    elem->id = le32toh(__atomic_load_n(&there->id, __ATOMIC_RELAXED));
    elem->len = le32toh(__atomic_load_n(&there->len, __ATOMIC_RELAXED));
    return true;
}

bool vm_is_quiet(struct vm *vm, unsigned ring)
{
    poll(NULL, 0, QUIET_MS);
    return !is_used(&vm->rings[ring]);
}

uint64_t vm_event(int fd)
{
    uint64_t count;

    return readable(fd, WAIT_MS) && read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

uint32_t vm_notice(struct vm *vm, struct vhost_user_vring_state *state)
{
    struct vhost_user_header header;

    if (!readable(vm->channel, WAIT_MS) ||
        receive(vm->channel, &header, state, sizeof(*state), NULL) < 0)
        return 0;
    return header.request;
}

/* ---- requests ---- */

static uint32_t slot_at(unsigned n)
{
    return VM_DATA + n * SLOT_BYTES;
}

uint8_t *vm_data(struct vm *vm, unsigned n)
{
    return vm->memory + slot_at(n) + DATA_AT;
}

int vm_status(struct vm *vm, unsigned n)
{
    return vm->memory[slot_at(n) + STATUS_AT];
}

void vm_submit(struct vm *vm, unsigned ring, unsigned n, const struct command *command,
               const void *out, size_t len)
{
    uint8_t head[DIALECT_HEAD_MAX];
    size_t head_len = vm->dialect->build(vm->features, command, head);
    uint32_t at = slot_at(n);
    const struct vm_part parts[] = {
        {at, (uint32_t)head_len, false},
        {at + (len ? DATA_AT : STATUS_AT), len ? (uint32_t)len : 1, !out || !len},
        {at + STATUS_AT, 1, true},
    };

    memcpy(vm->memory + at, head, head_len);
    vm->memory[at + STATUS_AT] = UNWRITTEN;
    if (out)
        memcpy(vm->memory + at + DATA_AT, out, len);
    vm_add(vm, ring, (uint16_t)(n * DESCRIPTORS), parts, len ? 3 : 2);
}

int vm_run(struct vm *vm, const struct command *command, void *data, size_t len)
{
    bool write = command->kind == COMMAND_WRITE;
    struct vring_used_elem elem;

    vm_submit(vm, 0, 0, command, write ? data : NULL, len);
    vm_kick(vm, 0);
    if (!vm_used(vm, 0, &elem))
        return -1;
    if (!elem.len)
        return -2;
    if (!write && len && elem.len == len + 1)
        memcpy(data, vm_data(vm, 0), len);
    return vm_status(vm, 0);
}
