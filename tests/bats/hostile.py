# SPDX-License-Identifier: BSD-2-Clause
"""Hostile frames: how they are made, and what icesim-protocol(7) says must become of each.

A frame is a list of tokens [major type, argument, width of the argument, content], so that a
mutation can lie about a length or a count without the rest of the frame noticing. The oracle,
judge(), reads the bytes again without knowledge of how they were made."""

import random
import struct

from icesock import *

FRAME_INLINE_MAX, DATA_MAX, NESTING = 1024, 4 << 20, 8
WRITABLE_MAX, BULK_MAX = DATA_MAX + 64, DATA_MAX + 512
CAPACITY = (64 << 20) // 512
HALF = CAPACITY // 2  # sectors from here on are the verified client's, as is slot 0

DEVICE_FEATURES = ICE | KEY_OPS | FLUSH | CONFIG_WCE | VERSION_1 | 1 << 13 | 1 << 14
BOUNDS = sorted(
    {max(0, (1 << bit) + d) for bit in (0, 4, 5, 8, 9, 12, 16, 22, 31, 32, 63) for d in (-1, 0, 1)}
    | {WRITABLE_MAX, WRITABLE_MAX + 1, BULK_MAX, BULK_MAX + 1, CAPACITY, HALF - 1}
    | {(1 << 64) - 1, (1 << 64) - 8, (1 << 64) - 9}
)


# ---- the oracle ----


class Bad(Exception):
    pass


def take_head(data, at):
    if at >= len(data):
        raise Short
    major, info = data[at] >> 5, data[at] & 31
    if major == 6 or info > 27 or (major == 7 and info not in (20, 21, 22)):
        raise Bad
    at += 1
    if info < 24 or major == 7:
        return major, info, at
    size = 1 << (info - 24)
    if at + size > len(data):
        raise Short
    return major, int.from_bytes(data[at : at + size], "big"), at + size


def take_uint(data, at, most=(1 << 64) - 1):
    major, value, at = take_head(data, at)
    if major != 0 or value > most:
        raise Bad
    return value, at


def skip_item(data, at, end, depth=0):
    """Where the item ends, which must not be beyond `end`."""
    major, value, at = take_head(data, at)
    if major in (2, 3):
        at += value
    elif major in (4, 5):
        if depth == NESTING or value > end:
            raise Bad
        for _ in range(value * (major - 3)):
            at = skip_item(data, at, end, depth + 1)
    if at > end:
        raise Bad
    if at > len(data):
        raise Short
    return at


class Frame:
    def __init__(self, data, start, control):
        self.tag = None
        self.answered = False  # before all of it has come
        major, self.elements, at = take_head(data, start)
        if major != 4 or not 2 <= self.elements <= 8:
            raise Bad
        self.message, at = take_uint(data, at)
        self.start, self.args = start, at
        tag, at = take_uint(data, at)
        self.args = at
        self.tag = tag
        self.finish(data, at, control)

    def finish(self, data, at, control):
        if self.message == REQUEST:
            if self.elements != 5:
                raise Bad
            self.queue, at = take_uint(data, at, 0xFFFF)
            self.writable, at = take_uint(data, at, WRITABLE_MAX)
            major, length, at = take_head(data, at)
            if major != 2 or length > BULK_MAX:
                raise Bad
            self.answered = control
            self.readable = data[at : at + length]
            if at + length > len(data):
                raise Short
            self.end = at + length
            return
        limit = self.start + FRAME_INLINE_MAX
        for left in range(self.elements - 3, -1, -1):
            at = skip_item(data, at, limit - left)
        self.end = at


def judge(data, control):
    """(the whole frames, the tag of an error reply that ends the connection or None, is it whole?)"""
    frames, at = [], 0
    while at < len(data):
        frame = Frame.__new__(Frame)
        try:
            frame.__init__(data, at, control)
        except (Bad, Short):
            if frame.answered:
                return frames + [frame], None, False
            return frames, frame.tag, False
        frames.append(frame)
        at = frame.end
    return frames, None, True


SIZES = ("0x0", "0x1ff", "x", hex(CAPACITY * 512))  # no function gets another by them


def touches(sector, sectors):
    return sector < CAPACITY and sector + sectors > HALF


