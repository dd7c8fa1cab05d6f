#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# icectl view and layer: what they take, what they refuse, what they print.

load helpers

setup() {
    common_setup
    requires jq
    random_file k 64
}

add() { # NAME [OPTION...]
    local name=$1
    shift
    icectl view add "$name" --alg aes-256-xts --key-file k "$@"
}

fingerprint() { # KEY-FILE
    { printf 'icesim key\0'; cat "$1"; } | sha256sum | head -c 16
}

views() { # [FUNCTION]
    icectl ${1:+-f "$1"} --json view list | jq -r '.[].name' | paste -sd ' '
}

@test "view: add prints its entry; list is a table, or one line of JSON, by name" {
    start --size 1M
    is "$(add v2)" '' 'output of add'
    add v1 --sector 0x10 --count 24 --dun 0x1ffffffffffffffff --fallback force --data-unit 512
    icectl --json view add v3 --alg aes-256-xts --key-file - --count 8 --dun 7 <k >entry
    is "$(cat entry)" '{"name":"v3","alg":"aes-256-xts","data_unit":4096,"key_type":"raw","fingerprint":"'"$(fingerprint k)"'","sector":"0x0","count":"0x8","dun":"0x7","fallback":"auto","path":"native"}'
    icectl --json view list >list
    is "$(wc -l <list)" 1 lines
    is "$(jq -c '.[2]' list)" "$(cat entry)" 'entry of the list'
    jq -e '.[0] | .sector == "0x10" and .count == "0x18" and .dun == "0x1ffffffffffffffff" and
        .data_unit == 512 and .fallback == "force" and .path == "fallback"' list
    jq -e '.[1] | .sector == "0x0" and .count == "0x800"' list
    is "$(views)" 'v1 v2 v3'
    icectl view list >table
    is "$(wc -l <table)" 4 'lines of the table'
    grep -qxE 'v1 +aes-256-xts +512 +raw +[0-9a-f]{16} 16\+24 +force +fallback 0x1ffffffffffffffff' table
    grep -qxE 'v2 +aes-256-xts +4096 +raw +[0-9a-f]{16} 0\+2048 +auto +native +0x0' table
    is "$(icectl --json stats | jq -c '[.keys[] | [.view, .path]]')" \
        '[["v1","fallback"],["v2","native"],["v3","native"]]'
}

@test "view: each option's wrong use is exit 2, and nothing is sent" {
    # no server runs
    local ok=(--alg aes-256-xts --key-file k) use='icectl: view add: '
    refused 2 "${use}missing option NAME" icectl view add "${ok[@]}"
    refused 2 "${use}missing option --alg=ALG" icectl view add v --key-file k
    refused 2 "${use}missing option --key-file=.*" icectl view add v --alg aes-256-xts
    refused 2 "${use}--alg \"rot13\" is no algorithm; .*" icectl view add v --alg rot13 --key-file k
    refused 2 "${use}--data-unit \"3K\" is not a power of two .*" icectl view add v "${ok[@]}" --data-unit 3K
    refused 2 "${use}--sector \"-1\" is not a number" icectl view add v "${ok[@]}" --sector=-1
    refused 2 "${use}--count \"many\" is not a number" icectl view add v "${ok[@]}" --count many
    refused 2 "${use}--dun \"0x1(0{61})\" has more than 256 bits" \
        icectl view add v "${ok[@]}" --dun "0x1$(printf '0%.0s' {1..64})"
    refused 2 "${use}--fallback \"never\" is none of auto, forbid, force" \
        icectl view add v "${ok[@]}" --fallback never
    refused 2 "${use}unknown option --slot" icectl view add v "${ok[@]}" --slot 1
    refused 2 'icectl: view remove: missing option NAME' icectl view remove --wait
    refused 2 'icectl: view list: .*surplus.*' icectl view list surplus
    refused 2 'icectl: view: incomplete command; .*' icectl view
    refused 2 'icectl: layer add: missing option --map=MAP' icectl layer add l vm0
    refused 2 'icectl: layer add: missing option NAME FUNCTION.*' icectl layer add --map linear l
    refused 2 'icectl: layer remove: missing option NAME' icectl layer remove
    refused 5 'icectl: view add v: no server in .*' icectl view add v "${ok[@]}"
    refused 5 'icectl: layer list: no server in .*' icectl layer list
}

