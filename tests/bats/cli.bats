#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# icectl: what it prints, what it takes, and that data comes back as it went in.

load helpers

setup() {
    common_setup
    requires jq
    start --size 32M
}

keys() { # of a JSON object on standard input, sorted
    jq -r 'keys_unsorted | sort | join(" ")'
}

@test "--help and --version: on standard output, exit 0" {
    for line in 'icesim --help' 'icectl --help' 'icectl slot --help' 'icectl io --help' \
        'icectl info --help' 'icectl reset --help' 'icectl key --help' 'icectl function --help' \
        'icectl key derive --help'; do
        $line >out1 2>err1
        [ -s out1 ] && [ ! -s err1 ]
    done
    is "$(icesim --version)" "icesim $(icectl --version | awk '{ print $2 }')"
    icectl --version | grep -qxE 'icectl [0-9]+\.[0-9]+\.[0-9]+'
    for command in wait info caps slot key io function reset stats batch; do
        icectl --help | grep -q "\<$command\>"
    done
}

@test "--json documents are one line each and have their keys" {
    for command in info caps 'slot list' 'function list' stats 'io id' 'io lifetime' 'reset --scope device'; do
        icectl --json $command >document
        is "$(wc -l <document)" 1 "lines of $command"
        jq -e . document >/dev/null
    done
    is "$(icectl --json info | keys)" \
        "capabilities config dialect features features_negotiated features_offered function size status"
    is "$(icectl --json info | jq .config | keys)" \
        "blk_size capability_num capacity_sectors max_segment_sectors max_segments max_slots num_queues seg_max size_max slot_offset writeback"
    is "$(icectl --json slot list | jq '.[0]' | keys)" \
        "alg data_unit fingerprint in_flight key_type owner physical programmed slot"
    is "$(icectl --json stats | keys)" \
        "bytes_read bytes_written ioerr keys ok profile_slots requests syncs tagged unsupp vhost_user violations"
    is "$(icectl --json io lifetime | keys)" "pre_eol_info typ_a typ_b"
    is "$(icectl --json io id | jq -c .)" '{"id":"icesim-vm0"}'
}

@test "info: capacity, features, 88 capabilities of 11 algorithms" {
    icectl --json info >info
    is "$(jq -r .size info)" 0x2000000
    is "$(jq -r .config.capacity_sectors info)" 0x10000
    is "$(jq -r .function,.dialect info | tr '\n' ' ')" "vm0 ice2 "
    is "$(jq -r .config.capability_num info)" 88
    is "$(jq -r '.config.slot_offset, .config.max_slots' info | tr '\n' ' ')" "0 32 "
    for name in VIRTIO_BLK_F_ICE VIRTIO_F_VERSION_1 VIRTIO_BLK_F_FLUSH VIRTIO_BLK_F_ICE_KEY_OPS; do
        jq -e --arg name $name '.features | index($name)' info >/dev/null
    done
    icectl --json caps | jq -S . | diff - <(jq -S .capabilities info)
    is "$(jq '[.capabilities[].data_units[]] | length' info)" 88
    is "$(jq -r '.capabilities[] | "\(.alg) \(.key_bytes)"' info | sort)" \
        "aes-128-cbc-bitlocker 16
aes-128-cbc-essiv 16
aes-128-ecb 16
aes-128-xts 32
aes-192-cbc-bitlocker 24
aes-192-cbc-essiv 24
aes-192-ecb 24
aes-256-cbc-bitlocker 32
aes-256-cbc-essiv 32
aes-256-ecb 32
aes-256-xts 64"
    icectl info | grep -q VIRTIO_BLK_F_ICE
    icectl caps | grep -q aes-256-cbc-bitlocker
}

