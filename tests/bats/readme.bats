#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The shell lines of README.md run as they stand there, and print what stands below them.

load helpers

setup() {
    common_setup
    unset ICESIM_DIR
    export XDG_RUNTIME_DIR=$T/user
    mkdir -m 700 user
}

session() { # PROMPT [without TEXT]
    PYTHONDONTWRITEBYTECODE=1 at_length \
        python3 "$top_srcdir/tests/bats/readme.py" "$top_srcdir/README.md" "$@" 3>&-
}

@test "README: root's session with a mount" {
    requires python3 mkfs.ext4
    requires_fuse
    requires_loop
    session '#' without cryptsetup
}

@test "README: the image of that session opened by dm-crypt" {
    requires python3 mkfs.ext4 cryptsetup
    requires_fuse
    requires_loop
    dmsetup version >/dev/null 2>&1 || skip "no device mapper"
    session '#' || {
        umount plain || true
        cryptsetup close mirror || true
        return 1
    }
}

@test "README: the session on the socket" {
    requires python3 xxd
    session '$'
}

@test "README: the packages to build with are those that tests/run.sh installs" {
    named=$(sed -n '/^    apt install/,/[^\\]$/p' "$top_srcdir/README.md" |
        sed 's/apt install//; s/\\$//' | xargs -n1 | sort)
    installed=$(sed -n '/^build_packages=/,/"$/p' "$top_srcdir/tests/run.sh" |
        sed 's/build_packages=//; s/"//g' | xargs -n1 | grep -vx libc6-dev | sort) # gcc brings it
    is "$named" "$installed" packages
    grep -qF 'autoreconf -fi && ./configure && make && make install' "$top_srcdir/README.md"
}

@test "README: files and documents that it names are there" {
    grep -oE '`?(man|examples|tests|build-aux|bench)/[a-z0-9./-]+|`[A-Z]+(\.md)?`' \
        "$top_srcdir/README.md" | tr -d '`' | sort -u >named
    [ "$(wc -l <named)" -ge 5 ]
    while read -r name; do
        [ -e "$top_srcdir/$name" ] || {
            echo "README.md names $name"
            false
        }
    done <named
}
