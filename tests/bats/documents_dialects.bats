#!/usr/bin/env bats
# SPDX-License-Identifier: BSD-2-Clause
# icesim-dialects(7) is a conformance matrix: each cell, row and rule has a test that there is.

page=$top_srcdir/man/icesim-dialects.7

@test "each cell of the matrix names a test, and each test that it names is there" {
    python3 - "$page" "$top_srcdir" <<'END'
import re, sys
text = open(sys.argv[1]).read()
tests = {}
for number, file, name in re.findall(r"\.It \[(\d+)\]\n\.Pa (\S+) :\n(.+)\n", text):
    source = open(f"{sys.argv[2]}/{file}").read()
    assert f'@test "{name}" {{' in source, (number, file, name)
    assert number not in tests
    tests[number] = name
table = text[text.index(".TS\n"):text.index(".TE\n")]
used, cells = set(), 0
rows = re.sub(r"T\{\n(.*?)\nT\}", lambda m: m[1].replace("|", "/"), table, flags=re.S).splitlines()[5:]
for row in rows:
    subject, *values = row.split("|")
    assert len(values) == 3, row
    for value in values:
        match = re.search(r"\S.* \[(\d+)\]$", value)
        assert match, f"{subject}: {value!r} names no test"
        used.add(match[1])
        cells += 1
assert used == set(tests), used ^ set(tests)
assert cells >= 50, cells
END
}

@test "each decision has its test, and none is missing" {
    wanted=$(seq 1 11; seq 14 25; echo 33; echo 34)
    in_page=$(sed -n 's/^\.It Row \([0-9]*\)$/\1/p' "$page")
    in_tests=$(sed -n 's/^@test "row \([0-9]*\): .*/\1/p' "$top_srcdir/tests/bats/dialect_rows.bats")
    diff <(echo "$wanted") <(echo "$in_page")
    diff <(echo "$wanted") <(echo "$in_tests")
}

@test "what of a decision no socket can show has its test among the unit tests" {
    python3 - "$page" "$top_srcdir" <<'END'
import re, sys
found = re.findall(r"\.It (Row \d+),\n.*\n\.Pa (\S+) :\n(.+)\n", open(sys.argv[1]).read())
assert [row for row, file, name in found] == ["Row 25", "Row 33"], found
for row, file, name in found:
    assert f'"{name}"' in open(f"{sys.argv[2]}/{file}").read(), (row, file, name)
END
}

@test "the list of rules is that of the source" {
    python3 "$top_srcdir/build-aux/rules-table.py" | diff - "$page"
    [ "$(sed -n '/BEGIN RULES/,/END RULES/p' "$page" | grep -c '^\.It Cm ')" -ge 30 ]
}