@test "slot list: key, data unit and fingerprint; evict" {
    requires sha256sum
    program 2 aes-192-cbc-essiv 512
    program 31
    icectl --json slot list >list
    is "$(jq length list)" 32
    print=$({ printf 'icesim key\0'; cat k2; } | sha256sum | head -c 16)
    is "$(jq -c '.[2]' list)" "{\"slot\":2,\"programmed\":true,\"alg\":\"aes-192-cbc-essiv\",\"data_unit\":512,\"key_type\":\"raw\",\"fingerprint\":\"$print\",\"owner\":null,\"in_flight\":0,\"physical\":2}"
    is "$(jq -c '.[3]' list)" '{"slot":3,"programmed":false,"alg":null,"data_unit":null,"key_type":null,"fingerprint":null,"owner":null,"in_flight":0,"physical":3}'
    icectl slot list | grep -q "$print"
    icectl slot evict 2
    icectl slot evict 2
    is "$(icectl --json slot list | jq -c '[.[] | select(.programmed).slot]')" '[31]'
    program 0
    icectl slot evict --all
    is "$(icectl --json slot list | jq -c '[.[] | select(.programmed).slot]')" '[]'
}

@test "a programmed slot takes a new key" {
    program 0
    random_file f 4096
    icectl io write --sector 0 --slot 0 --dun 1 f
    program 0 aes-128-cbc-bitlocker 512
    icectl io write --sector 8 --slot 0 --dun 1 f
    icectl io read --sector 8 --count 8 | cmp - <(icerefcrypt enc aes-128-cbc-bitlocker 512 1 k0 <f)
}

@test "a key file from standard input, in pieces, and without --data-unit" {
    random_file k 64
    { head -c 10 k; sleep 0.2; tail -c +11 k; } |
        icectl slot program 1 --alg aes-256-xts --key-file -
    is "$(icectl --json slot list | jq '.[1].data_unit')" 4096
    random_file f 4096
    icectl io write --sector 0 --slot 1 --dun 3 f
    icectl io read --sector 0 --count 8 | cmp - <(icerefcrypt enc aes-256-xts 4096 3 k <f)
    head -c 63 k >short
    refused 1 'icectl: slot program 2: .*64.*' \
        icectl slot program 2 --alg aes-256-xts --key-file - <short
    cat k k >long
    refused 1 'icectl: slot program 2: .*64.*' \
        icectl slot program 2 --alg aes-256-xts --key-file - <long
}

@test "io read and write of many sizes, plain: one sector to 12 MiB, from files and pipes" {
    for sectors in 1 2 7 255 2049 8191 8192 8193 24577; do
        random_file f $((sectors * 512))
        icectl io write --sector 3 f
        icectl io read --sector 3 --count $sectors -o got
        cmp f got
        is "$(stat -c %s got)" $((sectors * 512))
        cat f | icectl io write --sector 5 -
        icectl io read --sector 5 --count $sectors | cmp - f
        icectl io write --sector 9 <f
        icectl io read --sector 9 --count $sectors | cmp - f
    done
}

@test "io write of nothing, and to the last sector" {
    : >empty
    refused 3 'icectl: io write: sector 0: 0 bytes .*' icectl io write --sector 0 empty
    random_file f 512
    icectl io write --sector 65535 f
    icectl io read --sector 65535 --count 1 | cmp - f
}

@test "a write that fails half way says where; a read gives what came before" {
    random_file f $((8 << 20))
    icectl io write --sector 57344 <(head -c 4194304 f)
    refused 3 'icectl: io write: sector 65536: .*past the end.*' icectl io write --sector 57344 f
    run -3 --separate-stderr bash -c 'icectl io read --sector 57344 --count 16384 >part'
    [[ $stderr == *"past the end"* ]]
    [ "$(stat -c %s part)" -le 4194304 ]
}

@test "numbers in hexadecimal, sizes with K" {
    random_file k 64
    icectl slot program 0x10 --alg aes-256-xts --key-file k --data-unit 4K
    is "$(icectl --json slot list | jq -c '.[16] | [.programmed, .data_unit]')" '[true,4096]'
    random_file f 4096
    icectl io write --sector 0x20 --slot 0x10 --dun 0xFFFFFFFFFFFFFFFF f
    icectl io read --sector 32 --count 0x8 --slot 16 --dun 18446744073709551615 | cmp - f
    icectl slot program 1 --alg aes-256-xts --key-file k --data-unit 0x200
    is "$(icectl --json slot list | jq '.[1].data_unit')" 512
}

