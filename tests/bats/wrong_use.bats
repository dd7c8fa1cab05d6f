#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Wrong use of a running device: exit status, one clear line, and no sector changed.

load helpers

setup() {
    common_setup
    random_file image $((1 << 20))
    start --image image
    program 0
    random_file f4096 4096
    random_file f8192 8192
    sum=$(sum_of image)
}

no_sector_changed() {
    is "$(sum_of image)" "$sum" "the image"
}

@test "reading and writing through an empty slot" {
    refused 3 'icectl: io write: sector 0: slot 3 is empty' \
        icectl io write --sector 0 --slot 3 --dun 0 f4096
    refused 3 'icectl: io read: sector 0: slot 3 is empty' \
        icectl io read --sector 0 --count 8 --slot 3 --dun 0
    refused 3 'icectl: io read: sector 0: slot 3 is empty' \
        icectl io read --sector 0 --count 8 --slot 3 --dun 0 --data-unit 4096 -o out
    icectl slot evict 0
    refused 3 'icectl: io write: sector 0: slot 0 is empty' \
        icectl io write --sector 0 --slot 0 --dun 0 f4096
    no_sector_changed
}

@test "a slot out of range" {
    refused 1 "icectl: slot program 40: outside vm0's window 0\.\.31" \
        icectl slot program 40 --alg aes-256-xts --key-file k0
    refused 1 'icectl: slot program 256: .*above 255.*' \
        icectl slot program 256 --alg aes-256-xts --key-file k0
    refused 1 "icectl: slot evict 32: outside vm0's window 0\.\.31" icectl slot evict 32
    refused 3 "icectl: io write: sector 0: slot 32 is outside vm0's window 0\.\.31" \
        icectl io write --sector 0 --slot 32 --dun 0 f4096
    refused 3 "icectl: io read: sector 0: slot 255 is outside vm0's window 0\.\.31" \
        icectl io read --sector 0 --count 8 --slot 255 --dun 0
    no_sector_changed
}

@test "a key file of the wrong size, or none" {
    before=$(icectl --json slot list)
    for size in 0 1 32 63; do
        random_file k $size
        refused 1 "icectl: slot program 1: key file k holds $size bytes, not the 64 of aes-256-xts" \
            icectl slot program 1 --alg aes-256-xts --key-file k
    done
    for size in 65 128 4096; do
        random_file k $size
        refused 1 'icectl: slot program 1: key file k holds more than the 64 bytes of aes-256-xts' \
            icectl slot program 1 --alg aes-256-xts --key-file k
    done
    random_file k 64
    refused 1 'icectl: slot program 1: key file k holds more than the 32 bytes of aes-256-cbc-essiv' \
        icectl slot program 1 --alg aes-256-cbc-essiv --key-file k
    refused 1 'icectl: slot program 1: .*none.*No such file.*' \
        icectl slot program 1 --alg aes-256-xts --key-file none
    refused 1 'icectl: slot program 1: .*directory.*' \
        icectl slot program 1 --alg aes-256-xts --key-file .
    is "$(icectl --json slot list)" "$before" "the slots"
    no_sector_changed
}

@test "an XTS key with two equal halves; the old key stays" {
    random_file half 32
    cat half half >k
    refused 1 'icectl: slot program 0: .*two halves of the XTS key are equal' \
        icectl slot program 0 --alg aes-256-xts --key-file k
    head -c 16 half >quarter
    cat quarter quarter >k
    refused 1 'icectl: slot program 1: .*two halves of the XTS key are equal' \
        icectl slot program 1 --alg aes-128-xts --key-file k
    no_sector_changed
    icectl io write --sector 0 --slot 0 --dun 0 f4096
    icectl io read --sector 0 --count 8 | cmp - <(icerefcrypt enc aes-256-xts 4096 0 k0 <f4096)
}

@test "a data unit that is not advertised" {
    refused 1 'icectl: slot program 1: .*(131072|not advertised).*' \
        icectl slot program 1 --alg aes-256-xts --key-file k0 --data-unit 128K
    for unit in 0 256 3000 4097; do
        refused 2 'icectl: slot program.*data-unit.*' \
            icectl slot program 1 --alg aes-256-xts --key-file k0 --data-unit $unit
    done
    no_sector_changed
}

@test "a length that is no multiple of the data unit, or of a sector" {
    random_file f512 512
    random_file f4608 4608
    refused 3 'icectl: io write: sector 0: 512 bytes of data are not a multiple of the data unit of 4096' \
        icectl io write --sector 0 --slot 0 --dun 0 f512
    refused 3 'icectl: io write: sector 0: 4608 bytes of data are not a multiple of the data unit of 4096' \
        icectl io write --sector 0 --slot 0 --dun 0 f4608
    refused 3 'icectl: io read: sector 0: 3584 bytes of data are not a multiple of the data unit of 4096' \
        icectl io read --sector 0 --count 7 --slot 0 --dun 0
    for size in 1 511 513 4000; do
        random_file f $size
        refused 1 'icectl: io write: .*512.*' icectl io write --sector 0 f
        refused 1 'icectl: io write: .*512.*' icectl io write --sector 0 --slot 0 --dun 0 f
    done
    no_sector_changed
}

