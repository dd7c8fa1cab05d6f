#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Where key bytes are, and are not: the memory of the server, its log, its command line.

load helpers

setup() {
    common_setup
    requires_root "reading the memory of another process"
    start --size 16M --log-level debug
    cat >memory.py <<'END'
import re

def pieces(*paths):
    """Every 16-byte run of the keys in these files that starts at a multiple of 8."""
    keys = [open(path, "rb").read() for path in paths]
    return [key[at:at + 16] for key in keys for at in range(0, len(key) - 15, 8)]

def found(pid, runs):
    """How often any of the runs is in the memory of the process, by mapping."""
    where = []
    memory = open(f"/proc/{pid}/mem", "rb", buffering=0)
    for line in open(f"/proc/{pid}/maps"):
        start, end = (int(part, 16) for part in line.split()[0].split("-"))
        if end - start > 1 << 30 or "[v" in line:
            continue
        for at in range(start, end, 1 << 20):
            try:
                memory.seek(at)
                part = memory.read(min(1 << 20, end - at) + 16)
            except (OSError, ValueError):
                continue
            where += [line.strip() for run in runs if run in part]
    return where
END
}

# The keys in these files are nowhere in the server's memory, or are: to see that the search works.
absent() { # FILE...
    search "$@" <<<'assert not where, where'
}

present() { # FILE...
    search "$@" <<<'assert where'
}

search() { # FILE..., the check on standard input
    { printf 'import sys\nsys.path.insert(0, ".")\nfrom memory import *\n'
      printf 'where = found(sys.argv[1], pieces(*sys.argv[2:]))\n'; cat; } >search.py
    requires python3
    PYTHONDONTWRITEBYTECODE=1 within python3 search.py "$server" "$@"
}

# Uses a slot in every way, so that cipher contexts have been where they may be.
use() { # SLOT
    random_file f $((8 << 20))
    icectl io write --sector 0 --slot "$1" --dun 0 f
    icectl io read --sector 0 --count 16384 --slot "$1" --dun 0 -o got
    cmp f got
}

@test "a key is gone from memory after evict" {
    for alg in aes-256-xts aes-192-cbc-essiv aes-256-cbc-bitlocker aes-128-ecb; do
        program 0 $alg
        use 0
        present k0
        icectl slot evict 0
        absent k0
    done
}

@test "the old key is gone once a slot is programmed anew" {
    program 0
    use 0
    cp k0 old
    program 0
    present k0
    absent old
    use 0
    absent old
}

@test "keys that were refused are gone" {
    random_file half 32
    cat half half >k
    refused 1 '.*equal' icectl slot program 0 --alg aes-256-xts --key-file k
    absent k
    random_file k 64
    refused 1 ".*window.*" icectl slot program 77 --alg aes-256-xts --key-file k
    absent k
    refused 1 ".*(131072|advertised).*" \
        icectl slot program 7 --alg aes-256-xts --key-file k --data-unit 128K
    absent k
}

@test "keys are gone after a reset of the function, the engine, the device" {
    for scope in function engine; do
        program 0
        program 5 aes-256-cbc-essiv
        use 0
        use 5
        icectl reset --scope $scope
        absent k0 k5
    done
    driver <<'END'
key = os.urandom(64)
open("k", "wb").write(key)
d = Device(VERSION_1 | ICE | KEY_OPS)
assert d.program(1, key)[0] == OK
d.write(0, bytes(65536), slot=1, dun=0)
d.call(SET_STATUS, 0)
END
    absent k
}

@test "keys are gone while the connection that brought them lives on" {
    driver "$server" <<'END'
import sys
from memory import found

def runs(*keys):
    return [key[at:at + 16] for key in keys for at in range(0, len(key) - 15, 8)]

good, outside, equal = os.urandom(64), os.urandom(64), os.urandom(32) * 2
d = Device(VERSION_1 | ICE | KEY_OPS)
assert d.program(1, good)[0] == OK
assert d.program(99, outside)[0] == IOERR
assert d.program(1, equal)[0] == IOERR
assert found(sys.argv[1], runs(good))
where = found(sys.argv[1], runs(outside, equal))
assert not where, where
assert d.evict(1)[0] == OK
where = found(sys.argv[1], runs(good))
assert not where, where
assert d.call(GET_STATUS) == 15
END
}

@test "with FUSE and a loop device above, too" {
    requires_fuse
    requires_loop
    stop
    start_mounted --size 16M
    program 0
    loop=$(attach m/slot/0)
    random_file f $((4 << 20))
    within dd if=f of="$loop" bs=1M oflag=direct
    present k0
    detach "$loop"
    icectl slot evict 0
    absent k0
}

@test "keys are in no log, not even at level debug, and not on standard output" {
    requires xxd
    program 0
    use 0
    icectl --json slot list >>out
    icectl slot list >>out
    icectl --json info >>out
    icectl stats >>out
    icectl slot evict 0
    stop
    [ -s log ]
    cat log out | tr -d ' :\n' >text
    xxd -p log | tr -d '\n' >>text
    for at in 1 17 33 49; do
        not grep -q "$(tail -c +$at k0 | head -c 8 | xxd -p)" text
    done
}
