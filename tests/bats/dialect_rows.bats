#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# What the drafts leave open, as icesim decided it: a test for each row of icesim-dialects(7),
# "DECISIONS". documents_dialects.bats fails when a row has none.

load helpers

# Functions of every dialect and addressing, with slots and sectors of their own.
start_all() { # [OPTION...]
    start --size 28M --slots 64 \
        --function ice1p,dialect=ice1,addr=physical,slots=4+6,sectors=0+8192 \
        --function ice1v,dialect=ice1,addr=virtual,slots=10+6,sectors=8192+8192 \
        --function ice2p,dialect=ice2,addr=physical,slots=20+6,sectors=16384+8192 \
        --function ice2v,dialect=ice2,addr=virtual,slots=26+6,sectors=24576+8192 \
        --function inlinep,dialect=inline,addr=physical,slots=40+6,sectors=32768+8192 \
        --function inlinev,dialect=inline,addr=virtual,slots=46+6,sectors=40960+8192 "$@"
}

@test "row 1: a function speaks the dialect it is configured for, and no other is guessed" {
    start_all
    driver <<'END'
from dialects import *
for name, function in functions().items():
    want = {"ice1": ICE, "ice2": ICE, "inline": CTRL_VQ | INLINE_ENCRYPTION}[name[:-1]]
    driver = drive(name)
    assert driver.hello["dialect"] == function["dialect"] == name[:-1]
    assert driver.features & (ICE | INLINE_ENCRYPTION) == want, hex(driver.features)
# Bit 22 is ICE in one and CTRL_VQ in the other: type 28 follows the dialect.
assert accepted(drive("ice2p").send_raw(header(28) + payload(), 4096))
refuses(drive("inlinev").send_raw(header(28) + payload(), 4096), IOERR)
END
    refused 2 'icesim: --dialect d2r: .*ice1, ice2, inline.*' icesim --size 1M --dialect d2r
}

@test "row 2: capability_num is le16 at byte 98, and the space ends at 100" {
    start_all
    driver <<'END'
from dialects import *
space = drive("ice2p").config()
slot_info, number = struct.unpack_from("<HH", space, 96)
assert slot_info == 6 << 8 | 20 and number == 88, (slot_info, number)
assert not any(space[100:])
entries = accepted(drive("ice2p").send_raw(header(28) + payload(), 4 * number))
assert len(entries) == 4 * number and all(entries[i + 2] for i in range(0, len(entries), 4))
END
}

@test "row 3: slots are those of the window and no other, as the wire counts them" {
    start_all
    driver <<'END'
from dialects import *
key, data = os.urandom(64), bytes(4096)
for name, function in functions().items():
    driver, first, count = drive(name), function["slots"]["first"], function["slots"]["count"]
    start = first_slot(name)
    if not name.startswith("inline"):
        assert struct.unpack_from("<H", driver.config(), 96)[0] == count << 8 | start
    for slot in range(start, start + count):
        accepted(driver.program(slot, key))
    for slot in range(256):
        if start <= slot < start + count:
            accepted(driver.transfer(True, 0, data, slot=slot))
        else:
            refuses(driver.program(slot, key), IOERR, errno.EINVAL, "window")
            refuses(driver.evict(slot), IOERR, errno.EINVAL, "window")
            refuses(driver.transfer(True, 0, data, slot=slot), IOERR, errno.EINVAL, "window")
            refuses(driver.transfer(False, 0, room=4096, slot=slot), IOERR, errno.EINVAL, "window")
# A slot that only 32 bits can name is not taken for one of the window.
for slot in (46 + 256, 1 << 16, 1 << 31):
    refuses(drive("inlinev").transfer(True, 0, data, slot=slot), IOERR, errno.EINVAL, "window")
END
    refused 2 'icesim: --function a,slots=250\+6: slots=250\+6 goes past 255' \
        icesim --dir other --size 1M --slots 255 --function a,slots=250+6
    refused 2 'icesim: --slots 256: outside 1\.\.255' icesim --dir other --size 1M --slots 256
}

