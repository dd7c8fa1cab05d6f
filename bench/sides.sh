# SPDX-License-Identifier: BSD-2-Clause
# shellcheck shell=bash disable=SC2154 # sourced by run.sh, whose variables these are
#
# What the sides of a comparison are: how each is started, measured and stopped. measure_GROUP SIDE
# LOAD prints bytes per second. Images of all sides lie in one folder, are of one size, and are
# written once before anything is measured. Data units are 512 bytes, as LUKS has no others in qemu and
# nbdkit, but for icesim's on the rings, where they are 4096.

size_mib=128
pids=() mounts=() loops=()
started_fuse='' started_ext4='' started_view=''

side_name() {
    case $1 in
    engine) echo "engine" ;;
    device) echo "whole device" ;;
    libgcrypt) echo "bare libgcrypt" ;;
    get) echo "slot's reference" ;;
    hit) echo "hit" ;;
    miss) echo "miss" ;;
    lock) echo "one mutex" ;;
    request) echo "request by slot" ;;
    program) echo "program, request by slot" ;;
    native-hit) echo "request by key" ;;
    native-miss) echo "the same, missing" ;;
    icesim) echo "icesim slot/0" ;;
    view) echo "icesim view/v" ;;
    memory) echo "FUSE file of memory" ;;
    qemu) echo "qemu-storage-daemon" ;;
    nbdkit) echo "nbdkit luks, nbdfuse" ;;
    client) echo "tagged writes" ;;
    echo) echo "bare echo" ;;
    plain) echo "icesim, plain" ;;
    tagged) echo "icesim, tagged" ;;
    raw) echo "qemu-storage-daemon raw" ;;
    luks) echo "qemu-storage-daemon LUKS" ;;
    beside) echo "slowest, stormed" ;;
    alone) echo "slowest, undisturbed" ;;
    esac
}

# ---- cipher ----

start_cipher() {
    :
}

measure_cipher() { # SIDE OP-UNIT
    "$build/bench/engine" "$1" "${2%-*}" "${2#*-}" "$seconds"
}

# ---- profile, and the disk over it ----

start_profile() {
    :
}

measure_profile() { # SIDE THREADS
    "$build/bench/profile" "$1" "$2" "$seconds"
}

# ---- files that show plaintext ----

side_file() {
    case $1 in
    icesim) echo "$work/icesim/slot/0" ;;
    view) echo "$work/icesim/view/v" ;;
    memory) echo "$work/memory/file" ;;
    qemu) echo "$work/qemu.plain" ;;
    nbdkit) echo "$work/nbdkit/file" ;;
    esac
}

# Runs a server in the background.
serve() { # COMMAND...
    "$@" >>"$work/log" 2>&1 &
    pids+=($!)
}

# A file is served once it has its size.
await_file() { # SIDE
    local file tries
    file=$(side_file "$1")
    for ((tries = 0; tries < 100; tries++)); do
        [ "$(timeout 5 stat -c %s "$file" 2>/dev/null)" != $((size_mib << 20)) ] || return 0
        sleep 0.1
    done
    fail "$(side_name "$1") does not serve: $(tail -n 1 "$work/log")"
}

start_icesim() {
    [ ! -d "$work/icesim" ] || return 0
    mkdir "$work/icesim"
    mounts+=("$work/icesim")
    serve "$build/icesim" --image "$work/icesim.img" --size ${size_mib}M --dir "$work/run" \
        --mount "$work/icesim" --log-level error
    (umask 077 && head -c 64 /dev/urandom >"$work/key")
    { "$build/icectl" -d "$work/run" wait && "$build/icectl" -d "$work/run" slot program 0 \
        --alg aes-256-xts --key-file "$work/key" --data-unit 512; } >>"$work/log" 2>&1 &&
        await_file icesim
}

start_memory() {
    mkdir "$work/memory"
    mounts+=("$work/memory")
    serve "$build/bench/memfuse" "$work/memory" $((size_mib << 20))
    await_file memory
}

# The header of LUKS1 takes 2 MiB.
make_luks() { # IMAGE
    truncate -s $((size_mib + 2))M "$1" &&
        cryptsetup luksFormat --type luks1 --batch-mode --cipher aes-xts-plain64 --key-size 512 \
            --hash sha256 --pbkdf-force-iterations 1000 --key-file "$work/passphrase" "$1" \
            >>"$work/log" 2>&1 || fail "cryptsetup: $(tail -n 1 "$work/log")"
}

