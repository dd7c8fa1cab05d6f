#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Drivers on the device socket: status, features, cache mode, generations; each sees its own.

load helpers

@test "FUSE, two sockets with different features and a third that resets itself, all at once" {
    start_mounted --image image --size 16M
    program 0
    random_file a $((4 << 20))
    (
        while [ ! -e stop ]; do
            within dd if=a of=m/slot/0 bs=100000 conv=notrunc status=none || exit
            within dd if=m/slot/0 bs=1M count=4 status=none | cmp - a || exit
        done
    ) 3>&- &
    fuse=$!
    driver <<'END'
import threading, time
until = time.monotonic() + 3
failures, rounds = [], {}

def runs(function):
    def body():
        try:
            n = 0
            while n < 10 or time.monotonic() < until:
                function(n)
                n += 1
            rounds[function.__name__] = n
        except BaseException as error:
            failures.append((function.__name__, repr(error)))
            raise
    return threading.Thread(target=body)

ice = Device(VERSION_1 | FLUSH | CONFIG_WCE | ICE | KEY_OPS)
plain = Device(VERSION_1)
third = Device()
key = os.urandom(64)
assert ice.program(3, key)[0] == OK

def with_ice(n):
    data = os.urandom(8192)
    ice.write(16384, data, slot=3, dun=n)
    assert ice.read(16384, 8192, slot=3, dun=n) == data
    assert ice.read(16384, 8192) != data
    assert ice.call(GET_FEATURES)[1] == ice.features
    assert ice.call(GET_STATUS) == 15

def without_ice(n):
    data = os.urandom(8192)
    plain.write(20480, data)
    assert plain.read(20480, 8192) == data
    assert plain.call(GET_FEATURES)[1] == VERSION_1
    assert plain.call(GET_STATUS) == 15
    status, _, why = plain.request(T_FLUSH)
    assert status == UNSUPP or status == OK, why

def resets(n):
    third.negotiate(VERSION_1 | ICE | KEY_OPS | (FLUSH if n % 2 else 0))
    assert third.program(5, os.urandom(64))[0] == OK
    third.write(24576, bytes(4096), slot=5, dun=0)
    third.call(SET_STATUS, 0)
    assert third.call(GET_STATUS) == 0
    assert third.call(GET_FEATURES)[1] == 0
    expect_refused(errno.EPROTO, third.request, T_IN, 0, room=512)
    programmed = [slot["slot"] for slot in slots() if slot["programmed"]]
    assert programmed == [0, 3], programmed

threads = [runs(with_ice), runs(without_ice), runs(resets)]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failures, failures
END
    touch stop
    wait $fuse
}

@test "status and features go the way of virtio: each step, and steps out of order" {
    start --size 1M
    driver <<'END'
d = Device()
assert d.hello["function"] == "vm0" and d.hello["dialect"] == "ice2", d.hello
assert d.call(GET_STATUS) == 0
offered, negotiated = d.call(GET_FEATURES)
assert negotiated == 0
for bit in (FLUSH, CONFIG_WCE, ICE, VERSION_1, KEY_OPS):
    assert offered & bit, bit
assert offered & 1 << 17 == 0 and offered & 1 << 5 == 0, hex(offered)
expect_refused(errno.EINVAL, d.call, SET_FEATURES, VERSION_1)
expect_refused(errno.EINVAL, d.call, SET_STATUS, DRIVER)
assert d.call(SET_STATUS, ACK) == [1, None]
expect_refused(errno.EINVAL, d.call, SET_STATUS, ACK | FEATURES_OK)
assert d.call(SET_STATUS, ACK | DRIVER) == [3, None]
expect_refused(errno.EINVAL, d.call, SET_STATUS, ACK | DRIVER | DRIVER_OK)
d.call(SET_FEATURES, VERSION_1 | FLUSH)
assert d.call(SET_STATUS, 11) == [11, None]
expect_refused(errno.EBUSY, d.call, SET_FEATURES, VERSION_1)
expect_refused(errno.EINVAL, d.call, SET_STATUS, ACK)
assert d.call(GET_STATUS) == 11
assert d.call(SET_STATUS, 15) == [15, None]
assert d.call(GET_FEATURES)[1] == VERSION_1 | FLUSH
expect_refused(errno.EPROTO, d.call, SET_STATUS, 256)
assert d.call(SET_STATUS, 0) == [0, None]
assert d.call(GET_FEATURES)[1] == 0
END
}

@test "FEATURES_OK is refused: unknown bits, no VERSION_1, KEY_OPS without ICE" {
    start --size 1M
    driver <<'END'
d = Device()
offered = d.call(GET_FEATURES)[0]
unknown = [bit for bit in range(64) if not offered >> bit & 1]
assert len(unknown) > 40
for features in [VERSION_1 | 1 << bit for bit in unknown] + [FLUSH, 0, VERSION_1 | KEY_OPS]:
    d.call(SET_STATUS, 0)
    d.call(SET_STATUS, 1)
    d.call(SET_STATUS, 3)
    d.call(SET_FEATURES, features)
    status, why = d.call(SET_STATUS, 11)
    assert status == 3, (hex(features), status)
    assert why[0] == errno.EINVAL and why[1], why
    assert d.call(GET_STATUS) == 3
    expect_refused(errno.EPROTO, d.request, T_IN, 0, room=512)
d.negotiate(VERSION_1 | ICE)
assert d.read(0, 512) == bytes(512)
END
}

