# SPDX-License-Identifier: BSD-2-Clause
"""The part of CDDL (RFC 8610) that icesim-protocol(7) uses: choices, arrays, maps, occurrence,
ranges, .size of uint, .regexp, literals and uint, tstr, bstr, bool, null. A match says which parts of
the grammar it used, so that a test can tell which never occurred."""

import re

TOKENS = re.compile(
    r"\s+|;[^\n]*|(?P<text>\"[^\"]*\")|(?P<number>0x[0-9a-f]+|\d+)|(?P<name>[a-z][a-z0-9_-]*)"
    r"|(?P<control>\.[a-z]+)|(?P<sign>=>|\.\.|[=/\[\]{}(),:?*+])"
)
PRELUDE = {
    "uint": lambda value: type(value) is int and 0 <= value < 1 << 64,
    "tstr": lambda value: type(value) is str,
    "bstr": lambda value: type(value) is bytes,
    "bool": lambda value: type(value) is bool,
    "null": lambda value: value is None,
}


def grammar_of(page):
    """The text of the CDDL in the source of the manual page."""
    text = page[page.index("\n.Ss Grammar\n") :]
    start = text.index("\n.Bd -literal\n") + len("\n.Bd -literal\n")
    text = text[start : text.index("\n.Ed\n", start)]
    assert "\\" not in text, "an escape of roff in the grammar"
    return text


def tokens(text):
    at = 0
    while at < len(text):
        match = TOKENS.match(text, at)
        if not match:
            raise SyntaxError(f"CDDL: {text[at:at + 20]!r}")
        if match.lastgroup:
            yield match.lastgroup, match[0]
        at = match.end()


class Parser:
    def __init__(self, text):
        self.rest = list(tokens(text)) + [("end", "")]

    def peek(self, ahead=0):
        return self.rest[min(ahead, len(self.rest) - 1)][1]

    def take(self, want=None):
        kind, text = self.rest.pop(0)
        if want is not None and text != want:
            raise SyntaxError(f"CDDL: {text!r}, not {want!r}, before {self.rest[:4]}")
        return kind, text

    def rules(self):
        found = {}
        while self.rest[0][0] != "end":
            _, name = self.take()
            self.take("=")
            if name in found:
                raise SyntaxError(f"CDDL: {name} twice")
            found[name] = self.choice(name)
        return found

    def choice(self, where):
        parts = [self.type1(where)]
        while self.peek() == "/":
            self.take()
            parts.append(self.type1(where))
        return parts[0] if len(parts) == 1 else ("choice", where, parts)

    def type1(self, where):
        kind, text = self.take()
        if kind == "text":
            return ("literal", text[1:-1])
        if kind == "number":
            return self.number(int(text, 0))
        if kind == "name":
            return self.controlled(("name", text))
        if text == "(":
            inner = self.choice(where)
            self.take(")")
            return inner
        if text in "[{":
            close = "]" if text == "[" else "}"
            entries = []
            while self.peek() != close:
                entries.append(self.entry(where, close == "}", len(entries)))
                if self.peek() == ",":
                    self.take()
            self.take(close)
            return ("array" if close == "]" else "map", entries)
        raise SyntaxError(f"CDDL: {text!r} before {self.rest[:4]}")

    def number(self, low):
        if self.peek() != "..":
            return ("literal", low)
        self.take()
        return ("range", low, int(self.take()[1], 0))

    def controlled(self, target):
        if self.rest[0][0] != "control":
            return target
        control, argument = self.take()[1], self.take()[1]
        if control == ".size" and target == ("name", "uint"):
            return ("range", 0, 256 ** int(argument) - 1)
        if control == ".regexp" and target == ("name", "tstr"):
            return ("regexp", argument[1:-1])
        raise SyntaxError(f"CDDL: {control} of {target}")

    def entry(self, where, in_map, position):
        """(id, least, most, key type or None, type)"""
        least, most = {"?": (0, 1), "*": (0, None), "+": (1, None)}.get(self.peek(), (1, 1))
        if (least, most) != (1, 1):
            self.take()
        key = None
        if self.peek(1) == ":":
            kind, text = self.take()
            key = ("literal", text.strip('"')) if kind == "text" or in_map else None
            where += "." + text.strip('"')
            self.take(":")
        elif self.peek(1) == "=>":
            key = self.type1(where)
            self.take("=>")
            where += ".*"
        elif in_map:
            raise SyntaxError("CDDL: a map's entry without a key")
        else:
            where += f".{position}"
        return (where, least, most, key, self.choice(where))


