#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Functions: many on one engine, each with its windows and socket; coming and going at run time.

load helpers

# icesim refuses to start; nothing is left of it.
not_started() { # STATUS REGEX [OPTION...]
    local status=$1 regex=$2
    shift 2
    refused "$status" "icesim: $regex" within icesim --dir "$T/run" "$@"
    [ ! -e run ]
}

# What the driver programs of this file share.
driver_of_functions() {
    {
        cat <<'EOF'
VERSION = VERSION_1
control = Connection("control")


def add(text):
    return control.call(FUNCTION_ADD, {"function": text})


def remove(name):
    control.call(FUNCTION_REMOVE, {"function": name})


def functions():
    return control.call(FUNCTION_LIST, {})


def pattern(name):
    return (name.encode() + b" ").ljust(512, b".")


def ended(connection):
    return connection.frame() is None


EOF
        cat
    } | driver "$@"
}

# Each of vm0..vm63 has 2 slots and 16 sectors; each writes its name, and all stand where they should.
check_64() {
    driver_of_functions <<'EOF'
names = [f"vm{i}" for i in range(64)]
assert [f["name"] for f in functions()] == names, functions()
for i, f in enumerate(functions()):
    assert f["slots"] == {"first": 2 * i, "count": 2} and f["first_sector"] == hex(16 * i), f
    assert f["sectors"] == "0x10" and f["image"] is None and not f["strict"], f
devices = [Device(VERSION, name) for name in names]
for name, device in zip(names, devices):
    assert device.hello["function"] == name
    assert int.from_bytes(device.call(READ_CONFIG, 0, 8), "little") == 16
    slot_info = device.call(READ_CONFIG, 96, 2)
    assert tuple(slot_info) == (2 * int(name[2:]), 2), slot_info
    device.write(15, pattern(name))
for name, device in zip(names, devices):
    assert device.read(15, 512) == pattern(name)
    status, _, why = device.request(T_IN, 16, room=512)
    assert status == IOERR, "sector 16 is the neighbour's"
eventually(lambda: [f["clients"] for f in functions()] == [1] * 64)
EOF
    is "$(find run -name 'vm*.sock' -perm 600 | wc -l)" 64 "private sockets"
    for i in 0 31 63; do
        is "$(dd if=image bs=512 skip=$((16 * i + 15)) count=1 status=none | cut -d' ' -f1)" "vm$i"
    done
}

@test "64 functions from the command line, each with its socket and windows" {
    options=()
    for i in $(seq 0 63); do
        options+=(--function "vm$i,slots=$((2 * i))+2,sectors=$((16 * i))+16")
    done
    start --image image --size 512K --slots 128 "${options[@]}"
    check_64
    stop
    [ ! -e run ]
}

@test "64 functions added at run time, and all removed" {
    start --image image --size 512K --slots 128 --function first
    driver_of_functions <<'EOF'
remove("first")
assert functions() == []
for i in range(64):
    entry = add(f"vm{i},slots={2 * i}+2,sectors={16 * i}+16")
    assert entry["name"] == f"vm{i}" and entry["slots"] == {"first": 2 * i, "count": 2}, entry
EOF
    check_64
    driver_of_functions <<'EOF'
for f in functions():
    remove(f["name"])
assert functions() == []
EOF
    is "$(ls run)" "$(printf 'control.sock\nlock')"
}

