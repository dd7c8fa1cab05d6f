#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# A reset of the engine, seen by a ring's driver: until it has had the interrupt and programmed a key
# of its own, none of its tagged requests meets a key.

load vhost

@test "after a reset of the engine tagged requests are IOERR until CONFIG_CHANGE and a key" {
    start_vhost --size 8M
    random_file k0 64
    random_file k1 64
    random_file plain 65536
    begin_front
    front_says 0 program 0 --key-file k0
    front_says 0 write plain --sector 0 --slot 0 --dun 7
    icectl reset --scope engine
    front_says 3 read got --sector 0 --count 128 --slot 0 --dun 7
    front_says 0 await-change --count 1
    front_says 3 read got --sector 0 --count 128 --slot 0 --dun 7
    # A key that somebody else programs is not this driver's acknowledgement.
    icectl slot program 0 --alg aes-256-xts --key-file k1
    front_says 3 read got --sector 0 --count 128 --slot 0 --dun 7
    front_says 3 write plain --sector 128 --slot 0 --dun 7
    front_says 0 read raw --sector 0 --count 128
    icerefcrypt enc aes-256-xts 4096 7 k0 <plain | cmp - raw
    front_says 0 program 0 --key-file k0
    front_says 0 read got --sector 0 --count 128 --slot 0 --dun 7
    cmp plain got
    zero_file zeros 65536
    stored_is zeros 128
    end_front
}

@test "resets of the engine under load: what is refused is repeated with the key, all verified" {
    local i
    start_vhost --size 8M
    random_file k0 64
    mkfifo until
    front program 0 --key-file k0
    front --queues 2 io --slot 0 --dun 5 --depth 16 --key-file k0 --image want --until-line \
        <until >said &
    local load=$!
    exec 8>until
    for ((i = 0; i < 5 * SCALE; i++)); do
        eventually key_is_there
        icectl reset --scope engine
    done
    eventually key_is_there
    echo >&8
    wait $load
    cat said
    [ "$(jq .rekeys said)" -ge $((5 * SCALE)) ]
    [ "$(jq .ioerr said)" -ge $((5 * SCALE)) ]
    stored_is want 0 aes-256-xts 5 k0
}

key_is_there() {
    [ "$(icectl --json slot list | jq '.[0].programmed')" = true ]
}
