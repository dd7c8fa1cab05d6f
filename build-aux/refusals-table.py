#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""The lists of refusals in icesim-vhost-user(7), from src/vhost_user/refusal.h: prints the page as
it has to be; --write replaces it."""

import os
import re
import sys

top = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
page = os.path.join(top, "man/icesim-vhost-user.7")


def refusals(group):
    """(name, text) of a list of the source, in its order."""
    source = open(os.path.join(top, "src/vhost_user/refusal.h"), encoding="utf-8").read()
    macro = re.search(rf"#define {group}_REFUSALS\(X\)(.*?[^\\])\n", source, re.S)[1]
    return re.findall(r'X\(\w+,\s*"([a-z-]+)",\s*"([^"]+)"\)', macro.replace("\\\n", " "))


def table(group):
    yield '.Bl -tag -width "ring-indirect-memory"'
    for name, text in refusals(group):
        yield f".It Cm {name}"
        yield text[0].upper() + text[1:] + "."
    yield ".El"


def whole(text):
    for group in ("RING", "MEMORY", "MESSAGE"):
        begin, end = f'.\\" BEGIN {group}: from src/vhost_user/refusal.h\n', f'.\\" END {group}\n'
        before, rest = text.split(begin)
        text = before + begin + "\n".join(table(group)) + "\n" + end + rest.split(end)[1]
    return text


if __name__ == "__main__":
    wanted = whole(open(page, encoding="utf-8").read())
    if sys.argv[1:] == ["--write"]:
        open(page, "w", encoding="utf-8").write(wanted)
    else:
        sys.stdout.write(wanted)
