# SPDX-License-Identifier: BSD-2-Clause
"""What each dialect's bytes are, by the struct module, from the drafts, virtio 1.3 (5.2) and
icesim-protocol(7): for tests/unit/dialect_bytes.c, which builds and parses the same.

Each line is a case: a word, then NAME=VALUE. Numbers are decimal, bytes and DUNs hexadecimal, DUNs
with the most significant digit first. `head` is all that stands before data or segments."""

import random
import struct

CASES = 40  # of each kind of command
rng = random.Random(2026)

SIZE_MAX, SEG_MAX, BLK_SIZE, CONFIG_WCE, MQ = 1 << 1, 1 << 2, 1 << 6, 1 << 11, 1 << 12
LIFETIME, DISCARD, WRITE_ZEROES, ERASE = 1 << 15, 1 << 13, 1 << 14, 1 << 16
VERSION_1 = 1 << 32
BLK = SIZE_MAX | SEG_MAX | BLK_SIZE | CONFIG_WCE | MQ | LIFETIME | DISCARD | WRITE_ZEROES | ERASE | VERSION_1
ICE, KEY_OPS, KEYS_INLINE = 1 << 22, 1 << 56, 1 << 57
CTRL_VQ, INLINE_ENCRYPTION = 1 << 22, 1 << 23

RAW, WRAPPED = 1, 2

# name: algorithm and key size as numbered by the ICE drafts
ALGORITHMS = {
    "aes-128-xts": (0, 1),
    "aes-256-xts": (0, 3),
    "aes-128-cbc-bitlocker": (1, 1),
    "aes-192-cbc-bitlocker": (1, 2),
    "aes-256-cbc-bitlocker": (1, 3),
    "aes-128-ecb": (2, 1),
    "aes-192-ecb": (2, 2),
    "aes-256-ecb": (2, 3),
    "aes-128-cbc-essiv": (3, 1),
    "aes-192-cbc-essiv": (3, 2),
    "aes-256-cbc-essiv": (3, 3),
}
UNITS = [512 << e for e in range(8)]

# kind: number
BLK_TYPES = dict(read=0, write=1, flush=4, get_id=8, get_lifetime=10, discard=11, write_zeroes=13, secure_erase=14)
ICE_KEY_TYPES = dict(key_program=29, key_evict=31, key_derive=33, key_generate=36, key_import=37, key_prepare=39)
ICE_INLINE_TYPES = dict(write=41, read=42, key_forget=43)
INLINE_CONTROL_TYPES = dict(
    get_capabilities=29,
    key_program=30,
    key_evict=31,
    key_derive=32,
    key_generate=33,
    key_import=34,
    key_prepare=35,
)
BLOB_KINDS = ("key_derive", "key_import", "key_prepare")


def case(word, **values):
    def text(value):
        return value.hex() if isinstance(value, bytes) else str(value)

    print(word, *(f"{name}={text(value)}" for name, value in values.items()))


def header(number, sector=0):
    return struct.pack("<IIQ", number, 0, sector)


def blob(key):
    return struct.pack("<I128s", len(key), key)


def some_key(kind):
    return rng.randbytes(32 if kind == "key_import" else rng.choice((1, 16, 32, 64, 100, 127, 128)))


def some_number(bits):
    """Small, random or the last."""
    return rng.choice((0, 1, rng.getrandbits(bits), rng.getrandbits(bits), (1 << bits) - 1))


# ---- ice1 and ice2 ----


def ice_payload(slot=0, activate=0, dun=0):
    return struct.pack("<BBHIQ", slot, activate, 0, 0, dun)


def ice_command(dialect, kind, number, features=BLK | ICE | KEY_OPS, trimmed=False):
    values = dict(dialect=dialect, features=features, kind=kind, trimmed=int(trimmed))
    payload, body, sector = ice_payload(), b"", 0
    if kind in ("read", "write"):
        values["sector"] = sector = some_number(64)
        if features & ICE and rng.random() < 0.8:
            slot, dun = some_number(8), some_number(64)
            values.update(tagged=1, slot=slot, dun=f"{dun:064x}")
            payload = ice_payload(slot, 1, dun)
    elif kind == "key_program":
        slot, key, unit = some_number(8), some_key(kind), rng.choice(UNITS)
        key_type, name = rng.choice((RAW, WRAPPED)), rng.choice(list(ALGORITHMS))
        alg, key_size = ALGORITHMS[name]
        values.update(slot=slot, key_type=key_type, alg=name, data_unit=unit, dun_bytes=0, key=key)
        exponent = UNITS.index(unit)
        body = struct.pack("<BBHBBBB128s", slot, key_type, len(key), alg, exponent, key_size, 0, key)
    elif kind == "key_evict":
        values["slot"] = slot = some_number(8)
        body = struct.pack("<B7x", slot)
    elif kind in BLOB_KINDS:
        values["key"] = key = some_key(kind)
        body = blob(key)
    short = not features & ICE or trimmed and kind not in ("read", "write", "flush", *ICE_KEY_TYPES)
    case("command", **values, head=header(number, sector) + (b"" if short else payload) + body)


