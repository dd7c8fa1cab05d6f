/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The back end as VMMs meet it: requests through rings, rings that start, stop and start again,
 * memory that is shared anew, front ends that come and go.
 */
#include "base/bytes.h"
#include "gate_store.h"
#include "patience.h"
#include "tap.h"
#include "vhost_rig.h"
#include <sys/socket.h>
#include <unistd.h>

#define BYTES 8192u

static struct vhost_rig rig;
static struct gate_store *gate;
static struct vm vm;
static uint8_t data[BYTES], back[BYTES], media[BYTES];

static void fill(uint8_t seed)
{
    for (size_t i = 0; i < BYTES; i++)
        data[i] = (uint8_t)(i * 7 + seed);
}

static void read_media(uint64_t sector, size_t len)
{
    struct iovec iov = {media, len};

    rig.rig.store->ops->read(rig.rig.store, sector * 512, &iov, 1, NULL);
}

static void test_io(const char *who, uint64_t features, uint64_t protocol, uint8_t seed)
{
    struct command write = rig_write(3), read = rig_read(3);

    vm_start_anew(&vm, &rig, features, protocol);
    fill(seed);
    is_int(vm_run(&vm, &write, data, BYTES), VIRTIO_BLK_S_OK, "%s: a write", who);
    read_media(3, BYTES);
    is_mem(media, data, BYTES, "%s: the media has it", who);
    memset(back, 0, sizeof(back));
    is_int(vm_run(&vm, &read, back, BYTES), VIRTIO_BLK_S_OK, "%s: a read", who);
    is_mem(back, data, BYTES, "%s: it is what was written", who);
    for (unsigned i = 0; i < 40; i++) {
        fill((uint8_t)(seed + i));
        if (vm_run(&vm, &write, data, 512) || vm_run(&vm, &read, back, 512) ||
            memcmp(data, back, 512) != 0)
            ok(false, "%s: turn %u", who, i);
    }
    ok(true, "%s: more requests than the ring has entries", who);
    ok(vm_event(vm.rings[0].call) > 0, "%s: the driver is called", who);
    vm_hang_up(&vm);
}

static void test_used_bytes(void)
{
    struct command write = rig_write(0), read = rig_read(0), past = rig_read(2048), flush = {0};
    struct vring_used_elem elem;

    flush.kind = COMMAND_FLUSH;
    vm_start_anew(&vm, &rig, RIG_ALL, VM_USUAL);
    vm_submit(&vm, 0, 1, &read, NULL, 4096);
    vm_kick(&vm, 0);
    vm_used(&vm, 0, &elem);
    ok(elem.id == 3 && elem.len == 4097, "a read hands back data and status");
    vm_submit(&vm, 0, 2, &write, data, 4096);
    vm_kick(&vm, 0);
    vm_used(&vm, 0, &elem);
    ok(elem.id == 6 && elem.len == 1, "a write the status");
    vm_submit(&vm, 0, 0, &flush, NULL, 0);
    vm_kick(&vm, 0);
    vm_used(&vm, 0, &elem);
    ok(elem.id == 0 && elem.len == 1 && vm_status(&vm, 0) == VIRTIO_BLK_S_OK, "so does a flush");
    vm_submit(&vm, 0, 0, &past, NULL, 512);
    vm_data(&vm, 0)[0] = 0x5a;
    vm_kick(&vm, 0);
    vm_used(&vm, 0, &elem);
    ok(elem.len == 1 && vm_status(&vm, 0) == VIRTIO_BLK_S_IOERR && vm_data(&vm, 0)[0] == 0x5a,
       "a read that fails leaves the data area alone");
    const struct vm_part no_room = {VM_DATA, 16, false};
    vm_add(&vm, 0, 9, &no_room, 1);
    vm_kick(&vm, 0);
    vm_used(&vm, 0, &elem);
    ok(elem.id == 9 && elem.len == 0, "a chain without room for a status is handed back empty");
    vm_hang_up(&vm);
}

