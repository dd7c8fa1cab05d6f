#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Hardware-wrapped keys: their forms, what is derived from them, and what refuses them.

load helpers

# Prints what python3-cryptography derives: `inline_key` or `sw_secret`.
derived() { # WHICH MASTER-FILE
    PYTHONPATH=$top_srcdir/tests/bats PYTHONDONTWRITEBYTECODE=1 python3 -c '
import sys, wrapped_kdf
sys.stdout.buffer.write(getattr(wrapped_kdf, sys.argv[1])(open(sys.argv[2], "rb").read()))' "$@"
}

requires_kdf() {
    requires python3 icerefcrypt
    python3 -c 'import cryptography' 2>/dev/null || skip "python3-cryptography is not installed"
}

fingerprint() { # KEY-FILE
    { printf 'icesim key\0'; cat "$1"; } | sha256sum | head -c 16
}

# From a long-term key in the file `long`: an ephemeral one, programmed into SLOT.
program_wrapped() { # SLOT [OPTION...]
    local slot=$1
    shift
    icectl key prepare --key-file long "$@" >ephemeral
    icectl slot program "$slot" --alg aes-256-xts --wrapped --key-file ephemeral "$@"
}

flip() { # FILE OFFSET: a copy in `bad` with one bit of that byte changed
    cp "$1" bad
    printf "\\x$(printf %02x $((0x$(xxd -s "$2" -l 1 -p "$1") ^ 1)))" |
        dd of=bad bs=1 seek="$2" conv=notrunc status=none
}

@test "generate, prepare, program, derive on each dialect and by each path" {
    requires_kdf
    requires jq
    for dialect in ice1 ice2 inline; do
        for via in in-band out-of-band; do
            start --size 1M --dialect $dialect
            icectl key generate --via $via >long
            icectl key generate --via $via >other
            not cmp -s long other
            program_wrapped 3 --via $via
            random_file f 8192
            icectl io write --sector 16 --slot 3 --dun 7 f
            icectl io read --sector 16 --count 16 --slot 3 --dun 7 | cmp - f
            icectl io read --sector 16 --count 16 >stored
            not cmp -s f stored
            is "$(icectl key derive --key-file ephemeral --via $via | wc -c)" 32 "software secret"
            is "$(icectl --json slot list | jq -r '.[3].key_type')" wrapped
            # Another programming of the same key gives the same ciphertext, another key does not.
            icectl slot evict 3
            program_wrapped 5 --via $via
            icectl io read --sector 16 --count 16 --slot 5 --dun 7 | cmp - f
            mv other long
            program_wrapped 6 --via $via
            icectl io read --sector 16 --count 16 --slot 6 --dun 7 >got
            not cmp -s got f
            stop
        done
    done
}

@test "the inline key and the software secret of an imported key are those of SP 800-108" {
    requires_kdf
    requires jq
    start --size 1M
    for byte in '\0' '\xff' '\x5a'; do
        printf "$byte%.0s" $(seq 32) >master
        derived inline_key master >key
        icectl key import --key-file master >long
        program_wrapped 0
        is "$(icectl --json slot list | jq -r '.[0].fingerprint')" "$(fingerprint key)"
        random_file f 8192
        icectl io write --sector 0 --slot 0 --dun 0xfffffffff f
        icectl io read --sector 0 --count 16 |
            cmp - <(icerefcrypt enc aes-256-xts 4096 0xfffffffff key <f)
        icectl key derive --key-file ephemeral | cmp - <(derived sw_secret master)
        icectl key derive --key-file ephemeral --via out-of-band | cmp - <(derived sw_secret master)
    done
}

