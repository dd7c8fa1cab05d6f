#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The drafts use the same numbers for other things. A request of one dialect that means something
# else, or nothing, in another is refused there; nothing is touched.

load helpers

@test "each request of one dialect is refused by the others, data area, media and slots unchanged" {
    start --size 12M --slots 24 --function ice1,slots=0+8,sectors=0+8192,dialect=ice1 \
        --function ice2,slots=8+8,sectors=8192+8192,dialect=ice2,addr=virtual \
        --function inline,slots=16+8,sectors=16384+8192,dialect=inline
    driver <<'END'
from dialects import *

key, data = bytes(range(64)), bytes(range(256)) * 16
wrapped = blob(bytes(64))
program = struct.pack("<BBHBBBB", 1, RAW, 64, 0, 3, 3, 0) + key.ljust(128, b"\0")
descriptor = struct.pack("<I", 1) + key.ljust(128, b"\0") + struct.pack("<5I", 64, 1, RAW, 12, 8)
ice = payload()
ROOM = 4096
C = CONTROL_QUEUE

# (what it is where it is at home, queue, readable, data area, {dialect that refuses it: status})
PAIRS = [
    ("27 GET_CRYPTO_CAPABILITIES as posted in February", 0, header(27), ROOM,
     dict(ice1=UNSUPP, ice2=UNSUPP, inline=IOERR)),
    ("27 with the 32-byte header", 0, header(27) + ice, ROOM, dict(ice1=UNSUPP, ice2=UNSUPP, inline=IOERR)),
    ("27 CRYPTO_OUT", 0, header(27) + tail(1, 7) + data, 0, dict(ice1=UNSUPP, ice2=UNSUPP)),
    ("28 GET_CRYPTO_CAPABILITIES", 0, header(28) + ice, ROOM, dict(ice1=UNSUPP, inline=IOERR)),
    ("28 CRYPTO_IN", 0, header(28) + tail(1, 7), ROOM, dict(ice1=UNSUPP, ice2=IOERR)),
    ("28 CRYPTO_IN of the August draft, 32 bytes", 0, header(28) + struct.pack("<IIQ", 1, 12, 7), ROOM,
     dict(ice1=UNSUPP, inline=IOERR)),
    ("29 KEY_PROGRAM", 0, header(29) + ice + program, 0, dict(inline=UNSUPP)),
    ("29 KEY_PROGRAM on the control queue", C, header(29) + ice + program, 0, dict(inline=IOERR)),
    ("29 GET_CRYPTO_MODES", C, header(29), ROOM, dict(ice1=IOERR, ice2=IOERR)),
    ("29 GET_CRYPTO_MODES on a request queue", 0, header(29), ROOM,
     dict(ice1=IOERR, ice2=IOERR, inline=UNSUPP)),
    ("30 GET_CRYPTO_MODES of the August draft", 0, header(30), ROOM,
     dict(ice1=UNSUPP, ice2=UNSUPP, inline=UNSUPP)),
    ("30 KEYSLOT_PROGRAM", C, header(30) + descriptor, 0, dict(ice1=IOERR, ice2=IOERR)),
    ("30 KEYSLOT_PROGRAM on a request queue", 0, header(30) + descriptor, 0,
     dict(ice1=UNSUPP, ice2=UNSUPP, inline=UNSUPP)),
    ("31 KEY_EVICT", 0, header(31) + ice + bytes([1]) + bytes(7), 0, dict(inline=UNSUPP)),
    ("31 KEY_EVICT on the control queue", C, header(31) + ice + bytes([1]) + bytes(7), 0, dict(inline=IOERR)),
    ("31 KEYSLOT_EVICT", C, header(31) + struct.pack("<I", 1), 0, dict(ice1=IOERR, ice2=IOERR)),
    ("31 KEYSLOT_EVICT on a request queue", 0, header(31) + struct.pack("<I", 1), 0,
     dict(ice1=IOERR, ice2=IOERR, inline=UNSUPP)),
    ("32 DERIVE_SW_SECRET", C, header(32) + wrapped, 32, dict(ice1=IOERR, ice2=IOERR)),
    ("32 DERIVE_SW_SECRET on a request queue", 0, header(32) + wrapped, 32,
     dict(ice1=UNSUPP, ice2=UNSUPP, inline=UNSUPP)),
    ("33 KEY_DERIVE_SW_SECRET", 0, header(33) + ice + wrapped, 32, dict(inline=UNSUPP)),
    ("33 KEY_DERIVE_SW_SECRET on the control queue", C, header(33) + ice + wrapped, ROOM, dict(inline=IOERR)),
    ("33 GENERATE_KEY", C, header(33), 132, dict(ice1=IOERR, ice2=IOERR)),
    ("33 GENERATE_KEY on a request queue", 0, header(33), 132, dict(ice1=IOERR, ice2=IOERR, inline=UNSUPP)),
    ("34 IMPORT_KEY", C, header(34) + blob(key[:32]), 132, dict(ice1=IOERR, ice2=IOERR)),
    ("34 IMPORT_KEY on a request queue", 0, header(34) + blob(key[:32]), 132,
     dict(ice1=UNSUPP, ice2=UNSUPP, inline=UNSUPP)),
    ("35 PREPARE_KEY", C, header(35) + wrapped, 132, dict(ice1=IOERR, ice2=IOERR)),
    ("35 PREPARE_KEY on a request queue", 0, header(35) + wrapped, 132,
     dict(ice1=UNSUPP, ice2=UNSUPP, inline=UNSUPP)),
    ("36 KEY_GENERATE", 0, header(36) + ice, 132, dict(inline=UNSUPP)),
    ("36 KEY_GENERATE on the control queue", C, header(36) + ice, 132, dict(inline=UNSUPP)),
    ("37 KEY_IMPORT", 0, header(37) + ice + blob(key[:32]), 132, dict(inline=UNSUPP)),
    ("39 KEY_PREPARE", 0, header(39) + ice + wrapped, 132, dict(inline=UNSUPP)),
    ("OUT with a 16-byte header once ICE is negotiated", 0, header(T_OUT, 8) + data, 0,
     dict(ice1=IOERR, ice2=IOERR)),
    ("OUT with a 16-byte header and no data", 0, header(T_OUT, 8), 0, dict(ice1=IOERR, ice2=IOERR, inline=IOERR)),
    ("IN with a 16-byte header once ICE is negotiated", 0, header(T_IN, 8), ROOM, dict(ice1=IOERR, ice2=IOERR)),
    ("OUT with a 32-byte header", 0, header(T_OUT, 8) + payload(1, 7) + data, 0, dict(inline=IOERR)),
    ("IN with a 32-byte header", 0, header(T_IN, 8) + payload(1, 7), ROOM, dict(inline=IOERR)),
    ("OUT with a 56-byte header", 0, header(T_OUT, 8) + tail(1, 7) + data, 0,
     dict(ice1=IOERR, ice2=IOERR, inline=IOERR)),
    ("IN with a 56-byte header", 0, header(T_IN, 8) + tail(1, 7), ROOM, dict(ice1=IOERR, ice2=IOERR, inline=IOERR)),
    ("IN on the control queue", C, header(T_IN, 8), ROOM, dict(ice1=IOERR, ice2=IOERR, inline=UNSUPP)),
    ("OUT on the control queue", C, header(T_OUT, 8) + data, 0, dict(ice1=IOERR, ice2=IOERR, inline=UNSUPP)),
    ("27 CRYPTO_OUT on the control queue", C, header(27) + tail(1, 7) + data, 0, dict(inline=UNSUPP)),
    ("28 CRYPTO_IN on the control queue", C, header(28) + tail(1, 7), ROOM, dict(inline=UNSUPP)),
]

drivers = {name: drive(name) for name in ("ice1", "ice2", "inline")}
# Slot 1 of each has a key: what a misread request would use, or destroy.
for name, driver in drivers.items():
    accepted(driver.program(1, key[::-1]))
    accepted(driver.transfer(True, 0, os.urandom(1 << 20), slot=1, dun=3))

types = set()
for title, queue, readable, room, refusals in PAIRS:
    types.add(struct.unpack_from("<I", readable)[0])
    for name, status in refusals.items():
        with Untouched(name):
            try:
                refuses(drivers[name].send_raw(readable, room, queue), status)
            except Exception as error:
                raise AssertionError(f"{title}, to {name}") from error
assert types >= set(range(27, 36)), types

# Where they are at home they are done.
assert accepted(drivers["ice2"].send_raw(header(28) + ice, ROOM))
assert accepted(drivers["inline"].send_raw(header(29), ROOM, C))
for name in drivers:
    accepted(drivers[name].evict(1))
END
    stop
}

