#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
#
# Fuzzing, as TAP: one line for each target.
#
#   tests/fuzz/run.sh FOLDER [TARGET...]
#
# Builds what is missing in FOLDER and runs each target there for FUZZ_SECONDS (10), from the seeds
# and from FOLDER/corpus/TARGET, which grows. An input that crashes is kept as
# FOLDER/crashes/TARGET-… . FUZZ_SECONDS=0 only builds.

set -u
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
folder=${1:?a folder to work in}
mkdir -p "$folder" && folder=$(cd "$folder" && pwd) || exit 1
shift
targets=${*:-frame message device options}
seconds=${FUZZ_SECONDS:-10}
compiler=${FUZZ_CC:-clang}
libraries='fuse3 libgcrypt libcbor argtable2'

skip_all() {
    echo "1..0 # SKIP $*"
    exit 0
}

command -v "$compiler" >/dev/null || skip_all "$compiler is not installed"
command -v python3 >/dev/null || skip_all "python3, which makes the seeds, is not installed"
echo 'int LLVMFuzzerTestOneInput(void) { return 0; }' |
    "$compiler" -x c -fsanitize=fuzzer -o "$folder/probe" - 2>/dev/null ||
    skip_all "$compiler has no fuzzer runtime (package libclang-rt-14-dev)"
rm -f "$folder/probe"

# A target and all of src/ but the main programs.
build() { # TARGET
    # shellcheck disable=SC2046
    "$compiler" -std=gnu11 -g -O1 -fsanitize=fuzzer,address,undefined \
        -fno-sanitize-recover=all -fno-omit-frame-pointer -pthread -I"$top/src" -I"$here" \
        -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -DPACKAGE_VERSION='"fuzz"' \
        $(pkg-config --cflags $libraries) -o "$folder/$1" "$here/$1.c" \
        $(find "$top/src" -name '*.c' ! -name main.c) $(pkg-config --libs $libraries)
}

# Nothing may read the terminal, and files that a target makes stay in a folder of their own.
fuzz() { # TARGET
    mkdir -p "$folder/corpus/$1" "$folder/crashes" "$folder/cwd"
    (cd "$folder/cwd" && "$folder/$1" -max_total_time="$seconds" -timeout=10 -close_fd_mask="$2" \
        -artifact_prefix="$folder/crashes/$1-" -print_final_stats=1 \
        "$folder/corpus/$1" "$folder/seeds/$1") </dev/null >"$folder/$1.log" 2>&1
}

python3 -B "$here/seeds.py" "$folder/seeds" || exit 1
number=0 failed=0
for target in $targets; do
    number=$((number + 1))
    if [ ! -x "$folder/$target" ] && ! build "$target" >"$folder/$target.log" 2>&1; then
        result='not ok' what="builds"
    elif [ "$seconds" = 0 ]; then
        result=ok what="builds"
    elif fuzz "$target" "$([ "$target" = options ] && echo 1 || echo 0)"; then
        result=ok what="$(sed -n 's/^stat::number_of_executed_units: *//p' "$folder/$target.log") inputs"
    else
        result='not ok' what="fails"
    fi
    echo "$result $number - fuzz $target: $what"
    [ "$result" = ok ] || {
        failed=1
        tail -n 40 "$folder/$target.log" | sed 's/^/# /'
    }
done
echo "1..$number"
exit $failed
