#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# What is stored is what a second implementation, OpenSSL's libcrypto, gives.

load helpers

setup() {
    common_setup
    requires icerefcrypt
    start --size 8M
}

units='512 1024 2048 4096 8192 16384 32768 65536'

# Written through a slot and read without one; then stored by libcrypto and read through the slot.
compare() { # ALG DATA-UNIT DUN DATA-UNITS
    local bytes=$(($2 * $4))
    local sectors=$((bytes / 512))
    head -c "$bytes" pattern >plain
    icerefcrypt enc "$1" "$2" "$3" k0 <plain >want
    icectl io write --sector 24 --slot 0 --dun "$3" plain
    icectl io read --sector 24 --count $sectors >got
    cmp want got
    not cmp -s plain got
    icectl io zero --sector 24 --count $sectors
    icectl io write --sector 1000 want
    icectl io read --sector 1000 --count $sectors --slot 0 --dun "$3" -o got
    cmp plain got
}

compare_all() { # ALG
    local unit dun
    random_file pattern $((3 * 65536))
    for unit in $units; do
        program 0 "$1" "$unit"
        for dun in 0 7 4294967295 0x8000000000000000; do
            compare "$1" "$unit" "$dun" 3
        done
        compare "$1" "$unit" 0xffffffffffffffff 1
        compare "$1" "$unit" 18446744073709551614 2
    done
}

@test "sector 0, slot 0, DUN 7: 8 sectors are AES-256-XTS with tweak 7" {
    program 0
    random_file f 4096
    icectl io write --sector 0 --slot 0 --dun 7 f
    icectl io read --sector 0 --count 8 >got
    icerefcrypt enc aes-256-xts 4096 7 k0 <f | cmp - got
    icectl io read --sector 0 --count 8 --slot 0 --dun 7 | cmp - f
    icectl io read --sector 0 --count 8 --slot 0 --dun 8 >other
    not cmp -s other f
}

@test "the tweak of data unit n of a write is DUN + n" {
    program 0
    random_file f $((5 * 4096))
    icectl io write --sector 0 --slot 0 --dun 7 f
    for n in 0 1 2 3 4; do
        icectl io read --sector $((8 * n)) --count 8 >got
        dd if=f bs=4096 skip=$n count=1 status=none |
            icerefcrypt enc aes-256-xts 4096 $((7 + n)) k0 | cmp - got
    done
}

@test "a transfer longer than one request: tweaks go on where icectl splits it" {
    for unit in 512 65536; do
        program 0 aes-256-xts $unit
        random_file f $((7 << 20))
        icectl io write --sector 64 --slot 0 --dun 0xfffffff0 f
        icectl io read --sector 64 --count $((7 << 11)) >got
        icerefcrypt enc aes-256-xts $unit 0xfffffff0 k0 <f | cmp - got
        icectl io read --sector 64 --count $((7 << 11)) --slot 0 --dun 0xfffffff0 | cmp - f
    done
}

@test "aes-128-xts is libcrypto's, every data unit and DUN" {
    compare_all aes-128-xts
}

@test "aes-256-xts is libcrypto's, every data unit and DUN" {
    compare_all aes-256-xts
}

@test "aes-128-cbc-essiv is libcrypto's, every data unit and DUN" {
    compare_all aes-128-cbc-essiv
}

@test "aes-192-cbc-essiv is libcrypto's, every data unit and DUN" {
    compare_all aes-192-cbc-essiv
}

@test "aes-256-cbc-essiv is libcrypto's, every data unit and DUN" {
    compare_all aes-256-cbc-essiv
}

@test "--bitlocker-iv dun: IVs are of the DUN itself" {
    stop
    start --size 8M --bitlocker-iv dun
    random_file f 8192
    for dun in 4096 7; do # at the first, what --bitlocker-iv offset has at DUN 1
        program 0 aes-128-cbc-bitlocker 4096
        icectl io write --sector 0 --slot 0 --dun $dun f
        icectl io read --sector 0 --count 16 --slot 0 --dun $dun | cmp - f
        icectl io read --sector 0 --count 8 >got
        head -c 4096 f | icerefcrypt enc aes-128-cbc-bitlocker 4096 1 k0 >want
        if [ $dun = 4096 ]; then cmp want got; else not cmp -s want got; fi
    done
    program 0 aes-128-cbc-bitlocker 512
    head -c 512 f >unit
    icectl io write --sector 0 --slot 0 --dun 512 unit
    icectl io read --sector 0 --count 1 | cmp - <(icerefcrypt enc aes-128-cbc-bitlocker 512 1 k0 <unit)
}

@test "aes-128-cbc-bitlocker is libcrypto's, every data unit and DUN" {
    compare_all aes-128-cbc-bitlocker
}

@test "aes-192-cbc-bitlocker is libcrypto's, every data unit and DUN" {
    compare_all aes-192-cbc-bitlocker
}

@test "aes-256-cbc-bitlocker is libcrypto's, every data unit and DUN" {
    compare_all aes-256-cbc-bitlocker
}

@test "aes-128-ecb is libcrypto's, every data unit and DUN" {
    compare_all aes-128-ecb
}

@test "aes-192-ecb is libcrypto's, every data unit and DUN" {
    compare_all aes-192-ecb
}

@test "aes-256-ecb is libcrypto's, every data unit and DUN" {
    compare_all aes-256-ecb
}