@test "row 4: a slot outside the window and an empty one are IOERR, nothing written, no plaintext returned" {
    start_all
    driver <<'END'
from dialects import *
for name, function in functions().items():
    driver = drive(name)
    start = first_slot(name)
    accepted(driver.program(start, os.urandom(64)))
    with Untouched(name):
        for slot, number in ((start + 1, errno.ENOKEY), (start + 6, errno.EINVAL)):
            refuses(driver.transfer(True, 8, bytes(4096), slot=slot), IOERR, number)
            refuses(driver.transfer(False, 8, room=4096, slot=slot), IOERR, number)
END
}

@test "row 5: with ICE the header is 32 bytes for every type, 16 without; header=trimmed takes 16 but for IN, OUT, FLUSH" {
    start --size 8M --function full,slots=0+4,sectors=0+8192 \
        --function trimmed,header=trimmed,slots=4+4,sectors=8192+8192
    driver <<'END'
from dialects import *
segment = struct.pack("<QII", 8, 8, 0)
short = [header(T_FLUSH), header(T_GET_ID), header(T_LIFETIME), header(T_DISCARD) + segment[:15], header(T_IN)]
full, plain, trimmed = drive("full"), drive("full", VERSION_1 | LIFETIME | DISCARD), drive("trimmed")
for readable in short:
    room = {T_GET_ID: 20, T_LIFETIME: 6, T_IN: 512}.get(readable[0], 0)
    refuses(full.send_raw(readable, room), IOERR, errno.EINVAL, "header")
    if readable[0] != T_DISCARD:
        assert plain.send_raw(readable, room)[0] == OK
assert full.send_raw(header(T_DISCARD) + payload() + segment)[0] == OK
assert plain.send_raw(header(T_DISCARD) + segment)[0] == OK
# trimmed: as the posted draft had it, and 32 bytes where they can be told from data
assert trimmed.send_raw(header(T_GET_ID), 20)[0] == OK
assert trimmed.send_raw(header(T_GET_ID) + payload(), 20)[0] == OK
assert trimmed.send_raw(header(T_LIFETIME), 6)[0] == OK
assert trimmed.send_raw(header(T_CAPS), 352)[0] == OK
assert trimmed.send_raw(header(T_DISCARD) + segment)[0] == OK
for readable in (header(T_FLUSH), header(T_IN), header(T_OUT)):
    refuses(trimmed.send_raw(readable, 512 if readable[0] == T_IN else 0), IOERR, errno.EINVAL, "header")
END
}

@test "row 6: activate above 1 is IOERR; reserved fields are ignored, and IOERR for a strict function" {
    start --size 8M --function loose,slots=0+4,sectors=0+4096 --function strict,slots=4+4,sectors=4096+4096,strict
    icectl -f strict slot program 4 --alg aes-256-xts --key-file <(head -c 64 /dev/urandom) # out of band
    driver <<'END'
from dialects import *
loose, strict = drive("loose"), drive("strict")
accepted(loose.program(0, os.urandom(64)))
data = bytes(4096)
for driver, slot in ((loose, 0), (strict, 4)):
    for activate in (2, 3, 128, 255):
        refuses(driver.send_raw(header(T_OUT) + payload(slot, 0, activate) + data), IOERR, errno.EINVAL, "activate")
for field in (dict(reserved1=1), dict(reserved2=1 << 31)):
    accepted(loose.send_raw(header(T_OUT) + payload(0, 0, 1, **field) + data))
    with Untouched("strict"):
        refuses(strict.send_raw(header(T_OUT) + payload(4, 0, 1, **field) + data), IOERR)
# ioprio stands in the header's reserved word, and is nobody's business
accepted(strict.send_raw(header(T_OUT, reserved=7) + payload(4) + data))
assert control(STATS, function="strict")["violations"]["reserved"] == 2
END
}

@test "row 7: slot and DUN mean nothing while activate is 0" {
    start --size 8M --slots 8
    driver <<'END'
from dialects import *
driver, data = drive("vm0"), os.urandom(4096)
accepted(driver.send_raw(header(T_OUT, 8) + payload(200, 1 << 63, 0) + data))
assert accepted(driver.send_raw(header(T_IN, 8) + payload(200, 5, 0), 4096)) == data
END
}