@test "view: key files" {
    start --size 1M
    random_file short 63
    random_file long 65
    refused 1 'icectl: view add v: key file none: No such file or directory' \
        icectl view add v --alg aes-256-xts --key-file none
    refused 1 'icectl: view add v: key file short .*63.*64.*' \
        icectl view add v --alg aes-256-xts --key-file short
    refused 1 'icectl: view add v: key file long holds more than the 64 bytes of aes-256-xts' \
        icectl view add v --alg aes-256-xts --key-file long
    refused 1 'icectl: view add v: the two halves of the XTS key are equal' \
        icectl view add v --alg aes-256-xts --key-file <(head -c 64 /dev/zero)
    icectl key generate -o long-term
    icectl key prepare --key-file long-term -o ephemeral
    icectl view add w --alg aes-256-xts --key-file ephemeral --wrapped
    icectl --json view list | jq -e '.[0] | .key_type == "wrapped" and .fingerprint == null'
    icectl view list | grep -qxE 'w +aes-256-xts +4096 +wrapped - +0\+2048 .*'
    refused 1 'icectl: view add x: .+' \
        icectl view add x --alg aes-256-xts --key-file ephemeral --wrapped --fallback force
    refused 1 'icectl: view add x: .+' icectl view add x --alg aes-128-xts --key-file ephemeral --wrapped
    is "$(views)" w
}

@test "view: what the server refuses, in its words; nothing is added" {
    start --size 1M --function vm0,caps=aes-256-xts:4096,dun-bits=32
    add v
    refused 1 'icectl: view add v: there is a view v of vm0 already' add v
    refused 1 'icectl: view add V: "V" is not a name .*' add V
    refused 1 'icectl: view add status: "status" is a reserved word' add status
    refused 1 'icectl: view add x: sectors 0\+4096 are outside vm0, which has 2048' add x --count 4096
    refused 1 'icectl: view add x: sectors 2048\+.* are .*vm0.*' add x --sector 2048 --count 8
    refused 1 'icectl: view add x: .*18446744073709551615.*' add x --sector 0xffffffffffffffff --count 8
    refused 1 'icectl: view add x: sectors 0\+7 are not whole data units of 4096 bytes' add x --count 7
    refused 1 'icectl: view add x: a view has at least one data unit, not 0 sectors' add x --count 0
    refused 1 'icectl: view add x: .*512.*' add x --data-unit 512 --fallback forbid
    refused 1 'icectl: view add x: .*DUN.*' add x --dun 0xffffffff --fallback forbid
    refused 1 'icectl: view add x: there is no function or layer "none"' icectl -f none view add x --alg aes-256-xts --key-file k
    refused 1 'icectl: view list: there is no function or layer "none"' icectl -f none view list
    refused 1 'icectl: view remove x: there is no view "x" of vm0' icectl view remove x
    is "$(views)" v
    add x --data-unit 512 # falls back
    is "$(icectl --json view list | jq -r '.[1].path')" fallback
}

@test "view: a function with views is not removed; removed views leave no key in a slot" {
    start --size 1M
    add v
    refused 1 'icectl: function remove vm0: view v is on it' icectl function remove vm0
    icectl view remove v
    is "$(views)" ''
    refused 1 'icectl: view remove v: there is no view "v" of vm0' icectl view remove v --wait
    icectl function remove vm0
    refused 1 'icectl: view list: the server has no function' icectl view list
}

@test "view: an open file makes it busy; --wait waits, and nobody else does" {
    start_mounted --size 1M
    add v
    is "$(stat -c %s m/view/v)" $((1 << 20)) size
    exec 9<m/view/v
    head -c 4096 m/view/v >read
    refused 1 'icectl: view remove v: view v is open' icectl view remove v
    icectl --json stats | jq -e '.keys[0] | .programs == 1 and .evictions == 0 and .hits + .waits > 0'
    icectl --json stats | jq -e '[.profile_slots[] | select(.fingerprint == "'"$(fingerprint k)"'")] | length == 1'
    icectl stats >table
    grep -qxE 'v +native +[0-9]+ +1 +1 +0 +[0-9]+ +0' table
    is "$(grep -cE "^0 +$(fingerprint k) " table)" 1 'lines of slots'
    is "$(icectl --json slot list | jq -r '.[0].owner')" 'the views of vm0'
    refused 1 'icectl: slot evict 0: .*claimed by the views of vm0.*' icectl slot evict 0
    refused 1 'icectl: slot program 0: .*claimed by the views of vm0.*' \
        icectl slot program 0 --alg aes-256-xts --key-file k
    { within icectl view remove v --wait && touch removed; } 9<&- 3>&- &
    eventually fails_with "No such file" cat m/view/v
    within icectl reset --scope device
    add other
    within icectl view remove other --wait
    [ ! -e removed ]
    exec 9<&-
    eventually test -e removed
    [ ! -e m/view/v ]
    is "$(icectl --json slot list | jq '[.[] | select(.programmed)] | length')" 0 'programmed slots'
}

