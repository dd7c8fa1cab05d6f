# SPDX-License-Identifier: BSD-2-Clause
"""Holds the grammar of icesim-protocol(7) against what really goes over the sockets.

    grammar.py PAGE

icectl, and the driver of icesock.py, work with the server of ICESIM_DIR, which has a vhost-user
socket for vm0, guest in the current folder, through a proxy that
records each frame of both directions. Then every frame must match the grammar, every reply the
rule that belongs to its message, every part of the grammar must have occurred, and no frame may
match after any mutation."""

import subprocess
import sys
import tempfile
import threading

from cddl import Grammar, grammar_of
from icesock import *

# A key is in a slot, or a slot somebody's own, once a file of the mount has been read.
WITH_MOUNT = {"slot-stats.fingerprint / 0", "slot.owner / 0"}


# ---- recording ----


class Recorder:
    """Frames as (number of the connection, "control" or a function, from the client?, item)."""

    def __init__(self, folder, target):
        self.frames, self.lock, self.connections, self.threads = [], threading.Lock(), 0, []
        for name in ("vm0", "vm1", "control"):
            listener = socket.socket(socket.AF_UNIX)
            listener.bind(os.path.join(folder, name + ".sock"))
            listener.listen()
            path = os.path.join(target, name + ".sock")
            threading.Thread(target=self.accept, args=(listener, name, path), daemon=True).start()

    def accept(self, listener, name, path):
        while True:
            client = listener.accept()[0]
            server = socket.socket(socket.AF_UNIX)
            server.connect(path)
            self.connections += 1
            for ends in ((client, server, True), (server, client, False)):
                thread = threading.Thread(target=self.pump, args=(self.connections, name, *ends))
                thread.start()
                self.threads.append(thread)

    def pump(self, number, name, source, sink, from_client):
        data = bytearray()
        while True:
            try:
                part = source.recv(1 << 20)
            except OSError:
                part = b""
            data += part
            # Recorded before it is passed on: no reply is recorded before its message.
            self.parse(data, (number, name, from_client))
            try:
                if not part:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(part)
            except OSError:
                return

    def parse(self, data, origin):
        while data:
            try:
                item, end = decode(data)
            except Short:
                return
            del data[:end]
            with self.lock:
                self.frames.append((*origin, item))

    def finish(self):
        """All frames, once all connections are closed."""
        for thread in self.threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a connection is still open"
        return self.frames


# ---- the traffic ----


def with_icectl(folder):
    key, data = os.path.join(folder, "key"), os.path.join(folder, "data")
    for path, size in ((key, 64), (data, 4096)):
        with open(path, "wb") as file:
            file.write(os.urandom(size))
    io = "--sector 0 --slot 0 --dun 7"
    for command, status in (
        ("wait", 0),
        ("info", 0),
        ("caps", 0),
        (f"slot program 0 --alg aes-256-xts --key-file {key}", 0),
        ("slot list", 0),
        (f"io write {io} {data}", 0),
        (f"io read {io} --count 8 -o {data}", 0),
        ("io read --sector 0 --count 8 --slot 1 --dun 7", 3),
        ("io flush", 0),
        ("io id", 0),
        ("io lifetime", 0),
        ("io discard --sector 8 --count 8", 0),
        ("io zero --sector 8 --count 8", 0),
        ("io erase --sector 8 --count 8", 0),
        ("stats", 0),
        ("slot evict 0", 0),
        ("reset --scope device", 0),
        ("reset --scope function", 0),
        ("reset --scope engine", 0),
    ):
        done = subprocess.run(["icectl", *command.split()], capture_output=True, timeout=PATIENCE)
        assert done.returncode == status, (command, done)


def await_events(device, *kinds):
    """Reads until events of these kinds have come."""
    while not set(kinds) <= {kind for kind, _ in device.events}:
        device.call(GET_STATUS)