@test "row 8: FLUSH with activate is a plain flush, whatever the slot" {
    start --size 8M --slots 8
    driver <<'END'
from dialects import *
driver, before = drive("vm0"), syncs()
for slot in (0, 200):
    accepted(driver.send_raw(header(T_FLUSH) + payload(slot, 7)))
assert syncs() == before + 2
END
}

@test "row 9: the payload of other types is ignored; zeros are zeros of the ciphertext; ZONED is not offered" {
    start --size 8M --slots 8
    driver <<'END'
from dialects import *
driver, data = drive("vm0"), os.urandom(4096)
accepted(driver.program(0, os.urandom(64)))
accepted(driver.transfer(True, 8, data, slot=0, dun=1))
segment = struct.pack("<QII", 8, 8, 0)
accepted(driver.send_raw(header(T_WRITE_ZEROES) + payload(0, 1) + segment))
assert accepted(driver.transfer(False, 8, room=4096)) == bytes(4096)
noise = accepted(driver.transfer(False, 8, room=4096, slot=0, dun=1))
assert noise != bytes(4096) and noise != data
for kind in (T_DISCARD, T_ERASE):
    accepted(driver.send_raw(header(kind) + payload(200, 1) + segment))
assert len(accepted(driver.send_raw(header(T_GET_ID) + payload(200), 20))) == 20
assert not driver.call(GET_FEATURES)[0] & 1 << 17
refuses(driver.send_raw(header(T_APPEND) + payload(0) + data, 8), UNSUPP)
END
}

@test "row 10: a length that is no multiple of the data unit is IOERR; the sector is free" {
    start_all
    driver <<'END'
from dialects import *
for name, function in functions().items():
    driver, data = drive(name), os.urandom(4096)
    slot = first_slot(name)
    accepted(driver.program(slot, os.urandom(64)))
    with Untouched(name):
        for length in (512, 4096 + 512, 8192 - 512):
            refuses(driver.transfer(True, 8, bytes(length), slot=slot), IOERR, errno.EINVAL, "data unit")
            refuses(driver.transfer(False, 8, room=length, slot=slot), IOERR, errno.EINVAL, "data unit")
        refuses(driver.transfer(True, 8, b"", slot=slot), IOERR, errno.EINVAL)
    for sector in (0, 1, 7, 13):
        accepted(driver.transfer(True, sector, data, slot=slot, dun=9))
        assert accepted(driver.transfer(False, sector, room=4096, slot=slot, dun=9)) == data
END
}

@test "row 11: a DUN whose last unit passes the width is IOERR, nothing touched" {
    start --size 8M --slots 32 --function ice1,dialect=ice1,slots=0+2,sectors=0+2048 \
        --function ice2,slots=2+2,sectors=2048+2048 \
        --function inline,dialect=inline,slots=4+2,sectors=4096+2048 \
        --function emmc,caps=emmc,slots=6+2,sectors=6144+2048,dialect=inline \
        --function wide,dun-bits=128,dialect=inline,slots=8+2,sectors=8192+2048
    driver <<'END'
from dialects import *
# The IV of AES-XTS has 128 bits: a wider DUN could not be told apart.
for name, bits in dict(ice1=64, ice2=64, inline=128, emmc=32, wide=128).items():
    driver, slot = drive(name), first_slot(name)
    accepted(driver.program(slot, os.urandom(64), **({"dun_bytes": 4} if isinstance(driver, InlineDriver) else {})))
    top = (1 << bits) - 1
    accepted(driver.transfer(True, 0, bytes(4096), slot=slot, dun=top))
    accepted(driver.transfer(True, 0, bytes(8192), slot=slot, dun=top - 1))
    with Untouched(name):
        refuses(driver.transfer(True, 8, bytes(8192), slot=slot, dun=top), IOERR, errno.EOVERFLOW)
        refuses(driver.transfer(False, 8, room=8192, slot=slot, dun=top), IOERR, errno.EOVERFLOW)
        if isinstance(driver, InlineDriver):
            refuses(driver.transfer(True, 8, bytes(4096), slot=slot, dun=1 << 255), IOERR, errno.EOVERFLOW)
            refuses(driver.transfer(True, 8, bytes(4096), slot=slot, dun=top + 1), IOERR, errno.EOVERFLOW)
END
}

