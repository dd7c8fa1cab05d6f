#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# What is stored through a view is what a second implementation, OpenSSL's libcrypto, gives: by
# keyslots, by the fallback, with the key in each request, over layers; and where a DUN does not fit.

load helpers

setup() {
    common_setup
    requires_fuse
    requires icerefcrypt jq
}

algs='aes-128-xts aes-256-xts
    aes-128-cbc-essiv aes-192-cbc-essiv aes-256-cbc-essiv
    aes-128-cbc-bitlocker aes-192-cbc-bitlocker aes-256-cbc-bitlocker
    aes-128-ecb aes-192-ecb aes-256-ecb'
units='512 1024 2048 4096 8192 16384 32768 65536'

size=$((3 * 65536)) # of each view: whole data units of any size
sectors=$((size / 512))
dun=0xfffffffe # so that the first limb carries

# Where a view lies that is compared: FUNCTION SECTOR COUNT, in the order of its bytes.
places=("vm0 24 $sectors")

stored() {
    local place function sector count
    for place in "${places[@]}"; do
        read -r function sector count <<<"$place"
        icectl -f "$function" io read --sector "$sector" --count "$count" || return 1
    done
}

store() { # FILE
    local place function sector count done=0
    for place in "${places[@]}"; do
        read -r function sector count <<<"$place"
        dd if="$1" bs=512 skip=$done count="$count" status=none |
            icectl -f "$function" io write --sector "$sector" || return 1
        done=$((done + count))
    done
}

# Written through the view in pieces that are no data units, and stored as libcrypto says; stored by
# libcrypto, and read through the view.
compare_view() { # FILE ALG DATA-UNIT
    random_file plain $size
    random_file other $size
    icerefcrypt enc "$2" "$3" $dun k <plain >want
    within dd if=plain of="$1" bs=100000 conv=notrunc status=none
    stored | cmp - want || return 1
    icerefcrypt enc "$2" "$3" $dun k <other >want
    store want || return 1
    within cmp other "$1"
}

# Every algorithm and data unit, in a view v of a function or layer, whose folder is FOLDER. NATIVE
# are the algorithms that are not left to the fallback.
compare_all() { # NATIVE FOLDER FUNCTION SECTOR [OPTION...]
    local native=$1 folder=$2 function=$3 sector=$4 alg unit path
    shift 4
    for alg in $algs; do
        path=fallback
        ! grep -qw -- "$alg" <<<"$native" || path=native
        random_file k "$(key_bytes "$alg")"
        for unit in $units; do
            icectl --json -f "$function" view add v --alg "$alg" --key-file k --data-unit "$unit" \
                --sector "$sector" --count $sectors --dun $dun "$@" >added || return 1
            is "$(jq -r .path added)" "$path" "path of $alg:$unit" || return 1
            compare_view "$folder/view/v" "$alg" "$unit" || {
                echo "$alg with data units of $unit bytes is not libcrypto's"
                return 1
            }
            icectl -f "$function" view remove v --wait || return 1
        done
    done
}

@test "by keyslots: every algorithm and data unit is libcrypto's" {
    start_mounted --size 1M --slots 2
    compare_all "$algs" m vm0 24
}

@test "by keyslots of a dialect that has one algorithm, the others by the fallback: all is libcrypto's" {
    start_mounted --size 1M --slots 2 --dialect inline
    compare_all aes-256-xts m vm0 24
}

@test "by the fallback: every algorithm and data unit is libcrypto's" {
    start_mounted --size 1M --slots 2
    compare_all none m vm0 24 --fallback force
    is "$(icectl --json slot list | jq '[.[] | select(.programmed)] | length')" 0 "keys in slots"
}

@test "with the key in each request: every algorithm and data unit is libcrypto's" {
    start_mounted --size 1M --function vm0,keys=inline
    compare_all "$algs" m vm0 24
}

@test "over an integrity function: every algorithm and data unit is libcrypto's" {
    start_mounted --size 1M --function vm0,integrity
    compare_all none m vm0 24
}

@test "over a linear layer, where two functions meet: every algorithm and data unit is libcrypto's" {
    start_mounted --size 2M --slots 4 --function vm0,slots=0+2,sectors=0+2048 \
        --function vm1,slots=2+2,sectors=2048+2048,addr=virtual
    icectl layer add l --map linear vm0 vm1
    places=("vm0 1920 128" "vm1 0 $((sectors - 128))")
    compare_all "$algs" m/l l 1920
}

