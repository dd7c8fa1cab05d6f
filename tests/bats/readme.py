# SPDX-License-Identifier: BSD-2-Clause
"""Runs the lines of README.md that begin with a prompt, and compares what they print.

    readme.py README PROMPT [without TEXT | only TEXT]

All lines with PROMPT (# or $) are one session of a shell, in the working directory; blocks that
contain TEXT are left out, or are all there is. What differs from run to run may differ here: times,
folders, hexadecimal strings of 16 digits and more. The log of icesim comes when it comes: each line of
it in README must occur somewhere; so does what AddressSanitizer says of coroutines, where programs are
built with it."""

import os
import re
import signal
import subprocess
import sys

LOG = re.compile(r"\S+ icesim: \w+: |==\d+==WARNING: ASan doesn't fully support makecontext")


def blocks(text):
    """The indented blocks, as lists of lines without their indent."""
    for block in re.findall(r"(?:^    .*\n)+", text, re.MULTILINE):
        yield [line[4:] for line in block.splitlines()]


def steps(lines, prompt):
    """(command, what it prints)"""
    found = []
    for line in lines:
        if line.startswith(prompt + " "):
            found.append([line[2:], []])
        elif found and found[-1][0].endswith("\\"):
            found[-1][0] += "\n" + line
        elif found:
            found[-1][1].append(line)
    return found


def same_everywhere(line):
    line = line.replace(os.environ["XDG_RUNTIME_DIR"] + "/", "/run/").replace(os.getcwd(), "/root")
    line = re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z", "TIME", line)
    return re.sub(r"\b[0-9a-f]{16,}\b", "HEX", line)


def run(session):
    """The output of the shell, cut where each command ends."""
    script = "".join(f"{command}\necho; echo @@\n" for command, _ in session) + "wait\n"
    shell = subprocess.Popen(["bash"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, start_new_session=True, text=True)
    try:
        said = shell.communicate(script, timeout=300)[0]
    except subprocess.TimeoutExpired:
        os.killpg(shell.pid, signal.SIGTERM)
        said = shell.communicate(timeout=60)[0]
    return said.split("\n@@\n")


def main():
    readme, prompt, *choice = sys.argv[1:]
    with open(readme) as file:
        parts = list(blocks(file.read()))
    if choice:
        wanted, text = {"without": False, "only": True}[choice[0]], choice[1]
        parts = [block for block in parts if (text in "\n".join(block)) == wanted]
    session = [step for block in parts for step in steps(block, prompt)]
    assert len(session) >= 3, session
    said = run(session)
    assert len(said) == len(session) + 1, said
    log = {same_everywhere(line) for part in said for line in part.splitlines() if LOG.match(line)}
    bad = 0
    for (command, expected), got in zip(session, said):
        logged = {same_everywhere(line) for line in expected if LOG.match(line)}
        expected = [same_everywhere(line) for line in expected if not LOG.match(line)]
        got = [same_everywhere(line) for line in got.splitlines() if line and not LOG.match(line)]
        if expected != got or not logged <= log:
            bad += 1
            print(f"{prompt} {command}", "README:", *expected, *logged, "here:", *got, *log, sep="\n")
    sys.exit(bad > 0)


main()
