#!/bin/bash
# SPDX-License-Identifier: BSD-2-Clause
# Static analysis of src/ and tests/: clang-tidy (.clang-tidy, tests/.clang-tidy) on each file, and
# cppcheck on all. One TAP line per file and tool. A finding that is wrong is argued where it is, by a
# comment: `NOLINT(check): reason`, or `cppcheck-suppress id ; reason`. `top_srcdir` says where the tree
# is (default: the current folder). It takes two minutes on two cores, so `make check` leaves it out.

cd "${top_srcdir:-.}" || exit 1
libraries=$(pkg-config --cflags fuse3 libgcrypt libcbor argtable2 libcrypto) || exit 1
export flags="-std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Isrc -Itests -I. $libraries"

for tool in clang-tidy cppcheck; do
    command -v "$tool" >/dev/null || {
        echo "1..0 # SKIP $tool is not installed"
        exit 0
    }
done

# Prints one TAP line, without a number, and the findings.
tidy() { # FILE
    local said
    # shellcheck disable=SC2086 # flags are words
    if said=$(clang-tidy --quiet "$1" -- $flags '-DPACKAGE_VERSION="0"' 2>&1); then
        echo "ok - clang-tidy $1"
    else
        echo "not ok - clang-tidy $1"$'\n'"$(sed 's/^/# /' <<<"$said")"
    fi
}
export -f tidy

# Cppcheck's own exit status covers all files, so findings are sorted by the file that they name.
cppcheck_all() {
    local findings file
    findings=$(cppcheck -j"$(nproc)" --quiet --std=c11 --inline-suppr \
        --enable=warning,performance,portability --template='{file}:{line}: {message} [{id}]' \
        -D_GNU_SOURCE -Isrc -Itests src tests 2>&1)
    for file in $files; do
        if grep -q "^$file:" <<<"$findings"; then
            echo "not ok - cppcheck $file"
            grep "^$file:" <<<"$findings" | sed 's/^/# /'
        else
            echo "ok - cppcheck $file"
        fi
        findings=$(grep -v "^$file:" <<<"$findings")
    done
    [ -z "$findings" ] || echo "not ok - cppcheck"$'\n'"$(sed 's/^/# /' <<<"$findings")"
}

files=$(find src tests -name '*.[ch]' | sort)
{
    cppcheck_all
    grep '\.c$' <<<"$files" | xargs -P "$(nproc)" -I{} bash -c 'tidy {}'
} | awk '
    sub(/^(not )?ok/, "& " n + 1) { n++; bad += /^not/ }
    { print; fflush() }
    END { print "1.." n; exit bad > 0 }'
