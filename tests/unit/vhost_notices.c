/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a driver sent before it was told of an engine reset: a KEY_PROGRAM of those acknowledges
 * nothing, so that no tagged request behind it meets a key that somebody else has programmed since.
 * What it sends after it was told acknowledges, always.
 */
#include "base/bytes.h"
#include "gate_store.h"
#include "patience.h"
#include "tap.h"
#include "vhost_rig.h"
#include "virtio/blk.h"
#include <semaphore.h>
#include <time.h>

#define TOLD (VM_USUAL | VM_PROTOCOL(BACKEND_REQ))

#define OURS 1u /* the slot of the tagged requests; slot 0 is programmed behind their back */

static struct vhost_rig rig;
static struct gate_store *gate;
static struct vm vm;
static struct ice_attachment *other;
static uint8_t data[512], key[64];

static struct command program(unsigned slot)
{
    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(i + 1);
    return rig_key(slot, "aes-256-xts", 512, key);
}

static int run_program(unsigned slot)
{
    struct command set_key = program(slot);

    return vm_run(&vm, &set_key, NULL, 0);
}

static int run_tagged(void)
{
    struct command tagged = rig_tagged(rig_write(64), OURS, 5);

    return vm_run(&vm, &tagged, data, 512);
}

static void reset_engine(void)
{
    function_announce_generation(rig.rig.function, engine_reset(rig.rig.engine));
}

/* The engine is reset, the driver told; and somebody else uses the slot. */
static void reset_and_take_slot(void)
{
    reset_engine();
    attachment_acknowledge(other, engine_generation(rig.rig.engine), NULL);
    rig_program(other, OURS, "aes-256-xts", 512, 99);
}

/* Requests 1 to 3 of a ring. */
static void submit_unaware(unsigned ring)
{
    struct command set_key = program(0), tagged = rig_tagged(rig_write(64), OURS, 5);

    vm_submit(&vm, ring, 1, &set_key, NULL, 0);
    vm_submit(&vm, ring, 2, &tagged, data, 512);
    vm_submit(&vm, ring, 3, &set_key, NULL, 0);
    vm_kick(&vm, ring);
}

static void check_unaware(unsigned ring, const char *when)
{
    struct vring_used_elem elem;

    unsigned answers = 0;

    while (answers < 3 && vm_used(&vm, ring, &elem) && elem.id == 3 * (answers + 1))
        answers++;
    is_int(answers, 3, "%s: KEY_PROGRAM, a tagged write and KEY_PROGRAM are answered", when);
    is_int(vm_status(&vm, 1), VIRTIO_BLK_S_OK, "%s: the first", when);
    is_int(vm_status(&vm, 3), VIRTIO_BLK_S_OK, "%s: the last", when);
    is_int(vm_status(&vm, 2), VIRTIO_BLK_S_IOERR, "%s: the tagged write meets no other's key",
           when);
}

static void check_aware(const char *when)
{
    is_int(run_tagged(), VIRTIO_BLK_S_IOERR, "%s: nor does the next", when);
    is_int(run_program(OURS), VIRTIO_BLK_S_OK, "%s: the driver programs its key", when);
    is_int(run_tagged(), VIRTIO_BLK_S_OK, "%s: and uses it", when);
}

/* As if the ring had been in use for long. */
static void age_ring(uint16_t at)
{
    struct vm_ring *ring = &vm.rings[0];

    ring->avail_idx = ring->used_idx = at;
    store_le16(&ring->avail->idx, at);
    store_le16(&ring->used->idx, at);
}

static void start(uint16_t at, uint64_t more)
{
    vm_connect_anew(&vm, &rig);
    age_ring(at);
    vm_start(&vm, RIG_ALL, TOLD | more);
    vm_sync(&vm); /* or it might be told as it starts, and then once more */
    is_int(run_program(OURS), VIRTIO_BLK_S_OK, "at %u: a key", at);
    is_int(run_tagged(), VIRTIO_BLK_S_OK, "at %u: a tagged write", at);
}

static void stand_at_gate(void)
{
    struct command write = rig_write(3);

    gate_close(gate, GATE_WRITE);
    vm_submit(&vm, 0, 0, &write, data, 512);
    vm_kick(&vm, 0);
    ok(gate_wait(gate, GATE_WRITE, 1), "the ring stands at the media");
}

static void test_unaware(uint16_t at)
{
    struct vring_used_elem elem;

    start(at, 0);
    stand_at_gate();
    submit_unaware(0);
    reset_and_take_slot();
    ok(vm_told_of_config(&vm), "the driver is told of an engine reset");
    gate_open(gate, GATE_WRITE);
    ok(vm_used(&vm, 0, &elem) && elem.id == 0, "the ring goes on");
    check_unaware(0, "sent before");
    check_aware("told");
    vm_hang_up(&vm);
}

/* The first thing in the ring that the driver sends once it was told, while the ring still stands.
 */
