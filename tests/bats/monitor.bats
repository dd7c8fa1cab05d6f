#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The control socket's key path, a model of the drafts' secure monitor: what it programs is what drivers of
# every dialect then encrypt with, and whom it gives which slot.

load helpers

setup() {
    common_setup
    python3 -c 'import cryptography' || skip "python3-cryptography is not installed"
    cat >monitor_lib.py <<'END'
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from dialects import *
from wrapped_kdf import inline_key, sw_secret

DIALECTS = ("ice1", "ice2", "inline")
XTS = {"alg": "aes-256-xts", "data_unit": 4096}


def encrypted(key, dun, data):
    cipher = Cipher(algorithms.AES(key), modes.XTS(dun.to_bytes(16, "little"))).encryptor()
    return cipher.update(data) + cipher.finalize()


def fingerprint(key):
    return hashlib.sha256(b"icesim key\0" + key).hexdigest()[:16]


def encrypts_with(driver, slot, key):
    """The driver's tagged I/O through the slot is AES-256-XTS with this key."""
    data = os.urandom(4096)
    accepted(driver.transfer(True, 8, data, slot=slot, dun=9))
    assert accepted(driver.transfer(False, 8, room=4096)) == encrypted(key, 9, data)
    assert accepted(driver.transfer(False, 8, room=4096, slot=slot, dun=9)) == data
END
}

scenario() { # monitor_lib.py before the program on standard input
    { echo 'from monitor_lib import *'; cat; } >scenario.py
    PYTHONPATH=$T:$top_srcdir/tests/bats PYTHONDONTWRITEBYTECODE=1 at_length \
        python3 scenario.py "$@" 3>&-
}

start_three() { # SPEC-SUFFIX [OPTION...]
    local options=() i=0 dialect suffix=$1
    shift
    for dialect in ice1 ice2 inline; do
        options+=(--function "$dialect,dialect=$dialect,slots=$((8 * i + 8))+8,sectors=$((4096 * i))+4096$suffix")
        i=$((i + 1))
    done
    start --size 16M --slots 40 "${options[@]}" "$@"
}

@test "raw and wrapped keys for functions of every dialect, strict or not, in both addressings" {
    for suffix in '' ,strict ,addr=virtual ,addr=virtual,strict; do
        start_three "$suffix"
        scenario <<'END'
for name in DIALECTS:
    driver, row, key, master = drive(name), function_slots(name)[3], os.urandom(64), os.urandom(32)
    there = {"function": name, "slot": row["physical"], **XTS}
    assert control(SLOT_PROGRAM, key_type="raw", key=key, **there) == {"fingerprint": fingerprint(key)}
    encrypts_with(driver, row["slot"], key)
    long_term = control(KEY_IMPORT, function=name, key=master)["key"]
    ephemeral = control(KEY_PREPARE, function=name, key=long_term)["key"]
    assert control(KEY_DERIVE, function=name, key=ephemeral)["key"] == sw_secret(master)
    key = inline_key(master)
    assert control(SLOT_PROGRAM, key_type="wrapped", key=ephemeral, **there) == {"fingerprint": fingerprint(key)}
    encrypts_with(driver, row["slot"], key)
    row = function_slots(name)[3]
    assert row["programmed"] and row["key_type"] == "wrapped" and row["fingerprint"] == fingerprint(key)
    assert control(SLOT_EVICT, function=name, slot=row["physical"]) == {}
    refuses(driver.transfer(False, 8, room=4096, slot=row["slot"], dun=9), IOERR, errno.ENOKEY)
END
        stop
    done
}

@test "a strict function of ice1 or ice2 takes no key in band" {
    start_three ,strict
    scenario <<'END'
for name in ("ice1", "ice2"):
    driver, slot = drive(name), function_slots(name)[0]["slot"]
    assert not driver.call(GET_FEATURES)[0] & KEY_OPS
    refuses(driver.program(slot, os.urandom(64)), UNSUPP, errno.EOPNOTSUPP)
    assert not function_slots(name)[0]["programmed"]
driver, slot, key = drive("inline"), function_slots("inline")[0]["slot"], os.urandom(64)
accepted(driver.program(slot, key))
encrypts_with(driver, slot, key)
END
    stop
}

