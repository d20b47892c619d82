#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Conformance: a scripted session is played to QEMU itself and through the proxy, both started with
the same arguments, and the answers are compared byte by byte; only time stamps are normalised.

The script is data: conformance_script (the stream), conformance_script_vm (the guest) and
conformance_fds (descriptors).  Answers that differ by design are in DIFFERENT below."""

import os
import re
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

# pylint: disable=wrong-import-position
import harness
import qmp
from conformance_fds import FD_SCENES, FILES, open_files, with_names
from conformance_play import NEGOTIATE, OOB, Pair, Scene, Step, Wire
from conformance_script import Q, STREAM_SCENES, YANK
from conformance_script_vm import IMAGES, VM_SCENES, hmp, q, text
from harness import equal


def play(t, pair, scenes, least):
    """Plays the scenes, compares; fails when the script is shorter than it should be."""
    for scene in scenes:
        pair.play(scene)
    t.note(f"{pair.exchanges} answers compared, {len(pair.wrong)} steps differ")
    pair.check()
    assert pair.exchanges > least, f"only {pair.exchanges} answers"


def test_the_stream_script_is_answered_with_the_bytes_of_qemu(t):
    play(t, Pair(t).start(), STREAM_SCENES, 3500)


def test_the_guest_script_is_answered_with_the_bytes_of_qemu(t):
    play(t, Pair(t).images(*IMAGES).start(), VM_SCENES, 450)


def step_frozen(wire, step):
    """The reader is stopped until all is written: it finds everything at once."""
    if any(isinstance(write, int) for write in step.writes):
        return PLAIN_STEP(wire, step)
    wire.guest.process.send_signal(signal.SIGSTOP)
    try:
        for write in step.writes:
            wire.write(write)
    finally:
        wire.guest.process.send_signal(signal.SIGCONT)
    return PLAIN_STEP(wire, Step(n=step.n, until=step.until))


PLAIN_STEP = Wire.step


def play_fds(t, play_step):
    """Plays the script of descriptors; what a number stands for, and how many are open, is compared
    as well."""
    pair = Pair(t).start()
    direct, qemu, proxy = pair.direct.process.pid, pair.proxied.qemu_pid(), pair.proxied.process.pid

    def step_and_look(wire, step):
        pids = [direct] if wire.guest is pair.direct else [qemu, proxy]
        if wire.count == 0:     # what the connection before this one left may still be open
            return play_step(wire, step)
        before = open_files(pids)
        lines = [with_names(line, pids[0]) for line in play_step(wire, step)]
        after = open_files(pids)
        change = {name: after[name] - before[name] for name in FILES}
        return lines + [f"open files: {change}".encode()]
    Wire.step = step_and_look
    try:
        play(t, pair, FD_SCENES, 200)
        harness.poll(lambda: open_files([direct]) == open_files([qemu, proxy]), 10,
                     "the same to be open when all clients have gone")
    finally:
        Wire.step = PLAIN_STEP


def test_descriptors_reach_the_command_that_qemu_gives_them_to(t):
    play_fds(t, PLAIN_STEP)


def test_descriptors_reach_it_also_when_much_is_read_at_once(t):
    play_fds(t, step_frozen)


# ---- answers that differ by design ----

OURS = ("snapshot-create", "snapshot-revert", "query-snapshots")
# An id comes back as it was written; QEMU prints what it understood.  (written, as QEMU prints it)
IDS = [(b"1.0", b"1"), (b"-0", b"0"), (b"1e2", b"100"), (b"0.1", b"0.10000000000000001"),
       (b"[1,2]", b"[1, 2]"), (b"[ 1 ]", b"[1]"),
       (b'{"b":1,"a":2}', b'{"a": 2, "b": 1}'), (b'"\\u0041\\/"', b'"A/"'),
       (b'"\xc3\xa4"', b'"\\u00E4"'),
       (b"18446744073709551616", b"1.8446744073709552e+19"),
       (b'"\\ud83d\\ude00"', b'"\\uD83D\\uDE00"'),
       (b'"\\u00e4"', b'"\\u00E4"')]


def answer(wire, command):
    """The one line that a command is answered with; its value as text."""
    lines = wire.step(Step(command))
    equal(len(lines), 1, f"lines for {command!r}")
    return lines[0]


def both(t, monitor="a"):
    """A pair and a connection to each."""
    pair = Pair(t).start()
    wires = pair.open(Scene("start", [], monitor=monitor))
    for wire in wires:
        t.cleanup(wire.close)
    return pair, wires


def test_ids_come_back_as_they_were_written_where_qemu_prints_them_anew(t):
    _pair, (direct, proxied) = both(t)
    wrong = []
    for written, printed in IDS:
        for command in (b"query-status", b"no-such-command"):
            message = b'{"execute":"%s","id":%s}' % (command, written)
            theirs, ours = answer(direct, message), answer(proxied, message)
            assert b'"id": ' + printed in theirs, f"script: {theirs}"
            if ours != theirs.replace(b'"id": ' + printed, b'"id": ' + written):
                wrong.append(f"{message!r}: {ours!r}")
    assert not wrong, "\n".join(wrong)


def test_lists_of_commands_differ_by_ours_alone(t):
    _pair, (direct, proxied) = both(t)
    command = text("query-commands")
    theirs, ours = answer(direct, command), answer(proxied, command)
    for name in OURS:
        ours, count = re.subn(rb'(, )?\{"name": ?"%s"\}' % name.encode(), b"", ours)
        equal(count, 1, f"times that {name} is listed")
    equal(ours, theirs, "query-commands without ours")
    command = text("query-qmp-schema")
    theirs, ours = (qmp.json.loads(answer(wire, command))["return"] for wire in (direct, proxied))
    names = {entry["name"] for entry in theirs}
    same = {entry["name"]: entry for entry in ours}
    equal(len(same), len(ours), "entries, each name once")
    changed = [entry for entry in theirs if same.get(entry["name"]) != entry]
    equal([entry["name"] for entry in changed if entry["meta-type"] != "enum"],
          ["snapshot-delete"], "changed entries")
    (types,) = [entry for entry in changed if entry["meta-type"] == "enum"]
    equal(same[types["name"]]["values"], ["snapshot-create", "snapshot-revert", *types["values"]],
          "types of jobs")
    commands = {entry["name"] for entry in ours if entry["meta-type"] == "command"}
    equal(commands - names, set(OURS), "commands added")


def test_what_two_processes_cannot_have_in_common_is_all_that_differs(t):
    """(command, what to replace in both, by what): and then they are equal."""
    pair, wires = both(t)
    folders = (rb"/(?:direct|proxied)/", b"/FOLDER/")
    absolute = [str(guest.folder / "absolute.qcow2") for guest in pair.guests]
    for make, (pattern, by) in (
            (lambda path: text("query-cpus-fast"), (rb'"thread-id": \d+', b'"thread-id": N')),
            (lambda path: text("object-add", qom_type="iothread", id="io"), folders),
            (lambda path: text("query-iothreads"), (rb'"thread-id": \d+', b'"thread-id": N')),
            (lambda path: text("blockdev-create", job_id="c", options={
                "driver": "file", "filename": path, "size": 1 << 20}), folders),
            (lambda path: text("blockdev-snapshot-sync", node_name="null0", format="qcow2",
                               snapshot_file=path + "s", snapshot_node_name="over"), folders),
            (lambda path: text("query-block"), folders),
            (lambda path: text("blockdev-add", driver="file", node_name="gone",
                filename=path + "x"), folders)):
        lines = [wire.step(Step(make(path), n=0)) for wire, path in zip(wires, absolute)]
        assert any(b'"id"' in line for line in lines[0]), lines[0]
        lines = [[re.sub(pattern, by, line) for line in some] for some in lines]
        lines = [[line for line in some if b'"event"' not in line] for some in lines]
        equal(lines[1], lines[0], make("PATH"))
    theirs, ours = (qmp.json.loads(answer(wire, text("query-chardev")))["return"] for wire in wires)
    equal(sorted(chardev["label"] for chardev in theirs),
        ["compat_monitor0", "compat_monitor1", "pretty"], "QEMU's")
    equal(sorted((chardev["label"], chardev["frontend-open"]) for chardev in ours),
          [("qmp-proxy", True), ("qmp-proxy-bulk", True)], "the proxy's")
    theirs, ours = (qmp.json.loads(answer(wire, text("query-yank")))["return"] for wire in wires)
    equal(sorted(entry.get("id") for entry in ours), ["qmp-proxy", "qmp-proxy-bulk"], "query-yank")
    equal(len(theirs), 3, "query-yank of QEMU")


# ---- several connections, the end of a connection, the end of QEMU ----

def test_events_come_to_each_monitor_as_they_come_from_qemu(t):
    pair, active = both(t)
    watching = pair.open(Scene("watching", [], monitor="b"))
    silent = pair.open(Scene("pretty and not negotiated", [], first=b"", monitor="pretty"))
    for wire in watching + silent:
        t.cleanup(wire.close)
    for number, step in enumerate((
            q("cont", n=2), q("stop", n=2), Step(text("cont") + text("stop"), n=4), q("cont", n=2),
            q("system_powerdown", until=b"return"), q("stop", n=2), hmp("cont"), hmp("stop"),
            q("device_add", driver="usb-tablet", id="t"), q("device_del", id="t", n=2))):
        pair.compare("active", step, [wire.step(step) for wire in active])
        pair.compare("watching", step, [wire.sync() for wire in watching])
        if number == 4:
            pair.compare("negotiates", step, [wire.step(Step(NEGOTIATE)) for wire in silent])
        pair.compare("silent", step, [wire.sync() for wire in silent])
    pair.check()


class Slow:
    """A command that keeps QEMU's main loop busy until it is released: it opens a fifo."""

    def __init__(self, wire, node):
        self.fifo = wire.guest.folder / f"fifo-{node}"
        os.mkfifo(self.fifo)
        self.command = text("blockdev-add", driver="blkdebug", node_name=node,
            config=self.fifo.name,
                            image={"driver": "null-co"})

    def release(self):
        os.close(harness.poll(self._open, 10, "QEMU to open the fifo"))

    def _open(self):
        try:
            return os.open(self.fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:         # no reader yet
            return None


def blocked(wire):
    """Waits until QEMU answers other monitors no more; how many answers are due."""
    def asked():
        wire.write(Q)
        try:
            wire.line(0.3)
            return False
        except qmp.Timeout:
            return True
    harness.poll(asked, 20, "QEMU's main loop to be busy")


def test_what_a_client_that_leaves_had_queued_is_not_executed(t):
    pair, watching = both(t, "b")
    for watch in watching:
        for turn, first in enumerate((NEGOTIATE, OOB, NEGOTIATE, OOB)):
            wire, slow = Wire(watch.guest), Slow(watch, f"slow{turn}")
            wire.line()
            wire.write(first)
            wire.line()
            queued = [text("object-add", qom_type="iothread", id=f"io{turn}{n}") for n in range(5)]
            wire.write(slow.command + (Q if turn > 1 else b"") + b"".join(queued))
            blocked(watch)
            wire.close()
            after = Wire(watch.guest)   # greeted when its end was noticed
            after.line()
            after.close()
            slow.release()
            equal(b'"return"' in watch.line(), True, "answer of the other client")
            for _ in range(5):          # whatever was still to come has come
                watch.sync()
            objects = answer(watch, text("qom-list", path="/objects"))
            assert b"io%d" % turn not in objects, f"{watch.guest.name}, {first}: {objects}"
            nodes = answer(watch, text("query-named-block-nodes"))
            assert b'"slow%d"' % turn in nodes, f"{watch.guest.name}: the running command: {nodes}"
    pair.check()


def pending(watch, count, message):
    """Sends a slow command, others up to count, and one out of band: [was that one answered at
    once, what came in band, what out of band]."""
    wire = Wire(watch.guest)
    slow = Slow(watch, f"oob{sum(1 for _ in watch.guest.folder.iterdir())}")
    try:
        wire.line()
        wire.write(OOB)
        wire.line()
        wire.write(slow.command)
        blocked(watch)
        wire.write(b"".join(text("qom-get", path=f"/{n}", property="x") for n in range(count - 1)))
        wire.write(message)
        try:
            lines = [wire.line(0.5)]
        except qmp.Timeout:
            lines = []
        slow.release()
        early = bool(lines)
        lines += wire.lines_until(count + 1 - len(lines)) + wire.sync()
        watch.line()
    finally:
        wire.close()
    return [early, *([line for line in lines if (b'"oob"' in line) == oob] for oob in (False,
        True))]


# Errors of such commands overtake as well, other errors do not.
OVERTAKE = (b'{"exec-oob":"no-such-command","id":"oob"}', b'{"exec-oob":"query-status","id":"oob"}',
            b'{"exec-oob":1,"id":"oob"}', b'{"exec-oob":"yank","arguments":[],"id":"oob"}',
            b'{"exec-oob":"yank","arguments":{"instances":[]},"x":1,"id":"oob"}',
            b'{"exec-oob":"yank","arguments":{"instances":1},"id":"oob"}',
            b'{"exec-oob":"qmp_capabilities","id":"oob"}',
            b'{"exec-oob":"query-snapshots","id":"oob"}',
            b'{"exec-oob":"yank","execute":"yank","id":"oob"}',
            b'{"execute":"query-nothing","id":"oob"}',
            b'{"id":"oob"}', b'{"exec-oob":"yank","exec-oob":"yank","id":"\\"oob\\""}')


def test_out_of_band_commands_overtake_as_many_as_in_qemu(t):
    _pair, watching = both(t, "b")
    wrong, early = [], []
    for count, message in [(count, YANK) for count in (1, 2, 5, 8, 9, 10, 20)] + [(2,
        text) for text in OVERTAKE]:
        theirs, ours = (pending(watch, count, message) for watch in watching)
        if message == YANK:
            early.append(theirs[0])
        if theirs != ours:
            wrong.append(f"behind {count}: {message}\n  QEMU  {theirs}\n  proxy {ours}")
    equal((early[0], early[-1]), (True, False), "script: overtakes in QEMU itself")
    assert not wrong, "\n".join(wrong)


def test_quit_is_answered_and_what_is_pipelined_behind_it_is_not(t):
    for turn, command in enumerate((text("quit"), text("human-monitor-command",
        command_line="quit"))):
        t.dir = t.dir / str(turn)
        t.dir.mkdir()
        pair, watching = both(t, "b")
        wires = pair.open(Scene("quit", []))
        step = Step(Q + command + Q * 3 + text("object-add", qom_type="iothread", id="io"))
        for wire in wires:
            wire.write(step.writes[0])
        pair.compare("quit", step, [wire.lines_until(1 << 30) for wire in wires])
        pair.compare("watching", step, [wire.lines_until(1 << 30) for wire in watching])
        equal([guest.wait() for guest in pair.guests], [0, 0], "exit statuses")
        t.dir = t.dir.parent
        pair.check()


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")], timeout=120))