@test "striped over three: every algorithm and data unit is libcrypto's, each stripe in its place" {
    start_mounted --size 3M --slots 6 --function vm0,slots=0+2,sectors=0+2048 \
        --function vm1,slots=2+2,sectors=2048+2048 --function vm2,keys=inline,sectors=4096+2048
    icectl layer add l --map striped:64K vm0 vm1 vm2
    places=("vm1 0 128" "vm2 0 128" "vm0 128 128")
    compare_all "$algs" m/l l 128
}

@test "over one function of each dialect: natively what all of them have, and all is libcrypto's" {
    start_mounted --size 3M --slots 6 --function vm0,slots=0+2,sectors=0+2048,dialect=ice1 \
        --function vm1,slots=2+2,sectors=2048+2048 \
        --function vm2,slots=4+2,sectors=4096+2048,dialect=inline
    icectl layer add l --map striped:64K vm0 vm1 vm2
    places=("vm1 0 128" "vm2 0 128" "vm0 128 128")
    algs='aes-256-xts aes-192-cbc-essiv'
    compare_all aes-256-xts m/l l 128
}

@test "over a layer with a function that has no crypto: by the fallback, the same ciphertext" {
    start_mounted --size 2M --slots 2 --function vm0,sectors=0+2048 \
        --function vm1,integrity,sectors=2048+2048
    icectl layer add l --map striped:64K vm0 vm1
    places=("vm1 0 128" "vm0 128 128" "vm1 128 128")
    compare_all none m/l l 128
}

@test "a stripe that is no multiple of every data unit is refused" {
    start_mounted --size 2M --function vm0,slots=0+2,sectors=0+2048 \
        --function vm1,slots=2+2,sectors=2048+2048
    refused 1 "icectl: layer add l: .*stripe.*65536.*" icectl layer add l --map striped:32K vm0 vm1
    fails_with "No such file or directory" ls m/l
    icectl layer add l --map striped:128K vm0 vm1
}

# Views of the same key and range with FIRST and SECOND as their options.
read_each_other() { # FOLDER FUNCTION FIRST SECOND
    random_file k 64
    for i in 3 4; do
        # shellcheck disable=SC2086 # options
        icectl -f "$2" view add "v$i" --alg aes-256-xts --key-file k --dun 7 --count $sectors ${!i}
    done
    random_file plain $size
    within dd if=plain of="$1/view/v3" bs=64K conv=notrunc status=none
    within cmp plain "$1/view/v4"
    random_file plain $size
    within dd if=plain of="$1/view/v4" bs=777 conv=notrunc status=none
    within cmp plain "$1/view/v3"
    icectl --json -f "$2" stats | jq -e '.keys | map(.path) | sort == ["fallback", "native"]'
    icectl --json -f "$2" stats | jq -e 'all(.keys[]; (.fallbacks > 0) == (.path == "fallback"))'
}

@test "native views and fallback views of one key read each other's data" {
    start_mounted --size 1M --function vm0,sectors=0+1024 --function vm1,keys=inline,sectors=1024+1024
    read_each_other m vm0 '' '--fallback force'
    read_each_other m/vm1 vm1 '--fallback force' '--fallback forbid'
}

@test "a view shows what a slot with its key wrote" {
    start_mounted --size 1M --slots 2
    program 0
    random_file plain $((1 << 20))
    within dd if=plain of=m/slot/0 bs=64K conv=notrunc status=none
    icectl view add v --alg aes-256-xts --key-file k0 --data-unit 4096 --sector 80 --count 800 --dun 10
    within cmp -n $((800 * 512)) -i 0:$((80 * 512)) m/view/v plain
}

@test "integrity: the fallback serves; where that is forbidden, the key is refused in words" {
    start_mounted --size 1M --function vm0,integrity
    random_file k 64
    icectl --json view add v --alg aes-256-xts --key-file k | jq -e '.path == "fallback"'
    refused 1 "icectl: view add w: the device has no inline crypto, and the fallback is forbidden" \
        icectl view add w --alg aes-256-xts --key-file k --fallback forbid
    is "$(within ls m/view)" v
}

