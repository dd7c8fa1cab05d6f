# SPDX-License-Identifier: BSD-2-Clause
"""A driver of each dialect, written from the drafts and icesim-protocol(7), as icesock is."""

import hashlib
import json
import sys

from icesock import *

CTRL_VQ, INLINE_ENCRYPTION = 1 << 22, 1 << 23
SECURE_ERASE, LIFETIME, MQ, RO, WRITE_ZEROES = 1 << 16, 1 << 15, 1 << 12, 1 << 5, 1 << 14
T_LIFETIME, T_WRITE_ZEROES, T_ERASE, T_APPEND = 10, 13, 14, 15
CONTROL_QUEUE = 16  # behind the 16 request queues
RAW, WRAPPED = 1, 2


def header(kind, sector=0, reserved=0):
    return struct.pack("<IIQ", kind, reserved, sector)


def payload(slot=None, dun=0, activate=None, reserved1=0, reserved2=0):
    """The 16 bytes of ice1 and ice2."""
    activate = (slot is not None) if activate is None else activate
    return struct.pack("<BBHIQ", slot or 0, activate, reserved1, reserved2, dun)


def tail(slot, dun, unused=0):
    """The 40 bytes behind the header of CRYPTO_IN and CRYPTO_OUT."""
    return struct.pack("<II", slot, unused) + dun.to_bytes(32, "little")


def blob(key):
    return struct.pack("<I", len(key)) + key.ljust(128, b"\0")


class IceDriver(Device):
    """ice1 and ice2: a 32-byte header, keys in band behind bit 56."""

    bits = ICE | KEY_OPS
    types = dict(program=29, evict=31, derive=33, generate=36, prepare=39, **{"import": 37})

    def __init__(self, name, features=None):
        super().__init__(name=name)
        offered = self.call(GET_FEATURES)[0]
        self.negotiate(offered if features is None else features)

    def send_raw(self, readable, room=0, queue=0):
        """(status, data or None, why or None) of any bytes at all."""
        return self.finish(self.send(REQUEST, queue, room + 1, readable), room)

    def transfer(self, write, sector, data=b"", room=0, slot=None, dun=0):
        return self.send_raw(header(write, sector) + payload(slot, dun) + data, room)

    def key(self, operation, body=b"", room=0):
        return self.send_raw(header(self.types[operation]) + payload() + body, room)

    def program(self, slot, key, exponent=3, alg=0, key_size=3, key_type=RAW, reserved=0):
        body = struct.pack("<BBHBBBB", slot, key_type, len(key), alg, exponent, key_size, reserved)
        return self.key("program", body + key.ljust(128, b"\0"))

    def evict(self, slot):
        return self.key("evict", bytes([slot]) + bytes(7))

    def config(self):
        return self.call(READ_CONFIG, 0, 256)


class InlineDriver(IceDriver):
    """inline: plain types, CRYPTO_OUT 27 and CRYPTO_IN 28, keys on the control queue."""

    bits = CTRL_VQ | INLINE_ENCRYPTION
    types = dict(program=30, evict=31, derive=32, generate=33, prepare=35, **{"import": 34})

    def transfer(self, write, sector, data=b"", room=0, slot=None, dun=0):
        if slot is None:
            return self.send_raw(header(write, sector) + data, room)
        return self.send_raw(header(27 if write else 28, sector) + tail(slot, dun) + data, room)

    def key(self, operation, body=b"", room=0):
        return self.send_raw(header(self.types[operation]) + body, room, CONTROL_QUEUE)

    def program(self, slot, key, exponent=3, mode=1, key_type=RAW, dun_bytes=8):
        body = struct.pack("<I", slot) + key.ljust(128, b"\0")
        body += struct.pack("<5I", len(key), mode, key_type, 9 + exponent, dun_bytes)
        return self.key("program", body)

    def evict(self, slot):
        return self.key("evict", struct.pack("<I", slot))


DRIVERS = {"ice1": IceDriver, "ice2": IceDriver, "inline": InlineDriver}


def drive(name, features=None):
    """A driver of the function, by the dialect that its hello names."""
    probe = Connection(name)
    dialect = probe.hello["dialect"]
    probe.close()
    return DRIVERS[dialect](name, features)


def control(message, **arguments):
    connection = Connection("control")
    try:
        return connection.call(message, arguments)
    finally:
        connection.close()


def functions():
    return {f["name"]: f for f in control(FUNCTION_LIST)}


def first_slot(name):
    """The function's first slot, as its wire names it."""
    function = functions()[name]
    return function["slots"]["first"] if function["addressing"] == "physical" else 0


def function_slots(name):
    return control(SLOT_LIST, function=name)


class Untouched:
    """Asserts that a function's sectors and slots are afterwards what they were before."""

    def __init__(self, name):
        self.name = name

    def picture(self):
        driver = drive(self.name, VERSION_1)
        sectors, digest = struct.unpack("<Q", driver.config()[:8])[0], hashlib.sha256()
        for sector in range(0, sectors, 2048):
            count = min(2048, sectors - sector)
            status, data, why = driver.send_raw(header(T_IN, sector), count * 512)
            assert status == OK, why
            digest.update(data)
        driver.close()
        return digest.hexdigest(), function_slots(self.name)

    def __enter__(self):
        self.before = self.picture()

    def __exit__(self, kind, value, trace):
        assert kind or self.picture() == self.before, f"{self.name} has changed"


def refuses(answer, status, number=None, text=None):
    """The answer is this status, nothing in the data area, and says why; the text."""
    got, data, why = answer
    assert got == status and data is None, answer
    assert number is None or why[0] == number, answer
    assert text is None or text in why[1], answer
    return why[1]


def accepted(answer):
    status, data, why = answer
    assert status == OK, why
    return data
