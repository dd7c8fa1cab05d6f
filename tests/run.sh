#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# All tests, from a fresh Debian 12. Ends with `N passed, N failed, N skipped`, counted over every
# TAP line of every stage; exit 1 when something failed.
#
#   tests/run.sh [STAGE...]
#
#   check     gcc, warnings are errors; make check: source checks, unit tests, bats
#   guest     real kernels attach: under QEMU, and user-mode Linux
#   clang     clang builds all of it, warnings are errors
#   asan      make check under AddressSanitizer and UndefinedBehaviorSanitizer
#   tsan      unit tests under ThreadSanitizer
#   valgrind  unit tests under valgrind
#   fuzz      the fuzz targets, FUZZ_SECONDS each
#   static    clang-tidy and cppcheck
#   dist      make distcheck
#   install   a staged install is whole, and uninstall leaves nothing
#
# It installs missing Debian packages (as root, or by sudo), works on a copy of the tree in a
# temporary folder and removes that at the end. ICESIM_TEST_SCALE: 1, the default, is a tenth of
# full scale, 10 is full scale. ICESIM_KEEP=1 keeps the folder.

set -u
exec </dev/null
export LC_ALL=C.UTF-8 ICESIM_TEST_SCALE="${ICESIM_TEST_SCALE:-1}"

build_packages="autoconf automake libtool pkg-config gcc libc6-dev make
    libfuse3-dev libgcrypt20-dev libcbor-dev libargtable2-dev"
test_packages="bats busybox-static clang clang-tidy cpio cppcheck cryptsetup-bin dmsetup e2fsprogs fio
    fuse3 jq libclang-rt-dev libssl-dev mandoc mount procps python3 python3-cryptography
    qemu-system-x86 qemu-utils strace user-mode-linux util-linux valgrind
    xxd"

root=$(cd "$(dirname "$0")/.." && pwd)
jobs=$(nproc)
passed=0 failed=0 skipped=0

install_packages() {
    command -v dpkg-query >/dev/null || return 0
    local package sudo='' missing=()
    for package in $build_packages $test_packages; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' ||
            missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    [ "$(id -u)" = 0 ] || sudo=sudo
    echo "== installing ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    { $sudo apt-get -qq update && $sudo apt-get -qq -y --no-install-recommends install \
        "${missing[@]}"; } >"$work/apt.log" 2>&1 && return 0
    tail -n 20 "$work/apt.log"
    echo "some packages could not be installed: what needs them is skipped, or fails"
}

