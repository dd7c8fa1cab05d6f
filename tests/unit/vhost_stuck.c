/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A front end shares the flags of the descriptors that it gives: it can make the back end's calls
 * on them wait. That is its own affair; others must get in, and the back end must come to its end.
 */
#include "tap.h"
#include "vhost_rig.h"
#include "virtio/blk.h"
#include <fcntl.h>
#include <unistd.h>

#define BRIM (UINT64_MAX - 1) /* of an eventfd: raising it waits, unless it is O_NONBLOCK */

static uint8_t data[512];

/* When the request is handed back the ring's thread is about to make a call that waits. */
static void get_stuck(struct vm *vm, const struct vhost_rig *rig)
{
    const struct command write_one = rig_write(8);
    const uint64_t brim = BRIM;
    struct vring_used_elem elem;
    int call = vm->rings[0].call;

    vm_start_anew(vm, rig, RIG_BARE, VM_PROTOCOL(REPLY_ACK));
    ok(vm_event(call), "a ring that starts owes a call");
    fcntl(call, F_SETFL, fcntl(call, F_GETFL) & ~O_NONBLOCK);
    is_int(write(call, &brim, sizeof(brim)), sizeof(brim), "the call is raised up to the brim");
    vm_submit(vm, 0, 0, &write_one, data, sizeof(data));
    vm_kick(vm, 0);
    ok(vm_used(vm, 0, &elem), "a request is handed back");
}

int main(void)
{
    struct vhost_rig rig;
    struct command read_one = rig_read(8);
    struct vm stuck, honest;

    vhost_rig_open(&rig, NULL, (struct function_params){0});
    vm_init(&stuck, function_dialect(rig.rig.function));
    vm_init(&honest, function_dialect(rig.rig.function));

    get_stuck(&stuck, &rig);
    vm_hang_up(&stuck);
    vm_start_anew(&honest, &rig, RIG_BARE, VM_PROTOCOL(REPLY_ACK));
    is_int(vm_run(&honest, &read_one, data, sizeof(data)), VIRTIO_BLK_S_OK, "the next is served");
    vm_hang_up(&honest);
    vm_free(&stuck);

    vm_init(&stuck, function_dialect(rig.rig.function)); /* with descriptors of its own again */
    get_stuck(&stuck, &rig);
    vhost_rig_close(&rig);
    ok(true, "a back end ends with a front end that is stuck");
    vm_hang_up(&stuck);
    vm_free(&stuck);
    vm_free(&honest);
    return tap_done();
}
