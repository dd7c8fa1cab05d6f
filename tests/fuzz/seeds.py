# SPDX-License-Identifier: BSD-2-Clause
"""Writes the seeds of all targets: seeds.py FOLDER makes FOLDER/TARGET/NUMBER."""

import os
import random
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "bats"))
from hostile import *

folder, rng = sys.argv[1], random.Random(1)
inline_keys = [rng.randbytes(64) for _ in range(3)]


def write(target, number, data):
    os.makedirs(os.path.join(folder, target), exist_ok=True)
    with open(os.path.join(folder, target, f"{number:03}"), "wb") as file:
        file.write(data)


def inline_payload(kind):
    """Queue, room and a readable part of dialect inline, mostly right."""
    control = kind >= 29
    readable = struct.pack("<IIQ", kind, 0, 0 if control else rng.randrange(1024))
    if kind in (27, 28):
        readable += struct.pack("<IIQQQQ", rng.randrange(4), 0, rng.getrandbits(40), 0, 0, 0)
    if kind in (1, 27):
        readable += rng.randbytes(512)
    if kind == 30:
        key_type, unit_bits = rng.choice((1, 1, 1, 2)), rng.choice((9, 9, 12))
        readable += struct.pack("<I", rng.randrange(1, 4)) + rng.randbytes(64).ljust(128, b"\0")
        readable += struct.pack("<IIIII", 64, 1, key_type, unit_bits, rng.choice((1, 8, 16)))
    elif kind == 31:
        readable += struct.pack("<I", rng.randrange(1, 4))
    elif kind in (32, 34, 35):
        readable += struct.pack("<I", 32) + rng.randbytes(32).ljust(128, b"\0")
    room = {0: 512, 28: 512, 29: 128, 32: 32, 33: 132, 34: 132, 35: 132}.get(kind, 0)
    return 16 if control else 0, room + 1, readable


def ice_payload(kind):
    """The same of ice1 and ice2; None: as hostile.py has it."""
    if kind is None:
        return (0, *payload(rng, True))
    readable = struct.pack("<IIQ", kind, 0, rng.randrange(1024) if kind in (0, 1, 41, 42) else 0)
    keyed = kind in (41, 42, 43)
    slot, activate = 0 if keyed else rng.randrange(4), kind < 2 or kind in (41, 42)
    readable += struct.pack("<BBHIQ", slot, activate, 0, 0, rng.getrandbits(40))
    if kind == 1:
        readable += rng.randbytes(512)
    elif kind in (29, 41, 42, 43):
        readable += struct.pack("<BBHBBBB", rng.randrange(1, 4) if kind == 29 else 0, 1, 64, 0, 0, 3, 0)
        readable += (rng.randbytes(64) if kind == 29 else rng.choice(inline_keys)).ljust(128, b"\0")
        if kind == 41:
            readable += rng.randbytes(512)
    elif kind in (33, 37, 39):
        readable += struct.pack("<I", 32) + rng.randbytes(32).ljust(128, b"\0")
    room = {0: 512, 42: 512, 33: 32, 36: 132, 37: 132, 39: 132}.get(kind, 0)
    return 0, room + 1, readable


def device_seed():
    """Function, feature mask, then requests: sizes, readable bytes, writable bytes, queue, cuts, the
    bytes. The first two program slots."""
    function = rng.choice((0, 1, 2, 2, 96, 97, rng.randrange(192)))
    data = bytes([function]) + struct.pack("<I", rng.choice((0xFFFFFFFF, 0xFFFFFFFF, rng.getrandbits(32))))
    for number in range(rng.randrange(3, 8)):
        if function % 3 == 2:
            kinds = (0, 1, 4, 11, 27, 27, 28, 28, 29, 30, 31, 32, 33, 34, 35)
            queue, room, readable = inline_payload(30 if number < 2 else rng.choice(kinds))
        else:
            kinds = (None, None, None, 0, 0, 1, 1, 33, 36, 37, 39)
            first = 29
            if function in (96, 97):
                kinds, first = (None, 0, 1, 41, 41, 42, 42, 43, 37, 39), 41
            queue, room, readable = ice_payload(first if number < 2 else rng.choice(kinds))
        readable = readable[:255] if len(readable) <= 255 else readable[: 56 + 512]
        extra = len(readable) > 255
        data += bytes([extra | 2, len(readable) - 512 * extra]) + struct.pack("<H", room % 16386)
        data += bytes([queue]) + b"\xff\xff" + readable
    return data


icesim_lines = [
    "--size 64M", "--image f --size 1T --slots 255", "--size 512 --dialect ice2 --log-level debug",
    "--size=4K --dir d --mount m --allow-root --run true --pidfile p --stop-timeout 5 --no-mlock",
    "--size 1M --function vm0,slots=0+8 --function vm1,dialect=inline --reserve 16+8 --unsafe-overlap",
    "--blk-file f --read-only --socket-path s", "--size 1M --fd 7", "--x --print-capabilities",
    "--size 1M --function a --function b --function c --vhost-user b=s --fd c=9 --fd 8",
    "--size 1M --strict --dialect ice1 --unsafe-monitor --state s --bitlocker-iv dun",
    "--help", "--version", "--size 0x200", "--size 99999999999T", "--slots 0 --size 1M", "--", "--bogus",
]
icectl_lines = [
    "info", "--json info", "caps", "slot list", "slot evict 3", "slot evict --all", "io flush",
    "slot program 0 --alg aes-256-xts --key-file k --data-unit 4096", "--help", "--version",
    "io read --sector 0 --count 8 --slot 0 --dun 7 --data-unit 512", "io write --sector 0 f",
    "io discard --sector 8 --count 8", "reset --scope engine", "stats", "--timeout 1 io id",
    "-d d -f vm0 io lifetime", "io zero --sector 0xffffffffffffffff --count 1",
]
specs = [
    "vm0", "vm1,slots=8+8,sectors=0+2048,dialect=ice1,strict,ro", "a,image=f,size=1M,block-size=4096",
    "b,caps=aes-256-xts:512/4096+aes-128-cbc-essiv:4K,dun-bits=32,on-overflow=wrap,on-reset=keep",
    "c,dialect=inline,addr=virtual,caps=ufs,key-types=raw+wrapped", "d,header=trimmed,caps=emmc", "e,caps=all",
]
words = ["0", "0x1f", "999", "1001", "18446744073709551616", "64K", "1T", "4KB", "vm0", "control", "a-b_c"]

for number in range(60):
    write("frame", number, rng.randbytes(8) + encode(device_frame(rng, True)))
    write("frame", 100 + number, join(tokens(control_frame(rng))))
    frames = b"".join(encode(device_frame(rng, True)) for _ in range(6))
    write("message", number, b"\1" + frames)
    write("message", 100 + number, b"\0" + b"".join(encode(control_frame(rng)) for _ in range(4)))
    write("device", number, device_seed())
for kind, lines in enumerate(([" ".join(words)], icesim_lines, icectl_lines, specs)):
    for number, line in enumerate(lines):
        write("options", 100 * kind + number, bytes([kind]) + "\0".join(line.split()).encode())
