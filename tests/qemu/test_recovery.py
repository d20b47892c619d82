#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxy, or QEMU, or both are killed behind every step of every operation, and the same command
line is given again.  What must be true then: the guest lives and goes on from what it had last, on
disks that agree with it; no second QEMU and no file is left; what the record lists can be used.

Kinds of death: "hot" - the proxy alone, QEMU is found running; "cold" - the proxy and then QEMU, as
when the host goes down; "qemu" - QEMU alone, which ends the proxy; "later" - hot, the guest runs on,
and only then cold.
"""

import json
import os
import random
import signal
import sys
import time

import hostile
import scene
from scene import harness, oracle, qmp, vm

SEED = int(os.environ.get("SEED", "1"))
OPERATIONS = {
    "snapshot-create": {"name": "s2"},
    "snapshot-revert": {"name": "s1", "discard": True},
    "snapshot-delete": {"name": "s1"},
}


def gone(pid):
    """Waits until nothing of the process is left.  (test_a_start_right_behind_a_kill does not.)"""
    harness.poll(lambda: not os.path.exists(f"/proc/{pid}"), 10, f"process {pid} to be gone")


class Scene:
    """A guest on two disks with the snapshots s0 and s1, and an operation to break."""

    def __init__(self, t, number):
        self.t = t
        self.dir = t.path(f"n{number}")
        self.dir.mkdir()
        disks = oracle.make_disks(self.dir, ("qcow2", "raw"))
        self.p = vm.Proxy(t, disks, options=["--log-level", "debug"], name=f"vm{number}")
        self.steps = hostile.Steps(self.p)
        self.steps.start()
        self.p.serial.wait_tick(3)
        self.saved = {}
        for name in ("s0", "s1"):
            self.saved[name] = scene.create(self.p, name)
            self.p.serial.wait_more(2)

    def again(self):
        """The same command line again."""
        self.p.start(wait=15)

    def kill_all(self, proxy_first):
        """SIGKILL to everything of this guest."""
        p = self.p
        if proxy_first:
            p.kill()
        self.steps.go()
        pids = [pid for pid, line in harness.marked_processes(self.t.marker).items()
                if str(p.serial.path) in line or str(p.state) in line]
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        for pid in pids:
            gone(pid)

    def qemus(self):
        mine = str(self.p.serial.path)
        return [pid for pid, line in harness.marked_processes(self.t.marker).items()
                if mine in line and "qmp-proxy" not in line.split(" ", 1)[0]]

    def on_disk(self):
        """Nothing but the record's files lies there."""
        record = scene.state(self.p)
        layers = {layer["real"] for layer in record["layers"].values()}
        images = {str(path) for path in self.dir.iterdir()}
        harness.equal(sorted(images - layers), [], "images that no record names")
        harness.equal(sorted(layers - images), [], "images on record that are not there")
        memory = {s["memory"]["file"] for s in record["snapshots"] if "memory" in s}
        harness.equal({str(path) for path in (self.p.state / "memory").iterdir()}, memory, "memory")
        names = {path.name for path in self.p.state.iterdir()}
        harness.equal(names - {"state.json", "process.json", "qemu.pid", "qemu.sock", "memory"},
                      set(), "files in the state folder")

    def remaining(self):
        """Each snapshot that the record lists reverts, or says that it is being deleted."""
        for name in scene.names(self.p):
            try:
                self.p.command("snapshot-revert", {"name": name, "discard": True}, timeout=30)
            except qmp.QmpError as error:
                if error.reason != "being-deleted":
                    raise
                self.p.command("snapshot-delete", {"name": name}, timeout=30)
                continue
            self.p.serial.wait_more(3)
            scene.check_disks(self.p)

    def finish(self):
        self.p.serial.wait_round()
        self.p.serial.check()
        self.p.stop()
        self.steps.go()


def cold_content(s, last, reverted):
    """Behind a cold start: the guest booted from where its disks were.  reverted: the turn of the
    snapshot, where it may have gone back to."""
    p = s.p
    boots = harness.poll(lambda: p.serial.boots(s.mark), 20, "the guest to boot")
    near = abs(boots[-1] - last) <= 3
    back = reverted is not None and abs(boots[-1] - reverted) <= 3
    assert near or back, f"booted with turn {boots[-1]}, the guest was at {last} (or {reverted})"
    p.serial.wait_more(3)
    scene.check_disks(p)


def ends_or_stands(p, steps, sent):
    """Waits; true: it stands still behind the step, false: the operation was over before."""
    while True:
        try:
            p.qmp.reply(sent, 0.005)
            return False
        except qmp.Timeout:
            if steps.reached(0.005) and steps.stands():
                return True


def breaks(s, command, step, kind):
    """Breaks the operation behind its nth step; false when it has no such step."""
    p, steps = s.p, s.steps
    steps.hold(step)
    sent = p.qmp.send(command, OPERATIONS[command])
    if not ends_or_stands(p, steps, sent):
        return None
    name = steps.lines[-1].rsplit(" ", 1)[1]
    before_hold = p.serial.last()
    if kind == "qemu":
        pid = p.qemu_pid()
        if pid is None:
            return name                 # ended by the revert itself at this moment
        os.kill(pid, signal.SIGKILL)
        steps.go()
        p._close_clients()
        status = p.wait(30)
        # Behind the switch the guest is the other process.
        harness.equal(status, 128 + signal.SIGKILL, f"exit status behind {name}")
        p.process = None
        harness.poll(lambda: not s.qemus(), 5, f"no QEMU to be left behind {name}")
    elif kind == "cold":
        s.kill_all(True)
    else:
        p.kill()
        steps.go()
    s.last = max(before_hold, p.serial.last()) if kind != "cold" else p.serial.last()
    s.mark = p.serial.size()
    return name


def check_after(s, command, kind, name):
    p = s.p
    reverted = s.saved["s1"].count if command == "snapshot-revert" else None
    s.again()
    if kind == "hot" or kind == "later":
        p.serial.wait_more(4)           # it lives
        harness.equal(len(s.qemus()), 1, f"QEMUs behind {name}")
        scene.check_disks(p)
    if kind == "later":
        p.serial.wait_more(5)
        s.kill_all(True)
        s.last, s.mark = p.serial.last(), p.serial.size()
        s.again()
    if kind != "hot":
        cold_content(s, s.last, reverted)
        s.on_disk()
    if scene.names(p) and not any("finished nor taken back" in problem or "interrupted" in problem
                                  for x in p.command("query-snapshots") for problem in x["problems"]):
        s.remaining()
    s.finish()


def each_step(t, command, kind):
    """The operation, broken behind each of its steps in turn; what went wrong, where."""
    bad, step = {}, 1
    while True:
        s = Scene(t, step)
        name = breaks(s, command, step, kind)
        if name is None:
            break
        try:
            check_after(s, command, kind, name)
        except Exception as error:      # pylint: disable=broad-except
            bad[f"{step} {name}"] = f"{type(error).__name__}: {error}"
            t.note(f"{kind} {step} {name}: {error}")
            s.kill_all(s.p.process is not None)
        step += 1
    assert step > 5, f"{command} has only {step} steps"
    harness.equal(bad, {}, f"{command}, {kind}: of {step - 1} steps")


def make(command, kind):
    def test(t):
        each_step(t, command, kind)
    test.__name__ = f"test_{command.replace('-', '_')}_broken_behind_each_step_{kind}"
    return test


TESTS = [make(command, kind) for command in OPERATIONS for kind in ("cold", "qemu", "hot", "later")]


if __name__ == "__main__":
    sys.exit(harness.run(TESTS))
