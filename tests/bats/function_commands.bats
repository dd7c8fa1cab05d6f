#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# icectl function list, add, remove; the other commands with several functions.

load helpers

setup() {
    common_setup
    requires jq
    start --size 4M --function vm0,slots=0+4,sectors=0+4096
}

names() {
    icectl --json function list | jq -r '.[].name' | paste -sd ' '
}

@test "list: a table, and one line of JSON" {
    icectl function add two,slots=8+2,sectors=4096+1024,dialect=inline,ro
    icectl function add none,slots=0+0,image=own,size=1M,strict
    icectl --json function list >document
    is "$(wc -l <document)" 1 "lines"
    is "$(jq -c '.[1]' document)" '{"name":"two","dialect":"inline","strict":false,"addressing":"virtual","slots":{"first":8,"count":2},"first_sector":"0x1000","sectors":"0x400","image":null,"read_only":true,"keys":"slots","key_types":["raw","wrapped"],"integrity":false,"clients":0}'
    is "$(jq -r '.[2].image' document | xargs basename)" own
    icectl function list >table
    is "$(wc -l <table)" 4 "lines of the table"
    grep -qxE 'vm0 +ice2 +0\.\.3 +physical +0\+4096 +[0-9]+ +- +-' table
    grep -qxE 'two +inline +8\.\.9 +virtual +4096\+1024 +[0-9]+ +ro +-' table
    grep -qxE 'none +ice2 +none +physical +0\+2048 +[0-9]+ +strict +\S*own' table
}

@test "add: the function serves when the command ends; its entry is the document" {
    icectl --json function add vm1,slots=4+4,sectors=4096+4096,addr=virtual >document
    jq -e '.name == "vm1" and .slots == {first: 4, count: 4} and .addressing == "virtual"' document
    is "$(icectl --json function list | jq -c '.[1]')" "$(jq -c . document)" "entry"
    random_file k 64
    random_file f 4096
    icectl -f vm1 slot program 3 --alg aes-256-xts --key-file k
    icectl -f vm1 io write --sector 0 --slot 3 --dun 7 f
    icectl -f vm1 io read --sector 0 --count 8 --slot 3 --dun 7 | cmp - f
    is "$(icectl -f vm1 slot list | sed -n 2,3p | tr -s ' ')" "0..2 4..6 -
3 7 aes-256-xts 4096 raw $({ printf 'icesim key\0'; cat k; } | sha256sum | head -c 16) 0"
    icectl slot list | sed 1q | grep -qv PHYSICAL
    is "$(icectl --json io id)" '{"id":"icesim-vm0"}'
    is "$(icectl -f vm1 --json io id)" '{"id":"icesim-vm1"}'
    icectl -f vm1 wait
    icectl wait
}

@test "remove: the name is gone, its slots are empty, and it can be taken again" {
    random_file k 64
    icectl function add vm1,slots=4+4,sectors=4096+4096
    icectl -f vm1 slot program 5 --alg aes-256-xts --key-file k
    icectl function remove vm1
    is "$(names)" vm0
    refused 5 "icectl: info: there is no such function in $T/run: $T/run/vm1.sock: No such file or directory" \
        icectl -f vm1 info
    refused 1 'icectl: function remove vm1: there is no function "vm1"' icectl function remove vm1
    icectl function add vm1,slots=4+4,sectors=4096+4096
    is "$(icectl -f vm1 --json slot list | jq '[.[] | select(.programmed)] | length')" 0
    icectl function remove vm0
    is "$(names)" vm1
    is "$(icectl --json info | jq -r .function)" vm1 # the first now
}

@test "a server without functions" {
    icectl function remove vm0
    is "$(icectl --json function list)" '[]'
    is "$(icectl function list | wc -l)" 1
    icectl wait
    refused 5 'icectl: info: the server has no function' icectl info
    refused 1 'icectl: slot list: the server has no function' icectl slot list
    icectl function add vm0
    icectl info
}

@test "what the server does not take is refused in its words, and nothing is added" {
    refused 1 'icectl: function add vm0: there is a function vm0 already' icectl function add vm0,slots=0+0
    refused 1 'icectl: function add vm1: .*slots=8\+.*' icectl function add vm1,slots=8+
    refused 1 'icectl: function add vm1: .*colour.*' icectl function add vm1,colour=red
    refused 1 'icectl: function add vm1: .*vm0.*' icectl function add vm1,slots=2+4,sectors=4096+8
    refused 1 'icectl: function add Vm: "Vm" is not a name .*' icectl function add Vm
    refused 1 'icectl: function add \?: .*' icectl function add $'\n'
    refused 1 'icectl: function add a+: .+' icectl function add "$(printf 'a%.0s' {1..2000})"
    is "$(names)" vm0
}

@test "64 functions, added by as many commands at once" {
    local i pids=()
    for i in $(seq 64); do
        icectl function add "f$i,slots=0+0,sectors=$((4096 + 64 * (i - 1)))+64" 3>&- &
        pids+=($!)
    done
    for i in "${pids[@]}"; do
        wait "$i"
    done
    is "$(names | wc -w)" 65
    icectl wait
    random_file f 512
    icectl -f f64 io write --sector 63 f
    icectl -f f64 io read --sector 63 --count 1 | cmp - f
    for i in $(seq 64); do
        icectl function remove "f$i"
    done
    is "$(names)" vm0
}
