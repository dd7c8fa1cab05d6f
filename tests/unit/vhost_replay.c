/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Key operations and tagged requests that a back end had which was killed: they are refused,
 * however late their turn comes, whatever happens to the ring before, and whichever keys there are
 * by then. Nobody else's are.
 */
#include "base/bytes.h"
#include "tap.h"
#include "vhost_rig.h"
#include "virtio/blk.h"
#include <sys/mman.h>
#include <unistd.h>

#define LOGGED                                                                                     \
    (VM_USUAL | VM_PROTOCOL(BACKEND_REQ) | VM_PROTOCOL(INFLIGHT_SHMFD) | VM_PROTOCOL(RESET_DEVICE))
#define LOGGED_STATUS (LOGGED | VM_PROTOCOL(STATUS))

#define RECORD 64u /* bytes behind the last ring of a log */
#define BASE   5u  /* of the ring that is found */

static struct vhost_rig rig;
static struct vm vm;
static struct ice_attachment *other;
static struct vm_log inflight;
static uint8_t data[512], key[64];

/* ---- a log of two rings ---- */

static size_t part_bytes(void)
{
    return (sizeof(struct vm_log_part) + RECORD - 1) / RECORD * RECORD;
}

static void make_log(void)
{
    inflight.at = (struct vhost_user_inflight){
        .mmap_size = 2 * part_bytes() + RECORD, .num_queues = 2, .queue_size = VM_ENTRIES};
    inflight.fd = memfd_create("log", MFD_CLOEXEC);
    vm_must(inflight.fd >= 0 && !ftruncate(inflight.fd, (off_t)inflight.at.mmap_size), "a log");
    inflight.part =
        mmap(NULL, inflight.at.mmap_size, PROT_READ | PROT_WRITE, MAP_SHARED, inflight.fd, 0);
    vm_must(inflight.part != MAP_FAILED, "mmap");
}

/* Ring 0 stands at BASE; what is submitted there from now on is in flight in the log. */
static void leave_nothing(void)
{
    uint8_t *second = (uint8_t *)inflight.part + part_bytes();

    memset(inflight.part, 0, inflight.at.mmap_size);
    inflight.part->version = ((struct vm_log_part *)(void *)second)->version = 1;
    inflight.part->desc_num = ((struct vm_log_part *)(void *)second)->desc_num = VM_ENTRIES;
    inflight.part->used_idx = BASE;
    for (unsigned i = 0; i < VM_RINGS; i++)
        vm_clear_ring(&vm, i);
    vm.rings[0].avail_idx = vm.rings[0].used_idx = BASE;
    store_le16(&vm.rings[0].used->idx, BASE);
}

static void leave(unsigned n, const struct command *command, size_t len)
{
    inflight.part->entries[3 * n] = (struct vm_log_entry){.inflight = 1, .counter = n + 1};
    vm_submit(&vm, 0, n, command, len ? data : NULL, len);
}

static struct command program(unsigned slot)
{
    return rig_key(slot, "aes-256-xts", 512, key);
}

static struct command tagged(void)
{
    return rig_tagged(rig_write(64), 2, 5);
}

/* A back end after a restart, which the front end tells of the log, but not of a ring. */
static void come_back(uint64_t protocol)
{
    vhost_rig_restart(&rig);
    vm_connect(&vm, &rig);
    vm_negotiate(&vm, RIG_ALL, protocol);
    vm_set_channel(&vm);
    is_int(vm_log_share(&vm, &inflight), 0, "the log is handed in");
    vm_share_memory(&vm);
}

static int run_on(unsigned ring, unsigned n, const struct command *command, size_t len)
{
    struct vring_used_elem elem;

    vm_submit(&vm, ring, n, command, len ? data : NULL, len);
    vm_kick(&vm, ring);
    return vm_used(&vm, ring, &elem) && elem.id == 3 * n ? vm_status(&vm, n) : -1;
}

/* ---- keys that come meanwhile ---- */

/* The driver has learned of the new engine and has a key in the slot, by way of another ring. */
static void test_another_ring(void)
{
    struct command with_key = tagged(), set_key = program(2);
    struct vring_used_elem elem;

    vm.features = attachment_offered(other) & ~(UINT64_C(1) << VHOST_USER_F_PROTOCOL_FEATURES);
    leave_nothing();
    leave(0, &with_key, 512);
    come_back(LOGGED);
    vm_start_ring(&vm, 1);
    ok(vm_told_of_config(&vm), "the driver is told of the new engine");
    is_int(run_on(1, 1, &set_key, 0), VIRTIO_BLK_S_OK, "it programs a key");
    is_int(run_on(1, 1, &with_key, 512), VIRTIO_BLK_S_OK, "and uses it");
    vm_start_ring(&vm, 0);
    ok(vm_used(&vm, 0, &elem) && elem.id == 0, "the tagged write of the log has its turn");
    is_int(vm_status(&vm, 0), VIRTIO_BLK_S_IOERR, "it does not run with that key");
    is_int(run_on(0, 1, &with_key, 512), VIRTIO_BLK_S_OK, "one that is sent now does");
    vm_hang_up(&vm);
}