@test "windows by default are what is free; what is taken or outside is refused" {
    not_started 1 'function b: slots 7\.\.8 overlap a.s 0\.\.7' --size 1M \
        --function a,slots=0+8,sectors=0+8 --function b,slots=7+2
    not_started 1 'function b: sectors 0\.\.0 overlap a.s 0\.\.7' --size 1M \
        --function a,slots=0+8,sectors=0+8 --function b,sectors=0+1
    not_started 1 'function a: slots 30\.\.33 are outside the engine.s 0\.\.31' --size 1M \
        --function a,slots=30+4
    not_started 1 'function a: sectors 0\.\.2048 are outside the media.s 0\.\.2047' --size 1M \
        --function a,sectors=0+2049
    not_started 1 'function b: no slot is free.*' --size 1M --function a --function b
    not_started 1 'function a: slots 0\.\.31 overlap the reserve 8\.\.9' --size 1M --reserve 8+2 \
        --function a,slots=0+32
    not_started 2 '--function a: there is a function of this name already' --size 1M \
        --function a --function a
    not_started 2 '--function a,slots=8\+: slots=8\+ is not FIRST\+COUNT' --size 1M \
        --function a,slots=8+
    not_started 2 '--function slot: "slot" is a reserved word' --size 1M --function slot
    start --size 1M --reserve 8+2 --function a,slots=0+4,sectors=0+8
    driver_of_functions <<'EOF'
assert add("b,sectors=8+8")["slots"] == {"first": 4, "count": 4}
c = add("c")
assert c["slots"] == {"first": 10, "count": 22} and c["first_sector"] == "0x10", c
for text, number in (
    ("d", errno.EBUSY), ("d,slots=8+1", errno.EBUSY), ("d,slots=0+0", errno.EBUSY),
    ("d,slots=0+0,sectors=0+1", errno.EBUSY), ("c", errno.EEXIST), ("d,slots=", errno.EINVAL),
    ("control", errno.EINVAL), ("d,slots=0+0,image=none", errno.ENOENT),
    ("d,slots=0+33", errno.EINVAL), ("d,dun-bits=256", errno.EINVAL),
):
    expect_refused(number, add, text)
expect_refused(errno.ENOENT, remove, "d")
assert [f["name"] for f in functions()] == ["a", "b", "c"]
EOF
    is "$(ls run | tr '\n' ' ')" "a.sock b.sock c.sock control.sock lock "
}

@test "--unsafe-overlap: two functions on the same sectors and slots see each other's data" {
    start --size 1M --unsafe-overlap --function a,slots=0+4,sectors=0+64 \
        --function b,slots=2+4,sectors=32+64
    grep -q 'warning.*unsafe-overlap' log
    driver_of_functions <<'EOF'
a, b = Device(VERSION | ICE | KEY_OPS, "a"), Device(VERSION, "b")
a.write(32, pattern("a"))
assert b.read(0, 512) == pattern("a")
status, _, why = a.program(3, bytes(range(64)))
assert status == OK, why
shared = control.call(SLOT_LIST, {"function": "b"})
assert [s["programmed"] for s in shared] == [False, True, False, False], shared
EOF
}

@test "an image of its own: ciphertext there, locked, free again after removal" {
    random_file own 64K
    random_file k0 64
    start --size 1M --function vm0 --function "vm1,slots=0+0,image=own"
    refused 1 'icesim: .*own.*locked.*' within icesim --dir "$T/other" --image own
    sum=$(sum_of own)
    driver_of_functions <<'EOF'
expect_refused(errno.EBUSY, add, "vm2,slots=0+0,image=own")
assert [f["image"] for f in functions()] == [None, "own"]
vm1 = Device(VERSION, "vm1")
assert vm1.read(0, 65536) == open("own", "rb").read()
vm1.write(0, pattern("vm1"))
remove("vm1")
remove("vm0")
add("vm1,slots=0+2,image=own,ro,block-size=4096")
vm1 = Device(VERSION | ICE | KEY_OPS, "vm1")
assert vm1.request(T_OUT, 0, bytes(4096))[0] == IOERR
assert vm1.read(0, 4096)[:512] == pattern("vm1")
add("vm2,slots=4+2,image=new,size=32K")
vm2 = Device(VERSION | ICE | KEY_OPS, "vm2")
key = open("k0", "rb").read()
assert vm2.program(4, key)[0] == OK
vm2.write(0, bytes(8192), slot=4, dun=5)
assert vm2.request(T_FLUSH)[0] == OK
EOF
    [ "$(sum_of own)" != "$sum" ]
    is "$(dd if=own bs=512 count=1 status=none | cut -d' ' -f1)" vm1
    is "$(stat -c '%s %a' new)" "32768 600"
    if command -v icerefcrypt >/dev/null; then
        head -c 8192 new | icerefcrypt dec aes-256-xts 4096 5 k0 | cmp - <(head -c 8192 /dev/zero)
    fi
    stop
    launch --image own
    eventually is_ready_or_gone
    alive "$server"
}

