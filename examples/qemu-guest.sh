#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# A guest on icesim's disk, by vhost-user: QEMU boots Debian's kernel, whose own virtio_blk sees the
# disk, writes and verifies it and puts a filesystem on it; then the host reads the guest's file out
# of the image. Prints each command that it runs; ends with `qemu-guest: ok`. The QEMU command is
# also what a VM of yours needs: see `the disk for a VM of yours` at the end of the output.
#
# It installs the Debian packages that are missing (as root, or by sudo), fetches the kernel's
# package without installing it, builds icesim unless it is installed or built in the tree, and works
# in a temporary folder that it removes. The guest is emulated: about 10 s, and no KVM is needed.

. "$(dirname "$0")/lib.sh"

examples=$(cd "$(dirname "$0")" && pwd)

# What runs in the guest.
write_init() {
    cat >init <<'END'
#!/bin/sh
. /start
set -e
trap 'poweroff -f' EXIT
echo "the guest runs $(uname -sr)"
echo "/dev/vda: $(cat /sys/block/vda/size) sectors, $(cat /sys/block/vda/serial)"
fio --name=verify --filename=/dev/vda --rw=randwrite --bsrange=512-64k --size=32M --direct=1 \
    --ioengine=libaio --iodepth=32 --thread --verify=crc32c --verify_fatal=1 --minimal >/run/fio
echo "32 MiB in random places: written, read, verified"
mkfs.ext4 -q -F /dev/vda
mkdir /run/disk
mount /dev/vda /run/disk
for i in $(seq 200); do
    echo "line $i: written by the guest"
done >/run/disk/guest.txt
umount /run/disk
echo "a file on ext4: guest.txt"
echo "guest: ok"
END
}

make_guest() {
    step "a guest: Debian's kernel, and an initramfs of busybox, fio and mkfs.ext4"
    write_init
    run "$examples/make-guest.sh . init fio mkfs.ext4"
}

start() {
    step "a device of 64 MiB whose image is disk.img, for a VMM at \$PWD/vm0"
    run 'export ICESIM_DIR=$PWD/run'
    run 'icesim --image disk.img --size 64M --dir run --vhost-user vm0=$PWD/vm0 &'
    server=$!
    run 'icectl wait'
}

boot() {
    step "the guest boots, uses the disk and powers off"
    run 'timeout -k 5 300 qemu-system-x86_64 -machine q35 -cpu max -m 512 -nodefaults -no-reboot \
    -object memory-backend-memfd,id=memory,size=512M,share=on -numa node,memdev=memory \
    -chardev socket,id=disk,path=$PWD/vm0,reconnect=1 \
    -device vhost-user-blk-pci,chardev=disk \
    -kernel vmlinuz -initrd initramfs -append "console=ttyS0 quiet panic=-1" \
    -display none -serial stdio </dev/null | tee console'
    run "grep -q '^guest: ok' console"
}

show_media() {
    step "the image is what the guest wrote: the host reads its file"
    run 'icectl stats | head -n 12'
    run 'e2fsck -fn disk.img'
    run 'debugfs -R "cat /guest.txt" disk.img >guest.txt'
    run 'tail -n 2 guest.txt'
    run '[ $(grep -c "^line [0-9]*: written by the guest$" guest.txt) = 200 ]'
}

say_more() {
    step "the disk for a VM of yours"
    cat <<'END'
    icesim --image disk.img --size 64M --vhost-user vm0=/run/icesim/vm0
    qemu-system-x86_64 ... -m 2G \
        -object memory-backend-memfd,id=memory,size=2G,share=on -numa node,memdev=memory \
        -chardev socket,id=disk,path=/run/icesim/vm0,reconnect=1 \
        -device vhost-user-blk-pci,chardev=disk

    The guest's memory must be shared, so that icesim can read and write it. QEMU's own driver model
    passes no feature that it does not know, so this guest has no inline encryption: what it writes
    is in the image as it wrote it. See ATTACHING A GUEST in icesim(1).
END
}

install_missing busybox-static cpio e2fsprogs fio qemu-system-x86
find_programs
cd "$work"
make_guest
start
boot
show_media
step "the device is stopped"
stop_server
say_more
all_done
