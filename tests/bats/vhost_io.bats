#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# Requests by virtqueues: what is stored, what the sockets see of it, and all fronts at once.

load vhost

# Programmed and written by a ring: as libcrypto has it, and as the socket reads it; and the reverse.
both_ways() { # DIALECT
    local front_end=(front --dialect "$1")
    start_vhost --size 16M --dialect "$1"
    random_file k3 64
    random_file k5 64
    random_file plain $((3 << 20))

    "${front_end[@]}" program 3 --key-file k3
    is "$(icectl --json slot list | jq -r '.[3].fingerprint')" "$(fingerprint k3)"
    "${front_end[@]}" write plain --sector 72 --slot 3 --dun 7
    stored_is plain 72 aes-256-xts 7 k3
    icectl io read --sector 72 --count 6144 --slot 3 --dun 7 -o got
    cmp plain got

    icectl slot program 5 --alg aes-256-xts --key-file k5
    icectl io write --sector 16384 --slot 5 --dun 0xfffffff0 plain
    "${front_end[@]}" read got --sector 16384 --count 6144 --slot 5 --dun 0xfffffff0
    cmp plain got

    "${front_end[@]}" evict 3
    refused 3 '.*slot 3 .*' icectl io read --sector 72 --count 8 --slot 3 --dun 7
    icectl slot evict 5
    run -3 "${front_end[@]}" read got --sector 16384 --count 8 --slot 5 --dun 0
    is "$(slot_column programmed | jq -c unique)" "[false]"
}

@test "ice2: keys, tagged writes and reads by ring and by socket are the same slots' and media's" {
    both_ways ice2
}

@test "inline: the same, keys on the control queue" {
    both_ways inline
}

@test "ice1: the same" {
    both_ways ice1
}

# A verified load in each shape that a VMM may choose.
shape() { # OPTION...
    echo "# $*"
    front "$@" io --sector 8 --count 8192 --requests 3000 --depth 16 --block 8192 --image want >said
    stored_is want 8
    front "$@" io --sector 8192 --count 8192 --requests 3000 --depth 16 --slot 0 --dun 9 --image want >said
    stored_is want 8192 aes-256-xts 9 k0
}

@test "queues, memory, rings and notifications of every shape carry verified requests" {
    start_vhost --size 16M
    program 0
    shape --queues 4
    shape --queues 16 --size 16 --regions 8
    shape --regions 1 --size 1024
    shape --without indirect,event-idx
    shape --without mem-slots,reply-ack --regions 7
    shape --without channel,inflight,status
    shape --without mq
    shape --with in-band --queues 2
    shape --with in-band --without event-idx
    stop
}

@test "requests of odd sizes: one sector, a megabyte; FLUSH, DISCARD, WRITE_ZEROES" {
    start_vhost --size 16M
    program 0 aes-256-xts 512
    front io --block 512 --count 2048 --depth 32 --requests 6000 --slot 0 --data-unit 512 >said
    front --queues 2 io --block 1048576 --depth 4 --requests 60 --image want >said
    stored_is want 0
    front flush
    zero_file zeros 65536
    front zero --sector 128 --count 128
    stored_is zeros 128
    front discard --sector 2048 --count 128
    front read got --sector 2048 --count 128
    is "$(stat -c %s got)" 65536
}

@test "rings that stop and start again go on" {
    start_vhost --size 8M
    begin_front --queues 3
    random_file plain 1048576
    for n in 0 2048 4096; do
        front_says 0 write plain --sector $n
        front_says 0 stop
        front_says 0 read got --sector $n --count 2048
        cmp plain got
    done
    front_says 0 io --depth 8 --requests 3000
    front_says 0 stop
    front_says 0 io --depth 8 --requests 3000 --seed 2
    end_front
}

@test "a file, a socket without inline crypto and a front end at once on one function" {
    start_mounted --image img --size 32M --vhost-user vm0="$T/guest"
    program 1
    program 2
    front --queues 2 io --sector 32768 --depth 16 --requests $((20000 * SCALE)) --slot 2 --dun 77 \
        --image want >said &
    local ring=$!
    (
        for n in {1..4}; do
            within python3 - m/slot/1 "$n" <<'END'
import os, random, sys
rng = random.Random(int(sys.argv[2]))
fd = os.open(sys.argv[1], os.O_RDWR)
blocks = {}
for _ in range(400):
    at = rng.randrange(0, (8 << 20) // 4096) * 4096
    if at in blocks and rng.random() < 0.5:
        assert os.pread(fd, 4096, at) == blocks[at], at
    else:
        blocks[at] = rng.randbytes(4096)
        assert os.pwrite(fd, blocks[at], at) == 4096
for at, data in blocks.items():
    assert os.pread(fd, 4096, at) == data, at
END
        done
    ) 3>&- &
    local file=$!
    driver <<'END'
import random
rng = random.Random(5)
device = Device(VERSION_1)
sectors = {}
for _ in range(2000):
    at = rng.randrange(16384, 32768)
    if at in sectors and rng.random() < 0.5:
        assert device.read(at, 512) == sectors[at], at
    else:
        sectors[at] = rng.randbytes(512)
        device.write(at, sectors[at])
for at, data in sectors.items():
    assert device.read(at, 512) == data, at
END
    wait $file
    wait $ring
    stored_is want 32768 aes-256-xts 77 k2
    stop
}
