#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxy is killed where one stage of an operation has ended and the next has not begun, or the VM is not left
alone between two proxies."""

import sys

import faulty
import hostile
import scene
from scene import harness, oracle, vm

JOURNAL = ".journal.json.tmp"


def taken_back(t):
    """(Proxy, Steps, Faults): a revert that saved first is about to fail; the guest stands
    still, and is to go on."""
    p, faults = vm.Proxy(t, oracle.make_disks(t.dir), options=("--log-level", "debug")), faulty.Faults(t)
    t.cleanup(faults.mend)
    steps = hostile.Steps(p)
    steps.start(env=faults.env)
    p.serial.wait_tick(4)
    saved = scene.create(p, "s1")
    p.serial.wait_more(3)
    with open(saved.info["memory"]["file"], "r+b") as file:
        file.seek(5000)
        file.write(b"XXXXXXXX")
    steps.hold("memory-check")
    sent = p.qmp.send("snapshot-revert", {"name": "s1", "save-as": "s2"})
    steps.held()
    return p, steps, faults, sent


def test_a_guest_whose_revert_was_taken_back_goes_on_behind_a_kill(t):
    """There is always a journal that says that it was running."""
    p, steps, faults, _sent = taken_back(t)
    faults.rules(("hold", 0, "sync", JOURNAL))
    steps.go()
    harness.poll((p.state / JOURNAL).exists, 10, "the next stage's journal to be written")
    mark = scene.Mark(p)
    p.kill()
    faults.mend()
    p.start()
    mark.went_on()
    harness.poll(lambda: not (p.state / "journal.json").exists(), 10, "the recovery to end")
    scene.check_disks(p)
    harness.equal(p.stop(), 0, "exit status")


def test_a_guest_whose_revert_was_taken_back_goes_on_where_no_journal_can_be_written(t):
    p, steps, faults, sent = taken_back(t)
    faults.rules(("fail", faulty.ENOSPC, "sync", JOURNAL))
    mark = scene.Mark(p)
    steps.go()
    assert "error" in p.qmp.reply(sent, 30)
    mark.went_on()
    faults.mend()
    scene.check_disks(p)
    assert not (p.state / "journal.json").exists(), "an open journal"
    scene.delete(p, "s2")
    harness.equal(p.stop(), 0, "exit status")


if __name__ == "__main__":
    sys.exit(harness.run([
        test_a_guest_whose_revert_was_taken_back_goes_on_behind_a_kill,
        test_a_guest_whose_revert_was_taken_back_goes_on_where_no_journal_can_be_written]))