@test "view: a server that is told to stop does not wait for a removal that waits" {
    start_mounted --size 1M --stop-timeout 0
    add v
    exec 9<m/view/v
    { icectl view remove v --wait 2>said || touch refused; } 9<&- 3>&- &
    eventually fails_with "No such file" cat m/view/v
    kill "$server"
    await_end
    exec 9<&-
    eventually test -e refused
    is "$(wc -l <said)" 1 lines
}

@test "layer: add prints its entry; list; views on it; what is refused" {
    start --size 4M --function vm0,slots=0+8,sectors=0+2048 \
        --function vm1,slots=8+8,sectors=2048+4096,caps=aes-256-xts:4096/65536
    icectl --json layer add both --map striped vm0 vm1 >entry
    is "$(jq -c 'del(.capabilities)' entry)" \
        '{"name":"both","map":"striped:65536","functions":["vm0","vm1"],"sectors":"0x1000"}'
    is "$(jq -c .capabilities entry)" "$(icectl -f vm1 --json caps | jq -c .)" "what all can"
    icectl layer add row --map linear vm0 vm1
    is "$(icectl --json layer list | jq -c '.[0]')" "$(cat entry)" 'entry of the list'
    icectl layer list >table
    grep -qxE 'both +striped:65536 +4096 +vm0,vm1' table
    grep -qxE 'row +linear +6144 +vm0,vm1' table
    refused 1 'icectl: layer add both: .*both.*' icectl layer add both --map linear vm0
    refused 1 'icectl: layer add vm0: .*vm0.*' icectl layer add vm0 --map linear vm1
    refused 1 'icectl: function add row: .*row.*' icectl function add row,slots=0+0,sectors=0+8
    refused 1 'icectl: layer add x: map "mirror" is none of linear, striped, striped:BYTES' \
        icectl layer add x --map mirror vm0
    refused 1 'icectl: layer add x: map "striped:4Q": "4Q" is not a size .*' \
        icectl layer add x --map striped:4Q vm0
    refused 1 'icectl: layer add x: .*4096.*' icectl layer add x --map striped:4K vm0 vm1
    refused 1 'icectl: layer add x: there is no function "vm9"' icectl layer add x --map linear vm9
    refused 1 'icectl: layer add x: function vm0 is given twice' icectl layer add x --map linear vm0 vm0
    # shellcheck disable=SC2046 # words
    refused 1 'icectl: layer add x: a layer has at most 16 functions' \
        icectl layer add x --map linear $(printf 'f%d ' {1..17})
    refused 1 'icectl: view add w: vm1: aes-256-xts is not supported with data units of 512 bytes, .*' \
        icectl -f both view add w --alg aes-256-xts --key-file k --data-unit 512 --fallback forbid
    icectl -f both view add v --alg aes-256-xts --key-file k
    is "$(views both)" v
    is "$(views vm0)" ''
    is "$(icectl -f both --json stats | jq -c '[keys, .profile_slots, (.keys | length)]')" \
        '[["keys","profile_slots"],[],1]'
    refused 1 'icectl: layer remove both: view v is on it' icectl layer remove both
    refused 1 'icectl: function remove vm1: layer .* is over it' icectl function remove vm1
    icectl -f both view remove v
    icectl layer remove both
    refused 1 'icectl: layer remove both: there is no layer "both"' icectl layer remove both
    icectl layer remove row
    icectl function remove vm1
    is "$(icectl --json layer list)" '[]'
}

@test "view and layer in a batch" {
    start --size 1M
    printf '%s\n' 'view add v --alg aes-256-xts --key-file k' '& view add w --alg aes-256-xts --key-file k' \
        wait 'view remove v --wait' 'layer add l --map linear vm0' '-f l view list' 'view remove v' >script
    run -1 --separate-stderr icectl batch script
    is "$(echo "$output" | jq -c '[.line, .command, .status]' | sort | paste -sd ' ')" \
        '[1,"view add",0] [2,"view add",0] [4,"view remove",0] [5,"layer add",0] [6,"view list",0] [7,"view remove",1]'
    is "$(echo "$output" | jq -c 'select(.line == 6).result')" '[]'
    is "$(echo "$output" | jq -r 'select(.line == 7) | "\(.errno) \(.error)"')" \
        'ENOENT view remove v: there is no view "v" of vm0'
}