def with_driver():
    control, early = Connection("control"), Device()
    early.call(GET_FEATURES)
    expect_refused(errno.EPROTO, early.request, T_FLUSH)
    device = Device(ICE | VERSION_1 | KEY_OPS | FLUSH | CONFIG_WCE)
    device.call(READ_CONFIG, 0, 100)
    device.call(WRITE_CONFIG, 32, b"\1")
    device.program(0, os.urandom(64))
    device.write(0, bytes(4096), slot=0)
    control.call(FUNCTION_LIST, {})
    control.call(SLOT_LIST, {"function": "vm0"})
    generation = control.call(RESET, {"scope": "engine"})["generation"]
    await_events(device, 2)
    device.request(T_IN, room=4096, slot=0)
    device.call(ACKNOWLEDGE, int(generation, 16))
    control.call(RESET, {"scope": "device", "function": "vm0"})
    await_events(device, 1)
    for connection in (control, early, device):
        connection.close()


def with_owner(folder):
    """The owner's messages; a function that comes and goes."""
    control = Connection("control")
    vm0, vm1 = {"function": "vm0"}, {"function": "vm1"}
    spec = f"vm1,slots=28+4,image={folder}/image,size=1M,addr=virtual,key-types=wrapped"
    control.call(FUNCTION_ADD, {"function": spec})
    inline = f"vm2,image={folder}/image2,size=1M,keys=inline"
    control.call(FUNCTION_ADD, {"function": inline})
    control.call(FUNCTION_LIST, {})
    control.call(FUNCTION_REMOVE, {"function": "vm2"})
    long_term = control.call(KEY_GENERATE, vm0)["key"]
    long_term = control.call(KEY_IMPORT, {**vm0, "key": os.urandom(32)})["key"]
    ephemeral = control.call(KEY_PREPARE, {**vm0, "key": long_term})["key"]
    control.call(KEY_DERIVE, {**vm0, "key": ephemeral})
    key = {"alg": "aes-256-xts", "data_unit": 4096, "key_type": "wrapped", "key": ephemeral}
    control.call(SLOT_PROGRAM, {**vm1, "slot": 29, **key})
    control.call(SLOT_PROGRAM, {**vm0, "slot": 3, **key, "key_type": "raw", "key": os.urandom(64)})
    control.call(SLOT_LIST, vm1)
    expect_refused(errno.EPERM, control.call, SLOT_EVICT, {**vm1, "slot": 3})
    control.call(SLOT_EVICT, {**vm0, "slot": 3})
    driver = Device(name="vm1")
    control.call(FUNCTION_RESIZE, {**vm1, "size": "0x200000"})
    await_events(driver, 0)
    driver.close()
    with_views(control, ephemeral)
    control.call(FUNCTION_REMOVE, vm1)
    control.close()


def refused_front_end():
    """A message of no version; it is counted before the back end hangs up."""
    with socket.socket(socket.AF_UNIX) as front:
        front.connect("guest")
        front.sendall(bytes(12))
        assert not front.recv(1)


def with_views(control, ephemeral):
    """Views of vm0, one that has had a slot, and of a layer over vm0 and vm1."""
    vm0, both = {"function": "vm0"}, {"function": "both"}
    key = {"alg": "aes-256-xts", "data_unit": 4096, "key": os.urandom(64)}
    control.call(VIEW_ADD, {**vm0, "name": "plain", **key})
    control.call(VIEW_ADD, {**vm0, "name": "part", **key, "key_type": "wrapped", "key": ephemeral,
                            "sector": "0x8", "count": "0x10", "dun": "0x7", "fallback": "forbid"})
    control.call(VIEW_ADD, {**vm0, "name": "soft", **key, "fallback": "force"})
    control.call(VIEW_ADD, {**vm0, "name": "auto", **key, "key_type": "raw", "fallback": "auto"})
    control.call(VIEW_LIST, vm0)
    if mount := os.environ.get("ICESIM_MOUNT"):
        with open(os.path.join(mount, "view", "plain"), "rb") as file:
            file.read(4096)
    refused_front_end()
    control.call(STATS, vm0)
    control.call(STATS, {"function": "vm1"})
    control.call(SLOT_LIST, vm0)
    control.call(LAYER_ADD, {"name": "both", "map": "striped:65536", "functions": "vm0,vm1"})
    control.call(LAYER_LIST, {})
    control.call(VIEW_ADD, {**both, "name": "plain", **key})
    control.call(STATS, both)
    expect_refused(errno.EBUSY, control.call, FUNCTION_REMOVE, {"function": "vm1"})
    control.call(VIEW_REMOVE, {**both, "name": "plain", "wait": True})
    control.call(LAYER_REMOVE, {"name": "both"})
    for name in ("plain", "part", "soft", "auto"):
        control.call(VIEW_REMOVE, {**vm0, "name": name, "wait": name == "plain"})


