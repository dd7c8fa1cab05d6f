/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A ring that is set up anew for another driver, whether its front end stops it before or not: what
 * was pending for the one before is not done.
 */
#include "base/bytes.h"
#include "gate_store.h"
#include "tap.h"
#include "vhost_rig.h"
#include "virtio/blk.h"

#define LOGGED                                                                                     \
    (VM_USUAL | VM_PROTOCOL(STATUS) | VM_PROTOCOL(INFLIGHT_SHMFD) | VM_PROTOCOL(RESET_DEVICE))

static struct vhost_rig rig;
static struct gate_store *gate;
static struct vm vm;
static uint8_t data[512];

static void set_status(uint8_t status)
{
    vm_u64(&vm, VHOST_USER_SET_STATUS, status);
}

static void disable(void)
{
    vm_state(&vm, VHOST_USER_SET_VRING_ENABLE, 0, 0);
    vm_sync(&vm);
}

static void test_bound_anew(void)
{
    struct command write = rig_write(3);
    uint64_t refused = vhost_rig_refused(&rig, REFUSAL_QUEUE_STARTED);

    vm_start_anew(&vm, &rig, RIG_ALL, VM_USUAL);
    for (unsigned turn = 0; turn < 4; turn++) {
        unsigned good = 0;
        for (unsigned i = 0; i < 5; i++)
            good += vm_run(&vm, &write, data, 512) == VIRTIO_BLK_S_OK;
        is_int(good, 5, "driver %u: requests run", turn);
        disable();
        vm_clear_ring(&vm, 0);
        vm_start_ring(&vm, 0);
    }
    vm_make_available(&vm, 0, VM_ENTRIES);
    vm_kick(&vm, 0);
    ok(vm_event(vm.rings[0].err) == 1, "a driver breaks its ring");
    disable();
    vm_clear_ring(&vm, 0);
    vm_start_ring(&vm, 0);
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "the next one has a whole one");
    vm_state(&vm, VHOST_USER_SET_VRING_BASE, 0, 0);
    ok(vm_is_cut_off(&vm), "the base of a ring that runs is not set");
    is_int((intmax_t)(vhost_rig_refused(&rig, REFUSAL_QUEUE_STARTED) - refused), 1,
           "which is counted");
    vm_hang_up(&vm);
}

/* ---- a log whose requests are pending ---- */

static struct vm_log inflight;

/* Two writes, which a back end had that was killed. */
static void leave_two(void)
{
    struct vm_log_part *part = inflight.part;
    struct command write = rig_write(3);

    memset(part, 0, sizeof(*part));
    part->version = 1;
    part->desc_num = VM_ENTRIES;
    for (unsigned n = 0; n < 2; n++) {
        vm_submit(&vm, 0, n, &write, data, 512);
        part->entries[3 * n] = (struct vm_log_entry){.inflight = 1, .counter = n + 1};
    }
}

static void check_log(void)
{
    const struct vm_log_part *part = inflight.part;

    ok(!part->entries[0].inflight && !part->entries[3].inflight, "nothing is in flight any more");
}

static void bind_anew(void)
{
    disable();
}

static void bind_anew_with_log(void)
{
    disable();
    is_int(vm_log_share(&vm, &inflight), 0, "SET_INFLIGHT_FD while the ring is disabled");
    check_log();
}

static void reset_device(void)
{
    is_int(vm_ack(&vm, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0, "RESET_DEVICE");
    check_log();
}

static void stop_after_status_0(void)
{
    set_status(0);
    is_int(vm_stop_ring(&vm, 0), 0, "GET_VRING_BASE answers the first that was not done");
}

static void hang_up_after_status_0(void)
{
    stop_after_status_0();
    vm_hang_up(&vm);
    vm_connect(&vm, &rig);
    vm_negotiate(&vm, RIG_ALL, LOGGED);
    is_int(vm_log_share(&vm, &inflight), 0, "SET_INFLIGHT_FD of another connection");
    vm_share_memory(&vm);
}

/* DRIVER_OK does not come before the driver is another one. */
static void test_pending(const char *what, void (*change)(void))
{
    struct command write = rig_write(3);
    unsigned writes = gate_count(gate, GATE_WRITE);

    vm_connect_anew(&vm, &rig);
    vm_negotiate(&vm, RIG_ALL, LOGGED);
    vm_log_make(&vm, &inflight);
    leave_two();
    vm_log_share(&vm, &inflight);
    vm_share_memory(&vm);
    vm_start_ring(&vm, 0);
    vm_sync(&vm);
    change();
    vm_clear_ring(&vm, 0);
    vm_start_ring(&vm, 0);
    set_status(VM_STATUS_FEATURES);
    set_status(VM_STATUS_ALL);
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "%s: the new driver's request", what);
    is_int(vm_stop_ring(&vm, 0), 1, "%s: is the only one of its ring", what);
    is_int(gate_count(gate, GATE_WRITE) - writes, 1, "%s: nothing of the old ring is done", what);
    ok(!vm_is_raised(vm.rings[0].err), "%s: no ring is broken", what);
    vm_hang_up(&vm);
    vm_log_free(&inflight);
}

/* Otherwise they are done, once DRIVER_OK comes. */
static void test_pending_stay(void)
{
    unsigned writes = gate_count(gate, GATE_WRITE);
    struct vring_used_elem elem;

    vm_connect_anew(&vm, &rig);
    vm_negotiate(&vm, RIG_ALL, LOGGED);
    vm_log_make(&vm, &inflight);
    leave_two();
    vm_log_share(&vm, &inflight);
    set_status(VM_STATUS_FEATURES);
    vm_share_memory(&vm);
    vm_start_ring(&vm, 0);
    set_status(VM_STATUS_ALL);
    ok(vm_used(&vm, 0, &elem) && elem.id == 0 && vm_used(&vm, 0, &elem) && elem.id == 3,
       "what is pending is done for the driver whose ring it is");
    is_int(gate_count(gate, GATE_WRITE) - writes, 2, "two writes");
    vm_hang_up(&vm);
    vm_log_free(&inflight);
}

int main(void)
{
    gate = vhost_rig_open_gated(&rig, (struct function_params){0});
    vm_init(&vm, &dialect_ice2);
    test_bound_anew();
    test_pending_stay();
    test_pending("RESET_DEVICE", reset_device);
    test_pending("status 0, GET_VRING_BASE", stop_after_status_0);
    test_pending("then another connection", hang_up_after_status_0);
    test_pending("bound anew", bind_anew);
    test_pending("bound anew, the log again", bind_anew_with_log);
    vm_free(&vm);
    vhost_rig_close(&rig);
    return tap_done();
}