@test "row 14: a device reset empties the slots that the attachment programmed in band, unless on-reset=keep" {
    start --size 8M --slots 16 --function clear,slots=0+8,sectors=0+4096 \
        --function keep,on-reset=keep,slots=8+8,sectors=4096+4096
    for f in clear keep; do
        first=$(icectl --json -f $f slot list | jq '.[0].slot')
        random_file k 64
        icectl -f $f slot program $((first + 2)) --via out-of-band --alg aes-256-xts --key-file k
    done
    driver <<'END'
from dialects import *
for name, kept in (("clear", 0), ("keep", 1)):
    mine, other, first = drive(name), drive(name), functions()[name]["slots"]["first"]
    accepted(mine.program(first, os.urandom(64)))
    accepted(other.program(first + 1, os.urandom(64)))
    before = function_slots(name)
    mine.call(SET_STATUS, 0)
    after = function_slots(name)
    assert [slot["programmed"] for slot in after[:3]] == [bool(kept), True, True], after
    assert after[1:] == before[1:]
control(RESET, scope="engine")
for name in ("clear", "keep"):
    assert not any(slot["programmed"] for slot in function_slots(name))
END
}

@test "row 15: GET_CRYPTO_CAPABILITIES: UNSUPP without ICE, IOERR when short, zeros to the end when long" {
    start --size 8M --slots 8
    driver <<'END'
from dialects import *
refuses(drive("vm0", VERSION_1).send_raw(header(28), 4096), UNSUPP)
driver = drive("vm0")
for room in (0, 1, 4, 351):
    refuses(driver.send_raw(header(28) + payload(), room), IOERR, errno.EOVERFLOW)
exact = accepted(driver.send_raw(header(28) + payload(), 352))
for room in (353, 356, 4096, 65536):
    assert accepted(driver.send_raw(header(28) + payload(), room)) == exact.ljust(room, b"\0")
END
}

@test "row 16: the status is the last byte of the last writable descriptor, however large the area" {
    start --size 8M --slots 8
    driver <<'END'
from dialects import *
driver = drive("vm0")
for readable, room in ((header(T_GET_ID) + payload(), 1000), (header(T_FLUSH) + payload(), 0)):
    _, _, written, why = driver.answer(driver.send(REQUEST, 0, room + 1, readable))
    assert len(written) == room + 1 and written[-1] == OK and why is None, written
_, _, written, why = driver.answer(driver.send(REQUEST, 0, 1001, header(99) + payload()))
assert written == bytes([UNSUPP]), written
END
}

@test "row 17: data units of 512 bytes to 64 KiB are advertised; larger exponents are refused" {
    start --size 8M --slots 8
    driver <<'END'
from dialects import *
driver, key = drive("vm0"), bytes(range(64))
entries = accepted(driver.send_raw(header(28) + payload(), 352))
assert {entries[i + 1] for i in range(0, 352, 4)} == set(range(8))
for exponent in range(8):
    accepted(driver.program(0, key, exponent))
with Untouched("vm0"):
    for exponent in (8, 15, 16, 31, 255):
        refuses(driver.program(0, key, exponent), UNSUPP, errno.EOPNOTSUPP)
END
}