/* The ciphertext is another's affair (device_dialects, crosscheck): here it is the slots' sharing.
 */
static void test_tagged(void)
{
    struct ice_attachment *other = rig_attach(&rig.rig, RIG_ALL);
    struct command write = rig_tagged(rig_write(8), 2, 77), read = rig_tagged(rig_read(8), 2, 77);
    uint8_t key[64];
    struct command program = rig_key(2, "aes-256-xts", 512, key);

    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(i + 1);
    vm_start_anew(&vm, &rig, RIG_ALL, VM_USUAL);
    is_int(vm_run(&vm, &program, NULL, 0), VIRTIO_BLK_S_OK, "a key is programmed through a ring");
    fill(9);
    is_int(vm_run(&vm, &write, data, 4096), VIRTIO_BLK_S_OK, "a tagged write");
    read_media(8, 4096);
    ok(memcmp(media, data, 4096) != 0, "the media has something else");
    is_int(rig_run(other, &read, NULL, 0, back, 4096).status, VIRTIO_BLK_S_OK,
           "another attachment reads through the same slot");
    is_mem(back, data, 4096, "the plaintext");
    vm_hang_up(&vm);
    is_int(rig_run(other, &read, NULL, 0, back, 4096).status, VIRTIO_BLK_S_OK,
           "hanging up is not a reset: the slot stays");
    is_int(rig_evict(other, 2).status, VIRTIO_BLK_S_OK, "and is not in use any more");
    attachment_close(other);
}

static void test_stop(void)
{
    struct command write = rig_write(1);
    struct vring_used_elem elem;

    vm_start_anew(&vm, &rig, RIG_ALL, VM_USUAL);
    for (unsigned i = 0; i < 3; i++)
        vm_run(&vm, &write, data, 512);
    vm_submit(&vm, 0, 0, &write, data, 512);
    vm_kick(&vm, 0);
    vm_used(&vm, 0, &elem);
    is_int(vm_stop_ring(&vm, 0), 4, "GET_VRING_BASE answers the next index");
    vm_submit(&vm, 0, 0, &write, data, 512);
    vm_kick(&vm, 0);
    ok(vm_is_quiet(&vm, 0), "a stopped ring is not looked at");
    vm_start_ring(&vm, 0);
    ok(vm_used(&vm, 0, &elem), "started anew, it is, without another kick");
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "and goes on");
    vm_state(&vm, VHOST_USER_SET_VRING_ENABLE, 0, 0);
    vm_sync(&vm);
    vm_submit(&vm, 0, 0, &write, data, 512);
    vm_kick(&vm, 0);
    ok(vm_is_quiet(&vm, 0), "neither is one that is disabled");
    vm_state(&vm, VHOST_USER_SET_VRING_ENABLE, 0, 1);
    ok(vm_used(&vm, 0, &elem), "until it is enabled");
    vm_hang_up(&vm);
}

static void stand_at_gate(void)
{
    struct command write = rig_write(1);

    vm_start_anew(&vm, &rig, RIG_ALL, VM_USUAL);
    gate_close(gate, GATE_WRITE);
    vm_submit(&vm, 0, 0, &write, data, 512);
    vm_kick(&vm, 0);
    ok(gate_wait(gate, GATE_WRITE, 1), "a write stands at the media");
}

/* GET_VRING_BASE while a request stands at the media. */
static void test_drain(void)
{
    struct vring_used_elem elem;

    stand_at_gate();
    vm_state(&vm, VHOST_USER_GET_VRING_BASE, 0, 0);
    ok(!vm_is_raised_soon(vm.fd), "GET_VRING_BASE waits for it");
    gate_open(gate, GATE_WRITE);
    is_int(vm_ring_base(&vm, 0), 1, "then it answers");
    is_int(le16toh(vm.rings[0].used->idx), 1, "it was handed back before the answer");
    vm_used(&vm, 0, &elem);
    vm_hang_up(&vm);
}

