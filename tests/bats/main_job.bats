#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The main job, end to end: a filesystem on a keyslot, ciphertext in the image.

load helpers

# A tree of 50 MiB of text in files of many sizes; each line holds the known text.
make_tree() { # FOLDER
    python3 - "$1" <<'END'
import os, sys
left, number = 50 << 20, 0
line = b"the known text of line %07d\n"
while left:
    folder = os.path.join(sys.argv[1], "d%d" % (number % 7), "e%d" % (number % 3))
    os.makedirs(folder, exist_ok=True)
    size = min(left, 1 + (number * 7919 * 127) % 1500000)
    text = b"".join(line % n for n in range(number, number + size // 31 + 1))
    with open(os.path.join(folder, "f%d" % number), "wb") as file:
        file.write(text[:size])
    left, number = left - size, number + 1
END
    is "$(find "$1" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum }')" \
        $((50 << 20)) "bytes in the tree"
}

@test "icesim --run: program, losetup, mkfs.ext4, copy 50 MiB, mount again, diff; m/raw has no plaintext" {
    requires_fuse
    requires_loop
    requires mkfs.ext4 python3
    random_file k 64
    mkdir m plain tree
    make_tree tree
    cat >job <<'END'
set -eux
icectl slot program 0 --alg aes-256-xts --key-file k --data-unit 4096
loop=$(losetup --find --show m/slot/0)
echo $loop >>loops
mkfs.ext4 -q $loop
mount $loop plain
cp -a tree/. plain/
umount plain
mount $loop plain
diff -r --exclude=lost+found tree plain
umount plain
grep -c 'known text' $loop >in_plaintext
grep -c 'known text' m/raw >in_raw || true
losetup -d $loop
END
    export XDG_RUNTIME_DIR=$T
    run at_length icesim --size 128M --mount m --stop-timeout $patience --run 'sh job' 3>&-
    echo "$output"
    is "$status" 0 "exit status"
    is "$(cat in_raw)" 0 "lines with the text in m/raw"
    [ "$(cat in_plaintext)" -gt 100000 ]
    not is_mounted "$T/m"
}

@test "an image that dm-crypt opens is slot/N: aes-xts-plain64, sector size 4096, large IVs" {
    requires_fuse
    requires_loop
    requires cryptsetup dmsetup
    dmsetup targets 2>/dev/null | grep -q '^crypt ' || skip "the kernel has no dm-crypt target"
    start_mounted --image image --size 16M
    program 0
    random_file data $((16 << 20))
    within dd if=data of=m/slot/0 bs=1M
    stop
    loop=$(attach image)
    name=icesim-test-$$
    cryptsetup open --type plain --cipher aes-xts-plain64 --key-size 512 --key-file k0 \
        --sector-size 4096 --iv-large-sectors "$loop" "$name"
    same=0
    cmp data "/dev/mapper/$name" || same=1
    cryptsetup close "$name"
    detach "$loop"
    [ "$same" = 0 ]
}

@test "the image of a stopped server is as it was written, and opens again with the same key" {
    requires icerefcrypt
    start --image image --size 1M
    program 0
    random_file data 65536
    icectl io write --sector 128 --slot 0 --dun 16 data
    stop
    is "$(stat -c %s image)" $((1 << 20)) "size of the image"
    is "$(stat -c %a image)" 600 "mode of the image"
    dd if=image of=cipher bs=64K skip=1 count=1 status=none
    icerefcrypt dec aes-256-xts 4096 16 k0 <cipher | cmp - data
    start --image image
    icectl slot program 3 --alg aes-256-xts --key-file k0 --data-unit 4096
    icectl io read --sector 128 --count 128 --slot 3 --dun 16 | cmp - data
}

@test "examples/quickstart.sh ends with quickstart: ok, over mount and loop device" {
    requires_fuse
    requires_loop
    requires dpkg-query
    # it would install these
    for package in e2fsprogs mount util-linux fuse3 python3 python3-cryptography; do
        dpkg-query -W -f '${Status}' $package 2>/dev/null | grep -q 'ok installed' ||
            skip "$package is not installed"
    done
    run at_length "$top_srcdir/examples/quickstart.sh" 3>&-
    echo "$output"
    is "$status" 0 "exit status"
    is "${lines[-1]}" "quickstart: ok"
    [[ $output == *"losetup --find"* && $output != *"over the socket"* ]]
}

@test "examples/isolation.sh ends with isolation: ok" {
    run at_length "$top_srcdir/examples/isolation.sh" 3>&-
    echo "$output"
    is "$status" 0 "exit status"
    is "${lines[-1]}" "isolation: ok"
    [[ $output == *"the secure monitor holds vm2 to slots 8..15"* ]]
}

@test "examples/slot-pressure.sh ends with slot-pressure: ok" {
    requires_fuse
    requires jq
    run at_length "$top_srcdir/examples/slot-pressure.sh" 3>&-
    echo "$output"
    is "$status" 0 "exit status"
    is "${lines[-1]}" "slot-pressure: ok"
    [[ $output == *"slot evict 0: the slot is claimed by the views of vm0"* ]]
}
