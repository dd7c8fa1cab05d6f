#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# A key that a guest programs: what icesim keeps of it, what is the guest's own, and cores.

load vhost

# A key is in memory that the front end shares.
is_shared() { # KEYFILE
    within python3 - "$1" "$front_PID" <<'END'
import sys

key, found = open(sys.argv[1], "rb").read(), False
with open(f"/proc/{sys.argv[2]}/mem", "rb", 0) as memory:
    for line in open(f"/proc/{sys.argv[2]}/maps"):
        if " rw-s " in line and "/memfd:" in line:
            start, end = (int(word, 16) for word in line.split()[0].split("-"))
            memory.seek(start)
            found = found or key in memory.read(end - start)
sys.exit(not found)
END
}

setup() {
    common_setup
    requires vhost-frontend icerefcrypt
    ! is_sanitized icesim || skip "a sanitizer locks no memory, and keeps copies of its own"
    requires_root "reading the memory of a process that is not dumpable"
    random_file img 1M
    random_file key 64
}

@test "guest memory is kept out of cores; a key in it is the guest's, and icesim's copies go" {
    start_vhost
    begin_front
    front_says 0 program 1 --alg aes-256-xts --key-file key
    # the same bytes as data that are read: the front end wipes what it sends
    zero_file data 4096
    dd if=key of=data conv=notrunc status=none
    front_says 0 write data --sector 8
    front_says 0 read back --sector 8 --count 8
    cmp data back
    is_shared key
    # icesim's own copies: in secret memory, which is left out of cores as well, and nowhere else
    not keyscan "$server" key >finds
    grep -q ' schedule, ' finds
    not grep -v 'rw-p .*VmFlags:.* lo .*dd' finds
    front_says 0 evict 1
    front_says 0 read back --sector 8 --count 8
    is_shared key
    keyscan "$server" key
    # each mapping of the guest's memory: shared, dd
    awk '/^[0-9a-f]+-[0-9a-f]+ / { shared = $2 ~ /s$/ && /memfd:guest/ }
        shared && /^VmFlags:/ { n++; if (!/ dd( |$)/) bad = 1 } END { exit bad || !n }' \
        "/proc/$server/smaps"
    end_front
    stop
}