static void *share_again(void *stop)
{
    while (!*(atomic_bool *)stop) {
        vm_share_memory(&vm);
        vm_sync(&vm);
    }
    return NULL;
}

static void test_memory_swap(void)
{
    struct command write = rig_write(5), read = rig_read(5);
    atomic_bool stop = false;
    bool good = true;
    pthread_t thread;

    vm_start_anew(&vm, &rig, RIG_ALL, VM_USUAL);
    pthread_create(&thread, NULL, share_again, &stop);
    for (unsigned i = 0; i < 200 && good; i++) {
        fill((uint8_t)i);
        good = !vm_run(&vm, &write, data, 1024) && !vm_run(&vm, &read, back, 1024) &&
               !memcmp(data, back, 1024);
    }
    stop = true;
    pthread_join(thread, NULL);
    ok(good, "memory is shared anew again and again under 400 requests");
    vm_hang_up(&vm);
}

static void test_slots_of_memory(void)
{
    struct vhost_user_mem_reg low = {0, {VM_GUEST, VM_BYTES / 2, VM_USER, 0}};
    struct vhost_user_mem_reg high = {
        0, {VM_GUEST + VM_BYTES / 2, VM_BYTES / 2, VM_USER + VM_BYTES / 2, VM_BYTES / 2}};
    struct command write = rig_write(5);

    vm_connect_anew(&vm, &rig);
    vm_negotiate(&vm, RIG_ALL, VM_USUAL | VM_PROTOCOL(CONFIGURE_MEM_SLOTS));
    is_int((intmax_t)vm_get(&vm, VHOST_USER_GET_MAX_MEM_SLOTS), 64, "64 slots of memory");
    is_int(vm_ack(&vm, VHOST_USER_ADD_MEM_REG, &low, sizeof(low), &vm.memfd, 1), 0, "one is added");
    is_int(vm_ack(&vm, VHOST_USER_ADD_MEM_REG, &high, sizeof(high), &vm.memfd, 1), 0, "another");
    vm_start_ring(&vm, 0);
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "requests run in them");
    is_int(vm_ack(&vm, VHOST_USER_REM_MEM_REG, &high, sizeof(high), NULL, 0), 0, "one is removed");
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "the ring goes on in the other");
    const struct vm_part gone = {VM_BYTES / 2, 512, true};
    vm_add(&vm, 0, 5, &gone, 1);
    vm_kick(&vm, 0);
    ok(vm_event(vm.rings[0].err) == 1, "a descriptor in what is gone breaks the ring");
    is_int((intmax_t)vhost_rig_refused(&rig, REFUSAL_RING_MEMORY), 1, "and is counted");
    is_int(le16toh(vm.rings[0].used->idx), vm.rings[0].used_idx, "nothing is handed back");
    is_int(vm_stop_ring(&vm, 0), (uint16_t)(vm.rings[0].avail_idx), "the connection goes on");
    vm_clear_ring(&vm, 0);
    vm_start_ring(&vm, 0);
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "and so does the ring, once reset");
    vm_hang_up(&vm);
}

static void test_two_rings(void)
{
    struct command write = rig_write(5), other = rig_write(9);
    struct vring_used_elem elem;

    vm_start_anew(&vm, &rig, RIG_ALL, VM_USUAL);
    vm_start_ring(&vm, 2);
    gate_close(gate, GATE_WRITE);
    vm_submit(&vm, 0, 0, &write, data, 512);
    vm_kick(&vm, 0);
    vm_submit(&vm, 2, 1, &other, data, 512);
    vm_kick(&vm, 2);
    ok(gate_wait(gate, GATE_WRITE, 2), "two rings have requests at the media at once");
    gate_open(gate, GATE_WRITE);
    ok(vm_used(&vm, 0, &elem) && elem.id == 0, "the first answers its own");
    ok(vm_used(&vm, 2, &elem) && elem.id == 3, "the other too");
    ok(vm_event(vm.rings[2].call) > 0, "and calls its own");
    vm_hang_up(&vm);
}

