/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The file of one of a guest's regions is cut short, and the first to meet that is a system call of
 * the store, which raises no SIGBUS: the connection ends all the same, and nobody blames the image.
 */
#include "base/log.h"
#include "tap.h"
#include "vhost_rig.h"
#include "virtio/blk.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define REGION_AT    VM_BYTES /* behind the one with the rings */
#define REGION_BYTES (UINT64_C(64) << 10)
#define STATUS_AT    (VM_DATA + 0x1000u)

static struct vhost_rig rig;
static struct vm vm;
static atomic_uint blames;

__attribute__((format(printf, 2, 3))) void __wrap_log_line(enum log_level level, const char *format,
                                                           ...);

void __wrap_log_line(enum log_level level, const char *format, ...)
{
    char text[256];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof(text), format, args);
    va_end(args);
    if (level == LOG_ERROR && strstr(text, "RAM disk"))
        blames++;
}

static void share_two(int fd)
{
    struct vhost_user_mem_table table = {.count = 2};
    int fds[] = {vm.memfd, fd};

    table.regions[0] = (struct vhost_user_region){VM_GUEST, VM_BYTES, VM_USER, 0};
    table.regions[1] =
        (struct vhost_user_region){VM_GUEST + REGION_AT, REGION_BYTES, VM_USER + REGION_AT, 0};
    vm_send(&vm, VHOST_USER_SET_MEM_TABLE, 0, &table, 8 + 2 * sizeof(table.regions[0]), fds, 2);
}

static void submit(const struct command *command, const struct vm_part *data, unsigned n)
{
    uint8_t head[DIALECT_HEAD_MAX];
    size_t len = vm.dialect->build(vm.features, command, head);
    struct vm_part parts[4] = {{VM_DATA, (uint32_t)len, false}};

    memcpy(vm.memory + VM_DATA, head, len);
    memcpy(parts + 1, data, n * sizeof(*data));
    parts[n + 1] = (struct vm_part){STATUS_AT, 1, true};
    vm_add(&vm, 0, 0, parts, n + 2);
    vm_kick(&vm, 0);
}

static void test_cut(const char *what, const struct command *command, const struct vm_part *data,
                     unsigned n)
{
    int fd = memfd_create("region", MFD_CLOEXEC);
    uint64_t lost = vhost_rig_refused(&rig, REFUSAL_MEMORY_LOST);
    struct vring_used_elem elem;

    vm_must(fd >= 0 && !ftruncate(fd, REGION_BYTES), "memfd");
    blames = 0;
    vm_connect_anew(&vm, &rig);
    vm_negotiate(&vm, RIG_ALL, VM_USUAL);
    share_two(fd);
    vm_start_ring(&vm, 0);
    submit(command, data, n);
    ok(vm_used(&vm, 0, &elem) && vm.memory[STATUS_AT] == VIRTIO_BLK_S_OK, "%s: it works", what);
    vm_must(!ftruncate(fd, 0), "ftruncate");
    submit(command, data, n);
    ok(vm_is_cut_off(&vm), "%s: once the file is cut short the connection ends", what);
    is_int(vm.memory[STATUS_AT], VIRTIO_BLK_S_IOERR, "%s: the request failed", what);
    is_int((intmax_t)(vhost_rig_refused(&rig, REFUSAL_MEMORY_LOST) - lost), 1, "%s: counted", what);
    is_int(blames, 0, "%s: the media are not to blame", what);
    vm_hang_up(&vm);
    close(fd);
}

int main(void)
{
    const uint32_t half = 0x800, gone = (uint32_t)REGION_AT + 0x2000, there = VM_DATA + 0x2000;
    const struct vm_part in[] = {{gone, 2 * half, true}}, out[] = {{gone, 2 * half, false}},
                         mixed[] = {{there, half, false}, {gone, half, false}};
    struct command read = rig_read(8), write = rig_write(8);

    vhost_rig_open(&rig, NULL, (struct function_params){0});
    vm_init(&vm, &dialect_ice2);
    test_cut("a read", &read, in, 1);
    test_cut("a write", &write, out, 1);
    test_cut("a write from both", &write, mixed, 2);
    vm_free(&vm);
    vhost_rig_close(&rig);
    return tap_done();
}
