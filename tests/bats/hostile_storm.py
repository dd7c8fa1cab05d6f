# SPDX-License-Identifier: BSD-2-Clause
"""The storm: frames of hostile.py against a running icesim, each on a connection of its own.

What goes before a frame (negotiation) and behind it (a probe) is sent with it in one piece. The
probe is answered if, and only if, the frame was well-formed; so is each whole frame, once."""

import collections
import os
import re
import signal
import sys

from hostile import *

PREFIX, PROBE = 0x7072656669780000, 0x70726F6265000000  # tags that no frame has; an event has 0

# Every clause that frame/scan, frame/reader, icesim/receive, message and control can send to a
# client, but for lack of memory.
CLAUSES = """
a frame must be an array of known length
a frame must have 2 to 8 elements
the message number must be an unsigned integer
the tag must be an unsigned integer
a REQUEST has 5 elements
queue must be an unsigned integer
queue must be an unsigned integer, not above 65535
writable_len must be an unsigned integer
writable_len must be an unsigned integer, not above 4194368
readable must be a byte string of known length
readable must be a byte string of known length, not above 4194816
the head of an item promises more than the frame may hold
maps and arrays are nested more than 8 deep
byte 0x[0-9a-f]{2} begins no item that may stand in a frame
an item is longer than the frame may be
the connection ended inside a frame
the message ends too early
a text string is not UTF-8
(an? [a-z ]+|null) where (an? [a-z ]+|null) was expected
\\d+ where at most \\d+ was expected
\\d+ bytes follow the end of the message
message \\d+ is not known
message \\d+ has \\d+ elements, not \\d+
only a device socket takes message \\d+
only the control socket takes message \\d+
user \\d+ may not control this icesim
protocol version \\d+ is not known; this is version 1
a configuration read is of 1..\\d+ bytes, not \\d+
features are written after status DRIVER
features are settled once FEATURES_OK is set
status 0x[0-9a-f]{2} has bits that no driver sets
status 0x[0-9a-f]{2} clears bits of 0x[0-9a-f]{2}; only 0 does
status [A-Z_]+ comes after [A-Z_]+
writeback is \\d+, neither 0 nor 1
generation \\d+ is not between \\d+ and \\d+
feature bit \\d+ is not offered
VIRTIO_F_VERSION_1 is not accepted: legacy drivers are not served
VIRTIO_BLK_F_ICE_KEY_OPS depends on VIRTIO_BLK_F_ICE
key ".*" is not known
key ".*" is given twice
key ".*" is too long
key ".*" is missing
a key has a control character
key ".*": the text has a control character
key ".*": \\d+ is above \\d+
key ".*": \\d+ bytes, not above \\d+
alg ".*" is not known
key_type ".*" is neither raw nor wrapped
the secure monitor holds vm0 to slots 0..3
there is no function ".*"
there is no function or layer ".*"
fallback ".*" is none of auto, forbid, force
map ".*" is none of linear, striped, striped:BYTES
map ".*": ".*" is not a size .*
a layer has at most 16 functions
key "(sector|count|dun|size)": ".*" is not a number
key "dun": ".*" has more than 256 bits
a view has at least one data unit, not 0 sectors
scope ".*" needs key "function"
scope ".*" is none of device, function, engine
a request before DRIVER_OK
queue \\d+ is outside 0..\\d+
no room for the status byte
""".strip().splitlines()
# Control messages that say what functions, engine and keys say, too.
WORK = range(FUNCTION_ADD, FUNCTION_RESIZE + 1)
FORBIDDEN = "user \\d+ may not control this icesim"  # seen by another user only