@test "requests before DRIVER_OK get an error reply, and the connection stays" {
    start --size 1M
    driver <<'END'
d = Device()
for status in (0, 1, 3, 11):
    if status:
        d.call(SET_STATUS, status) if status != 11 else d.call(SET_FEATURES, VERSION_1)
        d.call(SET_STATUS, status)
    text = expect_refused(errno.EPROTO, d.request, T_OUT, 0, b"x" * 512)
    assert "DRIVER_OK" in text, text
d.call(SET_STATUS, 15)
assert d.read(0, 512) == bytes(512)
END
}

@test "with writeback 1 no write causes a flush, with 0 each does; so without FLUSH" {
    start --image image --size 1M
    driver <<'END'
d = Device(VERSION_1 | FLUSH | CONFIG_WCE)
def flushes_of_writes(count=5):
    before = syncs()
    for n in range(count):
        d.write(n, bytes(512))
    return syncs() - before
assert d.call(READ_CONFIG, 32, 1) == b"\1"
assert flushes_of_writes() == 0
d.call(WRITE_CONFIG, 32, b"\0")
assert d.call(READ_CONFIG, 32, 1) == b"\0"
assert flushes_of_writes() == 5
d.call(WRITE_CONFIG, 32, b"\1")
assert flushes_of_writes() == 0
expect_refused(errno.EINVAL, d.call, WRITE_CONFIG, 32, b"\2")
d.call(WRITE_CONFIG, 0, b"\xff" * 8)
assert d.call(READ_CONFIG, 0, 8) == (2048).to_bytes(8, "little")

other = Device(VERSION_1 | FLUSH | CONFIG_WCE)
other.call(WRITE_CONFIG, 32, b"\0")
assert d.call(READ_CONFIG, 32, 1) == b"\1"
assert flushes_of_writes() == 0

before = syncs()
assert d.request(T_FLUSH)[0] == OK
assert syncs() == before + 1
for features, flushes in ((VERSION_1, 5), (VERSION_1 | FLUSH, 0), (VERSION_1 | CONFIG_WCE, 5),
                          (VERSION_1 | FLUSH | CONFIG_WCE, 0)):
    d.negotiate(features)
    assert flushes_of_writes() == flushes, hex(features)
END
}

@test "writeback: the kernel sees as many fdatasync as the statistics count" {
    requires strace
    start --image image --size 1M
    strace -f -c -o calls -e trace=fdatasync,fsync -p "$server" 2>strace.log 3>&- &
    tracer=$!
    eventually grep -q attached strace.log
    driver <<'END'
d = Device(VERSION_1 | FLUSH | CONFIG_WCE)
for n in range(50):
    d.write(n, bytes(512))
d.call(WRITE_CONFIG, 32, b"\0")
for n in range(7):
    d.write(n, bytes(512))
assert syncs() == 7
END
    kill -INT $tracer
    wait $tracer || true
    cat calls
    is "$(awk '$NF == "fdatasync" { print $4 }' calls)" 7 "calls of fdatasync"
    not grep -qw fsync calls
}

@test "an engine reset: encrypted requests are ESTALE until the driver has acknowledged" {
    start --size 1M
    driver <<'END'
d = Device(VERSION_1 | FLUSH | ICE | KEY_OPS)
key = os.urandom(64)
assert d.program(1, key)[0] == OK
d.write(0, bytes(4096), slot=1, dun=0)
control = Connection("control")
assert control.call(RESET, {"scope": "engine"}) == {"generation": "0x2"}
assert d.call(GET_STATUS) == 15
assert [2, 2] in d.events, d.events
other = Device(VERSION_1 | FLUSH | ICE | KEY_OPS)
assert other.program(1, os.urandom(64))[0] == OK
for kind, arguments in ((T_IN, {"room": 4096}), (T_OUT, {"data": bytes(4096)})):
    status, data, why = d.request(kind, slot=1, dun=0, **arguments)
    assert (status, data, why[0]) == (IOERR, None, errno.ESTALE), why
assert len(d.read(0, 4096)) == 4096
expect_refused(errno.EINVAL, d.call, ACKNOWLEDGE, 3)
d.call(ACKNOWLEDGE, 2)
assert len(d.read(0, 4096, slot=1, dun=0)) == 4096
END
}

@test "a device reset: every driver is told, in-band slots are empty, negotiation is forgotten" {
    start --size 1M
    driver <<'END'
one, two = Device(VERSION_1 | ICE | KEY_OPS), Device(VERSION_1)
assert one.program(1, os.urandom(64))[0] == OK
Connection("control").call(RESET, {"scope": "device", "function": "vm0"})
for d in (one, two):
    assert d.call(GET_STATUS) == 0
    assert [1, 0] in d.events, d.events
    expect_refused(errno.EPROTO, d.request, T_IN, room=512)
assert not any(slot["programmed"] for slot in slots())
two.negotiate(VERSION_1)
assert two.read(0, 512) == bytes(512)
END
}

@test "closing a connection is not a reset: its slots stay; its own reset empties them" {
    start --size 1M
    driver <<'END'
features = VERSION_1 | ICE | KEY_OPS
d = Device(features)
key, data = os.urandom(64), os.urandom(4096)
assert d.program(1, key)[0] == OK
d.close()
d = Device(features)
d.write(0, data, slot=1, dun=9)
assert d.program(2, key)[0] == OK
assert d.read(0, 4096, slot=2, dun=9) == data
d.call(SET_STATUS, 0)
assert [slot["slot"] for slot in slots() if slot["programmed"]] == [1]
END
}