/* ---- rings that are stopped before their turn ---- */

static void set_status(uint8_t status)
{
    vm_u64(&vm, VHOST_USER_SET_STATUS, status);
}

static void start_again(void)
{
    vm_start_ring(&vm, 0);
    vm_sync(&vm);
}

static void pause_ring(void)
{
    is_int(vm_stop_ring(&vm, 0), BASE, "its base is the first that was not done");
    start_again();
}

static void pause_twice(void)
{
    pause_ring();
    pause_ring();
}

static void pause_as_qemu(void)
{
    set_status(0);
    pause_ring();
}

static void stop_and_share_log(void)
{
    set_status(0);
    is_int(vm_stop_ring(&vm, 0), BASE, "its base is the first that was not done");
    is_int(vm_log_share(&vm, &inflight), 0, "the log is handed in again");
    start_again();
}

static void disable(void)
{
    vm_state(&vm, VHOST_USER_SET_VRING_ENABLE, 0, 0);
}

static void disable_and_size(void)
{
    disable();
    vm_state(&vm, VHOST_USER_SET_VRING_NUM, 0, VM_ENTRIES / 2);
    start_again();
}

static void disable_and_share_log(void)
{
    disable();
    is_int(vm_log_share(&vm, &inflight), 0, "the log is handed in again");
    start_again();
}

/* The ring runs, but the device is not ready, so that nothing has its turn. */
static void leave_three(void)
{
    struct command with_key = tagged(), set_key = program(2), write = rig_write(3);

    vm.features = attachment_offered(other) & ~(UINT64_C(1) << VHOST_USER_F_PROTOCOL_FEATURES);
    leave_nothing();
    leave(0, &set_key, 0);
    leave(1, &with_key, 512);
    leave(2, &write, 512);
    come_back(LOGGED_STATUS);
    set_status(VM_STATUS_FEATURES);
    start_again();
}

static void test_stopped(const char *what, void (*stop)(void))
{
    struct command set_key = program(3);
    struct vring_used_elem elem;

    rig_evict(other, 2);
    leave_three();
    is_int(rig_program(other, 2, "aes-256-xts", 512, 42).status, VIRTIO_BLK_S_OK, "a foreign key");
    stop();
    set_status(VM_STATUS_FEATURES);
    set_status(VM_STATUS_ALL);
    for (unsigned n = 0; n < 3; n++)
        ok(vm_used(&vm, 0, &elem) && elem.id == 3 * n, "%s: request %u", what, n);
    is_int(vm_status(&vm, 0), VIRTIO_BLK_S_IOERR, "%s: the key operation is not run", what);
    is_int(vm_status(&vm, 1), VIRTIO_BLK_S_IOERR, "%s: nor the tagged write", what);
    is_int(vm_status(&vm, 2), VIRTIO_BLK_S_OK, "%s: the plain one is", what);
    is_int(run_on(0, 0, &set_key, 0), VIRTIO_BLK_S_OK, "%s: the next key operation is", what);
    vm_hang_up(&vm);
}

static void another_base(void)
{
    set_status(0);
    is_int(vm_stop_ring(&vm, 0), BASE, "its base is the first that was not done");
    vm_clear_ring(&vm, 0);
    start_again();
}

static void reset_device(void)
{
    is_int(vm_ack(&vm, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0, "RESET_DEVICE");
    for (unsigned i = 0; i < VM_ENTRIES; i++)
        vm.rings[0].avail->ring[i] = 0;
    vm.rings[0].avail_idx = BASE;
    store_le16(&vm.rings[0].avail->idx, BASE);
    start_again();
}

/* Another driver's requests are its own, where the old ones stood too. */
static void test_new_driver(const char *what, void (*change)(void))
{
    struct command set_key = program(2), with_key = tagged();

    rig_evict(other, 2);
    leave_three();
    change();
    set_status(VM_STATUS_FEATURES);
    set_status(VM_STATUS_ALL);
    is_int(run_on(0, 0, &set_key, 0), VIRTIO_BLK_S_OK, "%s: a new driver's key operation", what);
    is_int(run_on(0, 1, &with_key, 512), VIRTIO_BLK_S_OK, "%s: and its tagged write", what);
    vm_hang_up(&vm);
}

int main(void)
{
    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(i + 1);
    vhost_rig_open(&rig, NULL, (struct function_params){0});
    vm_init(&vm, &dialect_ice2);
    other = rig_attach(&rig.rig, RIG_ALL);
    make_log();
    test_another_ring();
    test_stopped("paused", pause_ring);
    test_stopped("paused twice", pause_twice);
    test_stopped("status 0, paused", pause_as_qemu);
    test_stopped("status 0, paused, the log again", stop_and_share_log);
    test_stopped("another size", disable_and_size);
    test_stopped("the log again", disable_and_share_log);
    test_new_driver("another base", another_base);
    test_new_driver("RESET_DEVICE", reset_device);
    vm_log_free(&inflight);
    attachment_close(other);
    vm_free(&vm);
    vhost_rig_close(&rig);
    return tap_done();
}
