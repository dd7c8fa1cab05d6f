#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Block devices and filesystems on the plaintext of a slot.

load helpers

setup() {
    common_setup
    requires_loop
    start_mounted --image image --size 64M
    program 0
    loop=$(attach m/slot/0)
}

# A loop device hands out what it has read before from the page cache.
drop() {
    within blockdev --flushbufs "$loop"
}

@test "mkfs.ext4 on a loop device, files, e2fsck; ciphertext is libcrypto's" {
    requires mkfs.ext4 e2fsck icerefcrypt
    mkdir plain
    within mkfs.ext4 -q -b 4096 "$loop"
    mount "$loop" plain
    random_file plain/file $((10 << 20))
    sum=$(sum_of plain/file)
    umount plain
    within e2fsck -fn "$loop"
    mount "$loop" plain
    is "$(sum_of plain/file)" "$sum"
    umount plain
    drop
    within dd if="$loop" of=got bs=1M
    detach "$loop"
    stop
    icerefcrypt dec aes-256-xts 4096 0 k0 <image | cmp - got
}

@test "blkdiscard -z: the device reads zeros afterwards, and they are stored encrypted" {
    requires blkdiscard icerefcrypt
    random_file a $((4 << 20))
    within dd if=a of="$loop" bs=1M conv=fsync
    within blkdiscard -z -o 1M -l 2M "$loop"
    drop
    { head -c 1M a; head -c 2M /dev/zero; tail -c 1M a; } >want
    within dd if="$loop" bs=1M count=4 status=none | cmp - want
    within dd if=m/slot/0 bs=1M count=4 status=none | cmp - want
    icectl io read --sector 0 --count 8192 -o cipher
    icerefcrypt dec aes-256-xts 4096 0 k0 <cipher | cmp - want
    not cmp -s <(head -c 4096 /dev/zero) <(tail -c +1048577 cipher | head -c 4096)
}

@test "blkdiscard does no harm around its range" {
    requires blkdiscard
    random_file a $((4 << 20))
    within dd if=a of="$loop" bs=1M conv=fsync
    within blkdiscard -o 1M -l 2M "$loop" || true # a loop device without discard says so
    drop
    within dd if="$loop" bs=1M count=1 status=none | cmp - <(head -c 1M a)
    within dd if="$loop" bs=1M skip=3 count=1 status=none | cmp - <(tail -c 1M a)
}

@test "fstrim does no harm" {
    requires mkfs.ext4 fstrim e2fsck
    mkdir plain
    within mkfs.ext4 -q "$loop"
    mount "$loop" plain
    random_file plain/a $((8 << 20))
    random_file plain/b $((8 << 20))
    sync plain/a plain/b
    sum=$(sum_of plain/a)
    rm plain/b
    within fstrim plain || true # a loop device without discard says so
    umount plain
    within e2fsck -fn "$loop"
    mount "$loop" plain
    is "$(sum_of plain/a)" "$sum"
    umount plain
}

@test "a loop device with O_DIRECT reads and writes the plaintext" {
    within losetup --direct-io=on "$loop"
    is "$(losetup -n -O DIO "$loop" | tr -d ' ')" 1
    random_file a $((4 << 20))
    within dd if=a of="$loop" bs=1M oflag=direct
    within dd if="$loop" bs=1M count=4 iflag=direct status=none | cmp - a
    within dd if=m/slot/0 bs=1M count=4 status=none | cmp - a
}

@test "evict below a loop device: its reads and writes fail, nothing is changed" {
    random_file a 65536
    within dd if=a of="$loop" bs=64K conv=fsync
    sum=$(sum_of image)
    icectl slot evict 0
    drop
    fails_with "error" dd if="$loop" of=/dev/null bs=64K count=1 iflag=direct
    fails_with "error" dd if=a of="$loop" bs=64K count=1 oflag=direct
    is "$(sum_of image)" "$sum" "the image"
}
