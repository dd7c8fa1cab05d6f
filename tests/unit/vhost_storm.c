/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Hostile front ends, one after the other, at the back end of vm0: wrong in one thing, in each way
 * that the list of refusals knows, or wild, with sound messages among random ones and random rings.
 * Meanwhile an honest one on vm1, of the same engine, writes and reads what it wrote. Given a
 * number, it runs that case alone.
 */
#include "base/bytes.h"
#include "patience.h"
#include "sanitizers.h"
#include "storm.h"
#include "tap.h"
#include "vhost_spoil.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECTORS 256u

static struct vhost_rig rig;
static struct spoils spoils;
static struct vm vm;

/* ---- what the back end logs: a line for each end, of which a test needs none ---- */

void __wrap_log_line(int level, const char *format, ...);

void __wrap_log_line(int level, const char *format, ...)
{
    (void)level;
    (void)format;
}

/* ---- the honest one ---- */

static struct {
    struct store *store;
    struct ice_function *function;
    struct vhost_user *back_end;
    struct vm vm;
    pthread_t thread;
    _Atomic bool stop;
    unsigned rounds, wrong;
} honest;

static bool honest_round(unsigned round)
{
    uint8_t wrote[4096], got[4096];
    struct command command = {.kind = COMMAND_WRITE,
                              .type = VIRTIO_BLK_T_OUT,
                              .sector = 8 * (uint64_t)(round * 7 % (SECTORS / 8))};

    for (size_t i = 0; i < sizeof(wrote); i++)
        wrote[i] = (uint8_t)(i * 31 + round);
    if (vm_run(&honest.vm, &command, wrote, sizeof(wrote)) != VIRTIO_BLK_S_OK)
        return false;
    command.kind = COMMAND_READ;
    command.type = VIRTIO_BLK_T_IN;
    return vm_run(&honest.vm, &command, got, sizeof(got)) == VIRTIO_BLK_S_OK &&
           !memcmp(wrote, got, sizeof(got));
}

static void *honest_thread(void *unused)
{
    (void)unused;
    do
        honest.wrong += !honest_round(honest.rounds++);
    while (!honest.stop);
    return NULL;
}

static void honest_begin(void)
{
    struct function_params params = {
        .name = "vm1", .dialect = &dialect_ice2, .engine = rig.rig.engine, .sectors = SECTORS};
    struct ice_why why;
    int pair[2];

    if (store_open_ram(SECTORS * 512, &honest.store, &why))
        abort();
    params.store = honest.store;
    if (function_new(&params, &honest.function, &why) ||
        socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) ||
        vhost_user_open(honest.function, VHOST_USER_CONNECTED, pair[0], &honest.back_end, &why))
        abort();
    vm_init(&honest.vm, &dialect_ice2);
    honest.vm.fd = pair[1];
    vm_start(&honest.vm, VIRTIO_FEATURE(VIRTIO_F_EVENT_IDX),
             ~VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_STATUS));
    vm_sync(&honest.vm); /* its ring runs: what it has is counted before the storm */
    pthread_create(&honest.thread, NULL, honest_thread, NULL);
}

static void honest_end(void)
{
    honest.stop = true;
    pthread_join(honest.thread, NULL);
    is_int(honest.wrong, 0, "another function's front end reads what it wrote, %u times",
           honest.rounds);
    vm_free(&honest.vm);
    vhost_user_close(honest.back_end);
    function_free(honest.function);
    honest.store->ops->close(honest.store);
}

/* ---- wild front ends ---- */

static void wild_rings(void)
{
    struct vm_ring *ring = &vm.rings[0];

    for (unsigned i = 0; i < VM_ENTRIES; i++) {
        struct vring_desc *desc = &ring->desc[i];
        store_le64(&desc->addr, VM_GUEST + (chance(95) ? pick(VM_BYTES) : number()));
        store_le32(&desc->len, chance(90) ? pick(600) : (uint32_t)number());
        store_le16(&desc->flags, (uint16_t)(chance(95) ? pick(4) : pick(65536)));
        store_le16(&desc->next, (uint16_t)(chance(95) ? pick(VM_ENTRIES) : pick(65536)));
        ring->avail->ring[i] = htole16((uint16_t)(chance(95) ? pick(VM_ENTRIES) : pick(65536)));
    }
    ring->avail->idx = htole16((uint16_t)(chance(80) ? pick(VM_ENTRIES + 1) : pick(65536)));
    ring->used->idx = htole16((uint16_t)(chance(80) ? 0 : pick(65536)));
    for (unsigned i = 0; i < 4096; i += 4)
        store_le32(vm.memory + VM_DATA + i, chance(50) ? pick(64) : (uint32_t)number());
}

static int wild_fd(void)
{
    const int fds[] = {vm.memfd,         spoils.sealed,    spoils.log,
                       vm.rings[0].kick, vm.rings[0].call, vm.fd};

    return fds[pick(ARRAY_SIZE(fds))];
}