start_qemu() {
    make_luks "$work/qemu.img"
    : >"$work/qemu.plain"
    mounts+=("$work/qemu.plain")
    serve qemu-storage-daemon --object "secret,id=secret,file=$work/passphrase" \
        --blockdev "driver=file,node-name=image,filename=$work/qemu.img" \
        --blockdev driver=luks,node-name=plain,file=image,key-secret=secret \
        --export "fuse,id=file,node-name=plain,mountpoint=$work/qemu.plain,writable=on"
    await_file qemu
}

start_nbdkit() {
    local tries
    make_luks "$work/nbdkit.img"
    mkdir "$work/nbdkit"
    serve nbdkit -f -U "$work/nbdkit.sock" --filter=luks file "$work/nbdkit.img" \
        "passphrase=+$work/passphrase"
    for ((tries = 0; tries < 100; tries++)); do
        [ ! -S "$work/nbdkit.sock" ] || break
        sleep 0.1
    done
    mounts+=("$work/nbdkit")
    serve nbdfuse "$work/nbdkit/file" --unix "$work/nbdkit.sock"
    await_file nbdkit
}

start_fuse() {
    local side
    [ -z "$started_fuse" ] || return 0
    [ "$(id -u)" = 0 ] || fail "run as root: FUSE and loop devices of all sides need it"
    started_fuse=yes
    printf bench >"$work/passphrase"
    for side in icesim memory qemu nbdkit; do
        "start_$side" || fail "$(side_name $side) cannot start: $(tail -n 1 "$work/log")"
        dd if=/dev/urandom of="$(side_file $side)" bs=1M count=$size_mib conv=notrunc \
            status=none 2>>"$work/log" || fail "$(side_name $side): $(tail -n 1 "$work/log")"
    done
}

# fio's third terse format: field 7 is what was read, 48 what was written, in KiB/s.
run_fio() { # FIO-ARGUMENT...
    timeout 60 fio --name=bench --ioengine=psync --thread --group_reporting --gtod_reduce=1 \
        --norandommap --randrepeat=0 --invalidate=0 --fallocate=none \
        --output-format=terse --terse-version=3 "$@" |
        awk -F';' '$1 == 3 && $5 == 0 { printf "%.0f\n", ($7 + $48) * 1024 }'
}

milliseconds() {
    awk -v s="$seconds" 'BEGIN { printf "%.0fms", s * 1000 }'
}

measure_fuse() { # SIDE LOAD-JOBS
    local load=${2%-*} jobs=${2#*-} range
    case $load in
    rand*) range="--bs=4k --size=${size_mib}M" ;;
    *) range="--bs=1M --size=$((size_mib / jobs))M --offset_increment=$((size_mib / jobs))M" ;;
    esac
    # shellcheck disable=SC2086 # a list of words
    run_fio --filename="$(side_file "$1")" --allow_file_create=0 --direct=1 --rw="$load" \
        --numjobs="$jobs" $range --time_based --runtime="$(milliseconds)"
}

# ---- a view: the same key over the same image as slot 0 ----

start_view() {
    [ -z "$started_view" ] || return 0
    started_view=yes
    start_icesim
    "$build/icectl" -d "$work/run" view add v --alg aes-256-xts --key-file "$work/key" \
        --data-unit 512 >>"$work/log" 2>&1 && await_file view &&
        dd if=/dev/urandom of="$(side_file view)" bs=1M count=$size_mib conv=notrunc status=none \
            2>>"$work/log"
}

measure_view() { # SIDE LOAD-JOBS
    measure_fuse "$@"
}

# ---- ext4 on a loop device on each ----
# Direct I/O for all loop devices: else what qemu and nbdkit are given stays in the page cache of their
# files until an fsync.

start_ext4() {
    local side loop
    [ -z "$started_ext4" ] || return 0
    start_fuse
    started_ext4=yes
    for side in icesim memory qemu nbdkit; do
        loop=$(losetup --find --show --direct-io=on "$(side_file $side)" 2>>"$work/log") &&
            loops+=("$loop") && mkdir "$work/$side.ext4" &&
            mkfs.ext4 -q -E nodiscard,lazy_itable_init=0,lazy_journal_init=0 "$loop" \
                >>"$work/log" 2>&1 && mount "$loop" "$work/$side.ext4" 2>>"$work/log" ||
            fail "ext4 on $(side_name $side): $(tail -n 1 "$work/log")"
        mounts+=("$work/$side.ext4")
    done
}

measure_ext4() { # SIDE LOAD
    case $2 in
    write-64m) # dd's time includes the fsync
        dd if=/dev/zero of="$work/$1.ext4/file" bs=1M count=64 conv=fsync,notrunc 2>&1 |
            awk '/ copied, / { printf "%.0f\n", $1 / $(NF - 3) }'
        ;;
    sync-4k)
        run_fio --directory="$work/$1.ext4" --rw=randwrite --bs=4k --size=16M --fsync=1 \
            --time_based --runtime="$(milliseconds)"
        ;;
    esac
}

