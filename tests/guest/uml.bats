#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
#
# A guest of user-mode Linux. Its virtio_uml takes every feature that the back end offers, and its
# root is the host's own, read only. It has dm-crypt: a kernel's own cipher beside ours. It does not
# connect again when its back end is gone.

load lib
load checks

setup_file() {
    prepare_folder
    requires linux.uml busybox cryptsetup fio jq mkfs.ext4
    serve --size 64M
    HOME=$T TMPDIR=$T boot linux.uml mem=256M "virtio_uml.device=$T/vm0:2" root=/dev/root \
        rootfstype=hostfs ro "init=$BATS_TEST_DIRNAME/uml_init.sh" umid=guest "uml_dir=$T/uml" \
        console=stderr stderr=1 loglevel=5 con=null con0=fd:0,fd:1 ssl=null
}

# The line of README, on the disk; the key is k0.
open_mirror() {
    guest "cryptsetup -q open --type plain --cipher aes-xts-plain64 --key-size 512 \
        --key-file $T/k0 --sector-size 4096 --iv-large-sectors /dev/vda mirror"
}

close_mirror() {
    guest 'cryptsetup close mirror'
    icectl slot evict 0
}

is_left_alone() {
    [ "$(counted .vhost_user.connected)" = false ]
}

@test "the stock driver sees the disk" {
    check_disk
}

# All that Linux's virtio_blk and its ring know: of these QEMU would hold back 16, SECURE_ERASE.
@test "each feature that both know is negotiated" {
    check_features 1 2 6 9 11 12 13 14 16 28 29 32
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

@test "the guest switches the write cache off: each write is stable; and on again" {
    local before
    guest 'echo "write through" >/sys/block/vda/cache_type; cat /sys/block/vda/cache_type' |
        grep -qx "write through"
    before=$(counted .syncs)
    guest 'dd if=/dev/urandom of=/dev/vda bs=4k count=3 oflag=direct status=none'
    is "$(counted .syncs)" $((before + 3)) "syncs, written through"
    guest 'echo "write back" >/sys/block/vda/cache_type'
    before=$(counted .syncs)
    guest 'dd if=/dev/urandom of=/dev/vda bs=4k count=3 oflag=direct status=none'
    is "$(counted .syncs)" "$before" "syncs, written back"
}

@test "what the guest discards reads as zeros, and nothing beside it" {
    check_discard
}

@test "secure erase, which QEMU's guests do not see, leaves zeros, and nothing beside them is touched" {
    random_file data $((2 << 20))
    guest "dd if=$T/data of=/dev/vda bs=1M oflag=direct status=none
        blkdiscard -f --secure -o 512K -l 1M /dev/vda"
    dd if=/dev/zero of=data bs=512K seek=1 count=2 conv=notrunc status=none
    cmp -n $((2 << 20)) data disk
}

@test "an ext4 of the guest is whole for the host" {
    check_filesystem
}

@test "dm-crypt in the guest reads what slot/0 wrote, and the reverse" {
    has_fuse || skip "/dev/fuse cannot be opened"
    program 0
    open_mirror
    random_file data $((64 << 20))
    within dd if=data of=m/slot/0 bs=1M status=none
    guest "echo 3 >/proc/sys/vm/drop_caches; cmp $T/data /dev/mapper/mirror"
    random_file data $((24 << 20))
    guest "dd if=$T/data of=/dev/mapper/mirror bs=1M seek=8 oflag=direct status=none"
    within cmp -n $((24 << 20)) -i "0:$((8 << 20))" data m/slot/0
    not cmp -s -n 512 -i "0:$((8 << 20))" data disk
    close_mirror
}

@test "README's lines of dm-crypt, in the guest, read a filesystem that was made in slot/0" {
    has_fuse || skip "/dev/fuse cannot be opened"
    requires python3
    local make
    make=$(grep -o 'mkfs.ext4 [^&]*ice/slot/0' "$top_srcdir/README.md")
    program 0
    mkdir plans
    yes attack at dawn | head -n 1000 >plans/plans
    within ${make/ice/-d plans m} # its words, with a folder to copy
    guest "mkdir readme readme/plain
        cd readme
        ln -s /dev/vda disk.img
        cp $T/k0 key
        export XDG_RUNTIME_DIR=/run PYTHONDONTWRITEBYTECODE=1
        python3 $top_srcdir/tests/bats/readme.py $top_srcdir/README.md '#' only cryptsetup || {
            umount plain
            cryptsetup close mirror
            exit 1
        } 2>&1"
    icectl slot evict 0
}

# virtio_uml does not stop a ring: it disables it, and sets it up again.
@test "the driver is unbound and bound, time after time, and its requests are verified" {
    guest "for i in 1 2 3; do
            echo virtio0 >/sys/bus/virtio/drivers/virtio_blk/unbind
            [ ! -e /sys/block/vda ]
            echo virtio0 >/sys/bus/virtio/drivers/virtio_blk/bind
            [ -e /sys/block/vda ]
            $FIO --rw=randwrite --bsrange=512-64k --iodepth=16 --size=4M
        done"
    is "$(guest 'sha256sum </dev/vda')" "$(sum_of_image 0 64)"
}

@test "the guest sees its disk grow and shrink" {
    check_resize
}

@test "the guest powers off, and the server serves on" {
    power_off
    eventually is_left_alone
    icectl io read --sector 0 --count 8 | cmp -n 4096 - disk
}

@test "examples/uml-guest.sh ends with uml-guest: ok" {
    has_fuse || skip "/dev/fuse cannot be opened"
    requires dpkg-query
    # it would install these
    for package in user-mode-linux busybox-static cryptsetup-bin fuse3 util-linux; do
        dpkg-query -W -f '${Status}' $package 2>/dev/null | grep -q 'ok installed' ||
            skip "$package is not installed"
    done
    run at_length "$top_srcdir/examples/uml-guest.sh" 3>&-
    echo "$output"
    is "$status" 0 "exit status"
    is "${lines[-1]}" "uml-guest: ok"
}
