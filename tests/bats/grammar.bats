#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# icesim-protocol(7) against the sockets: its grammar, and its examples.

load helpers

python() { # PROGRAM [ARGUMENT...]
    requires python3
    PYTHONPATH=$top_srcdir/tests/bats PYTHONDONTWRITEBYTECODE=1 at_length \
        python3 "$@" 3>&-
}

@test "recorded frames match the grammar, all of it occurs, mutated frames do not match" {
    if { : <>/dev/fuse; } 2>/dev/null; then
        start_mounted --size 1M --function vm0,slots=0+28 --vhost-user vm0=guest
        export ICESIM_MOUNT=$T/m
    else
        start --size 1M --function vm0,slots=0+28 --vhost-user vm0=guest
    fi
    python "$top_srcdir/tests/bats/grammar.py" "$top_srcdir/man/icesim-protocol.7"
    stop
}

@test "the examples of the page are what the sockets carry" {
    python "$top_srcdir/build-aux/protocol-examples.py" >generated
    sed -n '/^\.\\" Made by build-aux/,/^\.\\" End of what/p' "$top_srcdir/man/icesim-protocol.7" \
        >printed
    [ -s printed ]
    diff printed generated
}
