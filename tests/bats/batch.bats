#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# icectl batch: many lines on one connection, in flight at once, and what becomes of each.

load helpers

setup() {
    common_setup
    requires jq
}

# Runs the script on standard input; documents are in `docs`, standard error in `err`. A sanitizer
# has a word to say on stacks that it is told of.
batch() { # STATUS [OPTION...]
    local want=$1 got=0
    shift
    cat >script
    within icectl batch "$@" script >docs 2>err.all 3>&- || got=$?
    grep -v 'fully support makecontext' err.all >err || true
    is "$got" "$want" "exit status of the batch" || {
        cut -c 1-300 script docs err
        return 1
    }
}

# A jq program over the array of documents that must be true.
judge() { # JQ-PROGRAM
    jq -se "$1" docs >/dev/null || {
        echo "not so: $1"
        cut -c 1-300 docs
        return 1
    }
}

# A batch whose script is written line by line to descriptor 9.
begin() { # [OPTION...]
    mkfifo lines
    icectl batch "$@" <lines >docs 2>err.all 3>&- &
    servers+=($!)
    job=$!
    exec 9>lines
}

say() { # LINE...
    printf '%s\n' "$@" >&9
}

is_stopped() { # PID
    grep -q '^State:.T' "/proc/$1/status"
}

# To the function, and to the control socket.
has_two_connections() {
    [ "$(readlink "/proc/$job/fd/"* | grep -c '^socket:')" = 2 ]
}

# There are N documents.
told() { # N
    eventually counts "$1"
}

counts() { # N
    [ "$(wc -l <docs)" = "$1" ]
}

@test "each line has a document with what its command prints" {
    start --size 1M
    random_file key 64
    random_file 'two  units' 8192
    batch 0 <<'END'
# a comment, then an empty line

slot program 0 --alg "aes-256-xts" --key-file 'key' # from here on
	io write --sector 8 --slot 0 --dun 7 two\ \ units
io read --sector 8 --count 16 --slot 0 --dun 7
io read --sector 8 --count 16 --slot 0 --dun 7 -o back
info
slot list
stats
io flush
io id
END
    cmp back 'two  units'
    judge '[.[].line] == [3, 4, 5, 6, 7, 8, 9, 10, 11]'
    judge '[.[].status] | all(. == 0)'
    judge '.[0].command == "slot program" and .[0].result == null and .[3].result == null'
    is "$(jq -r 'select(.line == 5).result' docs)" "$(xxd -p 'two  units' | tr -d '\n')" "the data"
    judge '.[7].result == null and .[8].result == {"id": "icesim-vm0"}'
    diff <(jq -S 'select(.line == 7).result' docs) <(icectl --json info | jq -S .)
    diff <(jq -S 'select(.line == 8).result' docs) <(icectl --json slot list | jq -S .)
    diff <(jq -S 'select(.line == 9).result | keys' docs) <(icectl --json stats | jq -S keys)
    [ ! -s err ]
}

@test "all lines of a function share one attachment" {
    start --size 1M --function vm0,slots=0+8,sectors=0+1024 \
        --function vm1,slots=8+8,sectors=1024+1024
    have_no_clients() { icectl --json function list | jq -e 'all(.clients == 0)'; }
    eventually have_no_clients # `icectl wait` may be counted yet
    batch 0 <<'END'
io id
& io id
& caps
wait
-f vm1 io id
& -f vm1 io flush
--function=vm0 io id
function list
END
    judge '.[-1].result | map({(.name): .clients}) | add == {"vm0": 1, "vm1": 1}'
    judge '[.[] | select(.command == "io id").result.id] ==
        ["icesim-vm0", "icesim-vm0", "icesim-vm1", "icesim-vm0"]'
}

@test "lines that are not waited for overlap: a short one ends before a long one" {
    start --size 64M
    batch 0 <<'END'
& io read --sector 0 --count 131072 -o all
& io id
wait
& io read --sector 0 --count 131072 -o all
io id
END
    judge '[.[].line] == [2, 1, 5, 4]'
    batch 0 <<'END'
io read --sector 0 --count 131072 -o all
io id
END
    judge '[.[].line] == [1, 2]'
}

@test "1000 lines at once" {
    start --size 8M
    random_file data 4096
    for ((i = 0; i < 1000; i++)); do
        echo "& io write --sector $((i * 8)) data"
    done | batch 0
    judge 'length == 1000 and all(.status == 0) and (map(.line) | unique | length == 1000)'
    icectl io read --sector 0 --count 8000 -o back
    for ((i = 0; i < 1000; i++)); do
        cat data
    done | cmp - back
    is "$(counted .requests.write)" 1000 writes
}

