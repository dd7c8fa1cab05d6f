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
storm.random(rng, count // 10)
early = storm.rss()
storm.random(rng, count - count // 10)
late = storm.rss()
print("# verified reads meanwhile:", finish_verified(*verified))
untagged(storm)
print("# classes:", dict(storm.classes))
print("# depths:", dict(storm.depths))
print("# clauses of the device:", len(storm.device_clauses))
print(f"# VmRSS: {early['VmRSS']} kB after a tenth, {late['VmRSS']} kB at the end")
missed = [clause for clause, times in storm.seen.items() if not times]
assert not storm.foreign, f"clauses that the test does not know: {storm.foreign}"
assert not missed, f"clauses never met: {missed}"
sanitized = int(late["VmSize"]) > 1 << 30  # kB: shadow memory
assert sanitized or int(late["VmRSS"]) <= int(early["VmRSS"]) + 1024, "memory has grown"
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
time.sleep(0.5)
turned_away_above(1024, 1000 + 8 + 1)
print("# verified reads meanwhile:", finish_verified(*verified))
crowd.disperse()
END
    stop
}

@test "who goes on sending after a malformed frame is cut off, who keeps silent too" {
    start --size 64M
    driver <<'END'
from hostile_storm import *

silent = Connection(hello=False)
silent.raw(b"\xff")
endless = Connection(hello=False)
endless.socket.settimeout(10)
endless.raw(b"\xff")
began = time.monotonic()
try:
    while time.monotonic() < began + 10:
        endless.raw(bytes(1 << 16))
except BrokenPipeError:
    pass
assert 0.5 < time.monotonic() - began < 5, "not within about a second"
time.sleep(1)
try:
    silent.raw(b"\x83\x01\x01\x01")
    raise AssertionError("the silent one is connected yet")
except BrokenPipeError:
    pass
END
    stop
}
