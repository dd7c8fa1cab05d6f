#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Kicks and calls at depth 32: neither side is told of each request when it looks by itself.

load vhost

# Counts of a load, in $requests, $kicks, $calls.
load_of() { # FRONT-END-OPTIONS [OPTION...]
    local options=$1
    shift
    # shellcheck disable=SC2086 # several words
    front $options io --depth 32 --count 16384 "$@" >said
    cat said
    read -r requests kicks calls < <(jq -r '"\(.requests) \(.kicks) \(.calls)"' said)
    [ "$requests" -ge 3000 ]
}

# The device has less to do than the driver; and more, so that there is always more for it.
load_of_driver() { # FRONT-END-OPTIONS
    load_of "$1" --requests 20000
}

load_of_device() { # FRONT-END-OPTIONS
    load_of "$1" --requests 3000 --block 65536 --slot 0
}

few() { # COUNT
    [ "$1" -gt 0 ]
    [ $((2 * $1)) -lt "$requests" ]
}

@test "event index: kicks and calls are fewer than half of the requests" {
    start_vhost --size 8M
    program 0
    load_of_driver ''
    few "$calls"
    few "$kicks"
    load_of_driver '--queues 2'
    few "$calls"
    few "$kicks"
    load_of_device ''
    few "$kicks"
}

@test "flags alone: kicks and calls are fewer than half of the requests" {
    start_vhost --size 8M
    program 0
    for options in '--without event-idx' '--without event-idx,indirect'; do
        load_of_driver "$options"
        few "$calls"
        load_of_device "$options"
        few "$kicks"
    done
}

@test "a driver that looks by itself, and asks for no call, gets next to none" {
    start_vhost --size 8M
    load_of_driver --spin
    [ $((100 * calls)) -lt "$requests" ]
    load_of_driver '--spin --without event-idx'
    [ $((100 * calls)) -lt "$requests" ]
}

@test "a driver that kicks for each request is served as well" {
    start_vhost --size 8M
    load_of_driver --every-kick
    is "$kicks" "$requests"
}
