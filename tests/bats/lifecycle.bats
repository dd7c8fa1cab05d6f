#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Start and stop: what is there while a server serves, and what is left when it has gone.

load helpers

nothing_left() {
    [ ! -e run ] || {
        ls -la run
        return 1
    }
    not is_mounted "$T/m"
}

no_sockets() {
    [ ! -e run/vm0.sock ] && [ ! -e run/control.sock ]
}

@test "ready is logged once everything serves; sockets are 0600, folders 0700" {
    requires_fuse
    umask 000
    mkdir m
    launch --size 1M --mount m --pidfile pid
    eventually grep -q '\<ready\>' log
    icectl info >/dev/null
    within stat m/raw
    is "$(cat pid)" "$server" "pid file"
    is "$(stat -c '%a %F' run)" "700 directory"
    is "$(stat -c '%a %F' run/vm0.sock run/control.sock)" "600 socket
600 socket"
    is "$(grep -c '\<ready\>' log)" 1
    is "$(cat out)" "" "standard output"
    stop
    [ ! -e pid ]
    nothing_left
}

@test "SIGTERM and SIGINT with nothing open: exit 0 at once, no leftovers" {
    requires_fuse
    for signal in TERM INT; do
        start_mounted --image image --size 1M --stop-timeout 3600
        program 0
        within dd if=m/slot/0 of=/dev/null bs=4096 count=1
        kill -$signal "$server"
        await_end
        is "$ended" 0 "exit status after SIG$signal"
        nothing_left
    done
}

@test "a connected client does not hold up the stop" {
    requires python3
    start --size 1M
    launch_driver <<'END'
link = Device(VERSION_1 | FLUSH)
open("connected", "w").close()
assert link.frame() is None
END
    eventually test -e connected
    stop
    await_end "$driver"
    is "$ended" 0 "exit status of the client"
}

@test "a runtime folder that was there stays, empty" {
    mkdir -m 755 run
    start --size 1M
    stop
    is "$(ls -A run)" ""
}

@test "after SIGKILL a new start works: sockets, dead mount and pid file are replaced" {
    requires_fuse
    start_mounted --image image --size 1M --pidfile pid
    program 0
    random_file a 4096
    within dd if=a of=m/slot/0 bs=4096 conv=notrunc
    kill -9 "$server"
    await_end || true
    [ -S run/vm0.sock ]
    fails_with "not connected" stat m
    start_mounted --image image --pidfile pid
    is "$(cat pid)" "$server" "pid file"
    is "$(mounts_below "$T" | wc -l)" 1 mounts
    icectl slot program 0 --alg aes-256-xts --key-file k0
    within dd if=m/slot/0 bs=4096 count=1 status=none | cmp - a
    stop
    nothing_left
}

@test "after SIGKILL the sockets of functions that are no more go; what others have stays" {
    requires python3
    mkdir run
    start --size 1M --function a,slots=0+8,sectors=0+1024 --function b,slots=8+8,sectors=1024+1024
    kill -9 "$server"
    await_end || true
    python3 -c '
import os, socket, time
os.umask(0o177)
served, other = (socket.socket(socket.AF_UNIX) for _ in range(2))
served.bind("run/served.sock")
served.listen()
os.umask(0)
other.bind("run/other.sock")
open("run/file.sock", "w").close()
open("bound", "w").close()
time.sleep(3600)' 3>&- &
    servers+=($!)
    eventually test -e bound
    start --size 1M --function a,slots=0+8,sectors=0+1024
    is "$(cd run && echo *)" "a.sock control.sock file.sock lock other.sock served.sock"
    stop
    is "$(cd run && echo *)" "file.sock other.sock served.sock"
}

@test "after SIGKILL below a loop device: a new start works, the old loop device is dead" {
    requires_fuse
    requires_loop
    start_mounted --size 1M
    program 0
    loop=$(attach m/slot/0)
    kill -9 "$server"
    await_end || true
    start_mounted --size 1M
    program 0
    fails_with "error" dd if="$loop" of=/dev/null bs=4096 count=1 iflag=direct
    within dd if=m/slot/0 of=/dev/null bs=4096 count=1
    detach "$loop"
    stop
    nothing_left
}

