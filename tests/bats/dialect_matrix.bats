#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# What each dialect shows to its driver, against bytes made here from the drafts.

load helpers

functions=(--function ice1p,dialect=ice1,addr=physical,slots=4+6,sectors=0+8192
    --function ice1v,dialect=ice1,addr=virtual,slots=10+6,sectors=8192+8192
    --function ice2p,dialect=ice2,addr=physical,slots=20+6,sectors=16384+8192
    --function ice2v,dialect=ice2,addr=virtual,slots=26+6,sectors=24576+8192
    --function inlinev,dialect=inline,slots=46+6,sectors=40960+8192)

@test "the bits that each dialect offers, strict or not" {
    for strict in '' --strict; do
        start --size 24M --slots 64 $strict "${functions[@]}"
        driver "$strict" <<'END'
from dialects import *
base = sum(1 << bit for bit in (1, 2, 6, 9, 11, 12, 13, 14, 15, 16, 32))
added = {"ice1": 1 << 22, "ice2": 1 << 22, "inline": 1 << 22 | 1 << 23}
for name in functions():
    own = 1 << 56 if not sys.argv[1] and name[:-1] != "inline" else 0
    offered = Connection(name).call(GET_FEATURES)[0]
    assert offered == base | added[name[:-1]] | own, (name, hex(offered))

def refused_features(name, features, text):
    c = Connection(name)
    for status in (ACK, ACK | DRIVER):
        c.call(SET_STATUS, status)
    c.call(SET_FEATURES, features)
    now, why = c.call(SET_STATUS, ACK | DRIVER | FEATURES_OK)
    assert not now & FEATURES_OK and text in why[1], why

refused_features("inlinev", VERSION_1 | INLINE_ENCRYPTION, "CTRL_VQ")
refused_features("ice2p", VERSION_1 | INLINE_ENCRYPTION, "not offered")
refused_features("ice2p", VERSION_1 | 1 << 56, "not offered" if sys.argv[1] else "VIRTIO_BLK_F_ICE")
END
        stop
    done
}

@test "configuration spaces and structs are those of an independent script, byte for byte" {
    start --size 24M --slots 64 "${functions[@]}"
    driver <<'END'
from dialects import *

def blk(capacity):
    """virtio 1.3, 5.2.4, as far as byte 95"""
    space = struct.pack("<QIIHBBI", capacity, 65536, 64, 0, 0, 0, 512)
    space += struct.pack("<BBHIBBH", 0, 0, 0, 0, 1, 0, 16)
    space += struct.pack("<III", 1 << 22, 64, 1)       # discard
    space += struct.pack("<IIB3x", 1 << 22, 64, 1)     # write zeroes
    space += struct.pack("<III", 1 << 22, 64, 1)       # secure erase
    space += struct.pack("<IIIIIB3x", 0, 0, 0, 0, 0, 0)  # zoned
    assert len(space) == 96
    return space

crypto = {
    "ice1p": struct.pack("<HHI", 6 << 8 | 4, 0, 0 << 24 | 0xff << 16 | 3 << 8),
    "ice1v": struct.pack("<HHI", 6 << 8 | 0, 0, 0 << 24 | 0xff << 16 | 3 << 8),
    "ice2p": struct.pack("<HH", 6 << 8 | 20, 88),
    "ice2v": struct.pack("<HH", 6 << 8 | 0, 88),
    "inlinev": struct.pack("<HBBI", 6, 32, 3, 0),
}
for name, tail_bytes in crypto.items():
    want = (blk(8192) + tail_bytes).ljust(256, b"\0")
    assert drive(name).config() == want, (name, drive(name).config().hex(), want.hex())

# struct virtio_blk_crypto_cap[88], in the order of alg, key size, exponent
sizes = {0: (1, 3), 1: (1, 2, 3), 2: (1, 2, 3), 3: (1, 2, 3)}
want = b"".join(struct.pack("<BBBB", alg, exponent, size, 0)
                for alg in range(4) for size in sizes[alg] for exponent in range(8))
assert accepted(drive("ice2p").send_raw(header(28) + payload(), len(want))) == want

# le32 modes[]: INVALID, AES_256_XTS with units of 2^9 to 2^16 bytes
modes = struct.pack("<II", 0, sum(1 << bit for bit in range(9, 17)))
assert accepted(drive("inlinev").send_raw(header(29), 8, CONTROL_QUEUE)) == modes
refuses(drive("inlinev").send_raw(header(29), 7, CONTROL_QUEUE), IOERR, errno.EOVERFLOW)

# A key blob, and a software secret: 132 and 32 bytes in every dialect
for name in crypto:
    driver = drive(name)
    long_term = accepted(driver.key("generate", room=132))
    size, = struct.unpack_from("<I", long_term)
    assert 32 < size <= 128 and not any(long_term[4 + size:])
    ephemeral = accepted(driver.key("prepare", long_term, 132))
    assert ephemeral != long_term
    assert len(accepted(driver.key("derive", ephemeral, 32))) == 32
    refuses(driver.key("derive", ephemeral, 31), IOERR, errno.EOVERFLOW)
END
    stop
}

