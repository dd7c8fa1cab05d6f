#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# What each scope of a reset empties and whom it tells, in every dialect: seen in the slot lists, in what
# is stored, and in what can still be decrypted.

load helpers

setup() {
    common_setup
    cat >reset_lib.py <<'END'
from dialects import *

UNIT = 4096
DIALECTS = ("ice1", "ice2", "inline")


def programmed(name):
    """The wire's numbers of the slots that have a key."""
    return {row["slot"] for row in function_slots(name) if row["programmed"]}


def by_owner(name, index, key):
    """Programs a slot out of band; its number on the wire."""
    row = function_slots(name)[index]
    control(SLOT_PROGRAM, function=name, slot=row["physical"], alg="aes-256-xts", data_unit=UNIT, key_type="raw",
            key=key)
    return row["slot"]


def write(driver, slot, sector, data):
    accepted(driver.transfer(True, sector, data, slot=slot, dun=7))


def read(driver, slot, sector, size=UNIT):
    return driver.transfer(False, sector, room=size, slot=slot, dun=7)


def stored(driver, sector, size=UNIT):
    return accepted(driver.transfer(False, sector, room=size))


def events(driver):
    """Of which kinds, and the last values; all that came so far."""
    driver.call(GET_STATUS)
    seen, driver.events = dict(driver.events), []
    return seen


def again(driver):
    """A driver that starts over on its own connection."""
    driver.negotiate(driver.features)
END
}

scenario() { # reset_lib.py before the program on standard input
    { echo 'from reset_lib import *'; cat; } >scenario.py
    PYTHONPATH=$T:$top_srcdir/tests/bats PYTHONDONTWRITEBYTECODE=1 at_length \
        python3 scenario.py "$@" 3>&-
}

start_three() { # [SPEC-SUFFIX]
    local options=() i=0 dialect
    for dialect in ice1 ice2 inline; do
        options+=(--function "$dialect,dialect=$dialect,slots=$((8 * i + 4))+8,sectors=$((4096 * i))+4096${1:-}")
        i=$((i + 1))
    done
    start --size 16M --slots 32 "${options[@]}"
}

@test "a driver's own reset empties the slots that it programmed, nobody else's" {
    start_three
    scenario <<'END'
for name in DIALECTS:
    a, b, base = drive(name), drive(name), first_slot(name)
    keys = [os.urandom(64) for _ in range(3)]
    accepted(a.program(base, keys[0]))
    accepted(b.program(base + 1, keys[1]))
    owned = by_owner(name, 2, keys[2])
    data = os.urandom(UNIT)
    for n, slot in enumerate((base, base + 1, owned)):
        write(b, slot, 8 * n, data)
    cipher = [stored(b, 8 * n) for n in range(3)]
    assert data not in cipher and len(set(cipher)) == 3
    a.call(SET_STATUS, 0)
    assert programmed(name) == {base + 1, owned}, programmed(name)
    refuses(read(b, base, 0), IOERR, errno.ENOKEY)
    assert accepted(read(b, base + 1, 8)) == accepted(read(b, owned, 16)) == data
    assert [stored(b, 8 * n) for n in range(3)] == cipher
    assert not events(b)
    again(a)
    accepted(a.program(base, keys[0]))
    assert accepted(read(a, base, 0)) == data
    a.close()
    assert programmed(name) == {base, base + 1, owned}, "closing a connection is not a reset"
END
    stop
}