static void test_sent_after(uint16_t at)
{
    struct command set_key = program(OURS), tagged = rig_tagged(rig_write(64), OURS, 5);
    struct vring_used_elem elem;

    start(at, 0);
    stand_at_gate();
    reset_and_take_slot();
    ok(vm_told_of_config(&vm), "the driver is told");
    vm_submit(&vm, 0, 1, &set_key, NULL, 0);
    vm_submit(&vm, 0, 2, &tagged, data, 512);
    vm_kick(&vm, 0);
    gate_open(gate, GATE_WRITE);
    for (unsigned i = 0; i < 3; i++)
        vm_used(&vm, 0, &elem);
    is_int(vm_status(&vm, 1), VIRTIO_BLK_S_OK, "its KEY_PROGRAM");
    is_int(vm_status(&vm, 2), VIRTIO_BLK_S_OK, "and the tagged write behind it run");
    vm_hang_up(&vm);
}

static void test_always(void)
{
    unsigned good = 0;

    start(0, 0);
    for (unsigned i = 0; i < 200; i++) {
        reset_engine();
        good += vm_told_of_config(&vm) && run_program(OURS) == VIRTIO_BLK_S_OK &&
                run_tagged() == VIRTIO_BLK_S_OK;
    }
    is_int(good, 200, "KEY_PROGRAM right after the notice acknowledges");
    vm_hang_up(&vm);
}

/* ---- a KEY_PROGRAM that is under way ---- */

/* The driver's next KEY_PROGRAM stops there once it is closed. */
static struct {
    struct observer observer;
    atomic_bool closed;
    sem_t arrived, opened;
} door;

static void pass_door(struct observer *observer, const struct observation *observation)
{
    (void)observer;
    if (observation->attachment == other || observation->command->kind != COMMAND_KEY_PROGRAM ||
        !atomic_exchange(&door.closed, false))
        return;
    sem_post(&door.arrived);
    sem_wait(&door.opened);
}

static const struct observer_ops door_ops = {.before = pass_door};

static bool wait_at_door(void)
{
    struct timespec until;

    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE_S;
    return !sem_clockwait(&door.arrived, CLOCK_MONOTONIC, &until);
}

static void test_under_way(void)
{
    start(0, 0);
    atomic_store(&door.closed, true);
    submit_unaware(0);
    ok(wait_at_door(), "a KEY_PROGRAM is under way");
    reset_and_take_slot();
    ok(vm_told_of_config(&vm), "the driver is told of an engine reset");
    sem_post(&door.opened);
    check_unaware(0, "under way then");
    check_aware("told");
    vm_hang_up(&vm);
}

/* ---- rings that do not run when the driver is told ---- */

/* Once before the ring runs and once after, or once after. */
static bool told_all(void)
{
    bool told;

    vm_sync_news(&vm);
    do
        told = vm_told_of_config(&vm);
    while (told && vm_is_raised(vm.channel));
    return told;
}

static void test_without_memory(void)
{
    struct vhost_user_mem_reg all = {0, {VM_GUEST, VM_BYTES, VM_USER, 0}};

    start(0, VM_PROTOCOL(CONFIGURE_MEM_SLOTS));
    is_int(vm_ack(&vm, VHOST_USER_REM_MEM_REG, &all, sizeof(all), NULL, 0), 0,
           "a ring's memory is removed");
    submit_unaware(0);
    reset_and_take_slot();
    vm_sync_news(&vm);
    is_int(vm_ack(&vm, VHOST_USER_ADD_MEM_REG, &all, sizeof(all), &vm.memfd, 1), 0, "and added");
    check_unaware(0, "without memory then");
    ok(told_all(), "the driver is told of an engine reset");
    check_aware("told");
    vm_hang_up(&vm);
}

static void test_stopped(void)
{
    start(0, 0);
    vm_stop_ring(&vm, 0);
    submit_unaware(0);
    reset_and_take_slot();
    vm_sync_news(&vm);
    vm_start_ring(&vm, 0);
    check_unaware(0, "stopped then");
    ok(told_all(), "the driver is told of an engine reset");
    check_aware("told");
    vm_hang_up(&vm);
}

static void test_started_later(void)
{
    start(0, 0);
    submit_unaware(2);
    reset_and_take_slot();
    ok(vm_told_of_config(&vm), "the driver is told of an engine reset");
    vm_start_ring(&vm, 2);
    check_unaware(2, "in another ring, started later");
    ok(vm_told_of_config(&vm), "the driver is told again");
    check_aware("told");
    vm_hang_up(&vm);
}

/* Nobody reads the channel, so the driver is not told before somebody does. */
static void test_no_room(void)
{
    start(0, 0);
    vm_fill_channel(&vm);
    reset_and_take_slot();
    vm_sync_news(&vm);
    submit_unaware(0);
    check_unaware(0, "the channel is full");
    vm_empty_channel(&vm);
    ok(vm_told_of_config(&vm), "what was owed comes when there is room");
    check_aware("told");
    vm_hang_up(&vm);
}

int main(void)
{
    gate = vhost_rig_open_gated(&rig, (struct function_params){0});
    door.observer.ops = &door_ops;
    sem_init(&door.arrived, 0, 0);
    sem_init(&door.opened, 0, 0);
    rig.rig.observers[1] = &door.observer;
    vm_init(&vm, &dialect_ice2);
    other = rig_attach(&rig.rig, RIG_ALL);
    test_unaware(0);
    test_unaware(65531);
    test_unaware(65532);
    test_unaware(65533);
    test_sent_after(0);
    test_sent_after(65532);
    test_always();
    test_under_way();
    test_without_memory();
    test_stopped();
    test_started_later();
    test_no_room();
    attachment_close(other);
    vm_free(&vm);
    vhost_rig_close(&rig);
    return tap_done();
}
