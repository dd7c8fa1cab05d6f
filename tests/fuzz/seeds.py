# SPDX-License-Identifier: BSD-2-Clause
"""Writes the seeds of all targets: seeds.py FOLDER makes FOLDER/TARGET/NUMBER."""

import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bats"))
from hostile import *

folder, rng = sys.argv[1], random.Random(1)


def write(target, number, data):
    os.makedirs(os.path.join(folder, target), exist_ok=True)
    with open(os.path.join(folder, target, f"{number:03}"), "wb") as file:
        file.write(data)


def device_seed():
    """Feature mask, then requests: sizes, readable bytes, writable bytes, cuts, the bytes."""
    data = struct.pack("<I", rng.choice((0xFFFFFFFF, 0xFFFFFFFF, rng.getrandbits(32))))
    for _ in range(rng.randrange(1, 6)):
        room, readable = payload(rng, True)
        readable = readable[:255] if len(readable) <= 255 else readable[: 32 + 512]
        extra = len(readable) > 255
        data += bytes([extra, len(readable) - 512 * extra]) + struct.pack("<H", room % 16386)
        data += b"\xff\xff" + readable
    return data


icesim_lines = [
    "--size 64M", "--image f --size 1T --slots 255", "--size 512 --dialect ice2 --log-level debug",
    "--size=4K --dir d --mount m --allow-root --run true --pidfile p --stop-timeout 5 --no-mlock",
    "--help", "--version", "--size 0x200", "--size 99999999999T", "--slots 0 --size 1M", "--", "--bogus",
]
icectl_lines = [
    "info", "--json info", "caps", "slot list", "slot evict 3", "slot evict --all", "io flush",
    "slot program 0 --alg aes-256-xts --key-file k --data-unit 4096", "--help", "--version",
    "io read --sector 0 --count 8 --slot 0 --dun 7 --data-unit 512", "io write --sector 0 f",
    "io discard --sector 8 --count 8", "reset --scope engine", "stats", "--timeout 1 io id",
    "-d d -f vm0 io lifetime", "io zero --sector 0xffffffffffffffff --count 1",
]
words = ["0", "0x1f", "999", "1001", "18446744073709551616", "64K", "1T", "4KB", "vm0", "control", "a-b_c"]

for number in range(60):
    write("frame", number, rng.randbytes(8) + encode(device_frame(rng, True)))
    write("frame", 100 + number, join(tokens(control_frame(rng))))
    frames = b"".join(encode(device_frame(rng, True)) for _ in range(6))
    write("message", number, b"\1" + frames)
    write("message", 100 + number, b"\0" + b"".join(encode(control_frame(rng)) for _ in range(4)))
    write("device", number, device_seed())
for kind, lines in enumerate(([" ".join(words)], icesim_lines, icectl_lines)):
    for number, line in enumerate(lines):
        write("options", 100 * kind + number, bytes([kind]) + "\0".join(line.split()).encode())