@test "keys=inline: bit 57, no slots, and the key comes with each request" {
    requires icerefcrypt
    head -c 64 /dev/urandom >key
    head -c 8192 /dev/urandom >plain
    icerefcrypt enc aes-256-xts 4096 77 key <plain >want
    for dialect in ice1 ice2; do
        start --size 1M --slots 4 --dialect $dialect --function vm0,keys=inline
        driver <<'END'
from dialects import *
key, plain, want = (open(name, "rb").read() for name in ("key", "plain", "want"))
driver = drive("vm0")
assert driver.features & 1 << 57 and driver.features & ICE
assert struct.unpack_from("<H", driver.config(), 96)[0] == 0  # slot_info

def body(key, slot=0):
    return struct.pack("<BBHBBBB", slot, RAW, len(key), 0, 3, 3, 0) + key.ljust(128, b"\0")

keyed = payload(0, 77, 1) + body(key)
accepted(driver.send_raw(header(41, 8) + keyed + plain))
assert accepted(driver.transfer(0, 8, room=8192)) == want
assert accepted(driver.send_raw(header(42, 8) + keyed, 8192)) == plain
other = accepted(driver.send_raw(header(42, 8) + payload(0, 77, 1) + body(os.urandom(64)), 8192))
assert other not in (plain, want)
accepted(driver.send_raw(header(43) + payload() + body(key)))
accepted(driver.send_raw(header(43) + payload() + body(key)))
assert accepted(driver.send_raw(header(42, 8) + keyed, 8192)) == plain
with Untouched("vm0"):
    refuses(driver.send_raw(header(41, 8) + payload() + body(key) + plain), IOERR, errno.EINVAL, "activate")
    refuses(driver.send_raw(header(41, 8) + payload(1, 77, 1) + body(key) + plain), IOERR, errno.EINVAL, "slot 1")
    refuses(driver.send_raw(header(41, 8) + payload(0, 77, 1) + body(key, 2) + plain), IOERR, errno.EINVAL, "slot 2")
    refuses(driver.send_raw(header(41, 8) + payload(0, 77, 1) + body(key[:63]) + plain), IOERR, errno.EINVAL)
    refuses(driver.transfer(1, 8, plain, slot=0), IOERR, errno.EINVAL, "no slots")
    refuses(driver.program(0, key), IOERR, errno.EINVAL, "no slots")
    refuses(drive("vm0", VERSION_1 | ICE).send_raw(header(41, 8) + keyed + plain), UNSUPP)
END
        stop
    done
    start --size 1M --dialect inline --function vm0
    driver <<'END'
from dialects import *
assert not drive("vm0").features >> 56
END
    refused 2 'icesim: --function vm0,keys=inline: keys=inline means nothing in dialect inline' \
        icesim --size 1M --dialect inline --function vm0,keys=inline
}
