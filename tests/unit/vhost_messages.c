/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The messages of vhost-user: what each answers, what is refused and how, the device status and the
 * configuration space.
 */
#include "base/bytes.h"
#include "tap.h"
#include "vhost_rig.h"
#include "virtio/blk.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVERYTHING UINT64_MAX

static struct vhost_rig rig;
static struct vm vm;
static uint8_t data[4096];

static void connect_with(uint64_t protocol)
{
    vm_connect_anew(&vm, &rig);
    vm_negotiate(&vm, RIG_ALL, protocol);
}

static void test_offers(void)
{
    uint64_t features;

    vm_connect(&vm, &rig);
    features = vm_get(&vm, VHOST_USER_GET_FEATURES);
    ok(features & VIRTIO_FEATURE(VHOST_USER_F_PROTOCOL_FEATURES), "PROTOCOL_FEATURES is offered");
    ok(features & VIRTIO_FEATURE(VIRTIO_F_INDIRECT_DESC) &&
           features & VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX),
       "so are the features of rings");
    ok(features & VIRTIO_FEATURE(VIRTIO_BLK_F_SEG_MAX), "and the device's own");
    is_int((intmax_t)vm_get(&vm, VHOST_USER_GET_PROTOCOL_FEATURES), 0x1f229,
           "the protocol features");
    vm_u64(&vm, VHOST_USER_SET_PROTOCOL_FEATURES, VM_PROTOCOL(MQ));
    is_int((intmax_t)vm_get(&vm, VHOST_USER_GET_QUEUE_NUM), 16, "16 queues");
    vm_hang_up(&vm);
}

/* ---- configuration space ---- */

/* The reply's payload size; -1: cut off. */
static int get_config(uint32_t offset, uint32_t size, struct vhost_user_config *config)
{
    struct vhost_user_header header;

    *config = (struct vhost_user_config){.offset = offset, .size = size};
    vm_send(&vm, VHOST_USER_GET_CONFIG, 0, config, 12 + (size < 256 ? size : 256), NULL, 0);
    return vm_receive(&vm, &header, config, sizeof(*config), NULL);
}

static void test_config(void)
{
    static const uint8_t zeros[256];
    struct vhost_user_config config;

    connect_with(VM_USUAL);
    is_int(get_config(0, 60, &config), 72, "GET_CONFIG before memory and rings, as QEMU asks");
    is_int((intmax_t)load_le64(config.bytes), 2048, "the capacity in it");
    is_int(config.bytes[32], 1, "writeback");
    is_int(get_config(0, 256, &config), 268, "all that there may be");
    is_mem(config.bytes + 200, zeros, 56, "zeros past the end");
    is_int(get_config(32, 1, &config), 13, "one byte");
    is_int(config.bytes[0], 1, "the right one");

    config = (struct vhost_user_config){.offset = 32, .size = 1};
    is_int(vm_ack(&vm, VHOST_USER_SET_CONFIG, &config, 13, NULL, 0), 0, "SET_CONFIG, one byte");
    vm_share_memory(&vm);
    vm_start_ring(&vm, 0);
    vm_sync(&vm);
    is_int(vm_ack(&vm, VHOST_USER_SET_CONFIG, &config, 13, NULL, 0), 0, "again, of a driver");
    get_config(32, 1, &config);
    is_int(config.bytes[0], 0, "writethrough now");
    config.bytes[0] = 7;
    is_int(vm_ack(&vm, VHOST_USER_SET_CONFIG, &config, 13, NULL, 0), 0,
           "what the device does not take is no reason to hang up");
    get_config(32, 1, &config);
    is_int(config.bytes[0], 0, "nor is it taken");
    is_int(get_config(200, 57, &config), 0, "past 256 bytes: size 0");
    ok(vm_is_cut_off(&vm), "and the end");
    vm_hang_up(&vm);
    is_int((intmax_t)vhost_rig_refused(&rig, REFUSAL_CONFIG_WINDOW), 1, "counted");
}

/* ---- device status ---- */

static unsigned status(void)
{
    return (unsigned)vm_get(&vm, VHOST_USER_GET_STATUS);
}