@test "the form that is not due, a changed key, a cut one, another engine's" {
    start --size 1M
    icectl key generate >long
    icectl key prepare --key-file long >ephemeral
    for via in in-band out-of-band; do
        refused 1 'icectl: slot program 1: .*long-term key.*' icectl slot program 1 --via $via \
            --alg aes-256-xts --wrapped --key-file long
        refused 1 'icectl: key derive: .*long-term key.*' icectl key derive --via $via --key-file long
        refused 1 'icectl: key prepare: .*ephemeral.*' icectl key prepare --via $via --key-file ephemeral
        for at in 0 1 2 7 8 20 40 67; do
            flip long $at
            refused 1 'icectl: key prepare: .+' icectl key prepare --via $via --key-file bad
            flip ephemeral $at
            refused 1 'icectl: key derive: .+' icectl key derive --via $via --key-file bad
            refused 1 'icectl: slot program 1: .+' icectl slot program 1 --via $via \
                --alg aes-256-xts --wrapped --key-file bad
        done
        for size in 1 32 64 67; do
            head -c $size long >bad
            refused 1 'icectl: key prepare: .+' icectl key prepare --via $via --key-file bad
        done
        { cat long; printf x; } >bad
        refused 1 'icectl: key prepare: .+' icectl key prepare --via $via --key-file bad
        random_file bad 31
        refused 1 'icectl: key import: .*32.*31.*' icectl key import --via $via --key-file bad
        refused 1 'icectl: slot program 1: .*aes-256-xts.*' icectl slot program 1 --via $via \
            --alg aes-128-xts --wrapped --key-file ephemeral
    done
    : >bad
    refused 1 'icectl: key prepare: key file bad is empty' icectl key prepare --key-file bad
    random_file bad 129
    refused 1 'icectl: key prepare: key file bad holds more than the 128 bytes of a key' \
        icectl key prepare --key-file bad
    refused 1 'icectl: slot program 1: key file bad holds more than the 128 bytes of a wrapped key' \
        icectl slot program 1 --alg aes-256-xts --wrapped --key-file bad
    stop
    start --size 1M
    refused 1 'icectl: key prepare: .+' icectl key prepare --key-file long
}

@test "a wrapped key is none of the raw keys" {
    start --size 1M
    icectl key generate >long
    icectl key prepare --key-file long >ephemeral
    random_file k 64
    for file in long ephemeral; do
        is "$(wc -c <$file)" 68
        for alg in aes-{128,256}-xts aes-{128,192,256}-{cbc-essiv,cbc-bitlocker,ecb}; do
            refused 1 "icectl: slot program 1: key file $file holds more than the .. bytes of $alg" \
                icectl slot program 1 --alg "$alg" --key-file $file
        done
        refused 1 "icectl: view add v: key file $file holds more than the 64 bytes of aes-256-xts" \
            icectl view add v --alg aes-256-xts --key-file $file
    done
    for via in in-band out-of-band; do
        refused 1 'icectl: slot program 1: a wrapped key has 68 bytes, not 64' icectl slot program 1 \
            --via $via --alg aes-256-xts --wrapped --key-file k
    done
}

@test "a restart: long-term keys live on with the image, ephemeral ones do not" {
    start --image image --size 1M
    icectl key generate -o long
    program_wrapped 0
    random_file f 4096
    icectl io write --sector 0 --slot 0 --dun 7 f
    stop
    start --image image
    for via in in-band out-of-band; do
        refused 1 'icectl: key derive: .*(boot|start).*' icectl key derive --via $via --key-file ephemeral
        refused 1 'icectl: slot program 0: .*(boot|start).*' icectl slot program 0 --via $via \
            --alg aes-256-xts --wrapped --key-file ephemeral
    done
    refused 3 'icectl: io read: sector 0: slot 0 is empty' \
        icectl io read --sector 0 --count 8 --slot 0 --dun 7
    program_wrapped 0
    icectl io read --sector 0 --count 8 --slot 0 --dun 7 | cmp - f
}

@test "a restart on RAM: nothing opens what an earlier icesim sealed" {
    start --size 1M
    icectl key generate -o long
    icectl key prepare --key-file long -o ephemeral
    stop
    start --size 1M
    refused 1 'icectl: key prepare: .+' icectl key prepare --key-file long
    refused 1 'icectl: key derive: .+' icectl key derive --key-file ephemeral
}

