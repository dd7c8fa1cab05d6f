#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# What the man pages promise occurs, and nothing else does: exit statuses, keys of each document.

load helpers

man=$top_srcdir/man

section() { # PAGE NAME
    awk -v name="$2" '/^\.S[hs] / { if ($0 == ".Sh " name) on = 1; else if (/^\.Sh/) on = 0 } on' \
        "$man/$1"
}

# Statuses that a page documents, sorted, in one line.
documented_statuses() { # PAGE
    section "$1" 'EXIT STATUS' | sed -n 's/^\.It \([0-9]*\)$/\1/p' | sort -n | paste -sd ' '
}

exits() { # STATUS COMMAND...
    local want=$1 got=0
    shift
    within "$@" >stdout 2>stderr 3>&- || got=$?
    is "$got" "$want" "exit status of $*" || {
        cat stderr
        return 1
    }
    occurred+="$got "
}

sorted() { # WORD...
    printf '%s\n' "$@" | sort -n | paste -sd ' '
}

# A device socket in the folder $1 whose device, unlike ours, does not support FLUSH.
without_flush() { # FOLDER
    mkdir "$1"
    launch_driver "$1" <<'END'
import sys, threading

client = listen(sys.argv[1] + "/vm0.sock").accept()[0]
server = Connection(hello=False)


def forward():
    while part := client.recv(1 << 16):
        server.raw(part)


threading.Thread(target=forward, daemon=True).start()
while True:
    frame = server.frame()
    if frame[0] == REQUEST and frame[2] == b"\0":
        frame[2:] = b"\2", [errno.EOPNOTSUPP, "FLUSH is not supported"]
    client.sendall(encode(frame))
END
    eventually test -S "$1/vm0.sock"
}

@test "each exit status of icectl is documented and occurs" {
    occurred=
    start --size 1M
    random_file key 64
    exits 0 icectl info
    exits 1 icectl slot program 40 --alg aes-256-xts --key-file key
    exits 2 icectl slot program
    exits 3 icectl io read --sector 0 --count 8 --slot 1 --dun 7
    without_flush poor
    exits 4 icectl -d poor -f vm0 io flush
    stop
    exits 5 icectl info
    # shellcheck disable=SC2086 # words
    is "$(sorted $occurred)" "$(documented_statuses icectl.1)" "statuses that occur, and documented"
}

@test "each exit status of icesim is documented and occurs" {
    occurred=
    exits 0 icesim --dir run --size 1M --run true
    exits 1 icesim --dir run --image none/image --size 1M
    exits 2 icesim --no-such-option
    # shellcheck disable=SC2086 # words
    is "$(sorted $occurred)" "$(documented_statuses icesim.1)" "statuses that occur, and documented"
    exits 7 icesim --dir run --size 1M --run 'exit 7'
    # shellcheck disable=SC2016 # for the shell of --run
    exits $((128 + 9)) icesim --dir run --size 1M --run 'kill -9 $$'
    section icesim.1 'EXIT STATUS' | grep -q "128 + the signal's number"
}

# Keys that a section of icectl(1), JSON DOCUMENTS, documents; or those below another heading in it.
documented_keys() { # SECTION
    section icectl.1 'JSON DOCUMENTS' |
        awk -v name="$1" '
            /^\.Ss / { on = index($0 ",", " " name ",") > 0 }
            on && /^object:/ { list = 1 }
            /^\.It Li / || list && /^\.Li / { if (on) print; else list = 0 }
            list && /^\.It/ { list = 0 }' |
        sed 's/^\.It//; s/^\.Li//; s/ Li / /' | tr -d ' ' | tr , '\n' | grep . | sort -u
}

# Each key in the document that a command prints is in its section, and the reverse.
has_keys() { # SECTION COMMAND...
    local name=$1
    shift
    icectl --json "$@" >document
    jq -r '.. | objects | keys[]' <document | sort -u >printed
    [ -s printed ]
    diff printed - || {
        echo "< printed by icectl $*, > documented under $name"
        return 1
    }
}

@test "each document of icectl --json has the keys of its own section, all of them" {
    requires jq
    start --size 1M --vhost-user vm0=guest --function vm0,slots=0+8,sectors=0+1024 \
        --function vm1,dialect=inline,slots=8+8,sectors=1024+512
    program 0
    # some keys are there in some dialects only
    { icectl --json info; icectl -f vm1 --json info; } | jq -r '.. | objects | keys[]' |
        sort -u >printed
    { documented_keys info; documented_keys caps; } | sort -u | diff printed -
    documented_keys 'function list' | has_keys 'function list' function list
    documented_keys 'function add' | has_keys 'function add' function add vm2,slots=16+8,image=own,size=1M
    documented_keys resize | has_keys resize -f vm2 resize 2M
    documented_keys caps | has_keys caps caps
    documented_keys 'slot list' | has_keys 'slot list' slot list
    icectl --json view add v --alg aes-256-xts --key-file k0 >added
    documented_keys 'view add' | has_keys 'view list' view list
    is "$(icectl --json view list | jq -c '.[0]')" "$(jq -c . added)" 'view add'
    documented_keys stats | has_keys stats stats
    icectl --json layer add both --map linear vm0 vm1 >added
    { documented_keys 'layer add'; documented_keys caps; } | sort -u | has_keys 'layer list' layer list
    is "$(icectl --json layer list | jq -c '.[0]')" "$(jq -c . added)" 'layer add'
    documented_keys reset | has_keys reset reset --scope function
    { icectl --json io id; icectl --json io lifetime; } | jq -r 'keys[]' | sort >printed
    documented_keys 'io id' | diff printed -
}

@test "a batch prints the keys of its section, all of them" {
    start --size 1M
    printf '%s\n' 'io id' 'reset --scope engine' acknowledge bogus >script
    icectl batch script >document || true
    jq -r 'keys[]' document | sort -u | diff - <(documented_keys batch)
}

@test "null and values of slot list are as documented" {
    requires jq
    start --size 1M --slots 2
    program 0
    icectl --json slot list >document
    jq -e '.[0].programmed and (.[0] | [.alg, .data_unit, .key_type] == ["aes-256-xts", 4096, "raw"])
        and (.[0].fingerprint | test("^[0-9a-f]{16}$"))' document
    jq -e '.[1] == {slot: 1, programmed: false, alg: null, data_unit: null, key_type: null,
        fingerprint: null, owner: null, in_flight: 0, physical: 1}' document
    is "$(jq -r '.[0].fingerprint' document)" \
        "$({ printf 'icesim key\0'; cat k0; } | sha256sum | head -c 16)" fingerprint
}

@test "status.json is the documents of icectl" {
    requires jq
    start_mounted --size 1M
    program 0
    is "$(jq -r 'keys[]' m/status.json | paste -sd ' ')" "info slots views"
    section icesim.1 FILES | grep -qx '\.Li info'
    section icesim.1 FILES | grep -qx '\.Li slots'
    is "$(jq -c .slots m/status.json)" "$(icectl --json slot list | jq -c .)" slots
    is "$(jq -c .views m/status.json)" "$(icectl --json view list | jq -c .)" views
    is "$(jq -c '.info | keys' m/status.json)" "$(icectl --json info | jq -c keys)" info
}