def record():
    with tempfile.TemporaryDirectory() as folder:
        recorder = Recorder(folder, os.environ["ICESIM_DIR"])
        os.environ["ICESIM_DIR"] = folder
        with_icectl(folder)
        with_driver()
        with_owner(folder)
        return recorder.finish()


# ---- judging ----


def show(item):
    text = repr(item)
    return text if len(text) < 200 else text[:200] + "…"


def messages(grammar, used):
    """Of the parts used: the rule of the frame's own kind."""
    return {name for name in used if grammar.rules.get(name, ("",))[0] == "array"}


def check_frames(grammar, frames):
    """Each frame against the rules of its direction and socket; the parts that were used."""
    seen, sent = set(), {}
    for connection, name, from_client, item in frames:
        used = grammar.match("from-client" if from_client else "from-server", item)
        assert used is not None, f"{name}: not in the grammar: {show(item)}"
        rules = messages(grammar, used)
        assert len(rules) == 1, (rules, show(item))
        other = "device" if name == "control" else "control"
        assert not used & {other + "-message", other + "-reply"}, f"on {name}: {show(item)}"
        rule = rules.pop()
        if from_client:
            sent[connection, item[1]] = rule
        elif not {"event", "error"} & used:
            asked = sent[connection, item[1]]
            assert rule == asked + "-reply", f"{asked} is answered by {show(item)}"
        seen |= used
    return seen


def mutants(item, optional):
    """Copies of the item with one place changed each, so that none is in the grammar."""
    if isinstance(item, (list, dict)):
        places = range(len(item)) if isinstance(item, list) else list(item)
        for place in places:
            for part in mutants(item[place], optional):
                copy = item.copy()
                copy[place] = part
                yield copy
        if isinstance(item, list):
            yield item + [-1]
        else:
            yield {**item, "surplus": -1}
            for key in item.keys() - optional:
                yield {k: v for k, v in item.items() if k != key}
    if item is True or item is False:
        yield 1
    yield -1
    yield 1 << 64
    yield [item, item]


def lacking(item):
    """The frame without its last elements."""
    return [item[:n] for n in range(len(item))]


def counted(frames):
    """The keys of the maps that the grammar leaves open, in the statistics."""
    replies = [item[2] for _, _, from_client, item in frames if item[0] == STATS and not from_client]
    maps = [reply.get(part, {}) for reply in replies for part in ("requests", "violations")]
    maps += [(reply.get("vhost_user") or {}).get("refused", {}) for reply in replies]
    return {key for counts in maps for key in counts}


def check_mutants(grammar, frames):
    """No mutant of any frame matches."""
    optional = {"function", "dialect", "key_type", "sector", "count", "dun", "fallback"} | counted(frames)
    tried, shapes = 0, set()
    for _, _, from_client, item in frames:
        root = "from-client" if from_client else "from-server"
        shape = root, item[0], len(item), repr([type(part) for part in item])
        if shape in shapes:
            continue
        shapes.add(shape)
        for mutant in [*mutants(item, optional), *lacking(item), [99, *item[1:]]]:
            tried += 1
            assert grammar.match(root, mutant) is None, f"matches: {show(mutant)}"
    return tried


def main():
    with open(sys.argv[1]) as page:
        grammar = Grammar(grammar_of(page.read()))
    frames = record()
    seen = check_frames(grammar, frames)
    parts = grammar.parts("from-client") | grammar.parts("from-server")
    assert parts >= set(grammar.rules), f"unreachable: {set(grammar.rules) - parts}"
    excused = set() if os.environ.get("ICESIM_MOUNT") else WITH_MOUNT
    assert parts - excused <= seen, f"never occurred: {sorted(parts - seen - excused)}"
    tried = check_mutants(grammar, frames)
    print(f"{len(frames)} frames, {len(parts)} parts of the grammar, {tried} mutants")
    assert len(frames) > 150 and tried > 500


if __name__ == "__main__":
    main()
