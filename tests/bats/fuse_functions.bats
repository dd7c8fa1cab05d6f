#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The mount of several functions: a folder for each, which comes and goes with its function, over
# one media.

load helpers

setup() {
    common_setup
    requires_fuse
}

# Four functions of 16 MiB each, in all dialects; vm3 has an image of its own.
start_four() { # [OPTION...]
    start_mounted --image image --size 48M --slots 32 \
        --function vm0,slots=0+8,sectors=0+32768 \
        --function vm1,slots=8+8,sectors=32768+32768,dialect=ice1 \
        --function vm2,slots=16+8,sectors=65536+32768,dialect=inline \
        --function vm3,slots=24+8,image=own,size=16M,addr=virtual "$@"
}

# Programs a slot of a function, by its name on the wire, with the key kFUNCTION.
program_of() { # FUNCTION SLOT [DATA-UNIT]
    random_file "k$1" 64
    icectl -f "$1" slot program "$2" --alg aes-256-xts --key-file "k$1" --data-unit "${3:-4096}"
}

program_four() {
    program_of vm0 3
    program_of vm1 8
    program_of vm2 0
    program_of vm3 7
}

@test "one function has no folder; several have one each, and the first is the top's too" {
    start_mounted --size 16M --function vm0,slots=0+8,sectors=0+16384
    is "$(within ls m | tr '\n' ' ')" "raw slot status.json view "
    fails_with "No such file or directory" ls m/vm0
    icectl function add vm1,slots=8+8,sectors=16384+16384
    is "$(within ls m | tr '\n' ' ')" "raw slot status.json view vm0 vm1 "
    is "$(within ls m/vm1 | tr '\n' ' ')" "raw slot status.json view "
    program_of vm0 5
    is "$(within ls m/slot m/vm0/slot m/vm1/slot | tr '\n' ' ')" "m/slot: 5  m/vm0/slot: 5  m/vm1/slot: "
    [ m/slot/5 -ef m/vm0/slot/5 ]
    program_of vm1 9
    is "$(within ls m/vm1/slot)" 9
    icectl function remove vm0
    is "$(within ls m m/slot | tr '\n' ' ')" "m: raw slot status.json view  m/slot: 9 "
    within cat m/status.json | grep -q '"function":"vm1"'
}

@test "slots go by their names on the wire, sizes by the window" {
    start_four
    program_four
    is "$(within ls m/vm0/slot m/vm1/slot m/vm2/slot m/vm3/slot | tr '\n' ' ')" \
        "m/vm0/slot: 3  m/vm1/slot: 8  m/vm2/slot: 0  m/vm3/slot: 7 "
    is "$(within stat -c %s m/raw m/vm1/raw m/vm3/raw m/vm2/slot/0 | tr '\n' ' ')" \
        "50331648 16777216 16777216 16777216 "
    fails_with "No such file or directory" stat m/vm1/slot/0
    fails_with "No such file or directory" stat m/vm2/slot/16
}

@test "status.json of each function is what icectl says of it" {
    requires jq
    start_four
    program_four
    for function in vm0 vm1 vm2 vm3; do
        within cat m/$function/status.json | jq -S .slots >got
        icectl --json -f $function slot list | jq -S . | diff - got
        within cat m/$function/status.json | jq -S .info >got
        icectl --json -f $function info | jq -S . | diff - got
        jq -e '.capabilities[] | select(.alg == "aes-256-xts") | .data_units | length == 8' got
    done
    within cmp m/status.json m/vm0/status.json
}

@test "the raw files of the windows are the whole raw, byte for byte; an own image is apart" {
    start_four
    program_four
    random_file a $((16 << 20))
    for file in vm0/slot/3 vm1/slot/8 vm2/slot/0 vm3/slot/7; do
        within dd if=a of=m/$file bs=1M conv=notrunc status=none
    done
    within cat m/vm0/raw m/vm1/raw m/vm2/raw | cmp - m/raw
    within cmp m/raw image
    within cmp m/vm3/raw own
    for n in 0 1 2; do
        icerefcrypt enc aes-256-xts 4096 0 kvm$n <a | cmp - m/vm$n/raw
    done
    icerefcrypt enc aes-256-xts 4096 0 kvm3 <a | cmp - own
    random_file b 777
    within dd if=b of=m/vm1/raw bs=777 seek=3 conv=notrunc
    within dd if=m/raw bs=1 skip=$((16777216 + 3 * 777)) count=777 status=none | cmp - b
}