static void test_status(void)
{
    struct command write = rig_write(3);
    struct vring_used_elem elem;

    connect_with(VM_USUAL | VM_PROTOCOL(STATUS));
    is_int(status(), 0, "the status is 0");
    vm_u64(&vm, VHOST_USER_SET_STATUS, 8);
    is_int(status(), 0x0b, "FEATURES_OK alone, as QEMU says it, brings what is before");
    vm_share_memory(&vm);
    vm_start_ring(&vm, 0);
    vm_submit(&vm, 0, 0, &write, data, 512);
    vm_kick(&vm, 0);
    ok(vm_is_quiet(&vm, 0), "before DRIVER_OK no request is taken");
    vm_u64(&vm, VHOST_USER_SET_STATUS, 15);
    ok(vm_used(&vm, 0, &elem) && vm_status(&vm, 0) == VIRTIO_BLK_S_OK, "then it is");
    vm_u64(&vm, VHOST_USER_SET_STATUS, 0);
    is_int(status(), 0, "a reset");
    vm_submit(&vm, 0, 0, &write, data, 512);
    vm_kick(&vm, 0);
    ok(vm_is_quiet(&vm, 0), "no request is taken any more");
    vm_u64(&vm, VHOST_USER_SET_FEATURES, vm.features | UINT64_C(1) << 63);
    ok(vm_is_cut_off(&vm), "features change only when no ring is started");
    vm_hang_up(&vm);

    connect_with(VM_USUAL | VM_PROTOCOL(STATUS));
    vm_u64(&vm, VHOST_USER_SET_FEATURES, vm.features | UINT64_C(1) << 63);
    vm_u64(&vm, VHOST_USER_SET_STATUS, 11);
    is_int(status(), 3, "FEATURES_OK does not stick with a feature that is not offered");
    vm_u64(&vm, VHOST_USER_SET_FEATURES, vm.features);
    vm_u64(&vm, VHOST_USER_SET_STATUS, 11);
    is_int(status(), 11, "it does without");
    const uint64_t back = 3;
    is_int(vm_ack(&vm, VHOST_USER_SET_STATUS, &back, 8, NULL, 0), 0, "bits that are there stay");
    is_int(status(), 11, "whatever is written but 0");
    const uint64_t wild = 16;
    is_int(vm_ack(&vm, VHOST_USER_SET_STATUS, &wild, 8, NULL, 0), 1, "a bit that is none");
    ok(vm_is_cut_off(&vm), "is refused");
    vm_hang_up(&vm);
    is_int((intmax_t)vhost_rig_refused(&rig, REFUSAL_FEATURES_LATE), 1, "late features counted");
    is_int((intmax_t)vhost_rig_refused(&rig, REFUSAL_STATUS_ORDER), 1, "the status too");
}

static void test_without_status(void)
{
    struct command write = rig_write(3);
    struct ice_attachment *other = rig_attach(&rig.rig, RIG_ALL);
    uint8_t key[64];
    struct command program = rig_key(1, "aes-256-xts", 512, key);

    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(i + 3);
    connect_with(VM_USUAL);
    vm_share_memory(&vm);
    vm_start_ring(&vm, 0);
    is_int(vm_run(&vm, &program, NULL, 0), VIRTIO_BLK_S_OK, "a driver programs a slot");
    vm_stop_ring(&vm, 0);
    vm_u64(&vm, VHOST_USER_SET_FEATURES, vm.features);
    vm_start_ring(&vm, 0);
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "the same features: it goes on");
    ok(slot_programmed(other, 1), "with its slot");
    vm_stop_ring(&vm, 0);
    vm.features &= ~VIRTIO_FEATURE(VIRTIO_BLK_F_DISCARD);
    vm_u64(&vm, VHOST_USER_SET_FEATURES, vm.features);
    vm_start_ring(&vm, 0);
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "other features: another driver");
    ok(!slot_programmed(other, 1), "whose slots are empty");
    vm_hang_up(&vm);
    attachment_close(other);

    vm_connect_anew(&vm, &rig);
    vm_u64(&vm, VHOST_USER_SET_FEATURES, 0);
    vm_share_memory(&vm);
    vm.features = 0;
    vm_start_ring(&vm, 0);
    ok(vm_is_cut_off(&vm), "a ring that starts without VERSION_1 is refused");
    vm_hang_up(&vm);
    is_int((intmax_t)vhost_rig_refused(&rig, REFUSAL_FEATURES_REFUSED), 1, "counted");
}

