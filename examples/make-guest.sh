#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Makes a small Linux guest for QEMU out of Debian's packages: FOLDER/vmlinuz is Debian's kernel for
# clouds, FOLDER/initramfs has busybox, the modules of virtio_blk and of PCI, each PROGRAM of this
# machine with its libraries, and INIT as /init. The host's /boot stays as it is.
#
#   make-guest.sh FOLDER INIT [PROGRAM...]
#
# INIT is a shell script; `. /start` in it mounts the usual filesystems, a tmpfs on /run, and loads the
# modules, after which the disk is there. Needs the packages busybox-static and cpio.

set -eu

# In the order of loading.
modules="virtio_ring virtio virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci virtio_blk"

# `apt-get download`, which anyone may.
fetch_kernel() {
    local package
    package=$(apt-cache depends linux-image-cloud-amd64 |
        sed -n 's/.*Depends: \(linux-image-[^ ]*\)/\1/p')
    [ -n "$package" ] && (cd "$work" && apt-get -q download "$package")
}

# The list of packages may be missing, or too old.
unpack_kernel() {
    {
        fetch_kernel || { apt-get -qq update && fetch_kernel; }
    } >"$work/log" 2>&1 || {
        cat "$work/log" >&2
        exit 1
    }
    dpkg-deb -x "$work"/linux-image-*.deb "$work/kernel"
    cp "$work"/kernel/boot/vmlinuz-* "$folder/vmlinuz"
}

add_modules() {
    local module
    mkdir "$root/modules"
    for module in $modules; do
        find "$work/kernel/lib/modules" -name "$module.ko" -exec cp {} "$root/modules" \;
    done
}

# With the libraries that it is linked with, under the paths they have here.
add_program() { # PROGRAM
    local path file
    path=$(command -v "$1")
    for file in "$path" $(ldd "$path" | grep -o '/[^ ]*'); do
        mkdir -p "$root${file%/*}"
        cp -L "$file" "$root$file"
    done
}

make_root() {
    local applet
    mkdir -p "$root"/{bin,dev,proc,run,sys}
    cp "$(command -v busybox)" "$root/bin/busybox"
    for applet in $("$root/bin/busybox" --list); do
        [ "$applet" = busybox ] || ln -s busybox "$root/bin/$applet"
    done
    install -m 755 "$init" "$root/init"
    cat >"$root/start" <<END
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t devtmpfs none /dev
mount -t proc none /proc
mount -t sysfs none /sys
mount -t tmpfs none /run
for module in $modules; do
    insmod "/modules/\$module.ko"
done
END
}

[ $# -ge 2 ] || {
    sed -n '4,/^$/s/^# \{0,1\}//p' "$0"
    exit 2
}
folder=$(realpath "$1") init=$(realpath "$2")
shift 2
work=$(mktemp -d "$folder/make-guest.XXXXXX")
trap 'rm -rf "$work"' EXIT
root=$work/root

unpack_kernel
make_root
add_modules
for program; do
    add_program "$program"
done
(cd "$root" && find . | cpio -o -H newc --quiet -R 0:0) >"$folder/initramfs"
