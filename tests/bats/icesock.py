# SPDX-License-Identifier: BSD-2-Clause
"""A driver, and an owner, on icesim's sockets: written from icesim-protocol(7) and the standard
library alone, so that the tests do not take our C code's word for what is on the wire."""

import errno
import os
import socket
import struct
import time

HELLO, GET_FEATURES, SET_FEATURES, GET_STATUS, SET_STATUS = 1, 2, 3, 4, 5
READ_CONFIG, WRITE_CONFIG, REQUEST, ACKNOWLEDGE, EVENT = 6, 7, 8, 9, 15
FUNCTION_LIST, SLOT_LIST, RESET, STATS, FUNCTION_ADD, FUNCTION_REMOVE = 32, 33, 34, 35, 36, 37
SLOT_PROGRAM, SLOT_EVICT = 38, 39
KEY_GENERATE, KEY_IMPORT, KEY_PREPARE, KEY_DERIVE = 40, 41, 42, 43
VIEW_ADD, VIEW_LIST, VIEW_REMOVE, LAYER_ADD, LAYER_LIST, LAYER_REMOVE = 44, 45, 46, 47, 48, 49
FUNCTION_RESIZE = 50

ACK, DRIVER, DRIVER_OK, FEATURES_OK = 1, 2, 4, 8

FLUSH, CONFIG_WCE, DISCARD = 1 << 9, 1 << 11, 1 << 13
ICE, VERSION_1, KEY_OPS = 1 << 22, 1 << 32, 1 << 56

T_IN, T_OUT, T_FLUSH, T_GET_ID, T_DISCARD = 0, 1, 4, 8, 11
T_CAPS, T_PROGRAM, T_EVICT = 28, 29, 31
T_DERIVE, T_GENERATE, T_IMPORT, T_PREPARE = 33, 36, 37, 39

OK, IOERR, UNSUPP = 0, 1, 2

PATIENCE = 60  # seconds, as in helpers.bash


def eventually(true):
    """Polls until the call returns something true."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "not within the time"
        time.sleep(0.01)


def listen(path):
    """A socket that is at the path as soon as it listens, and no sooner."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".new")
    listener.listen()
    os.rename(path + ".new", path)
    return listener


# ---- CBOR, as much as frames have ----


def head(major, value, width=None):
    """The head of an item; `width` bytes of argument where it should not be the shortest."""
    if width is None and value < 24:
        return bytes([major << 5 | value])
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if size == width or width is None and value < 1 << 8 * size:
            return bytes([major << 5 | code]) + value.to_bytes(size, "big")
    raise ValueError(value)


def encode(item):
    if item is None:
        return b"\xf6"
    if isinstance(item, bool):
        return b"\xf5" if item else b"\xf4"
    if isinstance(item, int):
        return head(0, item) if item >= 0 else head(1, -1 - item)
    if isinstance(item, bytes):
        return head(2, len(item)) + item
    if isinstance(item, str):
        return head(3, len(item.encode())) + item.encode()
    if isinstance(item, (list, tuple)):
        return head(4, len(item)) + b"".join(map(encode, item))
    if isinstance(item, dict):
        pairs = (encode(key) + encode(value) for key, value in item.items())
        return head(5, len(item)) + b"".join(pairs)
    raise TypeError(item)


class Short(Exception):
    """More bytes are needed."""


def decode(data, at=0):
    """(item, end of the item)"""
    if at >= len(data):
        raise Short
    major, value = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7:
        return {20: False, 21: True, 22: None}[value], at
    if value >= 24:
        size = {24: 1, 25: 2, 26: 4, 27: 8}[value]
        if at + size > len(data):
            raise Short
        value = int.from_bytes(data[at : at + size], "big")
        at += size
    if major == 0:
        return value, at
    if major == 1:
        return -1 - value, at
    if major in (2, 3):
        if at + value > len(data):
            raise Short
        part = bytes(data[at : at + value])
        return (part if major == 2 else part.decode()), at + value
    items = []
    for _ in range(value * (major - 3)):
        item, at = decode(data, at)
        items.append(item)
    return (items if major == 4 else dict(zip(items[::2], items[1::2]))), at


# ---- connections ----


class Refused(Exception):
    """An error reply."""

    def __init__(self, number, text):
        super().__init__(number, text)
        self.errno, self.text = number, text


