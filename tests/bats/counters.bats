#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# What one request of 4 KiB costs in system calls and allocations, on each path; the record is in
# counters.py.

load helpers

# As start, with the counting build of icesim under strace.
start_counted() { # [OPTION...]
    requires strace python3
    ! is_sanitized icesim-counted || skip "a sanitizer allocates in its own way"
    ICESIM_COUNTS=$T/counts strace -f -qq -o trace \
        icesim-counted --dir "$ICESIM_DIR" --size 16M --log-level error "$@" --pidfile pid \
        2>log 3>&- &
    tracer=$!
    eventually test -s pid || { # the last thing of a start
        cat log
        return 1
    }
    server=$(cat pid)
    servers+=("$server")
    connections+=($(connection_of "$T/m"))
    program 0
}

counters() { # [MOUNT]
    PYTHONPATH=$top_srcdir/tests/bats PYTHONDONTWRITEBYTECODE=1 at_length \
        python3 "$top_srcdir/tests/bats/counters.py" counts trace "$@" 3>&-
}

@test "requests on the socket: no allocation, no system call above the record" {
    start_counted
    counters
    kill "$server"
    wait "$tracer"
}

@test "requests on files of the mount: no allocation of ours, no system call above the record" {
    requires_fuse
    mkdir m
    start_counted --mount m
    random_file k 64
    icectl view add native --alg aes-256-xts --key-file k --fallback forbid
    icectl view add fallback --alg aes-256-xts --key-file k --fallback force
    counters m
    kill "$server"
    wait "$tracer"
}
