#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Where the bytes of a key are in icesim and icectl while they are needed, and that they are nowhere
# afterwards. keyscan reads the memory of a process from outside.

load helpers

setup() {
    common_setup
    ! is_sanitized icesim || skip "a sanitizer locks no memory, and keeps copies of its own"
    requires_root "reading the memory of a process that is not dumpable"
}

# Key bytes are in the server, and all of them locked (lo), kept from dumps (dd) and children (dc).
is_live() { # KEYFILE
    local found=0
    keyscan "$server" "$1" >finds || found=$?
    is "$found" 1 "keyscan of a live key"
    grep -q ' key, ' finds
    grep -q ' schedule, ' finds
    grep -v 'VmFlags:.* lo .*' finds && return 1
    grep -v 'VmFlags:.* dd\>' finds && return 1
    grep -v 'VmFlags:.* dc\>' finds && return 1
    true
}

is_gone() { # KEYFILE
    keyscan "$server" "$1"
}

@test "a live key is in locked memory only, and gone after evict" {
    start --size 16M
    for alg in aes-256-xts aes-128-xts aes-256-cbc-essiv aes-128-ecb; do
        program 1 "$alg"
        random_file data 65536
        icectl io write --sector 8 --slot 1 --dun 1 data
        icectl io read --sector 8 --count 128 --slot 1 --dun 1 >back
        cmp data back
        is_live k1
        icectl slot evict 1
        is_gone k1
    done
}

@test "the old key is gone when another takes its slot, and all after each reset" {
    start --size 16M
    program 0
    mv k0 old
    is_live old
    program 0
    is_gone old
    for scope in engine function; do
        program 0
        program 3
        is_live k0
        is_live k3
        icectl reset --scope "$scope"
        is_gone k0
        is_gone k3
    done
}

@test "a driver that resets itself takes its keys along" {
    start --size 16M
    driver <<'END'
key = os.urandom(64)
open("k", "wb").write(key)
d = Device(VERSION_1 | ICE | KEY_OPS)
assert d.program(1, key)[0] == OK
d.write(0, bytes(65536), slot=1, dun=0)
d.call(SET_STATUS, 0)
END
    is_gone k
}

@test "with FUSE and a loop device above, keys are locked and gone as well" {
    requires_fuse
    requires_loop
    start_mounted --size 16M
    program 0
    loop=$(attach m/slot/0)
    random_file f $((4 << 20))
    within dd if=f of="$loop" bs=1M oflag=direct
    is_live k0
    detach "$loop"
    icectl slot evict 0
    is_gone k0
}

@test "the key of a view is in locked memory only, and gone when the view is removed or refused" {
    requires_fuse
    start_mounted --image image --size 8M --function vm0,slots=0+2,sectors=0+8192 \
        --function vm1,keys=inline,sectors=8192+8192
    random_file data $((1 << 20))
    for how in "vm0 forbid" "vm0 force" "vm1 forbid"; do
        read -r function policy <<<"$how"
        random_file k 64
        icectl -f $function view add v --alg aes-256-xts --key-file k --fallback $policy
        within dd if=data of=m/$function/view/v bs=100000 conv=notrunc status=none
        within cmp -n $((1 << 20)) data m/$function/view/v
        is_live k
        random_file other 64
        refused 1 "icectl: view add v: .+" \
            icectl -f $function view add v --alg aes-256-xts --key-file other
        refused 1 "icectl: view add far: .+" \
            icectl -f $function view add far --alg aes-256-xts --key-file other --sector 9000
        is_gone other
        icectl reset --scope engine
        within cmp -n $((1 << 20)) data m/$function/view/v
        icectl -f $function view remove v --wait
        is_gone k
    done
}

@test "keys are in no log, not even at level debug, and not on standard output" {
    requires xxd
    start --size 16M --log-level debug
    program 0
    { icectl --json slot list; icectl slot list; icectl --json info; icectl stats; } >out
    icectl slot evict 0
    stop
    [ -s log ]
    cat log out | tr -d ' :\n' >text
    xxd -p log | tr -d '\n' >>text
    for at in 1 17 33 49; do
        not grep -q "$(tail -c +$at k0 | head -c 8 | xxd -p)" text
    done
}

