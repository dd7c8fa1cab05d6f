#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Hostile input on the sockets of a real icesim. ICESIM_TEST_SEED gives other input than the usual.

load helpers

@test "hostile frames are answered or end their connection, and nobody else notices" {
    start --size 64M --slots 4 --log-level debug
    driver "$server" "$((10000 * SCALE))" "${ICESIM_TEST_SEED:-2026}" <<'END'
from hostile_storm import *

server, count, seed = map(int, sys.argv[1:])
print("# seed", seed, flush=True)
storm, rng = Storm(server), random.Random(seed)
verified = start_verified()
storm.warm_up()
storm.directed()
if os.geteuid() == 0:
    as_another_user(storm)
else:
    del storm.seen[FORBIDDEN]
sizes = []
for _ in range(10):
    storm.random(rng, count // 10)
    sizes.append(storm.rss())
print("# verified reads meanwhile:", finish_verified(*verified))
untagged(storm)
print("# classes:", dict(storm.classes))
print("# depths:", dict(storm.depths))
print("# clauses of the device:", len(storm.device_clauses))
print("# VmRSS, kB:", *(size["VmRSS"] for size in sizes))
missed = [clause for clause, times in storm.seen.items() if not times]
assert not storm.foreign, f"clauses that the test does not know: {storm.foreign}"
assert not missed, f"clauses never met: {missed}"
sanitized = sizes[-1]["VmSize"] > 1 << 30  # kB: shadow memory
# A worker's buffers come with its first large request, whenever that is; a leak grows in each tenth.
growth = sorted(b["VmRSS"] - a["VmRSS"] for a, b in zip(sizes, sizes[1:]))
assert sanitized or growth[4] * 9 <= 1024, "memory has grown"
END
    stop
}

@test "1000 idle and half-open connections and slow readers do not disturb anyone" {
    ulimit -Sn 1024 # as Debian has it
    start --size 64M --slots 4
    driver "$server" <<'END'
from hostile_storm import *
import resource

most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, 4096), most))
crowd = Crowd(1000)
verified = start_verified()
storm, rng = Storm(int(sys.argv[1])), random.Random(1)
storm.random(rng, 500)
turned_away_above(1024, 1000 - 750 // 2 + 8 + 1)  # every second idle one is at control.sock
print("# verified reads meanwhile:", finish_verified(*verified))
crowd.disperse()
END
    stop
}

@test "who goes on sending after a malformed frame is cut off, who keeps silent too" {
    start --size 64M
    driver <<'END'
import select

silent = Connection(hello=False)
silent.raw(b"\xff")
endless = Connection(hello=False)
began = time.monotonic()
endless.raw(b"\xff")
try:
    while time.monotonic() < began + PATIENCE:
        endless.raw(bytes(1 << 16))
    raise AssertionError("the endless one is connected yet")
except (BrokenPipeError, ConnectionResetError):
    pass
assert time.monotonic() - began > 0.5, "not heard out"
hangup = select.poll()
hangup.register(silent.socket, 0)
assert hangup.poll(PATIENCE * 1000), "the silent one is connected yet"
END
    stop
}