@test "failures: documents, the first by line is the exit status, no line is begun after one" {
    start --size 1M
    zero_file data 4096
    batch 3 <<'END'
io write --sector 0 --slot 1 --dun 0 data
io write --sector 0 data
END
    judge '. == [{"line": 1, "command": "io write", "status": 3, "errno": "ENOKEY",
        "error": "io write: sector 0: slot 1 is empty"}]'
    is "$(cat err)" "icectl: batch: line 1: io write: sector 0: slot 1 is empty" "standard error"
    is "$(counted .requests.write)" 1
    batch 1 --keep-going <<'END'
io id
& slot program 40 --alg aes-256-xts --key-file /dev/null
io read --sector 99999999 --count 1
-f vm7 io id
slot program x
io write --sector 0 missing
io id
END
    judge '[.[].status] == [0, 1, 3, 5, 2, 1, 0]'
    judge '[.[1:6][].errno] == ["EINVAL", "EIO", "ENOENT", null, "ENOENT"]'
    judge '.[4].error == "slot program: missing option --alg=ALG"'
    grep -q '^icectl: batch: line 2: slot program 40: ' err
    # not waited for, until there is a wait
    batch 3 <<'END'
& io read --sector 0 --count 1 --slot 1 --dun 0
io id
wait
io id
END
    judge 'map(.line) | sort == [1, 2]'
}

@test "what has no place in a line is refused in words" {
    start --size 1M
    batch 2 --keep-going <<'END'
& wait
wait for all
batch script
& batch script
bogus
slot
slot --help
io id --help
--help
--json io id
-d run io id
--timeout 3 io id
-f vm0
-f VM0 io id
END
    judge 'length == 14 and all(.status == 2 and .errno == null)'
    judge '.[0].error == "wait: in a batch it is a line of its own and waits for what is under way"'
    judge '.[1].error == .[0].error and .[2].error == "batch: a batch in a batch"'
    judge '.[3].error == .[2].error and .[4].error == "bogus: unknown command; icectl --help lists them"'
    judge '.[7].error == "io id: --help has no place in a batch" and .[7].command == "io id"'
    judge '.[9].error == "usage: unknown option --json" and .[9].command == null'
    judge '.[13].error | startswith("usage: --function \"VM0\"")'
}

@test "odd input ends the batch with its line's number, and nothing after it is begun" {
    start --size 1M
    zero_file data 512
    odd() { # TEXT, after which comes a line that would write
        cat >odd
        { echo 'io id'; cat odd; printf '\nio write --sector 0 data\n'; } | batch 2 --keep-going
        judge "length == 2 and .[0].status == 0 and (.[1] | .line == 2 and .status == 2 and
            .command == null and .error == \"$1\")"
        is "$(cat err)" "icectl: batch: line 2: ${1//\\/}" "standard error"
    }
    odd "a quote (') is not closed" <<<"io write --sector 0 'data"
    odd 'a quote (\") is not closed' <<<'io write --sector 0 "data'
    odd 'nothing follows the backslash at the end' <<<'io id \'
    odd 'a zero byte is no text' < <(printf 'io write --sector 0 da\0ta')
    odd 'the line is longer than 65536 bytes' < <(head -c 65536 /dev/zero | tr '\0' ' ')
    odd 'nothing follows the &' <<<' & # nothing'
    is "$(counted .requests.write)" 0 writes
    printf '%65535s\nio id' 'io id' | batch 0
    judge 'length == 2 and all(.status == 0)'
    batch 0 </dev/null
    [ ! -s docs ]
    refused 1 'icectl: batch: none: No such file or directory' icectl batch none
    refused 2 'icectl: batch: .*' icectl batch a b
    batch 2 <script <<<"'"
    icectl batch . >docs 2>err && false
    judge '.[0].error == "Is a directory"'
}

@test "races: writes, an eviction and an engine reset at once end as they may, and no other way" {
    start --size 16M
    random_file key 64
    random_file data 65536
    for ((round = 0; round < 5 * SCALE; round++)); do
        {
            echo 'slot program 0 --alg aes-256-xts --key-file key'
            for ((i = 0; i < 40; i++)); do
                echo "& io write --sector $((i * 128)) --slot 0 --dun $i data"
            done
            echo '& slot evict 0'
            for ((i = 0; i < 40; i++)); do
                echo "& io write --sector $((i * 128)) --slot 0 --dun $i data"
            done
            echo '& reset --scope engine'
            for ((i = 0; i < 40; i++)); do
                echo "& io read --sector 0 --count 128 --slot 0 --dun 0 -o back$i"
            done
            echo wait
            echo acknowledge
            echo 'io read --sector 0 --count 8 --slot 0 --dun 0'
        } >races
        within icectl batch --keep-going races >docs 2>/dev/null 3>&- || true
        judge 'map(select(.line)) | length == 125'
        judge 'map(select(.command == "io write" or .command == "io read")) | all(.status == 0 or
            (.status == 3 and (.errno == "ENOKEY" or .errno == "ESTALE")))'
        judge 'map(select(.command == "slot evict")) | length == 1 and all(.status == 0 or
            (.status == 1 and .errno == "EBUSY"))'
        judge 'map(select(.command == "reset")) | length == 1 and .[0].status == 0'
        # what comes after the wait is not in the race
        judge '.[-2].status == 0 and .[-1].status == 3 and .[-1].errno == "ENOKEY"'
        judge '.[-2].result.generation == (map(select(.command == "reset"))[0].result.generation)'
        judge 'map(select(.event == "engine-generation")) | length == 1'
    done
}