@test "the monitor holds each VM to its window, and changes nothing when it refuses" {
    start_three ''
    scenario <<'END'
keys = {}
for name in DIALECTS:
    first = functions()[name]["slots"]["first"]
    keys[name] = os.urandom(64)
    control(SLOT_PROGRAM, function=name, slot=first, key_type="raw", key=keys[name], **XTS)
before = {name: function_slots(name) for name in DIALECTS}
for name in DIALECTS:
    first = functions()[name]["slots"]["first"]
    for slot in (*range(first), *range(first + 8, 42), 255, 256, (1 << 32) - 1):
        owner = Connection("control")
        for message, rest in ((SLOT_EVICT, {}), (SLOT_PROGRAM, {"key_type": "raw", "key": os.urandom(64), **XTS})):
            text = expect_refused(errno.EPERM, owner.call, message, {"function": name, "slot": slot, **rest})
            assert text == f"the secure monitor holds {name} to slots {first}..{first + 7}"
        owner.close()
assert {name: function_slots(name) for name in DIALECTS} == before
for name in DIALECTS:
    encrypts_with(drive(name), before[name][0]["slot"], keys[name])
END
    stop
}

@test "--unsafe-monitor: one VM destroys another's key" {
    start_three '' --unsafe-monitor
    scenario <<'END'
victim, row, key, data = drive("ice2"), function_slots("ice2")[0], os.urandom(64), os.urandom(4096)
control(SLOT_PROGRAM, function="ice2", slot=row["physical"], key_type="raw", key=key, **XTS)
accepted(victim.transfer(True, 0, data, slot=row["slot"], dun=0))
for attacker in ("ice1", "inline"):
    control(SLOT_PROGRAM, function=attacker, slot=row["physical"], key_type="raw", key=os.urandom(64), **XTS)
    assert accepted(victim.transfer(False, 0, room=4096, slot=row["slot"], dun=0)) != data, "noise"
    control(SLOT_EVICT, function=attacker, slot=row["physical"])
    refuses(victim.transfer(False, 0, room=4096, slot=row["slot"], dun=0), IOERR, errno.ENOKEY)
control(SLOT_PROGRAM, function="ice1", slot=39, key_type="raw", key=key, **XTS)  # nobody's
owner = Connection("control")
text = expect_refused(errno.EINVAL, owner.call, SLOT_EVICT, {"function": "ice1", "slot": 40})
assert text == "slot 40 is outside the engine's slots 0..39"
END
    stop
}

@test "a busy slot is refused out of band too; key types and capabilities are the function's" {
    start --size 16M --slots 32 --function vm1,slots=0+8,sectors=0+4096,key-types=raw,caps=aes-256-xts:4096 \
        --function vm2,slots=8+8,sectors=4096+4096,key-types=wrapped
    scenario <<'END'
owner, ephemeral = Connection("control"), os.urandom(64)
vm1 = {"function": "vm1", "slot": 1, "key_type": "raw", "key": os.urandom(64), **XTS}
vm2 = {"function": "vm2", "slot": 9, "key_type": "raw", "key": os.urandom(64), **XTS}
for number, change in ((errno.EOPNOTSUPP, {"key_type": "wrapped"}), (errno.EOPNOTSUPP, {"data_unit": 512}),
                       (errno.EOPNOTSUPP, {"data_unit": 0}), (errno.EOPNOTSUPP, {"data_unit": (1 << 32) - 1}),
                       (errno.EOPNOTSUPP, {"alg": "aes-128-xts", "key": os.urandom(32)}),
                       (errno.EINVAL, {"key": os.urandom(63)}), (errno.EINVAL, {"key": b""}),
                       (errno.EINVAL, {"key": bytes(64)}), (errno.EINVAL, {"data_unit": 1 << 32})):
    expect_refused(number, owner.call, SLOT_PROGRAM, {**vm1, **change})
assert expect_refused(errno.EOPNOTSUPP, owner.call, SLOT_PROGRAM, vm2) == "vm2 takes wrapped keys only"
expect_refused(errno.EBADMSG, owner.call, SLOT_PROGRAM, {**vm2, "key_type": "wrapped"})
for message in (KEY_GENERATE, KEY_IMPORT, KEY_PREPARE, KEY_DERIVE):
    rest = {} if message == KEY_GENERATE else {"key": os.urandom(32)}
    expect_refused(errno.EOPNOTSUPP, owner.call, message, {"function": "vm1", **rest})
assert not any(row["programmed"] for name in ("vm1", "vm2") for row in function_slots(name))
owner.call(SLOT_PROGRAM, vm1)
driver, busy, tries = drive("vm1"), 0, 0
while not busy and tries < 2000:
    tries += 1
    tags = [driver.send(REQUEST, 0, 1, header(T_OUT) + payload(1, 0) + bytes(1 << 20)) for _ in range(4)]
    try:
        owner.call(SLOT_PROGRAM, vm1)
    except Refused as refused:
        assert refused.errno == errno.EBUSY and "in flight" in refused.text, refused
        busy += 1
    for tag in tags:
        assert driver.finish(tag)[0] == OK
assert busy, "no slot was ever busy"
END
    stop
}