@test "sectors past the end" {
    refused 3 'icectl: io write: sector 2048: sector 2048 \+ 8 is past the end of vm0 \(2048 sectors\)' \
        icectl io write --sector 2048 f4096
    refused 3 'icectl: io write: sector [0-9]+: sector .* is past the end of vm0 \(2048 sectors\)' icectl io write --sector 2041 f4096
    refused 3 'icectl: io write: sector [0-9]+: sector .* is past the end of vm0 \(2048 sectors\)' \
        icectl io write --sector 2041 --slot 0 --dun 0 f4096
    refused 3 'icectl: io read: sector [0-9]+: sector .* is past the end of vm0 \(2048 sectors\)' icectl io read --sector 2048 --count 1
    refused 3 'icectl: io read: sector [0-9]+: sector .* is past the end of vm0 \(2048 sectors\)' \
        icectl io read --sector 0xffffffffffffffff --count 1
    for command in discard zero erase; do
        refused 3 "icectl: io $command: sector [0-9]+: sector .* is past the end of vm0 \(2048 sectors\)" \
            icectl io $command --sector 2040 --count 9
    done
    no_sector_changed
}

@test "a DUN that would overflow" {
    refused 3 'icectl: io write: sector 0: the DUN of data unit 1 overflows 64 bits' \
        icectl io write --sector 0 --slot 0 --dun 0xffffffffffffffff f8192
    refused 3 'icectl: io read: sector 0: the DUN of data unit 1 overflows 64 bits' \
        icectl io read --sector 0 --count 16 --slot 0 --dun 18446744073709551615
    refused 1 'icectl: io write: the ICE drafts have 64 bits for a DUN' \
        icectl io write --sector 0 --slot 0 --dun 0x10000000000000000 f4096
    refused 2 'icectl: io write: --dun .*more than 256 bits' \
        icectl io write --sector 0 --slot 0 --dun 0x1$(printf '0%.0s' {1..64}) f4096
    no_sector_changed
}

@test "no server, on every command" {
    stop
    set -- wait info caps stats 'slot list' 'slot evict 0' 'slot evict --all' 'io flush' 'io id' \
        'io lifetime' 'io read --sector 0 --count 1' 'io write --sector 0 f4096' \
        'io zero --sector 0 --count 1' 'slot program 1 --alg aes-256-xts --key-file k0' \
        'slot program 1 --alg aes-256-xts --key-file k0 --via out-of-band' \
        'slot evict 1 --via out-of-band' 'key generate' 'key derive --key-file k0' \
        'key prepare --key-file k0 --via out-of-band' 'caps --require aes-256-xts:4096' \
        'function list' 'function add vm1' 'function remove vm0' 'reset --scope engine'
    for command; do
        refused 5 "icectl: ${command%% *}.*: .*$T/run.*" icectl --timeout 1 $command
    done
}

@test "a server that is gone while a command runs" {
    requires python3
    launch_driver <<'END'
link = listen(os.environ["ICESIM_DIR"] + "/gone.sock").accept()[0]
link.recv(1000)
link.close()
END
    eventually test -S run/gone.sock
    refused 5 'icectl: io flush: .*' icectl -f gone io flush
    await_end "$driver"
    is "$ended" 0 "exit status of the driver"
}

@test "usage errors exit with 2" {
    for line in '' 'nothing' 'slot' 'slot nothing' 'io' 'io nothing' '--nothing' '--json' \
        'slot program' 'slot program 1' 'slot program 1 --alg aes-256-xts' \
        'slot program 1 --key-file k0' 'slot program x --alg aes-256-xts --key-file k0' \
        'slot program 1 --alg aes-512-xts --key-file k0' \
        'slot program 1 2 --alg aes-256-xts --key-file k0' \
        'slot program -1 --alg aes-256-xts --key-file k0' \
        'slot evict' 'slot evict 1 --all' 'slot list 1' \
        'io read' 'io read --sector 0' 'io read --count 1' 'io read --sector 0 --count 0x' \
        'io read --sector 0 --count 1 extra' 'io read --sector 0 --count 8 --slot 0' \
        'io read --sector 0 --count 8 --dun 0' 'io write --sector 0 --slot 0 f4096' \
        'io write f4096' 'io write --sector 0 f4096 f4096' 'io flush now' \
        'io zero --sector 0' 'io discard --count 1' 'reset' 'reset --scope everything' \
        'info --nothing' '--timeout soon info' 'io read --sector -1 --count 1' \
        'io read --sector 1.5 --count 1' 'io read --sec 0 --count 1'; do
        refused 2 'icectl: .*' icectl $line
    done
    no_sector_changed
}

@test "a function that does not exist, a runtime folder that does not exist" {
    refused 5 'icectl: info: .*vm7.*' icectl -f vm7 info
    refused 5 'icectl: info: .*nowhere.*' icectl -d "$T/nowhere" info
    refused 5 'icectl: wait: .*nowhere.*' icectl -d "$T/nowhere" --timeout 1 wait
    no_sector_changed
}