def ice_keyed(dialect, kind, number, trimmed):
    """Of a function whose keys come with each request."""
    key, unit, key_type = some_key(kind), rng.choice(UNITS), rng.choice((RAW, WRAPPED))
    name = rng.choice(list(ALGORITHMS))
    alg, key_size = ALGORITHMS[name]
    values = dict(dialect=dialect, features=BLK | ICE | KEYS_INLINE, kind=kind, trimmed=int(trimmed))
    values.update(key_type=key_type, alg=name, data_unit=unit, dun_bytes=0, key=key)
    payload, sector = ice_payload(), 0
    if kind != "key_forget":
        sector, dun = some_number(64), some_number(64)
        values.update(sector=sector, tagged=1, keyed=1, dun=f"{dun:064x}")
        payload = ice_payload(0, 1, dun)
    exponent = UNITS.index(unit)
    body = struct.pack("<BBHBBBB128s", 0, key_type, len(key), alg, exponent, key_size, 0, key)
    case("command", **values, head=header(number, sector) + payload + body)


def ice_commands(dialect):
    types = {**BLK_TYPES, **ICE_KEY_TYPES}
    if dialect == "ice2":
        types["get_capabilities"] = 28
    for kind, number in types.items():
        for _ in range(CASES):
            ice_command(dialect, kind, number)
            ice_command(dialect, kind, number, trimmed=True)
            if kind in BLK_TYPES:
                ice_command(dialect, kind, number, BLK)
    for kind, number in ICE_INLINE_TYPES.items():
        for n in range(CASES):
            ice_keyed(dialect, kind, number, n % 2)


# ---- inline ----


def inline_command(kind, number):
    features = BLK | CTRL_VQ | INLINE_ENCRYPTION
    values = dict(dialect="inline", features=features, kind=kind, trimmed=0)
    body, sector = b"", 0
    if kind in ("read", "write"):
        values["sector"] = sector = some_number(64)
        if rng.random() < 0.8:
            slot, dun = some_number(32), some_number(256)
            values.update(tagged=1, slot=slot, dun=f"{dun:064x}")
            limbs = [dun >> 64 * i & (1 << 64) - 1 for i in range(4)]
            body = struct.pack("<I4xQQQQ", slot, *limbs)
            number = 27 if kind == "write" else 28
    elif kind == "key_program":
        slot, key, bits = some_number(32), some_key(kind), rng.randrange(9, 17)
        key_type, dun_bytes = rng.choice((RAW, WRAPPED)), rng.randrange(1, 33)
        values.update(slot=slot, key_type=key_type, alg="aes-256-xts", data_unit=1 << bits)
        values.update(dun_bytes=dun_bytes, key=key)
        body = struct.pack("<I128sIIIII", slot, key, len(key), 1, key_type, bits, dun_bytes)
    elif kind == "key_evict":
        values["slot"] = slot = some_number(32)
        body = struct.pack("<I", slot)
    elif kind in BLOB_KINDS:
        values["key"] = key = some_key(kind)
        body = blob(key)
    case("command", **values, head=header(number, sector) + body)


# ---- configuration space and capabilities ----


def some_capabilities(dialect):
    """[(name, unit)], ordered as the drafts number them."""
    names = list(ALGORITHMS) if dialect == "ice2" else ["aes-256-xts"]
    if dialect == "ice1":
        names = [rng.choice(list(ALGORITHMS))]
    pairs = [(name, unit) for name in names for unit in UNITS if rng.random() < 0.5]
    return pairs or [(names[0], 4096)]


def spell(capabilities):
    return "+".join(f"{name}:{unit}" for name, unit in capabilities)


