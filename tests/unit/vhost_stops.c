/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rings that stop and go on under their driver: a machine that is paused under load, memory that is
 * taken away and comes back, resets by the host at any moment.
 */
#include "base/bytes.h"
#include "gate_store.h"
#include "patience.h"
#include "tap.h"
#include "vhost_rig.h"
#include "virtio/blk.h"
#include <fcntl.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define AS_QEMU (VM_USUAL | VM_PROTOCOL(STATUS))

static struct vhost_rig rig;
static struct gate_store *gate;
static struct vm vm;
static uint8_t data[512];

/* ---- a driver that keeps the ring full, on a thread of its own ---- */

#define LOAD_FIRST  256u /* sector of the first request; each has its own */
#define LOAD_BYTES  0x4000u
#define LOAD_HEAD   0x2000u /* behind the indirect table */
#define LOAD_DATA   0x2400u
#define LOAD_STATUS 0x2800u
#define LOAD_PARTS  64u /* of the data: walking them is a good part of a request's time */

struct load {
    pthread_t thread;
    atomic_bool stop, ended;
    atomic_uint answers;
    unsigned writes;
    uint8_t versions[VM_ENTRIES];
    bool reads[VM_ENTRIES], out[VM_ENTRIES];
    const char *fault; /* NULL: none */
};

static void put_desc(struct vring_desc *desc, uint32_t at, uint32_t len, uint16_t flags,
                     uint16_t next)
{
    store_le64(&desc->addr, VM_GUEST + at);
    store_le32(&desc->len, len);
    store_le16(&desc->flags, flags);
    store_le16(&desc->next, next);
}

/* Request `n` writes a new version of its sector, or reads it. */
static void load_submit(struct load *load, unsigned n)
{
    uint32_t at = VM_DATA + n * LOAD_BYTES;
    struct vring_desc *table = (void *)(vm.memory + at);
    bool reads = load->reads[n];
    struct command command = reads ? rig_read(LOAD_FIRST + n) : rig_write(LOAD_FIRST + n);
    uint16_t data_flags = VRING_DESC_F_NEXT | (reads ? VRING_DESC_F_WRITE : 0);
    uint8_t head[DIALECT_HEAD_MAX];
    size_t len = vm.dialect->build(vm.features, &command, head);

    memcpy(vm.memory + at + LOAD_HEAD, head, len);
    vm.memory[at + LOAD_STATUS] = 0xee;
    load->versions[n] = (uint8_t)(load->versions[n] + !reads);
    load->writes += !reads;
    memset(vm.memory + at + LOAD_DATA, reads ? 0 : load->versions[n], 512);
    put_desc(&table[0], at + LOAD_HEAD, (uint32_t)len, VRING_DESC_F_NEXT, 1);
    for (uint32_t i = 0; i < LOAD_PARTS; i++)
        put_desc(&table[1 + i], at + LOAD_DATA + i * (512 / LOAD_PARTS), 512 / LOAD_PARTS,
                 data_flags, (uint16_t)(i + 2));
    put_desc(&table[1 + LOAD_PARTS], at + LOAD_STATUS, 1, VRING_DESC_F_WRITE, 0);
    put_desc(&vm.rings[0].desc[n], at, (LOAD_PARTS + 2) * sizeof(*table), VRING_DESC_F_INDIRECT, 0);
    load->out[n] = true;
    vm_make_available(&vm, 0, (uint16_t)n);
}

static const char *load_judge(struct load *load, const struct vring_used_elem *elem)
{
    unsigned n = elem->id;
    const uint8_t *memory = vm.memory + VM_DATA + n * LOAD_BYTES;

    if (n >= VM_ENTRIES || !load->out[n])
        return "an answer to what was not asked";
    load->out[n] = false;
    if (memory[LOAD_STATUS] != VIRTIO_BLK_S_OK)
        return "a request failed";
    for (unsigned i = 0; load->reads[n] && i < 512; i++)
        if (memory[LOAD_DATA + i] != load->versions[n])
            return "a read found another version";
    load->reads[n] = !load->reads[n];
    return NULL;
}

/* As vm_used, without sleeping. */
static bool load_used(struct vring_used_elem *elem)
{
    struct vm_ring *ring = &vm.rings[0];
    int64_t limit = now_ms() + PATIENCE_MS;

    while (le16toh(__atomic_load_n(&ring->used->idx, __ATOMIC_ACQUIRE)) == ring->used_idx) {
        if (now_ms() > limit)
            return false;
        sched_yield();
    }
    return vm_used(&vm, 0, elem);
}