@test "scope device resets every attachment of one function: in-band slots go, the owner's stay" {
    start_three
    scenario <<'END'
others = {name: drive(name) for name in DIALECTS}
for name, other in others.items():
    accepted(other.program(first_slot(name) + 7, os.urandom(64)))
for name in DIALECTS:
    a, b, base, key = drive(name), drive(name), first_slot(name), os.urandom(64)
    accepted(a.program(base, os.urandom(64)))
    accepted(b.program(base + 1, os.urandom(64)))
    owned, data = by_owner(name, 2, key), os.urandom(UNIT)
    write(a, owned, 0, data)
    cipher = stored(a, 0)
    # A key of the owner's over a driver's is the owner's from then on; and the reverse.
    accepted(a.program(base + 3, os.urandom(64)))
    by_owner(name, 3, key)
    by_owner(name, 4, key)
    accepted(a.program(base + 4, os.urandom(64)))
    assert control(RESET, scope="device", function=name) == {"generation": "0x1"}
    assert programmed(name) == {owned, base + 3}, programmed(name)
    for driver in (a, b, others[name]):
        assert events(driver) == {1: 0}
        assert driver.call(GET_STATUS) == 0
        expect_refused(errno.EPROTO, driver.send_raw, header(T_FLUSH))
        again(driver)
    assert stored(b, 0) == cipher
    assert accepted(read(b, owned, 0)) == data
    refuses(read(b, base + 1, 0), IOERR, errno.ENOKEY)
    # The functions that have their turn later have noticed nothing.
    for later in DIALECTS[DIALECTS.index(name) + 1:]:
        assert not events(others[later]) and programmed(later) == {first_slot(later) + 7}
END
    stop
}

@test "on-reset=keep: a device reset leaves all slots, a function reset none" {
    start_three ,on-reset=keep
    scenario <<'END'
for name in DIALECTS:
    a, base, data = drive(name), first_slot(name), os.urandom(UNIT)
    accepted(a.program(base, os.urandom(64)))
    write(a, base, 0, data)
    a.call(SET_STATUS, 0)
    again(a)
    control(RESET, scope="device", function=name)
    again(a)
    assert programmed(name) == {base}
    assert accepted(read(a, base, 0)) == data
    control(RESET, scope="function", function=name)
    assert not programmed(name)
    refuses(read(a, base, 0), IOERR, errno.ENOKEY)
END
    stop
}

@test "scope function empties all slots of one function; its drivers stay as they are" {
    start_three
    scenario <<'END'
drivers = {name: drive(name) for name in DIALECTS}
keys, data = {}, os.urandom(UNIT)
for name, driver in drivers.items():
    keys[name] = os.urandom(64)
    accepted(driver.program(first_slot(name), keys[name]))
    by_owner(name, 7, os.urandom(64))
    write(driver, first_slot(name), 0, data)
for turn, (name, driver) in enumerate(drivers.items()):
    cipher = stored(driver, 0)
    assert control(RESET, scope="function", function=name) == {"generation": "0x1"}
    assert not programmed(name)
    assert driver.call(GET_STATUS) == 15 and not events(driver)
    refuses(read(driver, first_slot(name), 0), IOERR, errno.ENOKEY)
    assert stored(driver, 0) == cipher
    for other in DIALECTS:
        gone = DIALECTS.index(other) <= turn
        assert len(programmed(other)) == (0 if gone else 2), other
    accepted(driver.program(first_slot(name), os.urandom(64)))
    assert accepted(read(driver, first_slot(name), 0)) != data, "another key reads noise"
    accepted(driver.program(first_slot(name), keys[name]))
    assert accepted(read(driver, first_slot(name), 0)) == data
    control(RESET, scope="function", function=name)
END
    stop
}

@test "scope engine empties every slot; tagged I/O is stale until the new generation is acknowledged" {
    start_three
    scenario <<'END'
drivers, data, keys, ciphers = [], os.urandom(UNIT), {}, {}
for name in DIALECTS:
    a, b, keys[name] = drive(name), drive(name), os.urandom(64)
    drivers += [(name, a), (name, b)]
    accepted(a.program(first_slot(name), keys[name]))
    by_owner(name, 1, os.urandom(64))
    write(a, first_slot(name), 0, data)
    ciphers[name] = stored(a, 0)
idle = Device(name="ice2")  # an attachment without a driver yet
assert control(RESET, scope="engine") == {"generation": "0x2"}
assert not any(programmed(name) for name in DIALECTS)
assert events(idle) == {2: 2}
for name, driver in drivers:
    slot = first_slot(name)
    assert events(driver) == {2: 2}
    assert driver.call(GET_STATUS) == 15
    assert stored(driver, 0) == ciphers[name], "untagged I/O goes on"
    refuses(read(driver, slot, 0), IOERR, errno.ESTALE)
    # Key operations are not refused: but the new key is not met before the news is taken note of.
    accepted(driver.program(slot, keys[name]))
    refuses(read(driver, slot, 0), IOERR, errno.ESTALE)
    refuses(driver.transfer(True, 0, bytes(UNIT), slot=slot, dun=7), IOERR, errno.ESTALE)
    assert stored(driver, 0) == ciphers[name]
    for wrong in (3, 1 << 63, (1 << 64) - 1):
        expect_refused(errno.EINVAL, driver.call, ACKNOWLEDGE, wrong)
        refuses(read(driver, slot, 0), IOERR, errno.ESTALE)
    driver.call(ACKNOWLEDGE, 2)
    assert accepted(read(driver, slot, 0)) == data
for name in DIALECTS:
    late = drive(name)
    assert late.hello["generation"] == "0x2"
    assert accepted(read(late, first_slot(name), 0)) == data, "who comes later is not stale"
    assert not events(late)
END
    stop
}

