/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Front ends that leave something out: without a channel for news, or a driver behind it that reads
 * them, no key is of a new engine; without a device status, what the driver writes first counts.
 */
#include "tap.h"
#include "vhost_rig.h"
#include "virtio/blk.h"
#include <unistd.h>

#define WRITEBACK_AT 32u
#define CHANNEL      (VM_PROTOCOL(MQ) | VM_PROTOCOL(REPLY_ACK) | VM_PROTOCOL(BACKEND_REQ))
#define RESETS       VM_PROTOCOL(RESET_DEVICE)

static struct vhost_rig rig;
static struct vm vm;
static uint8_t data[512], key[64];

static struct command program(void)
{
    return rig_key(0, "aes-256-xts", 512, key);
}

static struct command tagged(unsigned slot)
{
    return rig_tagged(rig_write(64), slot, 5);
}

/* ---- news of the engine ---- */

static void reset_engine(void)
{
    function_announce_generation(rig.rig.function, engine_reset(rig.rig.engine));
    vm_sync_news(&vm);
}

static void test_untold(const char *what, uint64_t protocol, bool hangs_up)
{
    struct command set_key = program(), own = tagged(0), foreign = tagged(1);
    struct ice_attachment *other = rig_attach(&rig.rig, RIG_ALL);

    vm_start_anew(&vm, &rig, RIG_ALL, protocol);
    if (hangs_up) {
        vm_sync(&vm);
        close(vm.channel);
        close(vm.far_end);
        vm.channel = vm.far_end = -1;
    }
    is_int(vm_run(&vm, &set_key, NULL, 0), VIRTIO_BLK_S_OK, "%s: a key is programmed", what);
    is_int(vm_run(&vm, &own, data, 512), VIRTIO_BLK_S_OK, "%s: and used", what);
    reset_engine();
    attachment_acknowledge(other, engine_generation(rig.rig.engine), NULL);
    is_int(rig_program(other, 1, "aes-256-xts", 512, 99).status, VIRTIO_BLK_S_OK,
           "%s: somebody programs slot 1 of the new engine", what);
    is_int(vm_run(&vm, &set_key, NULL, 0), VIRTIO_BLK_S_OK, "%s: the driver slot 0", what);
    is_int(vm_run(&vm, &foreign, data, 512), VIRTIO_BLK_S_IOERR,
           "%s: which knows of no new engine, and gets at no foreign key", what);
    is_int(vm_run(&vm, &own, data, 512), VIRTIO_BLK_S_IOERR, "%s: nor at its own", what);
    is_int(vm_ack(&vm, VHOST_USER_RESET_DEVICE, NULL, 0, NULL, 0), 0, "%s: RESET_DEVICE", what);
    vm_clear_ring(&vm, 0);
    vm_start_ring(&vm, 0);
    is_int(vm_run(&vm, &set_key, NULL, 0), VIRTIO_BLK_S_OK, "%s: then it programs a key", what);
    is_int(vm_run(&vm, &own, data, 512), VIRTIO_BLK_S_OK, "%s: and goes on", what);
    vm_hang_up(&vm);
    rig_evict(other, 1);
    attachment_close(other);
}

/* ---- the mode of the write cache, before there is a driver ---- */

static int writeback(void)
{
    struct vhost_user_config config = {.offset = WRITEBACK_AT, .size = 1};
    struct vhost_user_header header;

    vm_send(&vm, VHOST_USER_GET_CONFIG, 0, &config, 13, NULL, 0);
    vm_receive(&vm, &header, &config, sizeof(config), NULL);
    return config.bytes[0];
}

static void test_early_mode(uint8_t mode, int becomes)
{
    struct vhost_user_config config = {.offset = WRITEBACK_AT, .size = 1, .bytes = {mode}};
    struct command write = rig_write(3);

    vm_connect_anew(&vm, &rig);
    vm_negotiate(&vm, RIG_ALL, VM_USUAL);
    is_int(vm_ack(&vm, VHOST_USER_SET_CONFIG, &config, 13, NULL, 0), 0, "mode %u is written early",
           mode);
    vm_share_memory(&vm);
    vm_start_ring(&vm, 0);
    is_int(vm_run(&vm, &write, data, 512), VIRTIO_BLK_S_OK, "mode %u: requests run", mode);
    is_int(writeback(), becomes, "mode %u: the cache", mode);
    vm_hang_up(&vm);
}

int main(void)
{
    for (unsigned i = 0; i < sizeof(key); i++)
        key[i] = (uint8_t)(i + 1);
    vhost_rig_open(&rig, NULL, (struct function_params){0});
    vm_init(&vm, &dialect_ice2);
    test_untold("no channel", VM_USUAL | RESETS, false);
    test_untold("no CONFIG", CHANNEL | RESETS, false);
    test_untold("a channel that ended", CHANNEL | VM_USUAL | RESETS, true);
    test_early_mode(0, 0);
    test_early_mode(1, 1);
    test_early_mode(7, 1);
    vm_free(&vm);
    vhost_rig_close(&rig);
    return tap_done();
}