static void *load_run(void *user)
{
    struct load *load = user;
    unsigned out = VM_ENTRIES;

    for (unsigned n = 0; n < VM_ENTRIES; n++)
        load_submit(load, n);
    vm_kick(&vm, 0);
    while (out && !load->fault) {
        struct vring_used_elem elem;
        load->fault = load_used(&elem) ? load_judge(load, &elem) : "a request is lost";
        out--;
        atomic_fetch_add(&load->answers, 1);
        if (!load->fault && !atomic_load(&load->stop)) {
            load_submit(load, elem.id);
            vm_kick(&vm, 0);
            out++;
        }
    }
    atomic_store(&load->ended, true);
    return NULL;
}

static unsigned writes_before;

static void load_start(struct load *load)
{
    *load = (struct load){0};
    writes_before = gate_count(gate, GATE_WRITE);
    pthread_create(&load->thread, NULL, load_run, load);
}

/* Until `n` more answers came, or a fault. */
static void load_wait(struct load *load, unsigned n)
{
    unsigned before = atomic_load(&load->answers);
    int64_t limit = now_ms() + PATIENCE_MS;

    while (atomic_load(&load->answers) - before < n && !atomic_load(&load->ended) &&
           now_ms() < limit)
        sched_yield();
}

static void load_end(struct load *load, const char *what)
{
    atomic_store(&load->stop, true);
    pthread_join(load->thread, NULL);
    ok(!load->fault, "%s: %u requests, %s", what, atomic_load(&load->answers),
       load->fault ? load->fault : "all answered and right");
    is_int(gate_count(gate, GATE_WRITE) - writes_before, load->writes,
           "%s: no write is done twice, or not at all", what);
}

/* ---- what VMMs say ---- */

static void set_status(uint8_t status)
{
    vm_u64(&vm, VHOST_USER_SET_STATUS, status);
}

static void start_as_qemu(uint64_t more)
{
    vm_connect_anew(&vm, &rig);
    vm_negotiate(&vm, RIG_ALL, AS_QEMU | more);
    set_status(VM_STATUS_FEATURES);
    vm_share_memory(&vm);
    vm_start_ring(&vm, 0);
    set_status(VM_STATUS_ALL);
}

static uint16_t pause_as_qemu(void)
{
    set_status(0);
    vm_state(&vm, VHOST_USER_SET_VRING_ENABLE, 0, 0);
    return vm_stop_ring(&vm, 0);
}

/* The driver does not know of it: the ring goes on where it was. */
static void go_on_as_qemu(uint64_t features, uint16_t base)
{
    const struct vm_ring *ring = &vm.rings[0];
    struct vhost_user_vring_addr addr = {
        .desc = VM_USER,
        .avail = VM_USER + (uint64_t)((uint8_t *)ring->avail - vm.memory),
        .used = VM_USER + (uint64_t)((uint8_t *)ring->used - vm.memory),
    };

    vm_u64(&vm, VHOST_USER_SET_FEATURES, features);
    set_status(VM_STATUS_FEATURES);
    vm_state(&vm, VHOST_USER_SET_VRING_BASE, 0, base);
    vm_send(&vm, VHOST_USER_SET_VRING_ADDR, 0, &addr, sizeof(addr), NULL, 0);
    vm_event_fd(&vm, VHOST_USER_SET_VRING_KICK, 0, ring->kick);
    vm_event_fd(&vm, VHOST_USER_SET_VRING_CALL, 0, ring->call);
    vm_state(&vm, VHOST_USER_SET_VRING_ENABLE, 0, 1);
    set_status(VM_STATUS_ALL);
}

/* ---- pause ---- */

#define PAUSES 100u
#define BRIM   (UINT64_MAX - 1) /* of an eventfd: raising it waits, unless it is O_NONBLOCK */

static struct stats_counters counters(void)
{
    struct stats_counters now;

    stats_read(rig.rig.stats, &now);
    return now;
}

/* Requests that came while the device was reset: the function is strict, so they are counted. */
static uint64_t early(void)
{
    return counters().violations[RULE_REQUEST_EARLY];
}

static uint64_t calls(void)
{
    return vhost_rig_count(&rig)->calls;
}