static void test_without_descriptors(void)
{
    struct command write = rig_write(5);
    struct vring_used_elem elem;

    vm_start_anew(&vm, &rig, RIG_ALL, VM_USUAL);
    vm_event_fd(&vm, VHOST_USER_SET_VRING_KICK, 0, -1);
    vm_event_fd(&vm, VHOST_USER_SET_VRING_CALL, 0, -1);
    vm_submit(&vm, 0, 0, &write, data, 512);
    ok(vm_used(&vm, 0, &elem), "a ring without kicks is looked at from time to time");
    vm_hang_up(&vm);
}

/* By avail_event: the ring's thread looks once more, and sleeps. */
static bool asks_for_kick(void)
{
    const struct vm_ring *ring = &vm.rings[0];
    const uint16_t *event = (const uint16_t *)(const void *)&ring->used->ring[VM_ENTRIES];

    return soon(le16toh(__atomic_load_n(event, __ATOMIC_ACQUIRE)) == ring->avail_idx);
}

/* One that has not looked for that last time yet takes the next at once. */
static bool waits_for_kick(const struct command *command)
{
    struct vring_used_elem elem;

    for (unsigned i = 0; i < 10 && asks_for_kick(); i++) {
        vm_submit(&vm, 0, 0, command, data, 512);
        if (vm_is_quiet(&vm, 0))
            return true;
        vm_used(&vm, 0, &elem);
    }
    return false;
}

/* As virtio_uml of Linux: no descriptors for rings at all. */
static void test_in_band(void)
{
    struct command write = rig_write(5);
    struct vhost_user_vring_state state;
    struct vring_used_elem elem;

    vm_connect_anew(&vm, &rig);
    vm_negotiate(&vm, RIG_ALL,
                 VM_USUAL | VM_PROTOCOL(BACKEND_REQ) | VM_PROTOCOL(INBAND_NOTIFICATIONS));
    vm_set_channel(&vm);
    vm_share_memory(&vm);
    vm_place_ring(&vm, 0);
    vm_state(&vm, VHOST_USER_SET_VRING_ENABLE, 0, 1);
    vm_sync(&vm);
    vm_submit(&vm, 0, 0, &write, data, 512);
    ok(vm_is_quiet(&vm, 0), "in band, a ring that is set up waits for its first kick");
    vm_state(&vm, VHOST_USER_VRING_KICK, 0, 0);
    ok(vm_used(&vm, 0, &elem) && vm_status(&vm, 0) == VIRTIO_BLK_S_OK, "VRING_KICK starts it");
    is_int(vm_notice(&vm, &state), VHOST_USER_BACKEND_VRING_CALL, "VRING_CALL comes back");
    is_int(state.index, 0, "of that ring");
    ok(waits_for_kick(&write), "then it waits for the next");
    vm_state(&vm, VHOST_USER_VRING_KICK, 0, 0);
    ok(vm_used(&vm, 0, &elem), "VRING_KICK wakes it");
    vm_make_available(&vm, 0, VM_ENTRIES);
    vm_state(&vm, VHOST_USER_VRING_KICK, 0, 0);
    is_int(vm_notice(&vm, &state), VHOST_USER_BACKEND_VRING_ERR, "VRING_ERR of a bad head");
    is_int(vm_stop_ring(&vm, 0), le16toh(vm.rings[0].used->idx), "GET_VRING_BASE stops it");
    vm_hang_up(&vm);
}

static void test_second_front_end(void)
{
    struct command write = rig_write(5);
    struct vm second;

    vm_init(&second, &dialect_ice2);
    vm_start_anew(&vm, &rig, RIG_ALL, VM_USUAL);
    vm_sync(&vm);
    vm_connect(&second, &rig);
    ok(vm_is_cut_off(&second), "a second front end is turned away");
    vm_hang_up(&second);
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "the first does not notice");
    ok(vhost_rig_count(&rig)->connected, "it is connected");
    vhost_user_refuse_new(rig.back_end);
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "when nobody new is taken, it goes on");
    vm_hang_up(&vm);
    vhost_rig_restart(&rig);
    vm_free(&second);
}

