/* SPDX-License-Identifier: BSD-2-Clause */
#include "vhost_spoil.h"
#include "base/bytes.h"
#include "patience.h"
#include "storm.h"
#include "vhost_user/inflight.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAGE UINT64_C(4096)

#define BARE      UINT64_C(0)
#define ALL       UINT64_MAX /* of the protocol features */
#define NO_STATUS (ALL & ~VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_STATUS))

static const struct spoils *tools;

static void must(bool done)
{
    if (!done)
        abort();
}

void spoils_open(struct spoils *spoils)
{
    spoils->sealed = memfd_create("sealed", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    must(spoils->sealed >= 0 && !ftruncate(spoils->sealed, 1 << 20) &&
         !fcntl(spoils->sealed, F_ADD_SEALS, F_SEAL_WRITE));
    must(!inflight_make(1, VM_ENTRIES, &spoils->at, &spoils->log));
}

void spoils_close(struct spoils *spoils)
{
    close(spoils->sealed);
    close(spoils->log);
}

bool is_cut_off(struct vm *vm)
{
    struct pollfd at = {.fd = vm->fd, .events = POLLIN};
    char bytes[4096];
    ssize_t n;

    do
        n = poll(&at, 1, PATIENCE_MS) == 1 ? recv(vm->fd, bytes, sizeof(bytes), 0) : 1;
    while (n > 0 && at.revents);
    return n == 0 || (n < 0 && errno == ECONNRESET);
}

/* Bytes as they are; it is no matter whether the back end has hung up already. */
static void send_bytes(struct vm *vm, const void *bytes, size_t len)
{
    (void)!send(vm->fd, bytes, len, MSG_NOSIGNAL);
}

/* A header alone. */
static void send_header(struct vm *vm, uint32_t request, uint32_t flags, uint32_t size_said)
{
    struct vhost_user_header header = {request, flags, size_said};

    send_bytes(vm, &header, sizeof(header));
}

/* ---- messages as such ---- */

static void bad_flags(struct vm *vm)
{
    static const uint32_t flags[] = {0, 2, 3, VHOST_USER_VERSION | VHOST_USER_REPLY};

    send_header(vm, VHOST_USER_GET_FEATURES, flags[pick(4)], 0);
}

static void unknown(struct vm *vm)
{
    static const uint32_t numbers[] = {0, 6, 7, 19, 20, 22, 23, 26, 30, 33, 41, 1000, UINT32_MAX};

    vm_send(vm, numbers[pick(ARRAY_SIZE(numbers))], 0, NULL, 0, NULL, 0);
}

static void bad_size(struct vm *vm)
{
    static const uint8_t zeros[300];
    static const struct {
        uint32_t request;
        unsigned size;
    } right[] = {
        {VHOST_USER_GET_FEATURES, 0},   {VHOST_USER_SET_FEATURES, 8},
        {VHOST_USER_SET_VRING_NUM, 8},  {VHOST_USER_SET_VRING_ADDR, 40},
        {VHOST_USER_GET_VRING_BASE, 8}, {VHOST_USER_ADD_MEM_REG, 40},
        {VHOST_USER_SET_STATUS, 8},     {VHOST_USER_GET_STATUS, 0},
        {VHOST_USER_SET_VRING_CALL, 8},
    };
    unsigned which = pick(ARRAY_SIZE(right)), size;

    if (chance(25)) {
        send_header(vm, right[which].request, VHOST_USER_VERSION, 500 + (uint32_t)pick(1u << 31));
        return;
    }
    do
        size = pick(chance(50) ? 300 : 50);
    while (size == right[which].size);
    vm_send(vm, right[which].request, 0, zeros, size, NULL, 0);
}

/* A table of one region of the memory. */
static void send_table(struct vm *vm, const struct vhost_user_region *region, const int *fds,
                       unsigned n)
{
    struct vhost_user_mem_table table = {.count = 1, .regions = {*region}};

    vm_send(vm, VHOST_USER_SET_MEM_TABLE, 0, &table, 8 + sizeof(*region), fds, n);
}

static void bad_fds(struct vm *vm)
{
    const struct vhost_user_region region = {VM_GUEST, VM_BYTES, VM_USER, 0};
    const uint64_t with_fd = 0, without = VHOST_USER_VRING_NO_FD;
    int fds[16];

    for (unsigned i = 0; i < 16; i++)
        fds[i] = vm->memfd;
    switch (pick(6)) {
    case 0:
        send_table(vm, &region, fds, chance(50) ? 0 : 2 + pick(7));
        return;
    case 1:
        vm_send(vm, VHOST_USER_GET_FEATURES, 0, NULL, 0, fds, 1 + pick(16));
        return;
    case 2:
        vm_send(vm, VHOST_USER_SET_VRING_CALL, 0, &with_fd, 8, fds, chance(50) ? 0 : 2);
        return;
    case 3:
        vm_send(vm, VHOST_USER_SET_VRING_ERR, 0, &without, 8, fds, 1);
        return;
    case 4:
        vm_send(vm, VHOST_USER_SET_BACKEND_REQ_FD, 0, NULL, 0, fds, 2 * pick(2));
        return;
    default:
        vm_send(vm, VHOST_USER_SET_INFLIGHT_FD, 0, &tools->at, sizeof(tools->at), NULL, 0);
    }
}

static void cut(struct vm *vm)
{
    uint8_t bytes[sizeof(struct vhost_user_header) + 8] = {VHOST_USER_SET_FEATURES};

    bytes[4] = VHOST_USER_VERSION;
    bytes[8] = 8;
    send_bytes(vm, bytes, 1 + pick(sizeof(bytes) - 1));
    shutdown(vm->fd, SHUT_WR);
}

static void not_negotiated(struct vm *vm)
{
    static const uint32_t numbers[] = {VHOST_USER_GET_QUEUE_NUM, VHOST_USER_GET_STATUS,
                                       VHOST_USER_RESET_DEVICE, VHOST_USER_GET_MAX_MEM_SLOTS};

    vm_send(vm, numbers[pick(4)], 0, NULL, 0, NULL, 0);
}

/* Until the back end's replies find no room, nobody reading them. */
static void unread(struct vm *vm)
{
    const struct vhost_user_header ask = {VHOST_USER_GET_FEATURES, VHOST_USER_VERSION, 0};
    struct pollfd at = {.fd = vm->fd, .events = POLLOUT};

    for (;;) {
        if (send(vm->fd, &ask, sizeof(ask), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
            continue;
        if (errno != EAGAIN || poll(&at, 1, PATIENCE_MS) != 1 || at.revents & (POLLHUP | POLLERR))
            return;
    }
}

/* ---- features, status, configuration ---- */

static void foreign(struct vm *vm)
{
    if (chance(50))
        vm_u64(vm, VHOST_USER_SET_PROTOCOL_FEATURES, UINT64_C(1) << (20 + pick(44)));
    else
        vm_u64(vm, VHOST_USER_SET_FEATURES, vm->features | UINT64_C(1) << 63);
}

static void late(struct vm *vm)
{
    vm_share_memory(vm);
    vm_start_ring(vm, 0);
    if (chance(50))
        vm_u64(vm, VHOST_USER_SET_FEATURES, vm->features ^ VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC));
    else
        vm_u64(vm, VHOST_USER_SET_PROTOCOL_FEATURES, 0);
}

static void refused_features(struct vm *vm)
{
    vm_u64(vm, VHOST_USER_SET_FEATURES, VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES));
    vm_share_memory(vm);
    vm_start_ring(vm, 0);
}

static void status_order(struct vm *vm)
{
    vm_u64(vm, VHOST_USER_SET_STATUS, chance(50) ? 256 + number() : VIRTIO_STATUS_DRIVER_OK);
}

static void bad_window(struct vm *vm)
{
    struct vhost_user_config config = {0};
    uint32_t size = 1 + pick(256);

    config.size = size;
    if (chance(30))
        config.offset = 257 - size + (uint32_t)number();
    else if (chance(50))
        config.size = size + 1 + pick(1000);
    else
        size = config.size = 0;
    vm_send(vm, chance(50) ? VHOST_USER_GET_CONFIG : VHOST_USER_SET_CONFIG, 0, &config, 12 + size,
            NULL, 0);
}

/* ---- rings ---- */

static void bad_index(struct vm *vm)
{
    static const uint32_t states[] = {VHOST_USER_SET_VRING_NUM, VHOST_USER_SET_VRING_BASE,
                                      VHOST_USER_GET_VRING_BASE, VHOST_USER_SET_VRING_ENABLE};
    struct vhost_user_vring_addr addr = {.index = 64 + (uint32_t)number() % 1000000};

    if (chance(50))
        vm_state(vm, states[pick(4)], addr.index, 1);
    else if (chance(50))
        vm_send(vm, VHOST_USER_SET_VRING_ADDR, 0, &addr, sizeof(addr), NULL, 0);
    else
        vm_event_fd(vm, VHOST_USER_SET_VRING_CALL, 64 + pick(150), -1);
}

static void bad_queue_size(struct vm *vm)
{
    static const uint32_t sizes[] = {0, 3, 65535, 65536, UINT32_MAX};

    vm_state(vm, VHOST_USER_SET_VRING_NUM, pick(4), sizes[pick(5)]);
}

static void bad_base(struct vm *vm)
{
    vm_state(vm, VHOST_USER_SET_VRING_BASE, pick(4), 65536 + pick(1u << 30));
}

static void bad_enable(struct vm *vm)
{
    vm_state(vm, VHOST_USER_SET_VRING_ENABLE, pick(4), 2 + pick(1u << 30));
}

static void started(struct vm *vm)
{
    vm_share_memory(vm);
    vm_start_ring(vm, 0);
    if (chance(50))
        vm_state(vm, VHOST_USER_SET_VRING_NUM, 0, 2 * VM_ENTRIES);
    else if (chance(50))
        vm_state(vm, VHOST_USER_SET_VRING_BASE, 0, 5);
    else
        vm_send(vm, VHOST_USER_SET_INFLIGHT_FD, 0, &tools->at, sizeof(tools->at), &tools->log, 1);
}

static void unready(struct vm *vm)
{
    if (chance(50))
        vm_share_memory(vm);
    if (chance(50))
        vm_state(vm, VHOST_USER_SET_VRING_NUM, 0, VM_ENTRIES);
    vm_event_fd(vm, VHOST_USER_SET_VRING_KICK, 0, vm->rings[0].kick);
}

static void bad_event(struct vm *vm)
{
    vm_event_fd(vm, chance(50) ? VHOST_USER_SET_VRING_CALL : VHOST_USER_SET_VRING_ERR, pick(4),
                vm->memfd);
}

static void bad_channel(struct vm *vm)
{
    int fd = chance(50) ? vm->memfd : vm->rings[0].call;

    vm_send(vm, VHOST_USER_SET_BACKEND_REQ_FD, 0, NULL, 0, &fd, 1);
}

static void kick_ends(struct vm *vm)
{
    int pipe_fds[2], kick = vm->rings[0].kick;

    must(!pipe2(pipe_fds, O_CLOEXEC));
    vm->rings[0].kick = pipe_fds[0];
    vm_share_memory(vm);
    vm_start_ring(vm, 0);
    vm->rings[0].kick = kick;
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void loop(struct vm *vm)
{
    const struct vm_part part = {VM_DATA, 16, false};

    vm_share_memory(vm);
    vm_start_ring(vm, 0);
    vm_add(vm, 0, 3, &part, 1);
    store_le16(&vm->rings[0].desc[3].flags, VRING_DESC_F_NEXT);
    store_le16(&vm->rings[0].desc[3].next, 3);
    vm_kick(vm, 0);
}

/* ---- memory ---- */

static void add_region(struct vm *vm, uint64_t guest, uint64_t size, uint64_t offset, int fd)
{
    const struct vhost_user_mem_reg reg = {.region = {guest, size, guest, offset}};

    vm_send(vm, VHOST_USER_ADD_MEM_REG, 0, &reg, sizeof(reg), &fd, 1);
}

static void empty_region(struct vm *vm)
{
    add_region(vm, VM_GUEST, 0, 0, vm->memfd);
}

static void wrapping_region(struct vm *vm)
{
    const struct vhost_user_region region = {UINT64_MAX - pick(PAGE), PAGE, VM_USER, 0};

    send_table(vm, &region, &vm->memfd, 1);
}

static void overlapping_region(struct vm *vm)
{
    vm_share_memory(vm);
    add_region(vm, VM_GUEST + VM_BYTES - 1 - pick(VM_BYTES), PAGE, 0, vm->memfd);
}

static void too_many_regions(struct vm *vm)
{
    for (uint64_t i = 0; i < 65; i++)
        add_region(vm, i * PAGE, PAGE, 0, vm->memfd);
}

static void long_region(struct vm *vm)
{
    add_region(vm, 0, VM_BYTES + 1 + number(), 0, vm->memfd);
}

static void unmappable_region(struct vm *vm)
{
    add_region(vm, 0, PAGE, 0, tools->sealed);
}

static void unknown_region(struct vm *vm)
{
    const struct vhost_user_mem_reg reg = {.region = {VM_GUEST, PAGE * (1 + pick(9)), VM_USER, 0}};

    vm_share_memory(vm);
    vm_send(vm, VHOST_USER_REM_MEM_REG, 0, &reg, sizeof(reg), NULL, 0);
}

/* Under a ring that runs. */
static void cut_memory(struct vm *vm)
{
    vm_share_memory(vm);
    vm_start_ring(vm, 0);
    vm_sync(vm);
    must(!ftruncate(vm->memfd, 0));
    vm_kick(vm, 0);
}

static void send_log(struct vm *vm, struct vhost_user_inflight at, int fd)
{
    vm_send(vm, VHOST_USER_SET_INFLIGHT_FD, 0, &at, sizeof(at), &fd, 1);
}

static void bad_log_size(struct vm *vm)
{
    struct vhost_user_inflight at = tools->at;

    at.mmap_size -= 1 + pick(100);
    send_log(vm, at, tools->log);
}

static void long_log(struct vm *vm)
{
    struct vhost_user_inflight at = tools->at;

    at.mmap_offset = 64 * (uint64_t)(1 + pick(1000));
    send_log(vm, at, tools->log);
}

static void unmappable_log(struct vm *vm)
{
    send_log(vm, tools->at, tools->sealed);
}

static void small_log(struct vm *vm)
{
    const struct vhost_user_inflight at = {.num_queues = 1000, .queue_size = 64};

    vm_send(vm, VHOST_USER_GET_INFLIGHT_FD, 0, &at, sizeof(at), NULL, 0);
}

static void strange_log(struct vm *vm)
{
    const uint16_t version = (uint16_t)(2 + pick(65534));

    must(pwrite(tools->log, &version, sizeof(version), 8) == sizeof(version));
    send_log(vm, tools->at, tools->log);
    vm_share_memory(vm);
    vm_start_ring(vm, 0);
}

/* ---- all of them ---- */

static const struct {
    void (*send)(struct vm *vm);
    uint64_t protocol; /* negotiated before */
    bool stops_ring;   /* the connection stays */
} ways[REFUSALS] = {
    [REFUSAL_RING_LOOP] = {loop, NO_STATUS, true},
    [REFUSAL_MEMORY_EMPTY] = {empty_region, ALL, false},
    [REFUSAL_MEMORY_WRAP] = {wrapping_region, ALL, false},
    [REFUSAL_MEMORY_OVERLAP] = {overlapping_region, ALL, false},
    [REFUSAL_MEMORY_FULL] = {too_many_regions, ALL, false},
    [REFUSAL_MEMORY_FILE] = {long_region, ALL, false},
    [REFUSAL_MEMORY_MAP] = {unmappable_region, ALL, false},
    [REFUSAL_MEMORY_UNKNOWN] = {unknown_region, ALL, false},
    [REFUSAL_MEMORY_LOST] = {cut_memory, NO_STATUS, false},
    [REFUSAL_INFLIGHT_SIZE] = {bad_log_size, ALL, false},
    [REFUSAL_INFLIGHT_FILE] = {long_log, ALL, false},
    [REFUSAL_INFLIGHT_MAP] = {unmappable_log, ALL, false},
    [REFUSAL_INFLIGHT_QUEUE] = {small_log, ALL, false},
    [REFUSAL_INFLIGHT_LAYOUT] = {strange_log, NO_STATUS, true},
    [REFUSAL_MESSAGE_FLAGS] = {bad_flags, ALL, false},
    [REFUSAL_MESSAGE_UNKNOWN] = {unknown, ALL, false},
    [REFUSAL_MESSAGE_SIZE] = {bad_size, ALL, false},
    [REFUSAL_MESSAGE_FDS] = {bad_fds, ALL, false},
    [REFUSAL_MESSAGE_CUT] = {cut, ALL, false},
    [REFUSAL_MESSAGE_PROTOCOL] = {not_negotiated, BARE, false},
    [REFUSAL_REPLY_UNREAD] = {unread, ALL, false},
    [REFUSAL_FEATURES_FOREIGN] = {foreign, NO_STATUS, false},
    [REFUSAL_FEATURES_LATE] = {late, ALL, false},
    [REFUSAL_FEATURES_REFUSED] = {refused_features, NO_STATUS, false},
    [REFUSAL_STATUS_ORDER] = {status_order, ALL, false},
    [REFUSAL_CONFIG_WINDOW] = {bad_window, ALL, false},
    [REFUSAL_QUEUE_INDEX] = {bad_index, ALL, false},
    [REFUSAL_QUEUE_SIZE] = {bad_queue_size, ALL, false},
    [REFUSAL_QUEUE_BASE] = {bad_base, ALL, false},
    [REFUSAL_QUEUE_ENABLE] = {bad_enable, ALL, false},
    [REFUSAL_QUEUE_STARTED] = {started, ALL, false},
    [REFUSAL_QUEUE_UNREADY] = {unready, ALL, false},
    [REFUSAL_EVENT_FD] = {bad_event, ALL, false},
    [REFUSAL_CHANNEL_FD] = {bad_channel, ALL, false},
    [REFUSAL_KICK_END] = {kick_ends, NO_STATUS, true},
};

bool can_spoil(enum vhost_user_refusal how)
{
    return ways[how].send;
}

bool spoil(const struct spoils *spoils, struct vhost_rig *rig, struct vm *vm,
           enum vhost_user_refusal how, uint64_t seed)
{
    tools = spoils;
    storm_seed(seed);
    vm_clear_ring(vm, 0);
    vm_connect(vm, rig);
    vm_negotiate(vm, 0, ways[how].protocol);
    uint64_t before = vhost_rig_refused(rig, how); /* who was there before is gone */
    if (vm_is_raised(vm->rings[0].err))
        vm_event(vm->rings[0].err);
    ways[how].send(vm);
    bool seen = ways[how].stops_ring ? vm_event(vm->rings[0].err) : is_cut_off(vm);
    seen = seen && vhost_rig_refused(rig, how) == before + 1;
    vm_hang_up(vm);
    must(!ftruncate(vm->memfd, VM_BYTES));
    return seen;
}