/* Waits until it is not what it was. */
static bool changes(uint64_t (*count)(void), uint64_t before)
{
    return soon(count() != before);
}

static void test_pauses(void)
{
    uint64_t before = early();
    struct load load;

    start_as_qemu(0);
    load_start(&load);
    for (unsigned n = 0; n < PAUSES; n++) {
        load_wait(&load, 1 + n % 7);
        go_on_as_qemu(vm.features, pause_as_qemu());
    }
    load_end(&load, "paused under load");
    ok(!vm_is_raised(vm.rings[0].err), "no ring is broken");
    note("%u requests met the reset in %u pauses", (unsigned)(early() - before), PAUSES);
    vm_hang_up(&vm);
}

/*
 * The ring's thread has looked at the device status and taken a flush, and waits in a call for the
 * write before, as the reset comes.
 */
static void meet_reset(int call)
{
    const struct command write_one = rig_write(3), flush = {.kind = COMMAND_FLUSH};
    const uint64_t brim = BRIM;
    struct vring_used_elem elem;

    ok(vm_event(call), "a ring that starts owes a call");
    fcntl(call, F_SETFL, fcntl(call, F_GETFL) & ~O_NONBLOCK);
    is_int(write(call, &brim, sizeof(brim)), sizeof(brim), "the call is raised up to the brim");
    uint64_t calls_before = calls(), early_before = early();
    gate_close(gate, GATE_WRITE);
    vm_submit(&vm, 0, 0, &write_one, data, 512);
    vm_kick(&vm, 0);
    gate_wait(gate, GATE_WRITE, 1);
    vm_submit(&vm, 0, 1, &flush, NULL, 0);
    gate_open(gate, GATE_WRITE);
    ok(vm_used(&vm, 0, &elem) && elem.id == 0, "a write is handed back");
    ok(changes(calls, calls_before), "the driver is called");
    set_status(0);
    vm_sync(&vm);
    vm_event(call);
    ok(changes(early, early_before), "the flush comes once the device is reset");
}

static void test_met(void)
{
    unsigned flushes = gate_count(gate, GATE_FLUSH);
    struct vring_used_elem elem;

    close(vm.rings[0].call); /* nobody has raised the next one */
    vm.rings[0].call = eventfd(0, EFD_CLOEXEC);
    start_as_qemu(0);
    meet_reset(vm.rings[0].call);
    vm_state(&vm, VHOST_USER_SET_VRING_ENABLE, 0, 0);
    uint16_t base = vm_stop_ring(&vm, 0);
    is_int(base, 1, "a request that met the reset is given back to the ring");
    is_int(le16toh(vm.rings[0].used->idx), 1, "it is not handed back to the driver");
    is_int(gate_count(gate, GATE_FLUSH) - flushes, 0, "and was not done");
    go_on_as_qemu(vm.features, base);
    ok(vm_used(&vm, 0, &elem) && elem.id == 3 && vm_status(&vm, 1) == VIRTIO_BLK_S_OK,
       "it is done as the ring goes on");
    is_int(gate_count(gate, GATE_FLUSH) - flushes, 1, "once");
    is_int(vm_stop_ring(&vm, 0), 2, "and was the last");
    vm_hang_up(&vm);
}

/* ---- memory ---- */

static void test_memory_comes_and_goes(void)
{
    struct vhost_user_mem_reg all = {0, {VM_GUEST, VM_BYTES, VM_USER, 0}};
    const struct vhost_user_mem_table none = {0};
    struct load load;
    int64_t refused = 0;

    vm_connect_anew(&vm, &rig);
    vm_negotiate(&vm, RIG_ALL, VM_USUAL | VM_PROTOCOL(CONFIGURE_MEM_SLOTS));
    vm_ack(&vm, VHOST_USER_ADD_MEM_REG, &all, sizeof(all), &vm.memfd, 1);
    vm_start_ring(&vm, 0);
    load_start(&load);
    for (unsigned i = 0; i < 50; i++) {
        load_wait(&load, 3);
        refused |= vm_ack(&vm, VHOST_USER_REM_MEM_REG, &all, sizeof(all), NULL, 0);
        refused |= vm_ack(&vm, VHOST_USER_ADD_MEM_REG, &all, sizeof(all), &vm.memfd, 1);
    }
    is_int(refused, 0, "the memory of a ring that runs is removed and added");
    load_end(&load, "regions that go and come");
    load_start(&load);
    for (unsigned i = 0; i < 50; i++) {
        load_wait(&load, 3);
        refused |= vm_ack(&vm, VHOST_USER_SET_MEM_TABLE, &none, 8, NULL, 0);
        vm_share_memory(&vm);
        vm_sync(&vm);
    }
    is_int(refused, 0, "all memory is taken away and given");
    load_end(&load, "an empty table and a full one");
    ok(!vm_is_raised(vm.rings[0].err), "no ring is broken");
    vm_hang_up(&vm);
}