@test "functions that take raw keys only, or wrapped ones only" {
    requires jq
    random_file k 64
    random_file master 32
    for dialect in ice2 inline; do
        start --size 2M --dialect $dialect --function both,slots=0+8,sectors=0+1024 \
            --function old,key-types=raw,slots=8+8,sectors=1024+1024 \
            --function new,key-types=wrapped,slots=16+8,sectors=2048+1024
        for via in in-band out-of-band; do
            first=0
            [ $via$dialect = in-bandinline ] || first=8
            icectl -f both key generate --via $via >long
            icectl -f both key prepare --key-file long --via $via >ephemeral
            icectl -f old slot program $first --alg aes-256-xts --key-file k --via $via
            refused 1 'icectl: slot program [0-9]+: old takes raw keys only' icectl -f old slot program \
                $first --alg aes-256-xts --wrapped --key-file ephemeral --via $via
            refused 1 'icectl: key generate: old takes raw keys only' icectl -f old key generate --via $via
            for step in import prepare derive; do
                refused 1 "icectl: key $step: old takes raw keys only" \
                    icectl -f old key $step --key-file master --via $via
            done
            [ $first = 0 ] || first=16
            icectl -f new slot program $first --alg aes-256-xts --wrapped --key-file ephemeral --via $via
            refused 1 'icectl: slot program [0-9]+: new takes wrapped keys only' icectl -f new slot program \
                $first --alg aes-256-xts --key-file k --via $via
            icectl -f new key import --key-file master --via $via >long
        done
        icectl -f both caps --require aes-256-xts:4096,wrapped
        icectl -f new caps --require aes-256-xts:4K,wrapped
        icectl -f both caps --require aes-256-xts:4096
        icectl -f old caps --require aes-256-xts:4096
        refused 1 'icectl: caps: new takes no raw keys' icectl -f new caps --require aes-256-xts:4096
        is "$(icectl -f new --json caps | jq -r '.[].alg')" aes-256-xts
        refused 1 'icectl: caps: old takes no wrapped keys.*' \
            icectl -f old caps --require aes-256-xts:4096,wrapped
        stop
    done
}

@test "strict functions of ice1 and ice2 have the other path, and it is taken unasked" {
    requires_kdf
    random_file master 32
    derived inline_key master >key
    for dialect in ice1 ice2; do
        start --size 1M --dialect $dialect --strict
        icectl key import --key-file master >long
        program_wrapped 1
        random_file f 4096
        icectl io write --sector 0 --slot 1 --dun 1 f
        icectl io read --sector 0 --count 8 | cmp - <(icerefcrypt enc aes-256-xts 4096 1 key <f)
        icectl key derive --key-file ephemeral | cmp - <(derived sw_secret master)
        icectl caps --require aes-256-xts:4096,wrapped
        refused 1 'icectl: key prepare: vm0 takes no keys in band' \
            icectl key prepare --via in-band --key-file long
        stop
    done
}

@test "key files: mode 0600, never overwritten, never a terminal; standard input" {
    start --size 1M
    (umask 0; icectl key generate -o long)
    is "$(stat -c %a long)" 600 "mode"
    sum=$(sum_of long)
    refused 1 'icectl: key generate: long is there already, and no key file is overwritten' \
        icectl key generate -o long
    is "$(sum_of long)" "$sum" "the file"
    ln -s nowhere link
    refused 1 'icectl: key generate: link is there already.*' icectl key generate -o link
    refused 1 'icectl: key generate: none/k: No such file or directory' icectl key generate -o none/k
    refused 1 'icectl: key prepare: key file none: No such file or directory' \
        icectl key prepare --key-file none -o ephemeral
    flip long 40
    refused 1 'icectl: key prepare: .+' icectl key prepare --key-file bad -o ephemeral
    [ ! -e ephemeral ]
    icectl key prepare --key-file - -o ephemeral <long
    icectl key derive --key-file - -o - <ephemeral | cmp - <(icectl key derive --key-file ephemeral)
    refused 1 'icectl: key generate: standard output: No space left on device' \
        bash -c 'icectl key generate >/dev/full'
    requires script
    got=0
    script -qec "icectl key generate" /dev/null </dev/null >typed || got=$?
    is "$got" 1 "exit status on a terminal"
    grep -q 'icectl: key generate: standard output is a terminal; give -o FILE' typed
    is "$(wc -l <typed)" 1 "lines on the terminal"
}