static void test_reset_device(void)
{
    struct command write = rig_write(3);

    connect_with(VM_USUAL | VM_PROTOCOL(RESET_DEVICE));
    vm_share_memory(&vm);
    vm_start_ring(&vm, 0);
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "a ring runs");
    is_int(vm_ack(&vm, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0, "RESET_DEVICE");
    vm_submit(&vm, 0, 0, &write, data, 512);
    vm_kick(&vm, 0);
    ok(vm_is_quiet(&vm, 0), "it does not run any more");
    is_int(vm_stop_ring(&vm, 0), 1, "its base is as it was");
    vm_clear_ring(&vm, 0);
    vm_start_ring(&vm, 0);
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "until it is started");
    vm_hang_up(&vm);
}

/* ---- acknowledgements and refusals ---- */

static void test_acks(void)
{
    const uint64_t features = vm.features;

    connect_with(VM_USUAL);
    is_int(vm_ack(&vm, VHOST_USER_SET_FEATURES, &features, 8, NULL, 0), 0, "an acknowledgement");
    is_int(vm_ack(&vm, 77, data, 20, NULL, 0), 1, "an unknown message that asks is told");
    vm_sync(&vm);
    ok(true, "and the connection goes on");
    vm_send(&vm, 77, 0, data, 20, NULL, 0);
    ok(vm_is_cut_off(&vm), "one that does not ask ends it");
    vm_hang_up(&vm);
    is_int((intmax_t)vhost_rig_refused(&rig, REFUSAL_MESSAGE_UNKNOWN), 2, "both counted");
    connect_with(VM_PROTOCOL(MQ));
    vm_send(&vm, VHOST_USER_SET_FEATURES, VHOST_USER_NEED_REPLY, &vm.features, 8, NULL, 0);
    is_int((intmax_t)(vm_get(&vm, VHOST_USER_GET_FEATURES) & vm.features), (intmax_t)vm.features,
           "without REPLY_ACK nobody is acknowledged");
    vm_hang_up(&vm);
}

/* virtio_uml of Linux always sends room for two regions, whatever is in it. */
static void test_table_with_room(void)
{
    struct vhost_user_mem_table table = {.count = 1};
    const size_t size = 8 + 2 * sizeof(table.regions[0]);
    const int twice[] = {vm.memfd, vm.memfd};
    struct command write = rig_write(3);
    uint64_t before = vhost_rig_refused(&rig, REFUSAL_MESSAGE_FDS);

    table.regions[0] = (struct vhost_user_region){VM_GUEST, VM_BYTES, VM_USER, 0};
    table.regions[1] = table.regions[0]; /* were it looked at, it would overlap */
    connect_with(VM_USUAL);
    is_int(vm_ack(&vm, VHOST_USER_SET_MEM_TABLE, &table, size, &vm.memfd, 1), 0,
           "a table of %zu bytes with one region", size);
    vm_start_ring(&vm, 0);
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "requests run in it");
    is_int(vm_ack(&vm, VHOST_USER_SET_MEM_TABLE, &table, size, twice, 2), 1,
           "it has as many descriptors as regions, not as it has room for");
    ok(vm_is_cut_off(&vm), "it is refused");
    is_int((intmax_t)vhost_rig_refused(&rig, REFUSAL_MESSAGE_FDS), (intmax_t)before + 1, "counted");
    vm_hang_up(&vm);
}

/* A message in pieces is one message. */
static void test_pieces(void)
{
    struct vhost_user_header header = {VHOST_USER_GET_FEATURES, VHOST_USER_VERSION, 0};
    const uint8_t *bytes = (const uint8_t *)&header;
    uint64_t features;

    vm_connect(&vm, &rig);
    for (size_t i = 0; i < sizeof(header); i++) {
        send(vm.fd, bytes + i, 1, 0);
        poll(NULL, 0, 2);
    }
    is_int(vm_receive(&vm, &header, &features, sizeof(features), NULL), 8,
           "a message byte by byte");
    vm_hang_up(&vm);
}

struct refused {
    enum vhost_user_refusal refusal;
    uint64_t protocol;
    uint32_t request, flags;
    size_t size;
    uint64_t payload[5];
    size_t fds; /* eventfds that go along */
};

#define REGION VM_GUEST, 4096, VM_USER, 0