/* ---- the mode of the write cache ---- */

static struct vhost_user_config writeback_window(uint8_t mode)
{
    return (struct vhost_user_config){
        .offset = offsetof(struct virtio_blk_config, writeback), .size = 1, .bytes = {mode}};
}

static void write_through(void)
{
    struct vhost_user_config window = writeback_window(0);

    is_int(vm_ack(&vm, VHOST_USER_SET_CONFIG, &window, 13, NULL, 0), 0,
           "writeback is switched off");
}

static void check_mode(uint8_t writeback, const char *when)
{
    struct vhost_user_config window = writeback_window(0xee);
    struct command write = rig_write(3);
    struct vhost_user_header header;
    uint64_t before = counters().syncs;

    vm_send(&vm, VHOST_USER_GET_CONFIG, 0, &window, 13, NULL, 0);
    vm_receive(&vm, &header, &window, sizeof(window), NULL);
    is_int(window.bytes[0], writeback, "%s: writeback", when);
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "%s: a write", when);
    is_int((intmax_t)(counters().syncs - before), !writeback, "%s: syncs of it", when);
}

static void test_mode_in_pause(void)
{
    start_as_qemu(0);
    check_mode(1, "at first");
    write_through();
    check_mode(0, "switched");
    go_on_as_qemu(vm.features, pause_as_qemu());
    check_mode(0, "after a pause");
    go_on_as_qemu(vm.features & ~VIRTIO_FEATURE(VIRTIO_BLK_F_DISCARD), pause_as_qemu());
    check_mode(1, "with other features");
    vm_hang_up(&vm);
}

/* ---- resets by the host ---- */

static void test_mode_under_resets(void)
{
    struct load load;
    uint64_t before;

    start_as_qemu(0);
    write_through();
    before = counters().syncs;
    load_start(&load);
    vhost_rig_begin_resets(&rig);
    load_wait(&load, 10000);
    vhost_rig_end_resets(&rig);
    load_end(&load, "the host resets the device all the time");
    is_int((intmax_t)(counters().syncs - before), load.writes, "each write is stable");
    vm_hang_up(&vm);
}

static void *reset_once(void *unused)
{
    (void)unused;
    function_reset_attachments(rig.rig.function);
    return NULL;
}

/* Before, while and after FEATURES_OK is looked at. */
static void test_reset_before_driver(void)
{
    struct command write = rig_write(3);
    unsigned good = 0;

    start_as_qemu(0);
    for (unsigned i = 0; i < 100; i++) {
        pthread_t thread;
        uint16_t base = pause_as_qemu();
        vm_u64(&vm, VHOST_USER_SET_FEATURES, vm.features);
        set_status(VM_STATUS_FEATURES);
        if (i % 2)
            vm_sync(&vm);
        pthread_create(&thread, NULL, reset_once, NULL);
        if (i % 4 == 3)
            pthread_join(thread, NULL);
        go_on_as_qemu(vm.features, base);
        if (i % 4 != 3)
            pthread_join(thread, NULL);
        good += vm_run(&vm, &write, data, 512) == VIRTIO_BLK_S_OK &&
                vm_get(&vm, VHOST_USER_GET_STATUS) == VM_STATUS_ALL;
    }
    is_int(good, 100, "the host resets the device between FEATURES_OK and DRIVER_OK: it works");
    vm_hang_up(&vm);
}

int main(void)
{
    gate = vhost_rig_open_gated(&rig, (struct function_params){.strict = true});
    vm_init(&vm, &dialect_ice2);
    test_pauses();
    test_met();
    test_memory_comes_and_goes();
    test_mode_in_pause();
    test_mode_under_resets();
    test_reset_before_driver();
    vm_free(&vm);
    vhost_rig_close(&rig);
    return tap_done();
}
