#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# The files of the mount: what they are, what they refuse, and that they agree with the sockets.

load helpers

setup() {
    common_setup
    start_mounted --image image --size 16M
    program 0
}

# Python on a file of the mount, as `file`; errors by name.
file_program() { # FILE
    { printf 'import errno, fcntl, mmap, os, sys\nfile = "%s"\n' "$1"; cat; } >program.py
    requires python3
    within python3 program.py
}

@test "the tree: raw, slot/N while programmed, status.json, view" {
    is "$(within ls m)" "raw
slot
status.json
view"
    is "$(within ls m/view)" ""
    is "$(within ls m/slot)" 0
    program 7 aes-128-ecb 512
    program 31
    is "$(within ls m/slot | sort -n | tr '\n' ' ')" "0 7 31 "
    icectl slot evict 7
    is "$(within ls m/slot | sort -n | tr '\n' ' ')" "0 31 "
    fails_with "No such file or directory" stat m/slot/7
    fails_with "No such file or directory" stat m/slot/07
    fails_with "No such file or directory" stat m/slot/32
    icectl slot evict --all
    is "$(within ls m/slot)" ""
}

@test "files have the mode 0600, folders 0700, and the size of the media in whole data units" {
    is "$(within stat -c '%a %F' m m/slot | tr '\n' ';')" "700 directory;700 directory;"
    is "$(within stat -c '%a %s' m/raw m/slot/0 | tr '\n' ';')" "600 16777216;600 16777216;"
    stop
    start_mounted --size 66048 # 129 sectors
    program 0
    program 1 aes-256-xts 65536
    program 2 aes-256-xts 512
    is "$(within stat -c %s m/slot/0 m/slot/1 m/slot/2 m/raw | tr '\n' ' ')" \
        "65536 65536 66048 66048 "
}

@test "status.json is what icectl --json info and slot list say" {
    requires jq
    program 5 aes-192-cbc-essiv 512
    within cat m/status.json | jq -S .slots >got
    icectl --json slot list | jq -S . | diff - got
    within cat m/status.json | jq -S .info >got
    icectl --json info | jq -S . | diff - got
    jq -e '.features | index("VIRTIO_BLK_F_ICE") and index("VIRTIO_BLK_F_FLUSH")' got
}

@test "what is written through slot/0 the socket reads at once, and the reverse" {
    random_file a 10000
    within dd if=a of=m/slot/0 bs=10000 seek=5 conv=notrunc
    icectl io read --sector 0 --count 256 --slot 0 --dun 0 -o got
    cmp -n 10000 -i 0:50000 a got
    random_file b 8192
    icectl io write --sector 96 --slot 0 --dun 12 b
    within dd if=m/slot/0 bs=4096 skip=12 count=2 status=none | cmp - b
    icectl io read --sector 96 --count 16 -o got
    within dd if=m/raw bs=4096 skip=12 count=2 status=none | cmp - got
    icerefcrypt enc aes-256-xts 4096 12 k0 <b | cmp - got
}

@test "an open file sees the other side's writes: no cache" {
    requires python3
    random_file b 4096
    exec 7<>m/slot/0
    within dd bs=4096 count=1 status=none <&7 >first
    icectl io write --sector 0 --slot 0 --dun 0 b
    file_program m/slot/0 <<'END'
assert os.pread(7, 4096, 0) == open("b", "rb").read()
END
}

