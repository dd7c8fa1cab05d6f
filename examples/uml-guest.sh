#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# A guest of user-mode Linux beside an encrypted keyslot. The host writes a text through slot/0; the
# guest, whose disk is the same media as stored, opens it by dm-crypt with the same key, reads the
# text and writes an answer; the host reads that through slot/0. So a kernel's own cipher agrees with
# icesim's. Prints each command that it runs; ends with `uml-guest: ok`.
#
# It installs the Debian packages that are missing (as root, or by sudo), builds icesim unless it is
# installed or built in the tree, and works in a temporary folder that it removes. It needs FUSE, and
# neither KVM nor root. The guest's root is the host's own files, read only.

. "$(dirname "$0")/lib.sh"

# The first process of the guest: what a distribution does at boot, then the guest's part of the job.
make_init() {
    cat >init <<END
#!/bin/bash
exec </dev/tty0 >/dev/tty0 2>&1
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
trap 'busybox poweroff -f' EXIT
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
for module in drivers/block/virtio_blk \\
    crypto/cbc crypto/hmac crypto/ecb crypto/gf128mul crypto/xts \\
    security/keys/encrypted-keys/encrypted-keys drivers/md/dm-mod drivers/md/dm-crypt; do
    busybox insmod /usr/lib/uml/modules/\$(uname -r)/kernel/\$module.ko || exit
done
cd "$work"
. ./job
END
    chmod +x init
}

make_job() {
    cat >job <<'END'
guest() {
    printf 'guest# %s\n' "$1"
    eval "$1" || exit
}
guest 'uname -sr'
guest 'lsblk -o NAME,SIZE /dev/vda'
guest 'cryptsetup open --type plain --cipher aes-xts-plain64 --key-size 512 --key-file key \
    --sector-size 4096 --iv-large-sectors /dev/vda mirror'
guest 'head -n 2 /dev/mapper/mirror'
guest 'dd if=answer of=/dev/mapper/mirror bs=4096 seek=1 conv=sync,fsync status=none'
guest 'cryptsetup close mirror'
echo 'guest: ok'
END
}

start() {
    step "a device of 64 MiB, with a socket for a virtual machine"
    run 'export ICESIM_DIR=$PWD/run'
    run 'icesim --image disk.img --size 64M --dir run --mount tree --vhost-user vm0=vm0.vhost &'
    server=$!
    run 'icectl wait'
    step "a 512-bit key into keyslot 0; the host writes a text through it"
    run 'head -c 64 /dev/urandom >key'
    run 'icectl slot program 0 --alg aes-256-xts --key-file key --data-unit 4096'
    run 'cp letter tree/slot/0'
}

boot() {
    step "user-mode Linux boots from the host's files; its /dev/vda is the media as stored"
    run 'HOME=$PWD TMPDIR=$PWD timeout -s KILL 120 linux.uml mem=256M \
    virtio_uml.device=$PWD/vm0.vhost:2 root=/dev/root rootfstype=hostfs ro init=$PWD/init \
    con=null con0=null,fd:1 ssl=null console=stderr stderr=1 quiet </dev/null 2>console | tee guest.out'
    run 'grep -q "^guest: ok" guest.out'
}

{ : <>/dev/fuse; } 2>/dev/null || {
    echo "uml-guest: /dev/fuse cannot be opened" >&2
    exit 1
}
install_missing user-mode-linux busybox-static cryptsetup-bin fuse3 util-linux
find_programs
cd "$work"
mkdir tree
printf 'attack at dawn, %s\n' '6am' 'from the north' >letter
printf 'understood, %s\n' 'we come' 'with torches' >answer
make_init
make_job
start
boot
step "the host reads the guest's answer through slot/0"
run 'dd if=tree/slot/0 bs=4096 skip=1 count=1 status=none | head -n 2 | tee got'
run 'cmp got answer'
step "neither is in the image"
run '! grep -c -e "attack at dawn" -e understood disk.img'
step "the device is stopped"
stop_server
all_done
