#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Where vhost-user front ends come in: paths, descriptors, a service manager; the conventions of
# back-end programs. What is said on these sockets is the matter of other tests.

load helpers

# One message to the socket at a path and its reply: does a back end serve there?
answers() { # PATH
    within python3 - "$1" 3>&- <<'END'
import socket, struct, sys

front = socket.socket(socket.AF_UNIX)
front.connect(sys.argv[1])
front.sendall(struct.pack("=III", 1, 1, 0))  # GET_FEATURES
reply = front.recv(20, socket.MSG_WAITALL)
sys.exit(len(reply) != 20 or struct.unpack("=III", reply[:12]) != (1, 5, 8))
END
}

# Runs icesim with sockets handed over as descriptors 3 and on, and asks what serves behind each.
#
#   handed OVER KIND[,KIND...] [VARIABLE=VALUE...] -- OPTION...
#
# KIND is listen or connect. LISTEN_PID=self is put right by the process that becomes icesim; BEFORE
# is a command to run before icesim is asked. Prints for each socket `answers`, or `closed` where
# icesim hung up, then how icesim ended by SIGTERM.
handed() {
    requires python3
    within python3 - "$@" 3>&- <<'END'
import ctypes, os, signal, socket, struct, subprocess, sys

kinds = sys.argv[1].split(",")
split = sys.argv.index("--")
variables = dict(word.split("=", 1) for word in sys.argv[2:split])
before = variables.pop("BEFORE", "true")
options = sys.argv[split + 1 :]
fronts, handed = [], []
for number, kind in enumerate(kinds):
    if kind == "connect":
        near, far = socket.socketpair(socket.AF_UNIX)
    else:
        far = socket.socket(socket.AF_UNIX)
        path = f"handed{number}"
        if os.path.exists(path):
            os.unlink(path)
        far.bind(path)
        far.listen()
        near = socket.socket(socket.AF_UNIX)
    fronts.append(near)
    handed.append(far)

child = os.fork()
if not child:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: nothing is left of a test that fails
    copies = [os.dup2(far.fileno(), 100 + number) for number, far in enumerate(handed)]
    for number, copy in enumerate(copies):
        os.dup2(copy, 3 + number, inheritable=True)
    os.closerange(3 + len(copies), 200)
    for name, value in variables.items():
        os.environ[name] = str(os.getpid()) if value == "self" else value
    os.execvp("icesim", ["icesim", "--dir", os.environ["ICESIM_DIR"], *options])
for far in handed:
    far.close()
subprocess.run("icectl --timeout 60 wait && " + before, shell=True, check=True)
for number, (kind, front) in enumerate(zip(kinds, fronts)):
    if kind == "listen":
        front.connect(f"handed{number}")
    try:
        front.sendall(struct.pack("=III", 1, 1, 0))
        reply = front.recv(20, socket.MSG_WAITALL)
    except (BrokenPipeError, ConnectionResetError):
        reply = b""
    print("answers" if len(reply) == 20 else "closed")
os.kill(child, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
END
}

@test "--vhost-user: a private socket for each function named, removed at the stop" {
    start --size 1M --function a,slots=0+8,sectors=0+512 \
        --function b,slots=8+8,sectors=512+512 --function c,slots=16+8,image=i,size=1M \
        --vhost-user a=a.vhost --vhost-user "c=$T/c.vhost"
    is "$(stat -c '%F %a' a.vhost)" 'socket 600'
    is "$(stat -c '%F %a' c.vhost)" 'socket 600'
    answers a.vhost
    answers c.vhost
    is "$(icectl -f a --json stats | jq -c '.vhost_user | [type, .refused]')" '["object",{}]'
    is "$(icectl -f b --json stats | jq -c .vhost_user)" null
    icectl -f a stats | grep -qx 'vhost_user.connected  *\(yes\|no\)'
    not grep -q vhost_user <(icectl -f b stats)
    stop
    [ ! -e a.vhost ]
    [ ! -e c.vhost ]
}

@test "what a killed icesim left is replaced; what another process serves is not" {
    start --size 1M --vhost-user vm0=front
    kill -9 "$server"
    await_end
    [ -S front ]
    start --size 1M --vhost-user vm0=front
    answers front
    refused 1 'icesim: socket front: another process listens there' \
        within icesim --dir other --size 1M --vhost-user vm0=front
    [ ! -e other ]
    answers front
    stop
    : >file
    refused 1 'icesim: file is in the way, and not a socket' \
        within icesim --dir other --size 1M --vhost-user vm0=file
    [ -f file ]
    refused 1 'icesim: socket no/front: No such file or directory' \
        within icesim --dir other --size 1M --vhost-user vm0=no/front
}

@test "an orderly start undoes what it did when a later socket cannot be had" {
    : >file
    refused 1 'icesim: file is in the way, and not a socket' within icesim --dir run --size 1M \
        --function a,slots=0+8,sectors=0+512 --function b,slots=8+8,sectors=512+512 \
        --vhost-user a=front --vhost-user b=file
    [ ! -e front ]
    [ ! -e run ]
}

@test "a function that is removed takes its socket along; added again, it serves again" {
    start --size 1M --vhost-user vm0=front
    icectl function remove vm0
    [ ! -e front ]
    icectl function add vm1,slots=0+8,sectors=0+512
    [ ! -e front ]
    icectl function add vm0,sectors=512+512
    is "$(stat -c '%F %a' front)" 'socket 600'
    answers front
    icectl function remove vm0
    : >front
    refused 1 'icectl: function add vm0: front is in the way, and not a socket' icectl function add vm0
    rm front
    icectl function add vm0
    answers front
    stop
    [ ! -e front ]
}

@test "usage errors name the option" {
    refused 2 'icesim: --vhost-user vm1=x: there is no --function of this name' \
        icesim --size 1M --vhost-user vm1=x
    refused 2 'icesim: --vhost-user vm0=y: vm0 has a socket for vhost-user already' \
        icesim --size 1M --vhost-user vm0=x --vhost-user vm0=y
    refused 2 "icesim: --vhost-user: PATH has 108 bytes; it has 1 to 107" \
        icesim --size 1M --vhost-user "vm0=$(printf '%0108d' 0)"
    refused 2 'icesim: --socket-path: not together with --fd' \
        icesim --size 1M --socket-path x --fd 9
    [ -z "$(ls)" ] || is "$(ls | sort | paste -sd ' ')" 'loops stderr stdout'
}

@test "--fd: a socket that listens, or is connected" {
    is "$(handed listen -- --size 1M --fd 3)" $'answers\n0'
    is "$(handed connect,listen -- --size 1M --function a,slots=0+8,sectors=0+8 --function b,slots=8+8,sectors=8+8 \
        --fd b=3 --fd 4)" $'answers\nanswers\n0'
    # one that is connected is served once; one that listens as often as its function is there
    again='icectl function remove vm0 && icectl function add vm0'
    is "$(handed listen BEFORE="$again" -- --size 1M --fd 3)" $'answers\n0'
    is "$(handed connect BEFORE="$again" -- --size 1M --fd 3)" $'closed\n0'
}

@test "--fd: descriptors that are no such socket" {
    no_socket='descriptor 9 is no UNIX stream socket'
    refused 1 'icesim: descriptor 9 is not open' icesim --dir run --size 1M --fd 9
    refused 1 "icesim: $no_socket" icesim --dir run --size 1M --fd 9 9</dev/null
    exec 9<>/dev/null
    refused 1 'icesim: descriptor 9 is given to a already' python3 - <<'END'
import os, socket

pair = socket.socketpair()
os.dup2(pair[0].fileno(), 9, inheritable=True)
os.execvp("icesim", ["icesim", "--dir", "run", "--size", "1M", "--function", "a",
                     "--function", "b", "--fd", "a=9", "--fd", "b=9"])
END
    for wrong in 'AF_INET, socket.SOCK_STREAM' 'AF_UNIX, socket.SOCK_DGRAM' 'AF_UNIX, socket.SOCK_SEQPACKET'; do
        refused 1 "icesim: $no_socket" python3 -c "import os, socket
lone = socket.socket(socket.$wrong)
os.dup2(lone.fileno(), 9, inheritable=True)
os.execvp('icesim', ['icesim', '--dir', 'run', '--size', '1M', '--fd', '9'])"
    done
    refused 1 'icesim: descriptor 9 neither listens nor is connected' python3 -c "import os, socket
lone = socket.socket(socket.AF_UNIX)
os.dup2(lone.fileno(), 9, inheritable=True)
os.execvp('icesim', ['icesim', '--dir', 'run', '--size', '1M', '--fd', '9'])"
    exec 9>&-
    [ ! -e run ]
}

@test "a service manager's sockets go to functions by name, or in order" {
    two=(--size 1M --function a,slots=0+8,sectors=0+8 --function b,slots=8+8,sectors=8+8)
    is "$(handed listen,listen LISTEN_PID=self LISTEN_FDS=2 -- "${two[@]}")" $'answers\nanswers\n0'
    counts='{ icectl -f a --json stats; icectl -f b --json stats; } >counts'
    is "$(handed listen LISTEN_PID=self LISTEN_FDS=1 LISTEN_FDNAMES=b BEFORE="$counts" -- \
        "${two[@]}")" $'answers\n0'
    is "$(jq -c '.vhost_user == null' counts | paste -sd ' ')" 'true false' 'a and b'
    is "$(handed listen,listen LISTEN_PID=self LISTEN_FDS=2 LISTEN_FDNAMES=b:a BEFORE="$counts" -- \
        "${two[@]}" --run '! env | grep ^LISTEN_ >variables && exec sleep 120')" $'answers\nanswers\n143'
    [ ! -s variables ]
}

@test "variables of a service manager that are not for this process, or make no sense" {
    export LISTEN_PID=1 LISTEN_FDS=7
    start --size 1M
    stop
    activated() { # REGEX NAME=VALUE...
        local regex=$1
        shift
        refused 1 "icesim: $regex" env -u LISTEN_PID "$@" sh -c \
            'LISTEN_PID=$$ exec icesim --dir run --size 1M'
    }
    activated 'LISTEN_FDS: "many" is not a number' LISTEN_FDS=many
    activated 'LISTEN_FDNAMES has 2 names, LISTEN_FDS says 1' LISTEN_FDS=1 LISTEN_FDNAMES=vm0:vm1
    activated 'LISTEN_FDNAMES: there is no function "icesim.socket"' \
        LISTEN_FDS=1 LISTEN_FDNAMES=icesim.socket
    activated 'descriptor 3 is .*' LISTEN_FDS=1
    is "$(handed listen LISTEN_PID=self LISTEN_FDS=0 -- --size 1M --fd 3)" $'answers\n0'
    [ ! -e run ]
}

@test "a back-end program of the conventions" {
    requires jq
    is "$(icesim --print-capabilities | jq -c .)" '{"type":"block","features":["read-only","blk-file"]}'
    is "$(icesim --nonsense --socket-path x --print-capabilities)" "$(icesim --print-capabilities)"
    random_file image 1M
    start --blk-file=image --read-only --socket-path=front
    answers front
    is "$(icectl --json function list | jq -c 'map([.name, .read_only])')" '[["vm0",true]]'
    icectl io read --sector 0 --count 2048 -o copy
    cmp image copy
    refused 3 'icectl: io write: .*read-only.*' icectl io write --sector 0 image
    stop
    [ ! -e front ]
}

# A program that runs may not be written, not even by root.
@test "an image that may not be written serves who only reads" {
    requires jq
    cp "$(command -v sleep)" image
    truncate -s %4096 image
    cp image whole
    (./image 600 >/dev/null 2>&1 3>&- & echo $! >pid) # no job of the test's shell, which waits for those
    refused 1 'icesim: cannot open image for reading and writing: Text file busy' \
        within icesim --dir other --image image
    start --blk-file=image --read-only --socket-path=front
    answers front
    icectl io read --sector 0 --count "$(($(stat -c %s image) / 512))" -o copy
    cmp whole copy
    refused 1 "icectl: resize 4096: its image may only be read" icectl resize 4096
    [ ! -e image.secret ]
    stop
    cmp whole image
    kill "$(cat pid)"
}

@test "a socket that somebody has put in place of icesim's stays" {
    requires python3
    start --size 1M --vhost-user vm0=front
    rm front
    python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("front")'
    stop
    [ -S front ]
    refused 1 'icesim: socket twice: icesim itself listens there' within icesim --dir other --size 1M --log-level error \
        --function a,slots=0+8,sectors=0+8 --function b,slots=8+8,sectors=8+8 \
        --vhost-user a=twice --vhost-user b=twice
    [ ! -e twice ]
}

@test "the discovery file names the installed program" {
    requires jq
    file=$top_builddir/data/50-icesim.json
    is "$(jq -r '.type + " " + (.binary | sub(".*/"; ""))' "$file")" 'block icesim'
    is "$(jq -r 'keys | join(" ")' "$file")" 'binary description type'
    not grep -q @ "$file"
}
