#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A power cut in the middle of an operation, and a start from what it has left: everything is killed at a
random moment, the state folder and the new files are made what one outcome of the model (torn.py) says,
and the same command line is given.  The VM boots from where its disks were, and every snapshot that a
client knew of is there and reverts.

CUTS (default 5) of them, drawn from SEED; one guest goes through all.
"""

import copy
import os
import random
import sys
import time
from pathlib import Path

import scene
import test_recovery
import test_torn
import torn
from scene import harness, qmp

SEED = os.environ.get("SEED", "1")
CUTS = int(os.environ.get("CUTS", "5"))
OPERATIONS = {
    "create": ("snapshot-create", {"name": "new"}),
    "revert": ("snapshot-revert", {"name": "s1", "discard": True}),
    "revert that saves first": ("snapshot-revert", {"name": "s1", "save-as": "new"}),
    "delete": ("snapshot-delete", {"name": "s2"}),
}


class Session(test_torn.Session, test_recovery.Scene):
    """s1 and s2 are what clients know of when an operation begins."""

    def __init__(self, t):                              # pylint: disable=super-init-not-called
        test_torn.Session.__init__(self, t)
        self.saved, self.mark, self.last = {}, 0, 0
        self.first = copy.deepcopy(self.disk)

    def prepare(self):
        names = scene.names(self.p)
        for name in ("s1", "s2"):
            if name not in names:
                self.saved[name] = scene.create(self.p, name)
                self.p.serial.wait_more(2)
        for name in set(names) - {"s1", "s2"}:
            self.p.command("snapshot-delete", {"name": name}, timeout=30)

    def kill(self):
        p = self.p
        p.kill()
        test_recovery.kill_pids(p, test_recovery.pids_of(self.t, p))
        self.last, self.mark = p.serial.last(), p.serial.size()


def outcomes(s):
    """(how many, a function that makes the files one of them): of those that can be made."""
    disk = copy.deepcopy(s.first)
    for call in s.recorder.calls():
        disk.play(call)
    now = {path for path, file in disk.live.items() if isinstance(file, torn.File)}
    views = []
    for view in disk.views():
        files = {path for path, file in view.names.items() if isinstance(file, torn.File)}
        # The data of an image that was unlinked is gone.
        if all(view.names[path].ours for path in files - now):
            views.append((view, now - files))
    return views


def make(s, view, lost, draw):
    """What lies on the disk becomes that view; how many files were changed by that."""
    changed = 0
    for path in lost:
        Path(path).unlink(missing_ok=True)
        changed += 1
    for path, file in view.names.items():
        if not isinstance(file, torn.File) or not Path(path).parent.is_dir():
            continue
        old = Path(path).read_bytes() if file.ours and Path(path).exists() else None
        if file.ours and Path(path).parent == s.state:
            data = draw.choice(file.outcomes())
            Path(path).write_bytes(data)
            changed += data != old
        elif not file.synced and Path(path).exists() and draw.random() < 0.5:
            os.truncate(path, 0)
            changed += 1
    return changed


def cut(s, operation, draw, took):
    """One power cut; how many files were not as they lay there."""
    p = s.p
    s.prepare()
    p.serial.wait_more(2)
    begun = time.monotonic()
    sent = p.qmp.send(*OPERATIONS[operation])
    moment = draw.random() * took.get(operation, 0.5)
    try:
        answer = p.qmp.reply(sent, moment / harness.SLOW)   # the moment itself
        took[operation] = time.monotonic() - begun
    except qmp.Timeout:
        answer = None
    s.kill()
    view, lost = draw.choice(outcomes(s))
    changed = make(s, view, lost, draw)
    s.recorder.mark("death")
    s.again()
    reverted = s.saved["s1"].count if operation.startswith("revert") else None
    test_recovery.cold_content(s, s.last, reverted)
    harness.poll(lambda: not (s.state / test_torn.JOURNAL).exists(), 20, "the journal to be closed")
    s.on_disk()
    listed = set(scene.names(p))
    assert "s1" in listed and ("s2" in listed or operation == "delete"), f"snapshots: {listed}"
    if answer and "return" in answer:
        wanted = {"create": {"s1", "s2", "new"}, "revert": {"s1", "s2"}, "delete": {"s1"}}
        harness.equal(listed, wanted.get(operation, wanted["create"]),
                      f"snapshots behind a {operation} that was answered")
    s.remaining()
    return changed


def test_starts_from_what_a_power_cut_leaves(t):
    s, draw, took, changed = Session(t), random.Random(SEED), {}, 0
    for number in range(CUTS):
        operation = list(OPERATIONS)[number % len(OPERATIONS)]
        try:
            changed += cut(s, operation, draw, took) > 0
        except (AssertionError, qmp.QmpError, qmp.Closed, OSError) as error:
            raise AssertionError(f"cut {number}, {operation}: {type(error).__name__}: {error}") from error
    t.note(f"{CUTS} power cuts, {changed} of them left files that were not as they lay there")
    harness.equal(s.p.stop(), 0, "exit status")


test_starts_from_what_a_power_cut_leaves.timeout = 60 + 20 * CUTS

if __name__ == "__main__":
    sys.exit(harness.run([test_starts_from_what_a_power_cut_leaves]))