@test "a new generation is an event; until it is acknowledged tagged requests are stale" {
    start --size 1M
    random_file key 64
    batch 3 --keep-going <<'END'
slot program 0 --alg aes-256-xts --key-file key
io read --sector 0 --count 8 --slot 0 --dun 0 -o a
reset --scope engine
slot program 0 --alg aes-256-xts --key-file key
io read --sector 0 --count 8 --slot 0 --dun 0 -o b
io read --sector 0 --count 1 -o c
acknowledge
acknowledge
io read --sector 0 --count 8 --slot 0 --dun 0 -o d
reset --scope engine
& acknowledge
END
    judge '[.[] | select(.line)] | [.[].status] == [0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0]'
    judge '[.[] | select(.line == 5)][0].errno == "ESTALE"'
    judge '[.[] | select(.event)] == [
        {"event": "engine-generation", "function": "vm0", "generation": "0x2"},
        {"event": "engine-generation", "function": "vm0", "generation": "0x3"}]'
    judge '[.[] | select(.command == "acknowledge").result.generation] == ["0x2", "0x2", "0x3"]'
    cmp a d
}

@test "after a device reset, by whomever, the next line finds the device negotiated" {
    start --size 1M
    begin
    say 'io id' 'reset --scope device' 'io id'
    told 4
    icectl reset --scope device
    told 5
    say 'io id' 'info'
    told 7
    exec 9>&-
    wait "$job"
    judge '[.[] | select(.event).event] == ["device-reset", "device-reset"]'
    judge '[.[] | select(.line).status] == [0, 0, 0, 0, 0]'
    judge '.[-1].result.status == 15'
}

@test "a program can look at an answer before it writes the next line" {
    start --size 1M
    begin
    say 'io id'
    told 1
    say '& io id' 'io flush'
    told 3
    printf 'io' >&9
    sleep 0.1
    say ' id'
    told 4
    exec 9>&-
    wait "$job"
    judge 'map(.line) | sort == [1, 2, 3, 4]'
}

@test "a server that is lost in the middle: 5 for all that was under way" {
    start --size 1M
    begin
    say 'io id'
    told 1
    not has_two_connections
    kill -STOP "$server"
    eventually is_stopped "$server"
    say '& io id' '& io flush' '& stats' 'wait' 'io id'
    eventually has_two_connections # `stats` is under way, and so are the lines before it
    kill -9 "$server"
    told 4
    await_end "$job"
    is "$ended" 5 "exit status"
    judge '(map(.line) | sort) == [1, 2, 3, 4] and (.[1:] | all(.status == 5))'
}

@test "a connection that has ended is made anew" {
    start --size 2M --function vm0,slots=0+8,sectors=0+1024
    batch 5 --keep-going <<'END'
function add vm1,slots=8+8,sectors=1024+1024
-f vm1 io id
function remove vm1
-f vm1 io id
function add vm1,slots=8+8,sectors=1024+1024
-f vm1 io id
END
    judge '[.[] | select(.line).status] == [0, 0, 0, 5, 0, 0]'
}

@test "standard input and output are not the lines', unless the script is elsewhere" {
    start --size 1M
    random_file key 64
    random_file data 512
    printf '%s\n' 'io write --sector 0' 'slot program 0 --alg aes-256-xts --key-file -' \
        'key generate' 'io id' >script
    icectl batch --keep-going <script >docs 2>/dev/null 3>&- && false
    judge '[.[].status] == [1, 1, 1, 0] and .[0].errno == "EBADF"'
    echo 'io write --sector 0' >script
    icectl batch script <data >docs
    judge '.[0].status == 0'
    icectl io read --sector 0 --count 1 | cmp - data
    echo 'slot program 0 --alg aes-256-xts --key-file -' >script
    icectl batch script <key >docs
    judge '.[0].status == 0'
    echo 'io id' >script
    fails_with 'icectl: batch: standard output: No space left on device' \
        icectl batch script >/dev/full
}

@test "no server: one document, exit 5" {
    batch 5 <<<'io id'
    judge 'length == 1 and .[0].status == 5 and .[0].errno == "ENOENT"'
}
