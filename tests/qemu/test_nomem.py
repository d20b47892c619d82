#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxy has no memory at a moment of its session: one allocation fails, or that and all behind it.
It may say so and end, or go on; then the guest lives and has seen nothing, the same command line takes
over, the record and the files agree, and what is listed reverts.

One guest goes through all moments.  POINTS (default 14) are drawn from SEED, spread over what a session
does, each of which is counted first; a failure names what repeats it: ONLY=point AT=WHAT:NTH:on|once.
"""

import os
import random
import sys

import scene
import test_recovery
from scene import harness, oracle, qmp, vm

# Behind scene, which says where that is.
import nomem  # pylint: disable=wrong-import-order

SEED = os.environ.get("SEED", "1")
POINTS = int(os.environ.get("POINTS", "14"))
AT = os.environ.get("AT")
# What a session does, and how many of 14 points are in it.
SHARES = {"start": 1, "start_cold": 2, "serve": 3, "create": 3, "revert": 3, "delete": 1, "query": 1}
NO_MEMORY = (nomem.MESSAGE, "Cannot allocate memory", "Memory allocation failure")


class Session(test_recovery.Scene):
    """A guest, its proxy, and what is done with them.  Each action is a method do_*()."""

    def __init__(self, t):                  # pylint: disable=super-init-not-called
        self.t, self.dir = t, t.path("n")
        self.dir.mkdir()
        self.memory = nomem.Memory(t, "qmp-proxy")
        self.p = vm.Proxy(t, oracle.make_disks(self.dir, ("qcow2", "raw")))
        self.extra, self.number = None, 0
        self.again()
        self.p.serial.wait_tick(3)
        self.kept = scene.create(self.p, "s1")

    def again(self):
        """The command line again, with memory."""
        self.memory.disarm()
        self.p.start(env=self.memory.env, wait=15)

    def log_from(self, mark):
        return self.p.log.read_bytes()[mark:].decode(errors="replace")

    # --- what may be interrupted

    def start(self):
        self.p.start(connect=False, env=self.memory.env)
        harness.poll(lambda: self.p.process.poll() is not None or self.greeted(), 20,
                     "a proxy that answers, or has ended")

    def greeted(self):
        try:
            self.p.qmp = self.p.client()
        except (OSError, qmp.Closed):
            return False
        return True

    do_start = do_start_cold = start

    def do_serve(self):
        """Clients come, ask, plug and leave."""
        p = self.p
        with qmp.Client(p.address, oob=True) as other:
            other.command("query-commands")
            other.command("query-version")
            other.command("object-add", {"qom-type": "iothread", "id": "io"})
            other.command("object-del", {"id": "io"})
            other.refused("device_add", {"driver": "no-such-driver"})
        p.command("query-block")
        p.command("query-qmp-schema")

    def do_create(self):
        self.number += 1
        self.extra = f"n{self.number}"
        self.p.command("snapshot-create", {"name": self.extra}, timeout=30)

    def do_revert(self):
        self.p.command("snapshot-revert", {"name": "s1", "discard": True}, timeout=30)

    def do_delete(self):
        name, self.extra = self.extra, None
        self.p.command("snapshot-delete", {"name": name}, timeout=30)

    def do_query(self):
        self.p.command("query-snapshots")
        self.p.command("query-snapshots", verify=True)

    # --- before and behind it

    def prepare(self, what):
        p = self.p
        if what == "delete" and not self.extra:
            self.do_create()
        if what == "start":
            p.kill()
        elif what == "start_cold":
            p.stop()

    def run(self, what):
        """Does it; what the proxy answered instead, or None."""
        try:
            getattr(self, f"do_{what}")()
        except (qmp.QmpError, qmp.Closed, OSError) as error:
            return error
        return None

    def lives(self, what, since):
        """The guest, its one QEMU, the record and the files."""
        p = self.p
        harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the journal to be closed")
        harness.poll(lambda: scene.status(p) == "running", 15, "the guest to run")
        if what == "start_cold":
            harness.poll(lambda: p.serial.boots(since), 20, "the guest to boot")
        p.serial.wait_more(3)
        harness.equal(len(self.qemus()), 1, "QEMUs")
        scene.check_disks(p)
        if what not in ("start_cold", "revert"):
            harness.equal(p.serial.jumps(since), [], "jumps")
        harness.equal(len(p.serial.boots(since)), what == "start_cold", "boots")
        self.on_disk()
        listed = scene.names(p)
        assert "s1" in listed, f"snapshots: {listed}"
        self.kept.untouched()
        self.extra = next((name for name in listed if name != "s1"), None)
        for name in listed:
            if name not in ("s1", self.extra):
                p.command("snapshot-delete", {"name": name}, timeout=30)


def point(s, what, nth, on):
    """One moment; "survived", "ended", or "not reached"."""
    p = s.p
    s.prepare(what)
    mark, since = p.log.stat().st_size, p.serial.size()
    s.memory.arm(nth, on)
    error = s.run(what)
    if error is None and s.memory.failed() == 0:
        outcome = "not reached"
    elif p.process.poll() is None and not isinstance(error, (qmp.Closed, OSError)):
        outcome = "survived"
    else:
        status = p.wait()
        said = s.log_from(mark)
        assert any(words in said for words in NO_MEMORY), f"ended with {status}: {said[-1000:]}"
        assert status in (-6, 1), f"ended with {status}"
        outcome = "ended"
    s.memory.disarm()
    if outcome == "ended":
        p._close_clients()              # pylint: disable=protected-access
        s.again()
    s.lives(what, since)
    return outcome


def counted(s):
    """{what: how many allocations it has}."""
    counts = {}
    for what in SHARES:
        s.prepare(what)
        since = s.p.serial.size()
        s.memory.disarm()
        error = s.run(what)
        assert error is None, f"{what}, with memory: {error}"
        counts[what] = s.memory.count()
        s.lives(what, since)
    return counts


def drawn(counts):
    """[(what, nth, on)], spread over each, in an order that mixes them."""
    draw = random.Random(SEED)
    points = []
    for what, share in SHARES.items():
        n = max(1, POINTS * share // sum(SHARES.values()))
        for i in range(n):
            points.append((what, int((i + draw.random()) * counts[what] / n) + 1, i % 2 == 1))
    draw.shuffle(points)
    return points


def test_each_point_of_a_session(t):
    nomem.possible(vm.PROXY_BIN)
    s = Session(t)
    outcomes = {}
    if AT:
        what, nth, on = AT.split(":")
        points = [(what, int(nth), on == "on")]
    else:
        counts = counted(s)
        t.note(f"allocations: {counts}")
        points = drawn(counts)
    for what, nth, on in points:
        name = f"{what}:{nth}:{'on' if on else 'once'}"
        try:
            outcome = point(s, what, nth, on)
        except (AssertionError, qmp.QmpError, qmp.Closed, OSError) as error:
            raise AssertionError(f"AT={name}: {type(error).__name__}: {error}") from error
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
    t.note(f"{len(points)} points: {outcomes}")
    assert AT or outcomes.get("ended", 0) > len(points) // 3, outcomes
    s.remaining()
    s.on_disk()
    harness.equal(s.p.stop(), 0, "exit status")


test_each_point_of_a_session.timeout = 60 + 10 * POINTS

if __name__ == "__main__":
    sys.exit(harness.run([test_each_point_of_a_session]))
