/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the device does under a ring: resets by the host, engines that lose their keys, back ends
 * that died with requests in flight.
 */
#include "base/bytes.h"
#include "gate_store.h"
#include "tap.h"
#include "vhost_rig.h"
#include "virtio/blk.h"

#define TOLD   (VM_USUAL | VM_PROTOCOL(BACKEND_REQ))
#define LOGGED (TOLD | VM_PROTOCOL(INFLIGHT_SHMFD))

static struct vhost_rig rig;
static struct gate_store *gate;
static struct vm vm;
static uint8_t data[4096], back[4096], key[64];

static struct command program(void)
{
    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(i + 1);
    return rig_key(0, "aes-256-xts", 512, key);
}

static struct command tagged(void)
{
    return rig_tagged(rig_write(64), 0, 5);
}

/* ---- resets ---- */

static void test_host_reset(void)
{
    struct command write = rig_write(3), with_key = tagged(), set_key = program();
    struct vhost_user_config writeback = {.offset = 32, .size = 1};
    struct vhost_user_header header;

    vm_start_anew(&vm, &rig, RIG_ALL, TOLD);
    is_int(vm_run(&vm, &set_key, NULL, 0), VIRTIO_BLK_S_OK, "a key is programmed");
    is_int(vm_run(&vm, &with_key, data, 512), VIRTIO_BLK_S_OK, "and used");
    is_int(vm_ack(&vm, VHOST_USER_SET_CONFIG, &writeback, 13, NULL, 0), 0, "writethrough");
    function_reset_attachments(rig.rig.function);
    ok(vm_told_of_config(&vm), "a reset by the host shows as a change of configuration");
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "the driver goes on");
    is_int(vm_run(&vm, &with_key, data, 512), VIRTIO_BLK_S_IOERR, "but its key is gone");
    vm_send(&vm, VHOST_USER_GET_CONFIG, 0, &writeback, 13, NULL, 0);
    vm_receive(&vm, &header, &writeback, sizeof(writeback), NULL);
    is_int(writeback.bytes[0], 0, "writethrough is not forgotten");
    is_int(vm_run(&vm, &set_key, NULL, 0), VIRTIO_BLK_S_OK, "it programs it");
    is_int(vm_run(&vm, &with_key, data, 512), VIRTIO_BLK_S_OK, "and uses it");
    vm_hang_up(&vm);
}

static void test_resets_under_load(void)
{
    struct command write = rig_write(3), read = rig_read(3);
    bool good = true;

    vm_start_anew(&vm, &rig, RIG_ALL, TOLD & ~VM_PROTOCOL(BACKEND_REQ));
    vhost_rig_begin_resets(&rig);
    for (unsigned i = 0; i < 200 && good; i++) {
        memset(data, (int)i, 512);
        good = vm_run(&vm, &write, data, 512) == VIRTIO_BLK_S_OK &&
               vm_run(&vm, &read, back, 512) == VIRTIO_BLK_S_OK && !memcmp(data, back, 512);
    }
    vhost_rig_end_resets(&rig);
    ok(good, "no request is lost, or half done, while the host resets the device all the time");
    vm_hang_up(&vm);
}

/* ---- generations ---- */

static void reset_engine(void)
{
    function_announce_generation(rig.rig.function, engine_reset(rig.rig.engine));
}

static void test_generation(void)
{
    struct command with_key = tagged(), set_key = program();
    struct ice_attachment *other = rig_attach(&rig.rig, RIG_ALL);

    vm_start_anew(&vm, &rig, RIG_ALL, TOLD);
    vm_run(&vm, &set_key, NULL, 0);
    is_int(vm_run(&vm, &with_key, data, 512), VIRTIO_BLK_S_OK, "a tagged write");
    reset_engine();
    ok(vm_told_of_config(&vm), "the driver learns of an engine reset");
    attachment_acknowledge(other, engine_generation(rig.rig.engine), NULL);
    rig_program(other, 0, "aes-256-xts", 512, 99);
    is_int(vm_run(&vm, &with_key, data, 512), VIRTIO_BLK_S_IOERR,
           "its tagged write does not run with another's key");
    is_int(vm_run(&vm, &set_key, NULL, 0), VIRTIO_BLK_S_OK, "it programs its own");
    is_int(vm_run(&vm, &with_key, data, 512), VIRTIO_BLK_S_OK, "and goes on");
    vm_hang_up(&vm);
    attachment_close(other);
}