@test "wrapped keys: natively the inline key's ciphertext; by the fallback never" {
    requires python3
    python3 -c 'import cryptography' 2>/dev/null || skip "python3-cryptography is not installed"
    start_mounted --size 1M --function vm0,slots=0+2,sectors=0+1024 \
        --function vm1,integrity,sectors=1024+512 --function vm2,keys=inline,sectors=1536+512
    random_file master 32
    icectl key import --key-file master -o long
    PYTHONPATH=$top_srcdir/tests/bats PYTHONDONTWRITEBYTECODE=1 python3 -c '
import sys, wrapped_kdf
sys.stdout.buffer.write(wrapped_kdf.inline_key(open("master", "rb").read()))' >k
    icectl key prepare --key-file long -o ephemeral
    for function in vm0 vm2; do
        places=("$function 24 $sectors")
        icectl --json -f $function view add v --alg aes-256-xts --key-file ephemeral --wrapped \
            --sector 24 --count $sectors --dun $dun | jq -e '.path == "native" and .fingerprint == null'
        compare_view m/$function/view/v aes-256-xts 4096
    done
    for function in vm0 vm1 vm2; do
        refused 1 "icectl: view add w: .*unwrap.*" icectl -f $function view add w \
            --alg aes-256-xts --key-file ephemeral --wrapped --fallback force
    done
    refused 1 "icectl: view add w: .*" icectl -f vm1 view add w \
        --alg aes-256-xts --key-file ephemeral --wrapped
}

# ---- the widest DUN ----

# A view of two data units at DUN, the widest that fit, is served; where there is a third, at the
# place of the second or the last of many, the view is refused, and says why.
limit() { # FUNCTION DUN WHY [OPTION...]
    local function=$1 first=$2 why=$3
    shift 3
    icectl -f "$function" view add fits --alg aes-256-xts --key-file k --dun "$first" --count 16 "$@"
    random_file plain 8192
    within dd if=plain of="m/$function/view/fits" bs=8K conv=notrunc status=none
    icectl -f "$function" io read --sector 0 --count 16 |
        cmp - <(icerefcrypt enc aes-256-xts 4096 "$first" k <plain) || return 1
    for count in 24 2048; do
        refused 1 "icectl: view add over: $why" icectl -f "$function" view add over \
            --alg aes-256-xts --key-file k --dun "$first" --count $count "$@" || return 1
    done
    is "$(within ls "m/$function/view")" fits || return 1
    icectl -f "$function" view remove fits --wait
}

@test "DUN limits: the last data unit has to fit, in 32, 64 and 128 bits; nothing wraps" {
    start_mounted --size 4M --slots 8 --function f32,slots=0+2,sectors=0+2048,dun-bits=32 \
        --function f64,slots=2+2,sectors=2048+2048 \
        --function wide,slots=4+2,sectors=4096+2048,dialect=inline \
        --function passed,keys=inline,sectors=6144+2048
    random_file k 64
    local far="and the fallback is forbidden" last="the last DUN does not fit the key's 128 bits"
    limit f32 0xfffffffe "DUNs of 5 bytes are not supported, at most 4, $far" --fallback forbid
    limit f64 0xfffffffffffffffe "DUNs of 9 bytes are not supported, at most 8, $far" --fallback forbid
    limit passed 0xfffffffffffffffe "DUNs of 9 bytes are not supported, at most 8, $far" \
        --fallback forbid
    limit wide 0xfffffffffffffffffffffffffffffffe "$last" --fallback forbid
    for policy in auto force; do
        for function in f32 f64 wide passed; do
            limit $function 0xfffffffffffffffffffffffffffffffe "$last" --fallback $policy
        done
    done
    refused 1 "icectl: view add wraps: the first DUN does not fit the key's 128 bits" \
        icectl -f wide view add wraps --alg aes-256-xts --key-file k \
        --dun 0x"$(printf 'f%.0s' $(seq 64))" --count 16
}

@test "DUNs past what the engine has: the fallback takes over, carrying into the next limb" {
    start_mounted --size 4M --slots 8 --function f32,slots=0+2,sectors=0+2048,dun-bits=32 \
        --function f64,slots=2+2,sectors=2048+2048
    random_file k 64
    for case in "f32 0xfffffff0" "f64 0xfffffffffffffff0"; do
        read -r function dun <<<"$case"
        places=("$function 24 $sectors")
        icectl --json -f $function view add v --alg aes-256-xts --key-file k --dun $dun --sector 24 \
            --count $sectors | jq -e '.path == "fallback"'
        compare_view m/$function/view/v aes-256-xts 4096
        icectl --json -f $function view add w --alg aes-256-xts --key-file k --dun $dun --sector 24 \
            --count 128 | jq -e '.path == "native"'
        within cmp -n 65536 other m/$function/view/w
    done
}
