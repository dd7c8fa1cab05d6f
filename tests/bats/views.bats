#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Views and layers as files of the mount: their names and modes, what keeps them, what they keep.

load helpers

# A view of 1 MiB with a new key.
add_view() { # FUNCTION NAME [OPTION...]
    local function=$1 name=$2
    shift 2
    random_file "key-$name" 64
    icectl -f "$function" view add "$name" --alg aes-256-xts --key-file "key-$name" "$@"
}

start_two() { # [OPTION-OF-VM1]
    start_mounted --size 4M --function vm0,slots=0+2,sectors=0+4096 \
        --function "vm1,slots=2+2,sectors=4096+4096${1:-}"
}

@test "a view is a file of its range, in the function's folder and, of the first, at the top" {
    start_two
    add_view vm0 a --sector 3 --count 2048
    add_view vm1 b --data-unit 65536
    is "$(within ls m/view m/vm0/view m/vm1/view | tr '\n' ' ')" "m/view: a  m/vm0/view: a  m/vm1/view: b "
    [ m/view/a -ef m/vm0/view/a ]
    is "$(within stat -c '%a %s %o' m/view/a m/vm1/view/b | tr '\n' ';')" \
        "600 1048576 4096;600 2097152 65536;"
    fails_with "No such file" stat m/view/b
    random_file data 100000
    within dd if=data of=m/view/a bs=7777 seek=3 conv=notrunc,fsync status=none
    within dd if=m/view/a bs=7777 skip=3 count=13 status=none | head -c 100000 | cmp - data
    is "$(within dd if=m/raw bs=512 skip=2051 count=8 status=none | sum_of /dev/stdin)" \
        "$(sum_of <(head -c 4096 /dev/zero))" "sectors behind the view"
    icectl view remove a --wait
    is "$(within ls m/view)$(within ls m/vm0/view)" ""
    add_view vm0 a
    is "$(within ls m/view)" a
}

@test "inode numbers of views are not used again" {
    start_mounted --size 1M
    add_view vm0 a
    first=$(within stat -c %i m/view/a)
    icectl view remove a
    add_view vm0 a
    [ "$(within stat -c %i m/view/a)" != "$first" ]
}

@test "status.json has the views" {
    requires jq
    start_two
    add_view vm1 b
    within cat m/vm1/status.json | jq -S .views >got
    icectl --json -f vm1 view list | jq -S . | diff - got
    is "$(jq -r '.[].name' got)" b
    is "$(within cat m/status.json | jq -c .views)" '[]'
}

@test "an open view is not removed, one that is being removed is not opened" {
    start_mounted --size 1M
    add_view vm0 a
    exec 4<>m/view/a
    fails_with "icectl: view remove a: view a is open" icectl view remove a
    echo hello >&4
    is "$(within head -c 5 m/view/a)" hello
    icectl view remove a --wait 3>&- 4>&- &
    eventually fails_with "No such file" cat m/view/a
    alive $!
    fails_with "view a is being removed" icectl view remove a
    fails_with "view a is on it" icectl function remove vm0
    icectl reset --scope engine # another's message is served meanwhile
    echo again >&4
    exec 4>&-
    wait $!
    is "$(icectl --json view list)" '[]'
    icectl function remove vm0
}

@test "a stop ends the wait of a removal, and names the view that is open" {
    start_mounted --size 1M --stop-timeout 0
    add_view vm0 a
    exec 4<>m/view/a
    icectl view remove a --wait 3>&- 4>&- 2>complaint &
    waiting=$!
    eventually fails_with "No such file" cat m/view/a
    kill "$server"
    await_end
    exec 4>&-
    is "$ended" 1
    grep -q "cut off: view/a" log
    fails=0
    wait $waiting || fails=$?
    [ "$fails" -ne 0 ]
}

@test "views of a read-only function are read, with or without its slots" {
    start_two ,ro
    add_view vm1 b
    is "$(within stat -c '%a' m/vm1/view/b)" 400
    fails_with "" dd if=/dev/zero of=m/vm1/view/b bs=4096 count=1 conv=notrunc
    within head -c 4096 m/vm1/view/b >/dev/null
}

@test "a layer is a folder of raw and its views, and keeps its functions" {
    start_two
    icectl layer add l0 --map linear vm0 vm1
    is "$(within ls m m/l0 | tr '\n' ' ')" "m: l0 raw slot status.json view vm0 vm1  m/l0: raw view "
    is "$(within stat -c '%a %s' m/l0/raw)" "600 4194304"
    add_view l0 a --sector 4000 --count 192
    random_file data 98304
    within dd if=data of=m/l0/view/a conv=notrunc status=none
    within cmp m/l0/view/a data
    within dd if=m/l0/raw bs=512 skip=4000 count=192 status=none >stored
    within dd if=m/raw bs=512 skip=4000 count=192 status=none | cmp - stored
    run cmp -s stored data
    is "$status" 1
    within dd if=data of=m/l0/raw bs=1000 seek=5 count=7 conv=notrunc status=none
    within dd if=m/vm0/raw bs=1000 skip=5 count=7 status=none | cmp -n 7000 - data
    fails_with "layer l0 is over it" icectl function remove vm1
    fails_with "view a is on it" icectl layer remove l0
    fails_with "there is a layer l0 already" icectl function add l0,slots=0+0
    icectl -f l0 view remove a --wait
    exec 4<m/l0/raw
    fails_with "file l0/raw is open" icectl layer remove l0
    exec 4>&-
    eventually icectl layer remove l0
    fails_with "No such file" ls m/l0
    icectl function remove vm1
}