# ---- socket ----

start_socket() {
    start_icesim
}

measure_socket() { # SIDE BYTES-IN_FLIGHT
    case $1 in
    client)
        "$build/bench/socket" "$work/run/vm0.sock" "${2%-*}" "${2#*-}" "$seconds"
        ;;
    echo) "$build/bench/echo" "${2%-*}" "${2#*-}" "$seconds" ;;
    esac
}

# ---- vhost: one front end drives the rings of each ----

# Waits for a socket that listens; servers make the name before they do.
await_socket() { # PATH SIDE
    local tries
    for ((tries = 0; tries < 100; tries++)); do
        [ ! -S "$1" ] || return 0
        sleep 0.1
    done
    fail "$(side_name "$2") does not serve: $(tail -n 1 "$work/log")"
}

serve_ring() { # SIDE BLOCKDEV-ARGUMENT...
    local side=$1
    shift
    serve qemu-storage-daemon "$@" --export \
        "vhost-user-blk,id=ring,node-name=$side,addr.type=unix,addr.path=$work/$side.ring,writable=on"
    await_socket "$work/$side.ring" "$side"
}

start_vhost() {
    local side
    [ ! -S "$work/plain.ring" ] || return 0
    (umask 077 && head -c 64 /dev/urandom >"$work/ring.key")
    serve "$build/icesim" --image "$work/ring.img" --size ${size_mib}M --dir "$work/ring" \
        --vhost-user "vm0=$work/plain.ring" --log-level error
    { "$build/icectl" -d "$work/ring" wait && "$build/icectl" -d "$work/ring" slot program 0 \
        --alg aes-256-xts --key-file "$work/ring.key" --data-unit 4096; } >>"$work/log" 2>&1 ||
        return 1
    ln -s plain.ring "$work/tagged.ring"
    truncate -s ${size_mib}M "$work/raw.img"
    serve_ring raw --blockdev "driver=file,node-name=raw,filename=$work/raw.img"
    printf bench >"$work/passphrase"
    make_luks "$work/luks.img"
    serve_ring luks --object "secret,id=secret,file=$work/passphrase" \
        --blockdev "driver=file,node-name=image,filename=$work/luks.img" \
        --blockdev driver=luks,node-name=luks,file=image,key-secret=secret
    for side in tagged raw luks; do
        "$build/bench/vhost" "$side" "$work/$side.ring" fill 1048576 1 "$seconds" \
            >>"$work/log" 2>&1 || return 1
    done
}

measure_vhost() { # SIDE LOAD-IN_FLIGHT
    local load=${2%-*} bytes=1048576
    case $load in rand*) bytes=4096 ;; esac
    "$build/bench/vhost" "$1" "$work/$1.ring" "$load" $bytes "${2#*-}" "$seconds"
}

# ---- isolation: 64 functions, each with a driver, and hostile drivers on three more ----

start_isolation() {
    local i dialects=(ice1 ice2 inline) options=()
    for i in $(seq 0 66); do
        options+=(--function "f$i,dialect=${dialects[i % 3]},slots=$((i * 3))+3,sectors=$((i * 2048))+2048")
    done
    serve "$build/icesim" --size 67M --slots 201 --dir "$work/many" --log-level error "${options[@]}"
    "$build/icectl" -d "$work/many" wait >>"$work/log" 2>&1
}

# The slowest of the 64 drivers.
measure_isolation() { # SIDE LOAD
    local names=() i count=1
    for i in $(seq 3 66); do
        names+=("f$i")
    done
    [ "$1" = alone ] || count=30000
    "$build/tests/tools/icestorm" "$work/many" $count 1 "$seconds" f0,f1,f2 "${names[@]}" \
        2>>"$work/log" | sed -n "s/.*\"slowest_$1\":\([0-9]*\).*/\1/p"
}

# In the reverse order, so that nothing that is stopped is still in use.
stop_sides() {
    local i
    for ((i = ${#mounts[@]} - 1; i >= 0; i--)); do
        case ${mounts[i]} in *.ext4) umount "${mounts[i]}" ;; esac
    done
    for i in ${loops[@]+"${loops[@]}"}; do
        losetup --detach "$i"
    done
    for ((i = ${#mounts[@]} - 1; i >= 0; i--)); do
        case ${mounts[i]} in *.ext4) ;; *) umount --lazy "${mounts[i]}" 2>/dev/null ;; esac
    done
    for i in ${pids[@]+"${pids[@]}"}; do
        kill "$i" 2>/dev/null
    done
    wait
}