@test "row 18: XTS with 128 and 256 bits, the others with 128, 192 and 256; no other pair" {
    start --size 8M --slots 8
    driver <<'END'
from dialects import *
driver = drive("vm0")
sizes = {0: {1: 32, 3: 64}, 1: {1: 16, 2: 24, 3: 32}, 2: {1: 16, 2: 24, 3: 32}, 3: {1: 16, 2: 24, 3: 32}}
entries = accepted(driver.send_raw(header(28) + payload(), 352))
pairs = {(entries[i], entries[i + 2]) for i in range(0, 352, 4)}
assert pairs == {(alg, size) for alg in sizes for size in sizes[alg]}, pairs
for alg in range(6):
    for size in (0, 1, 2, 3, 4, 5, 255):
        length = sizes.get(alg, {}).get(size, 64)
        answer = driver.program(0, bytes(range(length)), alg=alg, key_size=size)
        if (alg, size) in pairs:
            accepted(answer)
            refuses(driver.program(0, bytes(range(length - 1)), alg=alg, key_size=size), IOERR, errno.EINVAL)
        else:
            refuses(answer, UNSUPP, errno.EOPNOTSUPP)
END
}

@test "row 19: an XTS key of two equal halves is refused when it is programmed, the old key stays" {
    start_all
    driver <<'END'
from dialects import *
for name, function in functions().items():
    driver, half = drive(name), os.urandom(32)
    slot = first_slot(name)
    accepted(driver.program(slot, os.urandom(64)))
    with Untouched(name):
        refuses(driver.program(slot, half + half), IOERR, errno.EINVAL, "halves")
END
}

# Written through a slot by ALG and key file k0, and stored as the reference says: DUN times what.
stored_as_reference() { # ALG DATA-UNIT DUN REFERENCE-DUN
    random_file plain $((2 * $2))
    icectl io write --sector 0 --slot 0 --dun "$3" plain
    icectl io read --sector 0 --count $((2 * $2 / 512)) >got
    icerefcrypt enc "$1" "$2" "$4" k0 <plain | cmp - got
}

@test "row 20: ESSIV hashes the key with SHA-256 whatever its size" {
    requires icerefcrypt
    start --size 8M
    for alg in aes-128-cbc-essiv aes-192-cbc-essiv aes-256-cbc-essiv; do
        program 0 $alg
        stored_as_reference $alg 4096 77 77
    done
}

@test "row 21: the BitLocker IV is of the byte offset DUN x data unit; --bitlocker-iv dun takes the DUN" {
    requires icerefcrypt
    start --size 8M
    program 0 aes-256-cbc-bitlocker 512
    stored_as_reference aes-256-cbc-bitlocker 512 9 9
    # 128 bits of product
    stored_as_reference aes-256-cbc-bitlocker 512 0x8000000000000000 0x8000000000000000
    stop
    start --size 8M --bitlocker-iv dun
    icectl slot program 0 --alg aes-256-cbc-bitlocker --key-file k0 --data-unit 512
    random_file plain 512
    icectl io write --sector 0 --slot 0 --dun $((9 * 512)) plain
    icectl io read --sector 0 --count 1 >got
    icerefcrypt enc aes-256-cbc-bitlocker 512 9 k0 <plain | cmp - got
}

@test "row 22: encrypted and plain I/O to one place: the device keeps bytes and no state" {
    start_all
    driver <<'END'
from dialects import *
for name, function in functions().items():
    driver, data = drive(name), os.urandom(8192)
    slot = first_slot(name)
    accepted(driver.program(slot, os.urandom(64)))
    accepted(driver.transfer(True, 16, data, slot=slot, dun=5))
    stored = accepted(driver.transfer(False, 16, room=8192))
    assert stored != data
    # Moved elsewhere as stored, it decrypts there too.
    accepted(driver.transfer(True, 100, stored))
    assert accepted(driver.transfer(False, 100, room=8192, slot=slot, dun=5)) == data
    accepted(driver.transfer(True, 16, data[:512]))
    mixed = accepted(driver.transfer(False, 16, room=8192, slot=slot, dun=5))
    assert mixed[512:] == data[512:] and mixed[:512] != data[:512]
END
}

@test "row 23: a write of several units that fails changes none: all is encrypted first" {
    start_all
    driver <<'END'
from dialects import *
for name, function in functions().items():
    driver = drive(name)
    slot = first_slot(name)
    accepted(driver.program(slot, os.urandom(64)))
    with Untouched(name):
        refuses(driver.transfer(True, 8192 - 8, bytes(8192), slot=slot), IOERR, errno.EIO, "end")
        refuses(driver.transfer(True, 0, bytes(4096 * 3 + 512), slot=slot), IOERR, errno.EINVAL)
END
}

