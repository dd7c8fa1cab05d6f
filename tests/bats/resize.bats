#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# icectl resize: what it does to image, drivers, files and the next start, and what it refuses.

load helpers

size_of() { # FILE
    within stat -c %s "$1"
}

# Each has the size in bytes: the image, what a new driver sees, the owner's list, the mount.
has_size() { # BYTES IMAGE
    is "$(size_of "$2")" "$1" image
    is "$(($(icectl --json info | jq -r .config.capacity_sectors) * 512))" "$1" info
    is "$(($(icectl --json function list | jq -r '.[0].sectors') * 512))" "$1" list
    is "$(size_of m/raw)" "$1" raw
    is "$(($(within cat m/status.json | jq -r .info.size)))" "$1" status.json
}

@test "an image grows and is cut: content and ciphertext stay, drivers, files and restarts follow" {
    requires jq
    start_mounted --image disk --size 2M
    program 0
    random_file data 1048576
    icectl io write --sector 0 --slot 0 --dun 0 data
    before=$(head -c 1048576 disk | sum_of /dev/stdin)
    icectl resize 4M
    has_size 4194304 disk
    is "$(size_of m/slot/0)" 4194304 slot/0
    is "$(head -c 1048576 disk | sum_of /dev/stdin)" "$before" "ciphertext"
    tail -c +2097153 disk | cmp -n 2097152 - /dev/zero
    within cmp -n 1048576 data m/slot/0
    random_file tail 4096
    icectl io write --sector 8184 --slot 0 --dun 1023 tail
    within tail -c 4096 m/slot/0 | cmp - tail
    icectl --json resize 0x100600 >document # no whole data unit at the end
    is "$(jq -r '.name + " " + .sectors' document)" 'vm0 0x803'
    has_size 1050112 disk
    is "$(size_of m/slot/0)" 1048576 "slot/0, in whole data units"
    is "$(head -c 1048576 disk | sum_of /dev/stdin)" "$before" "ciphertext"
    refused 3 'icectl: io read: sector 2048: sector 2048 \+ 8 is past the end of vm0 \(2051 sectors\)' \
        icectl io read --sector 2048 --count 8
    stop
    launch --image disk --size 2M
    await_end
    is "$ended" 1
    grep -q 'disk has 1050112 bytes, not the 2097152 asked for' log
    start_mounted --image disk --size 1050112
    has_size 1050112 disk
    icectl io read --sector 0 --count 2048 | cmp - <(head -c 1048576 disk)
    stop
}