@test "a key that was refused is gone" {
    start --size 16M
    random_file good 64
    head -c 32 good >half
    cat half half >equal
    random_file short 40
    driver "$server" <<'END'
import subprocess, sys
from icesock import *

FEATURES = ICE | KEY_OPS | VERSION_1
good, equal, short = (open(name, "rb").read() for name in ("good", "equal", "short"))


def find(name):
    return subprocess.run(["keyscan", sys.argv[1], name], capture_output=True, text=True)


def gone(name, what):
    found = find(name)
    assert found.returncode == 0, f"{what}: {found.stdout}{found.stderr}"
    print("# gone:", what, flush=True)


def frame(data):
    return encode([REQUEST, 5, 0, 1, data])


def body(key, slot=0, kind=T_PROGRAM, padding=b""):
    header = struct.pack("<IIQ16x", kind, 0, 0)
    return header + struct.pack("<BBHBBBB", slot, 1, len(key), 0, 3, 3, 0) + key.ljust(128, b"\0") + padding


device = Device(FEATURES)
assert device.program(0, good)[0] == OK
assert find("good").returncode == 1, "a live key is not found"
assert device.evict(0)[0] == OK
gone("good", "evict")

# The device answers, and the connection stays.
for what, key, name, request in (
    ("equal halves", equal, "equal", body(equal)),
    ("a key of the wrong size", short, "short", body(short)),
    ("a slot outside the window", good, "good", body(good, slot=200)),
    ("an unknown request type", good, "good", body(good, kind=77)),
    ("a type that takes no key", good, "good", body(good, kind=T_FLUSH)),
    ("bytes behind the key", good, "good", body(good, padding=bytes(9))),
    ("a key length above its field", good, "good", body(good)[:34] + b"\xff\xff" + body(good)[36:]),
    ("a body cut short", good, "good", body(good)[:120]),
):
    tag = device.send(REQUEST, 0, 1, request)
    assert device.answer(tag)[2] != b"\0", what
    gone(name, what)
expect_refused(errno.EINVAL, device.call, REQUEST, 0, 0, body(good))
gone("good", "no room for a status")
assert device.call(REQUEST, 99, 1, body(good))[0] == b"\1"
gone("good", "a queue that is not there")
for what, rest in (
    ("a message of the control socket", (STATS, good)),
    ("an unknown message", (99, good, good)),
    ("a feature write with the key", (SET_FEATURES, good)),
    ("a configuration write with the key", (WRITE_CONFIG, 200, good)),
    ("a key in a text", (WRITE_CONFIG, "".join(chr(b & 127) for b in good), good)),
):
    try:
        device.call(*rest)
    except Refused:
        pass
    gone("good", what)

plain = Device(VERSION_1)
tag = plain.send(REQUEST, 0, 1, body(good)[:16] + body(good)[32:])
assert plain.answer(tag)[2] != b"\0"
gone("good", "key operations that are not negotiated")
fresh = Device()
expect_refused(errno.EPROTO, fresh.call, REQUEST, 0, 1, body(good))
gone("good", "before DRIVER_OK")
control = Connection("control")
expect_refused(errno.EACCES, control.call, REQUEST, 0, 1, body(good))
gone("good", "on the control socket")
try:
    control.call(STATS, {"function": good.hex()[:30], "x": good})
except Refused:
    pass
gone("good", "in a control message")
owner = {"function": "vm0", "slot": 0, "alg": "aes-256-xts", "data_unit": 4096, "key_type": "raw", "key": good}
for what, number, change in (
    ("a slot that the monitor does not give", errno.EPERM, {"slot": 99}),
    ("an algorithm that is not known", errno.EINVAL, {"alg": "rot13"}),
    ("a key of the wrong length", errno.EINVAL, {"key": good[:63]}),
    ("no wrapped key", errno.EBADMSG, {"key_type": "wrapped"}),
    ("a key that is longer than its limit", errno.EINVAL, {"key": good * 3}),
    ("a key behind an unknown one", errno.EINVAL, {"zzz": good}),
):
    expect_refused(number, control.call, SLOT_PROGRAM, {**owner, **change})
    gone("good", "out of band: " + what)
for message in (KEY_IMPORT, KEY_PREPARE, KEY_DERIVE):
    expect_refused(errno.EINVAL if message == KEY_IMPORT else errno.EBADMSG, control.call, message,
                   {"function": "vm0", "key": good})
    gone("good", f"message {message} refused")
control.call(SLOT_PROGRAM, owner)
assert find("good").returncode == 1, "a live key is not found"
control.call(SLOT_EVICT, {"function": "vm0", "slot": 0})
gone("good", "out of band: evict")

# The connection ends; the scan comes while the server discards what may follow, and after that.
for what, data, end in (
    ("cut off in the middle of the key", frame(body(good))[:80], True),
    ("cut off behind the key", frame(body(good))[:-1], True),
    ("cut off, with much before it", encode([GET_STATUS, 9]) * 50 + frame(body(good))[:90], True),
    ("above the limit", b"\x85\x08\x05\x00\x01\x5a\x7f\xff\xff\xff" + body(good), False),
    ("an indefinite length", b"\x85\x08\x05\x00\x01\x5f\x58\xa8" + body(good), False),
    ("bytes that are no frame", b"\xff" + body(good) * 9, False),
    ("an item too many", b"\x86\x08\x05\x00\x01\x58\xa8" + body(good), False),
    ("a frame that follows the bad one", b"\x83\x02\xff\x00" + frame(body(good)), False),
):
    broken = Device(FEATURES)
    broken.raw(data)
    if end:
        broken.socket.shutdown(socket.SHUT_WR)
    while broken.frame():
        pass
    gone("good", what)
    broken.close()
    gone("good", what + ", closed")
END
}

