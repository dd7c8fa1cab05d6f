#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The wire: requests as a driver sends them, frames that are wrong, limits; by a client that shares
# no code with ours.

load helpers

setup() {
    common_setup
    start --size 8M
}

@test "the bytes of the manual's example" {
    driver <<'END'
d = Device(VERSION_1 | FLUSH)
c = Connection("vm0", hello=False)
c.raw(bytes.fromhex("83010101"))
assert c.frame()[:3] == [1, 1, 1]
d.raw(bytes.fromhex("850802000150 04000000 00000000 0000000000000000".replace(" ", "")))
assert d.socket.recv(100) == bytes.fromhex("840802 4100 f6".replace(" ", ""))
END
}

@test "hello: limits, version" {
    driver <<'END'
for name in ("vm0", "control"):
    c = Connection(name)
    assert c.version == 1
    limits = {"frame": (4 << 20) + 4096, "in_flight": 64, "connections": 1024, "buffers": 32 << 20}
    assert {key: c.hello[key] for key in limits} == limits, c.hello
    assert c.hello["generation"] == "0x1"
    assert ("function" in c.hello) == (name == "vm0")
    expect_refused(errno.EPROTONOSUPPORT, c.call, HELLO, 2)
END
}

@test "64 requests in flight: each is answered once, with its own data" {
    driver <<'END'
import random
random.seed(2)
d = Device(VERSION_1 | ICE | KEY_OPS)
assert d.program(0, os.urandom(64), exponent=0)[0] == OK
blocks = [os.urandom(512 * (1 + n % 9)) for n in range(64)]
for slot in (None, 0):
    for round in range(20):
        tags = [d.submit(T_OUT, 16 * n, block, slot=slot, dun=n) for n, block in enumerate(blocks)]
        for tag in random.sample(tags, 64):
            assert d.finish(tag)[0] == OK
        tags = [d.submit(T_IN, 16 * n, room=len(block), slot=slot, dun=n)
                for n, block in enumerate(blocks)]
        for n in random.sample(range(64), 64):
            status, data, why = d.finish(tags[n], len(blocks[n]))
            assert status == OK and data == blocks[n], (n, why)
END
}

@test "a request of 4 MiB, and one above" {
    driver <<'END'
d = Device(VERSION_1)
data = os.urandom(4 << 20)
d.write(0, data)
assert d.read(0, 4 << 20) == data
status, _, why = d.request(T_IN, 0, room=(4 << 20) + 16)
assert status == IOERR and why[0] == errno.EINVAL, why
c = Device(VERSION_1)
try:
    c.raw(head(4, 5) + encode(8) + encode(9) + encode(0) + encode(1) + head(2, (4 << 20) + 4097))
    frame = c.frame()
    assert frame[0] == 0 and frame[1] == 9, frame
    assert c.frame() is None
except (BrokenPipeError, ConnectionResetError):
    pass
assert d.read(0, 512) == data[:512]
END
}

@test "request types: unknown, too short, without room for a status, data that a type does not take" {
    driver <<'END'
d = Device(VERSION_1 | FLUSH | ICE | KEY_OPS)
for kind in (2, 3, 6, 12, 15, 16, 18, 27, 30, 32, 99, 0x80000000, 0xffffffff):
    status, data, why = d.request(kind, room=64)
    assert (status, data) == (UNSUPP, None), (kind, status, why)
for length in range(32):
    _, _, written, why = d.answer(d.send(REQUEST, 0, 513, bytes(length)))
    assert written == b"\1" and why[0] == errno.EINVAL, (length, written)
text = expect_refused(errno.EINVAL, lambda: d.answer(d.send(REQUEST, 0, 0, bytes(32))))
assert "status" in text
for kind in (T_IN, T_FLUSH, T_GET_ID, T_CAPS):
    assert d.request(kind, 0, b"x" * 512, room=512)[0] == IOERR, kind
status, data, why = d.request(T_IN, room=512, queue=9999)
assert (status, data, why[0]) == (IOERR, None, errno.EINVAL), why
for length in (0, 1, 511, 513):
    assert d.request(T_OUT, 0, b"x" * length)[0] == IOERR, length
    assert d.request(T_IN, 0, room=length)[0] == IOERR, length
assert d.read(0, 512) == bytes(512)
status, data, _ = d.request(T_GET_ID, room=20)
assert (status, data) == (OK, b"icesim-vm0".ljust(20, b"\0"))
END
}