def capability_word(capabilities):
    """ice1: 31:24 algorithm, 23:16 mask of data units, 15:8 key size."""
    alg, key_size = ALGORITHMS[capabilities[0][0]]
    return alg << 24 | sum(unit // 512 for _, unit in capabilities) << 16 | key_size << 8


def config(dialect, crypto):
    offered = VERSION_1 | rng.choice((BLK, BLK & rng.getrandbits(32), 0)) | crypto
    capacity, size_max, seg_max = some_number(64), some_number(32), some_number(32)
    blk_size, num_queues, sectors, segments = rng.choice((512, 4096)), rng.randrange(1, 1 << 16), some_number(32), 64
    first, slots = (0, some_number(16)) if dialect == "inline" else (some_number(8), some_number(8))
    writeback, dun_bytes, key_types = rng.randrange(2), rng.randrange(1, 33), rng.randrange(1, 4)
    capabilities = some_capabilities(dialect)

    def where(feature, *values):
        return values if offered & feature else [0] * len(values)

    space = struct.pack("<Q", capacity)
    space += struct.pack("<I", *where(SIZE_MAX, size_max)) + struct.pack("<I", *where(SEG_MAX, seg_max))
    space += struct.pack("<HBB", 0, 0, 0)  # geometry
    space += struct.pack("<I", *where(BLK_SIZE, blk_size))
    space += struct.pack("<BBHI", 0, 0, 0, 0)  # topology
    space += struct.pack("<BB", *where(CONFIG_WCE, writeback), 0)
    space += struct.pack("<H", *where(MQ, num_queues))
    space += struct.pack("<III", *where(DISCARD, sectors, segments, blk_size // 512))
    space += struct.pack("<IIB3x", *where(WRITE_ZEROES, sectors, segments, 1))
    space += struct.pack("<III", *where(ERASE, sectors, segments, blk_size // 512))
    space += struct.pack("<IIIIIB3x", 0, 0, 0, 0, 0, 0)  # zoned
    assert len(space) == 96
    if crypto and dialect == "inline":
        space += struct.pack("<HBBI", slots, dun_bytes, key_types, 0)
    elif crypto:
        space += struct.pack("<H", slots << 8 | first)
        if dialect == "ice1":
            space += struct.pack("<HI", 0, capability_word(capabilities))
        else:
            space += struct.pack("<H", len(capabilities))
    case(
        "config",
        dialect=dialect,
        features=offered,
        capacity=capacity,
        size_max=size_max,
        seg_max=seg_max,
        blk_size=blk_size,
        num_queues=num_queues,
        sectors=sectors,
        segments=segments,
        writeback=writeback,
        first=first,
        slots=slots,
        dun_bytes=dun_bytes,
        key_types=key_types,
        capabilities=spell(capabilities),
        space=space,
    )


def capability_replies():
    for _ in range(CASES):
        pairs = some_capabilities("ice2")
        reply = b"".join(
            struct.pack("<BBBB", ALGORITHMS[name][0], UNITS.index(unit), ALGORITHMS[name][1], 0) for name, unit in pairs
        )
        case("capabilities", dialect="ice2", capabilities=spell(pairs), reply=reply)
        pairs = some_capabilities("inline")
        reply = struct.pack("<II", 0, sum(unit for _, unit in pairs))
        case("capabilities", dialect="inline", capabilities=spell(pairs), reply=reply)


def structs():
    """What is the same in all dialects."""
    for _ in range(CASES):
        sector, count, flags = some_number(64), some_number(32), some_number(32)
        case("segment", sector=sector, count=count, flags=flags, bytes=struct.pack("<QII", sector, count, flags))
        eol, a, b = some_number(16), some_number(16), some_number(16)
        case("lifetime", eol=eol, a=a, b=b, bytes=struct.pack("<HHH", eol, a, b))
        key = some_key("")
        case("blob", key=key, bytes=blob(key))


for dialect in ("ice1", "ice2"):
    ice_commands(dialect)
for kind, number in {**BLK_TYPES, **INLINE_CONTROL_TYPES}.items():
    for _ in range(CASES):
        inline_command(kind, number)
for dialect, crypto in (("ice1", ICE), ("ice2", ICE | KEY_OPS), ("inline", CTRL_VQ | INLINE_ENCRYPTION)):
    for number in range(CASES):
        config(dialect, crypto if number % 4 else 0)
capability_replies()
structs()