@test "a second server on the same folder is refused, the first goes on" {
    start --size 1M
    refused 1 "icesim: .*$T/run.*" icesim --dir "$T/run" --size 1M
    is "$(jobs -r | wc -l)" 1
    icectl info >/dev/null
    stop
}

@test "starts at once: one of them wins" {
    for i in 1 2 3 4; do
        icesim --dir "$T/run" --size 1M 2>"log$i" >&2 3>&- &
        servers+=($!)
    done
    one_runs() { [ "$(jobs -r | wc -l)" = 1 ]; }
    eventually one_runs
    one_is_ready() { [ "$(cat log? | grep -c '\<ready\>')" = 1 ]; }
    eventually one_is_ready
    icectl info >/dev/null
    kill $(jobs -rp)
}

@test "stop below an open loop device: no new opens, it goes on serving until it is detached" {
    requires_fuse
    requires_loop
    start_mounted --image image --size 4M --stop-timeout 3600
    program 0
    loop=$(attach m/slot/0)
    random_file a $((1 << 20))
    kill "$server"
    name_is_gone() { [ ! -e m/raw ] && no_sockets; }
    eventually name_is_gone
    not is_mounted "$T/m"
    refused 5 'icectl: info: .*' icectl info
    within dd if=a of="$loop" bs=64K oflag=direct
    within dd if="$loop" bs=64K count=16 iflag=direct status=none | cmp - a
    alive "$server"
    detach "$loop"
    await_end
    is "$ended" 0 "exit status"
    head -c 1M image >cipher
    icerefcrypt dec aes-256-xts 4096 0 k0 <cipher | cmp - a
    nothing_left
}

@test "--stop-timeout ends it: exit 1, which names file and loop device" {
    requires_fuse
    requires_loop
    # This one has more time.
    ICESIM_DIR=$T/patient start_mounted --size 1M --stop-timeout 3600
    exec 8<m/raw
    kill "$server"
    eventually not is_mounted "$T/m"
    patient=$server
    start_mounted --size 4M --stop-timeout 1
    program 0
    loop=$(attach m/slot/0)
    exec 7<m/raw
    begin=$(date +%s%N)
    kill "$server"
    await_end
    [ $(($(date +%s%N) - begin)) -gt 900000000 ]
    is "$ended" 1 "exit status"
    alive "$patient"
    cat log
    grep -qE "(slot/0.*$loop\>|$loop\>.*slot/0)" log
    grep -qE '\<raw\>' log
    fails_with "error" dd if="$loop" of=/dev/null bs=4096 count=1 iflag=direct
    exec 7<&-
    detach "$loop"
    nothing_left
}

@test "a second signal ends it at once: exit 1" {
    requires_fuse
    start_mounted --size 4M --stop-timeout 3600
    exec 7<m/raw
    kill "$server"
    eventually no_sockets
    sleep 0.3
    alive "$server"
    within dd bs=512 count=1 status=none <&7 | cmp - <(head -c 512 /dev/zero)
    kill "$server"
    await_end
    is "$ended" 1 "exit status"
    grep -qE '\<raw\>' log
    nothing_left
}

@test "--stop-timeout 0 does not wait" {
    requires_fuse
    start_mounted --size 4M --stop-timeout 0
    exec 7<m/raw
    kill "$server"
    await_end
    is "$ended" 1 "exit status"
}

@test "--run: icesim exits with the status of the command" {
    for want in 0 1 7 125; do
        run icesim --dir run --size 1M --run "exit $want" 3>&-
        is "$status" "$want"
        nothing_left
    done
    run icesim --dir run --size 1M --run 'kill -KILL $$' 3>&-
    is "$status" 137
    run icesim --dir run --size 1M --run 'kill -TERM $$' 3>&-
    is "$status" 143
    run -127 icesim --dir run --size 1M --run '/no/such/program' 3>&-
    nothing_left
}

