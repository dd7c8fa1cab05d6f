# SPDX-License-Identifier: BSD-2-Clause
"""What one 4 KiB request costs icesim on each path: allocations and system calls.

    counters.py COUNTS TRACE [MOUNT]

COUNTS is the file of icesim-counted (tests/tools/allocount.c), TRACE what `strace -f -o` writes of
the same process. Measures the files of MOUNT, or else the sockets; a line for each result."""

import os
import re
import struct
import sys
import time

from icesock import *

OURS, SECRET, LIBFUSE, OTHERS, FREES = range(5)
UNIT, MEASURED, WARM = 4096, 320, 64
THREADS = 16  # of the mount; the sockets have fewer

# ---- the record: what a request may cost ----
#
# Allocations: ours are none on any path; libfuse makes one per request (its fuse_req). System calls
# come in two columns. `work` moves bytes, and hardly varies:
#   socket  recvmsg for the head, for a write another for the data, preadv or pwritev of the media,
#           sendmsg of the reply; with 32 in flight one recvmsg brings the heads of many reads
#   FUSE    read and writev of /dev/fuse, preadv or pwritev of the media; one access to the media for
#           each part of a range that begins or ends inside a unit
# `wake` is epoll_wait, epoll_ctl and futex: how threads wait and wake each other, which varies with
# the scheduler, so its record is a bound against a lock or a thread too many, not a measure.
RECORD = {}


def record(name, work, wake=0.2, libfuse=1):
    RECORD[name] = (work, wake, libfuse)


for kind in ("plain", "tagged"):
    record(f"socket read {kind}, 1 in flight", 3.5, wake=8, libfuse=0)
    record(f"socket write {kind}, 1 in flight", 4.5, wake=8, libfuse=0)
    record(f"socket read {kind}, 32 in flight", 2.5, wake=8, libfuse=0)
    record(f"socket write {kind}, 32 in flight", 3.5, wake=8, libfuse=0)
for file in ("slot/0", "view/native", "view/fallback"):
    record(f"FUSE {file} read, whole unit", 3.2)
    record(f"FUSE {file} write, whole unit", 3.2)
    record(f"FUSE {file} read, partial units", 4.2)
    record(f"FUSE {file} write, partial units", 6.2)
record("FUSE raw read, whole unit", 3.2)
record("FUSE raw write, whole unit", 3.2)
record("FUSE raw read, partial sectors", 5.2)
record("FUSE raw write, partial sectors", 7.2)

WAKE = {"epoll_wait", "epoll_pwait", "epoll_ctl", "futex"}


# ---- counting ----


class Counts:
    def __init__(self, path, trace):
        self.path, self.trace = path, trace

    def allocations(self):
        with open(self.path, "rb") as file:
            return struct.unpack("5Q", file.read(40))

    def trace_end(self):
        """The length of the trace once nothing more comes."""
        length = -1
        while length != (length := os.path.getsize(self.trace)):
            time.sleep(0.05)
        return length

    def calls(self, start, end):
        """System calls that began in this part of the trace, by name."""
        with open(self.trace, "rb") as file:
            file.seek(start)
            lines = file.read(end - start).decode(errors="replace").splitlines()
        names = (re.match(r"\d+ +(\w+)\(", line) for line in lines)
        names = [match[1] for match in names if match]
        return {name: names.count(name) for name in sorted(set(names))}


def measure(counts, batch, size):
    """Runs batch() until WARM, then until MEASURED requests; `size` requests a batch."""
    for _ in range(WARM // size):
        batch()
    start, before = counts.trace_end(), counts.allocations()
    for _ in range(MEASURED // size):
        batch()
    after, end = counts.allocations(), counts.trace_end()
    made = [b - a for a, b in zip(before, after)]
    return made, counts.calls(start, end)


failed = 0


def check(good, name, detail):
    global failed
    print(f"{'as recorded' if good else 'ABOVE THE RECORD'}: {name}: {detail}", flush=True)
    failed += not good


def judge(name, made, calls):
    work_limit, wake_limit, libfuse = RECORD.pop(name)
    wake = sum(n for call, n in calls.items() if call in WAKE) / MEASURED
    work = sum(calls.values()) / MEASURED - wake
    each = ", ".join(f"{call} {n / MEASURED:.2f}" for call, n in calls.items() if n >= MEASURED / 50)
    check(0 < work <= work_limit and wake <= wake_limit, name,
          f"{work:.2f} + {wake:.2f} system calls, at most {work_limit} + {wake_limit} ({each})")
    # A thread's first request makes its secret buffer, and a thread may get its first one here; so
    # may a connection the buffers of as many requests as there are workers.
    check(made[OURS] <= 8 and made[SECRET] <= THREADS, name,
          f"{made[OURS]} allocations of ours, {made[SECRET]} of secret memory")
    # A thread's first request makes libfuse's buffer, too.
    check(made[LIBFUSE] <= libfuse * MEASURED + 16 and made[OTHERS] <= 16, name,
          f"{made[LIBFUSE]} allocations of libfuse, {made[OTHERS]} of other libraries")


# ---- the paths ----


def over_socket(device, write, slot, depth):
    sector, data = 0, bytes(UNIT)

    def batch():
        nonlocal sector
        frames, tags = b"", []
        for i in range(depth):
            sector = (sector + 8) % 4096
            head = struct.pack("<IIQ", T_OUT if write else T_IN, 0, sector)
            head += struct.pack("<BBHIQ", slot or 0, slot is not None, 0, 0, sector // 8)
            device.tag += 1
            tags.append(device.tag)
            frames += encode([REQUEST, device.tag, 0, 1 if write else UNIT + 1,
                              head + data if write else head])
        device.raw(frames)
        for tag in tags:
            status, _, why = device.finish(tag, 0 if write else UNIT)
            assert status == OK, why

    return batch


def over_fuse(fd, write, skew):
    offset, data = 0, bytes(UNIT)

    def batch():
        nonlocal offset
        offset = (offset + UNIT) % (1 << 20)
        if write:
            assert os.pwrite(fd, data, offset + skew) == UNIT
        else:
            assert len(os.pread(fd, UNIT, offset + skew)) == UNIT

    return batch


def sockets(counts):
    device = Device(ICE | VERSION_1 | KEY_OPS | FLUSH | CONFIG_WCE)
    for depth in (1, 32):
        for write in (False, True):
            for slot in (None, 0):
                name = (f"socket {'write' if write else 'read'} "
                        f"{'plain' if slot is None else 'tagged'}, {depth} in flight")
                judge(name, *measure(counts, over_socket(device, write, slot, depth), depth))
    device.close()


def files(counts, mount):
    for path, partial in (("slot/0", "partial units"), ("view/native", "partial units"),
                          ("view/fallback", "partial units"), ("raw", "partial sectors")):
        fd = os.open(os.path.join(mount, path), os.O_RDWR)
        for skew, what in ((0, "whole unit"), (100, partial)):
            for write in (False, True):
                name = f"FUSE {path} {'write' if write else 'read'}, {what}"
                judge(name, *measure(counts, over_fuse(fd, write, skew), 1))
        os.close(fd)


def main():
    counts = Counts(sys.argv[1], sys.argv[2])
    assert sum(counts.allocations()) > 0, "nothing is counted"
    if len(sys.argv) > 3:
        files(counts, sys.argv[3])
    else:
        sockets(counts)
    left = [name for name in RECORD if name.startswith("FUSE") == (len(sys.argv) > 3)]
    assert not left, f"not measured: {left}"
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