static void wild_message(void)
{
    uint64_t words[8];
    int fds[3];
    unsigned n = chance(60) ? 0 : 1 + pick(3);

    for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
        words[i] = chance(70)   ? pick(20)
                   : chance(50) ? VM_USER + pick(VM_BYTES)
                                : number() << pick(17);
    for (unsigned i = 0; i < n; i++)
        fds[i] = wild_fd();
    vm_send(&vm, pick(44), chance(30) ? VHOST_USER_NEED_REPLY : 0, words, 4 * pick(16), fds, n);
}

/* As an honest front end says it, but in any order. */
static void sound_message(void)
{
    switch (pick(12)) {
    case 0:
        vm_share_memory(&vm);
        break;
    case 1:
    case 2:
    case 3:
        vm_start_ring(&vm, pick(2));
        break;
    case 4:
        vm_state(&vm, VHOST_USER_GET_VRING_BASE, pick(2), 0);
        break;
    case 5:
        vm_state(&vm, VHOST_USER_SET_VRING_ENABLE, pick(2), pick(2));
        break;
    case 6:
        vm_u64(&vm, VHOST_USER_SET_STATUS, pick(2) ? 0 : 0x0f);
        break;
    case 7:
        vm_send(&vm, VHOST_USER_RESET_DEVICE, 0, NULL, 0, NULL, 0);
        break;
    case 8:
        vm_send(&vm, VHOST_USER_SET_INFLIGHT_FD, 0, &spoils.at, sizeof(spoils.at), &spoils.log, 1);
        break;
    default:
        wild_rings();
        vm_kick(&vm, 0);
    }
}

static bool wild(uint64_t seed)
{
    storm_seed(seed);
    for (unsigned i = 0; i < VM_RINGS; i++)
        vm_clear_ring(&vm, i);
    vm_connect(&vm, &rig);
    vm_negotiate(&vm, chance(50) ? UINT64_MAX : 0,
                 UINT64_MAX & ~(chance(50) ? VIRTIO_FEATURE(VHOST_USER_PROTOCOL_F_STATUS) : 0));
    wild_rings();
    for (unsigned n = pick(24); n > 0; n--)
        if (chance(10))
            wild_message();
        else
            sound_message();
    vm_hang_up(&vm);
    return true;
}

/* ---- the storm ---- */

#define X(constant, name, text) REFUSAL_##constant,
static const enum vhost_user_refusal kinds[] = {MEMORY_REFUSALS(X) MESSAGE_REFUSALS(X)};
#undef X

static bool one_case(uint64_t seed)
{
    enum vhost_user_refusal how = kinds[seed / 2 % ARRAY_SIZE(kinds)];

    if (seed % 2 == 0)
        return wild(seed);
    return can_spoil(how) && spoil(&spoils, &rig, &vm, how, seed);
}

static unsigned entries(const char *path)
{
    DIR *dir = opendir(path);
    unsigned n = 0;

    if (!dir)
        return 0;
    while (readdir(dir))
        n++;
    closedir(dir);
    return n;
}

/* A thread that was joined may be seen for a moment yet. */
static unsigned entries_left(const char *path, unsigned most)
{
    soon(entries(path) <= most);
    return entries(path);
}

/* An honest front end on vm0: who was there before is gone then. */
static void settle(void)
{
    vm_connect(&vm, &rig);
    vm_sync(&vm);
}

static void storm(uint64_t cases)
{
    uint64_t wrong = 0;
    unsigned fds, threads;

    settle();
    fds = entries("/proc/self/fd");
    threads = entries("/proc/self/task");
    vm_hang_up(&vm);
    for (uint64_t seed = 0; seed < cases && wrong < 3; seed++) /* each may wait in vain */
        if (!one_case(seed)) {
            note("case %" PRIu64 " is wrong", seed);
            wrong++;
        }
    is_int((intmax_t)wrong, 0, "%" PRIu64 " hostile front ends", cases);
    settle();
    is_int(entries_left("/proc/self/fd", fds), fds, "no descriptor is left of them");
    is_int(entries_left("/proc/self/task", threads), threads, "and no thread");
    vm_hang_up(&vm);
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        uint64_t times = vhost_rig_refused(&rig, kinds[i]), least = cases / 160;
        ok(times >= least, "%s is refused at least %" PRIu64 " times", refusal_name(kinds[i]),
           least);
    }
}

int main(int argc, char **argv)
{
    const char *scale = getenv("ICESIM_TEST_SCALE");
    uint64_t cases = UINT64_C(16000) * (scale ? strtoull(scale, NULL, 10) : 1);

    if (under_valgrind() || UNDER_TSAN)
        cases /= 10;
    vhost_rig_open(&rig, NULL, (struct function_params){0});
    spoils_open(&spoils);
    vm_init(&vm, &dialect_ice2);
    honest_begin();
    if (argc > 1)
        ok(one_case(strtoull(argv[1], NULL, 10)), "case %s", argv[1]);
    else
        storm(cases);
    honest_end();
    vm_free(&vm);
    spoils_close(&spoils);
    vhost_rig_close(&rig);
    return tap_done();
}
