# SPDX-License-Identifier: BSD-2-Clause
#
# What the tests of the programs share. Each test has a folder of its own, $T, which is the working
# directory; icesim serves in $T/run, its log is $T/log, its mount $T/m. Whatever a test leaves
# behind (servers, loop devices, mounts) teardown takes away, with force.
#
# Background processes are started with 3>&-: bats waits until all have closed its descriptor 3.
# What touches a mount runs under `within`: a file system that hangs fails its test, not the machine.
# Tests do not judge how long a thing takes: `patience` is so long that only what hangs fails by it.

bats_require_minimum_version 1.5.0

SCALE=${ICESIM_TEST_SCALE:-1}
patience=60 # seconds; at_length has ten times as long

common_setup() {
    T=$BATS_TEST_TMPDIR
    cd "$T" || return 1
    export ICESIM_DIR=$T/run LC_ALL=C.UTF-8
    unset ICESIM_MOUNT
    server='' servers=() connections=()
    : >loops
}

setup() {
    common_setup
}

teardown() {
    clean_up
}

# ---- what the machine has ----

requires() { # PROGRAM...
    local program
    for program; do
        command -v "$program" >/dev/null || skip "$program is not installed"
    done
}

requires_fuse() {
    { : <>/dev/fuse; } 2>/dev/null || skip "/dev/fuse cannot be opened"
    requires fusermount3
}

requires_loop() {
    [ "$(id -u)" = 0 ] || skip "loop devices need root"
    losetup --find >/dev/null 2>&1 || skip "no loop device can be had"
}

requires_root() {
    [ "$(id -u)" = 0 ] || skip "$1 needs root"
}

is_sanitized() { # PROGRAM
    grep -qa '__[at]san_init' "$(command -v "$1")"
}

# ---- servers ----

within() { # COMMAND...
    timeout -k 1 $patience "$@"
}

# The same for what has much to do.
at_length() { # COMMAND...
    timeout -k 1 $((10 * patience)) "$@"
}

# Polls until the command is true.
eventually() { # COMMAND...
    local end=$((SECONDS + patience))
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || {
            echo "not within the time: $*"
            return 1
        }
        sleep 0.05
    done
}

alive() { # PID
    kill -0 "$1" 2>/dev/null
}

gone() { # PID
    ! alive "$1"
}

# icesim in the background; returns at once. Its process is $server.
launch() { # [OPTION...]
    icesim --dir "$ICESIM_DIR" "$@" >out 2>log 3>&- &
    server=$!
    servers+=("$server")
}

is_ready_or_gone() {
    grep -q '\<ready\>' log || gone "$server"
}

# The device number of the FUSE file system mounted on a path: its connection.
connection_of() { # PATH
    awk -v at="$1" '$5 == at { sub(/.*:/, "", $3); print $3 }' /proc/self/mountinfo
}

is_mounted() { # PATH
    [ -n "$(connection_of "$1")" ]
}

# icesim in the background, serving when this returns.
start() { # [OPTION...]
    launch "$@"
    eventually is_ready_or_gone && alive "$server" && icectl wait || {
        echo "icesim $* did not start:"
        cat log
        return 1
    }
    connections+=($(connection_of "$T/m"))
}

# The same with a mount on m; slot 0 is not programmed.
start_mounted() { # [OPTION...]
    requires_fuse
    mkdir m 2>/dev/null || true # perhaps a dead mount, which cannot be looked at
    start --mount m "$@"
}

# Waits for the end of a server, or of another child, and returns its exit status in $ended.
await_end() { # [PID]
    local pid=${1:-$server}
    eventually gone "$pid" || return 1
    ended=0
    wait "$pid" || ended=$?
}

# A clean stop, as a user does it.
stop() {
    kill "$server"
    await_end
    [ "$ended" = 0 ] || {
        echo "icesim exited with $ended:"
        cat log
        return 1
    }
}

# ---- loop devices ----

# Prints the loop device made on a file.
attach() { # FILE [LOSETUP-OPTION...]
    local file=$1 loop
    shift
    loop=$(within losetup --find --show "$@" "$file") || return 1
    echo "$loop" >>loops
    echo "$loop"
}

detach() { # LOOP
    within losetup -d "$1" && sed -i "\\|^$1\$|d" loops
    eventually is_free "$1"
}