@test "parts of one data unit through vm1/slot, vm1/raw and raw at once: none is lost" {
    requires python3
    start_mounted --size 16M --function vm0,slots=0+8,sectors=0+1301 \
        --function vm1,slots=8+8,sectors=1301+8192
    program_of vm1 8 65536
    cat >program.py <<'END'
import os
base, half = 1301 * 512, 4 * 65536
raw, own = os.open("m/raw", os.O_RDWR), os.open("m/vm1/raw", os.O_RDWR)
slot = os.open("m/vm1/slot/8", os.O_RDWR)
os.pwrite(slot, bytes(2 * half), 0)
# Both raw files write parts of the same sectors, the slot parts of the units before them.
def through(fd, at, step, part):
    if os.fork() == 0:
        for i in range(half // step):
            if os.pwrite(fd, part, at + i * step) != len(part):
                os._exit(1)
        os._exit(0)
for turn in range(8):
    through(slot, 0, 100, bytes([turn]) * 100)
    through(own, half, 128, bytes([turn]) * 64)
    through(raw, base + half + 64, 128, bytes([turn + 128]) * 64)
    assert [os.wait()[1] for i in range(3)] == [0, 0, 0]
    assert os.pread(slot, half // 100 * 100, 0) == bytes([turn]) * (half // 100 * 100), turn
    want = (bytes([turn]) * 64 + bytes([turn + 128]) * 64) * (half // 128)
    assert os.pread(own, half, half) == want, turn
END
    at_length python3 program.py
}

@test "fio --verify on the slots of four functions at once" {
    requires fio jq
    start_four
    program_four
    loops=$((2 * SCALE)) run=0
    at_length fio --output-format=json --output=result \
        --rw=randwrite --size=16M --loops=$loops --verify=crc32c --verify_fatal=1 \
        --ioengine=psync --bsrange=512-256k --bs_unaligned=1 \
        --name=a --filename=m/vm0/slot/3 --name=b --filename=m/vm1/slot/8 \
        --name=c --filename=m/vm2/slot/0 --name=d --filename=m/vm3/slot/7 3>&- || run=$?
    is "$run" 0 "exit status of fio"
    sed -n '/^{/,$p' result | jq -r '.jobs[] | "\(.read.io_bytes) \(.write.io_bytes)"' >bytes
    cat bytes
    is "$(wc -l <bytes)" 4 jobs
    while read -r was_read was_written; do
        is "$was_read" "$was_written" "bytes read, and written"
        [ "$was_written" -ge $((loops * (15 << 20))) ]
    done <bytes
}

@test "functions come and go below the mount; others' open files are not disturbed" {
    start_four
    program_four
    random_file a 8192
    within dd if=a of=m/vm0/slot/3 bs=8192 conv=notrunc status=none
    exec 7<m/vm0/slot/3
    icectl function remove vm1
    fails_with "No such file or directory" ls m/vm1
    icectl function add vm1,slots=8+2,sectors=32768+16
    is "$(within stat -c %s m/vm1/raw)" 8192
    is "$(within ls m/vm1/slot)" ""
    program_of vm1 9
    within dd if=m/vm1/slot/9 bs=4096 count=1 of=got status=none
    within dd bs=8192 count=1 status=none <&7 | cmp - a
    before=$(within stat -c %i m/vm1/slot/9)
    eventually icectl function remove vm1 # a file is closed a little later than its user is gone
    icectl function add vm1,slots=8+2,sectors=32768+16
    program_of vm1 9
    is "$(($(within stat -c %i m/vm1/slot/9) != before))" 1 "another function, another inode"
}

@test "an open file keeps its function; removal goes through once it is closed" {
    start_four
    program_four
    for file in slot/8 raw status.json; do
        exec 7<m/vm1/$file
        refused 1 "icectl: function remove vm1: file vm1/$file is open" icectl function remove vm1
        is "$(within ls m/vm1/slot)" 8
        icectl -f vm1 io read --sector 0 --count 8 --slot 8 --dun 0 -o got
        exec 7<&-
    done
    eventually icectl function remove vm1
    fails_with "No such file or directory" ls m/vm1
    exec 7<m/slot/3
    refused 1 "icectl: function remove vm0: file vm0/slot/3 is open" icectl function remove vm0
    exec 7<&-
    eventually icectl function remove vm0
}

@test "read-only: slots are 0400 and EROFS, the owner's raw is written" {
    start_mounted --size 16M --function vm0,slots=0+8,sectors=0+16384,ro \
        --function vm1,slots=8+8,sectors=16384+16384
    program_of vm0 2
    is "$(within stat -c %a m/slot/2 m/vm0/slot/2 m/vm0/raw | tr '\n' ' ')" "400 400 600 "
    random_file a 4096
    within dd if=a of=m/vm0/raw bs=4096 conv=notrunc status=none
    within dd if=m/vm0/slot/2 bs=4096 count=1 status=none >got
    icerefcrypt dec aes-256-xts 4096 0 kvm0 <a | cmp - got
    [ "$(id -u)" = 0 ] || skip "others have no permission to begin with"
    fails_with "Read-only file system" dd if=a of=m/vm0/slot/2 bs=4096 conv=notrunc
    within dd if=m/raw bs=4096 count=1 status=none | cmp - a
}

@test "read-only: a loop device is read-only" {
    requires_loop
    start_mounted --size 16M --function vm0,slots=0+8,ro
    program_of vm0 2
    loop=$(attach m/slot/2)
    is "$(losetup -n -O RO "$loop" | tr -d ' ')" 1
}

@test "losetup on vm1/slot/8: mkfs, files, e2fsck; it keeps its function, and a stop names it" {
    requires_loop
    requires mkfs.ext4 e2fsck
    start_four --stop-timeout 1
    program_four
    loop=$(attach m/vm1/slot/8)
    within mkfs.ext4 -q -b 4096 "$loop"
    mkdir plain
    mount "$loop" plain
    random_file plain/file $((4 << 20))
    sum=$(sum_of plain/file)
    umount plain
    within e2fsck -fn "$loop"
    refused 1 "icectl: function remove vm1: file vm1/slot/8 is open" icectl function remove vm1
    mount "$loop" plain
    is "$(sum_of plain/file)" "$sum"
    umount plain
    kill "$server"
    await_end
    is "$ended" 1 "exit status"
    grep -F "stop: cut off: vm1/slot/8, $loop on vm1/slot/8" log
}

@test "a DUN that the width does not hold is refused, and nothing is written" {
    start_mounted --image image --size 3T --function vm0,dun-bits=32
    program_of vm0 0 512
    random_file a 512
    within dd if=a of=m/slot/0 bs=512 seek=$(((1 << 32) - 1)) conv=notrunc status=none
    within dd if=m/slot/0 bs=512 skip=$(((1 << 32) - 1)) count=1 status=none | cmp - a
    before=$(stat -c %b image)
    fails_with "Value too large" dd if=a of=m/slot/0 bs=512 seek=$((1 << 32)) conv=notrunc
    fails_with "Value too large" dd if=m/slot/0 bs=512 skip=$((1 << 32)) count=1
    is "$(stat -c %b image)" "$before" "blocks of the image"
}

@test "64 functions: a folder each" {
    start_mounted --size 64M --slots 64 $(for i in $(seq 0 63); do
        echo "--function f$i,slots=$i+1,sectors=$((i * 2048))+2048"
    done)
    is "$(within ls m | wc -l)" 68
    for i in 0 31 63; do
        program_of f$i $i
        random_file a 65536
        within dd if=a of=m/f$i/slot/$i bs=64K conv=notrunc status=none
        icerefcrypt enc aes-256-xts 4096 0 kf$i <a >want
        within dd if=m/raw bs=1M skip=$i count=1 status=none | head -c 65536 | cmp - want
    done
}