class Storm:
    def __init__(self, server):
        self.server = server
        self.seen = dict.fromkeys(CLAUSES, 0)
        self.device_clauses = collections.Counter()
        self.depths = collections.Counter()
        self.classes = collections.Counter()
        self.foreign = set()

    def clause(self, text, of_device):
        for pattern in CLAUSES:
            if re.fullmatch(pattern, text, re.S):
                self.seen[pattern] += 1
                return
        if of_device:
            self.device_clauses[re.sub(r"\d+", "N", text)] += 1
        else:
            self.foreign.add(text)

    @staticmethod
    def prefix(features):
        """Frames that negotiate `features`."""
        if features is None:
            return b""
        steps = [[SET_STATUS, 1], [SET_STATUS, 3], [SET_FEATURES, features], [SET_STATUS, 11], [SET_STATUS, 15]]
        return b"".join(encode([m, PREFIX + n, v]) for n, (m, v) in enumerate(steps))

    def throw(self, data, control=False, features=DEVICE_FEATURES):
        """Sends the bytes, checks what comes of them; False if they are no test."""
        features = None if control else features
        ice = bool(features and features & ICE)
        probe = encode([HELLO, PROBE, 1])
        frames, end, whole = judge(data + probe, control)
        if any(dangerous(frame, data + probe, control, ice) for frame in frames):
            return False
        c = Connection("control" if control else "vm0", hello=False)
        try:
            c.raw(self.prefix(features) + data + probe)
            c.socket.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            assert not whole, "the server left a client that did nothing wrong"
        replies = []
        while (frame := c.frame()) is not None:
            if frame[0] != EVENT and not PREFIX <= frame[1] < PREFIX + 5:
                replies.append(frame)
        c.close()
        self.check(data, frames, end, whole, replies)
        return True

    def check(self, data, frames, end, whole, replies):
        want = sorted([f.tag for f in frames] + ([end] if end is not None else []))
        got = sorted(r[1] for r in replies)
        where = f"{data[:200].hex()} (of {len(data)} bytes): {replies!r:.300}"
        assert got == want, f"answered were the tags {got}, not {want}: {where}"
        known = {f.tag: f for f in frames}
        depth = "scan refused" if not whole else "ok"
        for message, tag, *rest in replies:
            if tag == PROBE and message == HELLO:
                continue
            frame = known.get(tag)
            if message == 0:
                assert len(rest) == 2 and 0 < rest[0] < 4096 and rest[1], where
                self.clause(rest[1], bool(frame) and frame.message in WORK)
                refused = "device refused" if frame and frame.message == REQUEST else "message refused"
                depth = depth if depth == "scan refused" else refused
            else:
                assert message == frame.message, where
                if message == REQUEST:
                    written, why = rest
                    assert len(written) in (1, frame.writable), where
                    assert (why is None) == (written[-1] == OK), where
                elif message == SET_STATUS:
                    why = rest[1]
                else:
                    continue
                if why:
                    self.clause(why[1], True)
                    depth = depth if depth == "scan refused" else "device refused"
        self.depths[depth] += 1

    def rss(self):
        with open(f"/proc/{self.server}/status") as status:
            return {line.split(":")[0]: int(line.split()[1]) for line in status if line.startswith("Vm")}

    def directed(self):
        """Frames that each must meet a clause of their own, so that no seed leaves one out."""
        for data in (
            b"\x00", b"\x81\x00", b"\x89\x00", b"\x82\x40", b"\x82\x02\x40", b"\x84\x08\x01\x00\x00",
            b"\x85\x08\x01\x40\x00\x40", b"\x85\x08\x01\x1a\x00\x01\x00\x00\x00\x40",
            b"\x85\x08\x01\x00\x40\x40", b"\x85\x08\x01\x00\x1a\x00\x40\x00\x41\x40",
            b"\x85\x08\x01\x00\x01\x60", b"\x85\x08\x01\x00\x01\x5a\x00\x40\x02\x01",
            b"\x83\x02\x01\x5b" + b"\xff" * 8, b"\x83\x02\x01" + b"\x81" * 10, b"\x83\x02\x01\xc0",
            b"\x83\x02\x01" + b"\x81\x18" * 600, b"\x83\x02\x01\x59\x04\x00", b"\x83\x02",
            encode([WRITE_CONFIG, 1, 0, b"a" * 1012]), encode([WRITE_CONFIG, 1, 0, b"a" * 1013]),
            b"\x84\x02\x01\x59\x03\xf7" + bytes(1015) + b"\x1b" + bytes(8),
            encode([SET_STATUS, 1, "x"]), encode([SET_STATUS, 1, 256]), encode([77, 1]),
            encode([GET_STATUS, 1, 1]), encode([STATS, 1, {}]), encode([HELLO, 1, 2]),
            encode([READ_CONFIG, 1, 0, 0]), encode([SET_STATUS, 1, 31]), encode([SET_STATUS, 1, 1]),
            encode([WRITE_CONFIG, 1, 32, b"\2"]), encode([ACKNOWLEDGE, 1, 1 << 40]),
            encode([REQUEST, 1, 9, 1, bytes(32)]), encode([REQUEST, 1, 0, 0, bytes(32)]),
            encode([SET_FEATURES, 1, 0]),
        ):
            self.throw(data)
        self.throw(encode([REQUEST, 1, 0, 1, bytes(16)]), features=None)
        for data in (encode([SET_FEATURES, 1, 0]), encode([SET_STATUS, 1, 2])):
            self.throw(data, features=None)
        for features in (1 << 60, 0, KEY_OPS | VERSION_1):
            steps = [[SET_STATUS, 1, 3], [SET_FEATURES, 2, features], [SET_STATUS, 3, 11]]
            self.throw(b"".join(map(encode, steps)), features=None)
        program = {"function": "vm0", "slot": 1, "alg": "aes-256-xts", "data_unit": 512, "key_type": "raw",
                   "key": bytes(range(64))}
        view = {"function": "vm0", "name": "v", "alg": "aes-256-xts", "data_unit": 512, "key": bytes(range(64))}
        for rest in (
            [FUNCTION_LIST, 1], [FUNCTION_LIST, 1, {}, 0], [FUNCTION_LIST, 1, {"a": "b"}],
            [STATS, 1, {"function": "f" * 33}], [STATS, 1, {}], [STATS, 1, {"function": "vm9"}],
            [RESET, 1, {"scope": "device"}], [RESET, 1, {"scope": "x"}], [GET_STATUS, 1],
            [REQUEST, 1, 0, 1, bytes(32)], [STATS, 1, {"function": "vm\n0"}], [STATS, 1, {"\x7f": "vm0"}],
            [SLOT_EVICT, 1, {"function": "vm0", "slot": 1 << 32}], [SLOT_EVICT, 1, {"function": "vm0", "slot": 4}],
            [KEY_DERIVE, 1, {"function": "vm0", "key": bytes(129)}],
            [SLOT_PROGRAM, 1, {**program, "alg": "x"}], [SLOT_PROGRAM, 1, {**program, "key_type": "x"}],
            *([VIEW_ADD, 1, {**view, **wrong}] for wrong in (
                {"fallback": "x"}, {"sector": "x"}, {"dun": "0x1" + "0" * 64}, {"count": "0x0"})),
            *([LAYER_ADD, 1, {"name": "l", "map": "linear", "functions": "vm9", **wrong}] for wrong in (
                {"map": "x"}, {"map": "striped:x"}, {"functions": "," * 16})),
        ):
            self.throw(encode(rest), control=True)
        self.throw(b"\x83\x18\x23\x01\xa1\x62\xff\xff\x60", control=True)
        self.throw(b"\x83\x18\x23\x01\xa2" + (encode("function") + encode("vm0")) * 2, control=True)

    def warm_up(self):
        """Has the largest requests run on every thread, so that all have the buffers they keep."""
        data = bytes(DATA_MAX)
        devices = [Device(DEVICE_FEATURES) for _ in range(8)]
        for turn in range(4):
            tags = [d.submit(T_OUT, 0, data, slot=0) for d in devices]
            assert all(d.finish(tag)[0] == OK for d, tag in zip(devices, tags))
        for d in devices:
            d.close()

    def random(self, rng, count):
        names = list(CLASSES)
        while count:
            name = names[count % len(names)]
            control = rng.random() < 0.25
            features = rng.choice((DEVICE_FEATURES,) * 4 + (VERSION_1 | FLUSH,))
            if name in ("wrong state", "noise") or rng.random() < 0.1:
                features = None
            base = control_frame(rng) if control else device_frame(rng, bool(features and features & ICE))
            data = CLASSES[name](rng, tokens(base))
            if self.throw(data, control, features):
                self.classes[name] += 1
                count -= 1


