# SPDX-License-Identifier: BSD-2-Clause
"""Writes and reads at random through files, each in a process of its own, and compares with what has
to be there.

    view_load.py STOP COUNT FILE...

Ends when the file STOP is there, by reading all of every file once more, into FILE's name with its
slashes as underlines; before the first write every file is filled. Prints the name of each file as
soon as it has had COUNT transfers. Exits with 1 at the first error or wrong byte."""

import os
import random
import sys


def fill(fd, size, rng):
    content = bytearray(rng.randbytes(size))
    assert os.pwrite(fd, content, 0) == size
    return content


def transfer(fd, content, rng):
    # Half of them whole data units of whatever size, the others anything.
    step = rng.choice((1, 65536))
    at = rng.randrange(len(content) // step) * step
    size = min(rng.choice((step, 4096, 65536, 131072)), len(content) - at)
    if rng.random() < 0.5:
        data = rng.randbytes(size)
        assert os.pwrite(fd, data, at) == size
        content[at : at + size] = data
    else:
        assert os.pread(fd, size, at) == content[at : at + size], f"{size} bytes at {at}"


def load(stop, name, enough):
    rng = random.Random(name)
    fd = os.open(name, os.O_RDWR)
    content = fill(fd, os.fstat(fd).st_size, rng)
    count = 0
    while not os.path.exists(stop):
        transfer(fd, content, rng)
        count += 1
        if count == enough:
            os.write(1, f"{name}\n".encode())  # whole, beside the others'
    assert os.pread(fd, len(content), 0) == content, "at the end"
    with open(name.replace("/", "_"), "wb") as copy:
        copy.write(content)


def main():
    stop, enough, names = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    for name in names:
        if os.fork() == 0:
            status = 1
            try:
                load(stop, name, enough)
                status = 0
            except (AssertionError, OSError) as error:
                os.write(2, f"{name}: {error!r}\n".encode())
            finally:
                os._exit(status)
    wrong = [status for _, status in (os.wait() for _ in names) if status]
    sys.exit(1 if wrong else 0)


main()