@test "odd offsets and lengths change no byte around them" {
    requires python3 icerefcrypt
    file_program m/slot/0 <<'END'
import random
random.seed(1)
size = 300000
model = bytearray(os.urandom(size))
fd = os.open(file, os.O_RDWR)
assert os.pwrite(fd, model, 0) == size
for i in range(300):
    at, length = random.randrange(size), random.choice((1, 511, 512, 777, 4096, 9000, 70000))
    part = os.urandom(min(length, size - at))
    assert os.pwrite(fd, part, at) == len(part)
    model[at:at + len(part)] = part
    at, length = random.randrange(size), random.randrange(1, 20000)
    assert os.pread(fd, length, at)[:size - at] == model[at:at + length], (at, length)
assert os.pread(fd, size, 0) == model
open("model", "wb").write(model[:size // 4096 * 4096])
END
    icectl io read --sector 0 --count $((300000 / 4096 * 8)) -o cipher
    icerefcrypt dec aes-256-xts 4096 0 k0 <cipher | cmp - model
}

@test "threads that write parts of the same data units, through slot/0 and raw, lose no update" {
    requires python3
    program 1 aes-256-xts 65536
    for file in m/slot/1 m/raw; do
        file_program $file <<'END'
import threading
size, lanes = 1 << 18, 4
fd = os.open(file, os.O_RDWR)
os.pwrite(fd, bytes(size), 0)
def work(lane):
    for at in range(lane * 100, size - 100, lanes * 100):
        assert os.pwrite(fd, bytes([lane + 1]) * 100, at) == 100
threads = [threading.Thread(target=work, args=(lane,)) for lane in range(lanes)]
for thread in threads: thread.start()
for thread in threads: thread.join()
got = os.pread(fd, size, 0)
for at in range(0, size - 100, 100):
    assert got[at:at + 100] == bytes([at // 100 % lanes + 1]) * 100, at
END
    done
}

@test "writes past the end: short, then ENOSPC; reads past the end: nothing" {
    file_program m/slot/0 <<'END'
fd = os.open(file, os.O_RDWR)
size = os.fstat(fd).st_size
assert os.pwrite(fd, b"x" * 1000, size - 10) == 10
assert os.pread(fd, 100, size - 10) == b"x" * 10
assert os.pread(fd, 100, size) == b""
try:
    os.pwrite(fd, b"x", size)
    raise SystemExit("a write at the end was taken")
except OSError as error:
    assert error.errno == errno.ENOSPC, error
END
}

@test "truncate: to the same size done, to another EINVAL; O_TRUNC is ignored" {
    random_file a 4096
    within dd if=a of=m/slot/0 bs=4096 conv=notrunc
    truncate -s 16M m/slot/0
    fails_with "Invalid argument" truncate -s 1M m/slot/0
    fails_with "Invalid argument" truncate -s 17M m/raw
    : >m/slot/0
    within dd if=m/slot/0 bs=4096 count=1 status=none | cmp - a
    fails_with "not permitted" rm -f m/raw
    fails_with "not permitted" touch m/slot/9
}

@test "chmod, chown, touch and cp -p on the files succeed and change nothing" {
    within chmod 644 m/raw
    within touch -d 2001-01-01 m/raw
    random_file a $((16 << 20))
    within cp -p a m/slot/0
    within cmp a m/slot/0
    is "$(within stat -c '%a %s' m/raw)" "600 16777216"
}

@test "fallocate on slot/0 is EOPNOTSUPP and changes nothing; on raw it zeroes" {
    random_file a 65536
    within dd if=a of=m/slot/0 bs=64K conv=notrunc
    file_program m/slot/0 <<'END'
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
fd = os.open(file, os.O_RDWR)
for mode in (0, 1, 3, 0x10, 0x11, 0x08, 0x20, 0x40): # FALLOC_FL_*
    r = libc.fallocate(fd, mode, ctypes.c_long(4096), ctypes.c_long(8192))
    assert (r, ctypes.get_errno()) == (-1, errno.EOPNOTSUPP), (mode, ctypes.get_errno())
END
    within dd if=m/slot/0 bs=64K count=1 status=none | cmp - a

    within dd if=a of=m/raw bs=64K conv=notrunc
    { head -c 5000 a; head -c 3000 /dev/zero; tail -c +8001 a; } >want
    fallocate --punch-hole -o 5000 -l 3000 m/raw
    within dd if=m/raw bs=64K count=1 status=none | cmp - want
    { head -c 5000 a; head -c 8000 /dev/zero; tail -c +13001 a; } >want
    fallocate --zero-range -o 8000 -l 5000 m/raw
    within dd if=m/raw bs=64K count=1 status=none | cmp - want
    fails_with "not supported" fallocate --collapse-range -o 4096 -l 4096 m/raw
    within dd if=m/raw bs=64K count=1 status=none | cmp - want
}

@test "MAP_SHARED is ENODEV, MAP_PRIVATE reads the plaintext" {
    file_program m/slot/0 <<'END'
fd = os.open(file, os.O_RDWR)
os.pwrite(fd, b"plaintext", 4096)
for protection in (mmap.PROT_READ | mmap.PROT_WRITE, mmap.PROT_READ):
    try:
        mmap.mmap(fd, 8192, mmap.MAP_SHARED, protection)
        raise SystemExit("a shared mapping was made")
    except OSError as error:
        assert error.errno == errno.ENODEV, error
assert mmap.mmap(fd, 8192, mmap.MAP_PRIVATE, mmap.PROT_READ)[4096:4105] == b"plaintext"
END
}

@test "O_DSYNC and O_SYNC writes and fsync are counted as flushes, other writes are not" {
    requires jq
    before=$(counted .syncs)
    within dd if=/dev/zero of=m/slot/0 bs=4096 count=3 conv=notrunc
    is "$(counted .syncs)" "$before" "flushes after plain writes"
    within dd if=/dev/zero of=m/slot/0 bs=4096 count=3 conv=notrunc oflag=dsync
    is "$(counted .syncs)" $((before + 3)) "flushes after O_DSYNC writes"
    within dd if=/dev/zero of=m/slot/0 bs=4096 count=3 conv=notrunc oflag=sync
    is "$(counted .syncs)" $((before + 6)) "flushes after O_SYNC writes"
    within dd if=/dev/zero of=m/slot/0 bs=4096 count=3 conv=notrunc,fsync
    is "$(counted .syncs)" $((before + 7)) "flushes after fsync"
}

@test "after evict an open file is ENOKEY for good, the name is gone; a new key is a new file" {
    random_file a 4096
    within dd if=a of=m/slot/0 bs=4096 conv=notrunc
    exec 7<>m/slot/0
    within dd bs=4096 count=1 status=none <&7 | cmp - a
    sum=$(sum_of image)
    icectl slot evict 0
    fails_with "No such file or directory" cat m/slot/0
    fails_with "Required key not available" dd bs=4096 count=1 <&7
    fails_with "Required key not available" dd if=a bs=4096 count=1 >&7
    file_program 7 <<'END'
try:
    os.fsync(7)
    raise SystemExit("fsync was done")
except OSError as error:
    assert error.errno == errno.ENOKEY, error
END
    icectl slot program 0 --alg aes-256-xts --key-file k0
    fails_with "Required key not available" dd bs=4096 count=1 <&7
    fails_with "Required key not available" dd if=a bs=100 count=1 >&7
    within dd if=m/slot/0 bs=4096 count=1 status=none | cmp - a
    is "$(sum_of image)" "$sum" "the image"
}

@test "a slot programmed anew: the old file is ENOKEY, the new one reads by the new key" {
    requires icerefcrypt
    random_file a 4096
    within dd if=a of=m/slot/0 bs=4096 conv=notrunc
    exec 7<m/slot/0
    icectl io read --sector 0 --count 8 -o cipher
    program 0 aes-128-xts
    fails_with "Required key not available" dd bs=4096 count=1 <&7
    icerefcrypt dec aes-128-xts 4096 0 k0 <cipher >want
    within dd if=m/slot/0 bs=4096 count=1 status=none | cmp - want
}

@test "files die with the engine's reset" {
    exec 7<m/slot/0
    icectl reset --scope engine
    fails_with "Required key not available" dd bs=4096 count=1 <&7
    is "$(within ls m/slot)" ""
    program 0
    within dd if=m/slot/0 of=got bs=4096 count=1
    is "$(stat -c %s got)" 4096
}

@test "the raw file works without a key, and is the image" {
    random_file a 5000
    within dd if=a of=m/raw bs=5000 seek=3 conv=notrunc,fsync
    dd if=image bs=5000 skip=3 count=1 status=none | cmp - a
    within cmp image m/raw
}
