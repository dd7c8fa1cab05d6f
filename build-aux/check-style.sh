#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Size of files and functions, and licence lines. A file above 500 lines says "over 500 lines
# because" in its first 20; a function above 60, "over 60 lines because" in the comment above it.

cd "${top_srcdir:-.}" || exit 1

sources() {
    find src tests bench examples man completions .ci \
        -name '*.[ch]' -o -name '*.sh' -o -name '*.bash' -o -name '*.bats' -o -name '*.py' \
        -o -name '*.[17]' -o -path .ci/run 2>/dev/null
    ls build-aux/check-*.sh build-aux/run-*.sh Makefile.am configure.ac
}

long_files() {
    sources | grep -v '^man/' | while read -r file; do
        lines=$(wc -l <"$file")
        [ "$lines" -le 500 ] || head -n 20 "$file" | grep -q 'over 500 lines because' ||
            echo "$file has $lines lines"
    done
}

# Our style opens and closes a function by braces in column 0.
long_functions() {
    sources | grep '\.[ch]$' | while read -r file; do
        awk '
            /over 60 lines because/ { excused = 1 }
            /^{/ { start = FNR; name = before }
            /^}/ {
                if (start && !excused && FNR - start + 1 > 60)
                    print FILENAME ":" start ": " FNR - start + 1 " lines: " name
                start = 0; excused = 0
            }
            { before = $0 }' "$file"
    done
}

unlicensed() {
    sources | while read -r file; do
        head -n 2 "$file" | grep -q 'SPDX-License-Identifier: BSD-2-Clause' ||
            echo "$file"
    done
}

number=0
failed=0
check() { # NAME FINDINGS
    number=$((number + 1))
    if [ -z "$2" ]; then
        echo "ok $number - $1"
    else
        echo "not ok $number - $1"
        echo "$2" | sed 's/^/# /'
        failed=1
    fi
}

check "no file above 500 lines" "$(long_files)"
check "no function above 60 lines" "$(long_functions)"
check "every source names its licence" "$(unlicensed)"
echo "1..$number"
exit $failed