static const struct refused refusals[] = {
    {REFUSAL_MESSAGE_FLAGS, VM_USUAL, VHOST_USER_GET_FEATURES, 2, 0, {0}, 0},
    {REFUSAL_MESSAGE_FLAGS, VM_USUAL, VHOST_USER_GET_FEATURES, VHOST_USER_REPLY, 0, {0}, 0},
    {REFUSAL_MESSAGE_SIZE, VM_USUAL, VHOST_USER_SET_FEATURES, 0, 4, {0}, 0},
    {REFUSAL_MESSAGE_SIZE, VM_USUAL, VHOST_USER_SET_FEATURES, 0, 16, {0}, 0},
    {REFUSAL_MESSAGE_SIZE, VM_USUAL, VHOST_USER_SET_MEM_TABLE, 0, 40, {2, REGION}, 2},
    {REFUSAL_MESSAGE_FDS, VM_USUAL, VHOST_USER_SET_MEM_TABLE, 0, 40, {1, REGION}, 2},
    {REFUSAL_MESSAGE_FDS, VM_USUAL, VHOST_USER_SET_MEM_TABLE, 0, 40, {1, REGION}, 9},
    {REFUSAL_MEMORY_FILE, VM_USUAL, VHOST_USER_SET_MEM_TABLE, 0, 40, {1, REGION}, 1},
    {REFUSAL_MESSAGE_PROTOCOL, VM_USUAL, VHOST_USER_GET_STATUS, 0, 0, {0}, 0},
    {REFUSAL_FEATURES_FOREIGN, VM_USUAL, VHOST_USER_SET_FEATURES, 0, 8, {UINT64_C(1) << 63}, 0},
    {REFUSAL_FEATURES_FOREIGN, VM_USUAL, VHOST_USER_SET_PROTOCOL_FEATURES, 0, 8, {2}, 0},
    {REFUSAL_QUEUE_INDEX, VM_USUAL, VHOST_USER_GET_VRING_BASE, 0, 8, {16}, 0},
    {REFUSAL_QUEUE_INDEX, VM_USUAL, VHOST_USER_SET_VRING_CALL, 0, 8, {255}, 1},
    {REFUSAL_QUEUE_SIZE, VM_USUAL, VHOST_USER_SET_VRING_NUM, 0, 8, {UINT64_C(48) << 32}, 0},
    {REFUSAL_QUEUE_SIZE, VM_USUAL, VHOST_USER_SET_VRING_NUM, 0, 8, {UINT64_C(65536) << 32}, 0},
    {REFUSAL_QUEUE_BASE, VM_USUAL, VHOST_USER_SET_VRING_BASE, 0, 8, {UINT64_C(65536) << 32}, 0},
    {REFUSAL_QUEUE_ENABLE, VM_USUAL, VHOST_USER_SET_VRING_ENABLE, 0, 8, {UINT64_C(2) << 32}, 0},
    {REFUSAL_QUEUE_UNREADY, VM_USUAL, VHOST_USER_SET_VRING_KICK, 0, 8, {0}, 1},
    {REFUSAL_QUEUE_UNREADY,
     VM_USUAL | VM_PROTOCOL(INBAND_NOTIFICATIONS),
     VHOST_USER_VRING_KICK,
     0,
     8,
     {0},
     0},
    {REFUSAL_QUEUE_INDEX,
     VM_USUAL | VM_PROTOCOL(INBAND_NOTIFICATIONS),
     VHOST_USER_VRING_KICK,
     0,
     8,
     {16},
     0},
    {REFUSAL_MESSAGE_PROTOCOL, VM_USUAL, VHOST_USER_VRING_KICK, 0, 8, {0}, 0},
    {REFUSAL_MESSAGE_FDS, VM_USUAL, VHOST_USER_SET_VRING_CALL, 0, 8, {0x100}, 1},
    {REFUSAL_MESSAGE_FDS, VM_USUAL, VHOST_USER_SET_VRING_CALL, 0, 8, {0}, 0},
    {REFUSAL_CHANNEL_FD,
     VM_USUAL | VM_PROTOCOL(BACKEND_REQ),
     VHOST_USER_SET_BACKEND_REQ_FD,
     0,
     0,
     {0},
     1},
    {REFUSAL_MEMORY_UNKNOWN, EVERYTHING, VHOST_USER_REM_MEM_REG, 0, 40, {0, REGION}, 0},
    {REFUSAL_INFLIGHT_SIZE, EVERYTHING, VHOST_USER_GET_INFLIGHT_FD, 0, 24, {0, 0, 1 | 3 << 16}, 0},
    {REFUSAL_INFLIGHT_QUEUE,
     EVERYTHING,
     VHOST_USER_GET_INFLIGHT_FD,
     0,
     24,
     {0, 0, 17 | 4 << 16},
     0},
    {REFUSAL_INFLIGHT_FILE,
     EVERYTHING,
     VHOST_USER_SET_INFLIGHT_FD,
     0,
     24,
     {4096, 0, 1 | 4 << 16},
     1},
};

