# SPDX-License-Identifier: BSD-2-Clause
#
# What every guest is asked to do, over lib.bash. The disk has 64 MiB; each check leaves no filesystem
# mounted.

FIO="fio --name=verify --filename=/dev/vda --direct=1 --ioengine=libaio --thread --verify=crc32c \
    --verify_fatal=1 --minimal"

# The sha256 of some MiB of the image.
sum_of_image() { # FIRST COUNT
    dd if=disk bs=1M skip="$1" count="$2" status=none | sha256sum
}

check_disk() {
    is "$(guest 'cd /sys/block/vda
        cat size ro queue/logical_block_size queue/write_cache queue/max_segments \
            queue/max_segment_size queue/discard_granularity queue/discard_max_bytes \
            queue/write_zeroes_max_bytes serial' | paste -sd,)" \
        '131072,0,512,write back,64,65536,512,2147483648,2147483648,icesim-vm0'
}

# The numbers of the features that driver and device agree on.
check_features() { # NUMBER...
    local bits i got=()
    bits=$(guest 'cat /sys/bus/virtio/devices/virtio0/features')
    for ((i = 0; i < ${#bits}; i++)); do
        [ "${bits:i:1}" = 0 ] || got+=($i)
    done
    is "${got[*]}" "$*" "features"
}

# By many requests at once, of many sizes; then what the guest wrote is the image, byte for byte.
check_verified_io() {
    local sum
    guest "$FIO --rw=randwrite --bsrange=512-256k --iodepth=32 --size=64M"
    guest "$FIO --rw=randrw --bs=4k --iodepth=1 --size=2M"
    sum=$(guest '
        dd if=/dev/urandom of=/run/data bs=1M count=8 status=none
        dd if=/run/data of=/dev/vda bs=1M seek=20 conv=fsync status=none
        sha256sum </run/data')
    is "$(sum_of_image 20 8)" "$sum" "8 MiB that the guest wrote"
    sum=$(guest 'echo 3 >/proc/sys/vm/drop_caches; sha256sum </dev/vda')
    is "$(sum_of_image 0 64)" "$sum" "the whole disk"
}

# The FUSE tree, a socket client without ICE and the guest, each on its own 16 MiB, all verifying for
# as long as the guest takes.
check_company() {
    local tree
    has_fuse || skip "/dev/fuse cannot be opened"
    rm -f stop
    program 0
    guest_begin "$FIO --rw=randwrite --bsrange=512-64k --iodepth=16 --size=16M --loops=3"
    until [ -e stop ]; do
        within fio --name=tree --filename=m/slot/0 --offset=16M --size=16M --rw=randwrite \
            --bsrange=512-64k --verify=crc32c --verify_fatal=1 --minimal || exit 1
    done >fio.out 2>&1 3>&- &
    tree=$!
    launch_driver <<'END'
plain, n = Device(VERSION_1), 0
while not os.path.exists("stop"):
    data, sector = os.urandom(65536), 65536 + n % 256 * 128
    plain.write(sector, data)
    assert plain.read(sector, len(data)) == data
    n += 1
assert n > 0
END
    guest_answer || touch guest.failed
    touch stop
    wait $tree || {
        cat fio.out
        return 1
    }
    await_end "$driver"
    is "$ended" 0 "exit status of the driver"
    [ ! -e guest.failed ]
    icectl slot evict 0
}

# ext4: files whose sums hold with cold caches, an fstrim, and in the image by the host's own tools.
check_filesystem() {
    guest '
        mkfs.ext4 -q -F -E nodiscard /dev/vda
        mkdir -p /run/disk
        mount -t ext4 /dev/vda /run/disk
        cd /run/disk
        mkdir files
        for i in $(seq 40); do
            dd if=/dev/urandom of=files/$i bs=3000 count=$((i * 10)) status=none
        done
        sha256sum files/* >sums
        cd /
        umount /run/disk
        mount -t ext4 /dev/vda /run/disk
        cd /run/disk
        sync
        echo 3 >/proc/sys/vm/drop_caches
        sha256sum -c sums >/dev/null
        rm files/4?
        fstrim -v .
        cd /
        umount /run/disk'
    check_files_of_image
}

check_files_of_image() {
    e2fsck -fn disk
    rm -rf files sums
    debugfs -R 'rdump /files /sums .' disk
    is "$(wc -l <sums)" 40
    sha256sum --quiet -c --ignore-missing sums
}

check_discard() {
    local rest
    guest '
        dd if=/dev/urandom of=/dev/vda bs=1M count=8 conv=fsync status=none
        cd /usr/sbin
        ./blkdiscard -o 1048576 -l 1048576 /dev/vda
        ./blkdiscard -z -o 4194304 -l 2097152 /dev/vda'
    cmp -n 1048576 -i 0:1048576 /dev/zero disk
    cmp -n 2097152 -i 0:4194304 /dev/zero disk
    not cmp -s -n 512 -i 0:1048064 /dev/zero disk
    not cmp -s -n 512 -i 0:2097152 /dev/zero disk
    not cmp -s -n 512 -i 0:4193792 /dev/zero disk
    not cmp -s -n 512 -i 0:6291456 /dev/zero disk
    rest=$(sum_of_image 0 8)
    is "$(guest 'echo 3 >/proc/sys/vm/drop_caches; head -c 8388608 /dev/vda | sha256sum')" \
        "$rest"
}

# What was written is flushed when the guest says so.
check_flush() {
    local before
    before=$(counted .syncs)
    guest 'dd if=/dev/urandom of=/dev/vda bs=4k count=1 conv=fsync status=none'
    [ "$(counted .syncs)" -gt "$before" ]
}

# A mounted filesystem grows into the new room; then the disk is cut again.
check_resize() {
    local sum
    guest '
        mkfs.ext4 -q -F /dev/vda
        mkdir -p /run/disk
        mount -t ext4 /dev/vda /run/disk'
    icectl resize 96M
    guest_eventually '[ $(cat /sys/block/vda/size) = 196608 ]'
    is "$(stat -c %s disk)" 100663296
    guest '
        resize2fs /dev/vda
        [ $(df -m /run/disk | awk "END { print \$2 }") -gt 80 ]
        umount /run/disk'
    e2fsck -fn disk
    sum=$(guest '
        dd if=/dev/urandom of=/run/data bs=1M count=1 status=none
        dd if=/run/data of=/dev/vda bs=1M seek=95 conv=fsync status=none
        sha256sum </run/data')
    is "$(sum_of_image 95 1)" "$sum"
    icectl resize 64M
    guest_eventually '[ $(cat /sys/block/vda/size) = 131072 ]'
    is "$(stat -c %s disk)" 67108864
    guest 'dd if=/dev/vda of=/dev/null bs=1M status=none'
}
