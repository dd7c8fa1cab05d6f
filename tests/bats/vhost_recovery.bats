#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# icesim is killed (SIGKILL) while its rings are full, and started again: the front end, which stays,
# hands the log of requests in flight to the next. The front end does the killing, and counts only
# the kills that met requests which the back end had taken.

load vhost

kills=$((5 * SCALE))

# A new icesim whenever the last one died, until the file `enough` is there.
serve_again_and_again() { # OPTION...
    until [ -e enough ]; do
        icesim --dir "$ICESIM_DIR" --slots 200 --vhost-user vm0="$T/guest" "$@" >>out 2>>log || true
    done 3>&-
}

begin_serving() { # OPTION...
    serve_again_and_again "$@" &
    servers+=("$!")
    icectl --timeout $patience wait
}

# The one that runs is told to stop: it must end cleanly.
end_serving() {
    touch enough
    pkill -TERM -P "${servers[-1]}"
    await_end "${servers[-1]}"
    is "$ended" 0
}

@test "plain I/O: all that was in flight at a kill is completed, nothing is lost or out of order" {
    begin_serving --image img --size 16M
    front --queues 2 io --depth 16 --block 131072 --kills $kills --image want >said
    cat said
    [ "$(jq .kills said)" -eq $kills ]
    [ "$(jq .reconnects said)" -ge $kills ]
    [ "$(jq .least_in_ring said)" -gt 0 ]
    [ "$(jq .least_in_log said)" -gt 0 ]
    is "$(jq .ioerr said)" 0
    stored_is want 0
    front --without event-idx,indirect io --depth 32 --kills 2 --seed 2 --image want >said
    [ "$(jq .kills said)" -eq 2 ]
    stored_is want 0
    end_serving
}

@test "tagged I/O in flight at a kill is IOERR until the driver has programmed its key again" {
    begin_serving --image img --size 16M
    random_file k4 64
    front program 4 --key-file k4
    front --queues 2 io --depth 16 --block 16384 --slot 4 --dun 1000 --kills $kills --key-file k4 \
        --image want >said
    cat said
    [ "$(jq .kills said)" -eq $kills ]
    [ "$(jq .least_in_ring said)" -gt 0 ]
    [ "$(jq .least_in_log said)" -gt 0 ]
    is "$(jq .ok_before_key said)" 0
    [ "$(jq .rekeys said)" -ge $kills ]
    [ "$(jq .ioerr said)" -ge "$(jq '.kills * .least_in_ring' said)" ]
    stored_is want 0 aes-256-xts 1000 k4
    end_serving
}

@test "tagged I/O of dialect inline in flight at a kill: the same" {
    begin_serving --image img --size 16M --dialect inline
    random_file k4 64
    front --dialect inline program 4 --key-file k4
    front --dialect inline io --depth 32 --slot 4 --kills 2 --key-file k4 --image want >said
    cat said
    is "$(jq .ok_before_key said)" 0
    [ "$(jq .rekeys said)" -ge 2 ]
    stored_is want 0 aes-256-xts 0 k4
    end_serving
}

# A key operation that the dead one had taken is refused; those that it had not are run.
key_kill() { # DIALECT SEED
    front --dialect "$1" --size 256 keys --slot 0 --count 200 --key-file k0 --seed "$2" >said
    cat said
    is "$(jq .refused said)" "$(jq .in_log said)" "refused"
    is "$(jq '.refused + .ran' said)" 200
    is "$(icectl --json slot list | jq -c 'map(select(.programmed).slot)')" "$(jq -c .programmed said)"
}

@test "key operations in flight at a kill are IOERR and never run again" {
    local i in_log=0 dialect
    random_file k0 64
    for dialect in ice2 inline; do
        rm -f enough
        begin_serving --image img --size 1M --dialect $dialect
        for ((i = 0; i < 3 * SCALE || in_log == 0; i++)); do
            [ $i -lt $((30 * SCALE)) ]
            key_kill $dialect $i
            in_log=$((in_log + $(jq .in_log said)))
        done
        end_serving
    done
}
