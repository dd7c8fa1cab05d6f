#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Benchmarks: how fast icesim is, as ratios. Nothing here is a bare time.
#
#   bench/run.sh [--pairs N] [--seconds S] [--folder DIR] [--build DIR] [CASE...]
#
#   --pairs N      measurements of each side, in alternation (11; fewer say little)
#   --seconds S    how long one measurement takes (0.5)
#   --folder DIR   where the images of all sides are kept (/dev/shm)
#   --build DIR    a configured build to measure (else one is made, with -O2)
#   --list         print the names of the cases
#   CASE           only cases whose name begins so: `fuse/rand`, `engine`
#
# Prints one line per case: name, A, B, median of A/B over the pairs, its quartiles and extremes; A
# and B are throughputs. Exit status: 1 when a side cannot be measured, or a ratio is less than it has
# to be; 2 usage. Installs what it needs (Debian packages, as root or by sudo). bench/README.md says what the
# cases mean.

set -u
exec </dev/null
export LC_ALL=C.UTF-8

packages="autoconf automake libtool pkg-config gcc libc6-dev make
    libfuse3-dev libgcrypt20-dev libcbor-dev libargtable2-dev
    cryptsetup-bin e2fsprogs fio fuse3 libnbd-bin mount nbdkit qemu-system-common util-linux"

fuse_loads="write-1 read-1 write-4 read-4 randwrite-1 randread-1 randwrite-4 randread-4"
vhost_loads="write-1 read-1 write-32 read-32 randwrite-1 randread-1 randwrite-32 randread-32"

root=$(cd "$(dirname "$0")/.." && pwd)
pairs=11 seconds=0.5 folder=/dev/shm build='' work=''
# shellcheck source=sides.sh
. "$root/bench/sides.sh"

fail() {
    echo "bench/run.sh: $*" >&2
    exit 1
}

usage() {
    echo "bench/run.sh: $*" >&2
    exit 2
}

# Lines: CASE WORKLOAD A B KIND. Cases of one workload share its measurements. KIND: `bound` is the
# most that can be had, `peer` is another implementation, never to be slower than, `half` one that A
# is to be twice as fast as, `other` one that is compared with and no more, `tenth` what A is never to
# have less than a tenth of.
all_cases() {
    local op unit side load
    for unit in 512 4096; do
        for op in encrypt decrypt; do
            for side in engine device; do
                echo "$side/$op-$unit cipher/$op-$unit $side libgcrypt bound"
            done
        done
    done
    echo "profile/hit profile/1 hit get bound"
    echo "profile/miss profile/1 miss get bound"
    echo "native/hit profile/1 native-hit request bound"
    echo "native/miss profile/1 native-miss program bound"
    echo "native/miss/hit profile/1 native-miss native-hit bound"
    echo "profile/hit-4 profile/4 hit get bound"
    echo "profile/contended profile/4 miss lock bound"
    echo "native/hit-4 profile/4 native-hit request bound"
    echo "native/contended profile/4 native-miss program bound"
    for load in $fuse_loads; do
        echo "view/$load view/$load view icesim bound"
    done
    for load in $fuse_loads; do
        for side in memory qemu nbdkit; do
            echo "fuse/$load/$side fuse/$load icesim $side $(kind_of $side)"
        done
    done
    for load in write-64m sync-4k; do
        for side in memory qemu nbdkit; do
            echo "ext4/$load/$side ext4/$load icesim $side $(kind_of $side)"
        done
    done
    for load in 4096-1 4096-32 1048576-4; do
        echo "socket/write-$load socket/$load client echo bound"
    done
    for load in $vhost_loads; do
        echo "vhost/$load/raw vhost/$load plain raw other"
        echo "vhost/$load/luks vhost/$load tagged luks half"
        echo "vhost/$load/plain vhost/$load tagged plain bound"
    done
    echo "isolation/64 isolation/64 beside alone tenth"
}

kind_of() {
    case $1 in memory) echo bound ;; *) echo peer ;; esac
}

select_cases() { # PREFIX...
    local name rest prefix
    all_cases | while read -r name rest; do
        [ $# -gt 0 ] || echo "$name $rest"
        for prefix; do
            case $name in "$prefix"*)
                echo "$name $rest"
                break
                ;;
            esac
        done
    done
}

install_packages() {
    local package sudo='' missing=()
    for package in $packages; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || sudo=sudo
    echo "installing ${missing[*]}" >&2
    export DEBIAN_FRONTEND=noninteractive
    { $sudo apt-get -qq update && $sudo apt-get -qq -y --no-install-recommends install \
        "${missing[@]}"; } >"$work/log" 2>&1 || fail "packages: $(tail -n 1 "$work/log")"
}

