#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
#
# The first process of the user-mode Linux guest, whose root is the host's own, read only: mounts
# what it needs, loads drivers and ciphers, and becomes agent.sh on the console.

exec </dev/tty0 >/dev/tty0 2>&1
export PATH=/run/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir /run/bin /run/disk
for applet in insmod poweroff; do
    ln -s "$(command -v busybox)" /run/bin/$applet
done
# In the order of their dependencies; the ciphers are those of dm-crypt's aes-xts-plain64, and those
# that its support of encrypted keys is loaded with.
for module in drivers/block/virtio_blk crypto/cbc crypto/hmac crypto/ecb crypto/gf128mul crypto/xts \
    security/keys/encrypted-keys/encrypted-keys drivers/md/dm-mod drivers/md/dm-crypt; do
    insmod "/usr/lib/uml/modules/$(uname -r)/kernel/$module.ko"
done
cd /run
exec sh "$(dirname "$0")/agent.sh"