@test "GET_CRYPTO_CAPABILITIES: 88 entries, zero padding, a short buffer, without ICE" {
    driver <<'END'
d = Device(VERSION_1 | ICE)
space = d.call(READ_CONFIG, 0, 100)
slot_info, number = struct.unpack("<HH", space[96:])
assert (slot_info >> 8, slot_info & 255, number) == (32, 0, 88)
status, data, _ = d.request(T_CAPS, room=4 * 88)
entries = list(struct.iter_unpack("BBBB", data))
assert status == OK and len(set(entries)) == 88
sizes = {0: (1, 3), 1: (1, 2, 3), 2: (1, 2, 3), 3: (1, 2, 3)}
assert set(entries) == {(a, e, k, 0) for a in sizes for k in sizes[a] for e in range(8)}
status, more, _ = d.request(T_CAPS, room=4 * 88 + 100)
assert status == OK and more == data + bytes(100)
assert d.request(T_CAPS, room=4 * 88 - 1)[:2] == (IOERR, None)
assert Device(VERSION_1).request(T_CAPS, room=4 * 88)[:2] == (UNSUPP, None)
assert d.call(READ_CONFIG, 200, 8) == bytes(8)
END
}

@test "the payload: slot and DUN count only with activate 1 in reads and writes; activate is 0 or 1" {
    driver <<'END'
d = Device(VERSION_1 | FLUSH | DISCARD | ICE | KEY_OPS)
def request(kind, activate, slot=9, data=b"", room=0, reserved=0):
    readable = struct.pack("<IIQBBHIQ", kind, 0, 0, slot, activate, reserved, reserved, 7)
    return d.finish(d.send(REQUEST, 0, room + 1, readable + data), room)
assert request(T_IN, 0, room=512)[0] == OK
assert request(T_OUT, 0, data=b"x" * 512)[0] == OK
assert request(T_FLUSH, 1)[0] == OK
assert request(T_GET_ID, 1, room=20)[0] == OK
status, data, why = request(T_IN, 1, room=512)
assert (status, data, why[0]) == (IOERR, None, errno.ENOKEY)
for activate in (2, 255):
    assert request(T_IN, activate, room=512)[:2] == (IOERR, None)
    assert request(T_OUT, activate, data=b"y" * 512)[0] == IOERR
segment = struct.pack("<QII", 0, 1, 0)
assert request(T_DISCARD, 1, data=segment)[0] == OK
assert request(T_IN, 0, room=512)[1] == bytes(512)
END
}

@test "key operations: refusals leave the slot as it was" {
    driver <<'END'
d = Device(VERSION_1 | ICE | KEY_OPS)
key, data = os.urandom(64), os.urandom(4096)
assert d.program(0, key)[0] == OK
d.write(0, data, slot=0, dun=5)
other = os.urandom(64)
for arguments, status in ((dict(slot=0, key=other[:63]), IOERR), (dict(slot=0, key=other + b"x"), IOERR),
                          (dict(slot=0, key=b""), IOERR), (dict(slot=0, key=other[:32] * 2), IOERR),
                          (dict(slot=32, key=other), IOERR), (dict(slot=255, key=other), IOERR),
                          (dict(slot=0, key=other, exponent=8), None),
                          (dict(slot=0, key=other[:48], key_size=2), None),
                          (dict(slot=0, key=other, alg=4), None),
                          (dict(slot=0, key=other, key_size=0), None),
                          (dict(slot=0, key=other, key_size=4), None)):
    got, _, why = d.program(**arguments)
    assert got == status or status is None and got != OK, (arguments, got)
    assert why[1], why
    assert d.read(0, 4096, slot=0, dun=5) == data
body = struct.pack("<BBHBBBB", 0, 1, 64, 0, 3, 3, 0) + other.ljust(128, b"\0")
for length in (0, 1, 71, 135):
    assert d.request(T_PROGRAM, 0, body[:length])[0] == IOERR, length
assert d.request(T_EVICT, 0, bytes(7))[0] == IOERR
assert d.evict(32)[0] == IOERR
assert d.read(0, 4096, slot=0, dun=5) == data
assert d.evict(0)[0] == OK and d.evict(0)[0] == OK
assert d.request(T_IN, 0, room=4096, slot=0, dun=5)[:2] == (IOERR, None)
plain = Device(VERSION_1)
assert plain.program(0, key)[0] == UNSUPP
END
}