/* Nobody reads the channel: notices are owed, not lost, and the back end does not wait for it. */
static void test_full_channel(void)
{
    struct command write = rig_write(3);

    vm_start_anew(&vm, &rig, RIG_ALL, TOLD);
    vm_sync(&vm);
    vm_fill_channel(&vm);
    function_announce_config(rig.rig.function);
    vm_sync_news(&vm);
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK,
           "requests run though the channel is full");
    vm_empty_channel(&vm);
    ok(vm_told_of_config(&vm), "what was owed comes when there is room");
    vm_hang_up(&vm);
}

/* ---- the log of requests in flight ---- */

static struct vm_log inflight;

static void connect_with_log(bool new)
{
    vm_connect(&vm, &rig);
    vm_negotiate(&vm, RIG_ALL, LOGGED);
    vm_set_channel(&vm);
    if (new)
        vm_log_make(&vm, &inflight);
    is_int(vm_log_share(&vm, &inflight), 0, "SET_INFLIGHT_FD");
    vm_share_memory(&vm);
    vm_start_ring(&vm, 0);
}

/* As a back end leaves it that dies with requests `n` in flight, taken in the order of `counters`,
 * and with it an engine of its own. */
static void die_with(const uint64_t *counters, unsigned n)
{
    struct vm_log_part *part = inflight.part;

    memset((uint8_t *)part + inflight.at.mmap_size - 64, 0, 64); /* the record of another process */
    for (unsigned i = 0; i < n; i++) {
        part->entries[3 * i].inflight = 1;
        part->entries[3 * i].counter = counters[i];
    }
}

static void test_log_while_running(void)
{
    struct command write = rig_write(3);
    struct vring_used_elem elem;

    vhost_rig_restart(&rig);
    vm_clear_ring(&vm, 0);
    connect_with_log(true);
    const struct vm_log_part *part = inflight.part;
    gate_close(gate, GATE_WRITE);
    vm_submit(&vm, 0, 1, &write, data, 512);
    vm_kick(&vm, 0);
    gate_wait(gate, GATE_WRITE, 1);
    is_int(__atomic_load_n(&part->entries[3].inflight, __ATOMIC_ACQUIRE), 1,
           "a request at the media is in the log");
    gate_open(gate, GATE_WRITE);
    vm_used(&vm, 0, &elem);
    vm_stop_ring(&vm, 0);
    is_int(__atomic_load_n(&part->entries[3].inflight, __ATOMIC_ACQUIRE), 0, "and then is not");
    is_int(part->used_idx, 1, "the used index is in it");
    vm_hang_up(&vm);
}

/* Two writes of one sector, a key operation, a tagged write: taken in another order than they have
 * in the ring. */
static void test_replay(void)
{
    static const uint64_t counters[] = {9, 6, 7, 8};
    struct command write = rig_write(3), read = rig_read(3), with_key = tagged(),
                   set_key = program();
    struct vring_used_elem elem;
    uint16_t order[4];

    vhost_rig_restart(&rig);
    memset(data, 1, 512);
    vm_submit(&vm, 0, 0, &write, data, 512);
    memset(data, 2, 512);
    vm_submit(&vm, 0, 1, &write, data, 512);
    vm_submit(&vm, 0, 2, &set_key, NULL, 0);
    vm_submit(&vm, 0, 3, &with_key, data, 512);
    die_with(counters, 4);
    struct ice_attachment *other = rig_attach(&rig.rig, RIG_ALL);
    rig_evict(other, 0);
    rig_program(other, 0, "aes-256-xts", 512, 42);
    connect_with_log(false);
    for (unsigned i = 0; i < 4; i++)
        order[i] = vm_used(&vm, 0, &elem) ? (uint16_t)elem.id : UINT16_MAX;
    ok(order[0] == 3 && order[1] == 6 && order[2] == 9 && order[3] == 0,
       "what was in flight is handed in in the order it was taken: %u %u %u %u", order[0], order[1],
       order[2], order[3]);
    ok(vm_status(&vm, 0) == VIRTIO_BLK_S_OK && vm_status(&vm, 1) == VIRTIO_BLK_S_OK,
       "plain writes are done");
    is_int(vm_status(&vm, 2), VIRTIO_BLK_S_IOERR, "a key operation is not run again");
    is_int(vm_status(&vm, 3), VIRTIO_BLK_S_IOERR, "a tagged write does not meet another's key");
    is_int(vm_run(&vm, &read, back, 512), VIRTIO_BLK_S_OK, "the ring goes on behind them");
    is_int(back[0], 1, "the write that was taken last is the last");
    ok(vm_told_of_config(&vm), "the driver is told");
    is_int(vm_run(&vm, &with_key, data, 512), VIRTIO_BLK_S_IOERR, "its keys are of no use");
    is_int(vm_run(&vm, &set_key, NULL, 0), VIRTIO_BLK_S_OK, "it programs them");
    is_int(vm_run(&vm, &with_key, data, 512), VIRTIO_BLK_S_OK, "and goes on");
    vm_hang_up(&vm);
    attachment_close(other);

    connect_with_log(false);
    is_int(vm_run(&vm, &with_key, data, 512), VIRTIO_BLK_S_OK,
           "a front end that comes back to the same engine keeps its keys");
    vm_hang_up(&vm);
}