@test "a key that met a busy slot is gone, the old one is there yet" {
    start --size 16M
    program 0
    random_file other 64
    driver "$server" <<'END'
import subprocess, sys
from icesock import *

device, second = (Device(ICE | KEY_OPS | VERSION_1) for _ in range(2))
other, tags = open("other", "rb").read(), []
deadline = time.monotonic() + 60
for turn in range(10000):
    assert time.monotonic() < deadline, "the slot was never met busy"
    tags = [second.submit(T_OUT, 0, bytes(1 << 20), slot=0) for _ in range(4)]
    status, _, why = device.program(0, other)
    for tag in tags:
        second.finish(tag)
    if why and why[0] == errno.EBUSY:
        break
    assert status == OK, why
    status, _, why = device.program(0, open("k0", "rb").read())
    assert status == OK, why
found = subprocess.run(["keyscan", sys.argv[1], "other"], capture_output=True, text=True)
assert found.returncode == 0, found.stdout + found.stderr
END
    is_live k0
}

# Everything that is secret in the life of a wrapped key, on both paths, is in files: the raw key, its
# inline key and its software secret.
wrapped_key_files() { # STEM
    random_file "$1.raw" 32
    PYTHONPATH=$top_srcdir/tests/bats python3 -B - "$1" <<'END'
import sys
from wrapped_kdf import *

stem = sys.argv[1]
master = open(stem + ".raw", "rb").read()
open(stem + ".inline", "wb").write(inline_key(master))
open(stem + ".secret", "wb").write(sw_secret(master))
END
}

are_gone() { # STEM
    is_gone "$1.raw"
    is_gone "$1.inline"
    is_gone "$1.secret"
}

@test "of wrapped keys nothing is left: not the raw key, not the inline key, not the software secret" {
    python3 -c 'import cryptography' || skip "python3-cryptography is not installed"
    start --size 16M --function vm0,slots=0+8,sectors=0+8192 \
        --function vm1,slots=8+8,sectors=8192+8192,dialect=inline
    for path in control vm0 vm1; do
        wrapped_key_files "$path"
        driver "$path" <<'END'
import sys
from dialects import *

path = sys.argv[1]
raw, secret = (open(f"{path}.{part}", "rb").read() for part in ("raw", "secret"))
if path == "control":
    long_term = control(KEY_IMPORT, function="vm0", key=raw)["key"]
    ephemeral = control(KEY_PREPARE, function="vm0", key=long_term)["key"]
    assert control(KEY_DERIVE, function="vm0", key=ephemeral)["key"] == secret
    control(SLOT_PROGRAM, function="vm0", slot=1, alg="aes-256-xts", data_unit=4096, key_type="wrapped", key=ephemeral)
else:
    device = drive(path)
    long_term = accepted(device.key("import", blob(raw), 132))
    ephemeral = accepted(device.key("prepare", long_term, 132))
    for room in (32, 33, 200, 300, 512, 4096, 65536):
        assert accepted(device.key("derive", ephemeral, room)) == secret.ljust(room, b"\0")
    refuses(device.key("derive", ephemeral, 31), IOERR)
    refuses(device.key("derive", long_term, 32), IOERR, errno.EBADMSG)
    device.program(1, ephemeral[4:4 + ephemeral[0]], key_type=WRAPPED)
END
        is_gone "$path.raw"
        eventually is_gone "$path.secret" # an answer is wiped when it is sent
    done
    is_live vm0.inline
    driver <<'END'
from dialects import *

for function in ("vm0", "vm1"):
    control(RESET, scope="function", function=function)
END
    for path in control vm0 vm1; do
        are_gone "$path"
    done
}