class Grammar:
    """match(rule, item): the names of the parts used, or None."""

    def __init__(self, text):
        self.rules = Parser(text).rules()
        for rule in self.rules.values():
            for name in self.names(rule):
                if name not in self.rules and name not in PRELUDE:
                    raise SyntaxError(f"CDDL: {name} is not defined")

    def names(self, kind):
        if kind[0] == "name":
            yield kind[1]
        for part in kind[2] if kind[0] == "choice" else ():
            yield from self.names(part)
        for _, _, _, key, value in kind[1] if kind[0] in ("array", "map") else ():
            yield from self.names(value)
            if key:
                yield from self.names(key)

    def parts(self, root):
        """All that a match of the rule may use: rules, alternatives, entries that may be absent."""
        found, todo = set(), [("name", root)]
        while todo:
            kind = todo.pop()
            if kind[0] == "name" and kind[1] in self.rules and kind[1] not in found:
                found.add(kind[1])
                todo.append(self.rules[kind[1]])
            elif kind[0] == "choice":
                found.update(f"{kind[1]} / {i}" for i in range(len(kind[2])))
                todo += kind[2]
            elif kind[0] in ("array", "map"):
                found.update(where for where, least, _, _, _ in kind[1] if least == 0)
                todo += [entry[4] for entry in kind[1]]
        return found

    def match(self, rule, item):
        return self.type(("name", rule), item)

    def type(self, kind, item):
        return getattr(self, "is_" + kind[0])(item, *kind[1:])

    def is_name(self, item, name):
        if name not in self.rules:
            return set() if PRELUDE[name](item) else None
        used = self.type(self.rules[name], item)
        return None if used is None else used | {name}

    def is_literal(self, item, value):
        return set() if type(item) is type(value) and item == value else None

    def is_range(self, item, low, high):
        return set() if type(item) is int and low <= item <= high else None

    def is_regexp(self, item, pattern):
        return set() if type(item) is str and re.fullmatch(pattern, item) else None

    def is_choice(self, item, where, parts):
        for number, part in enumerate(parts):
            used = self.type(part, item)
            if used is not None:
                return used | {f"{where} / {number}"}
        return None

    def is_array(self, item, entries):
        return self.sequence(item, entries) if type(item) is list else None

    def sequence(self, items, entries):
        if not entries:
            return None if items else set()
        where, least, most, _, kind = entries[0]
        used = self.type(kind, items[0]) if items and most != 0 else None
        if used is not None:
            again = (where, max(least - 1, 0), None if most is None else most - 1, None, kind)
            rest = self.sequence(items[1:], [again] + entries[1:])
            if rest is not None:
                return used | rest | {where}
        return self.sequence(items, entries[1:]) if least == 0 else None

    def is_map(self, item, entries):
        if type(item) is not dict:
            return None
        left, found = dict(item), set()
        # keys by name before keys by type
        for where, least, most, key, kind in sorted(entries, key=lambda e: e[3][0] != "literal"):
            keys = [k for k in left if self.type(key, k) is not None][:most]
            if len(keys) < least:
                return None
            for name in keys:
                used = self.type(kind, left.pop(name))
                if used is None:
                    return None
                found |= used | {where}
        return None if left else found
