#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# fio writes, reads back and verifies, on the plaintext of a slot and on the raw media: at odd
# offsets and lengths, in four jobs at once. At full scale there are 40 loops.

load helpers

setup() {
    common_setup
    requires fio jq
    start_mounted --size 64M
    program 0
}

# fio must exit with 0, and have read, to verify, as much as it wrote.
verify() { # FILE FIO-OPTION...
    local file=$1 loops=$((4 * SCALE)) run=0
    shift
    at_length fio --name=v --filename="$file" --rw=randwrite --numjobs=4 \
        --size=16M --offset_increment=16M --loops=$loops --verify=crc32c --verify_fatal=1 \
        --output-format=json --output=result "$@" 3>&- || run=$?
    is "$run" 0 "exit status of fio" || return 1
    sed -n '/^{/,$p' result | # notes come first
        jq -e -r '.jobs[] | "\(.read.io_bytes) \(.write.io_bytes)"' >bytes
    cat bytes
    is "$(wc -l <bytes)" 4 jobs || return 1
    while read -r was_read was_written; do
        is "$was_read" "$was_written" "bytes read, and written" || return 1
        # the last block of a job may not fit into its 16 MiB
        [ "$was_written" -ge $((loops * ((16 << 20) - (1 << 20)))) ] || return 1
    done <bytes
}

@test "fio on slot/0: 512 B to 1 MiB at odd sectors" {
    verify m/slot/0 --bsrange=512-1M --bs_unaligned=1 --ioengine=psync
}

@test "fio on raw: 512 B to 1 MiB at odd sectors" {
    verify m/raw --bsrange=512-1M --bs_unaligned=1 --ioengine=psync
}

@test "fio on slot/0: blocks of 777 bytes" {
    verify m/slot/0 --bs=777 --ioengine=psync
}

@test "fio on raw: blocks of 777 bytes" {
    verify m/raw --bs=777 --ioengine=psync
}

@test "fio on slot/0: blocks of 13000 bytes" {
    verify m/slot/0 --bs=13000 --ioengine=psync
}

@test "fio on raw: blocks of 13000 bytes" {
    verify m/raw --bs=13000 --ioengine=psync
}

@test "fio on slot/0: O_DIRECT, 4 KiB, 16 in flight" {
    verify m/slot/0 --direct=1 --bs=4k --iodepth=16 --ioengine=libaio
}

@test "fio on raw: O_DIRECT, 4 KiB, 16 in flight" {
    verify m/raw --direct=1 --bs=4k --iodepth=16 --ioengine=libaio
}