static void test_refusals(void)
{
    int fds[9];

    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
        fds[i] = eventfd(0, EFD_CLOEXEC);
    for (unsigned i = 0; i < ARRAY_SIZE(refusals); i++) {
        const struct refused *r = &refusals[i];
        uint64_t before = vhost_rig_refused(&rig, r->refusal);
        connect_with(r->protocol);
        vm_sync(&vm);
        vm_send(&vm, r->request, r->flags, r->payload, r->size, fds, (unsigned)r->fds);
        bool cut = vm_is_cut_off(&vm);
        ok(cut && vhost_rig_refused(&rig, r->refusal) == before + 1, "message %u: %s", r->request,
           refusal_text(r->refusal));
        vm_hang_up(&vm);
    }
    for (unsigned i = 0; i < ARRAY_SIZE(fds); i++)
        close(fds[i]);
}

static void test_other_refusals(void)
{
    const uint64_t ring = 0;
    const struct vhost_user_vring_state num = {0, 32};
    int file = open("/dev/zero", O_RDWR | O_CLOEXEC);

    connect_with(VM_USUAL);
    is_int(vm_ack(&vm, VHOST_USER_SET_VRING_CALL, &ring, 8, &file, 1), 1,
           "a device is no descriptor of calls");
    ok(vm_is_cut_off(&vm) && vhost_rig_refused(&rig, REFUSAL_EVENT_FD) == 1, "it is refused");
    vm_hang_up(&vm);
    close(file);

    connect_with(VM_USUAL);
    vm_share_memory(&vm);
    vm_start_ring(&vm, 0);
    is_int(vm_ack(&vm, VHOST_USER_SET_VRING_NUM, &num, 8, NULL, 0), 1,
           "a ring's size is settled when it is started");
    ok(vm_is_cut_off(&vm) && vhost_rig_refused(&rig, REFUSAL_QUEUE_STARTED) == 1, "it is refused");
    vm_hang_up(&vm);

    connect_with(VM_USUAL);
    vm_sync(&vm);
    send(vm.fd, &num, 5, 0);
    shutdown(vm.fd, SHUT_WR);
    ok(vm_is_cut_off(&vm) && vhost_rig_refused(&rig, REFUSAL_MESSAGE_CUT) == 1,
       "half a message, and the end");
    vm_hang_up(&vm);

    connect_with(VM_USUAL);
    for (unsigned i = 0; i < 100000 && !vhost_rig_refused(&rig, REFUSAL_REPLY_UNREAD); i++)
        vm_send(&vm, VHOST_USER_GET_FEATURES, 0, NULL, 0, NULL, 0);
    is_int((intmax_t)vhost_rig_refused(&rig, REFUSAL_REPLY_UNREAD), 1,
           "a front end that does not read what it asks for");
    vm_hang_up(&vm);
}

/* Kicks by a pipe: when it ends, the ring does. */
static void test_kick_ends(void)
{
    int pipe_fds[2];

    connect_with(VM_USUAL);
    vm_share_memory(&vm);
    vm_start_ring(&vm, 0);
    is_int(pipe2(pipe_fds, O_CLOEXEC), 0, "a pipe for kicks");
    vm_event_fd(&vm, VHOST_USER_SET_VRING_KICK, 0, pipe_fds[0]);
    vm_sync(&vm);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
    is_int((intmax_t)vm_event(vm.rings[0].err), 1, "its end breaks the ring");
    is_int((intmax_t)vhost_rig_refused(&rig, REFUSAL_KICK_END), 1, "counted");
    vm_hang_up(&vm);
}

int main(void)
{
    vhost_rig_open(&rig, NULL, (struct function_params){0});
    vm_init(&vm, &dialect_ice2);
    test_offers();
    test_config();
    test_status();
    test_without_status();
    test_reset_device();
    test_acks();
    test_table_with_room();
    test_pieces();
    test_refusals();
    test_other_refusals();
    test_kick_ends();
    vm_free(&vm);
    vhost_rig_close(&rig);
    return tap_done();
}
