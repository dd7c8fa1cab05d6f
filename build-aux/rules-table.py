#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The list of rules in icesim-dialects(7), from src/dialect/rule.h: prints the page as it has to be;
--write replaces it."""

import os
import re
import sys

top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
page = os.path.join(top, "man/icesim-dialects.7")


def rules():
    """(name, text, tolerated) in the order of the source."""
    source = open(os.path.join(top, "src/dialect/rule.h"), encoding="utf-8").read().replace("\\\n", " ")
    pattern = r'(REFUSED|TOLERATED)\(\w+,\s*"([a-z-]+)",\s*"([^"]+)"\)'
    return [(name, text, kind == "TOLERATED") for kind, name, text in re.findall(pattern, source)]


def table():
    yield '.Bl -tag -width "type-unnegotiated"'
    for name, text, tolerated in rules():
        yield f".It Cm {name}"
        yield text[0].upper() + text[1:] + (" (tolerated)." if tolerated else ".")
    yield ".El"


def whole(text):
    begin, end = '.\\" BEGIN RULES: from src/dialect/rule.h\n', '.\\" END RULES\n'
    before, rest = text.split(begin)
    return before + begin + "\n".join(table()) + "\n" + end + rest.split(end)[1]


if __name__ == "__main__":
    wanted = whole(open(page, encoding="utf-8").read())
    if sys.argv[1:] == ["--write"]:
        open(page, "w", encoding="utf-8").write(wanted)
    else:
        sys.stdout.write(wanted)