@test "two engine resets: the older generation's acknowledgement is not enough" {
    start_three
    scenario <<'END'
for turn, name in enumerate(DIALECTS):
    driver, key = drive(name), os.urandom(64)
    before = int(driver.hello["generation"], 16)
    for step in (1, 2):
        assert control(RESET, scope="engine") == {"generation": hex(before + step)}
    assert events(driver)[2] == before + 2
    accepted(driver.program(first_slot(name), key))
    for old in (before, before + 1):
        try:
            driver.call(ACKNOWLEDGE, old)
        except Refused:
            pass
        refuses(read(driver, first_slot(name), 0), IOERR, errno.ESTALE)
    driver.call(ACKNOWLEDGE, before + 2)
    accepted(read(driver, first_slot(name), 0))
    # A driver that starts over has not read the news by that.
    control(RESET, scope="engine")
    again(driver)
    accepted(driver.program(first_slot(name), key))
    refuses(read(driver, first_slot(name), 0), IOERR, errno.ESTALE)
    driver.call(ACKNOWLEDGE, before + 3)
    accepted(read(driver, first_slot(name), 0))
END
    stop
}

@test "resets in the middle of I/O: each request meets its key, ENOKEY, EBUSY or ESTALE, and no other" {
    start_three
    scenario "$SCALE" <<'END'
import random
import sys
import threading

rng, stop, data = random.Random(int(os.environ.get("ICESIM_TEST_SEED", 2026))), threading.Event(), bytes(16 * UNIT)
failures, good = [], dict.fromkeys(DIALECTS, 0)


def until_done(function, argument):
    while True:
        try:
            return function(argument)
        except (Refused, AssertionError):  # reset meanwhile
            pass


def turn(driver, slot, key):
    """True when the data came back."""
    for kind, value in driver.events:
        if kind == 2:
            driver.call(ACKNOWLEDGE, value)
    driver.events = []
    try:
        answers = (driver.program(slot, key), driver.transfer(True, 0, data, slot=slot, dun=0),
                   driver.transfer(False, 0, room=len(data), slot=slot, dun=0))
    except Refused as refused:
        assert refused.errno == errno.EPROTO, refused  # before DRIVER_OK
        until_done(again, driver)
        return False
    for status, _, why in answers:
        assert status == OK or why[0] in (errno.ENOKEY, errno.EBUSY, errno.ESTALE), answers
    if answers[1][0] != OK or answers[2][0] != OK:
        return False
    assert answers[2][1] == data, "read through another key"
    return True


def work(name):
    driver, slot, key = until_done(drive, name), first_slot(name), os.urandom(64)
    try:
        while not stop.is_set():
            good[name] += turn(driver, slot, key)
    except BaseException as error:
        failures.append((name, repr(error)))


threads = [threading.Thread(target=work, args=(name,)) for name in DIALECTS]
for thread in threads:
    thread.start()
turns, end = 0, time.monotonic() + 5 * PATIENCE
while turns < 150 * int(sys.argv[1]) or min(good.values()) <= 10 and not failures and time.monotonic() < end:
    turns += 1
    scope = rng.choice(("device", "function", "engine"))
    where = {} if scope == "engine" else {"function": rng.choice(DIALECTS)}
    control(RESET, scope=scope, **where)
    time.sleep(rng.random() / 50)
stop.set()
for thread in threads:
    thread.join()
assert not failures, failures
assert min(good.values()) > 10, good
END
    stop
}