@test "io zero, discard, erase: these sectors read zeros, their neighbours stay" {
    random_file f 65536
    for command in zero discard erase; do
        icectl io write --sector 0 f
        icectl io $command --sector 17 --count 5
        { head -c $((17 * 512)) f; head -c 2560 /dev/zero; tail -c +$((22 * 512 + 1)) f; } >want
        icectl io read --sector 0 --count 128 | cmp - want
    done
    icectl io zero --sector 0 --count 65536
    icectl io read --sector 0 --count 65536 | cmp - <(head -c 32M /dev/zero)
}

@test "io flush is counted; id and lifetime" {
    before=$(counted .syncs)
    icectl io flush
    is "$(counted .syncs)" $((before + 1))
    is "$(icectl io id)" icesim-vm0
    is "$(icectl --json io lifetime)" '{"pre_eol_info":1,"typ_a":1,"typ_b":1}'
    icectl io lifetime | grep -q .
}

@test "stats count requests, bytes, statuses" {
    program 0
    random_file f 8192
    icectl --json stats >before
    icectl io write --sector 0 --slot 0 --dun 0 f
    icectl io write --sector 100 f
    icectl io read --sector 0 --count 8 >/dev/null
    refused 3 '.*' icectl io read --sector 65536 --count 1
    icectl --json stats >after
    difference() { jq -s ".[1]$1 - .[0]$1" before after; }
    is "$(difference .bytes_written)" 16384
    is "$(difference .bytes_read)" 4096
    is "$(difference .tagged)" 1
    is "$(difference .ioerr)" 1
    is "$(difference .requests.write)" 2
    icectl stats | grep -q syncs
}

@test "reset --scope function empties the slots, engine raises the generation, device keeps icectl's" {
    program 4
    is "$(icectl --json reset --scope device | jq -r .generation)" 0x1
    is "$(icectl --json reset --scope function | jq -r .generation)" 0x1
    is "$(icectl --json slot list | jq -c '[.[] | select(.programmed).slot]')" '[]'
    program 4
    is "$(icectl --json reset --scope engine | jq -r .generation)" 0x2
    is "$(icectl --json slot list | jq -c '[.[] | select(.programmed).slot]')" '[]'
    program 4
    random_file f 4096
    icectl io write --sector 0 --slot 4 --dun 0 f
    icectl io read --sector 0 --count 8 --slot 4 --dun 0 | cmp - f
}

@test "-d, -f, ICESIM_DIR; XDG_RUNTIME_DIR" {
    unset ICESIM_DIR
    icectl -d run info >/dev/null
    icectl --dir "$T/run" -f vm0 --json info | jq -e . >/dev/null
    icectl -d run --function vm0 --timeout $patience info >/dev/null
    ln -s run icesim
    XDG_RUNTIME_DIR=$T icectl info >/dev/null
    ICESIM_DIR=$T/run XDG_RUNTIME_DIR=/nowhere icectl info >/dev/null
}

@test "wait waits for a server that starts later" {
    stop
    icectl --timeout $patience wait 3>&- &
    waiter=$!
    sleep 0.5
    alive $waiter
    launch --size 1M
    wait $waiter
    icectl info >/dev/null
}

@test "output that cannot be written is an error" {
    refused 1 'icectl: io read: no/file: No such file or directory' icectl io read --sector 0 --count 8 -o no/file
    run -1 --separate-stderr bash -c 'icectl io read --sector 0 --count 8 >/dev/full'
    [[ $stderr == *"No space left"* ]]
    run -1 --separate-stderr bash -c 'icectl --json info >/dev/full'
    [[ $stderr == *"No space left"* ]]
}