@test "malformed frames: an error reply where there is a tag, the end; others do not notice" {
    driver <<'END'
healthy = Device(VERSION_1)
request = encode([8, 5, 0, 513, bytes(16)])
bad = {
    "break": b"\xff", "not an array": b"\x05", "a map": b"\xa0", "empty array": b"\x80",
    "indefinite array": b"\x9f\x02\x01\xff", "one element": b"\x81\x02",
    "CBOR tag": b"\xc1\x82\x02\x01", "float": b"\x83\x03\x01\xf9\x3c\x00",
    "undefined": b"\x83\x03\x01\xf7", "text as number": b"\x82\x61x\x01",
    "negative number": b"\x82\x20\x01", "text as tag": b"\x82\x02\x61x",
    "huge array": b"\x9b" + b"\xff" * 8, "reserved head": b"\x82\x1c\x01",
    "indefinite bytes": b"\x85\x08\x05\x00\x01\x5f\x41x\xff",
    "hostile bytes": b"\x85\x08\x05\x00\x01\x5b" + b"\xff" * 8,
    "almost 2^64 bytes": b"\x85\x08\x05\x00\x01\x5b" + b"\xff" * 7 + b"\xf8",
    "huge writable_len": encode([8, 5, 0, 1 << 40, bytes(16)]),
    "queue of 17 bits": encode([8, 5, 1 << 16, 1, bytes(16)]),
    "request of four elements": encode([8, 5, 0, 1]),
    "long small frame": encode([7, 5, 0, bytes(2000)]),
}
for name, data in bad.items():
    c = Connection("vm0")
    c.raw(data)
    frame = c.frame()
    if frame is not None:
        assert frame[0] == 0 and len(frame) == 4 and frame[3], (name, frame)
        assert c.frame() is None, name
    if data[0] == 0x85:
        assert frame is not None and frame[1] == 5, (name, frame)
    assert healthy.read(0, 512) == bytes(512), name
END
}

@test "truncated frames: at every byte" {
    driver <<'END'
healthy = Device(VERSION_1)
data = encode([8, 7, 0, 513, bytes(16)])
for length in range(1, len(data)):
    c = Device(VERSION_1)
    c.raw(data[:length])
    c.socket.shutdown(socket.SHUT_WR)
    frame = c.frame()
    if frame is not None:
        assert frame[:2] == [0, 7], frame
        assert c.frame() is None
    assert length < 3 or frame is not None, length
assert healthy.read(0, 512) == bytes(512)
END
}

