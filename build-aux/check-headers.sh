#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Every header compiles alone, and twice in one file. One TAP line per header.

cd "${top_srcdir:-.}" || exit 1
flags='-std=gnu11 -D_GNU_SOURCE -D_FILE_OFFSET_BITS=64 -Isrc -Wall -Wextra -Wundef -Werror'
number=0
failed=0
for header in src/*/*.h tests/unit/*.h tests/vhost_frontend/*.h; do
    [ -f "$header" ] || continue
    number=$((number + 1))
    name=${header#src/}
    # shellcheck disable=SC2086 # CC and flags are words
    if said=$(printf '#include "%s"\n#include "%s"\n' "$name" "$name" |
        ${CC:-cc} $flags $CPPFLAGS -I. -Itests -fsyntax-only -xc - 2>&1); then
        echo "ok $number - $header compiles alone"
    else
        echo "not ok $number - $header compiles alone"
        echo "$said" | sed 's/^/# /'
        failed=1
    fi
done
echo "1..$number"
exit $failed