@test "--run: ICESIM_DIR, ICESIM_MOUNT, PATH; its output, input and signals are its own" {
    requires_fuse
    mkdir m
    cat >job <<'END'
echo "$ICESIM_DIR"
echo "$ICESIM_MOUNT"
echo "${PATH%%:*}"
cat
ls m
icectl --json info >info
ls -l /proc/self/fd | grep -cE 'socket|/dev/fuse|memfd|image' >fds
grep -E '^Sig(Blk|Ign)' /proc/self/status >signals
END
    echo 'from standard input' >input
    icesim --dir run --image image --size 1M --mount m --run 'sh job' <input >output 2>log 3>&-
    folder=$(dirname "$(readlink -f "$(command -v icesim)")")
    is "$(cat output)" "$T/run
$T/m
$folder
from standard input
raw
slot
status.json
view"
    is "$(cat fds)" 0 "descriptors of icesim that the command has"
    grep -q '^SigBlk:\s*0*$' signals
    grep -qE '^SigIgn:\s*[0-9a-f]{8}[08]0000000$' signals # but for two that libc keeps to itself
    [ -s info ]
    unset ICESIM_DIR
    icesim --dir run --size 1M --run 'test -z "${ICESIM_MOUNT+x}" && icectl info' 3>&- >output
    [ -s output ]
}

@test "--run: files cut off at the end make status 0 a 1, and keep other statuses" {
    requires_fuse
    mkdir m
    run icesim --dir run --size 1M --mount m --stop-timeout 1 \
        --run 'exec 9<m/raw; sleep 3600 >/dev/null 2>&1 & echo $! >pid' 3>&-
    kill "$(cat pid)"
    echo "$output"
    is "$status" 1
    [[ $output == *raw* ]]
    run icesim --dir run --size 1M --mount m --stop-timeout 0 \
        --run 'exec 9<m/raw; sleep 3600 >/dev/null 2>&1 & echo $! >pid; exit 9' 3>&-
    kill "$(cat pid)"
    is "$status" 9
    nothing_left
}

@test "--run: a signal to icesim ends the command too" {
    launch --size 1M --run 'echo $$ >pid; exec sleep 3600'
    eventually test -s pid
    kill "$server"
    await_end
    is "$ended" 143 "exit status"
    gone "$(cat pid)"
    nothing_left
}

@test "without --dir: XDG_RUNTIME_DIR/icesim" {
    unset ICESIM_DIR
    export XDG_RUNTIME_DIR=$T
    icesim --size 1M --run 'echo $ICESIM_DIR; icectl info >info; stat -c %a icesim' >output 3>&-
    is "$(cat output)" "$T/icesim
700"
    [ -s info ]
    [ ! -e icesim ]
}

@test "--slots, --size: what the driver sees" {
    requires jq
    start --size 0x100000 --slots 255
    is "$(icectl --json slot list | jq length)" 255
    is "$(icectl --json info | jq -r '.size, .config.max_slots' | tr '\n' ' ')" "0x100000 255 "
    program 254
    refused 1 "icectl: slot program 255: outside vm0's window 0\.\.254" \
        icectl slot program 255 --alg aes-256-xts --key-file k254
}

@test "a terabyte of RAM costs nothing until it is written: reading it adds no memory" {
    requires jq
    start --size 1T
    is "$(icectl --json info | jq -r '.size')" 0x10000000000
    icectl io read --sector 0x7fffffff --count 1 | cmp - <(head -c 512 /dev/zero)
    before=$(memory_of "$server")
    icectl io read --sector 0x40000000 --count 262144 | cmp - <(head -c 128M /dev/zero)
    no_more() { [ $(($(memory_of "$server") - before)) -lt 16384 ]; }
    eventually no_more # once the connection's buffers are given back
}

# KiB: what is resident, and what the memory files hold.
memory_of() { # PID
    local file
    {
        awk '/VmRSS/ { print $2 }' "/proc/$1/status"
        for file in /proc/"$1"/fd/*; do
            [[ $(readlink "$file") != /memfd:* ]] || stat -L -c %b "$file" | awk '{ print $1 / 2 }'
        done
    } | awk '{ sum += $1 } END { print int(sum) }'
}
