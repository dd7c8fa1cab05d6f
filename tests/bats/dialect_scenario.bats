#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# One script for every dialect, both addressings, in band and out of band: program, write through
# the slot, read back, compare the ciphertext with libcrypto's, evict.

load helpers

setup() {
    common_setup
    requires icerefcrypt
}

scenario() { # FUNCTION
    local f=$1 slot first
    slot=$(icectl --json -f "$f" slot list | jq '.[1].slot')
    random_file key 64
    random_file plain $((3 * 4096))
    icectl -f "$f" slot program "$slot" --alg aes-256-xts --key-file key --data-unit 4096
    is "$(icectl --json -f "$f" slot list | jq -c '[.[] | select(.programmed) | .slot]')" "[$slot]" slots
    icectl -f "$f" io write --sector 8 --slot "$slot" --dun 1000 plain
    icectl -f "$f" io read --sector 8 --count 24 --slot "$slot" --dun 1000 -o back
    cmp plain back
    icectl -f "$f" io read --sector 8 --count 24 -o stored
    icerefcrypt enc aes-256-xts 4096 1000 key <plain | cmp - stored
    # The same bytes stand in the media where the window says.
    first=$(($(icectl --json function list | jq -r ".[] | select(.name == \"$f\") | .first_sector")))
    dd if=image bs=512 skip=$((first + 8)) count=24 status=none | cmp - stored
    icectl -f "$f" slot evict "$slot"
    refused 3 "icectl: io read: .*slot $slot is empty" \
        icectl -f "$f" io read --sector 8 --count 24 --slot "$slot" --dun 1000
    icectl -f "$f" io read --sector 8 --count 24 -o stored2
    cmp stored stored2
}

@test "the scenario passes on three dialects and both addressings" {
    start --image image --size 24M --slots 64 \
        --function ice1p,dialect=ice1,addr=physical,slots=4+6,sectors=0+8192 \
        --function ice1v,dialect=ice1,addr=virtual,slots=10+6,sectors=8192+8192 \
        --function ice2p,dialect=ice2,addr=physical,slots=20+6,sectors=16384+8192 \
        --function ice2v,dialect=ice2,addr=virtual,slots=26+6,sectors=24576+8192 \
        --function inlinep,dialect=inline,addr=physical,slots=40+6,sectors=32768+8192 \
        --function inlinev,dialect=inline,addr=virtual,slots=46+6,sectors=40960+8192
    for f in ice1p ice1v ice2p ice2v inlinep inlinev; do
        scenario $f
    done
    stop
}

@test "the scenario passes on strict functions, whose keys go where the draft lets them" {
    start --image image --size 24M --slots 64 --strict \
        --function ice1p,dialect=ice1,slots=4+6,sectors=0+8192 \
        --function ice1v,dialect=ice1,addr=virtual,slots=10+6,sectors=8192+8192 \
        --function ice2p,dialect=ice2,slots=20+6,sectors=16384+8192 \
        --function ice2v,dialect=ice2,addr=virtual,slots=26+6,sectors=24576+8192 \
        --function inlinev,dialect=inline,slots=46+6,sectors=32768+8192
    for f in ice1p ice1v ice2p ice2v inlinev; do
        scenario $f
        # The driver kept to every rule (an empty slot is read on purpose).
        is "$(icectl --json -f $f stats | jq -c '.violations | del(."slot-empty") | add')" 0 violations
    done
    stop
}

@test "ice1 names one capability: aes-256-xts with all data unit sizes, unless caps= says otherwise" {
    start --size 8M --dialect ice1 --function plain,slots=0+4,sectors=0+4096 \
        --function other,slots=4+4,sectors=4096+4096,caps=aes-128-cbc-essiv:512/4096
    is "$(icectl --json -f plain caps | jq -c .)" \
        '[{"alg":"aes-256-xts","key_bytes":64,"data_units":[512,1024,2048,4096,8192,16384,32768,65536]}]'
    is "$(icectl --json -f other caps | jq -c .)" \
        '[{"alg":"aes-128-cbc-essiv","key_bytes":16,"data_units":[512,4096]}]'
    refused 2 'icesim: .*caps: ice1 can name one algorithm.*' icesim --dir other --size 1M --dialect ice1 \
        --function two,caps=aes-256-xts:4096+aes-128-xts:4096
    driver <<'END'
from dialects import *
word = lambda name: struct.unpack_from("<I", drive(name).config(), 100)[0]
assert word("plain") == 0 << 24 | 0xff << 16 | 3 << 8, hex(word("plain"))
assert word("other") == 3 << 24 | 0x09 << 16 | 1 << 8, hex(word("other"))
# What is not named is not taken.
driver = drive("plain")
refuses(driver.program(0, os.urandom(32), key_size=1), UNSUPP, errno.EOPNOTSUPP)
END
    stop
}