build_programs() {
    if [ -z "$build" ]; then
        echo "building" >&2
        build=$work/build
        mkdir "$work/source" "$build"
        { tar -C "$root" --exclude=./.git --exclude=./config.status --exclude=./Makefile \
            --exclude='*.o' --exclude='*.a' --exclude=.deps -cf - . |
            tar -C "$work/source" -xf - && cd "$work/source" && autoreconf -fi &&
            cd "$build" && ../source/configure -q CFLAGS=-O2; } >"$work/log" 2>&1 ||
            fail "configure: $(tail -n 1 "$work/log")"
    fi
    make -C "$build" -j"$(nproc)" all bench tests/tools/icestorm >"$work/log" 2>&1 ||
        fail "make: $(grep -m 1 -i error "$work/log")"
}

# Measures every side of a workload `pairs` times. Each round begins with another side.
measure_workload() { # WORKLOAD SIDE...
    local workload=$1 round side i rate
    shift
    local sides=("$@") count=$#
    mkdir -p "$work/rates/$workload"
    for ((round = 0; round < pairs; round++)); do
        for ((i = 0; i < count; i++)); do
            side=${sides[(round + i) % count]}
            rate=$("measure_${workload%%/*}" "$side" "${workload#*/}" 2>"$work/log")
            [[ $rate =~ ^[1-9][0-9]*$ ]] ||
                fail "$workload: $(side_name "$side"): no rate: $(tail -n 1 "$work/log")"
            echo "$rate" >>"$work/rates/$workload/$side"
        done
    done
}

# Of the ratios of the rounds: median, quartiles, extremes.
print_case() { # CASE WORKLOAD A B KIND
    paste "$work/rates/$2/$3" "$work/rates/$2/$4" | awk '{ print $1 / $2 }' | sort -g |
        awk -v name="$1" -v a="$(side_name "$3")" -v b="$(side_name "$4")" -v kind="$5" '
            function at(part,   where, low) {
                where = 1 + (NR - 1) * part
                low = int(where)
                return low == NR ? r[NR] : r[low] + (where - low) * (r[low + 1] - r[low])
            }
            { r[NR] = $1 }
            END {
                median = at(0.5)
                least = kind == "peer" ? 1 : kind == "half" ? 2 : kind == "tenth" ? 0.1 : 0
                note = median < least ? "  SLOWER" : ""
                printf "%-24s %-18s %-24s %6.2f  %5.2f..%-5.2f  %5.2f..%-5.2f%s\n", name, a, b,
                    median, at(0.25), at(0.75), r[1], r[NR], note
                exit note != ""
            }'
}

clean_up() {
    stop_sides
    [ -z "$work" ] || rm -rf "$work"
}

wanted=()
while [ $# -gt 0 ]; do
    case $1 in
    --help)
        sed -n '4,/^$/s/^# \{0,1\}//p' "$0"
        exit 0
        ;;
    --list)
        all_cases | cut -d' ' -f1
        exit 0
        ;;
    --pairs | --seconds | --folder | --build)
        [ $# -gt 1 ] || usage "$1: the value is missing"
        declare "${1#--}=$2"
        shift
        ;;
    -*) usage "$1: unknown option" ;;
    *) wanted+=("$1") ;;
    esac
    shift
done
[[ $pairs =~ ^[1-9][0-9]*$ ]] || usage "--pairs $pairs: not a number above 0"
[[ $seconds =~ ^[0-9]+(\.[0-9]+)?$ ]] || usage "--seconds $seconds: not a number"
cases=$(select_cases ${wanted[@]+"${wanted[@]}"})
[ -n "$cases" ] || usage "${wanted[*]}: no such case"

trap clean_up EXIT
trap 'exit 1' INT TERM
work=$(mktemp -d "$folder/icesim-bench.XXXXXX") || exit 1
install_packages
build_programs
status=0
printf '%-24s %-18s %-24s %6s  %-12s  %s\n' case A B A/B quartiles extremes
for workload in $(echo "$cases" | cut -d' ' -f2 | uniq); do
    of_workload=$(echo "$cases" | awk -v w="$workload" '$2 == w')
    measured=$(echo "$of_workload" | awk '{ print $3; print $4 }' | sort -u)
    "start_${workload%%/*}" || fail "$workload cannot start: $(tail -n 1 "$work/log")"
    # shellcheck disable=SC2086 # a list of words
    measure_workload "$workload" $measured
    while read -r line; do
        # shellcheck disable=SC2086 # fields
        print_case $line || status=1
    done <<<"$of_workload"
done
exit $status