@test "a function that is removed takes its clients along, and nobody else notices" {
    start --size 1M --function vm0,slots=0+8,sectors=0+64 --function vm1,slots=8+8,sectors=64+64
    driver_of_functions <<'EOF'
import threading

vm0, idle = Device(VERSION, "vm0"), Connection("vm1")
busy = Device(VERSION | ICE | KEY_OPS, "vm1")
assert busy.program(8, bytes(range(64)))[0] == OK
vm0.write(0, pattern("vm0"))
stop, rounds, failures = threading.Event(), [0], []


def go_on():
    try:
        while not stop.is_set():
            assert vm0.read(0, 512) == pattern("vm0")
            rounds[0] += 1
    except Exception as failure:
        failures.append(failure)


thread = threading.Thread(target=go_on)
thread.start()
for turn in range(20):
    tags = [busy.submit(T_IN, 0, room=4096) for _ in range(32)]
    remove("vm1")
    assert ended(idle), "an idle client is cut"
    try:
        for tag in tags:  # each is answered, or lost with the connection
            assert busy.finish(tag, 4096)[0] == OK
        assert ended(busy)
    except (EOFError, AssertionError):
        pass
    assert not os.path.exists(os.path.join(os.environ["ICESIM_DIR"], "vm1.sock"))
    expect_refused(errno.ENOENT, control.call, SLOT_LIST, {"function": "vm1"})
    add("vm1,slots=8+8,sectors=64+64")
    slots = control.call(SLOT_LIST, {"function": "vm1"})
    assert not any(s["programmed"] for s in slots), "its keys are gone"
    idle, busy = Connection("vm1"), Device(VERSION, "vm1")
before = rounds[0]
eventually(lambda: failures or rounds[0] > max(before, 20))
stop.set()
thread.join()
assert not failures, failures
EOF
    stop
}

@test "functions have dialects, strictness and block sizes of their own" {
    start --size 1M --dialect ice1 --strict \
        --function a,slots=0+4,sectors=0+64 \
        --function b,slots=4+4,sectors=64+64,dialect=ice2,block-size=4096 \
        --function c,slots=8+4,dialect=inline
    driver_of_functions <<'EOF'
listed = {f["name"]: f for f in functions()}
assert [listed[n]["dialect"] for n in "abc"] == ["ice1", "ice2", "inline"]
assert all(f["strict"] for f in listed.values())
assert [listed[n]["addressing"] for n in "abc"] == ["physical", "physical", "virtual"]
for name, block in (("a", 512), ("b", 4096), ("c", 512)):
    device = Connection(name)
    offered, _ = device.call(GET_FEATURES)
    assert not offered & KEY_OPS, "strict: none of icesim's own"
    assert int.from_bytes(device.call(READ_CONFIG, 20, 4), "little") == block
EOF
}

@test "the device secret: next to the image, where --state says, none for RAM" {
    start --image image --size 1M
    is "$(stat -c %a image.secret)" 600
    sum=$(sum_of image.secret)
    stop
    start --image image --state elsewhere
    stop
    is "$(sum_of image.secret)" "$sum" "untouched"
    is "$(stat -c %a elsewhere)" 600
    start --size 1M
    stop
    is "$(echo *.secret)" image.secret
    not_started 1 '.*no/state.*No such file.*' --size 1M --state no/state
    chmod 644 image.secret
    not_started 1 '.*image.secret.*' --image image
}

@test "a device secret is no image, of this icesim or of another" {
    start --image image --size 1M
    icectl key generate >long
    sum=$(sum_of image.secret)
    ln image.secret linked
    for file in image.secret linked; do
        refused 1 "icectl: function add vm1: .*$file is locked: it is in use already" \
            icectl function add vm1,slots=0+0,image=$file
    done
    refused 1 'icesim: .*image.secret is locked: it is in use already' within icesim \
        --dir "$T/other" --image image.secret --state elsewhere
    is "$(sum_of image.secret)" "$sum" untouched
    stop
    not_started 1 '.*image is locked: it is in use already' --image image --state image
    not_started 1 '.*vm1: .*image.secret is locked: it is in use already' --image image \
        --function vm0,slots=0+1,sectors=0+8 --function vm1,slots=0+0,image=image.secret
    start --image image
    icectl key prepare --key-file long >ephemeral
}

@test "the names of 200 functions, with 8 added and removed while the others serve" {
    options=()
    for i in $(seq 0 199); do
        options+=(--function "f$i,slots=0+0,sectors=$((2 * i))+2")
    done
    start --size 1M "${options[@]}"
    driver_of_functions <<'EOF'
devices = [Device(VERSION, f"f{i}") for i in range(200)]
for turn in range(3):
    for i in range(8):
        add(f"g{i},slots={i}+1,sectors={400 + i}+1")
    for i, device in enumerate(devices):
        device.write(1, pattern(f"f{i}"))
    for i in range(8):
        remove(f"g{i}")
for i, device in enumerate(devices):
    assert device.read(1, 512) == pattern(f"f{i}")
assert len(functions()) == 200
EOF
}