@test "a software secret on its way out is in locked memory only" {
    python3 -c 'import cryptography' || skip "python3-cryptography is not installed"
    start --size 16M
    wrapped_key_files k
    for path in control vm0; do
        rm -f go
        launch_driver "$path" <<'END'
import sys
from dialects import *

raw, secret = (open("k." + part, "rb").read() for part in ("raw", "secret"))
long_term = control(KEY_IMPORT, function="vm0", key=raw)["key"]
ephemeral = control(KEY_PREPARE, function="vm0", key=long_term)["key"]
owner, device = Connection("control"), drive("vm0")
while True:
    for _ in range(100):
        if sys.argv[1] == "control":
            assert owner.call(KEY_DERIVE, {"function": "vm0", "key": ephemeral})["key"] == secret
        else:
            assert accepted(device.key("derive", blob(ephemeral), 32)) == secret
    open("go", "w").close()
END
        eventually test -e go
        for _ in 1 2 3 4 5; do
            keyscan "$server" k.secret >>finds || true
        done
        kill "$driver"
        await_end "$driver"
        eventually is_gone k.secret # what it had asked for yet is answered first
    done
    not grep -v 'VmFlags:.* lo .*' finds
}

@test "icectl keeps a key no longer than it needs it" {
    start --size 16M
    random_file k 64
    head -c 32 k >half
    cat half half >equal
    keyscan run k icectl slot program 0 --alg aes-256-xts --key-file k --data-unit 4096
    keyscan run k sh -c 'exec icectl slot program 0 --alg aes-256-xts --key-file - <k'
    keyscan run k icectl slot program 99 --alg aes-256-xts --key-file k --data-unit 4096 2>err || {
        # refused without a word to the server, perhaps: then nothing was found while it sent
        run -1 grep -v '^0 while it sent, 0 at its end$' err
    }
    for file in equal k; do
        keyscan run "$file" icectl slot program 0 --alg aes-128-cbc-essiv --key-file "$file" >finds || true
        grep ' 0 at its end$' finds
    done
}

@test "cores are off" {
    requires setpriv
    local folder
    folder=$(mktemp -d)
    chown 65534 "$folder"
    cp "$(command -v icesim)" "$folder/icesim"
    setpriv --reuid 65534 --clear-groups sh -c \
        "ulimit -c unlimited; exec '$folder/icesim' --size 1M --dir '$folder/run'" 2>log 3>&- &
    server=$!
    servers+=("$server")
    eventually is_ready_or_gone
    is "$(stat -c %u "/proc/$server/status")" 0 "owner of a process that is not dumpable"
    grep -E 'Max core file size +0 ' "/proc/$server/limits"
    stop
    rm -r "$folder"
}

# Runs a command without the capability that overrides the limit; then comes --memlock=BYTES.
limited=(setpriv --bounding-set=-ipc_lock prlimit)

@test "RLIMIT_MEMLOCK too small to start with is an error, --no-mlock a warning" {
    requires setpriv prlimit
    for bytes in 0 65536; do
        refused 1 "icesim: no locked memory for keys: RLIMIT_MEMLOCK is $bytes bytes; 1048576 are needed, or --no-mlock" \
            "${limited[@]}" --memlock="$bytes" icesim --dir run --size 1M
    done
    "${limited[@]}" --memlock=0 icesim --dir run --size 1M --no-mlock 2>log 3>&- &
    server=$!
    servers+=("$server")
    eventually is_ready_or_gone
    grep -E 'warning: --no-mlock: keys may be swapped out' log
    grep -E 'VmLck:\s+0 kB' "/proc/$server/status"
    program 0
    keyscan "$server" k0 >finds || true
    grep -q ' key, ' finds
    icectl slot evict 0
    is_gone k0
    stop
}

@test "RLIMIT_MEMLOCK used up: a program is refused and names it, all else goes on" {
    requires setpriv prlimit
    "${limited[@]}" --memlock=1179648 icesim --dir run --size 16M --slots 255 2>log 3>&- &
    server=$!
    servers+=("$server")
    eventually is_ready_or_gone
    driver <<'END'
from icesock import *

device = Device(ICE | KEY_OPS | VERSION_1)
device.program(0, bytes(range(64)))
data = os.urandom(4096)
device.write(0, data, slot=0)
full = None
for slot in range(1, 255):
    status, _, why = device.program(slot, os.urandom(64))
    if status != OK:
        assert why[0] == errno.ENOMEM, why
        assert why[1].endswith("RLIMIT_MEMLOCK is 1179648 bytes"), why
        full = slot
        break
assert full, "255 slots fit"
status, _, why = device.request(T_IN, 0, room=4096, slot=full)
assert status == IOERR and why[0] == errno.ENOKEY, why
assert device.read(0, 4096, slot=0) == data
for slot in range(1, full):
    assert device.evict(slot)[0] == OK
assert device.program(full, os.urandom(64))[0] == OK
END
    stop
}