is_free() { # LOOP
    ! losetup "$1" >/dev/null 2>&1
}

# ---- cleaning up ----

clean_up() {
    local loop target connection pid
    cd / || return 1
    exec 7>&- 8>&- 9>&-
    mounts_below "$T" | grep -v "^$T/m\$" | while read -r target; do
        within umount "$target" 2>/dev/null || umount -l "$target"
    done
    while read -r loop; do
        within losetup -d "$loop"
    done <"$T/loops"
    for pid in $(jobs -rp); do # of a function in the background, `timeout` is to be told
        pkill -P "$pid" || true
    done
    for pid in "${servers[@]}"; do
        ! alive "$pid" || kill -9 "$pid"
    done
    for connection in "${connections[@]}"; do
        [ ! -e "/sys/fs/fuse/connections/$connection/abort" ] ||
            echo 1 >"/sys/fs/fuse/connections/$connection/abort"
    done 2>/dev/null
    mounts_below "$T" | while read -r target; do
        umount -l "$target"
    done
    wait
    ! mounts_below "$T" | grep .
}

# Deepest first.
mounts_below() { # FOLDER
    awk -v folder="$1/" 'index($5, folder) == 1 { print $5 }' /proc/self/mountinfo | sort -r
}

# ---- data ----

random_file() { # FILE BYTES
    head -c "$2" /dev/urandom >"$1"
}

zero_file() { # FILE BYTES
    head -c "$2" /dev/zero >"$1"
}

key_bytes() { # ALG
    case $1 in
    aes-256-xts) echo 64 ;;
    aes-128-xts | aes-256-*) echo 32 ;;
    aes-192-*) echo 24 ;;
    aes-128-*) echo 16 ;;
    esac
}

# Programs a slot with a new random key, which is left in the file kSLOT.
program() { # SLOT [ALG [DATA-UNIT]]
    local alg=${2:-aes-256-xts}
    random_file "k$1" "$(key_bytes "$alg")"
    icectl slot program "$1" --alg "$alg" --key-file "k$1" --data-unit "${3:-4096}"
}

sum_of() { # FILE
    sha256sum <"$1"
}

# A number out of `icectl --json stats`.
counted() { # JQ-PATH
    icectl --json stats | jq "$1"
}

# ---- what a test expects ----

is() { # GOT WANT [NAME]
    [ "$1" = "$2" ] || {
        echo "${3:-}: got '$1', not '$2'"
        return 1
    }
}

# A failing `! command` does not end a test; this does.
not() { # COMMAND...
    ! "$@"
}

# The command exits with STATUS, prints one line on standard error, which the extended regular
# expression matches whole, and nothing on standard output.
refused() { # STATUS REGEX COMMAND...
    local want=$1 regex=$2 got=0
    shift 2
    "$@" >stdout 2>stderr 3>&- || got=$?
    echo "$* -> $got"
    cat stderr
    is "$got" "$want" "exit status" || return 1
    is "$(wc -l <stderr)" 1 "lines on standard error" || return 1
    [ ! -s stdout ] || {
        echo "standard output is not empty"
        return 1
    }
    grep -qxE -- "$regex" stderr || {
        echo "the line does not match: $regex"
        return 1
    }
}

# The program fails and its standard error says so. Its standard output is the caller's.
fails_with() { # TEXT COMMAND...
    local text=$1
    shift
    if within "$@" 2>stderr 3>&-; then
        echo "done, but should fail with '$text': $*" >&2
        return 1
    fi
    cat stderr >&2
    grep -qF -- "$text" stderr
}

# Runs the Python program on standard input, with tests/bats/icesock.py at hand.
driver() { # [ARGUMENT...]
    requires python3
    { echo 'from icesock import *'; cat; } >driver.py
    PYTHONPATH=$top_srcdir/tests/bats PYTHONDONTWRITEBYTECODE=1 at_length python3 driver.py "$@" 3>&-
}

# The same in the background. Its process, which is Python itself, is $driver.
launch_driver() { # [ARGUMENT...]
    requires python3
    { echo 'from icesock import *'; cat; } >launched.py
    PYTHONPATH=$top_srcdir/tests/bats PYTHONDONTWRITEBYTECODE=1 python3 launched.py "$@" 3>&- &
    driver=$!
    servers+=("$driver")
}
