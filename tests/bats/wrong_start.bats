#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Servers that must not start: exit status, one clear line, nothing changed or left behind.

load helpers

# icesim refuses to start. A server that starts nevertheless is stopped, with 124.
not_started() { # STATUS REGEX [OPTION...]
    local status=$1 regex=$2
    shift 2
    refused "$status" "icesim: $regex" within icesim --dir "$T/run" "$@" || return 1
    [ ! -e run/vm0.sock ] || is_served || {
        echo "a socket is left"
        return 1
    }
}

is_served() {
    [ -n "$server" ] && alive "$server"
}

@test "an image that another icesim uses" {
    random_file image 1M
    sum=$(sum_of image)
    ICESIM_DIR=$T/first start --image image
    not_started 1 '.*image.*locked.*' --image image
    icectl -d first info >/dev/null
    is "$(sum_of image)" "$sum" "the image"
    [ ! -e run ]
}

@test "QEMU is refused the image of a running icesim, and icesim one that QEMU has" {
    requires qemu-io qemu-img
    random_file image 1M
    sum=$(sum_of image)
    start --image image
    fails_with "lock" qemu-io -f raw -c 'write 0 512' image
    fails_with "lock" qemu-img convert -f raw -O raw image copy
    stop
    mkfifo commands
    qemu-io -f raw image <commands >qemu.log 2>&1 3>&- &
    qemu=$!
    exec 7>commands
    echo 'read 0 512' >&7
    eventually grep -q 'read 512/512' qemu.log
    not_started 1 '.*image.*locked.*' --image image
    echo quit >&7
    exec 7>&-
    wait $qemu
    is "$(sum_of image)" "$sum" "the image"
}

@test "an image whose size is no multiple of 512, or 0" {
    random_file image 1000000
    not_started 1 '.*image.* 1000000 bytes.* 512' --image image
    not_started 2 '--size 1000000: not a multiple of 512 above 0' --image image --size 1000000
    : >empty
    not_started 1 '.*empty.*' --image empty
    is "$(stat -c %s image)" 1000000
}

@test "--size that differs from the image, or neither option" {
    random_file image 1M
    not_started 1 '.*image has 1048576 bytes, not the 2097152 asked for' --image image --size 2M
    is "$(stat -c %s image)" 1048576
    not_started 1 '.*none.*does not exist.*size.*' --image none
    [ ! -e none ]
    refused 2 'icesim: .*--image.*--size.*' within icesim --dir run
}

@test "an image that is a folder, a socket, or may not be written" {
    mkdir folder
    not_started 1 '.*folder is neither a file nor a block device' --image folder
    not_started 1 '.*/dev/null.*' --image /dev/null
    not_started 1 '.*no/image.*' --image no/image --size 1M
}

@test "a mountpoint that is missing, a file, or mounted" {
    requires_fuse
    not_started 1 'mountpoint missing: No such file or directory' --size 1M --mount missing
    : >file
    not_started 1 'mountpoint file: .*not a folder' --size 1M --mount file
    ICESIM_DIR=$T/first start_mounted --size 1M
    not_started 1 'mountpoint m: .*mounted.*' --size 1M --mount m
    within stat m/raw
    is "$(mounts_below "$T" | wc -l)" 1 mounts
    [ ! -e run ]
}

@test "a mountpoint that holds files" {
    requires_fuse
    mkdir -p m
    : >m/precious
    not_started 1 'mountpoint m: .*not empty' --size 1M --mount m
    [ -e m/precious ]
}

@test "a runtime folder that may not be written" {
    mkdir folder
    if [ "$(id -u)" = 0 ]; then
        requires setpriv
        chown nobody folder
        chmod 755 folder
        refused 1 'icesim: .*folder.*Permission denied.*' \
            setpriv --bounding-set=-all --inh-caps=-all icesim --dir "$T/folder" --size 1M
        refused 1 'icesim: .*folder/run.*Permission denied.*' \
            setpriv --bounding-set=-all --inh-caps=-all icesim --dir "$T/folder/run" --size 1M
    else
        chmod 500 folder
        refused 1 'icesim: .*folder.*Permission denied.*' icesim --dir folder --size 1M
    fi
    is "$(ls -A folder)" ""
}

@test "a runtime folder that is a file, or below no folder" {
    : >file
    refused 1 'icesim: .*file.*' icesim --dir file --size 1M
    refused 1 'icesim: .*no/run.*No such file.*' icesim --dir no/run --size 1M
}

@test "a socket path above 107 bytes says so, the longest possible works" {
    long=$(printf 'x%.0s' $(seq 1 110))
    refused 1 'icesim: .*107.*' icesim --dir "$T/$long" --size 1M
    [ ! -e "$long" ]
    longest=$(printf 'x%.0s' $(seq 1 $((107 - ${#T} - 1 - 13))))
    ICESIM_DIR=$T/$longest
    is ${#ICESIM_DIR} $((107 - 13)) # /control.sock
    start --size 1M
    icectl info >/dev/null
    refused 1 'icesim: .*107.*' icesim --dir "$ICESIM_DIR"x --size 1M
}

@test "usage errors exit with 2 and start nothing" {
    for line in 'stray' '--nothing' '--size' '--size 1M stray' '--size 12Q' '--size -1' \
        '--size 1M --slots 0' '--size 1M --slots 256' '--size 1M --slots x' \
        '--size 1M --dialect ice9' '--size 1M --log-level loud' '--size 1M --stop-timeout soon' \
        '--size 1M --stop-timeout -1' '--size 1M --size 2M' '--size 1M --function' \
        '--size 1M --function host' '--size 1M --function a,slots=1' '--size 1M --reserve 8' \
        '--size 1M --reserve 32+1' '--size 1M --bitlocker-iv x' '--size 1M --strict=1' \
        '--size 1M --function a --function a' '--size 1M --function a,dun-bits=128' \
        '--size 1M --function a,caps=aes-256-xts:1000' '--size 1M --state='; do
        not_started 2 '.*' $line
        [ ! -e run ]
    done
    not_started 2 '.*slots.*300.*' --size 1M --slots 300
    not_started 2 '.*dialect.*ice9.*ice2.*' --size 1M --dialect ice9
}

@test "a size that no media can have" {
    for size in 0 1000 513; do
        not_started 2 ".*size $size.*512.*" --size $size
    done
    not_started 2 '--size: .*too large' --size 16777216T
    not_started 1 '.*too large' --size 16777215T
    [ ! -e run ]
}
