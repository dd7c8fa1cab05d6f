#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# From a bare Debian 12 to an ext4 filesystem on an encrypted keyslot: a file is written and read
# back, its text is not in the raw image, an independent implementation decrypts one block of the
# image, the slot is evicted and the next read refused. Prints each command that it runs; ends with
# `quickstart: ok`.
#
# It installs the Debian packages that are missing (as root, or by sudo), builds icesim unless it is
# installed or built in the tree, and works in a temporary folder that it removes. Without FUSE or
# loop devices (or root, which loop devices need) it does the same over the socket.

. "$(dirname "$0")/lib.sh"

loop='' mounted=''

leave() {
    exec 3<&-
    [ -z "$mounted" ] || umount "$work/plain"
    [ -z "$loop" ] || losetup -d "$loop"
}

# Is there FUSE, and are there loop devices that we may use?
can_mount() {
    [ "$(id -u)" = 0 ] || {
        echo "not root, so without loop devices: over the socket"
        return 1
    }
    { : <>/dev/fuse; } 2>/dev/null || {
        echo "/dev/fuse cannot be opened: over the socket"
        return 1
    }
    truncate -s 1M "$work/probe"
    loop=$(losetup --find --show "$work/probe" 2>/dev/null) || {
        echo "no loop device can be had: over the socket"
        return 1
    }
    losetup -d "$loop"
    loop=''
}

# ---- the scenario ----

say_text() {
    for i in $(seq 1 200); do
        echo "line $i: the quick brown fox jumps over the lazy dog"
    done
}

start() {
    step "a device of 64 MiB whose image is disk.img"
    run 'export ICESIM_DIR=$PWD/run'
    run "icesim --image disk.img --size 64M --dir run $1&"
    server=$!
    run 'icectl wait'
    step "a 512-bit key into keyslot 0: AES-256-XTS, data units of 4096 bytes"
    run 'head -c 64 /dev/urandom >key'
    run 'icectl slot program 0 --alg aes-256-xts --key-file key --data-unit 4096'
    run 'icectl slot list | head -n 3'
}

# With FUSE and a loop device; leaves the number of the file's first block in $block.
by_mount() {
    mkdir tree plain
    start '--mount tree '
    step "ext4 on the plaintext of slot 0"
    run 'loop=$(losetup --find --show tree/slot/0)'
    run 'mkfs.ext4 -q -b 4096 $loop'
    run 'mount $loop plain'
    mounted=1
    run 'cp fox.txt plain/'
    run 'umount plain'
    mounted=''
    step "mounted again, the file is whole"
    run 'mount $loop plain'
    mounted=1
    run 'cmp fox.txt plain/fox.txt'
    block=$(debugfs -R 'blocks /fox.txt' "$loop" 2>/dev/null | awk '{ print $1 }')
    run 'umount plain'
    mounted=''
    run 'losetup -d $loop'
    loop=''
}

# The same over the socket: the filesystem is made in a file, and written through slot 0.
by_socket() {
    mkdir tree
    start ''
    step "ext4 with the file, written through slot 0"
    run 'mkdir plain && cp fox.txt plain/'
    run 'mkfs.ext4 -q -b 4096 -d plain ext4.img 64M'
    run 'icectl io write --sector 0 --slot 0 --dun 0 ext4.img'
    run 'icectl io flush'
    step "read back through slot 0, the file is whole"
    run 'icectl io read --sector 0 --count 131072 --slot 0 --dun 0 -o back.img'
    run 'debugfs -R "cat /fox.txt" back.img 2>/dev/null | cmp fox.txt -'
    block=$(debugfs -R 'blocks /fox.txt' back.img 2>/dev/null | awk '{ print $1 }')
    rm ext4.img back.img
}

compare_ciphertext() {
    step "the text is not in the image"
    run '! grep -c "quick brown fox" disk.img'
    step "block $block of the image, decrypted by the cryptography library of Python"
    cat >decrypt.py <<'END'
import sys
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

block = int(sys.argv[1])
key = open("key", "rb").read()
with open("disk.img", "rb") as image:
    image.seek(block * 4096)
    data = image.read(4096)
tweak = block.to_bytes(16, "little")
decryptor = Cipher(algorithms.AES(key), modes.XTS(tweak)).decryptor()
sys.stdout.buffer.write(decryptor.update(data) + decryptor.finalize())
END
    run "/usr/bin/python3 decrypt.py $block >block"
    run 'head -c 4096 fox.txt | cmp - block'
    run 'head -n 2 block'
}

evict() {
    step "the key is evicted: the next read is refused"
    if [ -e tree/slot/0 ]; then
        run 'exec 3<tree/slot/0'
        run 'icectl slot evict 0'
        refused 'cat <&3'
        refused 'ls tree/slot/0'
        exec 3<&-
    else
        run 'icectl slot evict 0'
    fi
    refused 'icectl io read --sector 0 --count 8 --slot 0 --dun 0'
}

install_missing e2fsprogs mount util-linux fuse3 python3 python3-cryptography
find_programs
cd "$work"
say_text >fox.txt
if can_mount; then by_mount; else by_socket; fi
compare_ciphertext
evict
step "the device is stopped"
stop_server
all_done
