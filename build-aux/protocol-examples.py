#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Prints the examples of icesim-protocol(7): real frames, as icesim on PATH answers them, in CBOR's
diagnostic notation and in hexadecimal. With --write it puts them into the page."""

import os
import re
import subprocess
import sys
import tempfile
import textwrap

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
PAGE = os.path.join(ROOT, "man", "icesim-protocol.7")
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(ROOT, "tests", "bats"))

from icesock import *  # noqa: E402

BEGIN = '.\\" Made by build-aux/protocol-examples.py: do not edit here.'
END = '.\\" End of what build-aux/protocol-examples.py made.'


def notation(item):
    if item is None:
        return "null"
    if isinstance(item, bool):
        return str(item).lower()
    if isinstance(item, str):
        return f'"{item}"'
    if isinstance(item, bytes):
        return f"h'{item.hex()}'"
    if isinstance(item, list):
        return "[" + ", ".join(map(notation, item)) + "]"
    if isinstance(item, dict):
        return "{" + ", ".join(f'"{k}": {notation(v)}' for k, v in item.items()) + "}"
    return str(item)


def wrapped(text, first, rest):
    return textwrap.wrap(text, 78, initial_indent=first, subsequent_indent=rest,
                         break_on_hyphens=False)


def frame_lines(arrow, frame):
    yield from wrapped(notation(decode(frame)[0]), arrow + " ", "    ")
    for at in range(0, len(frame), 16):
        yield "   " + "".join(f" {byte:02x}" for byte in frame[at : at + 16])


class Recording(Connection):
    """A connection that knows the bytes of the last exchange."""

    def raw(self, data):
        super().raw(data)
        self.sent = data

    def frame(self):
        while True:
            try:
                item, end = decode(self.input)
            except Short:
                self.input += self.socket.recv(1 << 20)
                continue
            self.got = bytes(self.input[:end])
            del self.input[:end]
            return item


class RecordingDevice(Recording, Device):
    pass


def example(text, connection):
    print(text.strip(), ".Bd -literal", sep="\n")
    print(*frame_lines("->", connection.sent), *frame_lines("<-", connection.got), sep="\n")
    print(".Ed")


def examples():
    plain = RecordingDevice()
    example("""
The greeting on a device socket.
An arrow to the right is before what the client sends.
""", plain)
    plain.negotiate(VERSION_1 | FLUSH)
    plain.request(T_FLUSH)
    example("""
FLUSH on queue 0: a header of 16 bytes, and room for the status.
The reply has status 0.
""", plain)
    tagged = RecordingDevice(VERSION_1 | ICE)
    tagged.request(T_IN, 0, room=512, slot=1, dun=7)
    example("""
With
.Dv VIRTIO_BLK_F_ICE :
a read of one sector through slot 1, data unit number 7.
Header and payload have 32 bytes.
The slot is empty: the status is 1, and there is a reason.
""", tagged)
    owner = Recording("control")
    owner.call(RESET, {"scope": "engine"})
    example("""
On the control socket: a reset of the engine.
""", owner)
    owner.call(FUNCTION_ADD, {"function": "vm1,slots=8+8,sectors=1024+1024"})
    example("""
A function comes while
.Xr icesim 1
runs.
""", owner)
    view = {"function": "vm0", "name": "v", "alg": "aes-128-xts", "data_unit": 4096}
    owner.call(VIEW_ADD, {**view, "key": bytes(range(32)), "dun": "0x7"})
    example("""
A view, with a key of 32 bytes; the first data unit has number 7.
""", owner)
    expect_refused(errno.EPERM, owner.call, SLOT_EVICT, {"function": "vm1", "slot": 3})
    example("""
Its VM asks the secure monitor for a slot that is another's.
""", owner)


def generate():
    """The block, made by this script inside an icesim of its own."""
    inside = f"{sys.executable} {os.path.abspath(__file__)} --inside"
    with_server = ["icesim", "--size", "1M", "--function", "vm0,slots=0+8,sectors=0+1024"]
    with_server += ["--log-level", "error", "--run", inside]
    with tempfile.TemporaryDirectory() as folder:
        made = subprocess.run([*with_server, "--dir", folder], stdout=subprocess.PIPE, check=True)
    return made.stdout.decode()


def main():
    if sys.argv[1:] == ["--inside"]:
        print(BEGIN)
        examples()
        print(END)
        return
    block = generate()
    if sys.argv[1:] != ["--write"]:
        sys.stdout.write(block)
        return
    with open(PAGE) as page:
        text = page.read()
    pattern = re.escape(BEGIN) + ".*" + re.escape(END) + "\n"
    with open(PAGE, "w") as page:
        page.write(re.sub(pattern, lambda _: block, text, flags=re.DOTALL))


main()