class Connection:
    """A socket of the server: "vm0", "control". Events are put into self.events."""

    def __init__(self, name="vm0", hello=True):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(os.path.join(os.environ["ICESIM_DIR"], name + ".sock"))
        self.input, self.tag, self.answers, self.events = bytearray(), 0, {}, []
        if hello:
            self.version, self.hello = self.call(HELLO, 1)

    def close(self):
        self.socket.close()

    def raw(self, data):
        self.socket.sendall(data)

    def send(self, message, *rest):
        """Sends a frame; its tag."""
        self.tag += 1
        self.raw(encode([message, self.tag, *rest]))
        return self.tag

    def frame(self):
        """The next frame, or None at the end of the stream."""
        while True:
            try:
                item, end = decode(self.input)
            except Short:
                try:
                    part = self.socket.recv(1 << 20)
                except ConnectionResetError:  # closed with input of ours unread
                    part = b""
                if not part:
                    assert not self.input, "the stream ends inside a frame"
                    return None
                self.input += part
                continue
            del self.input[:end]
            return item

    def answer(self, tag):
        """The reply to a tag, whatever comes before it."""
        while tag not in self.answers:
            frame = self.frame()
            if frame is None:
                raise EOFError
            if frame[0] == EVENT:
                self.events.append(frame[2:])
            else:
                assert frame[1] not in self.answers, "a tag is answered twice"
                self.answers[frame[1]] = frame
        reply = self.answers.pop(tag)
        if reply[0] == 0:
            raise Refused(*reply[2:])
        return reply

    def call(self, message, *rest):
        reply = self.answer(self.send(message, *rest))
        assert reply[0] == message, reply
        return reply[2:] if len(reply) != 3 else reply[2]


class Device(Connection):
    """A driver's connection to a function."""

    def __init__(self, features=None, name="vm0"):
        super().__init__(name)
        self.features = 0
        if features is not None:
            self.negotiate(features)

    def negotiate(self, features):
        self.call(SET_STATUS, 0)
        for status in (ACK, ACK | DRIVER):
            self.call(SET_STATUS, status)
        self.call(SET_FEATURES, features)
        now, why = self.call(SET_STATUS, ACK | DRIVER | FEATURES_OK)
        assert now & FEATURES_OK, why
        now, why = self.call(SET_STATUS, ACK | DRIVER | FEATURES_OK | DRIVER_OK)
        assert now == 15, why
        self.features = features

    def submit(self, kind, sector=0, data=b"", room=0, slot=None, dun=0, queue=0):
        readable = struct.pack("<IIQ", kind, 0, sector)
        if self.features & ICE:
            readable += struct.pack("<BBHIQ", slot or 0, slot is not None, 0, 0, dun)
        return self.send(REQUEST, queue, room + 1, readable + data)

    def finish(self, tag, room=0):
        """(status, data or None, why or None)"""
        _, _, written, why = self.answer(tag)
        assert len(written) in (1, room + 1), len(written)
        assert (why is None) == (written[-1] == OK), (written[-1], why)
        return written[-1], (written[:-1] if len(written) > 1 else None), why

    def request(self, kind, *args, room=0, **kwargs):
        return self.finish(self.submit(kind, *args, room=room, **kwargs), room)

    def read(self, sector, size, **kwargs):
        status, data, why = self.request(T_IN, sector, room=size, **kwargs)
        assert status == OK, why
        return data

    def write(self, sector, data, **kwargs):
        status, _, why = self.request(T_OUT, sector, data, **kwargs)
        assert status == OK, why

    def program(self, slot, key, exponent=3, alg=0, key_size=3):
        """AES-256-XTS with data units of 4096 bytes unless said otherwise."""
        body = struct.pack("<BBHBBBB", slot, 1, len(key), alg, exponent, key_size, 0)
        return self.request(T_PROGRAM, 0, body + key.ljust(128, b"\0"))

    def evict(self, slot):
        return self.request(T_EVICT, 0, bytes([slot]) + bytes(7))


def expect_refused(number, function, *args, **kwargs):
    """The call gets an error reply with this errno; its text."""
    try:
        result = function(*args, **kwargs)
    except Refused as refused:
        assert refused.errno == number, refused
        assert refused.text, "no text"
        return refused.text
    raise AssertionError(f"not refused: {result!r}")


def syncs():
    """How often the media was made stable so far."""
    control = Connection("control")
    result = control.call(STATS, {"function": "vm0"})
    control.close()
    return result["syncs"]


def slots():
    control = Connection("control")
    result = control.call(SLOT_LIST, {"function": "vm0"})
    control.close()
    return result