@test "every driver is told, reads the new capacity, and goes on" {
    start --size 1M --function vm0,slots=0+8 --function vm1,slots=8+8,image=own,size=1M
    driver <<'END'
def capacity(device):
    return int.from_bytes(device.call(READ_CONFIG, 0, 8), "little")


control = Connection("control")
drivers = [Device(VERSION_1 | FLUSH), Device(VERSION_1 | ICE | KEY_OPS), Device()]
other = Device(VERSION_1 | FLUSH, name="vm1")
for size in (0x200000, 0x80000, 0x80000, 0x100000):
    last = capacity(drivers[0])
    answer = control.call(FUNCTION_RESIZE, {"function": "vm0", "size": hex(size)})
    assert answer["sectors"] == hex(size // 512) and answer["name"] == "vm0", answer
    for device in drivers:
        assert capacity(device) == size // 512
        assert device.events == ([[0, 0]] if last != size // 512 else []), device.events
        device.events.clear()
    drivers[0].write(size // 512 - 8, b"x" * 4096)
    status, _, why = drivers[0].request(T_IN, size // 512 - 7, room=4096)
    assert (status, why[0]) == (IOERR, errno.EIO), why
assert capacity(other) == 2048 and not other.events
for size, number in (("x", errno.EINVAL), ("0x0", errno.EINVAL), ("0x201", errno.EINVAL),
                     ("0x8000000000000000", errno.EFBIG), ("0x10000000000000000", errno.ERANGE)):
    expect_refused(number, control.call, FUNCTION_RESIZE, {"function": "vm0", "size": size})
expect_refused(errno.EINVAL, control.call, FUNCTION_RESIZE, {"function": "vm0"})
expect_refused(errno.EPROTO, control.call, FUNCTION_RESIZE, {"function": "vm0", "size": 512})
expect_refused(errno.EACCES, drivers[0].call, FUNCTION_RESIZE, {"function": "vm0", "size": "0x200"})
END
    stop
}

@test "what is shared, or in use past the end, is refused, and nothing has changed" {
    requires jq
    start --size 4M --function vm0,slots=0+8,sectors=0+4096 --function vm1,slots=8+8,sectors=4096+4096 \
        --function big,slots=16+8,block-size=4096,image=own,size=1M
    refused 1 'icectl: resize 8M: vm1 has sectors 4096\.\.8191 of the media' icectl resize 8M
    refused 1 'icectl: resize 1M: vm0 has sectors 0\.\.4095 of the media' icectl -f vm1 resize 1M
    icectl function remove vm1
    refused 1 'icectl: resize 8M: it has sectors 0\.\.4095 only of the media.s 0\.\.8191' icectl resize 8M
    refused 1 'icectl: resize 2560: a size of 2560 bytes is no multiple of the logical block of 4096' \
        icectl -f big resize 2560
    refused 1 'icectl: resize 1000: a size of 1000 bytes is no positive multiple of 512' icectl resize 1000
    refused 1 'icectl: resize 1M: there is no function "vm9"' icectl -f vm9 resize 1M
    refused 2 'icectl: resize: "1X" is not a size .*' icectl resize 1X
    refused 2 'icectl: resize: .*SIZE' icectl resize
    random_file k 64
    icectl -f big view add v --alg aes-256-xts --key-file k --sector 0 --count 1024
    refused 1 'icectl: resize 256K: view v has sectors up to 1023' icectl -f big resize 256K
    icectl -f big resize 512K
    icectl layer add l --map linear big vm0
    refused 1 'icectl: resize 508K: view v has sectors up to 1023' icectl -f big resize 508K
    icectl -f big view remove v
    refused 1 'icectl: resize 508K: layer l has sectors up to 1023' icectl -f big resize 508K
    icectl -f big resize 1M
    icectl --json layer list | jq -e '.[0].sectors == "0x1400"'
    is "$(icectl --json function list | jq -r 'map(.sectors) | join(" ")')" '0x1000 0x800'
    requires prlimit
    prlimit --pid "$server" --fsize=2097152:
    refused 1 'icectl: resize 3M: cannot make own 3145728 bytes long: File too large' icectl -f big resize 3M
    is "$(stat -c %s own)" 1048576
    icectl -f big info | grep -q '^size: .*1048576 bytes'
    stop
}

@test "a block device is not resized" {
    requires_loop
    zero_file disk 1048576
    loop=$(attach disk)
    start --image "$loop"
    refused 1 'icectl: resize 512K: a block device has the size that it has' icectl resize 512K
    icectl info | grep -q '^size: .*1048576 bytes'
    stop
    detach "$loop"
}

@test "open files follow: ends of file, and loop devices that ask anew" {
    requires_loop
    start_mounted --size 1M
    program 0
    exec 7<>m/raw 8<>m/slot/0
    loop=$(attach m/slot/0)
    icectl resize 2M
    is "$(within stat -Lc %s /dev/fd/7)" 2097152 "the open raw"
    random_file data 1048576
    within dd if=data of=/dev/fd/8 bs=64K seek=16 conv=notrunc status=none
    within tail -c +1048577 m/slot/0 | cmp - data
    is "$(within blockdev --getsize64 "$loop")" 1048576
    within losetup -c "$loop"
    is "$(within blockdev --getsize64 "$loop")" 2097152
    within dd if="$loop" bs=64K skip=16 iflag=direct status=none | cmp - data
    icectl resize 1M
    is "$(within dd if=/dev/fd/7 bs=64K skip=16 count=1 status=none | wc -c)" 0
    fails_with "No space left" dd if=data of=/dev/fd/7 bs=64K count=1 seek=16 conv=notrunc
    fails_with "nput/output error" dd if="$loop" of=/dev/null bs=64K skip=16 count=1 iflag=direct
    exec 7>&- 8>&-
    detach "$loop"
    stop
}

@test "back and forth under load: what is below all ends is never wrong, the rest is there or refused" {
    start_mounted --image disk --size 1M
    program 0
    driver "$((40 * SCALE))" <<'END'
import random
import sys
import threading

ROUNDS, LOW = int(sys.argv[1]), 1024  # sectors below are there all the time
over, counts = threading.Event(), {OK: 0, IOERR: 0}


def work(seed, slot):
    rng, device = random.Random(seed), Device(VERSION_1 | ICE | KEY_OPS)
    base, kept = seed * 256, {}
    tag = {"slot": 0} if slot else {}
    while not over.is_set():
        if rng.random() < 0.5:
            sector, data = base + 8 * rng.randrange(32), rng.randbytes(4096)
            dun = {"dun": sector // 8} if slot else {}
            device.write(sector, data, **tag, **dun)
            kept[sector] = data
            for sector in rng.sample(sorted(kept), 1):
                dun = {"dun": sector // 8} if slot else {}
                assert device.read(sector, 4096, **tag, **dun) == kept[sector], sector
        else:
            sector = LOW + 8 * rng.randrange(512)
            if rng.random() < 0.5:
                status, _, why = device.request(T_OUT, sector, bytes(4096), **tag)
            else:
                status, _, why = device.request(T_IN, sector, room=4096, **tag)
            assert status == OK or "is past the end of vm0" in why[1], why
            counts[status] += 1


failed = []


def guarded(*args):
    try:
        work(*args)
    except BaseException as error:
        failed.append(repr(error))


threads = [threading.Thread(target=guarded, args=(n, n % 2)) for n in range(4)]
for thread in threads:
    thread.start()
control, rng = Connection("control"), random.Random(7)
rounds, end = 0, time.monotonic() + 5 * PATIENCE
while rounds < ROUNDS or not all(counts.values()) and not failed and time.monotonic() < end:
    rounds += 1
    size = (LOW + 8 * rng.randrange(1, 512)) * 512
    control.call(FUNCTION_RESIZE, {"function": "vm0", "size": hex(size)})
    for _ in range(3):
        assert os.stat("disk").st_size == size
        time.sleep(0.003)
over.set()
for thread in threads:
    thread.join()
assert not failed, failed
print("#", rounds, "sizes,", counts[OK], "requests done in what comes and goes,", counts[IOERR], "refused")
assert counts[OK] and counts[IOERR]
END
    not grep -q 'cut it short' log
    stop
}