@test "well-formed but wrong: answered, and the connection stays" {
    driver <<'END'
d, control = Device(VERSION_1), Connection("control")
for number in (10, 14, 15, 77, 1 << 40):
    assert str(number) in expect_refused(errno.ENOSYS, d.call, number)
    expect_refused(errno.ENOSYS, control.call, number)
for number in (FUNCTION_LIST, SLOT_LIST, RESET, STATS):
    expect_refused(errno.EACCES, d.call, number, {})
for number, rest in ((GET_FEATURES, []), (SET_STATUS, [0]), (READ_CONFIG, [0, 4])):
    expect_refused(errno.EACCES, control.call, number, *rest)
expect_refused(errno.EACCES, control.call, REQUEST, 0, 513, bytes(1000))
expect_refused(errno.EINVAL, d.call, GET_FEATURES, 1)
expect_refused(errno.EINVAL, d.call, READ_CONFIG, 0, 5000)
assert "nothing" in expect_refused(errno.ENOENT, control.call, SLOT_LIST, {"function": "nothing"})
assert "function" in expect_refused(errno.EINVAL, control.call, SLOT_LIST, {})
assert "colour" in expect_refused(errno.EINVAL, control.call, FUNCTION_LIST, {"colour": "red"})
assert "all" in expect_refused(errno.EINVAL, control.call, RESET, {"scope": "all"})
both = {"scope": "engine", "function": "vm0"}
assert "takes no key" in expect_refused(errno.EINVAL, control.call, RESET, both)
twice = b"\xa2" + (encode("function") + encode("vm0")) * 2
control.raw(b"\x83" + encode(SLOT_LIST) + encode(500) + twice)
expect_refused(errno.EINVAL, control.answer, 500)
assert d.read(0, 512) == bytes(512)
assert [f["name"] for f in control.call(FUNCTION_LIST, {})] == ["vm0"]
END
}

@test "integers of any width, frames in any pieces" {
    driver <<'END'
d = Device(VERSION_1)
wide = head(4, 5, 8) + head(0, 8, 4) + head(0, 900, 8) + head(0, 0, 2) + head(0, 513, 8) + \
    head(2, 16, 4) + bytes(16)
d.raw(wide)
assert d.finish(900, 512)[1] == bytes(512)
narrow = encode([8, 901, 0, 513, bytes(16)])
for byte in narrow:
    d.raw(bytes([byte]))
    time.sleep(0.001)
assert d.finish(901, 512)[1] == bytes(512)
d.raw(b"".join(encode([8, tag, 0, 513, bytes(16)]) for tag in range(1000, 1060)))
for tag in range(1059, 999, -1):
    assert d.finish(tag, 512)[1] == bytes(512)
END
}

@test "a client that does not read its replies holds up nobody" {
    driver <<'END'
lazy, other = Device(VERSION_1), Device(VERSION_1)
lazy.socket.settimeout(1)
tags = []
try:
    while len(tags) < 500:
        tags.append(lazy.submit(T_IN, 0, room=1 << 20))
except (socket.timeout, BlockingIOError):
    pass
for n in range(200):
    assert other.read(n, 512) == bytes(512)
lazy.socket.settimeout(PATIENCE)  # it was not cut off for that
for tag in tags:
    assert lazy.finish(tag, 1 << 20)[0] == OK
END
}

@test "hundreds of connections, each its own" {
    driver <<'END'
connections = [Device(VERSION_1) for n in range(300)]
for n, d in enumerate(connections):
    d.write(n, bytes([n % 256]) * 512)
for n, d in enumerate(reversed(connections)):
    n = 299 - n
    assert d.read(n, 512) == bytes([n % 256]) * 512
END
    icectl info >/dev/null
}

@test "clients that die with requests in flight leave nothing behind" {
    driver <<'END'
for n in range(100 * int(os.environ.get("ICESIM_TEST_SCALE", "1"))):
    d = Device(VERSION_1)
    d.submit(T_IN, 0, room=65536)
    d.submit(T_OUT, 0, bytes(65536))
    d.raw(encode([8, 77, 0, 1, bytes(5000)])[:3000])
    d.close()
END
    icectl io read --sector 200 --count 1 | cmp - <(head -c 512 /dev/zero)
    requires jq
    is "$(icectl --json slot list | jq '[.[].in_flight] | add')" 0
}

@test "the control socket refuses other users, whatever the modes say" {
    requires_root "to become another user"
    chmod 755 run
    chmod 666 run/*.sock
    driver <<'END'
os.chdir(os.environ["ICESIM_DIR"])
os.environ["ICESIM_DIR"] = "."
assert Connection("control").call(FUNCTION_LIST, {})
os.setresuid(65534, 65534, 65534)
control = Connection("control", hello=False)
assert "65534" in expect_refused(errno.EACCES, control.call, HELLO, 1)
expect_refused(errno.EACCES, control.call, RESET, {"scope": "engine"})
END
}