# A result that is one test.
result() { # STATUS NAME [LOG]
    if [ "$1" = 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "-- FAILED: $2"
        [ $# -lt 3 ] || tail -n 60 "$3"
    fi
}

# Counts what a `make check` left in a build; shows the logs of failed tests and what was skipped.
count_results() { # BUILD
    local trs bad='^:test-result: \(FAIL\|ERROR\|XPASS\)' p=0 f=0 s=0
    while read -r trs; do
        p=$((p + $(grep -c '^:test-result: X\?PASS' "$trs")))
        f=$((f + $(grep -c "$bad" "$trs")))
        s=$((s + $(grep -c '^:test-result: SKIP' "$trs")))
        if grep -q "$bad" "$trs"; then
            echo "-- FAILED: ${trs#"$1"/}"
            grep -v '^ok \|^PASS:\|^SKIP:' "${trs%.trs}.log" | tail -n 200
            echo "--"
        fi
        sed -n 's/^SKIP: /   skipped: /p' "${trs%.trs}.log"
    done < <(find "$1" -name '*.trs' | sort)
    echo "   $p passed, $f failed, $s skipped"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    [ $((p + s)) -gt 0 ] || result 1 "no test ran"
}

# A copy, so that a tree that is configured in place, or is somebody else's, stays as it is.
prepare_source() {
    mkdir "$work/source" &&
        tar -C "$root" --exclude=./.git --exclude=./config.status --exclude=./Makefile \
            --exclude='*.o' --exclude='*.a' --exclude=.deps -cf - . | tar -C "$work/source" -xf - &&
        (cd "$work/source" && autoreconf -fi) >"$work/autoreconf.log" 2>&1
}

# Counts the TAP lines of a log; shows what failed.
count_lines() { # LOG
    local p f s
    p=$(grep -c '^ok ' "$1") f=$(grep -c '^not ok ' "$1") s=$(grep -c '^1\.\.0 # SKIP' "$1")
    [ "$f" = 0 ] || sed -n '/^not ok /,/^ok /{/^ok /!p}' "$1"
    sed -n 's/^1\.\.0 # SKIP/   skipped:/p' "$1"
    echo "   $p passed, $f failed, $s skipped"
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    [ $((p + f + s)) -gt 0 ] || result 1 "no test ran" "$1"
}

# Configures and builds everything, tests too, unless that was done.
build() { # NAME CONFIGURE-ARGUMENT...
    local name=$1
    shift
    [ ! -e "$work/$name/built" ] || return 0
    mkdir -p "$work/$name"
    (cd "$work/$name" && ../source/configure -q --enable-werror "$@" &&
        make -j"$jobs" all && make -j"$jobs" check TESTS= && touch built) >"$work/$name.log" 2>&1
    local status=$?
    result $status "build $name" "$work/$name.log"
    return $status
}

run_check() { # BUILD MAKE-ARGUMENT...
    local name=$1
    shift
    find "$work/$name" -name '*.trs' -delete
    (cd "$work/$name" && make -k check "$@") >"$work/$name-check.log" 2>&1
    count_results "$work/$name"
}

# All of `make check`. The tests of programs keep more than one core busy by themselves.
check_all() { # BUILD
    run_check "$1" -j"$jobs" TESTS='$(source_tests) $(unit_tests)'
    run_check "$1" TESTS='$(bats_tests)'
}

stage_check() {
    build gcc && check_all gcc
}

stage_guest() {
    build gcc && run_check gcc TESTS='$(guest_tests)'
}

stage_clang() {
    build clang CC=clang
}

stage_asan() {
    export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
    export UBSAN_OPTIONS=print_stacktrace=1
    local flags='-g -O1 -fno-omit-frame-pointer'
    build asan CFLAGS="$flags -fsanitize=address,undefined -fno-sanitize-recover=all" &&
        check_all asan
    unset ASAN_OPTIONS UBSAN_OPTIONS
}

# The runtime of gcc 12 does not know the wide address randomisation of newer kernels.
stage_tsan() {
    local fixed='setarch -R'
    $fixed true 2>/dev/null || fixed=
    build tsan CFLAGS='-g -O1 -fsanitize=thread' &&
        run_check tsan -j"$jobs" TESTS='$(unit_tests)' LOG_COMPILER="$fixed"
}

# All but one: thousands of comparisons with libcrypto, which take minutes there. A handled SIGBUS
# goes back into the middle of a block, where valgrind has all registers only if told to; as that
# costs a tenth, only tests that have one are run so.
stage_valgrind() {
    local sigbus='%/guest_memory %/vhost_cut %/vhost_storm %/vhost_user' flags='-q --fair-sched=yes'
    flags="$flags --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite"
    build gcc || return
    run_check gcc -j"$jobs" LOG_COMPILER=valgrind LOG_FLAGS="$flags" \
        TESTS="\$(filter-out %/disk_ciphertext $sigbus,\$(unit_tests))"
    run_check gcc -j"$jobs" LOG_COMPILER=valgrind TESTS="\$(filter $sigbus,\$(unit_tests))" \
        LOG_FLAGS="$flags --vex-iropt-register-updates=allregs-at-mem-access"
}

# The compiler's runtime for fuzzing is a package of its own; without it the targets are skipped.
stage_fuzz() {
    FUZZ_SECONDS=${FUZZ_SECONDS:-$((10 * ICESIM_TEST_SCALE))} \
        "$work/source/tests/fuzz/run.sh" "$work/fuzz" >"$work/fuzz.tap" 2>&1
    sed 's/^/   /' "$work/fuzz.tap"
    passed=$((passed + $(grep -c '^ok' "$work/fuzz.tap")))
    failed=$((failed + $(grep -c '^not ok' "$work/fuzz.tap")))
    skipped=$((skipped + $(grep -c '^1\.\.0 # SKIP' "$work/fuzz.tap")))
    grep -q '^1\.\.' "$work/fuzz.tap" || result 1 "fuzz: no plan"
}

stage_static() {
    (cd "$work/source" && build-aux/check-static.sh) >"$work/static.log" 2>&1
    count_lines "$work/static.log"
}

# Of the bats tests, which the check stage has run, those that read what is distributed.
stage_dist() {
    build gcc || return
    local status tests='$(source_tests) $(unit_tests)' name # make's
    for name in documents documents_dialects grammar main_job readme; do
        tests="$tests tests/bats/$name.bats"
    done
    (cd "$work/gcc" && make distcheck TESTS="$tests") >"$work/distcheck.log" 2>&1
    status=$?
    [ $status = 0 ] || grep -E '^(FAIL|ERROR):|^# ' "$work/distcheck.log" | head -n 60
    result $status "make distcheck" "$work/distcheck.log"
}

stage_install() {
    build gcc || return
    local stage=$work/stage file
    (cd "$work/gcc" && make install DESTDIR="$stage") >"$work/install.log" 2>&1
    result $? "make install" "$work/install.log"
    for file in bin/icesim bin/icectl share/man/man1/icesim.1 share/man/man1/icectl.1 \
        share/man/man7/icesim-protocol.7 share/man/man7/icesim-dialects.7 \
        share/man/man7/icesim-security.7 share/man/man7/icesim-vhost-user.7 \
        share/doc/icesim/LICENSE share/doc/icesim/README.md \
        share/doc/icesim/examples/quickstart.sh share/doc/icesim/examples/isolation.sh \
        share/doc/icesim/examples/slot-pressure.sh share/doc/icesim/examples/make-guest.sh \
        share/doc/icesim/examples/qemu-guest.sh share/doc/icesim/examples/uml-guest.sh \
        share/doc/icesim/examples/lib.sh \
        share/bash-completion/completions/icesim.bash \
        share/bash-completion/completions/icectl.bash \
        share/qemu/vhost-user/50-icesim.json; do
        test -f "$stage/usr/local/$file"
        result $? "$file is installed"
    done
    grep -qF '"binary": "/usr/local/bin/icesim"' "$stage/usr/local/share/qemu/vhost-user/50-icesim.json"
    result $? "managers of VMMs find the program"
    (cd "$work/gcc" && make uninstall DESTDIR="$stage") >"$work/uninstall.log" 2>&1
    result $? "make uninstall" "$work/uninstall.log"
    find "$stage" ! -type d >"$work/left.log"
    test ! -s "$work/left.log"
    result $? "uninstall leaves no file" "$work/left.log"
}

clean_up() {
    if [ -n "${ICESIM_KEEP:-}" ]; then
        echo "kept: $work"
    else
        chmod -R u+w "$work"
        rm -rf "$work"
    fi
}

# Read whole before it runs: bash reads a script as it goes, and this one takes minutes.
main() {
    local stage stages="${*:-check guest clang asan tsan valgrind fuzz static dist install}"
    for stage in $stages; do
        if ! declare -F "stage_$stage" >/dev/null; then
            sed -n '4,/^$/s/^# \{0,1\}//p' "$0"
            [ "$stage" = --help ] && exit 0
            exit 2
        fi
    done

    work=$(mktemp -d "${TMPDIR:-/tmp}/icesim-run.XXXXXX") || exit 1
    trap clean_up EXIT
    trap 'exit 1' INT TERM
    install_packages
    if prepare_source; then
        for stage in $stages; do
            start=$SECONDS
            echo "== $stage"
            "stage_$stage"
            echo "   $((SECONDS - start)) s"
        done
    else
        result 1 "autoreconf" "$work/autoreconf.log"
    fi
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ]
    exit
}

main "$@"
