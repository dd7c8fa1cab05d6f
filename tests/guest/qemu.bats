#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
#
# A guest of QEMU: Debian's kernel for clouds, which is fetched, and an initramfs made here. Emulated,
# so that it needs no KVM.

load lib
load checks

setup_file() {
    prepare_folder
    requires qemu-system-x86_64 busybox cpio fio mkfs.ext4 apt-get python3
    [ "$(uname -m)" = x86_64 ] || skip "the guest is an x86 one"
    {
        printf '%s\n' '#!/bin/sh' '. /start' 'cd /run' 'exec <>/dev/ttyS1 >&0 2>&0'
        cat "$BATS_TEST_DIRNAME/agent.sh"
    } >init
    "$top_srcdir/examples/make-guest.sh" . init \
        fio mkfs.ext4 resize2fs blkdiscard
    serve --size 64M
    boot qemu-system-x86_64 -machine q35,accel=tcg -cpu max -smp 2 -m 512 -nodefaults \
        -no-user-config -no-reboot -display none \
        -object memory-backend-memfd,id=memory,size=512M,share=on -numa node,memdev=memory \
        -chardev "socket,id=disk,path=$T/vm0,reconnect=1" \
        -device vhost-user-blk-pci,chardev=disk,num-queues=2 \
        -chardev file,id=console,path=console,append=on -serial chardev:console -serial stdio \
        -qmp "unix:$T/qmp,server=on,wait=off" \
        -kernel vmlinuz -initrd initramfs -append 'console=ttyS0 panic=-1'
}

# Has QEMU execute commands.
qmp() { # COMMAND...
    python3 - "$T/qmp" "$@" <<'END'
import json, socket, sys

with socket.socket(socket.AF_UNIX) as monitor:
    monitor.settimeout(60)
    monitor.connect(sys.argv[1])
    lines = monitor.makefile("rw")
    lines.readline()
    for command in ["qmp_capabilities"] + sys.argv[2:]:
        lines.write(json.dumps({"execute": command}) + "\n")
        lines.flush()
        reply = {}
        while not {"return", "error"} & reply.keys():
            reply = json.loads(lines.readline())
        assert "return" in reply, reply
END
}

# fio verifies in the guest, pass after pass, until end_passes.
begin_passes() {
    guest "rm -f /run/stop /run/ended
        echo >/run/passes
        while [ ! -e /run/stop ]; do
            $FIO --rw=randwrite --bsrange=512-64k --iodepth=32 --fsync=8 --size=8M || exit
            echo >>/run/passes
        done >/run/fio 2>&1 && >/run/ended &"
}

another_pass() {
    guest 'wc -l </run/passes >/run/before'
    guest_eventually '[ $(wc -l </run/passes) -gt $(cat /run/before) ]'
}

end_passes() {
    guest '>/run/stop'
    guest_eventually '[ -e /run/ended ]' || {
        guest 'cat /run/fio'
        return 1
    }
    guest '! dmesg | grep -i "i/o error"'
    is "$(guest 'echo 3 >/proc/sys/vm/drop_caches; sha256sum </dev/vda')" "$(sum_of_image 0 64)"
}

@test "the stock driver sees the disk" {
    check_disk
    is "$(guest 'ls /sys/block/vda/mq | wc -l')" 2 queues
}

# Of those that both know, QEMU holds back 16, SECURE_ERASE.
@test "each feature that QEMU passes is negotiated" {
    check_features 1 2 6 9 11 12 13 14 28 29 32
}

@test "verified reads and writes, and the image is what the guest wrote" {
    check_verified_io
}

@test "FUSE, a socket client and the guest do not disturb each other" {
    check_company
}

@test "a flush in the guest is one on the media" {
    check_flush
}

@test "what the guest discards reads as zeros, and nothing beside it" {
    check_discard
}

@test "an ext4 of the guest is whole for the host" {
    check_filesystem
}

@test "the guest sees its disk grow and shrink" {
    check_resize
}

# QEMU resets the device and stops the rings, and sets it up again as it was.
@test "paused and continued under load: the guest does not notice" {
    local i before
    begin_passes
    for i in 1 2 3 4 5; do
        qmp stop
        before=$(counted .vhost_user.requests)
        guest_begin true
        is "$(counted .vhost_user.requests)" "$before" "requests in the pause"
        qmp cont
        guest_answer
        another_pass
    done
    end_passes
}

# The server stands still first, so that requests of the guest gather; while it is away they wait.
@test "killed with requests in flight and started again: the guest loses nothing" {
    local i
    begin_passes
    for i in $(seq $((2 * SCALE))); do
        kill -STOP "$server"
        guest_eventually '[ $(awk "{ print \$1 + \$2 }" /sys/block/vda/inflight) -ge 8 ]'
        kill -9 "$server"
        eventually gone "$server"
        serve
        another_pass
    done
    end_passes
}

@test "the guest powers off, the server stops, the image stays as it was" {
    local sum
    sum=$(guest 'sync; sha256sum </dev/vda')
    power_off
    kill "$server"
    eventually gone "$server"
    is "$(sum_of_image 0 64)" "$sum"
}

@test "examples/qemu-guest.sh ends with qemu-guest: ok" {
    requires dpkg-query
    # it would install these
    for package in busybox-static cpio e2fsprogs fio qemu-system-x86; do
        dpkg-query -W -f '${Status}' $package 2>/dev/null | grep -q 'ok installed' ||
            skip "$package is not installed"
    done
    run at_length "$top_srcdir/examples/qemu-guest.sh" 3>&-
    echo "$output"
    is "$status" 0 "exit status"
    is "${lines[-1]}" "qemu-guest: ok"
    [[ $output == *"131072 sectors, icesim-vm0"* ]]
}