@test "without its feature negotiated no dialect's request means anything" {
    start --size 12M --slots 24 --function ice1,slots=0+8,sectors=0+8192,dialect=ice1 \
        --function ice2,slots=8+8,sectors=8192+8192,dialect=ice2,addr=virtual \
        --function inline,slots=16+8,sectors=16384+8192,dialect=inline
    driver <<'END'
from dialects import *
key = bytes(range(64))
for name in ("ice1", "ice2"):
    driver = drive(name, VERSION_1 | MQ)
    with Untouched(name):
        for kind in (27, 28, 29, 31, 33, 36, 37, 39):
            refuses(driver.send_raw(header(kind) + bytes(200), 132), UNSUPP)
        # A 16-byte header is right here, and a payload is 16 bytes of data too many.
        refuses(driver.send_raw(header(T_OUT, 8) + payload(1, 7) + bytes(4096)), IOERR, errno.EINVAL)
driver = drive("inline", VERSION_1 | MQ)
with Untouched("inline"):
    for kind in (27, 28):
        refuses(driver.send_raw(header(kind) + tail(1, 7), 4096), UNSUPP)
    for kind in range(29, 36):
        refuses(driver.send_raw(header(kind) + bytes(152), 132, CONTROL_QUEUE), IOERR, errno.EINVAL)
END
    stop
}