def as_another_user(storm):
    """A child without our rights finds the socket by its working directory."""
    run = os.environ["ICESIM_DIR"]
    os.chmod(run, 0o755), os.chmod(run + "/control.sock", 0o666)
    child = os.fork()
    if child == 0:
        os.chdir(run)
        os.environ["ICESIM_DIR"] = "."
        os.setresuid(65534, 65534, 65534)
        text = expect_refused(errno.EACCES, Connection, "control")
        os._exit(0 if re.fullmatch(FORBIDDEN, text) else 1)
    assert os.waitpid(child, 0)[1] == 0, "another user controls icesim"
    os.chmod(run, 0o700), os.chmod(run + "/control.sock", 0o600)
    storm.seen[FORBIDDEN] += 1


def untagged(storm):
    """Refusals without a tag to answer stand in the log only."""
    with open("log", errors="replace") as log:
        for line in log:
            if match := re.search(r"a malformed frame ends a connection: (.*)", line):
                storm.clause(match[1], False)


# ---- a client that does nothing wrong ----


def verified_client(pipe):
    """Writes and reads back, encrypted and not, until told to stop; every read is compared."""
    rng, stop = random.Random(1), []
    signal.signal(signal.SIGTERM, lambda *_: stop.append(1))
    device = Device(DEVICE_FEATURES)
    status, _, why = device.program(0, bytes(range(64)))
    assert status == OK, why
    base, sectors, reads = HALF, 2048, 0
    plain, secret = bytearray(sectors * 512), bytearray(sectors * 512)
    device.write(base, plain)
    device.write(base + sectors, secret, slot=0)
    while not stop or reads < 100:
        at, n = rng.randrange(sectors // 8) * 8, rng.choice((8, 8, 16))
        n = min(n, sectors - at)
        kept, where, how = rng.choice(((plain, base, {}), (secret, base + sectors, {"slot": 0, "dun": at // 8})))
        if rng.random() < 0.5:
            kept[at * 512 : (at + n) * 512] = rng.randbytes(n * 512)
            device.write(where + at, bytes(kept[at * 512 : (at + n) * 512]), **how)
        got = device.read(where + at, n * 512, **how)
        assert got == kept[at * 512 : (at + n) * 512], f"sector {where + at} reads wrong"
        reads += 1
        time.sleep(0.001)
    os.write(pipe, str(reads).encode())


def start_verified():
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            verified_client(theirs)
            status = 0
        except BaseException as error:
            print("the verified client:", repr(error), file=sys.stderr)
        os._exit(status)
    os.close(theirs)
    return child, ours


def finish_verified(child, pipe):
    os.kill(child, signal.SIGTERM)
    assert os.waitpid(child, 0)[1] == 0, "the verified client failed"
    return int(os.read(pipe, 99))


# ---- those who stay ----


class Crowd:
    """Idle connections, some with half a frame sent, and readers that do not read."""

    def __init__(self, count):
        frame = encode([HELLO, 7, 1])
        request = encode([REQUEST, 7, 0, 1, bytes(5000)])
        self.half = []
        self.idle = [Connection(("vm0", "control")[n % 2], hello=False) for n in range(count * 3 // 4)]
        for n in range(count - len(self.idle)):
            data = (frame, request)[n % 2]
            cut = 1 + n // 2 % (len(data) - 1)
            self.half.append((Connection("vm0", hello=False), data[cut:]))
            self.half[-1][0].raw(data[:cut])
        self.slow = []
        for _ in range(8):
            device = Device(DEVICE_FEATURES)
            tags = [device.submit(T_IN, 0, room=65536) for _ in range(64)]
            self.slow.append((device, tags))

    def disperse(self):
        """All of them are served yet."""
        for c in self.idle:
            c.call(HELLO, 1)
            c.close()
        for c, rest in self.half:
            c.raw(rest)
            assert c.frame()[1] == 7
            c.close()
        for device, tags in self.slow:
            for tag in tags:
                status, data, why = device.finish(tag, 65536)
                assert status == OK and len(data) == 65536, why
            device.close()


def admitted():
    """A connection; None: the server has said that there is no room."""
    c = Connection("vm0", hello=False)
    try:
        c.raw(encode([HELLO, 1, 1]))
    except (BrokenPipeError, ConnectionResetError):
        pass
    frame = c.frame()
    if frame[0] == HELLO:
        return c
    assert frame[:3] == [0, 0, errno.EUSERS] and c.frame() is None, frame
    c.close()
    return None


def turned_away_above(limit, there):
    """Fills the table; the next one is told so. Those in it do not notice."""
    more, end = [], time.monotonic() + PATIENCE
    while len(more) < limit - there:
        if c := admitted():
            more.append(c)
        else:  # one that has left is counted yet
            assert time.monotonic() < end, "there is never room for all"
            time.sleep(0.01)
    assert not admitted(), "one above the limit is served"
    for c in more:
        c.close()