def harms(message, value):
    """May the control message, with the value of each key, change something there?"""
    if message == RESET:
        return value("scope") == "engine" or value("function") == "vm0"
    if message in (SLOT_PROGRAM, SLOT_EVICT):
        return value("slot") == 0
    if message == FUNCTION_ADD:
        return "image" in str(value("function"))  # it would make a file
    if message == FUNCTION_RESIZE and value("size") in SIZES:
        return False
    return message in (FUNCTION_REMOVE, FUNCTION_RESIZE) and value("function") == "vm0"


def dangerous(frame, data, control, ice):
    """May it rightly change what the verified client has? Then it is no test and not sent."""
    if control:
        try:
            return harms(frame.message, decode(data, frame.args)[0].get)
        except (AttributeError, KeyError, TypeError, UnicodeDecodeError, Short, Bad):
            return False
    if control or frame.message != REQUEST or len(frame.readable) < 16:
        return False
    kind, _, sector = struct.unpack_from("<IIQ", frame.readable)
    body = frame.readable[32 if ice else 16 :]
    if kind == T_OUT:
        return touches(sector, len(body) // 512)
    if kind in (11, 13, 14):
        whole = body[: len(body) // 16 * 16]
        return any(touches(s, n) for s, n, _ in struct.iter_unpack("<QII", whole))
    return kind in (T_PROGRAM, T_EVICT) and body[:1] == b"\0"


# ---- valid frames ----


def tokens(item):
    if item is None or isinstance(item, bool):
        return [[7, {None: 22, True: 21, False: 20}[item], None, b""]]
    if isinstance(item, int):
        return [[0, item, None, b""] if item >= 0 else [1, -1 - item, None, b""]]
    if isinstance(item, (bytes, str)):
        text = item if isinstance(item, bytes) else item.encode()
        return [[2 if isinstance(item, bytes) else 3, len(text), None, text]]
    if isinstance(item, dict):
        parts = [part for pair in item.items() for part in pair]
        return [[5, len(item), None, b""]] + [t for part in parts for t in tokens(part)]
    return [[4, len(item), None, b""]] + [t for part in item for t in tokens(part)]


def join(parts):
    return b"".join(head(m, v, w) + content for m, v, w, content in parts)


def payload(rng, ice):
    """A readable part, mostly right."""
    kind = rng.choice((T_IN, T_IN, T_OUT, T_OUT, T_FLUSH, T_GET_ID, 10, 11, 13, 14, 28, 29, 31, 99))
    size = rng.choice((512, 4096, 4096, 8192))
    readable = struct.pack("<IIQ", kind, 0, rng.randrange(HALF - 16))
    if ice:
        readable += struct.pack("<BBHIQ", rng.randrange(4), rng.random() < 0.6, 0, 0, rng.getrandbits(40))
    room = 1
    if kind in (T_IN, T_GET_ID, 10, 28):
        room += {T_IN: size, T_GET_ID: 20, 10: 8, 28: 352}[kind]
    elif kind == T_OUT:
        readable += rng.randbytes(size)
    elif kind in (11, 13, 14):
        readable += struct.pack("<QII", rng.randrange(HALF - 16), rng.choice((1, 8)), 0)
    elif kind == T_PROGRAM:
        alg, key_size, length = rng.choice(((0, 3, 64), (0, 1, 32), (1, 3, 32), (3, 1, 16)))
        key = rng.randbytes(length).ljust(128, b"\0")
        exponent = rng.choice((0, 3))
        readable += struct.pack("<BBHBBBB", rng.randrange(1, 4), 1, length, alg, exponent, key_size, 0)
        readable += key
    elif kind == T_EVICT:
        readable += bytes([rng.randrange(1, 4)]) + bytes(7)
    return room, readable


def device_frame(rng, ice):
    tag = rng.randrange(1, 1 << 20)
    room, readable = payload(rng, ice)
    return rng.choice(
        [
            [HELLO, tag, 1],
            [GET_FEATURES, tag],
            [SET_FEATURES, tag, DEVICE_FEATURES],
            [GET_STATUS, tag],
            [SET_STATUS, tag, rng.choice((0, 1, 3, 11, 15))],
            [READ_CONFIG, tag, rng.randrange(100), rng.randrange(1, 104)],
            [WRITE_CONFIG, tag, 32, b"\1"],
            [ACKNOWLEDGE, tag, 1],
        ]
        + [[REQUEST, tag, 0, room, readable]] * 8
    )


def control_frame(rng):
    tag = rng.randrange(1, 1 << 20)
    function = {"function": rng.choice(("vm0", "vm0", "vm1"))}
    alg, length = rng.choice((("aes-256-xts", 64), ("aes-128-ecb", 16), ("aes-256-xts", 63), ("rot13", 64)))
    program = {"slot": rng.randrange(1, 6), "alg": alg, "data_unit": rng.choice((512, 4096, 4097)),
               "key_type": rng.choice(("raw", "raw", "wrapped")), "key": rng.randbytes(length)}
    spec = rng.choice(("vm7", "vm7,slots=0+0", "vm7,dialect=inline,strict,sectors=8+8", "vm7,slots=1+", "vm0", ""))
    return rng.choice(
        [
            [HELLO, tag, 1],
            [FUNCTION_LIST, tag, {}],
            [SLOT_LIST, tag, function],
            [STATS, tag, function],
            [RESET, tag, {"scope": rng.choice(("device", "function", "moon")), "function": "vm9"}],
            [FUNCTION_ADD, tag, {"function": spec}],
            [FUNCTION_REMOVE, tag, {"function": "vm7"}],
            [FUNCTION_RESIZE, tag, {**function, "size": rng.choice(SIZES)}],
            [SLOT_PROGRAM, tag, {**function, **program}],
            [SLOT_EVICT, tag, {**function, "slot": rng.randrange(1, 6)}],
            [KEY_GENERATE, tag, function],
            [rng.choice((KEY_IMPORT, KEY_PREPARE, KEY_DERIVE)), tag, {**function, "key": rng.randbytes(32)}],
        ]
        + view_frames(rng, tag, {"alg": alg, "data_unit": program["data_unit"], "key": program["key"]})
    )


def view_frames(rng, tag, key):
    name = {"name": rng.choice(("v1", "v2", "V"))}
    base = {"function": rng.choice(("vm0", "vm0", "both", "vm1"))}
    more = {"sector": rng.choice(("0x0", "0x8", "0x7", "0xffffffffffffffff", "x")),
            "count": rng.choice(("0x8", "0x0", "0x100")), "key_type": rng.choice(("raw", "wrapped")),
            "dun": rng.choice(("0x0", "0x1" + "0" * 16, "0x1" + "0" * 64)),
            "fallback": rng.choice(("auto", "forbid", "force", "never"))}
    more = {k: v for k, v in more.items() if rng.random() < 0.4}
    spec = {"map": rng.choice(("linear", "striped", "striped:4K", "striped:x", "mirror")),
            "functions": rng.choice(("vm0", "vm0,vm1", "vm0,vm0", "", ",".join(["vm0"] * 17)))}
    return [
        [VIEW_ADD, tag, {**base, **name, **key, **more}],
        [VIEW_LIST, tag, base],
        [VIEW_REMOVE, tag, {**base, **name, "wait": rng.random() < 0.5}],
        [LAYER_ADD, tag, {"name": "both", **spec}],
        [LAYER_LIST, tag, {}],
        [LAYER_REMOVE, tag, {"name": "both"}],
    ]


# ---- mutations: of the tokens of a valid frame, or of its bytes ----


def random_item(rng, depth=0):
    kind = rng.randrange(9 if depth < 10 else 6)
    if kind == 0:
        return rng.choice(BOUNDS)
    if kind == 1:
        return -1 - rng.getrandbits(rng.randrange(1, 64))
    if kind == 2:
        return rng.randbytes(rng.randrange(40))
    if kind == 3:
        return rng.choice(("", "function", "scope", "slot", "key", "vm0", "x" * 40, "a\n", "\u00e9" * 9))
    if kind in (4, 5):
        return rng.choice((None, True, False))
    if kind == 6:
        return {str(n): random_item(rng, depth + 1) for n in range(rng.randrange(4))}
    return [random_item(rng, depth + 1) for _ in range(rng.randrange(4))]


def pick(rng, parts, majors):
    """Index of a token of one of the major types."""
    there = [i for i, part in enumerate(parts) if part[0] in majors]
    return rng.choice(there) if there else 0


def of_type(rng, parts):
    i = rng.randrange(len(parts))
    return join(parts[:i]) + encode(random_item(rng)) + join(parts[i + 1 :])


def of_length(rng, parts):
    part = parts[pick(rng, parts, (2, 3))]
    part[1] = rng.choice(BOUNDS + [part[1] + 1, max(0, part[1] - 1)])
    return join(parts)


def of_count(rng, parts):
    part = parts[pick(rng, parts, (4, 5))]
    part[1] = rng.choice(BOUNDS + list(range(10)))
    return join(parts)


def of_range(rng, parts):
    i = pick(rng, parts, (0, 2))
    if parts[i][0] == 0 or not parts[i][3]:
        parts[i][1] = rng.choice(BOUNDS)
        return join(parts)
    content, size = bytearray(parts[i][3]), rng.choice((1, 2, 4, 8))
    at = rng.randrange(min(64, len(content))) // size * size  # a field of header, payload or body
    value = rng.choice(BOUNDS) & ((1 << 8 * size) - 1)
    content[at : at + size] = value.to_bytes(size, "little")
    parts[i][1], parts[i][3] = len(content), bytes(content)
    return join(parts)


def of_order(rng, parts):
    rest = parts[1:]
    rng.shuffle(rest)
    return join(parts[:1] + rest)


def of_truncation(rng, parts):
    data = join(parts)
    return data[: rng.randrange(min(len(data), 300))]


def of_size(rng, parts):
    i = pick(rng, parts, (2, 3, 5))
    if rng.random() < 0.02:
        size = BULK_MAX + rng.choice((-512, -1, 0, 1, 512))
    else:
        size = rng.choice((127, 128, 129, 900, 1000, 1015, 1020, 1024, 1025, 3000, 70000))
    parts[i] = [rng.choice((2, 3)), size, None, bytes(size)]
    return join(parts)


def of_nesting(rng, parts):
    i = rng.randrange(len(parts))
    deep = rng.choice((b"\x81", b"\xa1\0")) * rng.choice((1, 7, 8, 9, 10, 100, 1030))
    return join(parts[:i]) + deep + join(parts[i:])


def of_indefinite(rng, parts):
    i = pick(rng, parts, (2, 3, 4, 5))
    start = bytes([parts[i][0] << 5 | 31])
    end = rng.choice((b"", b"\xff"))
    if parts[i][0] in (2, 3):
        return join(parts[:i]) + start + join(parts[i : i + 1]) + end + join(parts[i + 1 :])
    return join(parts[:i]) + start + join(parts[i + 1 :]) + end


def of_message(rng, parts):
    parts[1][1] = rng.choice(list(range(16)) + list(range(30, 46)) + BOUNDS)
    return join(parts)


def of_width(rng, parts):
    """Well-formed: no integer need be in the shortest form."""
    for part in parts:
        if part[0] != 7 and part[1] < 1 << 16:
            part[2] = rng.choice((2, 4, 8))
    return join(parts)


def of_reserved(rng, parts):
    i = rng.randrange(len(parts))
    odd = rng.choice((b"\xc0", b"\xd8\x18", b"\xf7", b"\xf8\x20", b"\xf9\0\0", b"\xfa\0\0\0\0", b"\xe0",
                      b"\xfb" + bytes(8), b"\x1c", b"\x3d", b"\x5e", b"\x7c", b"\x9d", b"\xbe", b"\xff"))
    return join(parts[:i]) + odd + join(parts[i + rng.randrange(2) :])


def of_bits(rng, parts):
    data = bytearray(join(parts))
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[rng.randrange(min(len(data), 200))] ^= 1 << rng.randrange(8)
    return bytes(data)


def of_pair(rng, parts):
    """Two frames at once, the second cut."""
    data = join(parts)
    return data + data[: rng.randrange(len(data))]


def of_state(rng, parts):
    return join(parts)


def of_noise(rng, parts):
    return rng.randbytes(rng.choice((1, 2, 3, 8, 30, 100, 1024, 5000)))


def of_items(rng, parts):
    return encode([random_item(rng) for _ in range(rng.randrange(10))])


CLASSES = {
    "type": of_type,
    "length": of_length,
    "count": of_count,
    "range": of_range,
    "order": of_order,
    "truncation": of_truncation,
    "oversize": of_size,
    "nesting": of_nesting,
    "indefinite": of_indefinite,
    "wrong message": of_message,
    "wrong state": of_state,
    "width": of_width,
    "reserved": of_reserved,
    "bits": of_bits,
    "two frames": of_pair,
    "noise": of_noise,
    "random items": of_items,
}