static bool is_let_in(void)
{
    return vm_ack(&vm, VHOST_USER_GET_FEATURES, NULL, 0, NULL, 0) != -1;
}

/*
 * A VMM that is restarted. First while its back end waits for the media: when that has time again,
 * there are more messages than it reads at once, the end behind them, and a new connection.
 */
static void test_restarted(void)
{
    struct command write = rig_write(5);
    bool all = true;

    stand_at_gate();
    vm_state(&vm, VHOST_USER_GET_VRING_BASE, 0, 0);
    for (unsigned i = 0; i < 150; i++)
        vm_send(&vm, VHOST_USER_SET_OWNER, 0, NULL, 0, NULL, 0);
    vm_hang_up(&vm);
    vm_connect(&vm, &rig);
    gate_open(gate, GATE_WRITE);
    ok(is_let_in(), "a front end that hung up behind much that was not read is let in again");
    for (unsigned i = 0; i < 50 && all; i++) {
        vm_hang_up(&vm);
        vm_connect(&vm, &rig);
        all = is_let_in();
        if (!all)
            break;
        vm_clear_ring(&vm, 0);
        vm_start(&vm, RIG_ALL, VM_USUAL);
        all = !vm_run(&vm, &write, data, 512);
    }
    ok(all, "so is one that hangs up and comes at once, 50 times");
    vm_hang_up(&vm);
}

static void test_lost_memory(void)
{
    struct command write = rig_write(5);
    struct vm other;

    vm_init(&other, &dialect_ice2);
    vm_connect(&other, &rig);
    vm_start(&other, RIG_ALL, VM_USUAL);
    is_int(vm_run(&other, &write, data, 512), VIRTIO_BLK_S_OK, "a front end runs a request");
    is_int(ftruncate(other.memfd, 4096), 0, "and cuts its memory short");
    vm_kick(&other, 0);
    ok(vm_is_cut_off(&other), "it is cut off");
    vm_free(&other);
    vm_start_anew(&vm, &rig, RIG_ALL, VM_USUAL);
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "the next one is served");
    vm_hang_up(&vm);
}

static void test_connected_socket(void)
{
    struct vhost_user *back_end = NULL;
    int pair[2];
    struct command write = rig_write(5);

    vhost_rig_restart(&rig);
    socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair);
    is_int(vhost_user_open(rig.rig.function, VHOST_USER_CONNECTED, pair[1], &back_end, NULL), 0,
           "a connection is handed in");
    vm_clear_ring(&vm, 0);
    vm.fd = pair[0];
    vm_start(&vm, RIG_ALL, VM_USUAL);
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "and served");
    vhost_user_close(back_end);
    ok(vm_is_cut_off(&vm), "closing the back end hangs up");
    vm_hang_up(&vm);
}

int main(void)
{
    gate = vhost_rig_open_gated(&rig, (struct function_params){0});
    vm_init(&vm, &dialect_ice2);
    test_io("as QEMU", RIG_ALL, VM_USUAL, 1);
    test_io("without protocol features", RIG_ALL, 0, 2);
    test_io("without event indices", ~VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX), VM_USUAL, 3);
    test_io("without features", RIG_BARE, VM_USUAL, 4);
    test_used_bytes();
    test_tagged();
    test_stop();
    test_drain();
    test_memory_swap();
    test_slots_of_memory();
    test_two_rings();
    test_without_descriptors();
    test_in_band();
    test_restarted();
    test_second_front_end();
    test_lost_memory();
    test_connected_socket();
    vm_free(&vm);
    vhost_rig_close(&rig);
    return tap_done();
}
