# SPDX-License-Identifier: BSD-2-Clause
#
# What the tests with guests share: real kernels whose own virtio_blk drives icesim. A file of tests
# has one folder, $T, one server and one guest, booted once in setup_file; its tests run in order
# and talk to both. The guest runs agent.sh: `guest SCRIPT` has it run a script, prints what that
# printed and returns its status. The disk is /dev/vda there, and the image `disk` here.
#
# In $T: console, what the guest's kernel said; guest.in and guest.out, the agent's terminal; log, of
# icesim; m, its mount where there is FUSE; vm0, the vhost-user socket.

load "${BATS_TEST_DIRNAME}/../bats/helpers.bash"

patience=300 # the guests are emulated

# ---- one folder, one server and one guest for all tests of a file ----

use_folder() {
    T=$BATS_FILE_TMPDIR
    cd "$T" || return 1
    export ICESIM_DIR=$T/run LC_ALL=C.UTF-8
    unset ICESIM_MOUNT
    servers=() connections=()
    server=$(cat server 2>/dev/null) || server=''
}

prepare_folder() {
    use_folder
    : >loops
    : >console
    echo 0 >guest.tag
}

setup() {
    use_folder
}

# What the guest's kernel and icesim said last goes with a failure.
teardown() {
    [ -n "${BATS_TEST_COMPLETED:-}" ] || [ -n "${BATS_TEST_SKIPPED:-}" ] || {
        echo "the guest's console:"
        tail -n 20 console
        echo "icesim's log:"
        tail -n 20 log
    }
}

teardown_file() {
    use_folder
    local pid
    for pid in $(cat guest.pid 2>/dev/null) $server; do
        ! alive "$pid" || servers+=("$pid")
    done
    # user-mode Linux runs its processes in processes that outlive it
    [ ! -s guest.pid ] || kill -9 -- "-$(cat guest.pid)" 2>/dev/null || true
    connections=($(connection_of "$T/m"))
    clean_up
}

has_fuse() {
    { : <>/dev/fuse; } 2>/dev/null && command -v fusermount3 >/dev/null
}

serve() { # [OPTION...]
    local mount=()
    ! has_fuse || mount=(--mount m)
    mkdir m 2>/dev/null || true
    start --image disk --vhost-user "vm0=$T/vm0" "${mount[@]}" "$@"
    disown "$server" # so that the shell says nothing of its end
    echo "$server" >server
}

# ---- the guest ----

# Runs a VMM or a kernel, whose standard input and output are the agent's terminal, and waits until
# the agent speaks. Its exit status goes into guest.status.
boot() { # COMMAND...
    mkfifo guest.in
    {
        setsid "$@" <>guest.in >guest.out &
        echo $! >guest.pid
        wait $!
        echo $? >guest.status
    } 2>>console 3>&- &
    eventually answered_or_gone 0 && answered 0 || {
        echo "the guest did not start: $*"
        tail -n 40 console guest.out
        return 1
    }
}

guest_is_gone() {
    [ -s guest.status ]
}

answered() { # TAG
    grep -q "^= $1 [0-9]* =$" guest.out # all of the line
}

answered_or_gone() { # TAG
    answered "$1" || guest_is_gone
}

# Sends a script and returns; guest_answer waits for its end.
guest_begin() { # SCRIPT
    local tag
    tag=$(($(cat guest.tag) + 1))
    echo $tag >guest.tag
    printf '%s\n. %s\n' "$1" "$tag" 1<>guest.in
}

# Prints what the script printed and returns its status.
guest_answer() {
    local tag status output
    tag=$(cat guest.tag)
    eventually answered_or_gone "$tag"
    output=$(sed "1,/^= $((tag - 1)) /d; /^= $tag /d" guest.out)
    [ -z "$output" ] || printf '%s\n' "$output"
    status=$(sed -n "s/^= $tag \([0-9]*\) =$/\1/p" guest.out)
    [ -n "$status" ] || {
        echo "the guest does not answer: its status is '$(cat guest.status)'"
        return 99
    }
    return "$status"
}

# A script that fails in the guest fails here; it runs under `set -e`.
guest() { # SCRIPT
    guest_begin "set -e
$1"
    guest_answer
}

# Polls until the script is true in the guest.
guest_eventually() { # SCRIPT
    guest "for i in \$(seq $((10 * patience))); do
        ! ($1) || exit 0
        sleep 0.1
    done
    exit 1" || {
        echo "not within the time: $1"
        return 1
    }
}

# The guest ends by its own power off, and what ran it says that all was well.
power_off() {
    guest_begin 'sync; poweroff -f'
    eventually guest_is_gone
    is "$(cat guest.status)" 0 "the guest's exit status"
}