@test "row 24: the configuration space reads as zeros past its end; only byte 32 takes writes" {
    start_all
    driver <<'END'
from dialects import *
for name in functions():
    driver = drive(name)
    end = {"ice1": 104, "ice2": 100, "inline": 104}[name[:-1]]
    space = driver.config()
    assert not any(space[end:]), space[end:]
    assert not any(driver.call(READ_CONFIG, 1 << 20, 256))
    driver.call(WRITE_CONFIG, 0, bytes(32))
    driver.call(WRITE_CONFIG, 33, b"\xff" * 223)
    driver.call(WRITE_CONFIG, 1 << 31, b"\xff" * 256)
    assert driver.config() == space
    driver.call(WRITE_CONFIG, 32, b"\0")
    assert driver.config() == space[:32] + b"\0" + space[33:]
END
}

@test "row 25: the ranges of SECURE_ERASE are taken from readable and from writable descriptors" {
    start --size 8M --slots 8
    driver <<'END'
from dialects import *
# A socket's request has its ranges readable; a ring's may be writable: tests/unit/device.c.
driver, data = drive("vm0"), os.urandom(4096)
accepted(driver.transfer(True, 8, data))
accepted(driver.send_raw(header(T_ERASE) + payload() + struct.pack("<QII", 8, 8, 0)))
assert accepted(driver.transfer(False, 8, room=4096)) == bytes(4096)
END
}

@test "row 33: evict of a slot in use is EBUSY and changes nothing; of an empty one it succeeds" {
    # A slot that is surely in flight, as the store stands still: tests/unit/device_gate.c.
    start_all
    driver <<'END'
from dialects import *
for name, function in functions().items():
    driver = drive(name)
    slot = first_slot(name)
    accepted(driver.evict(slot))
    accepted(driver.program(slot, os.urandom(64)))
    accepted(driver.evict(slot))
    accepted(driver.evict(slot))
    # In flight from one connection, evicted from another: each evict is done, or EBUSY and the key stays.
    accepted(driver.program(slot, bytes(range(64))))
    other, data = drive(name), os.urandom(1 << 20)
    for _ in range(40):
        if isinstance(driver, InlineDriver):
            readable = header(27) + tail(slot, 3) + data
        else:
            readable = header(T_OUT) + payload(slot, 3) + data
        tag = driver.send(REQUEST, 0, 1, readable)
        status, _, why = other.evict(slot)
        outcome = driver.finish(tag)
        assert (status, outcome[0]) in ((OK, OK), (OK, IOERR), (IOERR, OK)), (status, outcome)
        if status:
            assert why[0] == errno.EBUSY, why
        elif outcome[0]:
            assert outcome[2][0] == errno.ENOKEY, outcome
        programmed = {row["slot"]: row["programmed"] for row in function_slots(name)}[slot]
        assert programmed == (status != OK)
        accepted(driver.program(slot, bytes(range(64))))
END
}

@test "row 34: a program that fails leaves the old key, whole" {
    start_all
    driver <<'END'
from dialects import *
for name, function in functions().items():
    driver, data = drive(name), os.urandom(4096)
    slot = first_slot(name)
    accepted(driver.program(slot, os.urandom(64)))
    accepted(driver.transfer(True, 0, data, slot=slot, dun=1))
    before = function_slots(name)
    assert driver.program(slot, bytes(64))[0] == IOERR  # equal halves
    assert driver.program(slot, os.urandom(63))[0] == IOERR
    assert driver.program(slot, os.urandom(64), exponent=9)[0] == UNSUPP
    assert driver.program(slot, blob(b"no such key")[:64], key_type=WRAPPED)[0] == IOERR
    assert driver.program(slot, os.urandom(64), key_type=3)[0] == IOERR
    assert function_slots(name) == before
    assert accepted(driver.transfer(False, 0, room=4096, slot=slot, dun=1)) == data
END
}