/* Killed between the used ring and the log: the answer is there, so nothing is done again. */
static void test_handed_back(void)
{
    struct vm_log_part *part = inflight.part;
    struct command write = rig_write(3);
    struct vring_used_elem elem;

    vhost_rig_restart(&rig);
    vm_clear_ring(&vm, 0);
    memset(part, 0, sizeof(*part));
    memset(data, 5, 512);
    vm_submit(&vm, 0, 0, &write, data, 512);
    vm_submit(&vm, 0, 1, &write, data, 512);
    part->version = 1;
    part->desc_num = VM_ENTRIES;
    part->entries[0] = (struct vm_log_entry){.inflight = 1, .counter = 1};
    part->entries[3] = (struct vm_log_entry){.inflight = 1, .counter = 2};
    part->last_batch_head = 0;
    store_le16(&vm.rings[0].used->idx, 1);
    unsigned writes = gate_count(gate, GATE_WRITE);
    connect_with_log(false);
    vm_used(&vm, 0, &elem);
    ok(vm_used(&vm, 0, &elem) && elem.id == 3, "the one that was not handed back is");
    ok(vm_is_quiet(&vm, 0), "the other not again");
    is_int(gate_count(gate, GATE_WRITE) - writes, 1, "one write was done");
    vm_hang_up(&vm);
}

/* Of three that were taken the second was answered, and the process killed. */
static void test_answered_out_of_order(void)
{
    struct vm_log_part *part = inflight.part;
    struct command writes[] = {rig_write(3), rig_write(5), rig_write(7)}, read = rig_read(7);
    struct vring_used_elem elem;

    vhost_rig_restart(&rig);
    vm_clear_ring(&vm, 0);
    memset(part, 0, sizeof(*part));
    for (unsigned i = 0; i < 3; i++) {
        memset(data, (int)i + 7, 512);
        vm_submit(&vm, 0, i, &writes[i], data, 512);
        part->entries[3 * i] = (struct vm_log_entry){.inflight = i != 1, .counter = i + 1};
    }
    part->version = 1;
    part->desc_num = VM_ENTRIES;
    part->last_batch_head = 3;
    part->used_idx = 1;
    store_le32(&vm.rings[0].used->ring[0].id, 3);
    store_le32(&vm.rings[0].used->ring[0].len, 1);
    store_le16(&vm.rings[0].used->idx, 1);
    vm_used(&vm, 0, &elem);
    unsigned before = gate_count(gate, GATE_WRITE);
    connect_with_log(false);
    ok(vm_used(&vm, 0, &elem) && elem.id == 0, "of requests answered out of order, the oldest");
    ok(vm_used(&vm, 0, &elem) && elem.id == 6, "and the latest are run again");
    ok(vm_is_quiet(&vm, 0), "the one between them is not");
    is_int(gate_count(gate, GATE_WRITE) - before, 2, "two writes were done");
    is_int(vm_run(&vm, &read, back, 512), VIRTIO_BLK_S_OK, "the ring goes on behind all three");
    is_int(back[0], 9, "what was written is there");
    vm_hang_up(&vm);
}

int main(void)
{
    gate = vhost_rig_open_gated(&rig, (struct function_params){0});
    vm_init(&vm, &dialect_ice2);
    test_host_reset();
    test_resets_under_load();
    test_generation();
    test_full_channel();
    test_log_while_running();
    test_replay();
    test_handed_back();
    test_answered_out_of_order();
    vm_log_free(&inflight);
    vm_free(&vm);
    vhost_rig_close(&rig);
    return tap_done();
}
