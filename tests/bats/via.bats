#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The two paths of keys: in band, and out of band through the control socket as the drafts' secure
# monitor. What a slot is called on each, and what the monitor refuses.

load helpers

setup() {
    common_setup
    requires jq
    random_file k 64
    random_file f 4096
    key=(--alg aes-256-xts --key-file k)
    print=$({ printf 'icesim key\0'; cat k; } | sha256sum | head -c 16)
}

# Slots of a function that hold the key k, as `slot/physical`.
holding() { # FUNCTION
    icectl -f "$1" --json slot list |
        jq -r --arg print "$print" '.[] | select(.fingerprint == $print) | "\(.slot)/\(.physical)"' |
        paste -sd ' '
}

@test "a function without key commands: the other path is taken, slots keep their names" {
    for dialect in ice1 ice2; do
        for addressing in physical:8 virtual:0; do
            first=${addressing#*:}
            start --size 4M --dialect $dialect --strict --function vm0,slots=0+8,sectors=0+4096 \
                --function "vm1,slots=8+8,sectors=4096+4096,addr=${addressing%:*}"
            icectl -f vm1 slot program $((first + 2)) "${key[@]}"
            is "$(holding vm1)" "$((first + 2))/10"
            is "$(holding vm0)" ""
            icectl -f vm1 io write --sector 0 --slot $((first + 2)) --dun 7 f
            icectl -f vm1 io read --sector 0 --count 8 --slot $((first + 2)) --dun 7 | cmp - f
            refused 1 "icectl: slot program $((first + 8)): vm1 has no slot $((first + 8))" \
                icectl -f vm1 slot program $((first + 8)) "${key[@]}"
            refused 1 "icectl: slot evict 300: vm1 has no slot 300" icectl -f vm1 slot evict 300
            refused 1 'icectl: slot program 8: vm1 takes no keys in band' \
                icectl -f vm1 slot program 8 "${key[@]}" --via in-band
            refused 1 'icectl: slot evict --all: vm1 takes no keys in band' \
                icectl -f vm1 slot evict --all --via in-band
            icectl -f vm1 slot evict $((first + 2))
            is "$(holding vm1)" ""
            for slot in 0 3 7; do
                icectl -f vm1 slot program $((first + slot)) "${key[@]}"
            done
            icectl -f vm0 slot program 1 "${key[@]}"
            icectl -f vm1 slot evict --all
            is "$(holding vm1)" ""
            is "$(holding vm0)" 1/1
            stop
        done
    done
}

@test "--via out-of-band names physical slots, --via in-band those of the wire" {
    for dialect in ice1 ice2 inline; do
        start --size 4M --dialect $dialect --function vm0,slots=0+8,sectors=0+4096 \
            --function vm1,slots=8+8,sectors=4096+4096,addr=virtual
        icectl -f vm1 slot program 9 "${key[@]}" --via out-of-band
        is "$(holding vm1)" 1/9
        icectl -f vm1 slot program 2 "${key[@]}" --via in-band
        icectl -f vm1 slot program 3 "${key[@]}"
        is "$(holding vm1)" "1/9 2/10 3/11"
        icectl -f vm1 slot evict 10 --via out-of-band
        icectl -f vm1 slot evict 3 --via in-band
        is "$(holding vm1)" 1/9
        icectl -f vm1 slot program 7 "${key[@]}"
        icectl -f vm1 slot evict --all --via out-of-band
        is "$(holding vm1)" ""
        stop
    done
}

@test "inline with physical slots: its space has no first slot, its driver knows it all the same" {
    start_mounted --size 4M --function vm1,slots=0+2,sectors=0+4096 \
        --function vm2,slots=4+4,sectors=4096+4096,dialect=inline,addr=physical
    icectl -f vm2 info | grep -x 'keyslots: *4\.\.7'
    is "$(icectl -f vm2 --json info | jq -c '.config | [.slot_offset, .max_slots]')" "[4,4]"
    within cat m/vm2/status.json >status
    is "$(jq -c '.info.config | [.slot_offset, .max_slots]' status)" "[4,4]"
    icectl -f vm1 slot program 1 "${key[@]}"
    for slot in 4 5 7; do
        icectl -f vm2 slot program $slot "${key[@]}"
    done
    is "$(holding vm2)" "4/4 5/5 7/7"
    icectl -f vm2 io write --sector 0 --slot 7 --dun 0 f
    within cmp -n 4096 f m/vm2/slot/7
    icectl -f vm2 slot evict --all
    is "$(holding vm2)" ""
    is "$(holding vm1)" 1/1
    icectl -f vm2 view add v "${key[@]}" --fallback forbid
    within dd if=f of=m/vm2/view/v bs=4096 seek=3 conv=notrunc status=none
    within dd if=m/vm2/view/v bs=4096 skip=3 count=1 status=none | cmp - f
    is "$(holding vm2)" 4/4
}

@test "the monitor holds a function to its window" {
    start --size 4M --function vm0,slots=0+8,sectors=0+4096 --function vm1,slots=8+8,sectors=4096+4096
    icectl -f vm0 slot program 7 "${key[@]}" --via out-of-band
    for slot in 0 7 16 31 32 255 256 65536 4294967295; do
        refused 1 "icectl: slot program $slot: the secure monitor holds vm1 to slots 8\.\.15" \
            icectl -f vm1 slot program $slot "${key[@]}" --via out-of-band
        refused 1 "icectl: slot evict $slot: the secure monitor holds vm1 to slots 8\.\.15" \
            icectl -f vm1 slot evict $slot --via out-of-band
    done
    is "$(holding vm0)" 7/7
    is "$(holding vm1)" ""
}

@test "an unsafe monitor lets one function destroy another's key; the device still does not" {
    start --size 4M --unsafe-monitor --function vm0,slots=0+8,sectors=0+4096 \
        --function vm1,slots=8+8,sectors=4096+4096
    icectl -f vm0 slot program 7 "${key[@]}"
    refused 1 "icectl: slot evict 7: outside vm1's window 8\.\.15" icectl -f vm1 slot evict 7
    icectl -f vm0 io write --sector 0 --slot 7 --dun 7 f
    random_file other 64
    icectl -f vm1 slot program 7 --alg aes-256-xts --key-file other --via out-of-band
    is "$(holding vm0)" ""
    icectl -f vm0 io read --sector 0 --count 8 --slot 7 --dun 7 >got
    not cmp -s got f
    icectl -f vm1 slot evict 7 --via out-of-band
    refused 3 'icectl: io read: sector 0: slot 7 is empty' \
        icectl -f vm0 io read --sector 0 --count 8 --slot 7 --dun 7
    refused 1 "icectl: slot evict 32: slot 32 is outside the engine's slots 0\.\.31" \
        icectl -f vm1 slot evict 32 --via out-of-band
}

@test "a number that the wire cannot carry never gets there" {
    for dialect in ice1 ice2; do
        start --size 1M --dialect $dialect
        refused 1 'icectl: slot program 256: .*256.*' icectl slot program 256 "${key[@]}"
        refused 1 'icectl: slot evict 256: .*256.*' icectl slot evict 256
        refused 1 'icectl: io read: .*256.*' icectl io read --sector 0 --count 8 --slot 256 --dun 0
        refused 1 'icectl: io read: .*64 bits.*' \
            icectl io read --sector 0 --count 8 --slot 0 --dun 0x10000000000000000
        stop
    done
    start --size 1M --dialect inline
    refused 1 'icectl: slot program 1: .*aes-256-xts alone' \
        icectl slot program 1 --alg aes-128-ecb --key-file <(head -c 16 k)
}

@test "DUNs of 256 bits; what the cipher cannot tell apart is refused" {
    requires icerefcrypt
    start --size 1M --dialect inline
    icectl slot program 0 "${key[@]}"
    random_file f 8192
    icectl io write --sector 0 --slot 0 --dun 0x123456789abcdef f
    icectl io read --sector 0 --count 16 |
        cmp - <(icerefcrypt enc aes-256-xts 4096 0x123456789abcdef k <f)
    icectl io write --sector 0 --slot 0 --dun 0x0123456789abcdeffffffffffffffffe f
    icectl io read --sector 0 --count 16 --slot 0 --dun 1512366075204170947414340898899623934 |
        cmp - f
    for dun in 0xffffffffffffffffffffffffffffffff 0x100000000000000000000000000000000; do
        refused 3 'icectl: io write: sector 0: .*DUN.*128 bits.*' \
            icectl io write --sector 0 --slot 0 --dun $dun f
    done
    refused 2 'icectl: io write: --dun .*more than 256 bits' icectl io write --sector 0 --slot 0 \
        --dun 0x1000000000000000000000000000000000000000000000000000000000000000000 f
}

@test "usage errors" {
    for line in 'slot program 1 --alg aes-256-xts --key-file k --via' \
        'slot program 1 --alg aes-256-xts --key-file k --via elsewhere' \
        'slot evict 1 --via in' 'slot evict --via in-band' 'slot list --via in-band' \
        'key' 'key make' 'key import' 'key prepare k' 'key derive --key-file' 'key generate k' \
        'key generate --key-file k' 'function' 'function add' 'function add a b' 'function list a' \
        'function remove' 'function remove a b' 'caps --require' 'caps --require aes-256-xts' \
        'caps --require aes-256-xts:' 'caps --require :4096' 'caps --require aes-512-xts:4096' \
        'caps --require aes-256-xts:4096,raw' 'caps --require aes-256-xts:4096,wrapped,' \
        'caps --require aes-256-xts:4096,' 'caps aes-256-xts:4096'; do
        refused 2 'icectl: .*' icectl $line
    done
}

@test "caps --require: 0, or 1 and one line" {
    start --size 4M --function vm0,slots=0+8,sectors=0+4096,caps=ufs --function plain,slots=0+0
    for want in aes-256-xts:4096 aes-256-xts:4K aes-256-xts:4096,wrapped; do
        is "$(icectl caps --require $want 2>&1)" ""
    done
    refused 1 'icectl: caps: vm0 has no aes-256-xts with data units of 512 bytes' \
        icectl caps --require aes-256-xts:512
    refused 1 'icectl: caps: vm0 has no aes-128-xts with data units of 4096 bytes' \
        icectl caps --require aes-128-xts:4096,wrapped
    refused 1 'icectl: caps: plain has no aes-256-xts with data units of 4096 bytes' \
        icectl -f plain caps --require aes-256-xts:4096
    stop
    start --size 1M
    refused 1 'icectl: caps: a wrapped key is one of aes-256-xts, not of aes-128-xts' \
        icectl caps --require aes-128-xts:4096,wrapped
}

@test "info and caps: where each dialect tells them" {
    start --size 4M --function one,dialect=ice1,slots=0+4,sectors=0+1024 \
        --function two,dialect=ice2,slots=4+4,sectors=1024+1024,caps=ufs \
        --function three,dialect=inline,slots=8+4,sectors=2048+1024,key-types=raw,dun-bits=64,caps=emmc \
        --function strict,dialect=inline,slots=12+4,sectors=3072+1024,strict,key-types=wrapped
    is "$(icectl -f one caps)" "ALG                    KEY  DATA UNITS
aes-256-xts            64  512 1K 2K 4K 8K 16K 32K 64K"
    is "$(icectl -f two caps | tail -n +2)" "aes-256-xts            64  4K"
    is "$(icectl -f three caps | tail -n +2)" "aes-256-xts            64  512 1K 2K 4K"
    for function in one two three strict; do
        icectl -f $function --json caps | diff - <(icectl -f $function --json info | jq -c .capabilities)
    done
    is "$(icectl -f one info | grep -E '^(dialect|keyslots|DUN|key types):' | tr -s ' ')" "dialect: ice1
keyslots: 0..3"
    is "$(icectl -f three info | grep -E '^(dialect|keyslots|DUN|key types):' | tr -s ' ')" "dialect: inline
keyslots: 0..3
DUN: 64 bits
key types: raw"
    icectl -f strict info | grep -qx 'key types:       wrapped'
    is "$(icectl -f three --json info | jq -c '.config | [.dun_bytes, .key_types]')" '[8,["raw"]]'
}
